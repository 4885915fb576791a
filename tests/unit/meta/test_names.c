// SPDX-License-Identifier: Apache-2.0
/* Names: links, renames, exchanges, paths, listings and their cookies. */
#include "check.h"
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int link_name(struct cairn_meta *m, uint64_t parent, const char *name, uint64_t ino)
{
    cairn_meta_lock(m);
    int r = cairn_meta_link(m, parent, name, ino);
    cairn_meta_unlock(m);
    return r;
}

static int unlink_name(struct cairn_meta *m, uint64_t parent, const char *name, uint32_t *ret_left)
{
    cairn_meta_lock(m);
    int r = cairn_meta_unlink(m, parent, name, NULL, ret_left);
    cairn_meta_unlock(m);
    return r;
}

static int rename_name(struct cairn_meta *m, uint64_t from, const char *name, uint64_t to,
                       const char *new_name)
{
    cairn_meta_lock(m);
    int r = cairn_meta_rename(m, from, name, to, new_name);
    cairn_meta_unlock(m);
    return r;
}

static void assert_path(struct cairn_meta *m, uint64_t ino, const char *want)
{
    char *path = NULL;
    assert_ok(cairn_meta_path(m, ino, &path));
    assert_string_equal(path, want);
    free(path);
}

static void assert_lookup(struct cairn_meta *m, uint64_t parent, const char *name, uint64_t want)
{
    uint64_t ino = 0;
    assert_ok(cairn_meta_lookup(m, parent, name, &ino));
    assert_int_equal(ino, want);
}

static void assert_absent(struct cairn_meta *m, uint64_t parent, const char *name)
{
    uint64_t ino = 77;
    assert_int_equal(cairn_meta_lookup(m, parent, name, &ino), -ENOENT);
    assert_int_equal(ino, 77);
}

#define ROOT CAIRN_ROOT_INO

static void test_link_and_lookup(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = make_node(f->m, ROOT, "a", S_IFREG);
    assert_lookup(f->m, ROOT, "a", ino);
    assert_absent(f->m, ROOT, "b");
    assert_absent(f->m, ino, "a");
    assert_int_equal(link_name(f->m, ROOT, "a", ino), -EEXIST);
    assert_int_equal(link_name(f->m, ROOT, "b", 999999999), -ENOENT);
    check_names(f->m);
}

static void test_bad_names_are_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = make_node(f->m, 0, NULL, S_IFREG);
    char longest[300];
    memset(longest, 'n', sizeof(longest));
    longest[256] = 0;
    assert_int_equal(link_name(f->m, ROOT, longest, ino), -ENAMETOOLONG);
    assert_int_equal(link_name(f->m, ROOT, "", ino), -EINVAL);
    assert_int_equal(link_name(f->m, ROOT, "a/b", ino), -EINVAL);
    assert_int_equal(link_name(f->m, ROOT, "..", ino), -EINVAL);
    assert_int_equal(link_name(f->m, ROOT, "loop", ROOT), -EINVAL);
    longest[255] = 0;
    assert_ok(link_name(f->m, ROOT, longest, ino));
    assert_lookup(f->m, ROOT, longest, ino);
    assert_ok(cairn_meta_sync(f->m));
    assert_lookup(f->m, ROOT, longest, ino);
}

static void test_names_of_any_bytes(void **state)
{
    struct fixture *f = *state;
    char name[3] = "xx";
    uint64_t ino[256] = {0};
    for (int c = 1; c < 256; c++) {
        if (c == '/')
            continue;
        name[0] = (char)c;
        ino[c] = make_node(f->m, ROOT, name, S_IFREG);
    }
    fixture_reopen(f);
    for (int c = 1; c < 256; c++) {
        name[0] = (char)c;
        if (c != '/')
            assert_lookup(f->m, ROOT, name, ino[c]);
    }
    check_names(f->m);
}

static void test_another_name_is_promoted(void **state)
{
    struct fixture *f = *state;
    uint32_t left;
    uint64_t dir = make_node(f->m, ROOT, "dir", S_IFDIR);
    uint64_t ino = make_node(f->m, ROOT, "one", S_IFREG);
    assert_ok(link_name(f->m, dir, "two", ino));
    assert_ok(link_name(f->m, dir, "three", ino));
    assert_path(f->m, ino, "one");
    check_names(f->m);
    assert_ok(unlink_name(f->m, ROOT, "one", &left));
    assert_int_equal(left, 2);
    check_names(f->m);
    assert_path(f->m, ino, "dir/three");
    assert_ok(unlink_name(f->m, dir, "two", &left));
    assert_int_equal(left, 1);
    assert_path(f->m, ino, "dir/three");
    assert_ok(unlink_name(f->m, dir, "three", &left));
    assert_int_equal(left, 0);
    char *path;
    assert_int_equal(cairn_meta_path(f->m, ino, &path), -ESTALE);
    struct cairn_inode in;
    assert_ok(cairn_meta_inode(f->m, ino, &in));
    assert_int_equal(in.parent, 0);
    assert_string_equal(in.name, "");
    assert_int_equal(unlink_name(f->m, dir, "three", &left), -ENOENT);
    assert_ok(link_name(f->m, ROOT, "again", ino));
    assert_path(f->m, ino, "again");
    check_names(f->m);
}

