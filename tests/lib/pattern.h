// SPDX-License-Identifier: Apache-2.0
/* Pseudo-random numbers and bytes that a seed brings back. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The next number of a generator whose whole state is `*state` (splitmix64). */
uint64_t rng_next(uint64_t *state);

/* Bytes that depend on the seed and their offset alone: any piece of the same endless file. */
void pattern_fill(uint64_t seed, uint64_t off, void *buf, size_t len);
