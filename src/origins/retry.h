// SPDX-License-Identifier: Apache-2.0
/*
 * The wrapper that tries again: what failed as ORIGIN_ERR_TRANSIENT is repeated until the call's
 * deadline, what failed as ESTALE three times at most; all else is the answer. Between two tries
 * it waits a random time from 0 to a bound that doubles from 50 ms to 2 s ("full jitter"), and stops
 * waiting when the call is cancelled (-EINTR). A call whose deadline would pass while waiting ends
 * at once with the last error, which says more than ETIMEDOUT; a call without deadline ends so
 * after 16 tries.
 *
 * An operation that may have been done although its answer was lost is not taken for failed when
 * its repetition finds it done: EEXIST, ENOENT are then verified against what is there.
 *
 * A listing is repeated only until its first page was handed out.
 *
 * Reference: M. Brooker, "Exponential Backoff And Jitter" (2015).
 */
#pragma once

#include "origins/origin.h"

/* Time and chance, for tests. */
struct retry_clock {
    int64_t (*now)(void *arg); /* ns, as origin_call.deadline_ns */
    /* Waits `ns`, or less if the call is cancelled meanwhile. */
    void (*sleep)(void *arg, const struct origin_call *c, int64_t ns);
    uint64_t (*random)(void *arg);
    void *arg;
};

/*
 * Takes `next` on success and closes it with itself. `name` is for the log, and copied. `clock`
 * (NULL: the real one) is copied. `m` may be NULL. 0 or -ENOMEM.
 */
int origin_retry_new(struct origin **ret, struct origin *next, const char *name,
                     const struct retry_clock *clock, struct cairn_metrics *m);
