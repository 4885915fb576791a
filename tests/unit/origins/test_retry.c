// SPDX-License-Identifier: Apache-2.0
/* Trying again: which errors, how long, and operations that were done although they failed. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "origins/retry.h"
#include "unit/origins/fault.h"
#include "unit/origins/tempdir.h"

struct fixture {
    char *dir;
    struct origin *fault;
    struct origin *o; /* retry(fault(file)) */
    struct cairn_metrics metrics;
    /* the injected clock */
    int64_t now;
    uint64_t random; /* what the next draws give */
    int64_t waits[64];
    size_t wait_count;
    atomic_bool cancelled;
    size_t cancel_in_wait; /* 1: cancel during the first wait */
};

static int64_t fake_now(void *arg)
{
    return ((struct fixture *)arg)->now;
}

static void fake_sleep(void *arg, const struct origin_call *c, int64_t ns)
{
    struct fixture *f = arg;
    assert_true(f->wait_count < ARRAY_LEN(f->waits));
    f->waits[f->wait_count++] = ns;
    f->now += ns;
    if (f->wait_count == f->cancel_in_wait)
        atomic_store(&f->cancelled, true);
}

static uint64_t fake_random(void *arg)
{
    return ((struct fixture *)arg)->random;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->dir = tempdir_new();
    f->fault = fault_new(tempdir_connect(f->dir));
    f->now = cairn_now_ns(); /* the layers below look at the real clock */
    struct retry_clock clock = {fake_now, fake_sleep, fake_random, f};
    assert_int_equal(origin_retry_new(&f->o, f->fault, "test", &clock, &f->metrics), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    origin_close(f->o);
    tempdir_remove(f->dir);
    free(f);
    return 0;
}

static struct origin_call call_within(struct fixture *f, int64_t ns)
{
    return (struct origin_call){.deadline_ns = f->now + ns, .cancelled = &f->cancelled};
}

static bool exists(struct fixture *f, const char *name)
{
    struct stat st;
    return lstat(tempdir_path(f->dir, name), &st) == 0;
}

/* --- how often and how long --- */

static void test_transient_errors_are_repeated(void **state)
{
    struct fixture *f = *state;
    const int errors[] = {EAGAIN, ECONNRESET,   ECONNREFUSED, ECONNABORTED,
                          EPIPE,  EHOSTUNREACH, ENETUNREACH};
    struct origin_stat st;
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        fault_before(f->fault, "stat", 1, -errors[i]);
        assert_int_equal(origin_stat(f->o, &endless, "", &st), 0);
    }
    assert_int_equal(cairn_counted(&f->metrics, CAIRN_ORIGIN_RETRIES), ARRAY_LEN(errors));
}

static void test_answers_are_not_repeated(void **state)
{
    struct fixture *f = *state;
    const int errors[] = {ENOENT, EACCES, EPERM,  EEXIST, ENOTEMPTY, EIO,       ENOSPC,
                          EDQUOT, EROFS,  ENOMEM, EINVAL, EBADMSG,   EOPNOTSUPP};
    struct origin_stat st;
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        fault_before(f->fault, "stat", 1, -errors[i]);
        assert_int_equal(origin_stat(f->o, &endless, "", &st), -errors[i]);
    }
    assert_int_equal(f->wait_count, 0);
    assert_int_equal(fault_calls(f->fault, "stat"), ARRAY_LEN(errors));
}

static void test_waits_double_up_to_a_bound(void **state)
{
    struct fixture *f = *state;
    const int64_t ms[] = {50, 100, 200, 400, 800, 1600, 2000, 2000, 2000};
    struct origin_stat st;
    fault_before(f->fault, "stat", ARRAY_LEN(ms), -ECONNREFUSED);
    for (size_t i = 0; i < ARRAY_LEN(ms); i++)
        f->waits[i] = -1;
    /* A draw n gives n % (bound + 1): for n = bound the whole of it, only known in advance for
     * one bound; so each is tried with a stack of its own. */
    for (size_t i = 0; i < ARRAY_LEN(ms); i++) {
        struct origin *fault = fault_new(tempdir_connect(f->dir)), *o;
        struct retry_clock clock = {fake_now, fake_sleep, fake_random, f};
        assert_int_equal(origin_retry_new(&o, fault, "test", &clock, NULL), 0);
        f->wait_count = 0;
        f->random = (uint64_t)(ms[i] * NSEC_PER_MSEC);
        fault_before(fault, "stat", ARRAY_LEN(ms), -ECONNREFUSED);
        assert_int_equal(origin_stat(o, &endless, "", &st), 0);
        assert_int_equal(f->wait_count, ARRAY_LEN(ms));
        for (size_t k = 0; k < ARRAY_LEN(ms); k++)
            assert_true(f->waits[k] >= 0 && f->waits[k] <= ms[k] * NSEC_PER_MSEC);
        assert_int_equal(f->waits[i], ms[i] * NSEC_PER_MSEC);
        origin_close(o);
    }
}

