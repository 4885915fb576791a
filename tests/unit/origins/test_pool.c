// SPDX-License-Identifier: Apache-2.0
/* The pool: who gets a connection and when, which ones are discarded, and files over several. */
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
#include "origins/retry.h"
#include "origins/url.h"
#include "unit/origins/fault.h"
#include "unit/origins/tempdir.h"

/* --- a driver whose connections the tests know --- */

#define MAX_MADE 4096

static struct fake {
    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t changed;
    const char *dir;
    struct origin *made[MAX_MADE]; /* some of them closed by now */
    unsigned count;
    unsigned refuse; /* that many connects fail */
    bool usable, hide_ids;
    /* The gate: calls of `gate_op` wait until `gate_want` of them are in. */
    const char *gate_op;
    unsigned gate_in, gate_want;
    bool gate_passed;
    unsigned fault_one_in; /* stress: so often a call fails; 0 never */
    unsigned seed;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void fake_hook(void *arg, const char *op, const struct origin_call *c)
{
    struct origin *o = arg;
    pthread_mutex_lock(&fake.lock);
    if (fake.gate_op && !strcmp(op, fake.gate_op) && !fake.gate_passed) {
        fake.gate_in++;
        pthread_cond_broadcast(&fake.changed);
        while (fake.gate_in < fake.gate_want && !fake.gate_passed)
            pthread_cond_wait(&fake.changed, &fake.lock);
        fake.gate_passed = true;
        pthread_cond_broadcast(&fake.changed);
    }
    bool fails = c && fake.fault_one_in && (unsigned)rand_r(&fake.seed) % fake.fault_one_in == 0;
    bool after = rand_r(&fake.seed) & 1;
    pthread_mutex_unlock(&fake.lock);
    if (fails && after)
        fault_after(o, op, 1, -ECONNRESET);
    else if (fails)
        fault_before(o, op, 1, -ECONNRESET);
}

static int fake_connect(struct origin **ret, const struct origin_config *cfg,
                        const struct origin_call *c, char **ret_why)
{
    pthread_mutex_lock(&fake.lock);
    if (fake.refuse) {
        fake.refuse--;
        pthread_mutex_unlock(&fake.lock);
        *ret_why = strdup("not today");
        return -ECONNREFUSED;
    }
    struct origin *o = fault_new(tempdir_connect(cfg->url->path));
    fault_set_hook(o, fake_hook, o);
    fault_set_usable(o, fake.usable);
    if (fake.hide_ids)
        fault_hide_ids(o);
    assert_true(fake.count < MAX_MADE);
    fake.made[fake.count++] = o;
    pthread_mutex_unlock(&fake.lock);
    *ret = o;
    return 0;
}

static const struct origin_driver fake_driver = {
    .scheme = "fake", .pooled = true, .connect = fake_connect};

static void set_gate(const char *op, unsigned want)
{
    pthread_mutex_lock(&fake.lock);
    fake.gate_op = op;
    fake.gate_in = 0;
    fake.gate_want = want;
    fake.gate_passed = false;
    pthread_mutex_unlock(&fake.lock);
}

static void wait_for_in(unsigned n)
{
    pthread_mutex_lock(&fake.lock);
    while (fake.gate_in < n)
        pthread_cond_wait(&fake.changed, &fake.lock);
    pthread_mutex_unlock(&fake.lock);
}

static void open_gate(void)
{
    pthread_mutex_lock(&fake.lock);
    fake.gate_passed = true;
    fake.gate_op = NULL;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
}

static unsigned made(void)
{
    pthread_mutex_lock(&fake.lock);
    unsigned n = fake.count;
    pthread_mutex_unlock(&fake.lock);
    return n;
}

/* --- fixture --- */

struct fixture {
    char *dir;
    struct origin *o;
    struct cairn_metrics metrics;
};

static const struct origin_call *const call = &endless;
static const struct origin_call bulk = {.deadline_ns = CAIRN_NEVER, .bulk = true};

static int start(void **state, unsigned connections)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->dir = tempdir_new();
    fake.count = fake.refuse = 0;
    fake.usable = fake.hide_ids = false;
    fake.gate_op = NULL;
    fake.fault_one_in = 0;
    struct origin_url *u;
    char *why = NULL;
    assert_int_equal(origin_url_parse(f->dir, &u, &why), 0);
    struct origin_config cfg = {.url = u, .connections = connections, .metrics = &f->metrics};
    assert_int_equal(origin_pool_new(&f->o, &fake_driver, &cfg, call, &why), 0);
    origin_url_free(u);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return start(state, 4);
}

