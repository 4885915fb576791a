// SPDX-License-Identifier: Apache-2.0
#include "sync/window.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "sync/fresh.h"
#include "sync/path.h"

#define FAILED_NS                                                                                  \
    (1 * NSEC_PER_SEC) /* how long a silent origin is not asked for this file again                \
                        */

struct cairn_window *cairn_window_ref(struct cairn_window *w)
{
    atomic_fetch_add(&w->refs, 1);
    return w;
}

void cairn_window_unref(struct cairn_window *w)
{
    if (w && atomic_fetch_sub(&w->refs, 1) == 1) {
        struct cairn_sync *s = w->node->sync;
        cairn_node_unref(w->node);
        cairn_buffer_put(&s->buffers, w->buf, w->buf_len);
        free(w);
    }
}

static void remove_locked(struct cairn_window *w)
{
    struct cairn_window **p = &w->node->windows;
    while (*p != w)
        p = &(*p)->next;
    *p = w->next;
}

/* --- fetching --- */

static struct cairn_source *get_source(struct cairn_window *w, const struct origin_call *c,
                                       int *ret_err)
{
    struct cairn_node *n = w->node;
    struct cairn_sync *s = n->sync;
    struct cairn_source *src = NULL;
    pthread_mutex_lock(&n->lock);
    if (n->source)
        src = cairn_source_ref(n->source);
    bool current = n->generation == w->generation;
    pthread_mutex_unlock(&n->lock);
    if (src || !current) {
        *ret_err = current ? 0 : -EAGAIN;
        if (!current)
            cairn_source_unref(STEAL(src));
        return src;
    }
    AUTO_FREE char *path = NULL;
    struct origin_file *f;
    cairn_paths_begin(s);
    int err = cairn_meta_path(s->meta, n->ino, &path);
    if (!err)
        err = origin_open(s->origin, c, path, O_RDONLY, 0, &f, NULL);
    cairn_paths_end(s);
    *ret_err = err;
    if (err)
        return NULL;
    src = cairn_source_new(s, f);
    if (!src)
        *ret_err = -ENOMEM;
    return src;
}

/* Is this all of the window, in the version that it began with? */
static bool is_whole(const struct cairn_window *w, ssize_t got, const struct origin_stat *after)
{
    struct cairn_version version = cairn_version_of(after);
    return (uint64_t)got == w->len && cairn_version_equal(&version, &w->version);
}

static void count_fetch(struct cairn_sync *s, ssize_t got)
{
    cairn_count(s->metrics, CAIRN_FETCHES, 1);
    cairn_count(s->metrics, CAIRN_FETCH_BYTES, (uint64_t)got);
}

/* What was read from it is of the node's version: so is the file, for those who read on. */
static void keep_source(struct cairn_window *w, struct cairn_source *src)
{
    struct cairn_node *n = w->node;
    pthread_mutex_lock(&n->lock);
    if (!n->source && n->opens && n->generation == w->generation)
        n->source = cairn_source_ref(src);
    pthread_mutex_unlock(&n->lock);
}

/*
 * The file at the origin is not the one that the window began with: what is it now? `after` is
 * what was read from, NULL if it could not be opened. 0: it is the right one after all, which has
 * lost its name; -EAGAIN: another version now.
 */
static int file_changed(struct cairn_window *w, const struct origin_call *c,
                        const struct origin_stat *after)
{
    struct cairn_node *n = w->node;
    struct cairn_sync *s = n->sync;
    pthread_mutex_lock(&n->lock);
    bool current = n->generation == w->generation;
    pthread_mutex_unlock(&n->lock);
    if (!current)
        return -EAGAIN;
    if (!n->unlinked) {
        int err = cairn_fresh_inode(s, c, n->ino);
        if (err && err != -ENOENT)
            return err;
    }
    /* Losing a name moves a change time, not the content. */
    if (n->unlinked)
        return after && after->size == w->version.size && after->mtime_ns == w->version.mtime_ns
                   ? 0
                   : -ESTALE;
    cairn_count(s->metrics, CAIRN_FETCH_RESTARTED, 1);
    struct cairn_source *old = NULL;
    pthread_mutex_lock(&n->lock);
    if (n->generation == w->generation)
        old = STEAL(n->source); /* of a file that the name leads to no more */
    pthread_mutex_unlock(&n->lock);
    cairn_source_unref(old);
    return -EAGAIN;
}

