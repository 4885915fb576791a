// SPDX-License-Identifier: Apache-2.0
/* Random numbers for property tests: each run has another seed, CAIRN_SEED repeats a run. */
#pragma once

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

/* The state to start from; printed, so that a failure can be repeated. */
static inline uint64_t test_seed(void)
{
    const char *given = getenv("CAIRN_SEED");
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t seed = given ? strtoull(given, NULL, 0)
                          : (uint64_t)t.tv_sec * 1000000007ULL + (uint64_t)t.tv_nsec;
    printf("CAIRN_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    return seed;
}
