// SPDX-License-Identifier: Apache-2.0
/*
 * The writing side of the disk tier: appends batches of chunks to the open segment and keeps the
 * bound, evicting the coldest segments and carrying their hot chunks over. One thread uses it.
 */
#pragma once

#include <stdbool.h>

#include "cache/store.h"

#define APPENDER_BATCH_CHUNKS 256U
#define APPENDER_BATCH_BYTES  (4U << 20)

struct appender;

/* Takes over a hot chunk (with a reference) of a segment about to be evicted, so that it can be
 * found at once and is written again later. False: there is no room, it may go. */
typedef bool appender_carry_fn(void *arg, struct cairn_chunk *c);

int appender_new(struct appender **ret, struct disk_store *store, appender_carry_fn *carry,
                 void *arg);
/* Seals the open segment. NULL is allowed. */
void appender_free(struct appender *a);

/* Once, before the first batch: repairs what a crash left, evicts down to the bound. */
void appender_start(struct appender *a);
/* Writes up to APPENDER_BATCH_CHUNKS chunks and indexes them. What cannot be written is forgotten:
 * the caller is not to do anything about it. */
void appender_write(struct appender *a, struct cairn_chunk *const *chunks, unsigned n);
/* The bound as it is now; below max_bytes after a full disk. Any thread. */
uint64_t appender_limit(const struct appender *a);
