// SPDX-License-Identifier: Apache-2.0
/* The driver for a local directory: each operation, exact modes, confinement, hostile names. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "origins/beneath.h"
#include "origins/url.h"
#include "unit/origins/tempdir.h"

struct fixture {
    char *dir;
    struct origin *o;
};

static const struct origin_call *const call = &endless;

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->dir = tempdir_new();
    f->o = tempdir_connect(f->dir);
    *state = f;
    umask(077); /* what is made has to have its mode all the same */
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

static struct origin_file *open_file(struct fixture *f, const char *path, int flags)
{
    struct origin_file *file = NULL;
    assert_int_equal(origin_open(f->o, call, path, flags, 0644, &file, NULL), 0);
    return file;
}

static struct origin_stat stat_of(struct fixture *f, const char *path)
{
    struct origin_stat st;
    int err = origin_stat(f->o, call, path, &st);
    if (err)
        fail_msg("stat %s: %s", path, strerror(-err));
    return st;
}

static void check_gone(struct fixture *f, const char *path)
{
    struct origin_stat st;
    assert_int_equal(origin_stat(f->o, call, path, &st), -ENOENT);
}

static void check_content(struct fixture *f, const char *path, const char *want)
{
    struct origin_file *file = open_file(f, path, O_RDONLY);
    char buf[256];
    ssize_t n = origin_pread(file, call, buf, sizeof buf, 0, NULL);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(buf, want, strlen(want));
    origin_close_file(file);
}

/* --- connecting --- */

static void check_refused(const char *path, int want, const char *hint)
{
    struct origin_url *u;
    AUTO_FREE char *why = NULL;
    assert_int_equal(origin_url_parse(path, &u, &why), 0);
    struct origin *o = NULL;
    struct origin_config cfg = {.url = u};
    assert_int_equal(origin_connect(&o, &cfg, &why), want);
    assert_null(o);
    assert_non_null(why);
    if (!strstr(why, hint))
        fail_msg("'%s' lacks '%s'", why, hint);
    origin_url_free(u);
}

static void test_connect_says_what_is_wrong(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "plain", "x");
    check_refused(tempdir_path(f->dir, "none"), -ENOENT, "none: No such directory: ");
    check_refused(tempdir_path(f->dir, "plain"), -ENOTDIR, "plain: Not a directory: ");
}

static void test_probing_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(rmdir(f->dir), 0);
    assert_int_equal(mkdir(f->dir, 0700), 0);
    struct origin *o = tempdir_connect(f->dir);
    assert_true(origin_can(o, ORIGIN_ATOMIC_RENAME | ORIGIN_MODES | ORIGIN_FILE_IDS));
    assert_true(origin_info(o)->name_max >= 255);
    assert_int_equal(origin_info(o)->time_granularity_ns, 1);
    origin_close(o);
    assert_int_equal(rmdir(f->dir), 0);
    assert_int_equal(mkdir(f->dir, 0700), 0);
}

static void test_health_and_statfs_answer(void **state)
{
    struct fixture *f = *state;
    struct statvfs st;
    assert_int_equal(origin_health(f->o, call), 0);
    assert_int_equal(origin_statfs(f->o, call, &st), 0);
    assert_true(st.f_blocks > 0);
    assert_int_equal(rmdir(f->dir), 0);
    assert_int_equal(origin_health(f->o, call), -ENOENT);
}

/* --- attributes --- */

static void test_stat_tells_all_of_a_file(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "hello");
    struct stat want;
    assert_int_equal(lstat(tempdir_path(f->dir, "a"), &want), 0);
    struct origin_stat st = stat_of(f, "a");
    assert_int_equal(st.mode, want.st_mode);
    assert_int_equal(st.nlink, 1);
    assert_int_equal(st.uid, getuid());
    assert_int_equal(st.size, 5);
    assert_int_equal(st.blocks, want.st_blocks);
    assert_int_equal(st.mtime_ns, timespec_to_ns(want.st_mtim));
    assert_int_equal(st.fileid, want.st_ino);
    assert_int_equal(st.token[1], timespec_to_ns(want.st_ctim));
}

static void test_stat_of_the_root(void **state)
{
    struct fixture *f = *state;
    assert_true(S_ISDIR(stat_of(f, "").mode));
}

static void test_stat_does_not_follow(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(symlink("/etc", tempdir_path(f->dir, "l")), 0);
    assert_true(S_ISLNK(stat_of(f, "l").mode));
}

