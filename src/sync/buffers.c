// SPDX-License-Identifier: Apache-2.0
#include "sync/buffers.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/util.h"

#define LARGE      (1 * MIB)  /* smaller ones are malloc's */
#define LARGE_ROOM (10 * MIB) /* what a kept one can hold: a window and a chunk before it */
#define KEPT_MOST  8

/* In the first bytes of one that is kept. */
struct cairn_buffer {
    struct cairn_buffer *next;
};

static bool is_pooled(size_t len)
{
    return len >= LARGE && len <= LARGE_ROOM;
}

void cairn_buffers_init(struct cairn_buffers *b)
{
    *b = (struct cairn_buffers){0};
    pthread_mutex_init(&b->lock, NULL);
}

static void free_list(struct cairn_buffer *list)
{
    while (list) {
        struct cairn_buffer *next = list->next;
        munmap(list, LARGE_ROOM);
        list = next;
    }
}

void cairn_buffers_destroy(struct cairn_buffers *b)
{
    free_list(b->kept);
    pthread_mutex_destroy(&b->lock);
}

uint8_t *cairn_buffer_get(struct cairn_buffers *b, size_t len)
{
    if (!is_pooled(len))
        return malloc(len);
    pthread_mutex_lock(&b->lock);
    struct cairn_buffer *kept = b->kept;
    if (kept) {
        b->kept = kept->next;
        b->kept_count--;
    }
    b->used++;
    pthread_mutex_unlock(&b->lock);
    if (kept)
        return (uint8_t *)kept;
    void *fresh =
        mmap(NULL, LARGE_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fresh != MAP_FAILED) {
        madvise(fresh, LARGE_ROOM, MADV_HUGEPAGE);
        return fresh;
    }
    pthread_mutex_lock(&b->lock);
    b->used--;
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

void cairn_buffer_put(struct cairn_buffers *b, uint8_t *buf, size_t len)
{
    if (!buf || !is_pooled(len)) {
        free(buf);
        return;
    }
    struct cairn_buffer *given = (struct cairn_buffer *)(void *)buf, *unused = NULL;
    pthread_mutex_lock(&b->lock);
    if (--b->used && b->kept_count == KEPT_MOST) {
        given->next = NULL;
        unused = given;
    } else {
        given->next = b->kept;
        b->kept = given;
        b->kept_count++;
    }
    if (!b->used) {
        unused = STEAL(b->kept);
        b->kept_count = 0;
    }
    pthread_mutex_unlock(&b->lock);
    free_list(unused);
}