static void test_rename_moves_what_is_below(void **state)
{
    struct fixture *f = *state;
    uint64_t a = make_node(f->m, ROOT, "a", S_IFDIR), b = make_node(f->m, ROOT, "b", S_IFDIR);
    uint64_t file = make_node(f->m, a, "file", S_IFREG);
    assert_path(f->m, file, "a/file");
    assert_ok(rename_name(f->m, ROOT, "a", b, "c"));
    assert_path(f->m, file, "b/c/file");
    assert_absent(f->m, ROOT, "a");
    assert_int_equal(rename_name(f->m, ROOT, "a", b, "d"), -ENOENT);
    assert_int_equal(rename_name(f->m, ROOT, "b", b, "c"), -EEXIST);
    check_names(f->m);
}

static void test_rename_of_an_extra_name(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = make_node(f->m, ROOT, "one", S_IFREG);
    assert_ok(link_name(f->m, ROOT, "two", ino));
    assert_ok(rename_name(f->m, ROOT, "two", ROOT, "three"));
    assert_path(f->m, ino, "one");
    assert_absent(f->m, ROOT, "two");
    check_names(f->m);
    assert_ok(unlink_name(f->m, ROOT, "one", NULL));
    assert_path(f->m, ino, "three");
}

static void test_exchange_swaps(void **state)
{
    struct fixture *f = *state;
    uint64_t dir = make_node(f->m, ROOT, "dir", S_IFDIR);
    uint64_t x = make_node(f->m, ROOT, "x", S_IFREG), y = make_node(f->m, dir, "y", S_IFREG);
    assert_ok(link_name(f->m, dir, "x2", x));
    cairn_meta_lock(f->m);
    assert_ok(cairn_meta_exchange(f->m, dir, "x2", dir, "y"));
    assert_ok(cairn_meta_exchange(f->m, ROOT, "x", dir, "y")); /* both are x: nothing */
    assert_int_equal(cairn_meta_exchange(f->m, ROOT, "x", dir, "none"), -ENOENT);
    cairn_meta_unlock(f->m);
    assert_lookup(f->m, dir, "y", x);
    assert_lookup(f->m, dir, "x2", y);
    assert_path(f->m, x, "x");
    assert_path(f->m, y, "dir/x2");
    check_names(f->m);
}

static void test_path_of_root_and_of_nothing(void **state)
{
    struct fixture *f = *state;
    char *path = NULL;
    assert_path(f->m, ROOT, "");
    assert_int_equal(cairn_meta_path(f->m, 424242, &path), -ENOENT);
    assert_null(path);
}

static void test_deep_path(void **state)
{
    struct fixture *f = *state;
    uint64_t at = ROOT;
    char want[4096] = "";
    for (int i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof(name), "d%d", i);
        at = make_node(f->m, at, name, S_IFDIR);
        strcat(want, i ? "/" : "");
        strcat(want, name);
    }
    assert_path(f->m, at, want);
}

struct listing {
    unsigned count, limit;
    uint64_t cookie[4000];
    char name[4000][16];
};

static int take(void *arg, const struct cairn_dirent *e)
{
    struct listing *l = arg;
    if (l->count == l->limit)
        return 1;
    assert_true(e->cookie > 2);
    assert_true(!l->count || e->cookie > l->cookie[l->count - 1]);
    assert_true(e->have_inode && e->inode->ino == e->ino);
    l->cookie[l->count] = e->cookie;
    snprintf(l->name[l->count++], 16, "%s", e->name);
    return 0;
}

static struct listing *list(struct cairn_meta *m, uint64_t dir, unsigned piece)
{
    struct listing *l = calloc(1, sizeof(*l));
    int r;
    do {
        l->limit = l->count + piece;
        r = cairn_meta_readdir(m, dir, l->count ? l->cookie[l->count - 1] : 0, take, l);
        assert_true(r == 0 || r == 1);
    } while (r);
    return l;
}