static void test_setattr_sets_each_field(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "hello");
    struct origin_attr a = {.mask = ORIGIN_SET_MODE | ORIGIN_SET_SIZE | ORIGIN_SET_ATIME |
                                    ORIGIN_SET_MTIME,
                            .mode = 06751,
                            .size = 3,
                            .atime_ns = 1111111111222222222,
                            .mtime_ns = -5000000001};
    assert_int_equal(origin_setattr(f->o, call, "a", &a), 0);
    struct origin_stat st = stat_of(f, "a");
    assert_int_equal(st.mode & 07777, 06751);
    assert_int_equal(st.size, 3);
    assert_int_equal(st.atime_ns, a.atime_ns);
    assert_int_equal(st.mtime_ns, a.mtime_ns);
}

static void test_setattr_leaves_the_other_time(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "hello");
    int64_t mtime = stat_of(f, "a").mtime_ns;
    struct origin_attr a = {.mask = ORIGIN_SET_ATIME, .atime_ns = 5};
    assert_int_equal(origin_setattr(f->o, call, "a", &a), 0);
    assert_int_equal(stat_of(f, "a").mtime_ns, mtime);
    assert_int_equal(stat_of(f, "a").atime_ns, 5);
}

static void test_setattr_of_a_symlink_spares_its_target(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "hello");
    int64_t mtime = stat_of(f, "a").mtime_ns;
    assert_int_equal(symlink("a", tempdir_path(f->dir, "l")), 0);
    struct origin_attr times = {.mask = ORIGIN_SET_MTIME, .mtime_ns = 7};
    struct origin_attr mode = {.mask = ORIGIN_SET_MODE, .mode = 0};
    struct origin_attr size = {.mask = ORIGIN_SET_SIZE, .size = 0};
    assert_int_equal(origin_setattr(f->o, call, "l", &times), 0);
    assert_int_equal(stat_of(f, "l").mtime_ns, 7);
    assert_int_equal(origin_setattr(f->o, call, "l", &mode), -EOPNOTSUPP);
    assert_int_equal(origin_setattr(f->o, call, "l", &size), -EINVAL);
    struct origin_stat st = stat_of(f, "a");
    assert_int_equal(st.mtime_ns, mtime);
    assert_int_equal(st.size, 5);
}

static void test_setattr_changes_owners(void **state)
{
    struct fixture *f = *state;
    if (getuid() != 0) {
        print_message("skipped: only root may give files away\n");
        skip();
    }
    tempdir_write(f->dir, "a", "x");
    struct origin_attr a = {.mask = ORIGIN_SET_UID | ORIGIN_SET_GID | ORIGIN_SET_MODE,
                            .uid = 12,
                            .gid = 34,
                            .mode = 04755};
    assert_int_equal(origin_setattr(f->o, call, "a", &a), 0);
    struct origin_stat st = stat_of(f, "a");
    assert_int_equal(st.uid, 12);
    assert_int_equal(st.gid, 34);
    assert_int_equal(st.mode & 07777, 04755); /* chown came first, it clears set-uid */
}

/* --- files --- */

static void test_create_gives_the_mode_exactly(void **state)
{
    struct fixture *f = *state;
    struct origin_file *file;
    struct origin_stat st;
    assert_int_equal(origin_open(f->o, call, "a", O_RDWR | O_CREAT | O_EXCL, 0666, &file, NULL), 0);
    origin_close_file(file);
    assert_int_equal(stat_of(f, "a").mode, S_IFREG | 0666);
    assert_int_equal(origin_open(f->o, call, "b", O_WRONLY | O_CREAT, 0, &file, &st), 0);
    origin_close_file(file);
    assert_int_equal(st.mode, S_IFREG | 0);
}

static void test_open_of_an_existing_file_keeps_its_mode(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "x");
    assert_int_equal(chmod(tempdir_path(f->dir, "a"), 0640), 0);
    struct origin_file *file;
    assert_int_equal(origin_open(f->o, call, "a", O_RDWR | O_CREAT, 0666, &file, NULL), 0);
    origin_close_file(file);
    assert_int_equal(stat_of(f, "a").mode & 07777, 0640);
}

static void test_exclusive_create_of_an_existing_file(void **state)
{
    struct fixture *f = *state;
    struct origin_file *file = NULL;
    tempdir_write(f->dir, "a", "x");
    int flags = O_RDWR | O_CREAT | O_EXCL;
    assert_int_equal(origin_open(f->o, call, "a", flags, 0666, &file, NULL), -EEXIST);
    assert_null(file);
}

static void test_open_truncates(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "hello");
    origin_close_file(open_file(f, "a", O_WRONLY | O_TRUNC));
    assert_int_equal(stat_of(f, "a").size, 0);
}

