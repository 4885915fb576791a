// SPDX-License-Identifier: Apache-2.0
/*
 * The memory tier: recently and often used chunks, by id, up to a number of bytes. Sharded, each
 * shard with its own lock and its own scan-resistant eviction queue (S3-FIFO: Yang et al.,
 * "FIFO queues are all you need for cache eviction", SOSP 2023). Any thread may call anything.
 */
#pragma once

#include <stdbool.h>

#include "base/metrics.h"
#include "cache/chunk.h"

struct cairn_memory;

int cairn_memory_new(struct cairn_memory **ret, uint64_t max_bytes, struct cairn_metrics *metrics);
void cairn_memory_free(struct cairn_memory *m); /* NULL is allowed */

/* A new reference (the caller unrefs), or NULL. */
struct cairn_chunk *cairn_memory_get(struct cairn_memory *m, const struct cairn_chunk_id *id);
/* Whether it is there; not counted as use. */
bool cairn_memory_has(struct cairn_memory *m, const struct cairn_chunk_id *id);
/* Takes a reference of its own if it keeps the chunk. A chunk already there is left as it is. */
void cairn_memory_put(struct cairn_memory *m, struct cairn_chunk *c);

struct cairn_memory_stats {
    uint64_t bytes; /* of chunk data */
    uint64_t chunks;
    uint64_t max_bytes;
};
void cairn_memory_stats(struct cairn_memory *m, struct cairn_memory_stats *ret);
