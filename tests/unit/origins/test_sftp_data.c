// SPDX-License-Identifier: Apache-2.0
/* The SFTP driver against a real sshd: data of files, server-side copies, deadlines, cancelling. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "unit/origins/sftp_fixture.h"

static const struct origin_call *const call = &sftp_endless;

#define BIG_BYTES       (64 * MIB)
#define CANCEL_LIMIT_NS (100 * NSEC_PER_MSEC)

static struct origin_file *create(struct origin *o, const char *name)
{
    struct origin_file *file = NULL;
    assert_int_equal(origin_open(o, call, name, O_RDWR | O_CREAT | O_TRUNC, 0644, &file, NULL), 0);
    return file;
}

static struct origin_file *open_file(struct origin *o, const char *name, int flags)
{
    struct origin_file *file = NULL;
    assert_int_equal(origin_open(o, call, name, flags, 0, &file, NULL), 0);
    return file;
}

/* A file of pattern bytes, made behind the driver's back. */
static void make_pattern(struct sftp_fixture *f, const char *name, size_t len)
{
    AUTO_FREE uint8_t *buf = malloc(len);
    sftp_fill(buf, len, 0);
    AUTO_CLOSE int fd = open(sftp_tree_path(f->sshd, name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, buf + at, len - at);
        assert_true(n > 0);
        at += (size_t)n;
    }
}

static bool is_pattern(const uint8_t *buf, size_t len, uint64_t off)
{
    AUTO_FREE uint8_t *expected = malloc(len ? len : 1);
    sftp_fill(expected, len, off);
    return memcmp(buf, expected, len) == 0;
}

static bool local_is_pattern(struct sftp_fixture *f, const char *name, size_t len)
{
    AUTO_FREE uint8_t *buf = malloc(len + 1);
    AUTO_CLOSE int fd = open(sftp_tree_path(f->sshd, name), O_RDONLY);
    size_t at = 0;
    for (ssize_t n; (n = read(fd, buf + at, len + 1 - at)) > 0;)
        at += (size_t)n;
    return at == len && is_pattern(buf, len, 0);
}

static void test_big_read(void **state)
{
    struct sftp_fixture *f = *state;
    make_pattern(f, "big", BIG_BYTES);
    struct origin_file *file = open_file(f->o, "big", O_RDONLY);
    AUTO_FREE uint8_t *buf = malloc(BIG_BYTES + 1);
    struct origin_stat st;
    assert_int_equal(origin_pread(file, call, buf, BIG_BYTES + 1, 0, &st), BIG_BYTES);
    assert_true(is_pattern(buf, BIG_BYTES, 0));
    assert_true(st.size == BIG_BYTES);
    origin_close_file(file);
}

static void test_big_write(void **state)
{
    struct sftp_fixture *f = *state;
    AUTO_FREE uint8_t *buf = malloc(BIG_BYTES);
    sftp_fill(buf, BIG_BYTES, 0);
    struct origin_file *file = create(f->o, "big");
    assert_int_equal(origin_pwrite(file, call, buf, BIG_BYTES, 0), 0);
    assert_int_equal(origin_fsync(file, call), 0);
    origin_close_file(file);
    assert_true(local_is_pattern(f, "big", BIG_BYTES));
}

static void test_data_survives_new_session_keys(void **state)
{
    struct sftp_fixture *f = *state;
    struct sshd *sshd = sshd_start("ed25519", NULL, "RekeyLimit 2M");
    assert_non_null(sshd);
    AUTO_FREE uint8_t *buf = malloc(BIG_BYTES / 4);
    struct sftp_fixture g = {.sshd = sshd, .o = sftp_fixture_connect(sshd)};
    sftp_fill(buf, BIG_BYTES / 4, 0);
    struct origin_file *file = create(g.o, "big");
    assert_int_equal(origin_pwrite(file, call, buf, BIG_BYTES / 4, 0), 0);
    memset(buf, 0, BIG_BYTES / 4);
    assert_int_equal(origin_pread(file, call, buf, BIG_BYTES / 4, 0, NULL), BIG_BYTES / 4);
    assert_true(is_pattern(buf, BIG_BYTES / 4, 0));
    origin_close_file(file);
    origin_close(g.o);
    sshd_stop(sshd);
    assert_true(origin_usable(f->o));
}