static void test_a_wait_beyond_the_deadline_is_not_begun(void **state)
{
    struct fixture *f = *state;
    struct origin_stat st;
    struct origin_call c = call_within(f, 60 * NSEC_PER_SEC);
    f->random = 40 * NSEC_PER_MSEC;
    fault_before(f->fault, "stat", 1000, -ECONNREFUSED);
    int64_t begin = f->now;
    c.deadline_ns = begin + 100 * NSEC_PER_MSEC;
    /* Waits of 40 ms: two fit, the third would reach beyond. */
    assert_int_equal(origin_stat(f->o, &c, "", &st), -ECONNREFUSED);
    assert_int_equal(f->wait_count, 2);
    assert_true(f->now < c.deadline_ns);
}

static void test_without_a_deadline_it_ends_all_the_same(void **state)
{
    struct fixture *f = *state;
    struct origin_stat st;
    fault_before(f->fault, "stat", 1000, -ECONNREFUSED);
    assert_int_equal(origin_stat(f->o, &endless, "", &st), -ECONNREFUSED);
    assert_int_equal(fault_calls(f->fault, "stat"), 16);
}

static void test_a_cancelled_call_ends_its_wait(void **state)
{
    struct fixture *f = *state;
    struct origin_stat st;
    struct origin_call c = call_within(f, 60 * NSEC_PER_SEC);
    fault_before(f->fault, "stat", 1000, -ECONNREFUSED);
    f->cancel_in_wait = 3;
    assert_int_equal(origin_stat(f->o, &c, "", &st), -EINTR);
    assert_int_equal(fault_calls(f->fault, "stat"), 3);
}

static void test_a_stale_handle_is_tried_three_times(void **state)
{
    struct fixture *f = *state;
    struct origin_stat st;
    fault_before(f->fault, "stat", 1000, -ESTALE);
    assert_int_equal(origin_stat(f->o, &endless, "", &st), -ESTALE);
    assert_int_equal(fault_calls(f->fault, "stat"), 3);
}

static void test_a_timeout_below_is_repeated_while_there_is_time(void **state)
{
    struct fixture *f = *state;
    struct origin_stat st;
    struct origin_call c = call_within(f, 60 * NSEC_PER_SEC);
    fault_before(f->fault, "stat", 2, -ETIMEDOUT);
    assert_int_equal(origin_stat(f->o, &c, "", &st), 0);
    fault_before(f->fault, "stat", 2, -ETIMEDOUT);
    f->now = c.deadline_ns;
    assert_int_equal(origin_stat(f->o, &c, "", &st), -ETIMEDOUT);
}

static int count_entries(void *arg, const struct origin_entry *e, size_t count)
{
    *(size_t *)arg += count;
    return 0;
}

static void test_a_listing_is_repeated_only_before_its_first_page(void **state)
{
    struct fixture *f = *state;
    size_t n = 0;
    tempdir_write(f->dir, "a", "");
    fault_before(f->fault, "list", 2, -ECONNRESET);
    assert_int_equal(origin_list(f->o, &endless, "", count_entries, &n), 0);
    assert_int_equal(n, 1);
    fault_after(f->fault, "list", 1, -ECONNRESET);
    assert_int_equal(origin_list(f->o, &endless, "", count_entries, &n), -ECONNRESET);
    assert_int_equal(n, 2);
}

