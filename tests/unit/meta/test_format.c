// SPDX-License-Identifier: Apache-2.0
/* Records as bytes: the layout is fixed, order of keys is order of numbers, junk is refused. */
#include "fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "meta/format.h"
#include "meta/overlay.h"

static void test_keys_sort_as_numbers(void **state)
{
    uint64_t numbers[] = {0, 1, 255, 256, 65535, 1ull << 32, 1ull << 63, UINT64_MAX};
    for (unsigned i = 1; i < 8; i++) {
        struct kv_key a, b;
        key_cookie(&a, 7, numbers[i - 1]);
        key_cookie(&b, 7, numbers[i]);
        assert_true(overlay_compare(a.bytes, a.len, b.bytes, b.len) < 0);
        key_page(&a, numbers[i - 1], UINT64_MAX);
        key_page(&b, numbers[i], 0);
        assert_true(overlay_compare(a.bytes, a.len, b.bytes, b.len) < 0);
    }
}

static void test_inode_layout_is_fixed(void **state)
{
    struct inode_record rec = {.names = 2, .in = {.mode = 0x11223344, .parent = 5, .size = 0x0102}};
    uint8_t val[INODE_BYTES_MAX];
    strcpy(rec.in.name, "nm");
    assert_int_equal(pack_inode(val, &rec), 170);
    assert_int_equal(val[0], 1);
    assert_int_equal(val[1], 2);
    assert_memory_equal(val + 4, "\x44\x33\x22\x11", 4);
    assert_int_equal(val[24], 2);
    assert_int_equal(val[32], 5);
    assert_memory_equal(val + 48, "\x02\x01\0\0\0\0\0\0", 8);
    assert_memory_equal(val + 168, "nm", 2);
}

static void test_globals_come_back(void **state)
{
    struct globals g = {1, 2, 3, 4, 5, 6, UINT64_MAX}, got = {0};
    uint8_t val[GLOBALS_BYTES];
    assert_int_equal(pack_globals(val, &g), GLOBALS_BYTES);
    assert_ok(unpack_globals(val, sizeof(val), &got));
    assert_memory_equal(&g, &got, sizeof(g));
    assert_int_equal(unpack_globals(val, sizeof(val) - 1, &got), -EIO);
    val[0] = 2;
    assert_int_equal(unpack_globals(val, sizeof(val), &got), -EBADMSG);
}

static void test_bad_pages_are_refused(void **state)
{
    struct cairn_manifest_entry e = make_entry(10, 5, 1), got;
    uint8_t page[PAGE_HEAD_BYTES + PAGE_ENTRY_BYTES];
    pack_page_head(page);
    pack_page_entry(page + PAGE_HEAD_BYTES, &e);
    assert_int_equal(page_count(page, sizeof(page)), 1);
    assert_int_equal(page_count(page, sizeof(page) - 1), -EIO);
    assert_int_equal(page_count(page, 3), -EIO);
    assert_ok(page_entry(page, 0, 0, &got));
    assert_int_equal(page_entry(page, 0, PAGE_NUMBER_MAX, &got), -EIO);
    memset(page + PAGE_HEAD_BYTES + 4, 0, 4); /* empty entry */
    assert_int_equal(page_entry(page, 0, 0, &got), -EIO);
    memset(page + PAGE_HEAD_BYTES, 0xff, 4); /* outside of its page */
    assert_int_equal(page_entry(page, 0, 0, &got), -EIO);
}

/* Junk of each length, each in memory of exactly that size for the sanitizer to watch. */
static void test_junk_never_reads_beyond(void **state)
{
    uint64_t seed = test_seed();
    for (int i = 0; i < 50000; i++) {
        size_t len = (size_t)(next_random(&seed) % 300);
        uint8_t *val = malloc(len ? len : 1);
        for (size_t k = 0; k < len; k++)
            val[k] = (uint8_t)next_random(&seed);
        if (len)
            val[0] = i % 2 ? 1 : (uint8_t) "ICDLMXG"[next_random(&seed) % 7];
        struct inode_record rec;
        struct cairn_manifest_entry e;
        uint64_t a, b;
        char name[CAIRN_NAME_MAX + 1], *target = NULL;
        if (i % 4 == 1 && len > INODE_FIXED_BYTES)
            val[1] = (uint8_t)(len - INODE_FIXED_BYTES);
        unpack_inode(val, len, 1, &rec.in, &rec.names);
        unpack_dirent(val, len, &a, &b);
        unpack_cookie(val, len, &a, name);
        unpack_number(val, len, &a);
        if (unpack_target(val, len, &target) == 0)
            free(target);
        parse_key_cookie(val, len, &a, &b);
        parse_key_page(val, len, &a, &b);
        parse_key_drop(val, len, &a);
        parse_key_link(val, len, &a, &b, name);
        parse_key_dirent(val, len, &a, name);
        int count = page_count(val, len);
        if (count > 0) {
            page_find(val, (unsigned)count, 3, next_random(&seed));
            page_entry(val, (unsigned)count - 1, next_random(&seed), &e);
        }
        free(val);
    }
}

static void test_names_in_records_are_checked(void **state)
{
    uint8_t val[COOKIE_BYTES_MAX];
    char name[CAIRN_NAME_MAX + 1];
    uint64_t ino;
    size_t len = pack_cookie(val, 5, "ab");
    assert_ok(unpack_cookie(val, len, &ino, name));
    assert_string_equal(name, "ab");
    val[len - 1] = '/';
    assert_int_equal(unpack_cookie(val, len, &ino, name), -EIO);
    val[len - 1] = 0;
    assert_int_equal(unpack_cookie(val, len, &ino, name), -EIO);
    assert_int_equal(unpack_cookie(val, 9, &ino, name), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_sort_as_numbers),
        cmocka_unit_test(test_inode_layout_is_fixed),
        cmocka_unit_test(test_globals_come_back),
        cmocka_unit_test(test_bad_pages_are_refused),
        cmocka_unit_test(test_junk_never_reads_beyond),
        cmocka_unit_test(test_names_in_records_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
