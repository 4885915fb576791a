// SPDX-License-Identifier: Apache-2.0
/* A disk that is full although the bound is not reached: the tier shrinks, nothing fails. */
#include "cache/disk.h"

#include <sched.h>
#include <sys/mount.h>

#include "unit/cache/support.h"

/* A small filesystem of our own, seen by this process alone. */
static bool mount_small(const char *dir, const char *options)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", dir, "tmpfs", 0, options) == 0;
}

static void put(struct cairn_disk *d, uint64_t n)
{
    struct cairn_chunk *c = make_chunk(n, 50000, false);
    cairn_disk_put(d, c, true);
    cairn_chunk_unref(c);
}

static bool is_there(struct cairn_disk *d, uint64_t n)
{
    struct cairn_chunk *want = make_chunk(n, 50000, false);
    struct cairn_chunk *got = NULL;
    int r = cairn_disk_get(d, &want->id, &got);
    if (r == 0)
        assert_same_chunk(got, want);
    else
        assert_int_equal(r, -ENOENT);
    cairn_chunk_unref(got);
    cairn_chunk_unref(want);
    return r == 0;
}

static void a_full_disk_shrinks_the_tier(void **state)
{
    (void)state;
    char dir[64];
    make_dir(dir);
    if (!mount_small(dir, "size=24m")) {
        remove_dir(dir);
        print_message("skipped: no permission to mount a small filesystem\n");
        skip();
    }
    struct cairn_disk_config cfg = {.dir = dir, .max_bytes = 64 * MIB};
    struct cairn_metrics metrics = {0};
    struct cairn_disk *d;
    struct cairn_disk_stats stats;
    assert_int_equal(cairn_disk_open(&d, &cfg, &metrics), 0);
    for (uint64_t n = 0; n < 3000; n++) {
        put(d, n);
        if (n % 10 == 0)
            cairn_disk_drain(d);
        assert_true(is_there(d, n));
    }
    cairn_disk_drain(d);
    cairn_disk_stats(d, &stats);
    assert_true(stats.max_bytes < 24 * MIB);
    assert_true(stats.stored_bytes <= stats.max_bytes);
    assert_true(stats.stored_bytes > 8 * MIB);
    assert_int_equal(stats.stored_bytes, dir_bytes(dir));
    assert_true(cairn_counted(&metrics, CAIRN_DISK_ERRORS) > 0);
    unsigned recent = 0;
    for (uint64_t n = 2900; n < 3000; n++)
        recent += is_there(d, n);
    assert_true(recent >= 80); /* a few fall to the moment in which it finds the disk full */
    cairn_disk_close(d);

    assert_int_equal(cairn_disk_open(&d, &cfg, &metrics), 0);
    for (uint64_t n = 2900; n < 3000; n++)
        recent -= is_there(d, n);
    assert_int_equal(recent, 0);
    assert_int_equal(cairn_counted(&metrics, CAIRN_DISK_CORRUPT), 0);
    cairn_disk_close(d);
    assert_int_equal(umount(dir), 0);
    remove_dir(dir);
}

static void without_any_room_puts_are_forgotten(void **state)
{
    (void)state;
    char dir[64];
    char name[128];
    make_dir(dir);
    if (!mount_small(dir, "size=1m")) {
        remove_dir(dir);
        print_message("skipped: no permission to mount a small filesystem\n");
        skip();
    }
    struct cairn_disk_config cfg = {.dir = dir, .max_bytes = 8 * MIB};
    struct cairn_metrics metrics = {0};
    struct cairn_disk *d;
    assert_int_equal(cairn_disk_open(&d, &cfg, &metrics), 0);
    put(d, 1);
    cairn_disk_drain(d);
    assert_true(is_there(d, 1));

    /* Somebody else takes all that is left. */
    snprintf(name, sizeof(name), "%s/filler", dir);
    int fd = open(name, O_CREAT | O_WRONLY, 0600);
    static const char block[4096];
    while (write(fd, block, sizeof(block)) > 0)
        ;
    for (uint64_t n = 10; n < 60; n++)
        put(d, n);
    cairn_disk_drain(d);
    for (uint64_t n = 10; n < 60; n++)
        is_there(d, n);
    assert_true(cairn_counted(&metrics, CAIRN_DISK_ERRORS) > 0);
    close(fd);
    cairn_disk_close(d);
    assert_int_equal(umount(dir), 0);
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_shrinks_the_tier),
        cmocka_unit_test(without_any_room_puts_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
