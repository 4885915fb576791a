// SPDX-License-Identifier: Apache-2.0
/* The SFTP driver against a real sshd: names, attributes, listings, errors, confinement. */
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
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "origins/sftp_attr.h"
#include "unit/origins/sftp_fixture.h"

static const struct origin_call *const call = &sftp_endless;

static void make_file(struct sftp_fixture *f, const char *name, const char *text)
{
    int fd = open(sftp_tree_path(f->sshd, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static struct stat local_stat(struct sftp_fixture *f, const char *name)
{
    struct stat st;
    assert_int_equal(lstat(sftp_tree_path(f->sshd, name), &st), 0);
    return st;
}

static bool exists(struct sftp_fixture *f, const char *name)
{
    return access(sftp_tree_path(f->sshd, name), F_OK) == 0;
}

static void test_stat_tells_what_is_there(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_stat st;
    make_file(f, "a", "hello");
    assert_int_equal(chmod(sftp_tree_path(f->sshd, "a"), 0640), 0);
    struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 2000, .tv_nsec = 5}};
    assert_int_equal(utimensat(AT_FDCWD, sftp_tree_path(f->sshd, "a"), times, 0), 0);
    assert_int_equal(origin_stat(f->o, call, "a", &st), 0);
    assert_int_equal(st.mode, S_IFREG | 0640);
    assert_int_equal(st.size, 5);
    assert_int_equal(st.blocks, 1);
    assert_int_equal(st.nlink, 1);
    assert_int_equal(st.uid, getuid());
    assert_true(st.atime_ns == 1000 * NSEC_PER_SEC);
    assert_true(st.mtime_ns == 2000 * NSEC_PER_SEC);
    assert_true(st.fileid == 0);
}

static void test_stat_of_root_and_of_a_symlink(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_stat st;
    assert_int_equal(origin_stat(f->o, call, "", &st), 0);
    assert_true(S_ISDIR(st.mode));
    assert_int_equal(symlink("nowhere", sftp_tree_path(f->sshd, "l")), 0);
    assert_int_equal(origin_stat(f->o, call, "l", &st), 0);
    assert_true(S_ISLNK(st.mode));
}

static void test_stat_of_nothing_leaves_output(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_stat st = {.size = 77};
    assert_int_equal(origin_stat(f->o, call, "none", &st), -ENOENT);
    assert_int_equal(st.size, 77);
    assert_int_equal(origin_stat(f->o, call, "no/ne", &st), -ENOENT);
    make_file(f, "a", "");
    assert_int_equal(origin_stat(f->o, call, "a/b", &st), -ENOTDIR);
}

static void test_too_long_a_name(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_stat st;
    char name[300];
    memset(name, 'x', 255);
    name[255] = '\0';
    make_file(f, name, "x");
    assert_int_equal(origin_stat(f->o, call, name, &st), 0);
    strcpy(name + 255, "y");
    assert_int_equal(origin_stat(f->o, call, name, &st), -ENAMETOOLONG);
    assert_int_equal(origin_mkdir(f->o, call, name, 0755), -ENAMETOOLONG);
}

static void test_symlink_in_the_middle_is_not_followed(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_stat st;
    struct origin_file *file;
    assert_int_equal(mkdir(sftp_tree_path(f->sshd, "d"), 0755), 0);
    make_file(f, "d/x", "x");
    assert_int_equal(symlink("d", sftp_tree_path(f->sshd, "l")), 0);
    assert_int_equal(origin_stat(f->o, call, "d/x", &st), 0);
    assert_int_equal(origin_stat(f->o, call, "l/x", &st), -ELOOP);
    assert_int_equal(origin_open(f->o, call, "l/x", O_RDONLY, 0, &file, NULL), -ELOOP);
    assert_int_equal(origin_open(f->o, call, "l/y", O_WRONLY | O_CREAT, 0644, &file, NULL), -ELOOP);
    assert_int_equal(origin_mkdir(f->o, call, "l/z", 0755), -ELOOP);
    assert_int_equal(origin_unlink(f->o, call, "l/x"), -ELOOP);
    assert_int_equal(origin_rename(f->o, call, "d/x", "l/y", 0), -ELOOP);
    assert_true(exists(f, "d/x"));
}

static void test_symlink_at_the_end_is_not_opened(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_file *file;
    make_file(f, "x", "secret");
    assert_int_equal(symlink("x", sftp_tree_path(f->sshd, "l")), 0);
    assert_int_equal(symlink("new", sftp_tree_path(f->sshd, "dangling")), 0);
    assert_int_equal(origin_open(f->o, call, "l", O_RDONLY, 0, &file, NULL), -ELOOP);
    assert_int_equal(origin_open(f->o, call, "l", O_WRONLY | O_TRUNC, 0, &file, NULL), -ELOOP);
    assert_int_equal(origin_open(f->o, call, "l", O_WRONLY | O_CREAT, 0644, &file, NULL), -ELOOP);
    assert_int_equal(origin_open(f->o, call, "dangling", O_WRONLY | O_CREAT, 0644, &file, NULL),
                     -ELOOP);
    assert_int_equal(origin_list(f->o, call, "l", NULL, NULL), -ENOTDIR);
    assert_false(exists(f, "new"));
    assert_int_equal(local_stat(f, "x").st_size, 6);
}

static void test_open_of_wrong_kinds(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_file *file;
    assert_int_equal(mkdir(sftp_tree_path(f->sshd, "d"), 0755), 0);
    assert_int_equal(origin_open(f->o, call, "d", O_RDONLY, 0, &file, NULL), -EISDIR);
    assert_int_equal(origin_open(f->o, call, "d", O_WRONLY | O_CREAT, 0644, &file, NULL), -EISDIR);
    assert_int_equal(origin_open(f->o, call, "none", O_RDONLY, 0, &file, NULL), -ENOENT);
    assert_int_equal(origin_open(f->o, call, "none", O_WRONLY | O_TRUNC, 0, &file, NULL), -ENOENT);
    assert_int_equal(origin_open(f->o, call, "no/ne", O_WRONLY | O_CREAT, 0644, &file, NULL),
                     -ENOENT);
}

static void test_fifo_does_not_hang(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin *o = sftp_fixture_connect(f->sshd);
    struct origin_file *file;
    struct origin_call c = sftp_call_for(20 * NSEC_PER_SEC);
    assert_int_equal(mkfifo(sftp_tree_path(f->sshd, "p"), 0644), 0);
    assert_int_equal(origin_open(o, &c, "p", O_RDONLY, 0, &file, NULL), -ENXIO);
    assert_false(origin_usable(o));
    origin_close(o);
}

static void test_create_gives_exact_mode(void **state)
{
    struct sftp_fixture *f = *state;
    static const uint32_t modes[] = {0666, 0777, 0600, 04755, 0, 0444};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        struct origin_file *file;
        struct origin_stat st;
        char name[16];
        snprintf(name, sizeof name, "m%zu", i);
        assert_int_equal(
            origin_open(f->o, call, name, O_RDWR | O_CREAT | O_EXCL, modes[i], &file, &st), 0);
        assert_int_equal(st.mode, S_IFREG | modes[i]);
        assert_int_equal(st.size, 0);
        origin_close_file(file);
        assert_int_equal(local_stat(f, name).st_mode, S_IFREG | modes[i]);
    }
}

