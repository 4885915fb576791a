// SPDX-License-Identifier: Apache-2.0
/* Reading mountinfo, and comparing paths. */
#include "cli/mounts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"

static void parse(const char *text, struct cairn_mounts *ret)
{
    FILE *f = fmemopen((char *)(uintptr_t)text, strlen(text), "r");

    assert_non_null(f);
    assert_int_equal(cairn_mounts_parse(f, ret), 0);
    fclose(f);
}

static void lines_are_read(void **state)
{
    struct cairn_mounts m;

    parse("22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
          "90 22 0:50 / /mnt/a rw,nosuid,nodev shared:7 master:3 - fuse.cairnfs sftp://h/x rw\n"
          "91 22 0:51 / /mnt/b rw - fuse.cairnfs file:///srv rw,user_id=0\n",
          &m);
    assert_int_equal(m.count, 3);
    assert_string_equal(m.list[0].fstype, "ext4");
    assert_false(cairn_mount_is_ours(&m.list[0]));
    assert_string_equal(m.list[1].mountpoint, "/mnt/a");
    assert_string_equal(m.list[1].source, "sftp://h/x");
    assert_true(cairn_mount_is_ours(&m.list[1]));
    assert_string_equal(m.list[2].source, "file:///srv");
    cairn_mounts_clear(&m);
}

static void escapes_are_undone(void **state)
{
    struct cairn_mounts m;

    parse("9 2 0:5 / /a\\040b\\011c\\134d\\012 rw - fuse.cairnfs file:///x\\040y rw\n", &m);
    assert_int_equal(m.count, 1);
    assert_string_equal(m.list[0].mountpoint, "/a b\tc\\d\n");
    assert_string_equal(m.list[0].source, "file:///x y");
    cairn_mounts_clear(&m);
}

static void broken_lines_are_skipped(void **state)
{
    struct cairn_mounts m;

    parse("\n-\n1 2 3 4 - ext4 x\n1 2 3:4 / /mnt rw - ext4\n1 2 3:4 / /mnt rw\n\\04\n"
          "9 2 0:5 / /ok\\04 rw - tmpfs none rw",
          &m);
    assert_int_equal(m.count, 1);
    assert_string_equal(m.list[0].mountpoint, "/ok\\04");
    cairn_mounts_clear(&m);
}

static void the_upper_mount_counts(void **state)
{
    struct cairn_mounts m;

    parse("1 0 0:5 / /m rw - fuse.cairnfs file:///a rw\n"
          "2 1 0:6 / /m rw - tmpfs none rw\n"
          "3 1 0:7 / /n rw - tmpfs none rw\n"
          "4 1 0:8 / /n rw - fuse.cairnfs file:///b rw\n",
          &m);
    assert_false(cairn_mount_is_ours(cairn_mounts_at(&m, "/m")));
    assert_true(cairn_mount_is_ours(cairn_mounts_at(&m, "/n")));
    assert_null(cairn_mounts_at(&m, "/"));
    assert_false(cairn_mount_is_ours(NULL));
    cairn_mounts_clear(&m);
}

static void own_mounts_can_be_read(void **state)
{
    struct cairn_mounts m;

    assert_int_equal(cairn_mounts_read(&m), 0);
    assert_true(m.count > 0);
    cairn_mounts_clear(&m);
}

static void paths_within(void **state)
{
    static const struct {
        const char *path, *dir;
        bool within;
    } cases[] = {
        {"/a", "/a", true},    {"/a/b", "/a", true}, {"/ab", "/a", false}, {"/", "/a", false},
        {"/a", "/a/b", false}, {"/a", "/", true},    {"/", "/", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(cairn_path_within(cases[i].path, cases[i].dir), cases[i].within);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_read),           cmocka_unit_test(escapes_are_undone),
        cmocka_unit_test(broken_lines_are_skipped), cmocka_unit_test(the_upper_mount_counts),
        cmocka_unit_test(own_mounts_can_be_read),   cmocka_unit_test(paths_within),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
