// SPDX-License-Identifier: Apache-2.0
/*
 * The two tiers as one. What is read from disk is verified once and then kept in memory; what
 * memory serves still counts as hot on disk, else eviction there would drop just what is used most.
 */
#include "cache/cache.h"

#include <errno.h>
#include <stdlib.h>

struct cairn_cache {
    struct cairn_memory *memory;
    struct cairn_disk *disk;
};

int cairn_cache_open(struct cairn_cache **ret, const struct cairn_cache_config *cfg,
                     struct cairn_metrics *metrics)
{
    struct cairn_cache *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    int r = cairn_memory_new(&c->memory, cfg->memory_bytes, metrics);
    if (r == 0)
        r = cairn_disk_open(&c->disk, &cfg->disk, metrics);
    if (r < 0) {
        cairn_cache_close(c);
        return r;
    }
    *ret = c;
    return 0;
}

void cairn_cache_close(struct cairn_cache *c)
{
    if (!c)
        return;
    cairn_disk_close(c->disk);
    cairn_memory_free(c->memory);
    free(c);
}

int cairn_cache_get(struct cairn_cache *c, const struct cairn_chunk_id *id,
                    struct cairn_chunk **ret)
{
    struct cairn_chunk *chunk = cairn_memory_get(c->memory, id);
    if (chunk) {
        cairn_disk_touch(c->disk, id);
        *ret = chunk;
        return 0;
    }
    int r = cairn_disk_get(c->disk, id, &chunk);
    if (r < 0)
        return r;
    cairn_memory_put(c->memory, chunk);
    *ret = chunk;
    return 0;
}

void cairn_cache_will_need(struct cairn_cache *c, const struct cairn_chunk_id *ids, size_t count)
{
    struct cairn_chunk_id absent[CAIRN_WILL_NEED_MOST];
    size_t n = 0;
    for (size_t i = 0; i < count && i < CAIRN_WILL_NEED_MOST; i++)
        if (!cairn_memory_has(c->memory, &ids[i]))
            absent[n++] = ids[i];
    cairn_disk_will_need(c->disk, absent, n);
}

bool cairn_cache_has(struct cairn_cache *c, const struct cairn_chunk_id *id)
{
    return cairn_memory_has(c->memory, id) || cairn_disk_has(c->disk, id);
}

void cairn_cache_put(struct cairn_cache *c, struct cairn_chunk *chunk, bool wait)
{
    cairn_memory_put(c->memory, chunk);
    cairn_disk_put(c->disk, chunk, wait);
}

struct cairn_memory *cairn_cache_memory(struct cairn_cache *c)
{
    return c->memory;
}

struct cairn_disk *cairn_cache_disk(struct cairn_cache *c)
{
    return c->disk;
}