static void test_exclusive_create_of_what_exists(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_file *file;
    make_file(f, "a", "keep");
    assert_int_equal(symlink("none", sftp_tree_path(f->sshd, "l")), 0);
    assert_int_equal(origin_open(f->o, call, "a", O_WRONLY | O_CREAT | O_EXCL, 0644, &file, NULL),
                     -EEXIST);
    assert_int_equal(origin_open(f->o, call, "l", O_WRONLY | O_CREAT | O_EXCL, 0644, &file, NULL),
                     -EEXIST);
    assert_int_equal(local_stat(f, "a").st_size, 4);
}

static void test_open_truncates_or_keeps(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_file *file;
    struct origin_stat st;
    make_file(f, "a", "hello");
    assert_int_equal(origin_open(f->o, call, "a", O_RDWR | O_CREAT, 0600, &file, &st), 0);
    assert_int_equal(st.size, 5);
    assert_int_equal(st.mode & 07777, 0644); /* it was there: its mode stays */
    origin_close_file(file);
    assert_int_equal(origin_open(f->o, call, "a", O_WRONLY | O_TRUNC, 0, &file, &st), 0);
    assert_int_equal(st.size, 0);
    origin_close_file(file);
    assert_int_equal(local_stat(f, "a").st_size, 0);
}

