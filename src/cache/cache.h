// SPDX-License-Identifier: Apache-2.0
/* The tiers as one: memory over disk. Any thread may call anything. */
#pragma once

#include "cache/disk.h"
#include "cache/memory.h"

struct cairn_cache;

struct cairn_cache_config {
    struct cairn_disk_config disk;
    uint64_t memory_bytes;
};

int cairn_cache_open(struct cairn_cache **ret, const struct cairn_cache_config *cfg,
                     struct cairn_metrics *metrics);
void cairn_cache_close(struct cairn_cache *c); /* NULL is allowed */

/* 0 with a reference, from memory or from disk (then verified and kept in memory); -ENOENT. */
int cairn_cache_get(struct cairn_cache *c, const struct cairn_chunk_id *id,
                    struct cairn_chunk **ret);
/* These will be read soon, in this order: begins to read those that are on disk alone. Does not
 * wait for the disk. At most CAIRN_WILL_NEED_MOST. */
#define CAIRN_WILL_NEED_MOST 64
void cairn_cache_will_need(struct cairn_cache *c, const struct cairn_chunk_id *ids, size_t count);
bool cairn_cache_has(struct cairn_cache *c, const struct cairn_chunk_id *id);
/* Into both tiers; never fails. `wait` as in cairn_disk_put. */
void cairn_cache_put(struct cairn_cache *c, struct cairn_chunk *chunk, bool wait);

struct cairn_memory *cairn_cache_memory(struct cairn_cache *c);
struct cairn_disk *cairn_cache_disk(struct cairn_cache *c);
