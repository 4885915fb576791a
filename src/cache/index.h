// SPDX-License-Identifier: Apache-2.0
/*
 * The persistent index of the disk tier: chunk id -> place, a mapped open-addressing hash table
 * (linear probing, deletion by backward shift). Opening maps the file and reads one page.
 *
 * Slots carry check bits, so one that a crash tore is noticed and ignored; and whatever the index
 * says is a hint only, since the record behind it is verified. So nothing here is ever synced
 * but at a clean close and when the table grows.
 *
 * Any thread may find and remove; put, reserve and audit belong to one thread (the writer's).
 * A find that hits takes no lock; one that misses waits for a change under way.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cache/record.h"

struct disk_index;

struct disk_index_stats {
    uint64_t chunks;
    uint64_t plain_bytes;
    uint64_t record_bytes; /* headers and padding included */
};

/* Opens DIR/index. -ENOENT; -EBADMSG if it is damaged or of another format. *ret_clean: it was
 * closed properly, its counters are exact. `dirfd` is borrowed and outlives the index. */
int disk_index_open(struct disk_index **ret, int dirfd, bool *ret_clean);
/* Makes a new empty one of at least `slots` slots, replacing what is there. Until it is declared
 * complete, an open finds it damaged: a rebuild that was cut short begins anew. */
int disk_index_create(struct disk_index **ret, int dirfd, uint64_t slots);
void disk_index_complete(struct disk_index *ix);
/* Syncs and marks it clean, then frees. NULL is allowed. */
void disk_index_close(struct disk_index *ix);

bool disk_index_find(struct disk_index *ix, const struct cairn_chunk_id *id, struct place *ret);
/* Adds or replaces. -ENOSPC if disk_index_reserve was not asked for room. */
int disk_index_put(struct disk_index *ix, const struct cairn_chunk_id *id, const struct place *p);
/* Removes the entry if it still points to that place. True if it did. */
bool disk_index_remove(struct disk_index *ix, const struct cairn_chunk_id *id,
                       const struct place *only);

/* True if `n` more entries keep the table at most 70 % full. */
bool disk_index_has_room(struct disk_index *ix, uint64_t n);
/* Doubles the table. -ENOSPC, -ENOMEM, ...: the table is as it was. Finds go on meanwhile. */
int disk_index_grow(struct disk_index *ix);
uint64_t disk_index_file_bytes(struct disk_index *ix);

/* Drops torn entries and those for which `alive` is false, and counts anew. */
void disk_index_audit(struct disk_index *ix, bool (*alive)(void *arg, const struct place *p),
                      void *arg);
void disk_index_stats(struct disk_index *ix, struct disk_index_stats *ret);
