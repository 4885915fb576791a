// SPDX-License-Identifier: Apache-2.0
/*
 * The queue in front of the disk tier and the thread that empties it. A chunk in the queue counts
 * as stored: it is found here until the index knows it. The queue is bounded; what eviction
 * carries over comes first and beyond that bound.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cache/store.h"

struct writer;

/* Starts the thread. The store outlives the writer. */
int writer_start(struct writer **ret, struct disk_store *store);
/* Writes what is queued, ends the thread, frees. NULL is allowed. */
void writer_stop(struct writer *w);

/* Queues a chunk, taking a reference. False: it is queued already, the queue was full and `wait`
 * not set, or there is no memory. Any thread. */
bool writer_put(struct writer *w, struct cairn_chunk *c, bool wait);
/* A new reference to a queued chunk, or NULL. Any thread. */
struct cairn_chunk *writer_find(struct writer *w, const struct cairn_chunk_id *id);
/* Waits until the thread has started its work and written what was queued before. Any thread. */
void writer_drain(struct writer *w);
/* The bound as it is now. Any thread. */
uint64_t writer_limit(struct writer *w);
