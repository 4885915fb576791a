// SPDX-License-Identifier: Apache-2.0
#include "sync/absorb.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "sync/stage.h"

struct absorb {
    struct cairn_task task;
    struct cairn_node *n;
    uint64_t writes; /* of the stage: it must not have changed meanwhile */
    uint64_t generation;
    uint64_t content;
    uint64_t size;
    int fd;                      /* a duplicate: the stage may go */
    struct cairn_extent *extent; /* what is staged, in order */
    size_t count;
    size_t at; /* the extent that the reading position has come to */
    struct cairn_edges edges;
    struct cairn_manifest_entry *entry;
    size_t entries, room;
};

/* The chunk, of the manifest or of the edges, that has the byte at `pos`. */
static bool find_chunk(struct absorb *a, uint64_t pos, struct cairn_manifest_entry *ret)
{
    if (cairn_meta_chunk_at(a->n->sync->meta, a->content, pos, ret, NULL) == 0)
        return true;
    for (size_t i = 0; pos < a->edges.limit && i < a->edges.count; i++) {
        *ret = a->edges.entry[i];
        if (ret->off <= pos && pos < ret->off + ret->len)
            return true;
    }
    return false;
}

/*
 * Bytes of the new content from `pos` on, from the stage or from chunks that the cache has; as
 * many as are at hand, 0 if none: then the range ends here.
 */
static size_t read_local(struct absorb *a, uint64_t pos, uint8_t *buf, size_t len)
{
    struct cairn_sync *s = a->n->sync;
    size_t done = 0;
    /* The manifest may have grown beyond our size since: then another absorption is due. */
    while (done < len && pos < a->size) {
        while (a->at < a->count && a->extent[a->at].end <= pos)
            a->at++;
        const struct cairn_extent *e = a->at < a->count ? &a->extent[a->at] : NULL;
        if (e && e->start <= pos) {
            if (e->kind != CAIRN_EXTENT_DATA)
                break; /* zeros: the origin has a hole there, and so has the manifest */
            ssize_t n = pread(a->fd, buf + done, min_u64(len - done, e->end - pos), (off_t)pos);
            if (n <= 0)
                break;
            done += (size_t)n;
            pos += (uint64_t)n;
            continue;
        }
        struct cairn_manifest_entry m;
        struct cairn_chunk *c;
        if (!find_chunk(a, pos, &m) || cairn_cache_get(s->cache, &m.id, &c))
            break;
        uint64_t end = min_u64(m.off + m.len, a->size);
        if (pos < a->edges.limit)
            end = min_u64(end, a->edges.limit);
        if (e)
            end = min_u64(end, e->start);
        size_t n = min_u64(len - done, end - pos);
        memcpy(buf + done, c->data + (pos - m.off), n);
        cairn_chunk_unref(c);
        done += n;
        pos += n;
    }
    return done;
}

static int add_chunk(struct absorb *a, uint64_t off, const uint8_t *data, uint32_t len)
{
    if (a->entries == a->room) {
        size_t room = a->room ? a->room * 2 : 64;
        struct cairn_manifest_entry *e = realloc(a->entry, room * sizeof *e);
        if (!e)
            return -ENOMEM;
        a->entry = e;
        a->room = room;
    }
    struct cairn_chunk *c = cairn_chunk_new(len);
    if (!c)
        return -ENOMEM;
    memcpy(c->data, data, len);
    c->id = cairn_chunk_id_of(c->data, len);
    a->entry[a->entries++] = (struct cairn_manifest_entry){.off = off, .len = len, .id = c->id};
    cairn_cache_put(a->n->sync->cache, c, true);
    cairn_chunk_unref(c);
    return 0;
}

/* Is there an old cut at `pos`? */
static bool old_cut_at(struct absorb *a, uint64_t pos)
{
    struct cairn_manifest_entry m;
    return cairn_meta_chunk_at(a->n->sync->meta, a->content, pos, &m, NULL) == 0 && m.off == pos;
}

/*
 * Cuts from `start` on until a cut at or behind `end` is an old one, or bytes run out. Returns
 * where it stopped in *ret_end.
 */