static int setup_one(void **state)
{
    return start(state, 1);
}

static int setup_two(void **state)
{
    return start(state, 2);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    open_gate();
    origin_close(f->o);
    tempdir_remove(f->dir);
    free(f);
    return 0;
}

/* One call from a thread of its own. */
struct job {
    pthread_t thread;
    struct origin *o;
    struct origin_file *file; /* NULL: stat the root */
    struct origin_call call;
    char buf[16];
    int64_t result;
};

static void *run_job(void *arg)
{
    struct job *j = arg;
    struct origin_stat st;
    j->result = j->file ? origin_pread(j->file, &j->call, j->buf, sizeof j->buf, 0, NULL)
                        : origin_stat(j->o, &j->call, "", &st);
    return NULL;
}

static void begin(struct job *j, struct fixture *f, struct origin_file *file,
                  const struct origin_call *c)
{
    *j = (struct job){.o = f->o, .file = file, .call = *c};
    assert_int_equal(pthread_create(&j->thread, NULL, run_job, j), 0);
}

static int64_t end(struct job *j)
{
    pthread_join(j->thread, NULL);
    return j->result;
}

static struct origin_file *open_file(struct fixture *f, const char *path, int flags)
{
    struct origin_file *file = NULL;
    assert_int_equal(origin_open(f->o, call, path, flags, 0644, &file, NULL), 0);
    return file;
}

static void check_read(struct origin_file *file, const char *want)
{
    char buf[32];
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), strlen(want));
    assert_memory_equal(buf, want, strlen(want));
}

static void do_stat(struct fixture *f, int want)
{
    struct origin_stat st;
    assert_int_equal(origin_stat(f->o, call, "", &st), want);
}

/* As many connections as calls at once. */
static void grow_to(struct fixture *f, unsigned n)
{
    struct job jobs[8];
    set_gate("stat", n);
    for (unsigned i = 0; i < n; i++)
        begin(&jobs[i], f, NULL, call);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(end(&jobs[i]), 0);
    open_gate();
    assert_int_equal(made(), n);
}

/* --- connections --- */

static void test_the_first_connection_says_why_it_failed(void **state)
{
    struct fixture *f = *state;
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
    struct fixture *f = *state;
    for (int i = 0; i < 100; i++)
        do_stat(f, 0);
    assert_int_equal(made(), 1);
}

static void test_calls_at_once_get_connections_of_their_own(void **state)
{
    grow_to(*state, 4);
}

static void *stat_often(void *arg)
{
    struct fixture *f = arg;
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
    assert_true(made() <= 4);
}

static void test_bulk_calls_leave_a_connection(void **state)
{
    struct fixture *f = *state; /* of two connections */
    struct job first, second;
    tempdir_write(f->dir, "a", "hello");
    struct origin_file *file = open_file(f, "a", O_RDONLY);
    set_gate("pread", 2);
    begin(&first, f, file, &bulk);
    wait_for_in(1);
    struct origin_call soon = bulk;
    soon.deadline_ns = cairn_now_ns() + 50 * NSEC_PER_MSEC;
    begin(&second, f, file, &soon);
    do_stat(f, 0); /* not bulk: goes through */
    assert_int_equal(end(&second), -ETIMEDOUT);
    begin(&second, f, file, call); /* a read that is not bulk goes through too */
    assert_int_equal(end(&first), 5);
    assert_int_equal(end(&second), 5);
    origin_close_file(file);
}

static void test_a_single_connection_serves_bulk_calls(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "hello");
    struct origin_file *file = open_file(f, "a", O_RDONLY);
    char buf[8];
    assert_int_equal(origin_pread(file, &bulk, buf, sizeof buf, 0, NULL), 5);
    origin_close_file(file);
}