static int fetch(struct cairn_window *w)
{
    struct cairn_sync *s = w->node->sync;
    struct origin_call c = cairn_sync_call(s);
    c.bulk = true;
    int why;
    struct cairn_source *src = get_source(w, &c, &why);
    if (!src) {
        int err = why;
        if (err == -ENOENT || err == -ELOOP || err == -EISDIR || err == -ENXIO)
            return file_changed(w, &c, NULL);
        return err == -EAGAIN ? err : cairn_sync_answered(s, err);
    }
    struct origin_stat after;
    ssize_t got = origin_pread(src->file, &c, w->data, w->len, w->off, &after);
    bool whole = got >= 0 && is_whole(w, got, &after);
    if (whole)
        keep_source(w, src);
    cairn_source_unref(src);
    cairn_sync_answered(s, got < 0 ? (int)got : 0);
    if (got == -ESTALE)
        return file_changed(w, &c, NULL);
    if (got < 0)
        return (int)got;
    count_fetch(s, got);
    if (whole)
        return 0;
    int err = file_changed(w, &c, &after);
    return err == 0 && (uint64_t)got != w->len ? -ESTALE : err;
}

/* --- chunking --- */

static struct cairn_window *next_filled_locked(struct cairn_node *n, uint64_t off,
                                               uint64_t generation)
{
    for (struct cairn_window *w = n->windows; w; w = w->next)
        if (w->state == CAIRN_WINDOW_FILLED && !w->chunking && w->off == off &&
            w->generation == generation)
            return w;
    return NULL;
}

/* Is a window under way that ends where this one begins? Then that one is cut first. */
static bool waits_for_another_locked(struct cairn_window *w)
{
    for (struct cairn_window *o = w->node->windows; o; o = o->next)
        if (o != w && o->generation == w->generation && o->off + o->len == w->off)
            return true;
    return false;
}

static int add_chunk(struct cairn_sync *s, uint64_t off, const uint8_t *data, uint32_t len,
                     struct cairn_manifest_entry *ret)
{
    struct cairn_chunk *c = cairn_chunk_new(len);
    if (!c)
        return -ENOMEM;
    memcpy(c->data, data, len);
    c->id = cairn_chunk_id_of(c->data, len);
    *ret = (struct cairn_manifest_entry){.off = off, .len = len, .id = c->id};
    cairn_cache_put(s->cache, c, true);
    cairn_chunk_unref(c);
    return 0;
}

void cairn_carry_settle_locked(struct cairn_node *n)
{
    struct cairn_sync *s = n->sync;
    struct cairn_manifest_entry e;
    if (!n->carry.len)
        return;
    if (n->content && add_chunk(s, n->carry.off, n->carry.data, n->carry.len, &e) == 0) {
        cairn_meta_lock(s->meta);
        cairn_meta_put_chunks(s->meta, n->content, e.off, e.off + e.len, &e, 1);
        cairn_meta_unlock(s->meta);
    }
    n->carry.len = 0;
}

void cairn_carry_end_locked(struct cairn_node *n)
{
    if (!n->opens && !n->windows)
        cairn_carry_settle_locked(n);
}

/* Takes the carry if the window continues it; else it ends as a chunk of its own. */
static uint32_t take_carry(struct cairn_window *w)
{
    struct cairn_node *n = w->node;
    uint32_t len = 0;
    pthread_mutex_lock(&n->lock);
    if (n->carry.len && n->generation == w->generation && n->carry.off + n->carry.len == w->off) {
        len = n->carry.len;
        memcpy(w->data - len, n->carry.data, len);
        /* It stays readable until the chunks that contain it are. */
    } else {
        cairn_carry_settle_locked(n);
    }
    pthread_mutex_unlock(&n->lock);
    return len;
}

