// SPDX-License-Identifier: Apache-2.0
/*
 * Threads that run what may block: calls to the origin, uploads, chunking of what was written.
 * Threads are made on demand up to a bound and end after a while without work.
 */
#pragma once

#include <stdint.h>

/* Embedded in what is to be run; owned by its submitter until `run` is called. */
struct cairn_task {
    void (*run)(struct cairn_task *t);
    struct cairn_task *next;
};

struct cairn_workers;

/* `name` (at most 12 characters) is shown by ps and gdb. */
int cairn_workers_new(struct cairn_workers **ret, const char *name, unsigned max_threads);
/* Runs what is queued, waits for all of it, ends the threads. NULL is allowed. */
void cairn_workers_free(struct cairn_workers *w);

/* In the order of submission. Never fails: without a thread to be had it runs in the caller. */
void cairn_workers_submit(struct cairn_workers *w, struct cairn_task *t);

/* Waits until nothing is queued or running. */
void cairn_workers_drain(struct cairn_workers *w);
