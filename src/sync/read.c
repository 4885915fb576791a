// SPDX-License-Identifier: Apache-2.0
#include "sync/read.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "sync/stage.h"

#define WINDOW_LEAST  (128 * KIB) /* random access: about one chunk */
#define WINDOW_FIRST  (512 * KIB) /* a file read from its start */
#define WINDOW_MOST   (8 * MIB)
#define WINDOWS_AHEAD 3
#define DISK_AHEAD    (4 * MIB) /* of what the disk tier has; refilled by halves */
#define REORDERED     (1 * MIB) /* the kernel's parallel requests arrive out of order */
#define RESTARTS_MOST 32
#define DENSE_BYTES   (4 * MIB) /* of the file for each random read: one in 64 chunks */

struct cairn_handle *cairn_handle_new(struct cairn_node *n, bool writer)
{
    struct cairn_handle *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    atomic_init(&h->refs, 1);
    h->node = n;
    h->writer = writer;
    h->ahead.window = WINDOW_FIRST;
    pthread_mutex_init(&h->ahead.lock, NULL);
    return h;
}

void cairn_handle_unref(struct cairn_handle *h)
{
    if (atomic_fetch_sub(&h->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&h->ahead.lock);
    cairn_node_unref(h->node);
    free(h);
}

/* --- readahead --- */

/* Sets r->sequential and r->random. */
static void note_read(struct cairn_read *r)
{
    struct cairn_readahead *a = &r->handle->ahead;
    uint64_t off = r->off, len = r->len;
    pthread_mutex_lock(&a->lock);
    if (off <= a->next + REORDERED && off + len + REORDERED >= a->next) {
        a->streak++;
        a->next = max_u64(a->next, off + len);
    } else {
        a->streak = 0;
        a->random++;
        a->next = off + len;
        a->window = WINDOW_LEAST;
        a->frontier = off;
    }
    r->sequential = a->streak > 0;
    r->random = r->sequential ? 0 : a->random;
    pthread_mutex_unlock(&a->lock);
}

/* How large a window a miss should fetch. */
static uint64_t window_size(struct cairn_readahead *a)
{
    pthread_mutex_lock(&a->lock);
    uint64_t window = a->window;
    pthread_mutex_unlock(&a->lock);
    return window;
}

/* The first byte from `pos` on, but before `limit`, that is not near. What is near on disk alone is
 * being read when the reader comes to it. */
static uint64_t skip_cached(struct cairn_sync *s, uint64_t content, uint64_t pos, uint64_t limit)
{
    struct cairn_chunk_id ids[CAIRN_WILL_NEED_MOST];
    struct cairn_manifest_entry e;
    size_t n = 0;
    while (pos < limit && content && cairn_meta_chunk_at(s->meta, content, pos, &e, NULL) == 0 &&
           cairn_cache_has(s->cache, &e.id)) {
        if (n == ARRAY_LEN(ids)) {
            cairn_cache_will_need(s->cache, ids, n);
            n = 0;
        }
        ids[n++] = e.id;
        pos = e.off + e.len;
    }
    cairn_cache_will_need(s->cache, ids, n);
    return pos;
}

/* Keeps some windows under way in front of a sequential reader. */
static void fetch_ahead(struct cairn_handle *h)
{
    struct cairn_readahead *a = &h->ahead;
    struct cairn_node *n = h->node;
    if (pthread_mutex_trylock(&a->lock))
        return; /* another read of this handle sees to it */
    uint64_t ahead = a->window * WINDOWS_AHEAD;
    if (a->streak >= 2 && a->frontier < a->next + max_u64(ahead, DISK_AHEAD / 2)) {
        pthread_mutex_lock(&n->lock);
        uint64_t size = n->size, content = n->content;
        bool staged = n->stage != NULL;
        pthread_mutex_unlock(&n->lock);
        uint64_t limit = min_u64(a->next + ahead, size);
        if (!staged && a->frontier >= a->next)
            a->frontier =
                skip_cached(n->sync, content, a->frontier, min_u64(a->next + DISK_AHEAD, size));
        /* From the frontier on, though the reader may be beyond it: a window that is cut before the
         * one in front of it has arrived begins a chunk where none should begin. */
        while (!staged && a->frontier < limit) {
            a->frontier = skip_cached(n->sync, content, a->frontier, limit);
            if (a->frontier >= limit)
                break;
            int err = 0;
            struct cairn_manifest_entry e;
            uint64_t hole_end = UINT64_MAX;
            pthread_mutex_lock(&n->lock);
            /* Again under the lock: a window may have been cut since. */
            if (n->content &&
                cairn_meta_chunk_at(n->sync->meta, n->content, a->frontier, &e, &hole_end) == 0) {
                hole_end = UINT64_MAX;
                if (cairn_cache_has(n->sync->cache, &e.id)) {
                    pthread_mutex_unlock(&n->lock);
                    a->frontier = e.off + e.len;
                    continue;
                }
            }
            uint64_t end = cairn_window_end_at(n, a->frontier);
            if (!end && n->carry.len && n->carry.off <= a->frontier)
                end = n->carry.off + n->carry.len > a->frontier ? n->carry.off + n->carry.len : 0;
            if (!end) {
                uint64_t len = a->window;
                if (a->frontier < a->next)
                    len = max_u64(len, min_u64(a->next - a->frontier, WINDOW_MOST));
                cairn_window_want(n, a->frontier, a->frontier, min_u64(len, hole_end - a->frontier),
                                  NULL, &err);
                end = cairn_window_end_at(n, a->frontier);
                a->window = min_u64(a->window * 2, WINDOW_MOST);
            }
            pthread_mutex_unlock(&n->lock);
            if (!end)
                break; /* out of memory, or another version now */
            a->frontier = end;
        }
    }
    pthread_mutex_unlock(&a->lock);
}

/* --- pieces --- */

static struct cairn_piece *add_piece(struct cairn_read *r, const void *data, size_t len)
{
    if (r->pieces == r->room) {
        unsigned room = r->room * 4;
        struct cairn_piece *p = malloc(room * sizeof *p);
        if (!p)
            return NULL;
        memcpy(p, r->piece, r->pieces * sizeof *p);
        if (r->piece != r->few)
            free(r->piece);
        r->piece = p;
        r->room = room;
    }
    struct cairn_piece *p = &r->piece[r->pieces++];
    *p = (struct cairn_piece){.iov = {(void *)(uintptr_t)data, len}};
    r->bytes += len;
    return p;
}

static void drop_pieces(struct cairn_read *r)
{
    for (unsigned i = 0; i < r->pieces; i++) {
        cairn_chunk_unref(r->piece[i].chunk);
        cairn_window_unref(r->piece[i].window);
        free(r->piece[i].owned);
    }
    r->pieces = 0;
    r->bytes = 0;
}

static int add_zeros(struct cairn_read *r, uint64_t len)
{
    void *z = calloc(1, len);
    struct cairn_piece *p = z ? add_piece(r, z, len) : NULL;
    if (!p) {
        free(z);
        return -ENOMEM;
    }
    p->owned = z;
    return 0;
}

static int add_staged(struct cairn_read *r, int fd, uint64_t off, uint64_t len)
{
    uint8_t *buf = malloc(len);
    if (!buf)
        return -ENOMEM;
    for (size_t have = 0; have < len;) {
        ssize_t n = pread(fd, buf + have, len - have, (off_t)(off + have));
        if (n <= 0) {
            int err = n < 0 ? -errno : -EIO;
            free(buf);
            return err;
        }
        have += (size_t)n;
    }
    struct cairn_piece *p = add_piece(r, buf, len);
    if (!p) {
        free(buf);
        return -ENOMEM;
    }
    p->owned = buf;
    return 0;
}

/* The end of the last window, if it has the byte at `off`: it is in no chunk yet. */
static int add_carry(struct cairn_read *r, uint64_t generation, uint64_t off, uint64_t end,
                     bool locked, uint64_t *ret_len)
{
    struct cairn_node *n = r->handle->node;
    uint8_t *copy = NULL;
    uint64_t len = 0;
    int err = 0;
    if (!locked)
        pthread_mutex_lock(&n->lock);
    const struct cairn_carry *c = &n->carry;
    if (c->len && n->generation == generation && c->off <= off && off < c->off + c->len) {
        len = min_u64(end, c->off + c->len) - off;
        copy = malloc(len);
        if (copy)
            memcpy(copy, c->data + (off - c->off), len);
        else
            err = -ENOMEM;
    }
    if (!locked)
        pthread_mutex_unlock(&n->lock);
    struct cairn_piece *p = copy ? add_piece(r, copy, len) : NULL;
    if (p) {
        p->owned = copy;
        *ret_len = len;
    } else if (copy) {
        free(copy);
        err = -ENOMEM;
    }
    return err;
}

/* A byte that is not near, and the range around it that is not either, as far as is known. */
struct miss {
    bool any;
    uint64_t off, start, limit;
};

/* Where the chunk that has `off` lies, and 0; or -ENOENT and the hole around `off`. A random read
 * is content with what is around it; a sequential one leaves no gap, so that the cuts go on where
 * the last window left off. */
static int find_chunk(struct cairn_read *r, uint64_t content, uint64_t off,
                      struct cairn_manifest_entry *ret, uint64_t *ret_hole_end)
{
    struct cairn_sync *s = r->handle->node->sync;
    uint64_t near = r->sequential ? 0 : off & ~(64 * KIB - 1);
    ret->off = max_u64(near, off > REORDERED ? off - REORDERED : 0);
    *ret_hole_end = UINT64_MAX;
    int err = content ? cairn_meta_chunk_at(s->meta, content, off, ret, ret_hole_end) : -ENOENT;
    if (err == 0)
        *ret_hole_end = UINT64_MAX;
    else if (err == -ENOENT)
        ret->off = max_u64(ret->off, near);
    return err;
}

static struct miss miss_at(uint64_t off, uint64_t start, uint64_t hole_end)
{
    return (struct miss){true, off, min_u64(start, off), max_u64(hole_end, off + 1)};
}

/* What was found missing without the lock: is it still, with the lock held? Its window may have
 * been cut meanwhile. */
static bool still_missing(struct cairn_read *r, struct miss *miss)
{
    struct cairn_node *n = r->handle->node;
    struct cairn_manifest_entry e;
    uint64_t hole_end;
    int err = find_chunk(r, n->content, miss->off, &e, &hole_end);
    if (err == 0
            ? cairn_cache_has(n->sync->cache, &e.id)
            : n->carry.len && n->carry.off <= miss->off && miss->off < n->carry.off + n->carry.len)
        return false;
    if (err == 0 || err == -ENOENT)
        *miss = miss_at(miss->off, e.off, hole_end);
    return true;
}

/* What the content of one version has at [off, end), up to the first miss. `locked`: n->lock is
 * held. */
static int add_content(struct cairn_read *r, uint64_t content, uint64_t generation, uint64_t off,
                       uint64_t end, bool locked, struct miss *ret_miss)
{
    struct cairn_sync *s = r->handle->node->sync;
    while (off < end) {
        struct cairn_window *w = NULL;
        for (unsigned i = 0; i < r->gots && !w; i++)
            if (r->got[i]->generation == generation && r->got[i]->off <= off &&
                off < r->got[i]->off + r->got[i]->len)
                w = r->got[i];
        if (w) {
            uint64_t n = min_u64(end, w->off + w->len) - off;
            struct cairn_piece *p = add_piece(r, w->data + (off - w->off), n);
            if (!p)
                return -ENOMEM;
            p->window = cairn_window_ref(w);
            off += n;
            continue;
        }
        uint64_t hole_end;
        struct cairn_manifest_entry e;
        struct cairn_chunk *c;
        int err = find_chunk(r, content, off, &e, &hole_end);
        if (err == 0) {
            err = cairn_cache_get(s->cache, &e.id, &c);
            if (!err && r->dense)
                cairn_disk_will_need_around(cairn_cache_disk(s->cache), &e.id);
        } else if (err == -ENOENT) {
            uint64_t carried = 0;
            int no = add_carry(r, generation, off, end, locked, &carried);
            if (no)
                return no;
            if (carried) {
                off += carried;
                continue;
            }
        }
        if (err == -ENOENT) {
            *ret_miss = miss_at(off, e.off, hole_end);
            return 0;
        }
        if (err)
            return err;
        uint64_t n = min_u64(end, e.off + e.len) - off;
        struct cairn_piece *p = c->len == e.len ? add_piece(r, c->data + (off - e.off), n) : NULL;
        if (!p) {
            cairn_chunk_unref(c);
            return c->len == e.len ? -ENOMEM : -EIO;
        }
        p->chunk = c;
        off += n;
    }
    return 0;
}

/* The same through a stage. Needs n->lock. */
static int add_staged_content(struct cairn_read *r, struct cairn_node *n, uint64_t end,
                              struct miss *ret_miss)
{
    struct cairn_stage *st = n->stage;
    int err = 0;
    for (uint64_t pos = r->off; !err && !ret_miss->any && pos < end;) {
        struct cairn_extent e;
        bool staged = cairn_stage_find(st, pos, &e);
        uint64_t stop = min_u64(end, e.end);
        uint64_t base_end = min_u64(st->base_limit, n->size);
        if (staged && e.kind == CAIRN_EXTENT_DATA) {
            err = add_staged(r, st->fd, pos, stop - pos);
        } else if (staged || pos >= base_end) {
            err = add_zeros(r, stop - pos);
        } else {
            stop = min_u64(stop, base_end);
            err = add_content(r, n->content, n->generation, pos, stop, true, ret_miss);
        }
        pos = stop;
    }
    return err;
}

static void keep_window(struct cairn_read *r, struct cairn_window *w)
{
    if (r->gots == CAIRN_READ_WINDOWS)
        cairn_window_unref(r->got[--r->gots]);
    r->got[r->gots++] = w;
}

/* One attempt. True: complete. False: waits for a window; or, if not `wait`, nothing. */
static bool step(struct cairn_read *r, bool wait, int *ret_err)
{
    struct cairn_node *n = r->handle->node;
    unsigned again = 8;
    for (;;) {
        drop_pieces(r);
        struct miss miss = {0};
        uint64_t window = window_size(&r->handle->ahead);
        pthread_mutex_lock(&n->lock);
        int err = cairn_node_load_locked(n);
        uint64_t content = n->content, generation = n->generation;
        uint64_t end = min_u64(r->off + r->len, n->stage ? n->stage->size : n->size);
        /* A file that the kernel can keep is read faster in one go than chunk by chunk. */
        r->dense = r->random > n->size / DENSE_BYTES && n->size < n->sync->dense_most;
        if (!err && n->stage) {
            err = add_staged_content(r, n, end, &miss);
        } else if (!err) {
            pthread_mutex_unlock(&n->lock); /* what it needs it has: a content never changes */
            err = add_content(r, content, generation, r->off, end, false, &miss);
            pthread_mutex_lock(&n->lock);
        }
        if (!err && n->generation != generation) {
            pthread_mutex_unlock(&n->lock);
            continue; /* it has just become another version: no mix of the two */
        }
        if (err || !miss.any) {
            pthread_mutex_unlock(&n->lock);
            *ret_err = err;
            return true;
        }
        if (again && !still_missing(r, &miss)) {
            pthread_mutex_unlock(&n->lock);
            again--; /* not for ever: an evicted chunk can seem to be there */
            continue;
        }
        if (!wait) {
            pthread_mutex_unlock(&n->lock);
            return false;
        }
        uint64_t len = max_u64(window, end - miss.start);
        struct cairn_window *w = cairn_window_want(
            n, miss.off, miss.start, min_u64(len, miss.limit - miss.start), &r->waiter, &err);
        pthread_mutex_unlock(&n->lock);
        if (err) {
            *ret_err = err;
            return true;
        }
        if (!w)
            return false;
        keep_window(r, w);
    }
}

static void woken(struct cairn_waiter *waiter, struct cairn_window *win, int err)
{
    struct cairn_read *r = container_of(waiter, struct cairn_read, waiter);
    if (err == -EAGAIN && r->restarts++ < RESTARTS_MOST)
        err = 0;
    if (win)
        keep_window(r, cairn_window_ref(win));
    if (err || step(r, true, &err))
        r->done(r, err == -EAGAIN ? -ESTALE : err);
}

void cairn_read_init(struct cairn_read *r, struct cairn_handle *h, uint64_t off, uint64_t len,
                     void (*done)(struct cairn_read *r, int err))
{
    r->waiter.wake = woken;
    r->handle = h;
    atomic_fetch_add(&h->refs, 1);
    r->off = off;
    r->len = len;
    r->done = done;
    r->piece = r->few;
    r->pieces = 0;
    r->room = ARRAY_LEN(r->few);
    r->bytes = 0;
    r->gots = 0;
    r->restarts = 0;
}

bool cairn_read_try(struct cairn_read *r, int *ret_err)
{
    note_read(r);
    fetch_ahead(r->handle);
    return step(r, false, ret_err);
}

bool cairn_read_start(struct cairn_read *r, int *ret_err)
{
    return step(r, true, ret_err);
}

void cairn_read_release(struct cairn_read *r)
{
    drop_pieces(r);
    while (r->gots)
        cairn_window_unref(r->got[--r->gots]);
    if (r->piece != r->few)
        free(r->piece);
    cairn_handle_unref(r->handle);
}
