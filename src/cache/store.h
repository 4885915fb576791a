// SPDX-License-Identifier: Apache-2.0
/*
 * What the disk tier keeps on disk: the segments, the index over them, and how hot they are. Opens,
 * rebuilds, reads. Its writing side is the appender's, its queue the writer's.
 */
#pragma once

#include "base/metrics.h"
#include "cache/chunk.h"
#include "cache/codec.h"
#include "cache/heat.h"
#include "cache/index.h"
#include "cache/segment.h"

/* Set once at open; each part has its own locks. */
struct disk_store {
    int dirfd;
    uint64_t max_bytes;
    bool compress;          /* new chunks, where it pays */
    uint32_t segment_bytes; /* nominal size of a segment, its table of contents included */
    bool audit_needed;      /* it was not closed: entries may point nowhere. The writer's thread */
    struct disk_index *index;
    struct segment_set *segments;
    struct heat *heat;
    struct codec *codec;
    struct cairn_metrics *metrics;
};

/* Opens or makes DIR. `level` is zstd's, 0 for raw. */
int store_open(struct disk_store **ret, const char *dir, uint64_t max_bytes, int level,
               struct cairn_metrics *metrics);
/* Syncs, marks clean. No reader or writer is left. NULL is allowed. */
void store_close(struct disk_store *s);

/*
 * Reads and verifies. -ENOENT: absent, or was damaged and is so no longer. -EAGAIN: its segment
 * went away meanwhile, look again where the writer keeps what it carries over; `final` turns that
 * into -ENOENT. -ENOMEM. Any thread.
 */
int store_get(struct disk_store *s, const struct cairn_chunk_id *id, bool final,
              struct cairn_chunk **ret);
/* As store_get for a place already known, without counting a hit. -ENOENT, -ENOMEM. */
int store_read(struct disk_store *s, const struct cairn_chunk_id *id, const struct place *place,
               const struct segment *segment, int fd, struct cairn_chunk **ret);
/* Has the kernel read what these will need, in few large pieces where they lie side by side. Those
 * absent are left out. Does not wait for the disk. */
void store_will_need(struct disk_store *s, const struct cairn_chunk_id *ids, size_t count);
/* The same for what lies around this one: it was stored with it. Once in a while for each place. */
void store_will_need_around(struct disk_store *s, const struct cairn_chunk_id *id);
bool store_has(struct disk_store *s, const struct cairn_chunk_id *id);
/* Drops index entries that point nowhere and counts anew. The writer's thread. */
void store_audit(struct disk_store *s);
/* What segment files and the index occupy. */
uint64_t store_bytes(const struct disk_store *s);
/* The most that the index may grow to, bytes. */
uint64_t store_index_limit(const struct disk_store *s);
