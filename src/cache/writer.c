// SPDX-License-Identifier: Apache-2.0
/*
 * See writer.h. Order that makes a chunk visible at every instant: it enters the queue's table, is
 * written, enters the index, leaves the table. Who looks in the table first, then in the index,
 * cannot miss it. Carried chunks enter the table before their entry leaves the index.
 */
#include "cache/writer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/util.h"
#include "cache/appender.h"

#define QUEUE_BYTES   (64 * MIB)
#define CARRIED_BYTES (32 * MIB)
#define COST_MIN      (4 * KIB) /* bounds the number of tiny chunks, too */
#define BUCKETS       4096U

struct queued {
    struct queued *next;      /* in the queue */
    struct queued *hash_next; /* in the table */
    struct cairn_chunk *chunk;
    uint64_t cost;
    bool carried;
};

struct writer {
    struct disk_store *store;
    struct appender *appender; /* the thread's, but for its limit */
    pthread_t thread;

    _Atomic uint32_t count; /* in the table; may be read without the lock, see writer_find */

    pthread_mutex_t lock; /* all below */
    pthread_cond_t work;  /* head || stopping */
    pthread_cond_t room;  /* bytes < QUEUE_BYTES */
    pthread_cond_t done;  /* started, or written has grown */
    struct queued *head;
    struct queued *tail;
    struct queued *buckets[BUCKETS];
    uint64_t bytes;         /* cost of what callers queued */
    uint64_t carried_bytes; /* cost of what eviction queued */
    uint64_t accepted;      /* chunks that callers queued, ever */
    uint64_t written;       /* of those: behind us; they leave in the order they came */
    bool started;
    bool stopping;
};

static struct queued **bucket_of(struct writer *w, const struct cairn_chunk_id *id)
{
    return &w->buckets[cairn_chunk_id_hash(id) % BUCKETS];
}

static struct queued *find_locked(struct writer *w, const struct cairn_chunk_id *id)
{
    struct queued *q = *bucket_of(w, id);
    while (q && !cairn_chunk_id_equal(&q->chunk->id, id))
        q = q->hash_next;
    return q;
}

static void enter_table_locked(struct writer *w, struct queued *q)
{
    struct queued **bucket = bucket_of(w, &q->chunk->id);
    q->hash_next = *bucket;
    *bucket = q;
    atomic_fetch_add_explicit(&w->count, 1, memory_order_release);
}

static void leave_table_locked(struct writer *w, struct queued *q)
{
    struct queued **p = bucket_of(w, &q->chunk->id);
    while (*p != q)
        p = &(*p)->hash_next;
    *p = q->hash_next;
    /* Release: who sees the table empty also sees what the index got. */
    atomic_fetch_sub_explicit(&w->count, 1, memory_order_release);
}

static struct queued *new_queued(struct cairn_chunk *c, bool carried)
{
    struct queued *q = calloc(1, sizeof(*q));
    if (!q)
        return NULL;
    q->chunk = cairn_chunk_ref(c);
    q->cost = max_u64(c->len, COST_MIN);
    q->carried = carried;
    return q;
}

static void free_queued(struct queued *q)
{
    cairn_chunk_unref(q->chunk);
    free(q);
}

/* The appender's carrier, on the writer's thread. */
static bool carry(void *arg, struct cairn_chunk *c)
{
    struct writer *w = arg;
    struct queued *q = new_queued(c, true);
    if (!q)
        return false;
    pthread_mutex_lock(&w->lock);
    bool take = w->carried_bytes < CARRIED_BYTES && !find_locked(w, &c->id);
    if (take) {
        enter_table_locked(w, q);
        q->next = w->head;
        w->head = q;
        if (!w->tail)
            w->tail = q;
        w->carried_bytes += q->cost;
    }
    pthread_mutex_unlock(&w->lock);
    if (!take)
        free_queued(q);
    return take;
}