static void test_waiting_ends_with_the_call(void **state)
{
    struct fixture *f = *state; /* of one connection */
    struct job holder, late, stopped;
    atomic_bool cancelled = false;
    set_gate("stat", 2);
    begin(&holder, f, NULL, call);
    wait_for_in(1);
    struct origin_call soon = {.deadline_ns = cairn_now_ns() + 30 * NSEC_PER_MSEC};
    begin(&late, f, NULL, &soon);
    assert_int_equal(end(&late), -ETIMEDOUT);
    struct origin_call c = {.deadline_ns = CAIRN_NEVER, .cancelled = &cancelled};
    begin(&stopped, f, NULL, &c);
    atomic_store(&cancelled, true);
    assert_int_equal(end(&stopped), -EINTR);
    open_gate();
    assert_int_equal(end(&holder), 0);
}

static void test_a_broken_connection_is_replaced(void **state)
{
    struct fixture *f = *state;
    const int errors[] = {ECONNRESET, EPIPE, ENOTCONN, ETIMEDOUT, EINTR, EAGAIN};
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        fault_before(fake.made[i], "stat", 1, -errors[i]);
        do_stat(f, -errors[i]);
        do_stat(f, 0);
        assert_int_equal(made(), i + 2);
        assert_int_equal(cairn_counted(&f->metrics, CAIRN_ORIGIN_RECONNECTS), i + 1);
    }
}

static void test_an_answer_keeps_the_connection(void **state)
{
    struct fixture *f = *state;
    const int errors[] = {ENOENT, EACCES, EIO, ENOSPC, EOPNOTSUPP};
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        fault_before(fake.made[0], "stat", 1, -errors[i]);
        do_stat(f, -errors[i]);
    }
    do_stat(f, 0);
    assert_int_equal(made(), 1);
}

static void test_a_driver_vouches_for_its_connection(void **state)
{
    struct fixture *f = *state;
    fault_set_usable(fake.made[0], true);
    fault_before(fake.made[0], "stat", 1, -EAGAIN);
    do_stat(f, -EAGAIN);
    do_stat(f, 0);
    assert_int_equal(made(), 1);
}

static int stop(void *arg, const struct origin_entry *e, size_t count)
{
    return -EINTR;
}

static void test_a_stopped_listing_keeps_the_connection(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "x");
    assert_int_equal(origin_list(f->o, call, "", stop, NULL), -EINTR);
    do_stat(f, 0);
    assert_int_equal(made(), 1);
}

static void test_idle_ones_are_asked_after_another_died(void **state)
{
    struct fixture *f = *state;
    grow_to(f, 2);
    struct origin *a = fake.made[0], *b = fake.made[1];
    fault_before(a, "stat", 1, -ECONNRESET);
    fault_before(b, "stat", 1, -ECONNRESET); /* whichever is taken */
    fault_before(a, "health", 1, -ECONNRESET);
    fault_before(b, "health", 1, -ECONNRESET);
    do_stat(f, -ECONNRESET);
    do_stat(f, 0); /* the other is found dead before it does harm */
    assert_int_equal(made(), 3);
    do_stat(f, 0);
    assert_int_equal(made(), 3);
}

static void test_a_refused_connection_is_no_failure_while_others_work(void **state)
{
    struct fixture *f = *state;
    struct job holder, waiter;
    set_gate("stat", 2);
    begin(&holder, f, NULL, call);
    wait_for_in(1);
    fake.refuse = 1000;
    begin(&waiter, f, NULL, call);
    pthread_mutex_lock(&fake.lock);
    while (fake.refuse == 1000) { /* until the waiter tried to connect */
        pthread_mutex_unlock(&fake.lock);
        sched_yield();
        pthread_mutex_lock(&fake.lock);
    }
    pthread_mutex_unlock(&fake.lock);
    open_gate();
    assert_int_equal(end(&holder), 0);
    assert_int_equal(end(&waiter), 0);
    assert_int_equal(made(), 1);
}

static void test_without_any_connection_the_refusal_is_the_answer(void **state)
{
    struct fixture *f = *state;
    fault_before(fake.made[0], "stat", 1, -ECONNRESET);
    do_stat(f, -ECONNRESET);
    fake.refuse = 2;
    do_stat(f, -ECONNREFUSED);
    do_stat(f, -ECONNREFUSED);
    do_stat(f, 0);
}

/* --- files --- */

