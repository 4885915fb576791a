// SPDX-License-Identifier: Apache-2.0
/*
 * Memory for windows: large buffers come and go at the pace of the data, and a fresh mapping of
 * each would cost more than its contents' way through the cache. Some are kept while others are in
 * use, on huge pages where the kernel has them; none when the last one is given back.
 */
#pragma once

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct cairn_buffers {
    pthread_mutex_t lock;
    /* under lock */
    struct cairn_buffer *kept;
    unsigned kept_count;
    unsigned used; /* large ones given out */
};

void cairn_buffers_init(struct cairn_buffers *b);
void cairn_buffers_destroy(struct cairn_buffers *b); /* none is in use */

/* `len` bytes, aligned for any type; NULL: out of memory. */
uint8_t *cairn_buffer_get(struct cairn_buffers *b, size_t len);
/* `len` as it was asked for; NULL is allowed. */
void cairn_buffer_put(struct cairn_buffers *b, uint8_t *buf, size_t len);