static void test_ranges_at_every_edge(void **state)
{
    struct sftp_fixture *f = *state;
    static const size_t sizes[] = {0, 1, 4096, 261119, 261120, 261121, 522240, 1000003};
    static const size_t lens[] = {0, 1, 4095, 261120, 261121, 2000000};
    AUTO_FREE uint8_t *buf = malloc(2000001);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        make_pattern(f, "a", sizes[i] ? sizes[i] : 1);
        assert_int_equal(truncate(sftp_tree_path(f->sshd, "a"), (off_t)sizes[i]), 0);
        struct origin_file *file = open_file(f->o, "a", O_RDONLY);
        for (size_t k = 0; k < ARRAY_LEN(lens); k++) {
            size_t offs[] = {0, 1, sizes[i] / 2, sizes[i], sizes[i] + 5};
            for (size_t j = 0; j < ARRAY_LEN(offs); j++) {
                size_t left = offs[j] < sizes[i] ? sizes[i] - offs[j] : 0;
                size_t expected = lens[k] < left ? lens[k] : left;
                struct origin_stat st = {0};
                buf[lens[k]] = 0x5a;
                assert_int_equal(origin_pread(file, call, buf, lens[k], offs[j], &st), expected);
                assert_true(is_pattern(buf, expected, offs[j]));
                assert_int_equal(buf[lens[k]], 0x5a); /* nothing beyond the buffer */
                assert_int_equal(st.size, sizes[i]);
            }
        }
        origin_close_file(file);
    }
}

static void test_read_without_attributes(void **state)
{
    struct sftp_fixture *f = *state;
    make_pattern(f, "a", 10000);
    struct origin_file *file = open_file(f->o, "a", O_RDONLY);
    uint8_t buf[20000];
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), 10000);
    assert_true(is_pattern(buf, 10000, 0));
    origin_close_file(file);
}

static void test_attributes_after_a_read_are_new(void **state)
{
    struct sftp_fixture *f = *state;
    make_pattern(f, "a", 100);
    struct origin_stat at_open, after;
    struct origin_file *file;
    uint8_t buf[10];
    assert_int_equal(origin_open(f->o, call, "a", O_RDONLY, 0, &file, &at_open), 0);
    struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 12345}};
    assert_int_equal(utimensat(AT_FDCWD, sftp_tree_path(f->sshd, "a"), times, 0), 0);
    assert_int_equal(truncate(sftp_tree_path(f->sshd, "a"), 50), 0);
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, &after), 10);
    assert_int_equal(at_open.size, 100);
    assert_int_equal(after.size, 50);
    origin_close_file(file);
}

static void test_write_at_offsets(void **state)
{
    struct sftp_fixture *f = *state;
    AUTO_FREE uint8_t *buf = malloc(1000000);
    sftp_fill(buf, 1000000, 0);
    struct origin_file *file = create(f->o, "a");
    assert_int_equal(origin_pwrite(file, call, buf + 500000, 500000, 500000), 0);
    assert_int_equal(origin_pwrite(file, call, buf, 500000, 0), 0);
    assert_int_equal(origin_pwrite(file, call, buf, 0, 7), 0);
    origin_close_file(file);
    assert_true(local_is_pattern(f, "a", 1000000));
}

static void test_write_without_space(void **state)
{
    struct sftp_fixture *f = *state;
    if (getuid() != 0)
        skip();
    assert_int_equal(mkdir(sftp_tree_path(f->sshd, "small"), 0755), 0);
    if (sshd_run("mount -t tmpfs -o size=1m none '%s/small' 2>/dev/null", f->sshd->tree))
        skip();
    AUTO_FREE uint8_t *buf = calloc(1, 4 * MIB);
    struct origin_file *file = create(f->o, "small/a");
    int err = origin_pwrite(file, call, buf, 4 * MIB, 0);
    struct origin_file *second = NULL;
    struct origin_stat st;
    int moved = origin_rename(f->o, call, "small/a", "b", 0);
    int asked = origin_stat(f->o, call, "small/a", &st);
    origin_close_file(file);
    origin_close_file(second);
    sshd_run("umount -l '%s/small'", f->sshd->tree);
    assert_int_equal(err, -ENOSPC);
    assert_int_equal(moved, -EXDEV);
    assert_int_equal(asked, 0);
}

