// SPDX-License-Identifier: Apache-2.0
/* The bytes of SFTP: what is written reads back, and no bytes make a reader leave its buffer. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "origins/sftp_wire.h"

static uint64_t next_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t seed(void)
{
    const char *given = getenv("CAIRN_SEED");
    uint64_t s = given ? strtoull(given, NULL, 0) : (uint64_t)cairn_now_ns();
    print_message("CAIRN_SEED=%llu\n", (unsigned long long)s);
    return s;
}

static void test_packet_is_framed(void **state)
{
    uint8_t buf[64];
    struct sftp_writer w = {.buf = buf, .cap = sizeof buf};
    sftp_packet_begin(&w, SFTP_LSTAT);
    sftp_put_u32(&w, 0x01020304);
    sftp_put_cstring(&w, "ab");
    sftp_packet_end(&w);
    static const uint8_t expected[] = {0, 0, 0, 11, 7, 1, 2, 3, 4, 0, 0, 0, 2, 'a', 'b'};
    assert_int_equal(w.len, sizeof expected);
    assert_memory_equal(buf, expected, sizeof expected);
    assert_false(w.overflow);
}

static void test_numbers_and_strings_read_back(void **state)
{
    uint8_t buf[64];
    struct sftp_writer w = {.buf = buf, .cap = sizeof buf};
    sftp_put_u8(&w, 0xfe);
    sftp_put_u32(&w, 0xdeadbeef);
    sftp_put_u64(&w, 0x0123456789abcdefu);
    sftp_put_string(&w, "x\0y", 3);
    struct sftp_reader r = {.p = buf, .left = w.len};
    assert_int_equal(sftp_get_u8(&r), 0xfe);
    assert_int_equal(sftp_get_u32(&r), 0xdeadbeef);
    assert_true(sftp_get_u64(&r) == 0x0123456789abcdefu);
    size_t n;
    const uint8_t *p = sftp_get_string(&r, &n);
    assert_int_equal(n, 3);
    assert_memory_equal(p, "x\0y", 3);
    assert_int_equal(r.left, 0);
    assert_false(r.bad);
}

static void test_attributes_read_back(void **state)
{
    for (uint32_t flags = 0; flags < 16; flags++) {
        uint8_t buf[64];
        struct sftp_writer w = {.buf = buf, .cap = sizeof buf};
        struct sftp_attrs a = {.flags = flags,
                               .uid = 1,
                               .gid = 2,
                               .permissions = 0100644,
                               .atime = 3,
                               .mtime = 4,
                               .size = 1ull << 40};
        sftp_put_attrs(&w, &a);
        struct sftp_reader r = {.p = buf, .left = w.len};
        struct sftp_attrs b = {0};
        sftp_get_attrs(&r, &b);
        assert_false(r.bad);
        assert_int_equal(r.left, 0);
        assert_int_equal(b.flags, flags);
        assert_true(b.size == (flags & SFTP_ATTR_SIZE ? a.size : 0));
        assert_int_equal(b.gid, flags & SFTP_ATTR_UIDGID ? 2 : 0);
        assert_int_equal(b.permissions, flags & SFTP_ATTR_PERMISSIONS ? 0100644 : 0);
        assert_int_equal(b.mtime, flags & SFTP_ATTR_ACMODTIME ? 4 : 0);
    }
}

static void test_extended_attributes_are_skipped(void **state)
{
    uint8_t buf[64];
    struct sftp_writer w = {.buf = buf, .cap = sizeof buf};
    sftp_put_u32(&w, SFTP_ATTR_EXTENDED | SFTP_ATTR_SIZE);
    sftp_put_u64(&w, 7);
    sftp_put_u32(&w, 1);
    sftp_put_cstring(&w, "acl@x");
    sftp_put_cstring(&w, "rwx");
    sftp_put_u8(&w, 0x55);
    struct sftp_reader r = {.p = buf, .left = w.len};
    struct sftp_attrs a = {0};
    sftp_get_attrs(&r, &a);
    assert_true(a.size == 7);
    assert_int_equal(sftp_get_u8(&r), 0x55);
}

static void test_writer_stops_at_its_end(void **state)
{
    uint8_t buf[16];
    memset(buf, 0xaa, sizeof buf);
    struct sftp_writer w = {.buf = buf, .cap = 8};
    sftp_put_u32(&w, 1);
    sftp_put_cstring(&w, "much too long");
    assert_true(w.overflow);
    sftp_put_u8(&w, 1);
    assert_true(w.overflow && w.len <= 8);
    for (size_t i = 8; i < sizeof buf; i++)
        assert_int_equal(buf[i], 0xaa);
}

static void test_string_longer_than_the_bytes_is_bad(void **state)
{
    static const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff, 'a', 'b'};
    struct sftp_reader r = {.p = bytes, .left = sizeof bytes};
    size_t n = 1;
    assert_null(sftp_get_string(&r, &n));
    assert_int_equal(n, 0);
    assert_true(r.bad);
    assert_int_equal(sftp_get_u32(&r), 0);
}

static void test_endless_extended_attributes_end(void **state)
{
    static const uint8_t bytes[] = {0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0};
    struct sftp_reader r = {.p = bytes, .left = sizeof bytes};
    struct sftp_attrs a = {.size = 42};
    sftp_get_attrs(&r, &a);
    assert_true(r.bad);
    assert_true(a.size == 42); /* untouched */
}

