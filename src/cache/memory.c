// SPDX-License-Identifier: Apache-2.0
/*
 * S3-FIFO in shards. Each shard has a small queue (a tenth of its bytes) for new chunks, a main
 * queue for those that were asked for again, and a ghost queue: ids lately dropped from the small
 * one, which enter the main queue directly if they come back. What is read once passes through the
 * small queue and never displaces the main one.
 *
 * Beyond the paper: a reader in 4 KiB steps asks for one chunk many times in a row; such touches
 * count as one (CORRELATED_TOUCHES), else every scan would look like a hot set.
 * Invariant: the cost of a shard never exceeds its share, so the bytes of all never exceed
 * max_bytes.
 */
#include "cache/memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define SHARDS_MAX         16U
#define SHARD_MIN_BYTES    (4 * MIB)
#define FREQ_MAX           3U
#define PROMOTE_FREQ       2U /* counted hits that lift a chunk from small to main, as the paper */
#define CORRELATED_TOUCHES 4U
#define BUCKETS_MIN        64U

enum queue_name { SMALL, MAIN, GHOST, QUEUES };

struct node {
    struct node *hash_next;
    struct node *newer; /* towards the head of its queue */
    struct node *older;
    struct cairn_chunk *chunk; /* NULL in the ghost queue */
    struct cairn_chunk_id id;
    uint32_t cost;    /* what is charged for it: its bytes and what surrounds them */
    uint32_t touched; /* the shard's tick when it was last asked for */
    uint8_t freq;
    uint8_t queue;
};

struct queue {
    struct node *head; /* newest */
    struct node *tail;
    uint64_t cost; /* of the chunks; for ghosts: that they had */
};

/* Charged beside a chunk's data, so that a million tiny ones cost what they occupy. */
#define NODE_OVERHEAD ((uint32_t)(sizeof(struct node) + sizeof(struct cairn_chunk) + 32))

/* All fields of a shard are protected by its lock. */
struct shard {
    pthread_mutex_t lock;
    struct node **buckets;
    size_t bucket_count; /* a power of two */
    size_t nodes;        /* ghosts included */
    size_t chunks;
    uint64_t bytes; /* of their data */
    uint64_t max_bytes;
    uint32_t tick; /* advances when another chunk than the last one is asked for */
    const struct node *last;
    struct queue queues[QUEUES];
} __attribute__((aligned(64)));

struct cairn_memory {
    uint64_t max_bytes;
    struct cairn_metrics *metrics;
    uint32_t shard_count; /* a power of two */
    struct shard shards[];
};

static uint64_t used_cost(const struct shard *s)
{
    return s->queues[SMALL].cost + s->queues[MAIN].cost;
}

static struct shard *shard_of(struct cairn_memory *m, uint64_t hash)
{
    /* The top bits: the low ones choose the bucket. */
    return &m->shards[(hash >> 56) & (m->shard_count - 1)];
}

static struct node **bucket_of(const struct shard *s, const struct cairn_chunk_id *id)
{
    return &s->buckets[cairn_chunk_id_hash(id) & (s->bucket_count - 1)];
}

static struct node *find_locked(const struct shard *s, const struct cairn_chunk_id *id)
{
    for (struct node *n = *bucket_of(s, id); n; n = n->hash_next)
        if (cairn_chunk_id_equal(&n->id, id))
            return n;
    return NULL;
}

static void unhash_locked(struct shard *s, struct node *n)
{
    struct node **p = bucket_of(s, &n->id);
    while (*p != n)
        p = &(*p)->hash_next;
    *p = n->hash_next;
    s->nodes--;
}

static void hash_locked(struct shard *s, struct node *n)
{
    struct node **p = bucket_of(s, &n->id);
    n->hash_next = *p;
    *p = n;
    s->nodes++;
}

/* Keeps the chains short; when there is no memory they only get longer. */
static void grow_buckets_locked(struct shard *s)
{
    size_t count = s->bucket_count * 2;
    struct node **grown = calloc(count, sizeof(struct node *));
    if (!grown)
        return;
    for (size_t i = 0; i < s->bucket_count; i++) {
        struct node *next;
        for (struct node *n = s->buckets[i]; n; n = next) {
            next = n->hash_next;
            struct node **p = &grown[cairn_chunk_id_hash(&n->id) & (count - 1)];
            n->hash_next = *p;
            *p = n;
        }
    }
    free(s->buckets);
    s->buckets = grown;
    s->bucket_count = count;
}

