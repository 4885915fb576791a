// SPDX-License-Identifier: Apache-2.0
/* Files of the pool: several connections, lost ones, files that are not the same any more. */
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
#include "origins/retry.h"
#include "unit/origins/fake.h"
#include "unit/origins/fault.h"
#include "unit/origins/tempdir.h"

static const struct origin_call *const call = &endless;

static int setup(void **state)
{
    return fake_start(state, 4);
}

static void test_a_file_is_read_on_several_connections_at_once(void **state)
{
    struct fake_pool *f = *state;
    struct fake_job jobs[3];
    tempdir_write(f->dir, "a", "hello");
    struct origin_file *file = fake_open_file(f, "a", O_RDONLY);
    fake_set_gate("pread", 3);
    for (int i = 0; i < 3; i++)
        fake_begin(&jobs[i], f, file, call);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fake_end(&jobs[i]), 5);
        assert_memory_equal(jobs[i].buf, "hello", 5);
    }
    fake_open_gate();
    assert_int_equal(fake_made(), 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fault_calls(fake.made[i], "open"), 1);
    fake_check_read(file, "hello");
    origin_close_file(file);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fault_calls(fake.made[i], "close_file"), 1);
}

static void test_opening_creates_only_once(void **state)
{
    struct fake_pool *f = *state;
    struct origin_file *file = fake_open_file(f, "a", O_RDWR | O_CREAT | O_EXCL | O_TRUNC);
    assert_int_equal(origin_pwrite(file, call, "hello", 5, 0), 0);
    struct origin *first = fake.made[0];
    fault_before(first, "pread", 1, -ECONNRESET);
    char buf[8];
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), -ECONNRESET);
    fake_check_read(file, "hello"); /* opened anew, neither truncated nor refused */
    assert_int_equal(fake_made(), 2);
    origin_close_file(file);
}

static void kill_connection(struct fake_pool *f, unsigned i)
{
    fault_before(fake.made[i], "stat", 1, -ECONNRESET);
    fake_do_stat(f, -ECONNRESET);
}

static void test_a_file_outlives_its_connection(void **state)
{
    struct fake_pool *f = *state;
    fake.hide_ids = true;
    kill_connection(f, 0); /* the next one hides its ids */
    tempdir_write(f->dir, "a", "hello");
    struct origin_file *file = fake_open_file(f, "a", O_RDONLY);
    kill_connection(f, 1);
    fake_check_read(file, "hello"); /* by size and mtime */
    origin_close_file(file);
    assert_int_equal(fake_made(), 3);
}

static void test_a_replaced_file_is_stale_after_its_connection(void **state)
{
    struct fake_pool *f = *state;
    char buf[8];
    tempdir_write(f->dir, "a", "hello");
    tempdir_write(f->dir, "b", "olleh");
    struct origin_file *file = fake_open_file(f, "a", O_RDONLY);
    assert_int_equal(rename(tempdir_path(f->dir, "b"), tempdir_path(f->dir, "a")), 0);
    fake_check_read(file, "hello");
    kill_connection(f, 0);
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), -ESTALE);
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), -ESTALE);
    assert_int_equal(fault_calls(fake.made[1], "open"), 1);
    origin_close_file(file);
}

static void test_a_removed_file_is_stale_after_its_connection(void **state)
{
    struct fake_pool *f = *state;
    char buf[8];
    tempdir_write(f->dir, "a", "hello");
    struct origin_file *file = fake_open_file(f, "a", O_RDONLY);
    assert_int_equal(unlink(tempdir_path(f->dir, "a")), 0);
    kill_connection(f, 0);
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), -ESTALE);
    origin_close_file(file);
}

static void test_a_file_that_differs_elsewhere_stays_where_it_is(void **state)
{
    struct fake_pool *f = *state;
    struct fake_job holder, reader;
    tempdir_write(f->dir, "a", "hello");
    tempdir_write(f->dir, "b", "another");
    struct origin_file *file = fake_open_file(f, "a", O_RDONLY);
    assert_int_equal(rename(tempdir_path(f->dir, "b"), tempdir_path(f->dir, "a")), 0);
    fake_set_gate("stat", 2);
    fake_begin(&holder, f, NULL, call); /* holds the connection that has it open */
    fake_wait_for_in(1);
    fake_begin(&reader, f, file, call);
    while (fake_made() < 2)
        sched_yield();
    pthread_mutex_lock(&fake.lock);
    struct origin *second = fake.made[1];
    pthread_mutex_unlock(&fake.lock);
    while (fault_calls(second, "close_file") == 0) /* it looked, and did not like it */
        sched_yield();
    fake_open_gate();
    assert_int_equal(fake_end(&holder), 0);
    assert_int_equal(fake_end(&reader), 5);
    assert_memory_equal(reader.buf, "hello", 5);
    origin_close_file(file);
}