static void test_open_refuses_what_is_no_file(void **state)
{
    struct fixture *f = *state;
    struct origin_file *file = NULL;
    assert_int_equal(symlink("x", tempdir_path(f->dir, "l")), 0);
    assert_int_equal(mkfifo(tempdir_path(f->dir, "p"), 0666), 0);
    assert_int_equal(mkdir(tempdir_path(f->dir, "d"), 0777), 0);
    assert_int_equal(origin_open(f->o, call, "l", O_RDONLY, 0, &file, NULL), -ELOOP);
    assert_int_equal(origin_open(f->o, call, "p", O_RDONLY, 0, &file, NULL), -ENXIO);
    assert_int_equal(origin_open(f->o, call, "d", O_RDONLY, 0, &file, NULL), -EISDIR);
    assert_int_equal(origin_open(f->o, call, "", O_RDONLY, 0, &file, NULL), -EISDIR);
    assert_int_equal(origin_open(f->o, call, "none", O_RDONLY, 0, &file, NULL), -ENOENT);
    assert_int_equal(origin_open(f->o, call, "x", O_RDONLY | O_APPEND, 0, &file, NULL), -EINVAL);
    assert_null(file);
}

static void test_read_ends_at_the_end(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "hello");
    struct origin_file *file = open_file(f, "a", O_RDONLY);
    char buf[16];
    struct origin_stat after;
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 2, &after), 3);
    assert_memory_equal(buf, "llo", 3);
    assert_int_equal(after.size, 5);
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 5, NULL), 0);
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 1000, NULL), 0);
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, UINT64_MAX, NULL), -EINVAL);
    origin_close_file(file);
}

static void test_large_ranges_are_written_and_read_whole(void **state)
{
    struct fixture *f = *state;
    const size_t len = 20 * MIB + 123;
    AUTO_FREE unsigned char *out = malloc(len), *in = calloc(1, len);
    unsigned seed = 7;
    for (size_t i = 0; i < len; i++)
        out[i] = (unsigned char)rand_r(&seed);
    struct origin_file *file = open_file(f, "big", O_RDWR | O_CREAT);
    assert_int_equal(origin_pwrite(file, call, out, len, 777), 0);
    assert_int_equal(origin_fsync(file, call), 0);
    assert_int_equal(origin_pread(file, call, in, len, 777, NULL), len);
    assert_memory_equal(in, out, len);
    origin_close_file(file);
}

static void test_an_ended_call_moves_nothing(void **state)
{
    struct fixture *f = *state;
    atomic_bool cancelled = true;
    struct origin_call late = {.deadline_ns = 1};
    struct origin_call stopped = {.deadline_ns = CAIRN_NEVER, .cancelled = &cancelled};
    struct origin_file *file = open_file(f, "a", O_RDWR | O_CREAT);
    char c = 'x';
    assert_int_equal(origin_pwrite(file, &late, &c, 1, 0), -ETIMEDOUT);
    assert_int_equal(origin_pwrite(file, &stopped, &c, 1, 0), -EINTR);
    assert_int_equal(origin_pread(file, &stopped, &c, 1, 0, NULL), -EINTR);
    assert_int_equal(stat_of(f, "a").size, 0);
    origin_close_file(file);
}

static void test_attributes_of_an_open_file(void **state)
{
    struct fixture *f = *state;
    struct origin_file *file = open_file(f, "a", O_RDWR | O_CREAT);
    struct origin_attr a = {.mask = ORIGIN_SET_MODE | ORIGIN_SET_SIZE | ORIGIN_SET_MTIME,
                            .mode = 0123,
                            .size = 1000,
                            .mtime_ns = 42};
    assert_int_equal(origin_fsetattr(file, call, &a), 0);
    struct origin_stat st;
    assert_int_equal(origin_fstat(file, call, &st), 0);
    assert_int_equal(st.mode & 07777, 0123);
    assert_int_equal(st.size, 1000);
    assert_int_equal(st.mtime_ns, 42);
    origin_close_file(file);
}

static void test_copy_range_copies(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "0123456789");
    struct origin_file *from = open_file(f, "a", O_RDONLY);
    struct origin_file *to = open_file(f, "b", O_RDWR | O_CREAT);
    assert_int_equal(origin_copy_range(from, call, 2, to, 1, 5), 5);
    assert_int_equal(origin_copy_range(from, call, 8, to, 6, 100), 2);
    assert_int_equal(origin_copy_range(from, call, 10, to, 8, 100), 0);
    origin_close_file(from);
    origin_close_file(to);
    struct origin_file *b = open_file(f, "b", O_RDONLY);
    char buf[16];
    assert_int_equal(origin_pread(b, call, buf, sizeof buf, 0, NULL), 8);
    assert_memory_equal(buf,
                        "\0"
                        "2345689",
                        8);
    origin_close_file(b);
}

