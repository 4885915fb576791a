// SPDX-License-Identifier: Apache-2.0
/* Inode records, targets, identities, numbers, opening. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "meta/format.h"

static struct cairn_inode full_inode(uint64_t ino)
{
    struct cairn_inode in = {.ino = ino,
                             .mode = S_IFREG | 0640,
                             .nlink = 3,
                             .uid = 4000000000u,
                             .gid = 5,
                             .flags = CAIRN_INODE_KNOWN,
                             .rdev = 0x123456789abcull,
                             .size = 1ull << 60,
                             .blocks = 77,
                             .atime_ns = -1,
                             .mtime_ns = INT64_MIN,
                             .ctime_ns = INT64_MAX,
                             .version = {9, -8, {UINT64_MAX, 7}},
                             .fileid = 99,
                             .content = 12,
                             .checked_ns = 13,
                             .checked_epoch = 14,
                             .listed_ns = 15,
                             .listed_epoch = 16};
    return in;
}

static void put(struct cairn_meta *m, const struct cairn_inode *in)
{
    cairn_meta_lock(m);
    assert_ok(cairn_meta_put_inode(m, in));
    cairn_meta_unlock(m);
}

/* Packed, because of the padding. */
static void assert_same(const struct cairn_inode *a, const struct cairn_inode *b)
{
    struct inode_record x = {.in = *a}, y = {.in = *b};
    uint8_t px[INODE_BYTES_MAX], py[INODE_BYTES_MAX];
    size_t len = pack_inode(px, &x);
    assert_int_equal(len, pack_inode(py, &y));
    assert_memory_equal(px, py, len);
    assert_int_equal(a->ino, b->ino);
}

static void test_all_fields_come_back(void **state)
{
    struct fixture *f = *state;
    struct cairn_inode in = full_inode(cairn_meta_new_ino(f->m)), got;
    put(f->m, &in);
    assert_ok(cairn_meta_inode(f->m, in.ino, &got));
    assert_same(&in, &got);
    fixture_reopen(f);
    assert_ok(cairn_meta_inode(f->m, in.ino, &got));
    assert_same(&in, &got);
}

static void test_missing_inode_leaves_output_alone(void **state)
{
    struct fixture *f = *state;
    struct cairn_inode got = {.ino = 5};
    assert_int_equal(cairn_meta_inode(f->m, 12345, &got), -ENOENT);
    assert_int_equal(got.ino, 5);
}

static void test_put_keeps_the_stored_name(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = make_node(f->m, CAIRN_ROOT_INO, "kept", S_IFREG);
    struct cairn_inode in = full_inode(ino), got;
    in.parent = 42;
    strcpy(in.name, "other");
    put(f->m, &in);
    assert_ok(cairn_meta_inode(f->m, ino, &got));
    assert_string_equal(got.name, "kept");
    assert_int_equal(got.parent, CAIRN_ROOT_INO);
    assert_int_equal(got.size, 1ull << 60);
}

static void test_fileid_follows_its_inode(void **state)
{
    struct fixture *f = *state;
    uint64_t at = 0;
    struct cairn_inode a = {.ino = cairn_meta_new_ino(f->m), .fileid = 10};
    struct cairn_inode b = {.ino = cairn_meta_new_ino(f->m), .fileid = 10};
    put(f->m, &a);
    assert_ok(cairn_meta_by_fileid(f->m, 10, &at));
    assert_int_equal(at, a.ino);
    a.fileid = 11;
    put(f->m, &a);
    assert_int_equal(cairn_meta_by_fileid(f->m, 10, &at), -ENOENT);
    put(f->m, &b); /* takes 10 over */
    a.fileid = 10;
    put(f->m, &a); /* and loses it again */
    b.fileid = 12;
    put(f->m, &b); /* must not remove a's */
    assert_ok(cairn_meta_by_fileid(f->m, 10, &at));
    assert_int_equal(at, a.ino);
    assert_int_equal(cairn_meta_by_fileid(f->m, 0, &at), -ENOENT);
}

