// SPDX-License-Identifier: Apache-2.0
#include "sync/workers.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/util.h"

#define TASKS 200

struct counted {
    struct cairn_task task;
    struct shared *shared;
    unsigned number;
};

struct shared {
    struct cairn_workers *workers;
    struct counted tasks[TASKS];
    pthread_mutex_t lock;
    pthread_cond_t cond; /* one of the following has changed */
    /* under lock */
    unsigned running, most, done;
    unsigned order[TASKS];
    bool open; /* the tasks may end */
};

static void count(struct cairn_task *t)
{
    struct counted *c = container_of(t, struct counted, task);
    struct shared *s = c->shared;
    pthread_mutex_lock(&s->lock);
    s->running++;
    if (s->running > s->most)
        s->most = s->running;
    pthread_cond_broadcast(&s->cond);
    while (!s->open)
        pthread_cond_wait(&s->cond, &s->lock);
    s->running--;
    s->order[s->done++] = c->number;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

static struct shared *shared_new(unsigned threads, bool open)
{
    struct shared *s = calloc(1, sizeof *s);
    assert_non_null(s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->cond, NULL);
    s->open = open;
    assert_int_equal(cairn_workers_new(&s->workers, "test", threads), 0);
    for (unsigned i = 0; i < TASKS; i++)
        s->tasks[i] = (struct counted){.task = {.run = count}, .shared = s, .number = i};
    return s;
}

static void submit_all(struct shared *s)
{
    for (unsigned i = 0; i < TASKS; i++)
        cairn_workers_submit(s->workers, &s->tasks[i].task);
}

static void let_go(struct shared *s)
{
    pthread_mutex_lock(&s->lock);
    s->open = true;
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->lock);
}

static void shared_free(struct shared *s)
{
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->cond);
    free(s);
}

static void one_thread_keeps_the_order(void **state)
{
    struct shared *s = shared_new(1, true);
    submit_all(s);
    cairn_workers_drain(s->workers);
    assert_int_equal(s->done, TASKS);
    for (unsigned i = 0; i < TASKS; i++)
        assert_int_equal(s->order[i], i);
    cairn_workers_free(s->workers);
    shared_free(s);
}

static void threads_grow_to_the_bound_and_no_further(void **state)
{
    struct shared *s = shared_new(5, false);
    submit_all(s);
    pthread_mutex_lock(&s->lock);
    while (s->running < 5)
        pthread_cond_wait(&s->cond, &s->lock);
    pthread_mutex_unlock(&s->lock);
    let_go(s);
    cairn_workers_drain(s->workers);
    assert_int_equal(s->done, TASKS);
    assert_int_equal(s->most, 5);
    cairn_workers_free(s->workers);
    shared_free(s);
}

/* Tasks that wait for each other need a thread each, although others are about to be idle. */
static void each_task_gets_a_thread_below_the_bound(void **state)
{
    for (unsigned round = 0; round < 50; round++) {
        struct shared *s = shared_new(TASKS, false);
        for (unsigned i = 0; i < 10; i++)
            cairn_workers_submit(s->workers, &s->tasks[i].task);
        pthread_mutex_lock(&s->lock);
        while (s->running < 10)
            pthread_cond_wait(&s->cond, &s->lock);
        pthread_mutex_unlock(&s->lock);
        let_go(s);
        cairn_workers_free(s->workers);
        assert_int_equal(s->done, 10);
        shared_free(s);
    }
}

static void freeing_runs_what_is_queued(void **state)
{
    struct shared *s = shared_new(2, false);
    submit_all(s);
    let_go(s);
    cairn_workers_free(s->workers);
    assert_int_equal(s->done, TASKS);
    shared_free(s);
}

static void pool_is_usable_after_a_drain(void **state)
{
    struct shared *s = shared_new(3, true);
    for (unsigned i = 0; i < TASKS; i++) {
        cairn_workers_submit(s->workers, &s->tasks[i].task);
        cairn_workers_drain(s->workers);
        assert_int_equal(s->done, i + 1);
    }
    cairn_workers_free(s->workers);
    shared_free(s);
}

struct chain {
    struct cairn_task task;
    struct cairn_workers *workers;
    unsigned left;
};

static void go_on(struct cairn_task *t)
{
    struct chain *c = container_of(t, struct chain, task);
    if (c->left--)
        cairn_workers_submit(c->workers, t);
}

static void drain_waits_for_what_tasks_submit(void **state)
{
    struct chain c = {.task = {.run = go_on}, .left = 1000};
    assert_int_equal(cairn_workers_new(&c.workers, "test", 4), 0);
    cairn_workers_submit(c.workers, &c.task);
    cairn_workers_drain(c.workers);
    assert_int_equal(c.left, UINT32_MAX);
    cairn_workers_free(c.workers);
}

static void freeing_nothing_is_allowed(void **state)
{
    cairn_workers_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread_keeps_the_order),
        cmocka_unit_test(threads_grow_to_the_bound_and_no_further),
        cmocka_unit_test(each_task_gets_a_thread_below_the_bound),
        cmocka_unit_test(freeing_runs_what_is_queued),
        cmocka_unit_test(pool_is_usable_after_a_drain),
        cmocka_unit_test(drain_waits_for_what_tasks_submit),
        cmocka_unit_test(freeing_nothing_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