static void test_read_only_server(void **state)
{
    struct sftp_fixture *f = *state;
    if (getuid() != 0)
        skip();
    assert_int_equal(mkdir(sftp_tree_path(f->sshd, "ro"), 0755), 0);
    if (sshd_run("mount -t tmpfs -o ro none '%s/ro' 2>/dev/null", f->sshd->tree))
        skip();
    struct origin_file *file = NULL;
    int made = origin_mkdir(f->o, call, "ro/d", 0755);
    int opened = origin_open(f->o, call, "ro/a", O_WRONLY | O_CREAT | O_EXCL, 0644, &file, NULL);
    sshd_run("umount -l '%s/ro'", f->sshd->tree);
    assert_int_equal(made, -EROFS);
    assert_int_equal(opened, -EROFS);
}

static void test_copy_range(void **state)
{
    struct sftp_fixture *f = *state;
    make_pattern(f, "from", 3000000);
    struct origin_file *from = open_file(f->o, "from", O_RDONLY);
    struct origin_file *to = create(f->o, "to");
    assert_int_equal(origin_copy_range(from, call, 1000000, to, 1000000, 2000000), 2000000);
    assert_int_equal(origin_copy_range(from, call, 0, to, 0, 1000000), 1000000);
    assert_true(local_is_pattern(f, "to", 3000000));
    assert_int_equal(origin_copy_range(from, call, 2999990, to, 2999990, 100), 10);
    assert_int_equal(origin_copy_range(from, call, 3000000, to, 0, 100), 0);
    assert_int_equal(origin_copy_range(from, call, 0, to, 0, 0), 0);
    origin_close_file(from);
    origin_close_file(to);
    assert_true(local_is_pattern(f, "to", 3000000));
}

static void test_attributes_of_an_open_file(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_file *file = create(f->o, "a");
    struct origin_stat st;
    struct origin_attr a = {.mask = ORIGIN_SET_MODE | ORIGIN_SET_SIZE | ORIGIN_SET_MTIME,
                            .mode = 0600,
                            .size = 12345,
                            .mtime_ns = 777 * NSEC_PER_SEC};
    assert_int_equal(origin_fsetattr(file, call, &a), 0);
    assert_int_equal(origin_fstat(file, call, &st), 0);
    assert_int_equal(st.mode, S_IFREG | 0600);
    assert_int_equal(st.size, 12345);
    assert_true(st.mtime_ns == 777 * NSEC_PER_SEC); /* not of the truncation in the same call */
    origin_close_file(file);
}

static void test_open_file_outlives_its_name(void **state)
{
    struct sftp_fixture *f = *state;
    uint8_t buf[100];
    make_pattern(f, "a", 100);
    struct origin_file *file = open_file(f->o, "a", O_RDONLY);
    assert_int_equal(origin_unlink(f->o, call, "a"), 0);
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), 100);
    assert_true(is_pattern(buf, 100, 0));
    origin_close_file(file);
}

static void test_many_open_files(void **state)
{
    struct sftp_fixture *f = *state;
    enum { FILES = 600 };
    struct origin_file *file[FILES];
    char name[16];
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "f%d", i);
        file[i] = create(f->o, name);
    }
    for (int i = 0; i < FILES; i++)
        origin_close_file(file[i]); /* more closes than there are places for requests */
    assert_int_equal(origin_health(f->o, call), 0);
    assert_true(origin_usable(f->o));
}

static int ask_health(void *arg, const struct origin_call *c)
{
    return origin_health(arg, c);
}

static void test_deadline_on_a_silent_server(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin *o = sftp_fixture_connect(f->sshd);
    sshd_signal(f->sshd, SIGSTOP);
    int64_t start = cairn_now_ns();
    struct origin_call c = sftp_call_for(300 * NSEC_PER_MSEC);
    struct origin_stat st;
    int err = origin_stat(o, &c, "", &st);
    int64_t took = cairn_now_ns() - start;
    sshd_signal(f->sshd, SIGCONT);
    assert_int_equal(err, -ETIMEDOUT);
    assert_true(took >= 300 * NSEC_PER_MSEC && took < 300 * NSEC_PER_MSEC + CANCEL_LIMIT_NS);
    assert_false(origin_usable(o));
    assert_int_equal(origin_stat(o, call, "", &st), -ECONNRESET);
    origin_close(o);
}

