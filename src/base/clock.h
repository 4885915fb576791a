// SPDX-License-Identifier: Apache-2.0
/* Time. Deadlines and ages are nanoseconds of CLOCK_MONOTONIC; INT64_MAX means never. */
#pragma once

#include <stdint.h>
#include <time.h>

#define CAIRN_NEVER INT64_MAX

static inline int64_t timespec_to_ns(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000LL + t.tv_nsec;
}

static inline struct timespec ns_to_timespec(int64_t ns)
{
    struct timespec t = {.tv_sec = ns / 1000000000LL, .tv_nsec = ns % 1000000000LL};
    if (t.tv_nsec < 0) {
        t.tv_nsec += 1000000000LL;
        t.tv_sec--;
    }
    return t;
}

/* Now, for deadlines and ages. */
static inline int64_t cairn_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return timespec_to_ns(t);
}

/* Now, for timestamps of files: the kernel's coarse clock, as local filesystems use. */
static inline int64_t cairn_wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME_COARSE, &t);
    return timespec_to_ns(t);
}