static void test_a_written_file_without_ids_stays_where_it_is(void **state)
{
    struct fake_pool *f = *state;
    struct fake_job holder, reader;
    fake.hide_ids = true;
    kill_connection(f, 0);
    struct origin_file *file = fake_open_file(f, "a", O_RDWR | O_CREAT);
    assert_int_equal(origin_pwrite(file, call, "hello", 5, 0), 0);
    fake_set_gate("stat", 2);
    fake_begin(&holder, f, NULL, call);
    fake_wait_for_in(1);
    fake_begin(&reader, f, file, call);
    struct origin_stat st;
    assert_int_equal(origin_stat(f->o, call, "a", &st), 0); /* passes the gate, on a third one */
    assert_int_equal(fake_end(&holder), 0);
    assert_int_equal(fake_end(&reader), 5);
    fake_open_gate();
    assert_int_equal(fault_calls(fake.made[2], "open"), 0);
    char buf[8];
    kill_connection(f, 1);
    kill_connection(f, 2);
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), -ESTALE);
    origin_close_file(file);
}

static void test_lost_writes_fail_the_sync(void **state)
{
    struct fake_pool *f = *state;
    struct origin_file *file = fake_open_file(f, "a", O_RDWR | O_CREAT);
    assert_int_equal(origin_pwrite(file, call, "hello", 5, 0), 0);
    assert_int_equal(origin_fsync(file, call), 0);
    kill_connection(f, 0);
    assert_int_equal(origin_fsync(file, call), 0); /* all was synced */
    assert_int_equal(origin_pwrite(file, call, "HELLO", 5, 0), 0);
    kill_connection(f, 1);
    assert_int_equal(origin_pwrite(file, call, "x", 1, 5), 0);
    assert_int_equal(origin_fsync(file, call), -ESTALE);
    origin_close_file(file);
}

static void test_a_renamed_file_is_found_again(void **state)
{
    struct fake_pool *f = *state;
    assert_int_equal(origin_mkdir(f->o, call, "d", 0755), 0);
    tempdir_write(f->dir, "d/a", "hello");
    struct origin_file *file = fake_open_file(f, "d/a", O_RDONLY);
    assert_int_equal(origin_rename(f->o, call, "d", "e", 0), 0);
    kill_connection(f, 0);
    fake_check_read(file, "hello");
    origin_close_file(file);
}

static void test_a_forgotten_handle_is_opened_anew(void **state)
{
    struct fake_pool *f = *state;
    char buf[8];
    tempdir_write(f->dir, "a", "hello");
    struct origin_file *file = fake_open_file(f, "a", O_RDONLY);
    fault_set_usable(fake.made[0], true);
    fault_before(fake.made[0], "pread", 1, -ESTALE);
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), -ESTALE);
    fake_check_read(file, "hello");
    assert_int_equal(fake_made(), 1);
    assert_int_equal(fault_calls(fake.made[0], "open"), 2);
    assert_int_equal(fault_calls(fake.made[0], "close_file"), 1);
    origin_close_file(file);
}

static void test_closing_does_not_wait_for_a_busy_connection(void **state)
{
    struct fake_pool *f = *state;
    struct fake_job holder;
    struct origin_file *file = fake_open_file(f, "a", O_RDWR | O_CREAT);
    fake_set_gate("stat", 2);
    fake_begin(&holder, f, NULL, call);
    fake_wait_for_in(1);
    origin_close_file(file);
    assert_int_equal(fault_calls(fake.made[0], "close_file"), 0);
    fake_open_gate();
    assert_int_equal(fake_end(&holder), 0);
    fake_do_stat(f, 0);
    assert_int_equal(fault_calls(fake.made[0], "close_file"), 1);
}

static void test_a_copy_has_both_files_on_one_connection(void **state)
{
    struct fake_pool *f = *state;
    struct fake_job holder;
    tempdir_write(f->dir, "a", "hello");
    struct origin_file *from = fake_open_file(f, "a", O_RDONLY);
    fake_set_gate("stat", 2);
    fake_begin(&holder, f, NULL, call); /* so that the second file opens elsewhere */
    fake_wait_for_in(1);
    struct origin_file *to = fake_open_file(f, "b", O_RDWR | O_CREAT);
    fake_open_gate();
    assert_int_equal(fake_end(&holder), 0);
    assert_int_equal(origin_copy_range(from, call, 1, to, 0, 4), 4);
    fake_check_read(to, "ello");
    assert_int_equal(fake_made(), 2);
    origin_close_file(from);
    origin_close_file(to);
}

static void test_a_copy_of_two_that_stay_apart_is_not_supported(void **state)
{
    struct fake_pool *f = *state;
    struct fake_job holder;
    fake.hide_ids = true;
    kill_connection(f, 0);
    struct origin_file *from = fake_open_file(f, "a", O_RDWR | O_CREAT);
    fake_set_gate("stat", 2);
    fake_begin(&holder, f, NULL, call);
    fake_wait_for_in(1);
    struct origin_file *to = fake_open_file(f, "b", O_RDWR | O_CREAT);
    fake_open_gate();
    assert_int_equal(fake_end(&holder), 0);
    assert_int_equal(origin_copy_range(from, call, 0, to, 0, 4), -EOPNOTSUPP);
    origin_close_file(from);
    origin_close_file(to);
}

