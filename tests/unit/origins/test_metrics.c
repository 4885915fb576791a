// SPDX-License-Identifier: Apache-2.0
/* Counting calls to an origin: what is an error, bytes, latencies and their percentiles. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "origins/metrics.h"
#include "unit/origins/fault.h"
#include "unit/origins/tempdir.h"

struct fixture {
    char *dir;
    struct origin *fault, *o;
    struct cairn_metrics counters;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->dir = tempdir_new();
    f->fault = fault_new(tempdir_connect(f->dir));
    assert_int_equal(origin_metrics_new(&f->o, f->fault, &f->counters), 0);
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

static struct origin_op_metrics metrics_of(struct origin *o, const char *op)
{
    struct origin_op_metrics m;
    for (size_t i = 0; origin_metrics_get(o, i, &m); i++)
        if (!strcmp(m.name, op))
            return m;
    fail_msg("no operation %s", op);
    return m;
}

static void test_counts_calls_and_errors(void **state)
{
    struct fixture *f = *state;
    struct origin_stat st;
    fault_before(f->fault, "stat", 1, -EIO);
    fault_before(f->fault, "stat", 1, -ETIMEDOUT);
    origin_stat(f->o, &endless, "", &st);
    origin_stat(f->o, &endless, "", &st);
    origin_stat(f->o, &endless, "", &st);
    struct origin_op_metrics m = metrics_of(f->o, "stat");
    assert_int_equal(m.calls, 3);
    assert_int_equal(m.errors, 2);
    assert_int_equal(cairn_counted(&f->counters, CAIRN_ORIGIN_CALLS), 3);
    assert_int_equal(cairn_counted(&f->counters, CAIRN_ORIGIN_ERRORS), 2);
    assert_int_equal(cairn_counted(&f->counters, CAIRN_ORIGIN_TIMEOUTS), 1);
    assert_int_equal(metrics_of(f->o, "list").calls, 0);
}

static void test_a_missing_name_is_an_answer(void **state)
{
    struct fixture *f = *state;
    struct origin_stat st;
    assert_int_equal(origin_stat(f->o, &endless, "none", &st), -ENOENT);
    assert_int_equal(metrics_of(f->o, "stat").errors, 0);
    assert_int_equal(cairn_counted(&f->counters, CAIRN_ORIGIN_ERRORS), 0);
}

static void test_counts_bytes(void **state)
{
    struct fixture *f = *state;
    struct origin_file *file;
    char buf[100];
    assert_int_equal(origin_open(f->o, &endless, "a", O_RDWR | O_CREAT, 0644, &file, NULL), 0);
    assert_int_equal(origin_pwrite(file, &endless, "hello", 5, 0), 0);
    assert_int_equal(origin_pread(file, &endless, buf, sizeof buf, 1, NULL), 4);
    origin_close_file(file);
    assert_int_equal(metrics_of(f->o, "pwrite").bytes, 5);
    assert_int_equal(metrics_of(f->o, "pread").bytes, 4);
    assert_int_equal(cairn_counted(&f->counters, CAIRN_ORIGIN_WRITTEN_BYTES), 5);
    assert_int_equal(cairn_counted(&f->counters, CAIRN_ORIGIN_READ_BYTES), 4);
}

static void test_only_the_top_of_a_stack_has_numbers(void **state)
{
    struct fixture *f = *state;
    struct origin_op_metrics m;
    assert_false(origin_metrics_get(f->fault, 0, &m));
    assert_false(origin_metrics_get(f->o, 1000, &m));
}

static void test_percentiles_are_upper_edges(void **state)
{
    struct origin_op_metrics m = {.calls = 100};
    assert_int_equal(origin_metrics_percentile_us(&(struct origin_op_metrics){0}, 0.5), 0);
    m.latency[3] = 98; /* 4 to 8 us */
    m.latency[10] = 2; /* 512 to 1024 us */
    assert_int_equal(origin_metrics_percentile_us(&m, 0.5), 8);
    assert_int_equal(origin_metrics_percentile_us(&m, 0.98), 8);
    assert_int_equal(origin_metrics_percentile_us(&m, 0.99), 1024);
    assert_int_equal(origin_metrics_percentile_us(&m, 1.0), 1024);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_counts_calls_and_errors),
        T(test_a_missing_name_is_an_answer),
        T(test_counts_bytes),
        T(test_only_the_top_of_a_stack_has_numbers),
        cmocka_unit_test(test_percentiles_are_upper_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
