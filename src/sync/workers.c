// SPDX-License-Identifier: Apache-2.0
#include "sync/workers.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

#define IDLE_SECONDS 10

struct cairn_workers {
    pthread_mutex_t lock;
    pthread_cond_t work; /* queue is not empty, or stopping */
    pthread_cond_t idle; /* queue is empty and nothing runs, or a thread has ended */
    /* under lock */
    struct cairn_task *head, **tail;
    unsigned queued, waiting, busy, threads, max_threads;
    int stopping;
    char name[16];
};

static void *worker(void *arg)
{
    struct cairn_workers *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->head && !w->stopping) {
            struct timespec until;
            clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_sec += IDLE_SECONDS;
            w->waiting++;
            int err = pthread_cond_timedwait(&w->work, &w->lock, &until);
            w->waiting--;
            if (err == ETIMEDOUT && !w->head)
                goto out;
        }
        struct cairn_task *t = w->head;
        if (!t)
            break;
        w->head = t->next;
        if (!w->head)
            w->tail = &w->head;
        w->queued--;
        w->busy++;
        pthread_mutex_unlock(&w->lock);
        t->run(t);
        pthread_mutex_lock(&w->lock);
        w->busy--;
        if (!w->head && !w->busy)
            pthread_cond_broadcast(&w->idle);
    }
out:
    w->threads--;
    pthread_cond_broadcast(&w->idle);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int cairn_workers_new(struct cairn_workers **ret, const char *name, unsigned max_threads)
{
    struct cairn_workers *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, &attr);
    pthread_cond_init(&w->idle, NULL);
    pthread_condattr_destroy(&attr);
    w->tail = &w->head;
    w->max_threads = max_threads;
    snprintf(w->name, sizeof w->name, "%s", name);
    *ret = w;
    return 0;
}

static int start_thread(struct cairn_workers *w)
{
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int err = pthread_create(&thread, &attr, worker, w);
    pthread_attr_destroy(&attr);
    if (err)
        return -err;
    pthread_setname_np(thread, w->name);
    return 0;
}

void cairn_workers_submit(struct cairn_workers *w, struct cairn_task *t)
{
    t->next = NULL;
    pthread_mutex_lock(&w->lock);
    if (w->waiting <= w->queued && w->threads < w->max_threads) {
        w->threads++;
        if (start_thread(w) < 0) {
            w->threads--;
            if (w->threads == 0) {
                pthread_mutex_unlock(&w->lock);
                t->run(t);
                return;
            }
        }
    }
    *w->tail = t;
    w->tail = &t->next;
    w->queued++;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
}

void cairn_workers_drain(struct cairn_workers *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->head || w->busy)
        pthread_cond_wait(&w->idle, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

void cairn_workers_free(struct cairn_workers *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = 1;
    pthread_cond_broadcast(&w->work);
    while (w->threads)
        pthread_cond_wait(&w->idle, &w->lock);
    pthread_mutex_unlock(&w->lock);
    pthread_cond_destroy(&w->work);
    pthread_cond_destroy(&w->idle);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
