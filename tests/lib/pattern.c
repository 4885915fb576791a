// SPDX-License-Identifier: Apache-2.0
#include "pattern.h"

#include <string.h>

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

uint64_t rng_next(uint64_t *state)
{
    return mix(*state += 0x9e3779b97f4a7c15ULL);
}

void pattern_fill(uint64_t seed, uint64_t off, void *buf, size_t len)
{
    uint8_t *p = buf;
    for (size_t i = 0; i < len;) {
        uint64_t pos = off + i;
        uint64_t word = mix(seed * 0x9e3779b97f4a7c15ULL + pos / 8 + 1);
        size_t skip = pos % 8;
        size_t n = 8 - skip < len - i ? 8 - skip : len - i;
        memcpy(p + i, (uint8_t *)&word + skip, n);
        i += n;
    }
}