static void test_copy_between_two_origins_is_refused(void **state)
{
    struct fixture *f = *state;
    struct origin *other = tempdir_connect(f->dir);
    struct origin_file *from = open_file(f, "a", O_RDWR | O_CREAT), *to = NULL;
    assert_int_equal(origin_open(other, call, "b", O_RDWR | O_CREAT, 0644, &to, NULL), 0);
    assert_int_equal(origin_copy_range(from, call, 0, to, 0, 5), -EXDEV);
    origin_close_file(from);
    origin_close_file(to);
    origin_close(other);
}

static void test_seek_finds_data_and_holes(void **state)
{
    struct fixture *f = *state;
    struct origin_file *file = open_file(f, "a", O_RDWR | O_CREAT);
    AUTO_FREE char *block = calloc(1, 64 * KIB);
    assert_int_equal(origin_pwrite(file, call, block, 64 * KIB, 4 * MIB), 0);
    if (origin_can(f->o, ORIGIN_SEEK_HOLES)) {
        assert_int_equal(origin_seek(file, call, 0, SEEK_DATA), 4 * MIB);
        assert_int_equal(origin_seek(file, call, 0, SEEK_HOLE), 0);
    }
    assert_int_equal(origin_seek(file, call, 4 * MIB, SEEK_HOLE), 4 * MIB + 64 * KIB);
    assert_int_equal(origin_seek(file, call, 5 * MIB, SEEK_DATA), -ENXIO);
    assert_int_equal(origin_seek(file, call, 0, SEEK_SET), -EINVAL);
    origin_close_file(file);
}

/* --- names --- */

static void test_mkdir_gives_the_mode_exactly(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(origin_mkdir(f->o, call, "d", 01777), 0);
    assert_int_equal(stat_of(f, "d").mode, S_IFDIR | 01777);
    assert_int_equal(origin_mkdir(f->o, call, "d", 0755), -EEXIST);
    assert_int_equal(origin_mkdir(f->o, call, "", 0755), -EEXIST);
    assert_int_equal(origin_mkdir(f->o, call, "no/d", 0755), -ENOENT);
}

static void test_mkdir_keeps_an_inherited_group_bit(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(chmod(f->dir, 02777), 0);
    assert_int_equal(origin_mkdir(f->o, call, "d", 0755), 0);
    assert_int_equal(stat_of(f, "d").mode & 07777, 02755);
}

static void test_mknod_makes_fifos_sockets_and_files(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(origin_mknod(f->o, call, "p", S_IFIFO | 0622, 0), 0);
    assert_int_equal(origin_mknod(f->o, call, "s", S_IFSOCK | 0666, 0), 0);
    assert_int_equal(origin_mknod(f->o, call, "r", S_IFREG | 0604, 0), 0);
    assert_int_equal(stat_of(f, "p").mode, S_IFIFO | 0622);
    assert_int_equal(stat_of(f, "s").mode, S_IFSOCK | 0666);
    assert_int_equal(stat_of(f, "r").mode, S_IFREG | 0604);
    assert_int_equal(origin_mknod(f->o, call, "p", S_IFIFO | 0622, 0), -EEXIST);
}

static void test_symlink_and_readlink_of_any_target(void **state)
{
    struct fixture *f = *state;
    char target[4096];
    memset(target, 'x', sizeof target - 1);
    target[4095] = '\0';
    const char *targets[] = {"a", "../../etc/passwd", "/", target, "\xff\x01 %"};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        AUTO_FREE char *got = NULL;
        assert_int_equal(origin_symlink(f->o, call, targets[i], "l"), 0);
        assert_int_equal(origin_readlink(f->o, call, "l", &got), 0);
        assert_string_equal(got, targets[i]);
        assert_int_equal(origin_unlink(f->o, call, "l"), 0);
    }
}

static void test_readlink_of_what_is_no_link(void **state)
{
    struct fixture *f = *state;
    char *got = NULL;
    tempdir_write(f->dir, "a", "x");
    assert_int_equal(origin_readlink(f->o, call, "a", &got), -EINVAL);
    assert_int_equal(origin_readlink(f->o, call, "", &got), -EINVAL);
    assert_int_equal(origin_readlink(f->o, call, "none", &got), -ENOENT);
    assert_null(got);
}