static void test_cancel_on_a_silent_server(void **state)
{
    struct sftp_fixture *f = *state;
    int64_t took;
    sshd_signal(f->sshd, SIGSTOP);
    int err = sftp_cancel_while(ask_health, f->o, &took);
    sshd_signal(f->sshd, SIGCONT);
    assert_int_equal(err, -EINTR);
    assert_true(took < CANCEL_LIMIT_NS);
    /* The answer comes late, and is dropped. */
    assert_int_equal(origin_health(f->o, call), 0);
    assert_true(origin_usable(f->o));
}

struct read_job {
    struct origin_file *file;
    uint8_t *buf;
};

static int read_big(void *arg, const struct origin_call *c)
{
    struct read_job *j = arg;
    return (int)origin_pread(j->file, c, j->buf, 16 * MIB, 0, NULL);
}

static void test_late_data_of_a_cancelled_read_is_dropped(void **state)
{
    struct sftp_fixture *f = *state;
    int64_t took;
    make_pattern(f, "big", 16 * MIB);
    struct read_job j = {.file = open_file(f->o, "big", O_RDONLY), .buf = malloc(16 * MIB)};
    memset(j.buf, 0x5a, 16 * MIB);
    sshd_signal(f->sshd, SIGSTOP);
    int err = sftp_cancel_while(read_big, &j, &took);
    free(j.buf); /* what comes late must not land here */
    sshd_signal(f->sshd, SIGCONT);
    assert_int_equal(err, -EINTR);
    assert_true(took < CANCEL_LIMIT_NS);
    uint8_t buf[5000];
    assert_int_equal(origin_pread(j.file, call, buf, sizeof buf, 3000, NULL), 5000);
    assert_true(is_pattern(buf, 5000, 3000));
    assert_true(origin_usable(f->o));
    origin_close_file(j.file);
}

static int open_one(void *arg, const struct origin_call *c)
{
    struct origin_file *file;
    return origin_open(arg, c, "a", O_RDONLY, 0, &file, NULL);
}

/* Handles that a process of the server's has open below the tree. */
static int handles_on_tree(struct sftp_fixture *f)
{
    AUTO_FREE char *out = NULL;
    if (asprintf(&out, "%s/handles", f->sshd->dir) < 0)
        abort();
    sshd_run("ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c -- '-> %s/a$' >%s", f->sshd->tree, out);
    FILE *p = fopen(out, "r");
    int n = -1;
    assert_int_equal(fscanf(p, "%d", &n), 1);
    fclose(p);
    return n;
}

static void test_handle_of_a_cancelled_open_is_closed(void **state)
{
    struct sftp_fixture *f = *state;
    int64_t took;
    make_pattern(f, "a", 10);
    sshd_signal(f->sshd, SIGSTOP);
    int err = sftp_cancel_while(open_one, f->o, &took);
    sshd_signal(f->sshd, SIGCONT);
    assert_int_equal(err, -EINTR);
    /* The first answer that is awaited again comes after that of the open; its close is sent
     * then, and the second one's answer after the close's. */
    assert_int_equal(origin_health(f->o, call), 0);
    assert_int_equal(origin_health(f->o, call), 0);
    assert_int_equal(handles_on_tree(f), 0);
}

static void test_ended_call_asks_nothing(void **state)
{
    struct sftp_fixture *f = *state;
    atomic_bool yes = true;
    struct origin_call cancelled = {.deadline_ns = CAIRN_NEVER, .cancelled = &yes};
    struct origin_call late = sftp_call_for(-1);
    assert_int_equal(origin_mkdir(f->o, &cancelled, "d", 0755), -EINTR);
    assert_int_equal(origin_mkdir(f->o, &late, "d", 0755), -ETIMEDOUT);
    assert_true(origin_usable(f->o));
    assert_int_equal(origin_mkdir(f->o, call, "d", 0755), 0);
}