static void test_cookies_stay_with_their_names(void **state)
{
    struct fixture *f = *state;
    char name[16];
    uint64_t dir = make_node(f->m, ROOT, "dir", S_IFDIR);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        make_node(f->m, dir, name, S_IFREG);
    }
    struct listing *before = list(f->m, dir, 7);
    assert_int_equal(before->count, 1000);
    for (int i = 0; i < 1000; i += 2) {
        snprintf(name, sizeof(name), "n%d", i);
        assert_ok(unlink_name(f->m, dir, name, NULL));
        snprintf(name, sizeof(name), "m%d", i);
        make_node(f->m, dir, name, S_IFREG);
        if (i == 400)
            fixture_reopen(f);
    }
    struct listing *after = list(f->m, dir, 100);
    assert_int_equal(after->count, 1000);
    for (unsigned i = 0; i < 500; i++) {
        assert_string_equal(after->name[i], before->name[2 * i + 1]);
        assert_int_equal(after->cookie[i], before->cookie[2 * i + 1]);
        assert_true(after->cookie[500 + i] > before->cookie[999]);
    }
    free(before);
    free(after);
    check_names(f->m);
}

static int remove_as_listed(void *arg, const struct cairn_dirent *e)
{
    struct fixture *f = arg;
    assert_ok(unlink_name(f->m, ROOT, e->name, NULL));
    return 0;
}

static void test_names_may_go_while_listing(void **state)
{
    struct fixture *f = *state;
    char name[16];
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        make_node(f->m, ROOT, name, S_IFREG);
        if (i == 1500)
            assert_ok(cairn_meta_sync(f->m));
    }
    assert_ok(cairn_meta_readdir(f->m, ROOT, 0, remove_as_listed, f));
    struct listing *l = list(f->m, ROOT, 10);
    assert_int_equal(l->count, 0);
    free(l);
}

static void test_name_without_inode_is_told(void **state)
{
    struct fixture *f = *state;
    assert_ok(cairn_meta_readdir(f->m, 555, 0, take, NULL));
    assert_ok(cairn_meta_readdir(f->m, ROOT, UINT64_MAX, take, NULL));
}

/* Random operations against a table of what each name should mean. */
static void test_random_operations_match_a_model(void **state)
{
    enum { DIRS = 4, NAMES = 12, NODES = 24, STEPS = 6000 };
    struct fixture *f = *state;
    uint64_t seed = test_seed(), dirs[DIRS], node[NODES], model[DIRS][NAMES] = {{0}};
    for (int i = 0; i < DIRS; i++) {
        char name[8];
        snprintf(name, sizeof(name), "dir%d", i);
        dirs[i] = make_node(f->m, ROOT, name, S_IFDIR);
    }
    for (int i = 0; i < NODES; i++)
        node[i] = make_node(f->m, 0, NULL, S_IFREG);
    for (int step = 0; step < STEPS; step++) {
        uint64_t r = next_random(&seed);
        unsigned d = r % DIRS, n = (r >> 8) % NAMES, d2 = (r >> 16) % DIRS, n2 = (r >> 24) % NAMES;
        uint64_t *at = &model[d][n], *to = &model[d2][n2];
        char name[8], name2[8];
        snprintf(name, sizeof(name), "n%u", n);
        snprintf(name2, sizeof(name2), "n%u", n2);
        cairn_meta_lock(f->m);
        int got, want;
        switch ((r >> 32) % 4) {
        case 0: {
            uint64_t ino = node[(r >> 40) % NODES];
            got = cairn_meta_link(f->m, dirs[d], name, ino);
            want = *at ? -EEXIST : 0;
            if (!want)
                *at = ino;
            break;
        }
        case 1:
            got = cairn_meta_unlink(f->m, dirs[d], name, NULL, NULL);
            want = *at ? 0 : -ENOENT;
            *at = 0;
            break;
        case 2:
            got = cairn_meta_rename(f->m, dirs[d], name, dirs[d2], name2);
            want = !*at ? -ENOENT : *to ? -EEXIST : 0;
            if (!want) {
                *to = *at;
                *at = 0;
            }
            break;
        default:
            got = cairn_meta_exchange(f->m, dirs[d], name, dirs[d2], name2);
            want = *at && *to ? 0 : -ENOENT;
            if (!want) {
                uint64_t x = *at;
                *at = *to;
                *to = x;
            }
        }
        cairn_meta_unlock(f->m);
        assert_int_equal(got, want);
        if (step % 500 == 499) {
            if (step % 1000 == 999)
                fixture_reopen(f);
            check_names(f->m);
            for (d = 0; d < DIRS; d++) {
                for (n = 0; n < NAMES; n++) {
                    snprintf(name, sizeof(name), "n%u", n);
                    if (model[d][n])
                        assert_lookup(f->m, dirs[d], name, model[d][n]);
                    else
                        assert_absent(f->m, dirs[d], name);
                }
            }
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        T(test_link_and_lookup),
        T(test_bad_names_are_refused),
        T(test_names_of_any_bytes),
        T(test_another_name_is_promoted),
        T(test_rename_moves_what_is_below),
        T(test_rename_of_an_extra_name),
        T(test_exchange_swaps),
        T(test_path_of_root_and_of_nothing),
        T(test_deep_path),
        T(test_cookies_stay_with_their_names),
        T(test_names_may_go_while_listing),
        T(test_name_without_inode_is_told),
        T(test_random_operations_match_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