/* Unlinks the next batch from the queue; its chunks stay in the table. */
static unsigned take_batch_locked(struct writer *w, struct queued **batch)
{
    unsigned n = 0;
    uint64_t bytes = 0;
    while (w->head && n < APPENDER_BATCH_CHUNKS &&
           (n == 0 || bytes + w->head->chunk->len <= APPENDER_BATCH_BYTES)) {
        struct queued *q = w->head;
        w->head = q->next;
        if (!w->head)
            w->tail = NULL;
        bytes += q->chunk->len;
        batch[n++] = q;
    }
    return n;
}

static void finish_batch_locked(struct writer *w, struct queued *const *batch, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        leave_table_locked(w, batch[i]);
        if (batch[i]->carried) {
            w->carried_bytes -= batch[i]->cost;
        } else {
            w->bytes -= batch[i]->cost;
            w->written++;
        }
    }
    pthread_cond_broadcast(&w->room);
    pthread_cond_broadcast(&w->done);
}

static void *run(void *arg)
{
    struct writer *w = arg;
    struct queued *batch[APPENDER_BATCH_CHUNKS];
    struct cairn_chunk *chunks[APPENDER_BATCH_CHUNKS];

    appender_start(w->appender);
    pthread_mutex_lock(&w->lock);
    w->started = true;
    pthread_cond_broadcast(&w->done);
    for (;;) {
        while (!w->head && !w->stopping)
            pthread_cond_wait(&w->work, &w->lock);
        if (!w->head)
            break;
        unsigned n = take_batch_locked(w, batch);
        pthread_mutex_unlock(&w->lock);

        for (unsigned i = 0; i < n; i++)
            chunks[i] = batch[i]->chunk;
        appender_write(w->appender, chunks, n);

        pthread_mutex_lock(&w->lock);
        finish_batch_locked(w, batch, n);
        pthread_mutex_unlock(&w->lock);
        for (unsigned i = 0; i < n; i++)
            free_queued(batch[i]);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void free_writer(struct writer *w)
{
    appender_free(w->appender);
    pthread_cond_destroy(&w->work);
    pthread_cond_destroy(&w->room);
    pthread_cond_destroy(&w->done);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

int writer_start(struct writer **ret, struct disk_store *store)
{
    struct writer *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->store = store;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->room, NULL);
    pthread_cond_init(&w->done, NULL);
    int r = appender_new(&w->appender, store, carry, w);
    if (r == 0) {
        /* Signals are for the threads that serve the mount. */
        sigset_t all;
        sigset_t old;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        r = -pthread_create(&w->thread, NULL, run, w);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    if (r < 0) {
        free_writer(w);
        return r;
    }
    *ret = w;
    return 0;
}

void writer_stop(struct writer *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    free_writer(w);
}

bool writer_put(struct writer *w, struct cairn_chunk *c, bool wait)
{
    struct queued *q = new_queued(c, false);
    if (!q)
        return false;
    pthread_mutex_lock(&w->lock);
    while (wait && w->bytes >= QUEUE_BYTES)
        pthread_cond_wait(&w->room, &w->lock);
    bool take = w->bytes < QUEUE_BYTES && !find_locked(w, &c->id);
    if (take) {
        enter_table_locked(w, q);
        if (w->tail)
            w->tail->next = q;
        else
            w->head = q;
        w->tail = q;
        w->bytes += q->cost;
        w->accepted++;
        pthread_cond_signal(&w->work);
    }
    pthread_mutex_unlock(&w->lock);
    if (!take)
        free_queued(q);
    return take;
}

struct cairn_chunk *writer_find(struct writer *w, const struct cairn_chunk_id *id)
{
    if (atomic_load_explicit(&w->count, memory_order_acquire) == 0)
        return NULL;
    pthread_mutex_lock(&w->lock);
    struct queued *q = find_locked(w, id);
    struct cairn_chunk *c = q ? cairn_chunk_ref(q->chunk) : NULL;
    pthread_mutex_unlock(&w->lock);
    return c;
}

void writer_drain(struct writer *w)
{
    pthread_mutex_lock(&w->lock);
    uint64_t until = w->accepted;
    while (!w->started || w->written < until)
        pthread_cond_wait(&w->done, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

uint64_t writer_limit(struct writer *w)
{
    return appender_limit(w->appender);
}