static void push_locked(struct shard *s, enum queue_name name, struct node *n)
{
    struct queue *q = &s->queues[name];
    n->queue = (uint8_t)name;
    n->newer = NULL;
    n->older = q->head;
    if (q->head)
        q->head->newer = n;
    else
        q->tail = n;
    q->head = n;
    q->cost += n->cost;
}

static void take_locked(struct shard *s, struct node *n)
{
    struct queue *q = &s->queues[n->queue];
    if (n->newer)
        n->newer->older = n->older;
    else
        q->head = n->older;
    if (n->older)
        n->older->newer = n->newer;
    else
        q->tail = n->newer;
    q->cost -= n->cost;
}

static void free_node_locked(struct shard *s, struct node *n)
{
    take_locked(s, n);
    unhash_locked(s, n);
    if (s->last == n)
        s->last = NULL;
    free(n);
}

/* Takes the chunk out of a node; the caller drops the reference once the lock is released. */
static struct cairn_chunk *steal_chunk_locked(struct shard *s, struct node *n)
{
    s->chunks--;
    s->bytes -= n->chunk->len;
    return STEAL(n->chunk);
}

/*
 * Evicts one chunk, or moves one between the queues. Returns what was evicted, for the caller to
 * drop, or NULL if something moved instead.
 */
static struct cairn_chunk *evict_step_locked(struct shard *s)
{
    struct queue *small = &s->queues[SMALL];
    struct queue *main = &s->queues[MAIN];
    struct node *n;

    if (small->tail && (small->cost > s->max_bytes / 10 || !main->tail)) {
        n = small->tail;
        take_locked(s, n);
        if (n->freq >= PROMOTE_FREQ) {
            n->freq = 0;
            push_locked(s, MAIN, n);
            return NULL;
        }
        struct cairn_chunk *c = steal_chunk_locked(s, n);
        push_locked(s, GHOST, n);
        while (s->queues[GHOST].cost > s->max_bytes)
            free_node_locked(s, s->queues[GHOST].tail);
        return c;
    }
    n = main->tail;
    if (n->freq > 0) {
        take_locked(s, n);
        n->freq--;
        push_locked(s, MAIN, n);
        return NULL;
    }
    struct cairn_chunk *c = steal_chunk_locked(s, n);
    free_node_locked(s, n);
    return c;
}

static void touch_locked(struct shard *s, struct node *n)
{
    if (s->last != n) {
        s->last = n;
        s->tick++;
    }
    if (s->tick - n->touched >= CORRELATED_TOUCHES && n->freq < FREQ_MAX)
        n->freq++;
    n->touched = s->tick;
}

int cairn_memory_new(struct cairn_memory **ret, uint64_t max_bytes, struct cairn_metrics *metrics)
{
    uint32_t shards = SHARDS_MAX;
    /* A small tier has fewer shards, so that each can hold a number of the largest chunks. */
    while (shards > 1 && max_bytes / shards < SHARD_MIN_BYTES)
        shards /= 2;

    struct cairn_memory *m =
        aligned_alloc(_Alignof(struct cairn_memory), sizeof(*m) + shards * sizeof(m->shards[0]));
    if (!m)
        return -ENOMEM;
    memset(m, 0, sizeof(*m) + shards * sizeof(m->shards[0]));
    m->max_bytes = max_bytes;
    m->metrics = metrics;
    for (; m->shard_count < shards; m->shard_count++) {
        struct shard *s = &m->shards[m->shard_count];
        s->bucket_count = BUCKETS_MIN;
        s->max_bytes = max_bytes / shards;
        s->buckets = calloc(s->bucket_count, sizeof(struct node *));
        if (!s->buckets) {
            cairn_memory_free(m);
            return -ENOMEM;
        }
        pthread_mutex_init(&s->lock, NULL);
    }
    *ret = m;
    return 0;
}