static void test_link_shares_the_node(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "x");
    assert_int_equal(origin_mkdir(f->o, call, "d", 0755), 0);
    assert_int_equal(origin_link(f->o, call, "a", "d/b"), 0);
    assert_int_equal(stat_of(f, "d/b").fileid, stat_of(f, "a").fileid);
    assert_int_equal(stat_of(f, "a").nlink, 2);
    assert_int_equal(origin_link(f->o, call, "a", "d/b"), -EEXIST);
    /* Of a symlink, the link itself. */
    assert_int_equal(origin_symlink(f->o, call, "a", "l"), 0);
    assert_int_equal(origin_link(f->o, call, "l", "m"), 0);
    assert_true(S_ISLNK(stat_of(f, "m").mode));
}

static void test_unlink_and_rmdir_keep_to_their_kind(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "x");
    assert_int_equal(origin_mkdir(f->o, call, "d", 0755), 0);
    assert_int_equal(origin_mkdir(f->o, call, "d/e", 0755), 0);
    assert_int_equal(origin_unlink(f->o, call, "d"), -EISDIR);
    assert_int_equal(origin_rmdir(f->o, call, "a"), -ENOTDIR);
    assert_int_equal(origin_rmdir(f->o, call, "d"), -ENOTEMPTY);
    assert_int_equal(origin_rmdir(f->o, call, ""), -EBUSY);
    assert_int_equal(origin_unlink(f->o, call, "a"), 0);
    assert_int_equal(origin_unlink(f->o, call, "a"), -ENOENT);
    assert_int_equal(origin_rmdir(f->o, call, "d/e"), 0);
    assert_int_equal(origin_rmdir(f->o, call, "d"), 0);
    check_gone(f, "d");
}

static void test_rename_replaces(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "A");
    tempdir_write(f->dir, "b", "B");
    assert_int_equal(origin_rename(f->o, call, "a", "b", 0), 0);
    check_gone(f, "a");
    check_content(f, "b", "A");
    assert_int_equal(origin_rename(f->o, call, "a", "b", 0), -ENOENT);
}

static void test_rename_noreplace_spares_the_target(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "A");
    tempdir_write(f->dir, "b", "B");
    assert_true(origin_can(f->o, ORIGIN_RENAME_NOREPLACE));
    assert_int_equal(origin_rename(f->o, call, "a", "b", RENAME_NOREPLACE), -EEXIST);
    check_content(f, "b", "B");
    assert_int_equal(origin_rename(f->o, call, "a", "c", RENAME_NOREPLACE), 0);
    check_content(f, "c", "A");
}

static void test_rename_exchanges(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "A");
    assert_int_equal(origin_mkdir(f->o, call, "d", 0755), 0);
    assert_true(origin_can(f->o, ORIGIN_RENAME_EXCHANGE));
    assert_int_equal(origin_rename(f->o, call, "a", "d", RENAME_EXCHANGE), 0);
    check_content(f, "d", "A");
    assert_true(S_ISDIR(stat_of(f, "a").mode));
    assert_int_equal(origin_rename(f->o, call, "a", "none", RENAME_EXCHANGE), -ENOENT);
    assert_int_equal(origin_rename(f->o, call, "a", "b", RENAME_WHITEOUT), -EINVAL);
}

/* --- extended attributes --- */

static void check_xattrs(struct fixture *f, const char *path)
{
    char buf[64];
    assert_int_equal(origin_setxattr(f->o, call, path, "user.x", "v\0w", 3, 0), 0);
    assert_int_equal(origin_getxattr(f->o, call, path, "user.x", NULL, 0), 3);
    assert_int_equal(origin_getxattr(f->o, call, path, "user.x", buf, 2), -ERANGE);
    assert_int_equal(origin_getxattr(f->o, call, path, "user.x", buf, sizeof buf), 3);
    assert_memory_equal(buf, "v\0w", 3);
    assert_int_equal(origin_listxattr(f->o, call, path, NULL, 0), 7);
    assert_int_equal(origin_listxattr(f->o, call, path, buf, sizeof buf), 7);
    assert_string_equal(buf, "user.x");
    assert_int_equal(origin_setxattr(f->o, call, path, "user.x", "", 0, XATTR_CREATE), -EEXIST);
    assert_int_equal(origin_setxattr(f->o, call, path, "user.y", "", 0, XATTR_REPLACE), -ENODATA);
    assert_int_equal(origin_removexattr(f->o, call, path, "user.x"), 0);
    assert_int_equal(origin_getxattr(f->o, call, path, "user.x", buf, sizeof buf), -ENODATA);
}

