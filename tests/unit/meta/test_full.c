// SPDX-License-Identifier: Apache-2.0
/* No space left: nothing is lost, nothing hangs, and it goes on when there is space again. */
#include "check.h"
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    if (fd >= 0 && write(fd, text, strlen(text)) < 0)
        perror(path);
    if (fd >= 0)
        close(fd);
}

/* A mount namespace of our own; as a plain user inside a user namespace. */
static int enter_namespace(void)
{
    uid_t uid = geteuid();
    char map[40];
    if (uid == 0)
        return unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
        return -1;
    snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
    write_text("/proc/self/setgroups", "deny");
    write_text("/proc/self/uid_map", map);
    return 0;
}

static int put_big(struct cairn_meta *m, uint64_t i)
{
    static char big[60001];
    memset(big, 'a' + (int)(i % 26), sizeof(big) - 1);
    cairn_meta_lock(m);
    int r = cairn_meta_put_target(m, i, big);
    cairn_meta_unlock(m);
    return r;
}

static void assert_big(struct cairn_meta *m, uint64_t i)
{
    char *got = NULL;
    assert_ok(cairn_meta_target(m, i, &got));
    assert_int_equal(strlen(got), 60000);
    assert_int_equal(got[59999], 'a' + (int)(i % 26));
    free(got);
}

static void test_full_disk_is_overcome(void **state)
{
    char dir[64];
    make_dir(dir);
    assert_ok(mount("tmpfs", dir, "tmpfs", 0, "size=1m"));
    struct cairn_meta *m = open_store(dir);
    uint64_t count = 1;
    int r;
    do {
        assert_ok(put_big(m, count++));
        r = cairn_meta_sync(m);
    } while (r == 0 && count < 1000);
    assert_int_equal(r, -ENOSPC);
    for (int k = 0; k < 20; k++)
        assert_ok(put_big(m, count++));
    for (uint64_t i = 1; i < count; i++)
        assert_big(m, i);
    assert_true(cairn_meta_sync(m) < 0);

    assert_ok(mount(NULL, dir, NULL, MS_REMOUNT, "size=64m"));
    assert_ok(cairn_meta_sync(m));
    cairn_meta_close(m);
    m = open_store(dir);
    for (uint64_t i = 1; i < count; i++)
        assert_big(m, i);
    cairn_meta_close(m);
    assert_ok(umount(dir));
    assert_ok(rmdir(dir));
}

static void test_full_disk_ends_in_an_error_not_in_waiting(void **state)
{
    char dir[64];
    make_dir(dir);
    assert_ok(mount("tmpfs", dir, "tmpfs", 0, "size=1m"));
    struct cairn_meta *m = open_store(dir);
    uint64_t count = 1;
    int r;
    while ((r = put_big(m, count)) == 0 && count < 3000)
        count++;
    assert_int_equal(r, -ENOSPC);
    for (uint64_t i = 1; i < count; i++)
        assert_big(m, i);
    struct cairn_meta_stats st;
    cairn_meta_stats(m, &st);
    assert_true(st.pending_bytes > 60 << 20 && st.pending_bytes < 70 << 20);
    cairn_meta_close(m);
    /* What was durable before is there still. */
    m = open_store(dir);
    cairn_meta_close(m);
    assert_ok(umount(dir));
    assert_ok(rmdir(dir));
}

static void test_full_map_recovers_by_deleting(void **state)
{
    char dir[64];
    struct cairn_meta *m;
    make_dir(dir);
    struct cairn_meta_config cfg = {.dir = dir, .map_bytes = 1 << 20};
    assert_ok(cairn_meta_open(&m, &cfg));
    uint64_t count = 100;
    int r;
    do {
        struct cairn_inode in = {.ino = count, .mode = S_IFLNK};
        cairn_meta_lock(m);
        assert_ok(cairn_meta_put_inode(m, &in));
        cairn_meta_unlock(m);
        assert_ok(put_big(m, count++));
        r = cairn_meta_sync(m);
    } while (r == 0 && count < 1000);
    assert_int_equal(r, -ENOSPC);
    for (uint64_t i = 105; i < count; i++) {
        cairn_meta_lock(m);
        assert_ok(cairn_meta_del_inode(m, i));
        cairn_meta_unlock(m);
    }
    assert_ok(cairn_meta_sync(m));
    check_names(m);
    for (uint64_t i = 100; i < 105; i++)
        assert_big(m, i);
    cairn_meta_close(m);
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest always[] = {
        cmocka_unit_test(test_full_map_recovers_by_deleting),
    };
    const struct CMUnitTest mounting[] = {
        cmocka_unit_test(test_full_disk_is_overcome),
        cmocka_unit_test(test_full_disk_ends_in_an_error_not_in_waiting),
    };
    int failed = cmocka_run_group_tests_name("map", always, NULL, NULL);
    char probe[64];
    make_dir(probe);
    bool can = !enter_namespace() && !mount("tmpfs", probe, "tmpfs", 0, "size=1m");
    if (can)
        umount(probe);
    rmdir(probe);
    if (!can) {
        fprintf(stderr, "SKIP: may not mount a tmpfs here\n");
        return failed ? failed : 77;
    }
    return failed + cmocka_run_group_tests_name("disk", mounting, NULL, NULL);
}
