// SPDX-License-Identifier: Apache-2.0
/*
 * A chunk's plain bytes in memory, reference-counted. Immutable once its id is set and it has been
 * shown to another thread; whoever holds a reference may read it, whatever the tiers evict.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "cdc/chunkid.h"

struct cairn_chunk {
    atomic_uint refs;
    uint32_t len; /* bytes in data */
    struct cairn_chunk_id id;
    uint8_t data[];
};

/* A buffer for `len` bytes, uninitialised, with one reference and a null id. NULL: out of memory. */
struct cairn_chunk *cairn_chunk_new(uint32_t len);
struct cairn_chunk *cairn_chunk_ref(struct cairn_chunk *c);
void cairn_chunk_unref(struct cairn_chunk *c); /* NULL is allowed; the last one frees */