static void test_xattrs_of_files_and_directories(void **state)
{
    struct fixture *f = *state;
    if (!origin_can(f->o, ORIGIN_XATTRS)) {
        print_message("skipped: no user xattrs on this filesystem\n");
        skip();
    }
    tempdir_write(f->dir, "a", "x");
    assert_int_equal(chmod(tempdir_path(f->dir, "a"), 0400), 0);
    assert_int_equal(origin_mkdir(f->o, call, "d", 0755), 0);
    if (getuid() == 0)
        check_xattrs(f, "a");
    check_xattrs(f, "d");
    check_xattrs(f, "");
}

static void test_xattrs_of_a_symlink_are_not_its_targets(void **state)
{
    struct fixture *f = *state;
    char buf[8];
    tempdir_write(f->dir, "a", "x");
    setxattr(tempdir_path(f->dir, "a"), "user.x", "v", 1, 0);
    assert_int_equal(origin_symlink(f->o, call, "a", "l"), 0);
    assert_true(origin_getxattr(f->o, call, "l", "user.x", buf, sizeof buf) < 0);
    assert_true(origin_setxattr(f->o, call, "l", "user.z", "v", 1, 0) < 0);
    assert_true(getxattr(tempdir_path(f->dir, "a"), "user.z", buf, sizeof buf) < 0);
}

/* --- confinement --- */

static void test_paths_that_break_the_rules_are_refused(void **state)
{
    struct fixture *f = *state;
    const char *paths[] = {"..",     ".",    "/",  "/etc", "../x", "a/..",
                           "a/../b", "a//b", "a/", "./a",  "a/./b"};
    struct origin_stat st;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        assert_int_equal(origin_stat(f->o, call, paths[i], &st), -EINVAL);
        assert_int_equal(origin_mkdir(f->o, call, paths[i], 0755), -EINVAL);
        assert_int_equal(origin_rename(f->o, call, "x", paths[i], 0), -EINVAL);
        assert_int_equal(origin_link(f->o, call, paths[i], "x"), -EINVAL);
    }
}

static int ignore_page(void *arg, const struct origin_entry *e, size_t count)
{
    return 0;
}

static void check_confined(struct fixture *f)
{
    struct origin_stat st;
    struct origin_file *file = NULL;
    struct origin_attr a = {.mask = ORIGIN_SET_MODE, .mode = 0777};
    char *target = NULL;
    char buf[8];
    struct origin *o = f->o;
    assert_int_equal(origin_stat(o, call, "l/x", &st), -ELOOP);
    assert_int_equal(origin_list(o, call, "l", ignore_page, NULL), -ELOOP);
    assert_int_equal(origin_open(o, call, "l/x", O_RDWR, 0, &file, NULL), -ELOOP);
    assert_int_equal(origin_open(o, call, "l/n", O_RDWR | O_CREAT, 0644, &file, NULL), -ELOOP);
    assert_int_equal(origin_open(o, call, "f", O_RDWR | O_CREAT, 0644, &file, NULL), -ELOOP);
    assert_int_equal(origin_open(o, call, "f", O_RDWR | O_TRUNC, 0644, &file, NULL), -ELOOP);
    assert_int_equal(origin_mkdir(o, call, "l/n", 0755), -ELOOP);
    assert_int_equal(origin_mknod(o, call, "l/n", S_IFIFO | 0644, 0), -ELOOP);
    assert_int_equal(origin_symlink(o, call, "t", "l/n"), -ELOOP);
    assert_int_equal(origin_link(o, call, "l/x", "y"), -ELOOP);
    assert_int_equal(origin_link(o, call, "in", "l/y"), -ELOOP);
    assert_int_equal(origin_rename(o, call, "l/x", "y", 0), -ELOOP);
    assert_int_equal(origin_rename(o, call, "in", "l/y", 0), -ELOOP);
    assert_int_equal(origin_unlink(o, call, "l/x"), -ELOOP);
    assert_int_equal(origin_rmdir(o, call, "l/x"), -ELOOP);
    assert_int_equal(origin_readlink(o, call, "l/x", &target), -ELOOP);
    assert_int_equal(origin_setattr(o, call, "l/x", &a), -ELOOP);
    assert_int_equal(origin_setxattr(o, call, "l/x", "user.x", "v", 1, 0), -ELOOP);
    assert_int_equal(origin_getxattr(o, call, "l/x", "user.x", buf, sizeof buf), -ELOOP);
    assert_null(file);
    assert_null(target);
}