static void test_mkdir_gives_exact_mode(void **state)
{
    struct sftp_fixture *f = *state;
    assert_int_equal(origin_mkdir(f->o, call, "d", 0777), 0);
    assert_int_equal(local_stat(f, "d").st_mode, S_IFDIR | 0777);
    assert_int_equal(origin_mkdir(f->o, call, "d/s", 01770), 0);
    assert_int_equal(local_stat(f, "d/s").st_mode, S_IFDIR | 01770);
    assert_int_equal(origin_mkdir(f->o, call, "d/g", 02755), 0);
    assert_int_equal(local_stat(f, "d/g").st_mode, S_IFDIR | 02755);
    /* An inherited set-group-id bit stays. */
    assert_int_equal(origin_mkdir(f->o, call, "d/g/h", 0777), 0);
    assert_int_equal(local_stat(f, "d/g/h").st_mode, S_IFDIR | 02777);
}

static void test_mkdir_errors(void **state)
{
    struct sftp_fixture *f = *state;
    make_file(f, "a", "");
    assert_int_equal(origin_mkdir(f->o, call, "a", 0755), -EEXIST);
    assert_int_equal(origin_mkdir(f->o, call, "none/x", 0755), -ENOENT);
    assert_int_equal(origin_mkdir(f->o, call, "a/x", 0755), -ENOTDIR);
}

static void test_unlink_and_rmdir(void **state)
{
    struct sftp_fixture *f = *state;
    make_file(f, "a", "");
    assert_int_equal(mkdir(sftp_tree_path(f->sshd, "d"), 0755), 0);
    assert_int_equal(origin_unlink(f->o, call, "a"), 0);
    assert_int_equal(origin_rmdir(f->o, call, "d"), 0);
    assert_false(exists(f, "a"));
    assert_false(exists(f, "d"));
}

static void test_unlink_and_rmdir_errors(void **state)
{
    struct sftp_fixture *f = *state;
    assert_int_equal(mkdir(sftp_tree_path(f->sshd, "d"), 0755), 0);
    make_file(f, "d/x", "");
    assert_int_equal(origin_rmdir(f->o, call, "d"), -ENOTEMPTY);
    assert_int_equal(origin_rmdir(f->o, call, "d/x"), -ENOTDIR);
    assert_int_equal(origin_rmdir(f->o, call, "none"), -ENOENT);
    assert_int_equal(origin_unlink(f->o, call, "d"), -EISDIR);
    assert_int_equal(origin_unlink(f->o, call, "none"), -ENOENT);
}

static void test_rename_replaces(void **state)
{
    struct sftp_fixture *f = *state;
    assert_true(origin_can(f->o, ORIGIN_ATOMIC_RENAME));
    make_file(f, "a", "new");
    make_file(f, "b", "older");
    assert_int_equal(origin_rename(f->o, call, "a", "b", 0), 0);
    assert_false(exists(f, "a"));
    assert_int_equal(local_stat(f, "b").st_size, 3);
}

static void test_rename_noreplace(void **state)
{
    struct sftp_fixture *f = *state;
    make_file(f, "a", "new");
    make_file(f, "b", "older");
    assert_int_equal(symlink("none", sftp_tree_path(f->sshd, "l")), 0);
    assert_int_equal(mkdir(sftp_tree_path(f->sshd, "d"), 0755), 0);
    assert_int_equal(origin_rename(f->o, call, "a", "b", RENAME_NOREPLACE), -EEXIST);
    assert_int_equal(origin_rename(f->o, call, "a", "l", RENAME_NOREPLACE), -EEXIST);
    assert_int_equal(origin_rename(f->o, call, "d", "l", RENAME_NOREPLACE), -EEXIST);
    assert_int_equal(local_stat(f, "b").st_size, 5);
    assert_int_equal(origin_rename(f->o, call, "a", "c", RENAME_NOREPLACE), 0);
    assert_int_equal(origin_rename(f->o, call, "d", "e", RENAME_NOREPLACE), 0);
    assert_true(exists(f, "c") && !exists(f, "a"));
    assert_int_equal(origin_rename(f->o, call, "b", "c", RENAME_EXCHANGE), -EOPNOTSUPP);
}

