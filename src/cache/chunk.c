// SPDX-License-Identifier: Apache-2.0
/*
 * Chunk buffers come straight from malloc: a freed one is handed out again by the allocator. That
 * holds only while chunks stay below M_MMAP_THRESHOLD: a fresh mapping per chunk would cost a page
 * fault for each 4 KiB, more than copying and hashing together. The mount raises that threshold
 * (glibc takes 32 MiB at most and silently refuses more) and M_TRIM_THRESHOLD with mallopt(3).
 */
#include "cache/chunk.h"

#include <stdlib.h>
#include <string.h>

struct cairn_chunk *cairn_chunk_new(uint32_t len)
{
    struct cairn_chunk *c = malloc(sizeof(*c) + len);
    if (!c)
        return NULL;
    atomic_init(&c->refs, 1);
    c->len = len;
    memset(&c->id, 0, sizeof(c->id));
    return c;
}

struct cairn_chunk *cairn_chunk_ref(struct cairn_chunk *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void cairn_chunk_unref(struct cairn_chunk *c)
{
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        free(c);
}