static void test_calls_on_files_are_repeated(void **state)
{
    struct fixture *f = *state;
    struct origin_file *file;
    char buf[8];
    struct origin_stat st;
    assert_int_equal(origin_open(f->o, &endless, "a", O_RDWR | O_CREAT, 0644, &file, NULL), 0);
    fault_before(f->fault, "pwrite", 1, -ECONNRESET);
    fault_after(f->fault, "pwrite", 1, -ECONNRESET);
    assert_int_equal(origin_pwrite(file, &endless, "hello", 5, 0), 0);
    fault_before(f->fault, "fsync", 1, -EPIPE);
    assert_int_equal(origin_fsync(file, &endless), 0);
    fault_before(f->fault, "pread", 1, -EPIPE);
    assert_int_equal(origin_pread(file, &endless, buf, sizeof buf, 0, &st), 5);
    assert_int_equal(st.size, 5);
    origin_close_file(file);
}

/* --- done although it failed --- */

static void test_mkdir_done_at_the_lost_try(void **state)
{
    struct fixture *f = *state;
    struct origin_stat st;
    fault_after(f->fault, "mkdir", 1, -ECONNRESET);
    assert_int_equal(origin_mkdir(f->o, &endless, "d", 0751), 0);
    assert_int_equal(origin_stat(f->o, &endless, "d", &st), 0);
    assert_int_equal(st.mode & 07777, 0751);
}

static void test_mkdir_over_a_file_stays_an_error(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "d", "");
    fault_before(f->fault, "mkdir", 1, -ECONNRESET);
    assert_int_equal(origin_mkdir(f->o, &endless, "d", 0755), -EEXIST);
}

static void test_mkdir_never_sent_is_not_taken_for_done(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mkdir(tempdir_path(f->dir, "d"), 0700), 0);
    fault_before(f->fault, "mkdir", 1, -ECONNREFUSED);
    fault_before(f->fault, "mkdir", 1, -EAGAIN);
    assert_int_equal(origin_mkdir(f->o, &endless, "d", 0755), -EEXIST);
}

static void test_mknod_done_at_the_lost_try(void **state)
{
    struct fixture *f = *state;
    fault_after(f->fault, "mknod", 1, -ECONNRESET);
    assert_int_equal(origin_mknod(f->o, &endless, "p", S_IFIFO | 0644, 0), 0);
    fault_before(f->fault, "mknod", 1, -ECONNRESET);
    assert_int_equal(origin_mknod(f->o, &endless, "p", S_IFSOCK | 0644, 0), -EEXIST);
}

static void test_symlink_done_at_the_lost_try(void **state)
{
    struct fixture *f = *state;
    fault_after(f->fault, "symlink", 1, -ECONNRESET);
    assert_int_equal(origin_symlink(f->o, &endless, "t", "l"), 0);
    fault_before(f->fault, "symlink", 1, -ECONNRESET);
    assert_int_equal(origin_symlink(f->o, &endless, "other", "l"), -EEXIST);
}

static void test_link_done_at_the_lost_try(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "x");
    tempdir_write(f->dir, "c", "x");
    fault_after(f->fault, "link", 1, -ECONNRESET);
    assert_int_equal(origin_link(f->o, &endless, "a", "b"), 0);
    fault_before(f->fault, "link", 1, -ECONNRESET);
    assert_int_equal(origin_link(f->o, &endless, "a", "c"), -EEXIST);
}

static void test_unlink_and_rmdir_done_at_the_lost_try(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "x");
    assert_int_equal(mkdir(tempdir_path(f->dir, "d"), 0700), 0);
    fault_after(f->fault, "unlink", 1, -ECONNRESET);
    assert_int_equal(origin_unlink(f->o, &endless, "a"), 0);
    fault_after(f->fault, "rmdir", 1, -ECONNRESET);
    assert_int_equal(origin_rmdir(f->o, &endless, "d"), 0);
    assert_int_equal(origin_unlink(f->o, &endless, "a"), -ENOENT);
}

static void test_rename_done_at_the_lost_try(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "x");
    fault_after(f->fault, "rename", 1, -ECONNRESET);
    assert_int_equal(origin_rename(f->o, &endless, "a", "b", 0), 0);
    fault_after(f->fault, "rename", 1, -ECONNRESET);
    assert_int_equal(origin_rename(f->o, &endless, "b", "c", RENAME_NOREPLACE), 0);
    assert_true(exists(f, "c"));
    fault_before(f->fault, "rename", 1, -ECONNRESET);
    assert_int_equal(origin_rename(f->o, &endless, "none", "nor", 0), -ENOENT);
}

