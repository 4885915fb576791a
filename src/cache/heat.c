// SPDX-License-Identifier: Apache-2.0
/* A counting sketch with one row; see Einziger et al., "TinyLFU", 2017, for the ageing. */
#include "cache/heat.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define COUNTERS (1U << 18)
#define COUNT    0x0fU
#define TOUCHED  0x80U /* by heat_touch_first since the last ageing */

struct heat {
    _Atomic uint8_t counters[COUNTERS];
};

static size_t index_of(const struct cairn_chunk_id *id)
{
    /* Not the bits that place an id in the index or in a shard of the memory tier. */
    return (size_t)(cairn_chunk_id_hash(id) >> 32) & (COUNTERS - 1);
}

int heat_new(struct heat **ret)
{
    struct heat *h = calloc(1, sizeof(*h));
    if (!h)
        return -ENOMEM;
    *ret = h;
    return 0;
}

void heat_free(struct heat *h)
{
    free(h);
}

/* Without a locked instruction: a lost increment is cheaper than a wait. */
static unsigned touch(struct heat *h, const struct cairn_chunk_id *id, unsigned mark)
{
    _Atomic uint8_t *c = &h->counters[index_of(id)];
    unsigned old = atomic_load_explicit(c, memory_order_relaxed);
    unsigned new = (old | mark) + ((old & COUNT) < HEAT_MAX ? 1 : 0);
    if (new != old)
        atomic_store_explicit(c, (uint8_t) new, memory_order_relaxed);
    return old;
}

void heat_touch(struct heat *h, const struct cairn_chunk_id *id)
{
    touch(h, id, 0);
}

bool heat_touch_first(struct heat *h, const struct cairn_chunk_id *id)
{
    return !(touch(h, id, TOUCHED) & TOUCHED);
}

unsigned heat_of(const struct heat *h, const struct cairn_chunk_id *id)
{
    return atomic_load_explicit(&((struct heat *)(uintptr_t)h)->counters[index_of(id)],
                                memory_order_relaxed) &
           COUNT;
}

void heat_age(struct heat *h)
{
    for (size_t i = 0; i < COUNTERS; i++) {
        uint8_t v = atomic_load_explicit(&h->counters[i], memory_order_relaxed);
        if (v)
            atomic_store_explicit(&h->counters[i], (uint8_t)((v & COUNT) / 2),
                                  memory_order_relaxed);
    }
}
