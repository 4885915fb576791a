// SPDX-License-Identifier: Apache-2.0
/* The pool: who gets a connection and when, and which ones are discarded. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "origins/pool.h"
#include "origins/url.h"
#include "unit/origins/fake.h"
#include "unit/origins/fault.h"
#include "unit/origins/tempdir.h"

static const struct origin_call *const call = &endless;

static int setup(void **state)
{
    return fake_start(state, 4);
}

static int setup_one(void **state)
{
    return fake_start(state, 1);
}

static int setup_two(void **state)
{
    return fake_start(state, 2);
}

static const struct origin_call bulk = {.deadline_ns = CAIRN_NEVER, .bulk = true};

static void test_the_first_connection_says_why_it_failed(void **state)
{
    struct fake_pool *f = *state;
    struct origin_url *u;
    AUTO_FREE char *why = NULL;
    struct origin *o = NULL;
    assert_int_equal(origin_url_parse(f->dir, &u, &why), 0);
    struct origin_config cfg = {.url = u};
    fake.refuse = 1;
    assert_int_equal(origin_pool_new(&o, &fake_driver, &cfg, call, &why), -ECONNREFUSED);
    assert_string_equal(why, "not today");
    assert_null(o);
    origin_url_free(u);
}

static void test_one_caller_needs_one_connection(void **state)
{
    struct fake_pool *f = *state;
    for (int i = 0; i < 100; i++)
        fake_do_stat(f, 0);
    assert_int_equal(fake_made(), 1);
}

static void test_calls_at_once_get_connections_of_their_own(void **state)
{
    fake_grow_to(*state, 4);
}

static void *stat_often(void *arg)
{
    struct fake_pool *f = arg;
    struct origin_stat st;
    for (int i = 0; i < 300; i++)
        if (origin_stat(f->o, call, "", &st) != 0)
            return f;
    return NULL;
}

static void test_a_connection_has_one_call_at_a_time(void **state)
{
    pthread_t threads[8]; /* the faulty origin asserts it */
    void *bad;
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, stat_often, *state);
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
    assert_true(fake_made() <= 4);
}

static void test_bulk_calls_leave_a_connection(void **state)
{
    struct fake_pool *f = *state; /* of two connections */
    struct fake_job first, second;
    tempdir_write(f->dir, "a", "hello");
    struct origin_file *file = fake_open_file(f, "a", O_RDONLY);
    fake_set_gate("pread", 2);
    fake_begin(&first, f, file, &bulk);
    fake_wait_for_in(1);
    struct origin_call soon = bulk;
    soon.deadline_ns = cairn_now_ns() + 50 * NSEC_PER_MSEC;
    fake_begin(&second, f, file, &soon);
    fake_do_stat(f, 0); /* not bulk: goes through */
    assert_int_equal(fake_end(&second), -ETIMEDOUT);
    fake_begin(&second, f, file, call); /* a read that is not bulk goes through too */
    assert_int_equal(fake_end(&first), 5);
    assert_int_equal(fake_end(&second), 5);
    origin_close_file(file);
}

static void test_a_single_connection_serves_bulk_calls(void **state)
{
    struct fake_pool *f = *state;
    tempdir_write(f->dir, "a", "hello");
    struct origin_file *file = fake_open_file(f, "a", O_RDONLY);
    char buf[8];
    assert_int_equal(origin_pread(file, &bulk, buf, sizeof buf, 0, NULL), 5);
    origin_close_file(file);
}

static void test_waiting_ends_with_the_call(void **state)
{
    struct fake_pool *f = *state; /* of one connection */
    struct fake_job holder, late, stopped;
    atomic_bool cancelled = false;
    fake_set_gate("stat", 2);
    fake_begin(&holder, f, NULL, call);
    fake_wait_for_in(1);
    struct origin_call soon = {.deadline_ns = cairn_now_ns() + 30 * NSEC_PER_MSEC};
    fake_begin(&late, f, NULL, &soon);
    assert_int_equal(fake_end(&late), -ETIMEDOUT);
    struct origin_call c = {.deadline_ns = CAIRN_NEVER, .cancelled = &cancelled};
    fake_begin(&stopped, f, NULL, &c);
    atomic_store(&cancelled, true);
    assert_int_equal(fake_end(&stopped), -EINTR);
    fake_open_gate();
    assert_int_equal(fake_end(&holder), 0);
}

static void test_a_broken_connection_is_replaced(void **state)
{
    struct fake_pool *f = *state;
    const int errors[] = {ECONNRESET, EPIPE, ENOTCONN, ETIMEDOUT, EINTR, EAGAIN};
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        fault_before(fake.made[i], "stat", 1, -errors[i]);
        fake_do_stat(f, -errors[i]);
        fake_do_stat(f, 0);
        assert_int_equal(fake_made(), i + 2);
        assert_int_equal(cairn_counted(&f->metrics, CAIRN_ORIGIN_RECONNECTS), i + 1);
    }
}