static int cut_range(struct absorb *a, uint64_t start, uint64_t end, uint64_t *ret_end)
{
    const struct cairn_cdc *cdc = &a->n->sync->cdc;
    size_t max = cdc->params.max_bytes, room = max_u64(4 * MIB, 4 * max), have = 0, used = 0;
    AUTO_FREE uint8_t *buf = malloc(room);
    if (!buf)
        return -ENOMEM;
    bool more = true;
    int err = 0;
    for (uint64_t pos = start; !err;) {
        if (more && have - used < max) {
            memmove(buf, buf + used, have - used);
            have -= used;
            used = 0;
            size_t got = read_local(a, pos + have, buf + have, room - have);
            more = have + got == room;
            have += got;
        }
        if (have == used || (pos >= end && old_cut_at(a, pos))) {
            *ret_end = pos;
            return 0;
        }
        size_t len = cairn_cdc_cut(cdc, buf + used, have - used);
        err = add_chunk(a, pos, buf + used, (uint32_t)len);
        used += len;
        pos += len;
    }
    return err;
}

/* Where to begin for a change at `pos`: at the last cut before it, if the bytes are at hand. */
static uint64_t last_cut(struct absorb *a, uint64_t pos)
{
    struct cairn_manifest_entry m;
    if (pos == 0 || !find_chunk(a, pos - 1, &m) || m.off + m.len == pos ||
        !cairn_cache_has(a->n->sync->cache, &m.id))
        return pos;
    return m.off;
}

static void finish(struct absorb *a, int err)
{
    struct cairn_node *n = a->n;
    pthread_mutex_lock(&n->lock);
    n->absorbing = false;
    pthread_cond_broadcast(&n->cond);
    struct cairn_stage *st = n->stage;
    if (st && st->writes == a->writes && n->generation == a->generation) {
        for (size_t i = 0; !err && i < a->entries;) {
            /* Runs without a gap, one replacement each. */
            size_t j = i + 1;
            while (j < a->entries && a->entry[j].off == a->entry[j - 1].off + a->entry[j - 1].len)
                j++;
            cairn_meta_lock(n->sync->meta);
            err = cairn_meta_put_chunks(n->sync->meta, a->content, a->entry[i].off,
                                        a->entry[j - 1].off + a->entry[j - 1].len, &a->entry[i],
                                        (unsigned)(j - i));
            cairn_meta_unlock(n->sync->meta);
            i = j;
        }
        cairn_stage_settle(st);
    } else if (st && !st->dirty && cairn_extents_count(&st->kept)) {
        cairn_absorb_start(n, &(struct cairn_edges){0}); /* it was overtaken by another upload */
    }
    cairn_absorb_release_locked(n);
    pthread_mutex_unlock(&n->lock);
}

static void run(struct cairn_task *t)
{
    struct absorb *a = container_of(t, struct absorb, task);
    uint64_t done = 0;
    int err = 0;
    for (size_t i = 0; !err && i < a->count; i++) {
        const struct cairn_extent *e = &a->extent[i];
        if (e->end <= done || e->kind != CAIRN_EXTENT_DATA)
            continue;
        a->at = 0;
        uint64_t start = max_u64(last_cut(a, max_u64(e->start, done)), done);
        err = cut_range(a, start, e->end, &done);
    }
    finish(a, err);
    close(a->fd);
    cairn_node_unref(a->n);
    free(a->edges.entry);
    free(a->entry);
    free(a->extent);
    free(a);
}

void cairn_absorb_start(struct cairn_node *n, struct cairn_edges *edges)
{
    struct cairn_stage *st = n->stage;
    if (n->absorbing) /* its result will not fit any more; it starts another when it ends */
        return;
    struct absorb *a = calloc(1, sizeof *a);
    struct cairn_extent *extent = malloc((cairn_extents_count(&st->kept) + 1) * sizeof *extent);
    int fd = dup(st->fd);
    if (!a || !extent || fd < 0) {
        /* Not cached, then: the origin has it. */
        free(a);
        free(extent);
        if (fd >= 0)
            close(fd);
        cairn_stage_settle(st);
        cairn_absorb_release_locked(n);
        return;
    }
    *a = (struct absorb){.task = {.run = run},
                         .n = cairn_node_ref(n),
                         .writes = st->writes,
                         .generation = n->generation,
                         .content = n->content,
                         .size = st->size,
                         .fd = fd,
                         .extent = extent,
                         .edges = *edges};
    edges->entry = NULL;
    for (uint64_t pos = 0; cairn_extents_next(&st->kept, pos, &extent[a->count]);)
        pos = extent[a->count++].end;
    n->absorbing = true;
    cairn_workers_submit(n->sync->background, &a->task);
}

void cairn_absorb_release_locked(struct cairn_node *n)
{
    struct cairn_stage *st = n->stage;
    if (!st || n->writers || n->uploading || n->absorbing)
        return;
    /* Of a file without a name it is all there is, as long as somebody has it open. */
    if (st->dirty && !(n->unlinked && !n->opens))
        return;
    n->stage = NULL;
    cairn_stage_free(st);
}