static void test_an_exchange_is_never_undone(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    tempdir_write(f->dir, "a", "A");
    tempdir_write(f->dir, "b", "BB");
    fault_after(f->fault, "rename", 1, -ECONNRESET);
    assert_int_equal(origin_rename(f->o, &endless, "a", "b", RENAME_EXCHANGE), 0);
    assert_int_equal(stat(tempdir_path(f->dir, "a"), &st), 0);
    assert_int_equal(st.st_size, 2);
    fault_before(f->fault, "rename", 1, -ECONNRESET);
    assert_int_equal(origin_rename(f->o, &endless, "a", "b", RENAME_EXCHANGE), 0);
    assert_int_equal(stat(tempdir_path(f->dir, "a"), &st), 0);
    assert_int_equal(st.st_size, 1);
}

static void test_an_exchange_without_ids_is_not_repeated(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    fault_hide_ids(f->fault);
    tempdir_write(f->dir, "a", "A");
    tempdir_write(f->dir, "b", "BB");
    fault_after(f->fault, "rename", 1, -ECONNRESET);
    assert_int_equal(origin_rename(f->o, &endless, "a", "b", RENAME_EXCHANGE), -ECONNRESET);
    assert_int_equal(stat(tempdir_path(f->dir, "a"), &st), 0);
    assert_int_equal(st.st_size, 2);
}

static void test_exclusive_create_done_at_the_lost_try(void **state)
{
    struct fixture *f = *state;
    struct origin_file *file = NULL;
    const int flags = O_RDWR | O_CREAT | O_EXCL;
    fault_after(f->fault, "open", 1, -ECONNRESET);
    assert_int_equal(origin_open(f->o, &endless, "a", flags, 0640, &file, NULL), 0);
    assert_int_equal(origin_pwrite(file, &endless, "x", 1, 0), 0);
    origin_close_file(file);
    file = NULL;
    /* Not empty: someone else's. */
    fault_before(f->fault, "open", 1, -ECONNRESET);
    assert_int_equal(origin_open(f->o, &endless, "a", flags, 0640, &file, NULL), -EEXIST);
    assert_null(file);
}

static void test_xattrs_done_at_the_lost_try(void **state)
{
    struct fixture *f = *state;
    if (!origin_can(f->o, ORIGIN_XATTRS)) {
        print_message("skipped: no user xattrs on this filesystem\n");
        skip();
    }
    tempdir_write(f->dir, "a", "x");
    fault_after(f->fault, "setxattr", 1, -ECONNRESET);
    assert_int_equal(origin_setxattr(f->o, &endless, "a", "user.x", "v", 1, XATTR_CREATE), 0);
    fault_before(f->fault, "setxattr", 1, -ECONNRESET);
    assert_int_equal(origin_setxattr(f->o, &endless, "a", "user.x", "w", 1, XATTR_CREATE), -EEXIST);
    fault_after(f->fault, "removexattr", 1, -ECONNRESET);
    assert_int_equal(origin_removexattr(f->o, &endless, "a", "user.x"), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    cairn_log_set_level(CAIRN_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        T(test_transient_errors_are_repeated),
        T(test_answers_are_not_repeated),
        T(test_waits_double_up_to_a_bound),
        T(test_a_wait_beyond_the_deadline_is_not_begun),
        T(test_without_a_deadline_it_ends_all_the_same),
        T(test_a_cancelled_call_ends_its_wait),
        T(test_a_stale_handle_is_tried_three_times),
        T(test_a_timeout_below_is_repeated_while_there_is_time),
        T(test_a_listing_is_repeated_only_before_its_first_page),
        T(test_calls_on_files_are_repeated),
        T(test_mkdir_done_at_the_lost_try),
        T(test_mkdir_over_a_file_stays_an_error),
        T(test_mkdir_never_sent_is_not_taken_for_done),
        T(test_mknod_done_at_the_lost_try),
        T(test_symlink_done_at_the_lost_try),
        T(test_link_done_at_the_lost_try),
        T(test_unlink_and_rmdir_done_at_the_lost_try),
        T(test_rename_done_at_the_lost_try),
        T(test_an_exchange_is_never_undone),
        T(test_an_exchange_without_ids_is_not_repeated),
        T(test_exclusive_create_done_at_the_lost_try),
        T(test_xattrs_done_at_the_lost_try),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