static void test_a_file_is_read_on_several_connections_at_once(void **state)
{
    struct fixture *f = *state;
    struct job jobs[3];
    tempdir_write(f->dir, "a", "hello");
    struct origin_file *file = open_file(f, "a", O_RDONLY);
    set_gate("pread", 3);
    for (int i = 0; i < 3; i++)
        begin(&jobs[i], f, file, call);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(end(&jobs[i]), 5);
        assert_memory_equal(jobs[i].buf, "hello", 5);
    }
    open_gate();
    assert_int_equal(made(), 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fault_calls(fake.made[i], "open"), 1);
    check_read(file, "hello");
    origin_close_file(file);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fault_calls(fake.made[i], "close_file"), 1);
}

static void test_opening_creates_only_once(void **state)
{
    struct fixture *f = *state;
    struct origin_file *file = open_file(f, "a", O_RDWR | O_CREAT | O_EXCL | O_TRUNC);
    assert_int_equal(origin_pwrite(file, call, "hello", 5, 0), 0);
    struct origin *first = fake.made[0];
    fault_before(first, "pread", 1, -ECONNRESET);
    char buf[8];
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), -ECONNRESET);
    check_read(file, "hello"); /* opened anew, neither truncated nor refused */
    assert_int_equal(made(), 2);
    origin_close_file(file);
}

static void kill_connection(struct fixture *f, unsigned i)
{
    fault_before(fake.made[i], "stat", 1, -ECONNRESET);
    do_stat(f, -ECONNRESET);
}

static void test_a_file_outlives_its_connection(void **state)
{
    struct fixture *f = *state;
    fake.hide_ids = true;
    kill_connection(f, 0); /* the next one hides its ids */
    tempdir_write(f->dir, "a", "hello");
    struct origin_file *file = open_file(f, "a", O_RDONLY);
    kill_connection(f, 1);
    check_read(file, "hello"); /* by size and mtime */
    origin_close_file(file);
    assert_int_equal(made(), 3);
}

static void test_a_replaced_file_is_stale_after_its_connection(void **state)
{
    struct fixture *f = *state;
    char buf[8];
    tempdir_write(f->dir, "a", "hello");
    tempdir_write(f->dir, "b", "olleh");
    struct origin_file *file = open_file(f, "a", O_RDONLY);
    assert_int_equal(rename(tempdir_path(f->dir, "b"), tempdir_path(f->dir, "a")), 0);
    check_read(file, "hello");
    kill_connection(f, 0);
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), -ESTALE);
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), -ESTALE);
    assert_int_equal(fault_calls(fake.made[1], "open"), 1);
    origin_close_file(file);
}

static void test_a_removed_file_is_stale_after_its_connection(void **state)
{
    struct fixture *f = *state;
    char buf[8];
    tempdir_write(f->dir, "a", "hello");
    struct origin_file *file = open_file(f, "a", O_RDONLY);
    assert_int_equal(unlink(tempdir_path(f->dir, "a")), 0);
    kill_connection(f, 0);
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), -ESTALE);
    origin_close_file(file);
}

static void test_a_file_that_differs_elsewhere_stays_where_it_is(void **state)
{
    struct fixture *f = *state;
    struct job holder, reader;
    tempdir_write(f->dir, "a", "hello");
    tempdir_write(f->dir, "b", "another");
    struct origin_file *file = open_file(f, "a", O_RDONLY);
    assert_int_equal(rename(tempdir_path(f->dir, "b"), tempdir_path(f->dir, "a")), 0);
    set_gate("stat", 2);
    begin(&holder, f, NULL, call); /* holds the connection that has it open */
    wait_for_in(1);
    begin(&reader, f, file, call);
    while (made() < 2)
        sched_yield();
    pthread_mutex_lock(&fake.lock);
    struct origin *second = fake.made[1];
    pthread_mutex_unlock(&fake.lock);
    while (fault_calls(second, "close_file") == 0) /* it looked, and did not like it */
        sched_yield();
    open_gate();
    assert_int_equal(end(&holder), 0);
    assert_int_equal(end(&reader), 5);
    assert_memory_equal(reader.buf, "hello", 5);
    origin_close_file(file);
}