static void test_fileid_comes_back_when_its_usurper_goes(void **state)
{
    struct fixture *f = *state;
    uint64_t at = 0;
    struct cairn_inode a = {.ino = cairn_meta_new_ino(f->m), .fileid = 10};
    struct cairn_inode b = {.ino = cairn_meta_new_ino(f->m), .fileid = 10};
    put(f->m, &a);
    put(f->m, &b);
    cairn_meta_lock(f->m);
    assert_ok(cairn_meta_del_inode(f->m, b.ino));
    cairn_meta_unlock(f->m);
    put(f->m, &a);
    assert_ok(cairn_meta_by_fileid(f->m, 10, &at));
    assert_int_equal(at, a.ino);
}

static void test_delete_forgets_all(void **state)
{
    struct fixture *f = *state;
    struct cairn_meta_stats st;
    struct cairn_inode in = {.ino = cairn_meta_new_ino(f->m), .mode = S_IFLNK | 0777, .fileid = 3};
    struct cairn_manifest_entry e = make_entry(0, 100, 1);
    char *target;
    uint64_t at;
    in.content = cairn_meta_new_content(f->m);
    put(f->m, &in);
    cairn_meta_lock(f->m);
    assert_ok(cairn_meta_put_target(f->m, in.ino, "to/there"));
    assert_ok(cairn_meta_put_chunks(f->m, in.content, 0, 100, &e, 1));
    assert_ok(cairn_meta_del_inode(f->m, in.ino));
    assert_int_equal(cairn_meta_del_inode(f->m, in.ino), -ENOENT);
    cairn_meta_unlock(f->m);
    assert_int_equal(cairn_meta_inode(f->m, in.ino, &in), -ENOENT);
    assert_int_equal(cairn_meta_target(f->m, in.ino, &target), -ENOENT);
    assert_int_equal(cairn_meta_by_fileid(f->m, 3, &at), -ENOENT);
    assert_int_equal(cairn_meta_chunk_at(f->m, in.content, 0, &e, NULL), -ENOENT);
    cairn_meta_stats(f->m, &st);
    assert_int_equal(st.inodes, 1);
    assert_int_equal(st.manifest_chunks, 0);
    assert_int_equal(st.logical_bytes, 0);
}

static void test_named_or_full_is_not_deleted(void **state)
{
    struct fixture *f = *state;
    uint64_t dir = make_node(f->m, CAIRN_ROOT_INO, "dir", S_IFDIR);
    make_node(f->m, dir, "child", S_IFREG);
    cairn_meta_lock(f->m);
    assert_int_equal(cairn_meta_del_inode(f->m, dir), -EBUSY);
    assert_ok(cairn_meta_unlink(f->m, CAIRN_ROOT_INO, "dir", NULL, NULL));
    assert_int_equal(cairn_meta_del_inode(f->m, dir), -ENOTEMPTY);
    assert_ok(cairn_meta_unlink(f->m, dir, "child", NULL, NULL));
    assert_ok(cairn_meta_del_inode(f->m, dir));
    cairn_meta_unlock(f->m);
}

static void test_targets_of_any_length(void **state)
{
    struct fixture *f = *state;
    size_t lens[] = {0, 1, 4095, 65535};
    for (unsigned i = 0; i < 4; i++) {
        char *want = calloc(1, lens[i] + 1), *got = NULL;
        memset(want, 'x', lens[i]);
        cairn_meta_lock(f->m);
        assert_ok(cairn_meta_put_target(f->m, 10 + i, want));
        cairn_meta_unlock(f->m);
        assert_ok(cairn_meta_target(f->m, 10 + i, &got));
        assert_string_equal(want, got);
        free(got);
        assert_ok(cairn_meta_sync(f->m));
        assert_ok(cairn_meta_target(f->m, 10 + i, &got));
        assert_string_equal(want, got);
        free(got);
        free(want);
    }
}

static void test_numbers_never_repeat(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = CAIRN_ROOT_INO, content = 0, epoch = 0;
    for (int i = 0; i < 5; i++) {
        uint64_t e = cairn_meta_epoch(f->m);
        assert_true(e > epoch);
        epoch = e;
        for (int k = 0; k < 100; k++) {
            uint64_t n = cairn_meta_new_ino(f->m), c = cairn_meta_new_content(f->m);
            assert_true(n > ino && c > content);
            ino = n;
            content = c;
        }
        fixture_reopen(f);
    }
}

