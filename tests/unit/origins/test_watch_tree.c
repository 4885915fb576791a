// SPDX-License-Identifier: Apache-2.0
/* Watch numbers and paths: setting, moving subtrees, displacement, dropping; and a random walk. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "origins/watch_tree.h"

static int setup(void **state)
{
    struct watch_tree *t = malloc(sizeof *t);
    *state = t;
    return watch_tree_init(t);
}

static int teardown(void **state)
{
    watch_tree_free(*state);
    free(*state);
    return 0;
}

static void check(struct watch_tree *t, int wd, const char *want)
{
    struct watch_node *n = watch_tree_find(t, wd);
    assert_non_null(n);
    AUTO_FREE char *path = watch_tree_path(n);
    assert_string_equal(path, want);
}

static void test_paths_of_watches(void **state)
{
    struct watch_tree *t = *state;
    assert_int_equal(watch_tree_set(t, "", 1), 0);
    assert_int_equal(watch_tree_set(t, "a/b/c", 2), 0);
    assert_int_equal(watch_tree_set(t, "a", 3), 0);
    check(t, 1, "");
    check(t, 2, "a/b/c");
    check(t, 3, "a");
    assert_null(watch_tree_find(t, 4));
}

static void test_a_move_takes_all_below_along(void **state)
{
    struct watch_tree *t = *state;
    watch_tree_set(t, "a", 1);
    watch_tree_set(t, "a/b/c", 2);
    watch_tree_set(t, "ab", 3);
    assert_int_equal(watch_tree_move(t, "a", "x/y"), 0);
    check(t, 1, "x/y");
    check(t, 2, "x/y/b/c");
    check(t, 3, "ab");
    assert_int_equal(watch_tree_move(t, "a", "z"), 0); /* again: nothing is there any more */
    check(t, 1, "x/y");
}

static void test_a_move_into_itself_is_refused(void **state)
{
    struct watch_tree *t = *state;
    watch_tree_set(t, "a", 1);
    assert_int_equal(watch_tree_move(t, "a", "a/b"), -EINVAL);
    assert_int_equal(watch_tree_move(t, "", "b"), -EINVAL);
    assert_int_equal(watch_tree_move(t, "a", "a"), 0);
    check(t, 1, "a");
}

static void test_an_exchange_in_two_moves(void **state)
{
    struct watch_tree *t = *state;
    watch_tree_set(t, "a", 1);
    watch_tree_set(t, "a/s", 2);
    watch_tree_set(t, "b", 3);
    watch_tree_set(t, "b/s", 4);
    assert_int_equal(watch_tree_move_node(t, watch_tree_find(t, 1), "b"), 0);
    assert_int_equal(watch_tree_move_node(t, watch_tree_find(t, 3), "a"), 0);
    check(t, 1, "b");
    check(t, 2, "b/s");
    check(t, 3, "a");
    check(t, 4, "a/s");
    /* Their paths lead to them, too. */
    assert_int_equal(watch_tree_move(t, "b", "c"), 0);
    check(t, 1, "c");
    check(t, 3, "a");
    assert_int_equal(watch_tree_move(t, "a", "b"), 0);
    check(t, 3, "b");
    check(t, 4, "b/s");
}

static void test_a_new_directory_takes_a_path(void **state)
{
    struct watch_tree *t = *state;
    watch_tree_set(t, "a", 1);
    watch_tree_set(t, "a/s", 2);
    watch_tree_set(t, "a", 3); /* the old one went to b, of which we learn below */
    watch_tree_set(t, "a/s", 4);
    assert_int_equal(watch_tree_move_node(t, watch_tree_find(t, 1), "b"), 0);
    check(t, 1, "b");
    check(t, 2, "b/s");
    check(t, 3, "a");
    check(t, 4, "a/s");
}

static void test_a_known_watch_gets_a_new_path(void **state)
{
    struct watch_tree *t = *state;
    watch_tree_set(t, "a", 1);
    watch_tree_set(t, "a/s", 2);
    assert_int_equal(watch_tree_set(t, "b", 1), 0);
    check(t, 1, "b");
    check(t, 2, "b/s");
}

static int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void test_drop_all_takes_a_subtree(void **state)
{
    struct watch_tree *t = *state;
    for (int i = 0; i < 100; i++) {
        char path[32];
        snprintf(path, sizeof path, "%s/d%d", i % 2 ? "odd" : "even", i);
        watch_tree_set(t, path, i);
    }
    watch_tree_set(t, "odd", 1000);
    size_t n;
    AUTO_FREE int *wds = watch_tree_drop_all(t, watch_tree_find(t, 1000), &n);
    assert_int_equal(n, 51);
    qsort(wds, n, sizeof *wds, compare);
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(wds[i], 2 * i + 1);
    assert_null(watch_tree_find(t, 1));
    check(t, 2, "even/d2");
}

enum { WATCHES = 40, PATH = 512 };

/* Against the plain way: an array of paths, where a move changes prefixes. */
static void test_agrees_with_prefixes(void **state)
{
    struct watch_tree *t = *state;
    static char path[WATCHES][PATH];
    memset(path, 0, sizeof path);
    const char *env = getenv("CAIRN_SEED");
    unsigned seed = env ? (unsigned)strtoul(env, NULL, 0) : (unsigned)getpid();
    print_message("CAIRN_SEED=%u\n", seed);
    unsigned names = 0;
    for (int step = 0; step < 3000; step++) {
        int i = (int)((unsigned)rand_r(&seed) % WATCHES),
            k = (int)((unsigned)rand_r(&seed) % WATCHES);
        char to[PATH];
        size_t len = strlen(path[i]);
        if (snprintf(to, sizeof to, "%.400s%sn%u", path[k], *path[k] ? "/" : "", names++) > 400)
            continue;
        if (!len) {
            strcpy(path[i], to);
            assert_int_equal(watch_tree_set(t, to, i), 0);
        } else if (rand_r(&seed) % 4 == 0) {
            /* Dropping one leaves those below it in their places. */
            watch_tree_drop(t, i);
            path[i][0] = '\0';
        } else if (!strncmp(to, path[i], len) && to[len] == '/') {
            assert_int_equal(watch_tree_move(t, path[i], to), -EINVAL);
        } else {
            char from[PATH];
            strcpy(from, path[i]);
            assert_int_equal(watch_tree_move(t, from, to), 0);
            for (int w = 0; w < WATCHES; w++) {
                if (strncmp(path[w], from, len) || (path[w][len] && path[w][len] != '/'))
                    continue;
                char moved[2 * PATH];
                snprintf(moved, sizeof moved, "%s%s", to, path[w] + len);
                assert_true(strlen(moved) < PATH);
                strcpy(path[w], moved);
            }
        }
        for (int w = 0; w < WATCHES; w++) {
            if (*path[w])
                check(t, w, path[w]);
            else
                assert_null(watch_tree_find(t, w));
        }
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_paths_of_watches),
        T(test_a_move_takes_all_below_along),
        T(test_a_move_into_itself_is_refused),
        T(test_an_exchange_in_two_moves),
        T(test_a_new_directory_takes_a_path),
        T(test_a_known_watch_gets_a_new_path),
        T(test_drop_all_takes_a_subtree),
        T(test_agrees_with_prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