/* Random bytes in an exact allocation: a sanitizer sees any step outside. */
static void test_any_bytes_stay_inside(void **state)
{
    uint64_t rng = seed();
    for (int round = 0; round < 20000; round++) {
        size_t len = next_random(&rng) % 48;
        uint8_t *bytes = malloc(len ? len : 1);
        for (size_t i = 0; i < len; i++) {
            uint64_t v = next_random(&rng);
            bytes[i] =
                v & 0x300 ? (uint8_t)(v & 3) : (uint8_t)v; /* small lengths are the hard ones */
        }
        struct sftp_reader r = {.p = bytes, .left = len};
        while (r.left && !r.bad) {
            size_t n;
            struct sftp_attrs a;
            const uint8_t *p;
            switch (next_random(&rng) % 4) {
            case 0:
                sftp_get_u8(&r);
                break;
            case 1:
                sftp_get_u64(&r);
                break;
            case 2:
                p = sftp_get_string(&r, &n);
                assert_true(!p || (p >= bytes && p + n <= bytes + len));
                break;
            default:
                sftp_get_attrs(&r, &a);
            }
            assert_true(r.left <= len);
        }
        free(bytes);
    }
}

static void test_status_codes_have_distinct_errnos(void **state)
{
    assert_int_equal(sftp_status_errno(SFTP_FX_OK), 0);
    assert_int_equal(sftp_status_errno(SFTP_FX_EOF), -ENODATA);
    assert_int_equal(sftp_status_errno(SFTP_FX_NO_SUCH_FILE), -ENOENT);
    assert_int_equal(sftp_status_errno(SFTP_FX_PERMISSION_DENIED), -EACCES);
    assert_int_equal(sftp_status_errno(SFTP_FX_FAILURE), -EIO);
    assert_int_equal(sftp_status_errno(SFTP_FX_BAD_MESSAGE), -EINVAL);
    assert_int_equal(sftp_status_errno(SFTP_FX_CONNECTION_LOST), -ECONNRESET);
    assert_int_equal(sftp_status_errno(SFTP_FX_OP_UNSUPPORTED), -EOPNOTSUPP);
    assert_int_equal(sftp_status_errno(4711), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packet_is_framed),
        cmocka_unit_test(test_numbers_and_strings_read_back),
        cmocka_unit_test(test_attributes_read_back),
        cmocka_unit_test(test_extended_attributes_are_skipped),
        cmocka_unit_test(test_writer_stops_at_its_end),
        cmocka_unit_test(test_string_longer_than_the_bytes_is_bad),
        cmocka_unit_test(test_endless_extended_attributes_end),
        cmocka_unit_test(test_any_bytes_stay_inside),
        cmocka_unit_test(test_status_codes_have_distinct_errnos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