void cairn_memory_free(struct cairn_memory *m)
{
    if (!m)
        return;
    for (uint32_t i = 0; i < m->shard_count; i++) {
        struct shard *s = &m->shards[i];
        for (unsigned q = 0; q < QUEUES; q++) {
            struct node *older;
            for (struct node *n = s->queues[q].head; n; n = older) {
                older = n->older;
                cairn_chunk_unref(n->chunk);
                free(n);
            }
        }
        free(s->buckets);
        pthread_mutex_destroy(&s->lock);
    }
    free(m);
}

struct cairn_chunk *cairn_memory_get(struct cairn_memory *m, const struct cairn_chunk_id *id)
{
    struct shard *s = shard_of(m, cairn_chunk_id_hash(id));
    struct cairn_chunk *c = NULL;

    pthread_mutex_lock(&s->lock);
    struct node *n = find_locked(s, id);
    if (n && n->chunk) {
        touch_locked(s, n);
        c = cairn_chunk_ref(n->chunk);
    }
    pthread_mutex_unlock(&s->lock);
    if (c)
        cairn_count(m->metrics, CAIRN_MEMORY_HIT, 1);
    return c;
}

bool cairn_memory_has(struct cairn_memory *m, const struct cairn_chunk_id *id)
{
    struct shard *s = shard_of(m, cairn_chunk_id_hash(id));
    pthread_mutex_lock(&s->lock);
    struct node *n = find_locked(s, id);
    bool has = n && n->chunk;
    pthread_mutex_unlock(&s->lock);
    return has;
}

/* Finds or makes the node that is to hold the chunk. NULL: it is there already, or no memory. */
static struct node *node_for_locked(struct shard *s, struct cairn_chunk *c,
                                    enum queue_name *ret_queue)
{
    struct node *n = find_locked(s, &c->id);
    if (n && n->chunk)
        return NULL;
    if (n) {
        take_locked(s, n);
        *ret_queue = MAIN;
        return n;
    }
    n = calloc(1, sizeof(*n));
    if (!n)
        return NULL;
    n->id = c->id;
    if (s->nodes >= s->bucket_count * 2)
        grow_buckets_locked(s);
    hash_locked(s, n);
    *ret_queue = SMALL;
    return n;
}

void cairn_memory_put(struct cairn_memory *m, struct cairn_chunk *c)
{
    struct shard *s = shard_of(m, cairn_chunk_id_hash(&c->id));
    struct cairn_chunk *evicted[16];
    size_t evicted_count = 0;
    uint64_t total = 0;
    uint32_t cost = c->len + NODE_OVERHEAD;
    enum queue_name queue;

    if (c->len == 0 || c->len > UINT32_MAX - NODE_OVERHEAD || cost > s->max_bytes)
        return;
    pthread_mutex_lock(&s->lock);
    struct node *n = node_for_locked(s, c, &queue);
    if (n) {
        while (used_cost(s) + cost > s->max_bytes) {
            struct cairn_chunk *e = evict_step_locked(s);
            if (!e)
                continue;
            total++;
            if (evicted_count == ARRAY_LEN(evicted))
                cairn_chunk_unref(e);
            else
                evicted[evicted_count++] = e;
        }
        n->cost = cost;
        n->chunk = cairn_chunk_ref(c);
        n->freq = 0;
        s->chunks++;
        s->bytes += c->len;
        s->last = n;
        n->touched = ++s->tick;
        push_locked(s, queue, n);
    }
    pthread_mutex_unlock(&s->lock);

    for (size_t i = 0; i < evicted_count; i++)
        cairn_chunk_unref(evicted[i]);
    if (total)
        cairn_count(m->metrics, CAIRN_MEMORY_EVICTED, total);
}

void cairn_memory_stats(struct cairn_memory *m, struct cairn_memory_stats *ret)
{
    struct cairn_memory_stats stats = {.max_bytes = m->max_bytes};
    for (uint32_t i = 0; i < m->shard_count; i++) {
        struct shard *s = &m->shards[i];
        pthread_mutex_lock(&s->lock);
        stats.bytes += s->bytes;
        stats.chunks += s->chunks;
        pthread_mutex_unlock(&s->lock);
    }
    *ret = stats;
}