static void test_rename_errors(void **state)
{
    struct sftp_fixture *f = *state;
    make_file(f, "a", "");
    assert_int_equal(mkdir(sftp_tree_path(f->sshd, "d"), 0755), 0);
    assert_int_equal(mkdir(sftp_tree_path(f->sshd, "e"), 0755), 0);
    make_file(f, "d/x", "");
    assert_int_equal(origin_rename(f->o, call, "none", "b", 0), -ENOENT);
    assert_int_equal(origin_rename(f->o, call, "a", "d", 0), -EISDIR);
    assert_int_equal(origin_rename(f->o, call, "d", "a", 0), -ENOTDIR);
    assert_int_equal(origin_rename(f->o, call, "e", "d", 0), -ENOTEMPTY);
    assert_int_equal(origin_rename(f->o, call, "d", "d/in", 0), -EINVAL);
}

static void test_rename_of_a_directory_forgets_its_paths(void **state)
{
    struct sftp_fixture *f = *state;
    struct origin_stat st;
    assert_int_equal(mkdir(sftp_tree_path(f->sshd, "d"), 0755), 0);
    make_file(f, "d/x", "");
    assert_int_equal(origin_stat(f->o, call, "d/x", &st), 0);
    assert_int_equal(origin_rename(f->o, call, "d", "e", 0), 0);
    assert_int_equal(symlink("e", sftp_tree_path(f->sshd, "d")), 0);
    assert_int_equal(origin_stat(f->o, call, "d/x", &st), -ELOOP);
}

static void test_symlink_and_readlink(void **state)
{
    struct sftp_fixture *f = *state;
    char *target = NULL;
    char buf[64] = "";
    assert_int_equal(origin_symlink(f->o, call, "../to \n %s", "l"), 0);
    assert_int_equal(readlink(sftp_tree_path(f->sshd, "l"), buf, sizeof buf - 1), 10);
    assert_string_equal(buf, "../to \n %s");
    assert_int_equal(origin_readlink(f->o, call, "l", &target), 0);
    assert_string_equal(target, "../to \n %s");
    free(target);
    assert_int_equal(origin_symlink(f->o, call, "x", "l"), -EEXIST);
    make_file(f, "a", "");
    assert_int_equal(origin_readlink(f->o, call, "a", &target), -EINVAL);
    assert_int_equal(origin_readlink(f->o, call, "none", &target), -ENOENT);
}

static void test_hard_link(void **state)
{
    struct sftp_fixture *f = *state;
    make_file(f, "a", "x");
    make_file(f, "c", "x");
    assert_int_equal(origin_link(f->o, call, "a", "b"), 0);
    assert_int_equal(local_stat(f, "b").st_ino, local_stat(f, "a").st_ino);
    assert_int_equal(origin_link(f->o, call, "a", "c"), -EEXIST);
    assert_int_equal(origin_link(f->o, call, "none", "d"), -ENOENT);
}

static void test_mknod_makes_files_only(void **state)
{
    struct sftp_fixture *f = *state;
    assert_int_equal(origin_mknod(f->o, call, "a", S_IFREG | 0666, 0), 0);
    assert_int_equal(local_stat(f, "a").st_mode, S_IFREG | 0666);
    assert_int_equal(origin_mknod(f->o, call, "a", S_IFREG | 0666, 0), -EEXIST);
    assert_int_equal(origin_mknod(f->o, call, "p", S_IFIFO | 0666, 0), -EOPNOTSUPP);
    assert_false(origin_can(f->o, ORIGIN_SPECIAL));
}

static void test_setattr(void **state)
{
    struct sftp_fixture *f = *state;
    make_file(f, "a", "hello");
    struct origin_attr mode = {.mask = ORIGIN_SET_MODE, .mode = 04711};
    assert_int_equal(origin_setattr(f->o, call, "a", &mode), 0);
    assert_int_equal(local_stat(f, "a").st_mode, S_IFREG | 04711);
    struct origin_attr size = {.mask = ORIGIN_SET_SIZE, .size = 3};
    assert_int_equal(origin_setattr(f->o, call, "a", &size), 0);
    assert_int_equal(local_stat(f, "a").st_size, 3);
    struct origin_attr none = {0};
    assert_int_equal(origin_setattr(f->o, call, "a", &none), 0);
    assert_int_equal(origin_setattr(f->o, call, "none", &mode), -ENOENT);
    assert_int_equal(origin_setattr(f->o, call, "none", &size), -ENOENT);
}