/* --- all at once, with the retry above --- */

enum { STRESS_FILES = 6, STRESS_THREADS = 8, STRESS_STEPS = 200, STRESS_BYTES = 4096 };

struct stress {
    struct origin *o;
    unsigned seed;
    struct origin_file **shared; /* read only */
    const char *wrong;
};

static void stress_step(struct stress *s)
{
    struct origin_call c = {.deadline_ns = cairn_now_ns() + 60 * NSEC_PER_SEC,
                            .bulk = rand_r(&s->seed) % 2};
    unsigned char buf[STRESS_BYTES];
    int n = rand_r(&s->seed) % STRESS_FILES;
    char name[16];
    snprintf(name, sizeof name, "f%d", n);
    struct origin_file *own = NULL, *file = s->shared[n];
    struct origin_stat st;
    switch (rand_r(&s->seed) % 3) {
    case 0:
        if (origin_stat(s->o, &c, name, &st) != 0 || st.size != STRESS_BYTES)
            s->wrong = "stat";
        return;
    case 1:
        if (origin_open(s->o, &c, name, O_RDONLY, 0, &own, NULL) != 0) {
            s->wrong = "open";
            return;
        }
        file = own;
        break;
    }
    size_t off = (size_t)rand_r(&s->seed) % STRESS_BYTES;
    ssize_t got = origin_pread(file, &c, buf, STRESS_BYTES - off, off, NULL);
    if (got != (ssize_t)(STRESS_BYTES - off) || buf[0] != n || buf[got - 1] != n)
        s->wrong = "pread";
    origin_close_file(own);
}

static void *stress_thread(void *arg)
{
    struct stress *s = arg;
    for (int i = 0; i < STRESS_STEPS && !s->wrong; i++)
        stress_step(s);
    return NULL;
}

static void brief_sleep(void *arg, const struct origin_call *c, int64_t ns)
{
    sched_yield();
}

static int64_t stress_now(void *arg)
{
    return cairn_now_ns();
}

static uint64_t stress_random(void *arg)
{
    return 0;
}

static void test_many_threads_over_failing_connections(void **state)
{
    struct fake_pool *f = *state;
    const char *env = getenv("CAIRN_SEED");
    unsigned seed = env ? (unsigned)strtoul(env, NULL, 0) : (unsigned)getpid();
    print_message("CAIRN_SEED=%u\n", seed);
    const struct retry_clock clock = {stress_now, brief_sleep, stress_random, NULL};
    assert_int_equal(origin_retry_new(&f->o, f->o, "stress", &clock, &f->metrics), 0);
    struct origin_file *shared[STRESS_FILES];
    for (int i = 0; i < STRESS_FILES; i++) {
        char name[16];
        unsigned char data[STRESS_BYTES];
        snprintf(name, sizeof name, "f%d", i);
        memset(data, i, sizeof data);
        struct origin_file *file = fake_open_file(f, name, O_RDWR | O_CREAT);
        assert_int_equal(origin_pwrite(file, call, data, sizeof data, 0), 0);
        origin_close_file(file);
        shared[i] = fake_open_file(f, name, O_RDONLY);
    }
    fake.seed = seed;
    fake.fault_one_in = 20;
    struct stress s[STRESS_THREADS];
    pthread_t threads[STRESS_THREADS];
    for (unsigned i = 0; i < STRESS_THREADS; i++) {
        s[i] = (struct stress){.o = f->o, .seed = seed + i, .shared = shared};
        pthread_create(&threads[i], NULL, stress_thread, &s[i]);
    }
    for (int i = 0; i < STRESS_THREADS; i++) {
        pthread_join(threads[i], NULL);
        if (s[i].wrong)
            fail_msg("%s", s[i].wrong);
    }
    fake.fault_one_in = 0;
    for (int i = 0; i < STRESS_FILES; i++)
        origin_close_file(shared[i]);
    assert_true(cairn_counted(&f->metrics, CAIRN_ORIGIN_RETRIES) > 0);
    assert_true(cairn_counted(&f->metrics, CAIRN_ORIGIN_RECONNECTS) > 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, fake_teardown)

int main(void)
{
    cairn_log_set_level(CAIRN_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        T(test_a_file_is_read_on_several_connections_at_once),
        T(test_opening_creates_only_once),
        T(test_a_file_outlives_its_connection),
        T(test_a_replaced_file_is_stale_after_its_connection),
        T(test_a_removed_file_is_stale_after_its_connection),
        T(test_a_file_that_differs_elsewhere_stays_where_it_is),
        T(test_a_written_file_without_ids_stays_where_it_is),
        T(test_lost_writes_fail_the_sync),
        T(test_a_renamed_file_is_found_again),
        T(test_a_forgotten_handle_is_opened_anew),
        T(test_closing_does_not_wait_for_a_busy_connection),
        T(test_a_copy_has_both_files_on_one_connection),
        T(test_a_copy_of_two_that_stay_apart_is_not_supported),
        T(test_many_threads_over_failing_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