/* Cuts one window, which begins with the carry if that fits, and leaves the rest as the carry. */
static void cut_window(struct cairn_window *w)
{
    struct cairn_node *n = w->node;
    struct cairn_sync *s = n->sync;
    uint32_t carried = take_carry(w);
    uint8_t *data = w->data - carried;
    uint64_t off = w->off - carried, rest = w->len + carried, start = off;
    bool last = off + rest >= w->version.size;
    size_t room = rest / s->cdc.params.min_bytes + 2, count = 0;
    struct cairn_manifest_entry *e = malloc(room * sizeof *e);
    while (e && rest) {
        size_t cut = cairn_cdc_cut(&s->cdc, data, rest);
        if (cut == rest && cut < s->cdc.params.max_bytes && !last)
            break; /* the end of the window, not of a chunk */
        if (add_chunk(s, off, data, (uint32_t)cut, &e[count]))
            break;
        count++;
        data += cut;
        off += cut;
        rest -= cut;
    }
    pthread_mutex_lock(&n->lock);
    if (n->generation == w->generation) {
        /* The one that we took; or another's, of a window far from here that was cut meanwhile. */
        if (!(carried && n->carry.off == start))
            cairn_carry_settle_locked(n);
        n->carry.len = 0;
        if (count) {
            cairn_meta_lock(s->meta);
            cairn_meta_put_chunks(s->meta, n->content, start, off, e, (unsigned)count);
            cairn_meta_unlock(s->meta);
        }
        if (rest && rest <= s->cdc.params.max_bytes &&
            (n->carry.data || (n->carry.data = malloc(s->cdc.params.max_bytes)))) {
            memcpy(n->carry.data, data, rest);
            n->carry.len = (uint32_t)rest;
            n->carry.off = off;
        }
    }
    pthread_mutex_unlock(&n->lock);
    free(e);
}

/* Cuts the filled window and those filled ones that continue it. */
static void chunk_windows(struct cairn_window *w)
{
    struct cairn_node *n = cairn_node_ref(w->node);
    pthread_mutex_lock(&n->lock);
    if (w->chunking || waits_for_another_locked(w)) {
        pthread_mutex_unlock(&n->lock);
        cairn_node_unref(n);
        return;
    }
    while (w) {
        w->chunking = true;
        pthread_mutex_unlock(&n->lock);
        cut_window(w);
        pthread_mutex_lock(&n->lock);
        uint64_t end = w->off + w->len, generation = w->generation;
        remove_locked(w);
        pthread_mutex_unlock(&n->lock);
        cairn_window_unref(w); /* the list's */
        pthread_mutex_lock(&n->lock);
        w = next_filled_locked(n, end, generation);
    }
    cairn_carry_end_locked(n);
    pthread_mutex_unlock(&n->lock);
    cairn_node_unref(n);
}

/* The window's bytes are there, or `err`. */
static void arrived(struct cairn_window *w, int err)
{
    struct cairn_node *n = w->node;
    pthread_mutex_lock(&n->lock);
    if (!err && n->generation != w->generation)
        err = -EAGAIN;
    struct cairn_waiter *waiters = STEAL(w->waiters);
    struct cairn_window *orphan = NULL;
    bool silent = err == -ETIMEDOUT ||
                  (err && err != -EAGAIN && origin_error_class(err) == ORIGIN_ERR_TRANSIENT);
    n->failed_ns = silent ? cairn_now_ns() : 0;
    n->failed_err = err;
    if (err) {
        remove_locked(w);
        /* One that waits to be cut after this one need not wait any longer. */
        orphan = next_filled_locked(n, w->off + w->len, w->generation);
        if (orphan)
            cairn_window_ref(orphan);
        cairn_carry_end_locked(n);
    } else {
        w->state = CAIRN_WINDOW_FILLED;
    }
    cairn_window_ref(w);
    pthread_mutex_unlock(&n->lock);

    while (waiters) {
        struct cairn_waiter *next = waiters->next;
        waiters->wake(waiters, err ? NULL : w, err);
        waiters = next;
    }
    if (err)
        cairn_window_unref(w); /* the list's */
    else
        chunk_windows(w);
    cairn_window_unref(w);
    if (orphan) {
        chunk_windows(orphan);
        cairn_window_unref(orphan);
    }
}

static void run(struct cairn_task *t)
{
    struct cairn_window *w = container_of(t, struct cairn_window, task);
    arrived(w, fetch(w));
}