static void test_a_written_file_without_ids_stays_where_it_is(void **state)
{
    struct fixture *f = *state;
    struct job holder, reader;
    fake.hide_ids = true;
    kill_connection(f, 0);
    struct origin_file *file = open_file(f, "a", O_RDWR | O_CREAT);
    assert_int_equal(origin_pwrite(file, call, "hello", 5, 0), 0);
    set_gate("stat", 2);
    begin(&holder, f, NULL, call);
    wait_for_in(1);
    begin(&reader, f, file, call);
    struct origin_stat st;
    assert_int_equal(origin_stat(f->o, call, "a", &st), 0); /* passes the gate, on a third one */
    assert_int_equal(end(&holder), 0);
    assert_int_equal(end(&reader), 5);
    open_gate();
    assert_int_equal(fault_calls(fake.made[2], "open"), 0);
    char buf[8];
    kill_connection(f, 1);
    kill_connection(f, 2);
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), -ESTALE);
    origin_close_file(file);
}

static void test_lost_writes_fail_the_sync(void **state)
{
    struct fixture *f = *state;
    struct origin_file *file = open_file(f, "a", O_RDWR | O_CREAT);
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
    struct fixture *f = *state;
    assert_int_equal(origin_mkdir(f->o, call, "d", 0755), 0);
    tempdir_write(f->dir, "d/a", "hello");
    struct origin_file *file = open_file(f, "d/a", O_RDONLY);
    assert_int_equal(origin_rename(f->o, call, "d", "e", 0), 0);
    kill_connection(f, 0);
    check_read(file, "hello");
    origin_close_file(file);
}

static void test_a_forgotten_handle_is_opened_anew(void **state)
{
    struct fixture *f = *state;
    char buf[8];
    tempdir_write(f->dir, "a", "hello");
    struct origin_file *file = open_file(f, "a", O_RDONLY);
    fault_set_usable(fake.made[0], true);
    fault_before(fake.made[0], "pread", 1, -ESTALE);
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), -ESTALE);
    check_read(file, "hello");
    assert_int_equal(made(), 1);
    assert_int_equal(fault_calls(fake.made[0], "open"), 2);
    assert_int_equal(fault_calls(fake.made[0], "close_file"), 1);
    origin_close_file(file);
}

static void test_closing_does_not_wait_for_a_busy_connection(void **state)
{
    struct fixture *f = *state;
    struct job holder;
    struct origin_file *file = open_file(f, "a", O_RDWR | O_CREAT);
    set_gate("stat", 2);
    begin(&holder, f, NULL, call);
    wait_for_in(1);
    origin_close_file(file);
    assert_int_equal(fault_calls(fake.made[0], "close_file"), 0);
    open_gate();
    assert_int_equal(end(&holder), 0);
    do_stat(f, 0);
    assert_int_equal(fault_calls(fake.made[0], "close_file"), 1);
}

static void test_a_copy_has_both_files_on_one_connection(void **state)
{
    struct fixture *f = *state;
    struct job holder;
    tempdir_write(f->dir, "a", "hello");
    struct origin_file *from = open_file(f, "a", O_RDONLY);
    set_gate("stat", 2);
    begin(&holder, f, NULL, call); /* so that the second file opens elsewhere */
    wait_for_in(1);
    struct origin_file *to = open_file(f, "b", O_RDWR | O_CREAT);
    open_gate();
    assert_int_equal(end(&holder), 0);
    assert_int_equal(origin_copy_range(from, call, 1, to, 0, 4), 4);
    check_read(to, "ello");
    assert_int_equal(made(), 2);
    origin_close_file(from);
    origin_close_file(to);
}

static void test_a_copy_of_two_that_stay_apart_is_not_supported(void **state)
{
    struct fixture *f = *state;
    struct job holder;
    fake.hide_ids = true;
    kill_connection(f, 0);
    struct origin_file *from = open_file(f, "a", O_RDWR | O_CREAT);
    set_gate("stat", 2);
    begin(&holder, f, NULL, call);
    wait_for_in(1);
    struct origin_file *to = open_file(f, "b", O_RDWR | O_CREAT);
    open_gate();
    assert_int_equal(end(&holder), 0);
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
    struct fixture *f = *state;
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
        struct origin_file *file = open_file(f, name, O_RDWR | O_CREAT);
        assert_int_equal(origin_pwrite(file, call, data, sizeof data, 0), 0);
        origin_close_file(file);
        shared[i] = open_file(f, name, O_RDONLY);
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

#define T(name)   cmocka_unit_test_setup_teardown(name, setup, teardown)
#define ONE(name) cmocka_unit_test_setup_teardown(name, setup_one, teardown)
#define TWO(name) cmocka_unit_test_setup_teardown(name, setup_two, teardown)

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
