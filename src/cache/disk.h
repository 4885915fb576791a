// SPDX-License-Identifier: Apache-2.0
/*
 * The disk tier: chunks in append-only segment files, found through a persistent index.
 *
 * Any thread may call anything. A get never waits for a put's disk write: chunks that wait for the
 * writer thread are found in memory. Everything here can be fetched again from the origin, so no
 * damage is fatal: a chunk that fails verification is dropped, counted and reported as absent.
 */
#pragma once

#include <stdbool.h>

#include "base/metrics.h"
#include "cache/chunk.h"

struct cairn_disk;

struct cairn_disk_config {
    const char *dir;        /* exists, is ours alone (the caller holds its lock) */
    uint64_t max_bytes;     /* exact bound of what segments occupy, index and all */
    int zstd_level;         /* 0 = store raw */
};

/* Opens or creates, in constant time whatever the size. A damaged index is rebuilt from the
 * segments. -errno, e.g. -EACCES, -ENOSPC. */
int cairn_disk_open(struct cairn_disk **ret, const struct cairn_disk_config *cfg,
                    struct cairn_metrics *metrics);
/* Writes what is queued, syncs the segments and the index, closes. NULL is allowed. */
void cairn_disk_close(struct cairn_disk *d);

/* 0 with a new reference and verified bytes; -ENOENT if absent or found damaged; -ENOMEM. */
int cairn_disk_get(struct cairn_disk *d, const struct cairn_chunk_id *id, struct cairn_chunk **ret);
/* These will be read soon, in this order: begins to read them. Does not wait for the disk. */
void cairn_disk_will_need(struct cairn_disk *d, const struct cairn_chunk_id *ids, size_t count);
/* The same for what was stored along with this one. */
void cairn_disk_will_need_around(struct cairn_disk *d, const struct cairn_chunk_id *id);
bool cairn_disk_has(struct cairn_disk *d, const struct cairn_chunk_id *id);

/* Says that the chunk was served from elsewhere (the memory tier): hot here, too. */
void cairn_disk_touch(struct cairn_disk *d, const struct cairn_chunk_id *id);

/*
 * Queues the chunk (taking a reference) for the writer thread, unless it is there already. When
 * the queue is full the calling thread waits if `wait`, else the chunk is not stored (a cache may
 * forget). Never fails a caller: write errors are counted, a full disk shrinks the tier.
 */
void cairn_disk_put(struct cairn_disk *d, struct cairn_chunk *c, bool wait);

/* Returns when all that was queued before is written (not synced). For tests and unmount. */
void cairn_disk_drain(struct cairn_disk *d);

struct cairn_disk_stats {
    uint64_t max_bytes;
    uint64_t stored_bytes;  /* what the segment files and the index occupy */
    uint64_t record_bytes;  /* of that: live records as stored, headers included */
    uint64_t plain_bytes;   /* the same chunks' plain lengths: unique bytes */
    uint64_t chunks;
    uint64_t segments;
};
void cairn_disk_stats(struct cairn_disk *d, struct cairn_disk_stats *ret);