/* Makes a window and lists it; somebody has to fill it. */
static struct cairn_window *new_window_locked(struct cairn_node *n, uint64_t start, uint64_t end,
                                              int *ret_err)
{
    struct cairn_sync *s = n->sync;
    if (!n->content) {
        /* The first fetch of this version: its manifest begins. */
        struct cairn_inode in;
        cairn_meta_lock(s->meta);
        int err = cairn_meta_inode(s->meta, n->ino, &in);
        if (!err) {
            if (!in.content) {
                in.content = cairn_meta_new_content(s->meta);
                err = cairn_meta_put_inode(s->meta, &in);
            }
            n->content = in.content;
        }
        cairn_meta_unlock(s->meta);
        if (err) {
            *ret_err = err == -ENOENT ? -ESTALE : err;
            return NULL;
        }
    }
    struct cairn_window *w = calloc(1, sizeof *w);
    size_t headroom = s->cdc.params.max_bytes;
    if (w)
        w->buf_len = headroom + (end - start);
    if (!w || !(w->buf = cairn_buffer_get(&s->buffers, w->buf_len))) {
        free(w);
        *ret_err = -ENOMEM;
        return NULL;
    }
    w->task.run = run;
    w->data = w->buf + headroom;
    w->node = cairn_node_ref(n);
    atomic_init(&w->refs, 1);
    w->off = start;
    w->len = end - start;
    w->generation = n->generation;
    w->content = n->content;
    w->version = n->version;
    w->next = n->windows;
    n->windows = w;
    return w;
}

uint64_t cairn_window_end_at(struct cairn_node *n, uint64_t off)
{
    for (struct cairn_window *w = n->windows; w; w = w->next)
        if (w->generation == n->generation && w->off <= off && off < w->off + w->len)
            return w->off + w->len;
    return 0;
}

struct cairn_window *cairn_window_want(struct cairn_node *n, uint64_t off, uint64_t start,
                                       uint64_t len, struct cairn_waiter *waiter, int *ret_err)
{
    struct cairn_sync *s = n->sync;
    uint64_t end = min_u64(start + len, n->size);
    *ret_err = 0;
    for (struct cairn_window *w = n->windows; w; w = w->next) {
        if (w->generation != n->generation)
            continue;
        if (w->off <= off && off < w->off + w->len) {
            if (w->state == CAIRN_WINDOW_FILLED)
                return cairn_window_ref(w);
            if (waiter) {
                cairn_count(s->metrics, CAIRN_FETCH_JOINED, 1);
                waiter->next = w->waiters;
                w->waiters = waiter;
            }
            return NULL;
        }
        if (w->off > off)
            end = min_u64(end, w->off);
        else
            start = max_u64(start, w->off + w->len);
    }
    /* The kernel asks again for the page that a reader waits for when its readahead has failed. */
    if (n->failed_ns && cairn_now_ns() - n->failed_ns < FAILED_NS && atomic_load(&s->stalled)) {
        *ret_err = n->failed_err;
        return NULL;
    }
    uint64_t carried = n->carry.len ? n->carry.off + n->carry.len : 0;
    if (carried <= off)
        start = max_u64(start, carried);
    else if (n->carry.off > off)
        end = min_u64(end, n->carry.off);
    struct cairn_window *w = new_window_locked(n, start, end, ret_err);
    if (!w)
        return NULL;
    if (waiter) {
        waiter->next = NULL;
        w->waiters = waiter;
        cairn_count(s->metrics, CAIRN_CHUNK_MISS, 1);
    } else {
        cairn_count(s->metrics, CAIRN_READAHEAD, 1);
    }
    cairn_workers_submit(s->fetchers, &w->task);
    return NULL;
}

struct cairn_window *cairn_window_whole(struct cairn_node *n)
{
    struct cairn_sync *s = n->sync;
    struct cairn_manifest_entry e;
    int err;
    if (cairn_node_load_locked(n) || n->stage || n->windows || n->unlinked || n->gone || !n->size ||
        n->size > CAIRN_ONE_REQUEST ||
        (n->content && cairn_meta_chunk_at(s->meta, n->content, 0, &e, NULL) == 0 &&
         cairn_cache_has(s->cache, &e.id)))
        return NULL;
    struct cairn_window *w = new_window_locked(n, 0, n->size, &err);
    if (w)
        cairn_count(s->metrics, CAIRN_READAHEAD, 1);
    return w;
}

void cairn_window_arrived(struct cairn_window *w, ssize_t got, const struct origin_stat *after)
{
    int err = got < 0 ? (int)got : is_whole(w, got, after) ? 0 : -EAGAIN;
    enum origin_error_class class = origin_error_class(err);
    /* Whatever is wrong with the file itself: who waits for it finds out by a fetch of its own. */
    if (err && class != ORIGIN_ERR_TRANSIENT && class != ORIGIN_ERR_ENDED)
        err = -EAGAIN;
    if (got >= 0)
        count_fetch(w->node->sync, got);
    arrived(w, err);
}
