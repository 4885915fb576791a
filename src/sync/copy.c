// SPDX-License-Identifier: Apache-2.0
#include "sync/copy.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "sync/fresh.h"
#include "sync/path.h"
#include "sync/stage.h"
#include "sync/upload.h"
#include "sync/window.h"

#define ENTRIES_AT_ONCE 256

static int open_node(struct cairn_node *n, const struct origin_call *c, int flags,
                     struct origin_file **ret, struct origin_stat *ret_stat)
{
    struct cairn_sync *s = n->sync;
    AUTO_FREE char *path = NULL;
    cairn_paths_begin(s);
    int err = cairn_meta_path(s->meta, n->ino, &path);
    if (!err)
        err = origin_open(s->origin, c, path, flags, 0, ret, ret_stat);
    cairn_paths_end(s);
    return err;
}

/* A part of a chunk as a chunk of its own: [start, end) of the file that `e` is an entry of. */
static bool slice(struct cairn_sync *s, const struct cairn_manifest_entry *e, uint64_t start,
                  uint64_t end, struct cairn_manifest_entry *ret)
{
    struct cairn_chunk *whole, *part = NULL;
    if (start >= end || cairn_cache_get(s->cache, &e->id, &whole))
        return false;
    if (whole->len == e->len && (part = cairn_chunk_new((uint32_t)(end - start)))) {
        memcpy(part->data, whole->data + (start - e->off), part->len);
        part->id = cairn_chunk_id_of(part->data, part->len);
        cairn_cache_put(s->cache, part, false);
        *ret = (struct cairn_manifest_entry){.off = start, .len = part->len, .id = part->id};
    }
    cairn_chunk_unref(whole);
    cairn_chunk_unref(part);
    return part != NULL;
}

static void put_one(struct cairn_sync *s, uint64_t content, const struct cairn_manifest_entry *e)
{
    cairn_meta_put_chunks(s->meta, content, e->off, e->off + e->len, e, 1);
}

/* Takes [start, end) out of a manifest, but keeps the rest of the chunks across its ends. */
static void cut_out(struct cairn_sync *s, uint64_t content, uint64_t start, uint64_t end)
{
    struct cairn_manifest_entry e, head, tail;
    bool has_head = start && cairn_meta_chunk_at(s->meta, content, start, &e, NULL) == 0 &&
                    slice(s, &e, e.off, start, &head);
    bool has_tail = cairn_meta_chunk_at(s->meta, content, end, &e, NULL) == 0 && e.off < end &&
                    slice(s, &e, end, e.off + e.len, &tail);
    cairn_meta_put_chunks(s->meta, content, start, end, NULL, 0);
    if (has_head)
        put_one(s, content, &head);
    if (has_tail)
        put_one(s, content, &tail);
}

/* The chunks of the source range become chunks of the target; those across its ends in part.
 * Holds the target's lock and the store's. */
static void share_chunks(struct cairn_sync *s, uint64_t from_content, uint64_t from_off,
                         uint64_t to_content, uint64_t to_off, uint64_t len)
{
    struct cairn_manifest_entry e[ENTRIES_AT_ONCE];
    uint64_t pos = from_off, end = from_off + len;
    cut_out(s, to_content, to_off, to_off + len);
    while (pos < end) {
        int n = cairn_meta_chunks(s->meta, from_content, pos, end, e, ENTRIES_AT_ONCE);
        if (n <= 0)
            return;
        pos = e[n - 1].off + e[n - 1].len;
        for (int i = 0; i < n; i++) {
            uint64_t first = max_u64(e[i].off, from_off), last = min_u64(e[i].off + e[i].len, end);
            if (last - first < e[i].len && !slice(s, &e[i], first, last, &e[i]))
                continue;
            e[i].off = e[i].off - from_off + to_off;
            put_one(s, to_content, &e[i]);
        }
    }
}

/* The store learns of the copied range. */
static int record_copy(uint64_t from_content, uint64_t from_off, struct cairn_node *to,
                       uint64_t to_off, uint64_t len, const struct origin_stat *after)
{
    struct cairn_sync *s = to->sync;
    struct cairn_inode in;
    pthread_mutex_lock(&to->lock);
    cairn_meta_lock(s->meta);
    cairn_fresh_mark_inode(s, to->ino);
    int err = cairn_meta_inode(s->meta, to->ino, &in);
    if (!err) {
        if (!in.content)
            in.content = cairn_meta_new_content(s->meta);
        if (from_content && after->size >= to_off + len)
            share_chunks(s, from_content, from_off, in.content, to_off, len);
        else
            cut_out(s, in.content, to_off, to_off + len);
        uint32_t mode = in.mode, uid = in.uid, gid = in.gid;
        cairn_fresh_own_stat(s, &in, after);
        in.mode = mode;
        in.uid = uid;
        in.gid = gid;
        struct cairn_version version = cairn_version_of(after);
        err = cairn_meta_put_inode(s->meta, &in);
        if (to->stage) /* it was empty when the copy began; what was written since lies over it */
            cairn_stage_rebase(to->stage, to->size, &in);
        cairn_node_switch_locked(to, in.content, &version);
    }
    cairn_meta_unlock(s->meta);
    pthread_mutex_unlock(&to->lock);
    return err;
}