static void test_an_answer_keeps_the_connection(void **state)
{
    struct fake_pool *f = *state;
    const int errors[] = {ENOENT, EACCES, EIO, ENOSPC, EOPNOTSUPP};
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        fault_before(fake.made[0], "stat", 1, -errors[i]);
        fake_do_stat(f, -errors[i]);
    }
    fake_do_stat(f, 0);
    assert_int_equal(fake_made(), 1);
}

static void test_a_driver_vouches_for_its_connection(void **state)
{
    struct fake_pool *f = *state;
    fault_set_usable(fake.made[0], true);
    fault_before(fake.made[0], "stat", 1, -EAGAIN);
    fake_do_stat(f, -EAGAIN);
    fake_do_stat(f, 0);
    assert_int_equal(fake_made(), 1);
}

static int stop(void *arg, const struct origin_entry *e, size_t count)
{
    return -EINTR;
}

static void test_a_stopped_listing_keeps_the_connection(void **state)
{
    struct fake_pool *f = *state;
    tempdir_write(f->dir, "a", "x");
    assert_int_equal(origin_list(f->o, call, "", stop, NULL), -EINTR);
    fake_do_stat(f, 0);
    assert_int_equal(fake_made(), 1);
}

static void test_idle_ones_are_asked_after_another_died(void **state)
{
    struct fake_pool *f = *state;
    fake_grow_to(f, 2);
    struct origin *a = fake.made[0], *b = fake.made[1];
    fault_before(a, "stat", 1, -ECONNRESET);
    fault_before(b, "stat", 1, -ECONNRESET); /* whichever is taken */
    fault_before(a, "health", 1, -ECONNRESET);
    fault_before(b, "health", 1, -ECONNRESET);
    fake_do_stat(f, -ECONNRESET);
    fake_do_stat(f, 0); /* the other is found dead before it does harm */
    assert_int_equal(fake_made(), 3);
    fake_do_stat(f, 0);
    assert_int_equal(fake_made(), 3);
}

static void test_a_refused_connection_is_no_failure_while_others_work(void **state)
{
    struct fake_pool *f = *state;
    struct fake_job holder, waiter;
    fake_set_gate("stat", 2);
    fake_begin(&holder, f, NULL, call);
    fake_wait_for_in(1);
    fake.refuse = 1000;
    fake_begin(&waiter, f, NULL, call);
    pthread_mutex_lock(&fake.lock);
    while (fake.refuse == 1000) { /* until the waiter tried to connect */
        pthread_mutex_unlock(&fake.lock);
        sched_yield();
        pthread_mutex_lock(&fake.lock);
    }
    pthread_mutex_unlock(&fake.lock);
    fake_open_gate();
    assert_int_equal(fake_end(&holder), 0);
    assert_int_equal(fake_end(&waiter), 0);
    assert_int_equal(fake_made(), 1);
}

static void test_without_any_connection_the_refusal_is_the_answer(void **state)
{
    struct fake_pool *f = *state;
    fault_before(fake.made[0], "stat", 1, -ECONNRESET);
    fake_do_stat(f, -ECONNRESET);
    fake.refuse = 2;
    fake_do_stat(f, -ECONNREFUSED);
    fake_do_stat(f, -ECONNREFUSED);
    fake_do_stat(f, 0);
}

#define T(name)   cmocka_unit_test_setup_teardown(name, setup, fake_teardown)
#define ONE(name) cmocka_unit_test_setup_teardown(name, setup_one, fake_teardown)
#define TWO(name) cmocka_unit_test_setup_teardown(name, setup_two, fake_teardown)

int main(void)
{
    cairn_log_set_level(CAIRN_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        T(test_the_first_connection_says_why_it_failed),
        T(test_one_caller_needs_one_connection),
        T(test_calls_at_once_get_connections_of_their_own),
        T(test_a_connection_has_one_call_at_a_time),
        TWO(test_bulk_calls_leave_a_connection),
        ONE(test_a_single_connection_serves_bulk_calls),
        ONE(test_waiting_ends_with_the_call),
        T(test_a_broken_connection_is_replaced),
        T(test_an_answer_keeps_the_connection),
        T(test_a_driver_vouches_for_its_connection),
        T(test_a_stopped_listing_keeps_the_connection),
        T(test_idle_ones_are_asked_after_another_died),
        T(test_a_refused_connection_is_no_failure_while_others_work),
        T(test_without_any_connection_the_refusal_is_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