static void test_lost_connection(void **state)
{
    struct sftp_fixture *f = *state;
    struct sshd *sshd = sshd_start("ed25519", NULL, NULL);
    assert_non_null(sshd);
    struct origin *o = sftp_fixture_connect(sshd);
    sshd_signal(sshd, SIGKILL);
    struct origin_stat st;
    struct origin_call c = sftp_call_for(20 * NSEC_PER_SEC);
    assert_int_equal(origin_stat(o, &c, "", &st), -ECONNRESET);
    assert_false(origin_usable(o));
    assert_int_equal(origin_stat(o, &c, "", &st), -ECONNRESET);
    origin_close(o);
    sshd_stop(sshd);
    assert_true(origin_usable(f->o));
}

/* --- many small files at once --- */

enum { WHOLE_FILES = 100, WHOLE_MOST = 70000 };

static void count_done(struct origin_whole *w)
{
    ++*(unsigned *)w->arg;
    assert_true(w->finished);
}

static size_t whole_size(size_t i)
{
    return i * 7919 % WHOLE_MOST;
}

static void test_whole_files(void **state)
{
    struct sftp_fixture *f = *state;
    static struct origin_whole w[WHOLE_FILES + 3];
    static char path[WHOLE_FILES + 3][32];
    AUTO_FREE uint8_t *bytes = malloc((size_t)WHOLE_FILES * WHOLE_MOST);
    unsigned done = 0;
    assert_int_equal(mkdir(sftp_tree_path(f->sshd, "d"), 0755), 0);
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        snprintf(path[i], sizeof path[i], "d/f%zu", i);
        w[i] = (struct origin_whole){
            .path = path[i], .buf = bytes, .len = WHOLE_MOST, .done = count_done, .arg = &done};
        if (i >= WHOLE_FILES)
            continue;
        sftp_fill(bytes, whole_size(i), i);
        FILE *file = fopen(sftp_tree_path(f->sshd, path[i]), "w");
        assert_int_equal(fwrite(bytes, 1, whole_size(i), file), whole_size(i));
        fclose(file);
        w[i].buf = bytes + i * WHOLE_MOST;
    }
    /* The last three: a directory, a symlink, nothing. */
    assert_int_equal(mkdir(sftp_tree_path(f->sshd, path[WHOLE_FILES]), 0755), 0);
    assert_int_equal(symlink("f1", sftp_tree_path(f->sshd, path[WHOLE_FILES + 1])), 0);
    w[7].finished = true; /* by an earlier call that broke off */

    assert_int_equal(origin_read_whole(f->o, call, w, ARRAY_LEN(w)), 0);
    assert_int_equal(done, ARRAY_LEN(w) - 1);
    for (size_t i = 0; i < WHOLE_FILES; i++) {
        if (i == 7)
            continue;
        AUTO_FREE uint8_t *want = malloc(WHOLE_MOST);
        sftp_fill(want, whole_size(i), i);
        assert_int_equal(w[i].ret_got, whole_size(i));
        assert_int_equal(w[i].ret_after.size, whole_size(i));
        assert_memory_equal(w[i].buf, want, whole_size(i));
    }
    assert_int_equal(w[WHOLE_FILES].ret_got, -EISDIR);
    assert_int_equal(w[WHOLE_FILES + 1].ret_got, -ELOOP);
    assert_int_equal(w[WHOLE_FILES + 2].ret_got, -ENOENT);
    assert_true(origin_usable(f->o));
}

#define TEST(fn) cmocka_unit_test_setup(fn, sftp_fixture_empty)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_big_read),
        TEST(test_big_write),
        TEST(test_data_survives_new_session_keys),
        TEST(test_ranges_at_every_edge),
        TEST(test_read_without_attributes),
        TEST(test_attributes_after_a_read_are_new),
        TEST(test_write_at_offsets),
        TEST(test_write_without_space),
        TEST(test_read_only_server),
        TEST(test_copy_range),
        TEST(test_attributes_of_an_open_file),
        TEST(test_open_file_outlives_its_name),
        TEST(test_many_open_files),
        TEST(test_deadline_on_a_silent_server),
        TEST(test_cancel_on_a_silent_server),
        TEST(test_late_data_of_a_cancelled_read_is_dropped),
        TEST(test_handle_of_a_cancelled_open_is_closed),
        TEST(test_ended_call_asks_nothing),
        TEST(test_lost_connection),
        TEST(test_whole_files),
    };
    return cmocka_run_group_tests(tests, sftp_fixture_setup, sftp_fixture_teardown);
}