static void test_one_time_keeps_the_other(void **state)
{
    struct sftp_fixture *f = *state;
    make_file(f, "a", "");
    struct origin_attr both = {.mask = ORIGIN_SET_ATIME | ORIGIN_SET_MTIME,
                               .atime_ns = 100 * NSEC_PER_SEC + 7,
                               .mtime_ns = 200 * NSEC_PER_SEC};
    struct origin_attr atime = {.mask = ORIGIN_SET_ATIME, .atime_ns = 300 * NSEC_PER_SEC};
    struct origin_attr mtime = {.mask = ORIGIN_SET_MTIME, .mtime_ns = 400 * NSEC_PER_SEC};
    assert_int_equal(origin_setattr(f->o, call, "a", &both), 0);
    assert_int_equal(local_stat(f, "a").st_atim.tv_sec, 100);
    assert_int_equal(origin_setattr(f->o, call, "a", &atime), 0);
    assert_int_equal(local_stat(f, "a").st_atim.tv_sec, 300);
    assert_int_equal(local_stat(f, "a").st_mtim.tv_sec, 200);
    assert_int_equal(origin_setattr(f->o, call, "a", &mtime), 0);
    assert_int_equal(local_stat(f, "a").st_atim.tv_sec, 300);
    assert_int_equal(local_stat(f, "a").st_mtim.tv_sec, 400);
}

static void test_one_owner_keeps_the_other(void **state)
{
    struct sftp_fixture *f = *state;
    if (getuid() != 0)
        skip();
    make_file(f, "a", "");
    struct origin_attr uid = {.mask = ORIGIN_SET_UID | ORIGIN_SET_MODE, .uid = 1234, .mode = 04755};
    struct origin_attr gid = {.mask = ORIGIN_SET_GID, .gid = 4321};
    assert_int_equal(origin_setattr(f->o, call, "a", &gid), 0);
    assert_int_equal(origin_setattr(f->o, call, "a", &uid), 0);
    struct stat st = local_stat(f, "a");
    assert_int_equal(st.st_uid, 1234);
    assert_int_equal(st.st_gid, 4321);
    assert_int_equal(st.st_mode & 07777, 04755); /* set after the change of owner cut it */
}

static void test_setattr_does_not_follow_symlinks(void **state)
{
    struct sftp_fixture *f = *state;
    make_file(f, "a", "hello");
    assert_int_equal(symlink("a", sftp_tree_path(f->sshd, "l")), 0);
    struct origin_attr mode = {.mask = ORIGIN_SET_MODE, .mode = 0777};
    struct origin_attr size = {.mask = ORIGIN_SET_SIZE, .size = 0};
    struct origin_attr times = {.mask = ORIGIN_SET_ATIME | ORIGIN_SET_MTIME,
                                .mtime_ns = 500 * NSEC_PER_SEC};
    assert_int_equal(origin_setattr(f->o, call, "l", &mode), -EOPNOTSUPP);
    assert_int_equal(origin_setattr(f->o, call, "l", &size), -EINVAL);
    assert_int_equal(origin_setattr(f->o, call, "l", &times), 0);
    assert_int_equal(local_stat(f, "l").st_mtim.tv_sec, 500);
    assert_int_equal(local_stat(f, "a").st_mode, S_IFREG | 0644);
    assert_int_equal(local_stat(f, "a").st_size, 5);
    assert_true(local_stat(f, "a").st_mtim.tv_sec != 500);
}

static void test_statfs(void **state)
{
    struct sftp_fixture *f = *state;
    struct statvfs mine, its;
    assert_int_equal(statvfs(f->sshd->tree, &mine), 0);
    assert_int_equal(origin_statfs(f->o, call, &its), 0);
    assert_true(its.f_blocks == mine.f_blocks);
    assert_true(its.f_frsize == mine.f_frsize);
    assert_true(its.f_namemax == mine.f_namemax);
}