static bool clean_locked(struct cairn_node *n)
{
    return !n->stage || (!n->stage->dirty && !cairn_extents_count(&n->stage->kept));
}

/* Sends what is staged and waits until the cache has it too, so that the chunks can be shared. */
static int settle(struct cairn_node *n, const struct origin_call *c)
{
    int err = cairn_upload(n, c, false, false);
    if (err)
        return err;
    struct timespec until = ns_to_timespec(c->deadline_ns);
    pthread_mutex_lock(&n->lock);
    while (n->absorbing && !err)
        err = -pthread_cond_clockwait(&n->cond, &n->lock, CLOCK_MONOTONIC, &until);
    cairn_carry_settle_locked(n);
    err = clean_locked(n) ? cairn_node_load_locked(n) : -EXDEV;
    pthread_mutex_unlock(&n->lock);
    return err;
}

ssize_t cairn_copy_range(struct cairn_node *from, uint64_t from_off, struct cairn_node *to,
                         uint64_t to_off, uint64_t len, const struct origin_call *c)
{
    struct cairn_sync *s = from->sync;
    if (!origin_can(s->origin, ORIGIN_COPY_RANGE) || from->unlinked || to->unlinked || from == to)
        return -EXDEV;
    int err = settle(from, c);
    if (!err)
        err = settle(to, c);
    if (err)
        return err;
    pthread_mutex_lock(&from->lock);
    struct cairn_version version = from->version;
    uint64_t content = from->content, size = from->size;
    pthread_mutex_unlock(&from->lock);
    if (from_off >= size)
        return 0;
    len = min_u64(len, size - from_off);

    struct origin_file *src = NULL, *dst = NULL;
    struct origin_stat st = {0}, to_st = {0};
    uint64_t done = 0;
    err = open_node(from, c, O_RDONLY, &src, &st);
    if (!err)
        err = open_node(to, c, O_RDWR, &dst, &to_st);
    struct cairn_version now = cairn_version_of(&st), to_now = cairn_version_of(&to_st);
    pthread_mutex_lock(&to->lock);
    bool known = cairn_version_equal(&now, &version) && cairn_version_equal(&to_now, &to->version);
    pthread_mutex_unlock(&to->lock);
    if (!err && !known)
        err = -EXDEV; /* another file by now: the slow way sorts it out */
    while (!err && done < len) {
        struct origin_call call = {
            .deadline_ns = cairn_now_ns() + s->timeout_ns, .cancelled = c->cancelled, .bulk = true};
        ssize_t n = origin_copy_range(src, &call, from_off + done, dst, to_off + done, len - done);
        if (n < 0)
            err = (int)n;
        else if (n == 0)
            break;
        else
            done += (uint64_t)n;
    }
    if (done) {
        err = origin_fstat(dst, c, &st);
        if (!err)
            err = record_copy(content, from_off, to, to_off, done, &st);
    }
    origin_close_file(src);
    origin_close_file(dst);
    cairn_count(s->metrics, CAIRN_UPLOAD_COPIED, done);
    cairn_sync_answered(s, err);
    if (err == -EOPNOTSUPP || err == -EACCES)
        err = -EXDEV;
    return err ? err : (ssize_t)done;
}

/* In the stage: data where bytes were written or the content shows through. */
static int64_t seek_stage(const struct cairn_stage *st, uint64_t off, int whence)
{
    if (off >= st->size)
        return -ENXIO;
    while (off < st->size) {
        struct cairn_extent e;
        bool staged = cairn_stage_find(st, off, &e);
        bool data = staged ? e.kind == CAIRN_EXTENT_DATA : off < st->base_limit;
        if (data == (whence == SEEK_DATA))
            return (int64_t)off;
        uint64_t end = min_u64(e.end, st->size);
        if (!staged && off < st->base_limit)
            end = min_u64(end, st->base_limit);
        off = end;
    }
    return whence == SEEK_HOLE ? (int64_t)st->size : -ENXIO;
}

int64_t cairn_seek(struct cairn_node *n, const struct origin_call *c, uint64_t off, int whence)
{
    pthread_mutex_lock(&n->lock);
    int err = cairn_node_load_locked(n);
    int64_t pos = err;
    bool staged = n->stage != NULL;
    uint64_t size = n->size;
    if (!err && staged)
        pos = seek_stage(n->stage, off, whence);
    pthread_mutex_unlock(&n->lock);
    if (err || staged)
        return pos;
    if (off >= size)
        return -ENXIO;
    if (origin_can(n->sync->origin, ORIGIN_SEEK_HOLES)) {
        struct origin_file *f;
        err = open_node(n, c, O_RDONLY, &f, NULL);
        if (!err) {
            pos = origin_seek(f, c, off, whence);
            origin_close_file(f);
            if (pos >= 0 || pos == -ENXIO)
                return pos;
        }
    }
    return whence == SEEK_DATA ? (int64_t)off : (int64_t)size; /* all data: always allowed */
}
