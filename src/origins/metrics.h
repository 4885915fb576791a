// SPDX-License-Identifier: Apache-2.0
/*
 * The topmost wrapper: counts calls, errors, timeouts and bytes into the mount's counters, and keeps
 * a histogram of latencies for each operation. Any thread may call and read.
 */
#pragma once

#include "origins/origin.h"

#define ORIGIN_LATENCY_BUCKETS 32

struct origin_op_metrics {
    const char *name;   /* "stat", "pread", ...; static */
    uint64_t calls;
    uint64_t errors;    /* failures of the origin; "no such file" is an answer, not a failure */
    uint64_t bytes;     /* moved or copied */
    /* latency[i]: calls that took less than 2^i microseconds and not less than 2^(i-1); the last
     * bucket takes all that were slower. */
    uint64_t latency[ORIGIN_LATENCY_BUCKETS];
};

/* Takes `next` on success and closes it with itself. `m` may be NULL. 0 or -ENOMEM. */
int origin_metrics_new(struct origin **ret, struct origin *next, struct cairn_metrics *m);

/* The numbers of operation `op`, counted from 0. False beyond the last, or if `o` is not the top of
 * a stack made by origin_connect. */
bool origin_metrics_get(struct origin *o, size_t op, struct origin_op_metrics *ret);

/* The time within which `share` (0.5, 0.99) of the calls ended: the upper edge of its bucket, in
 * microseconds; 0 without calls. */
uint64_t origin_metrics_percentile_us(const struct origin_op_metrics *m, double share);