static void test_second_opening_is_refused(void **state)
{
    struct fixture *f = *state;
    struct cairn_meta *other = NULL;
    struct cairn_meta_config cfg = {.dir = f->dir};
    assert_int_equal(cairn_meta_open(&other, &cfg), -EBUSY);
    assert_null(other);
}

static void overwrite(const char *dir, off_t off, const void *data, size_t len)
{
    char path[100];
    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, len, off), len);
    close(fd);
}

static void test_foreign_file_is_bad_message(void **state)
{
    struct cairn_meta *m = NULL;
    char dir[64], junk[20000];
    make_dir(dir);
    memset(junk, 'j', sizeof(junk));
    overwrite(dir, 0, junk, sizeof(junk));
    struct cairn_meta_config cfg = {.dir = dir};
    assert_int_equal(cairn_meta_open(&m, &cfg), -EBADMSG);
    remove_dir(dir);
}

static void test_missing_dir_is_told(void **state)
{
    struct cairn_meta *m = NULL;
    struct cairn_meta_config cfg = {.dir = "/nonexistent/meta"};
    assert_int_equal(cairn_meta_open(&m, &cfg), -ENOENT);
}

/* Flips a byte of a stored name: the checksum must notice. */
static void test_rotten_record_is_io_error(void **state)
{
    struct fixture *f = *state;
    uint64_t ino = make_node(f->m, CAIRN_ROOT_INO, "rotten-name-here", S_IFREG);
    struct cairn_inode in;
    cairn_meta_close(f->m);
    char path[100];
    snprintf(path, sizeof(path), "%s/data.mdb", f->dir);
    int fd = open(path, O_RDWR);
    char *data = malloc(1 << 20);
    ssize_t n = pread(fd, data, 1 << 20, 0);
    for (char *p = data; (p = memmem(p, (size_t)(data + n - p), "rotten-name", 11)); p++)
        assert_int_equal(pwrite(fd, "R", 1, p - data), 1);
    free(data);
    close(fd);
    f->m = open_store(f->dir);
    assert_int_equal(cairn_meta_inode(f->m, ino, &in), -EIO);
}

/* Cut short: errors, not SIGBUS. */
static void test_truncated_file_is_an_error(void **state)
{
    struct fixture *f = *state;
    char path[100], name[40];
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        make_node(f->m, CAIRN_ROOT_INO, name, S_IFREG);
    }
    cairn_meta_close(f->m);
    snprintf(path, sizeof(path), "%s/data.mdb", f->dir);
    assert_ok(truncate(path, 16384));
    struct cairn_meta_config cfg = {.dir = f->dir};
    f->m = NULL;
    int r = cairn_meta_open(&f->m, &cfg), bad = r < 0;
    for (int i = 0; i < 2000 && !bad; i++) {
        uint64_t ino;
        snprintf(name, sizeof(name), "n%d", i);
        bad = cairn_meta_lookup(f->m, CAIRN_ROOT_INO, name, &ino) == -EIO;
    }
    assert_true(bad);
    assert_true(r == 0 || r == -EIO || r == -EBADMSG);
}

/* 64 GiB of map do not fit: a smaller one serves, and grows. In a child because of the limit. */
static void test_little_address_space(void **state)
{
    if (UNDER_SANITIZER)
        skip(); /* its shadow alone is beyond any limit */
    char dir[64];
    make_dir(dir);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit lim = {600u << 20, 600u << 20};
        struct cairn_meta_config cfg = {.dir = dir};
        struct cairn_meta *m;
        if (setrlimit(RLIMIT_AS, &lim) || cairn_meta_open(&m, &cfg))
            _exit(1);
        cairn_meta_close(m);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    remove_dir(dir);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        T(test_all_fields_come_back),
        T(test_missing_inode_leaves_output_alone),
        T(test_put_keeps_the_stored_name),
        T(test_fileid_follows_its_inode),
        T(test_fileid_comes_back_when_its_usurper_goes),
        T(test_delete_forgets_all),
        T(test_named_or_full_is_not_deleted),
        T(test_targets_of_any_length),
        T(test_numbers_never_repeat),
        T(test_second_opening_is_refused),
        cmocka_unit_test(test_foreign_file_is_bad_message),
        cmocka_unit_test(test_missing_dir_is_told),
        T(test_rotten_record_is_io_error),
        T(test_truncated_file_is_an_error),
        cmocka_unit_test(test_little_address_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
