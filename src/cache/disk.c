// SPDX-License-Identifier: Apache-2.0
/* The disk tier as a whole: the writer's queue over the store. See disk.h. */
#include "cache/disk.h"

#include <errno.h>
#include <stdlib.h>

#include "cache/store.h"
#include "cache/writer.h"

/* How often a get starts again because eviction was faster. */
#define GET_TRIES 4

struct cairn_disk {
    struct disk_store *store;
    struct writer *writer;
    struct cairn_metrics *metrics;
};

int cairn_disk_open(struct cairn_disk **ret, const struct cairn_disk_config *cfg,
                    struct cairn_metrics *metrics)
{
    struct cairn_disk *d = calloc(1, sizeof(*d));
    if (!d)
        return -ENOMEM;
    d->metrics = metrics;
    int r = store_open(&d->store, cfg->dir, cfg->max_bytes, cfg->zstd_level, metrics);
    if (r == 0)
        r = writer_start(&d->writer, d->store);
    if (r < 0) {
        cairn_disk_close(d);
        return r;
    }
    *ret = d;
    return 0;
}

void cairn_disk_close(struct cairn_disk *d)
{
    if (!d)
        return;
    writer_stop(d->writer);
    store_close(d->store);
    free(d);
}

int cairn_disk_get(struct cairn_disk *d, const struct cairn_chunk_id *id, struct cairn_chunk **ret)
{
    for (int i = 1;; i++) {
        /* The queue before the index: what leaves the one is in the other already. */
        struct cairn_chunk *c = writer_find(d->writer, id);
        if (c) {
            *ret = c;
            cairn_disk_touch(d, id);
            cairn_count(d->metrics, CAIRN_DISK_HIT, 1);
            return 0;
        }
        int r = store_get(d->store, id, i == GET_TRIES, ret);
        if (r != -EAGAIN)
            return r;
    }
}

void cairn_disk_will_need(struct cairn_disk *d, const struct cairn_chunk_id *ids, size_t count)
{
    store_will_need(d->store, ids, count);
}

void cairn_disk_will_need_around(struct cairn_disk *d, const struct cairn_chunk_id *id)
{
    store_will_need_around(d->store, id);
}

bool cairn_disk_has(struct cairn_disk *d, const struct cairn_chunk_id *id)
{
    struct cairn_chunk *c = writer_find(d->writer, id);
    if (!c)
        return store_has(d->store, id);
    cairn_chunk_unref(c);
    return true;
}

void cairn_disk_put(struct cairn_disk *d, struct cairn_chunk *c, bool wait)
{
    if (c->len == 0)
        return;
    if (cairn_disk_has(d, &c->id))
        cairn_count(d->metrics, CAIRN_CHUNK_DEDUP, 1);
    else
        writer_put(d->writer, c, wait);
}

void cairn_disk_touch(struct cairn_disk *d, const struct cairn_chunk_id *id)
{
    heat_touch(d->store->heat, id);
}

void cairn_disk_drain(struct cairn_disk *d)
{
    writer_drain(d->writer);
}

void cairn_disk_stats(struct cairn_disk *d, struct cairn_disk_stats *ret)
{
    struct disk_index_stats index;
    disk_index_stats(d->store->index, &index);
    *ret = (struct cairn_disk_stats){
        .max_bytes = writer_limit(d->writer),
        .stored_bytes = store_bytes(d->store),
        .record_bytes = index.record_bytes,
        .plain_bytes = index.plain_bytes,
        .chunks = index.chunks,
        .segments = segment_set_count(d->store->segments),
    };
}