static void test_no_symlink_leads_out(void **state)
{
    struct fixture *f = *state;
    char *outside = tempdir_new();
    tempdir_write(outside, "x", "secret");
    tempdir_write(f->dir, "in", "x");
    /* Outside, and inside too: the middle of a path never holds a symlink. */
    assert_int_equal(symlink(outside, tempdir_path(f->dir, "l")), 0);
    assert_int_equal(symlink(tempdir_path(outside, "x"), tempdir_path(f->dir, "f")), 0);
    check_confined(f);
    assert_int_equal(access(tempdir_path(outside, "n"), F_OK), -1);
    assert_int_equal(access(tempdir_path(outside, "y"), F_OK), -1);
    struct stat st;
    assert_int_equal(stat(tempdir_path(outside, "x"), &st), 0);
    assert_int_equal(st.st_size, 6);
    tempdir_remove(outside);
}

static void test_the_walk_without_openat2_is_as_strict(void **state)
{
    struct fixture *f = *state;
    AUTO_CLOSE int root = open(f->dir, O_PATH | O_DIRECTORY);
    struct beneath b = {.root_fd = root, .has_openat2 = false};
    assert_int_equal(origin_mkdir(f->o, call, "d", 0755), 0);
    assert_int_equal(origin_mkdir(f->o, call, "d/e", 0755), 0);
    tempdir_write(f->dir, "d/e/x", "x");
    assert_int_equal(symlink("e", tempdir_path(f->dir, "d/l")), 0);
    assert_int_equal(beneath_open(&b, "d/l/x", O_RDONLY, 0), -ELOOP);
    assert_int_equal(beneath_open(&b, "d/l", O_RDONLY, 0), -ELOOP);
    assert_int_equal(beneath_open(&b, "d/l", O_RDONLY | O_DIRECTORY, 0), -ELOOP);
    assert_int_equal(beneath_open(&b, "d/e/x/y", O_RDONLY, 0), -ENOTDIR);
    assert_int_equal(beneath_open(&b, "d/f/x", O_RDONLY, 0), -ENOENT);
    AUTO_CLOSE int fd = beneath_open(&b, "d/e/x", O_RDONLY, 0);
    assert_true(fd >= 0);
    AUTO_CLOSE int dir = beneath_open(&b, "", O_RDONLY | O_DIRECTORY, 0);
    assert_true(dir >= 0);
    AUTO_PARENT struct beneath_parent p = {0};
    assert_int_equal(beneath_parent(&b, "d/l/x", &p), -ELOOP);
    assert_int_equal(beneath_parent(&b, "d/e/x", &p), 0);
    assert_int_equal(faccessat(p.fd, p.name, F_OK, 0), 0);
}

static void test_paths_longer_than_the_kernels_limit(void **state)
{
    struct fixture *f = *state;
    char name[201];
    memset(name, 'n', 200);
    name[200] = '\0';
    char path[8000] = "";
    for (int i = 0; i < 25; i++) {
        if (*path)
            strcat(path, "/");
        strcat(path, name);
        assert_int_equal(origin_mkdir(f->o, call, path, 0755), 0);
    }
    assert_true(strlen(path) > 4096);
    strcat(path, "/file");
    origin_close_file(open_file(f, path, O_RDWR | O_CREAT | O_EXCL));
    assert_true(S_ISREG(stat_of(f, path).mode));
    assert_int_equal(origin_unlink(f->o, call, path), 0);
    for (char *slash; (slash = strrchr(path, '/'));) {
        *slash = '\0';
        assert_int_equal(origin_rmdir(f->o, call, path), 0);
    }
}

/* --- listing --- */

struct seen {
    unsigned char *flag;
    size_t total, pages, without_stat;
    size_t stop_after;
};

static int count_page(void *arg, const struct origin_entry *e, size_t count)
{
    struct seen *s = arg;
    s->pages++;
    for (size_t i = 0; i < count; i++) {
        unsigned n;
        assert_int_equal(sscanf(e[i].name, "f%u", &n), 1);
        assert_int_equal(s->flag[n], 0);
        s->flag[n] = 1;
        s->total++;
        if (!e[i].has_stat)
            s->without_stat++;
        else
            assert_int_equal(e[i].stat.size, 0);
    }
    return s->stop_after && s->total >= s->stop_after ? 77 : 0;
}

static void test_lists_twenty_thousand_entries_once_each(void **state)
{
    struct fixture *f = *state;
    enum { N = 20000 };
    assert_int_equal(origin_mkdir(f->o, call, "d", 0755), 0);
    for (int i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof name, "d/f%d", i);
        assert_int_equal(origin_mknod(f->o, call, name, S_IFREG | 0644, 0), 0);
    }
    AUTO_FREE unsigned char *flag = calloc(1, N);
    struct seen s = {.flag = flag};
    assert_int_equal(origin_list(f->o, call, "d", count_page, &s), 0);
    assert_int_equal(s.total, N);
    assert_int_equal(s.without_stat, 0);
    assert_true(s.pages >= N / 256);
}