static void test_info_tells_what_openssh_can(void **state)
{
    struct sftp_fixture *f = *state;
    assert_true(origin_can(f->o, ORIGIN_ATOMIC_RENAME | ORIGIN_RENAME_NOREPLACE |
                                     ORIGIN_WRITE_RANGES | ORIGIN_COPY_RANGE | ORIGIN_HARD_LINKS |
                                     ORIGIN_SYMLINKS | ORIGIN_MODES | ORIGIN_FSYNC));
    assert_false(origin_can(f->o, ORIGIN_FILE_IDS) || origin_can(f->o, ORIGIN_RENAME_EXCHANGE));
    assert_true(origin_info(f->o)->time_granularity_ns == NSEC_PER_SEC);
    assert_int_equal(origin_info(f->o)->name_max, 255);
    assert_int_equal(origin_health(f->o, call), 0);
    assert_true(origin_usable(f->o));
}

struct listing {
    size_t count;
    size_t pages;
    uint64_t sum;  /* of the sizes */
    uint64_t seen; /* xor of the names' numbers */
    bool hostile;
    size_t stop_after;
};

static int add_page(void *arg, const struct origin_entry *entries, size_t count)
{
    struct listing *l = arg;
    l->pages++;
    for (size_t i = 0; i < count; i++) {
        assert_true(entries[i].has_stat);
        assert_string_not_equal(entries[i].name, ".");
        assert_string_not_equal(entries[i].name, "..");
        l->sum += entries[i].stat.size;
        l->seen ^= strtoull(entries[i].name + 1, NULL, 10) * 0x9e3779b97f4a7c15u;
        l->count++;
    }
    return l->stop_after && l->count >= l->stop_after ? 42 : 0;
}

static void test_list_of_20000_entries(void **state)
{
    struct sftp_fixture *f = *state;
    uint64_t expected = 0;
    for (unsigned i = 0; i < 20000; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%u", i);
        make_file(f, name, i % 3 ? "" : "xx");
        expected ^= i * 0x9e3779b97f4a7c15u;
    }
    struct listing l = {0};
    assert_int_equal(origin_list(f->o, call, "", add_page, &l), 0);
    assert_int_equal(l.count, 20000);
    assert_true(l.seen == expected);
    assert_int_equal(l.sum, 2 * 6667);
    assert_true(l.pages > 10);
    /* A caller that has enough ends it, and what was under way does no harm. */
    l = (struct listing){.stop_after = 1};
    assert_int_equal(origin_list(f->o, call, "", add_page, &l), 42);
    assert_int_equal(l.pages, 1);
    l = (struct listing){0};
    assert_int_equal(origin_list(f->o, call, "", add_page, &l), 0);
    assert_int_equal(l.count, 20000);
}

static void test_list_errors(void **state)
{
    struct sftp_fixture *f = *state;
    struct listing l = {0};
    make_file(f, "a", "");
    assert_int_equal(origin_list(f->o, call, "a", add_page, &l), -ENOTDIR);
    assert_int_equal(origin_list(f->o, call, "none", add_page, &l), -ENOENT);
    assert_int_equal(origin_mkdir(f->o, call, "d", 0755), 0);
    assert_int_equal(origin_list(f->o, call, "d", add_page, &l), 0);
    assert_int_equal(l.pages, 0);
}

static const char *const hostile_names[] = {
    " ",        "-rf",          "\n",     "a\nb", "\xff\xfe", "\\", "\"",    "*",
    "?",        "[x]",          "...",    ".x",   "..x",      "~",  "$(id)", "%n%s",
    "\x01\x7f", "\xe2\x82\xac", "a b\tc", ";",    "'",        "&",  "`id`",
};

static int find_names(void *arg, const struct origin_entry *entries, size_t count)
{
    bool *found = arg;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < ARRAY_LEN(hostile_names); k++)
            if (!strcmp(entries[i].name, hostile_names[k]))
                found[k] = true;
    return 0;
}

static void test_hostile_names(void **state)
{
    struct sftp_fixture *f = *state;
    bool found[ARRAY_LEN(hostile_names)] = {0};
    for (size_t i = 0; i < ARRAY_LEN(hostile_names); i++) {
        const char *name = hostile_names[i];
        struct origin_file *file;
        struct origin_stat st;
        assert_int_equal(
            origin_open(f->o, call, name, O_WRONLY | O_CREAT | O_EXCL, 0644, &file, NULL), 0);
        assert_int_equal(origin_pwrite(file, call, "x", 1, 0), 0);
        origin_close_file(file);
        assert_int_equal(origin_stat(f->o, call, name, &st), 0);
        assert_int_equal(st.size, 1);
        assert_true(exists(f, name));
    }
    assert_int_equal(origin_list(f->o, call, "", find_names, found), 0);
    for (size_t i = 0; i < ARRAY_LEN(hostile_names); i++) {
        assert_true(found[i]);
        assert_int_equal(origin_rename(f->o, call, hostile_names[i], "t", 0), 0);
        assert_int_equal(origin_unlink(f->o, call, "t"), 0);
    }
}

static void test_ids_are_mapped_both_ways(void **state)
{
    struct sftp s = {
        .idmap = true, .remote_uid = 500, .remote_gid = 600, .local_uid = 7, .local_gid = 8};
    struct sftp_attrs a = {.flags = SFTP_ATTR_UIDGID, .uid = 500, .gid = 600};
    struct origin_stat st;
    sftp_to_stat(&s, &a, &st);
    assert_int_equal(st.uid, 7);
    assert_int_equal(st.gid, 8);
    a.uid = a.gid = 501;
    sftp_to_stat(&s, &a, &st);
    assert_int_equal(st.uid, 501);
    assert_int_equal(st.gid, 501);
}

static void test_mapped_owner_is_sent(void **state)
{
    struct sftp_fixture *f = *state;
    if (getuid() != 0)
        skip();
    struct sftp *s = (struct sftp *)f->o;
    make_file(f, "a", "");
    s->idmap = true; /* as if the login had these ids */
    s->remote_uid = 1500;
    s->remote_gid = 1600;
    s->local_uid = 70;
    s->local_gid = 80;
    struct origin_attr own = {.mask = ORIGIN_SET_UID | ORIGIN_SET_GID, .uid = 70, .gid = 80};
    int err = origin_setattr(f->o, call, "a", &own);
    struct origin_stat st = {0};
    int err2 = origin_stat(f->o, call, "a", &st);
    s->idmap = false;
    assert_int_equal(err, 0);
    assert_int_equal(err2, 0);
    assert_int_equal(local_stat(f, "a").st_uid, 1500);
    assert_int_equal(local_stat(f, "a").st_gid, 1600);
    assert_int_equal(st.uid, 70);
    assert_int_equal(st.gid, 80);
}

#define TEST(fn) cmocka_unit_test_setup(fn, sftp_fixture_empty)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stat_tells_what_is_there),
        TEST(test_stat_of_root_and_of_a_symlink),
        TEST(test_stat_of_nothing_leaves_output),
        TEST(test_too_long_a_name),
        TEST(test_symlink_in_the_middle_is_not_followed),
        TEST(test_symlink_at_the_end_is_not_opened),
        TEST(test_open_of_wrong_kinds),
        TEST(test_fifo_does_not_hang),
        TEST(test_create_gives_exact_mode),
        TEST(test_exclusive_create_of_what_exists),
        TEST(test_open_truncates_or_keeps),
        TEST(test_mkdir_gives_exact_mode),
        TEST(test_mkdir_errors),
        TEST(test_unlink_and_rmdir),
        TEST(test_unlink_and_rmdir_errors),
        TEST(test_rename_replaces),
        TEST(test_rename_noreplace),
        TEST(test_rename_errors),
        TEST(test_rename_of_a_directory_forgets_its_paths),
        TEST(test_symlink_and_readlink),
        TEST(test_hard_link),
        TEST(test_mknod_makes_files_only),
        TEST(test_setattr),
        TEST(test_one_time_keeps_the_other),
        TEST(test_one_owner_keeps_the_other),
        TEST(test_setattr_does_not_follow_symlinks),
        TEST(test_statfs),
        TEST(test_info_tells_what_openssh_can),
        TEST(test_list_of_20000_entries),
        TEST(test_list_errors),
        TEST(test_hostile_names),
        TEST(test_ids_are_mapped_both_ways),
        TEST(test_mapped_owner_is_sent),
    };
    return cmocka_run_group_tests(tests, sftp_fixture_setup, sftp_fixture_teardown);
}