static void test_the_callback_ends_a_listing(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 600; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%d", i);
        tempdir_write(f->dir, name, "");
    }
    unsigned char flag[600] = {0};
    struct seen s = {.flag = flag, .stop_after = 1};
    assert_int_equal(origin_list(f->o, call, "", count_page, &s), 77);
    assert_int_equal(s.pages, 1);
}

static void test_listing_what_is_no_directory(void **state)
{
    struct fixture *f = *state;
    tempdir_write(f->dir, "a", "x");
    assert_int_equal(origin_list(f->o, call, "a", ignore_page, NULL), -ENOTDIR);
    assert_int_equal(origin_list(f->o, call, "none", ignore_page, NULL), -ENOENT);
}

struct hostile {
    bool seen[256];
};

static int note_name(void *arg, const struct origin_entry *e, size_t count)
{
    struct hostile *h = arg;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(strlen(e[i].name), 3);
        h->seen[(unsigned char)e[i].name[1]] = true;
    }
    return 0;
}

static void test_every_byte_may_stand_in_a_name(void **state)
{
    struct fixture *f = *state;
    struct hostile h = {0};
    for (int b = 1; b < 256; b++) {
        if (b == '/')
            continue;
        char name[] = {'\n', (char)b, '%', '\0'};
        origin_close_file(open_file(f, name, O_RDWR | O_CREAT | O_EXCL));
        assert_true(S_ISREG(stat_of(f, name).mode));
    }
    assert_int_equal(origin_list(f->o, call, "", note_name, &h), 0);
    for (int b = 1; b < 256; b++)
        assert_int_equal(h.seen[b], b != '/');
    assert_int_equal(origin_mkdir(f->o, call, "...", 0755), 0);
    assert_int_equal(origin_mkdir(f->o, call, ".../..x", 0755), 0);
}

static void test_names_too_long_are_refused(void **state)
{
    struct fixture *f = *state;
    char name[300];
    memset(name, 'n', sizeof name - 1);
    name[299] = '\0';
    assert_int_equal(origin_mkdir(f->o, call, name, 0755), -ENAMETOOLONG);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_connect_says_what_is_wrong),
        T(test_probing_leaves_nothing_behind),
        T(test_health_and_statfs_answer),
        T(test_stat_tells_all_of_a_file),
        T(test_stat_of_the_root),
        T(test_stat_does_not_follow),
        T(test_setattr_sets_each_field),
        T(test_setattr_leaves_the_other_time),
        T(test_setattr_of_a_symlink_spares_its_target),
        T(test_setattr_changes_owners),
        T(test_create_gives_the_mode_exactly),
        T(test_open_of_an_existing_file_keeps_its_mode),
        T(test_exclusive_create_of_an_existing_file),
        T(test_open_truncates),
        T(test_open_refuses_what_is_no_file),
        T(test_read_ends_at_the_end),
        T(test_large_ranges_are_written_and_read_whole),
        T(test_an_ended_call_moves_nothing),
        T(test_attributes_of_an_open_file),
        T(test_copy_range_copies),
        T(test_copy_between_two_origins_is_refused),
        T(test_seek_finds_data_and_holes),
        T(test_mkdir_gives_the_mode_exactly),
        T(test_mkdir_keeps_an_inherited_group_bit),
        T(test_mknod_makes_fifos_sockets_and_files),
        T(test_symlink_and_readlink_of_any_target),
        T(test_readlink_of_what_is_no_link),
        T(test_link_shares_the_node),
        T(test_unlink_and_rmdir_keep_to_their_kind),
        T(test_rename_replaces),
        T(test_rename_noreplace_spares_the_target),
        T(test_rename_exchanges),
        T(test_xattrs_of_files_and_directories),
        T(test_xattrs_of_a_symlink_are_not_its_targets),
        T(test_paths_that_break_the_rules_are_refused),
        T(test_no_symlink_leads_out),
        T(test_the_walk_without_openat2_is_as_strict),
        T(test_paths_longer_than_the_kernels_limit),
        T(test_lists_twenty_thousand_entries_once_each),
        T(test_the_callback_ends_a_listing),
        T(test_listing_what_is_no_directory),
        T(test_every_byte_may_stand_in_a_name),
        T(test_names_too_long_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
