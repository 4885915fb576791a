// SPDX-License-Identifier: Apache-2.0
/* Sizes, durations and distances: tables of cases, and a round trip with random numbers. */
#include "base/parse.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"

static void sizes_are_read(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        {"0", 0},
        {"4096", 4096},
        {"4096B", 4096},
        {"10K", 10240},
        {"10k", 10240},
        {"10KiB", 10240},
        {"10KB", 10000},
        {"512MiB", 512 * MIB},
        {"512mib", 512 * MIB},
        {"3MB", 3000000},
        {"10G", 10 * GIB},
        {"10GiB", 10 * GIB},
        {"1.5GiB", GIB + GIB / 2},
        {"0.5KB", 500},
        {"1.1K", 1126},
        {"1.0000000000000000000001K", 1024},
        {"2T", 2048 * GIB},
        {"1P", 1024 * 1024 * GIB},
        {"15.5E", 15 * (1ULL << 60) + (1ULL << 59)},
        {"18446744073709551615", UINT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t v = 77;
        int r = cairn_parse_size(cases[i].text, &v);
        if (r || v != cases[i].bytes)
            fail_msg("%s: %d, %llu", cases[i].text, r, (unsigned long long)v);
    }
}

static void no_sizes_are_refused(void **state)
{
    static const struct {
        const char *text;
        int error;
    } cases[] = {
        {"", -EINVAL},
        {" 1", -EINVAL},
        {"1 ", -EINVAL},
        {"-1", -EINVAL},
        {"+1", -EINVAL},
        {"1.5", -EINVAL},
        {"1.5B", -EINVAL},
        {".5K", -EINVAL},
        {"1.K", -EINVAL},
        {"1..5K", -EINVAL},
        {"1Ki", -EINVAL},
        {"1KK", -EINVAL},
        {"0x10", -EINVAL},
        {"1e3", -EINVAL},
        {"inf", -EINVAL},
        {"K", -EINVAL},
        {"1,5K", -EINVAL},
        {"1K;", -EINVAL},
        {"16E", -ERANGE},
        {"15.99E", 0},
        {"99999999999999999999", -ERANGE},
        {"18446744073709551616", -ERANGE},
        {"18014398509481984K", -ERANGE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t v = 77;
        int r = cairn_parse_size(cases[i].text, &v);
        if (r != cases[i].error || (r && v != 77))
            fail_msg("'%s': %d, %llu", cases[i].text, r, (unsigned long long)v);
    }
}

static void durations_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {
        {"0", 0},
        {"0s", 0},
        {"5", 5 * NSEC_PER_SEC},
        {"5s", 5 * NSEC_PER_SEC},
        {"500ms", 500 * NSEC_PER_MSEC},
        {"0.5s", 500 * NSEC_PER_MSEC},
        {"1.5", 1500 * NSEC_PER_MSEC},
        {"20us", 20000},
        {"7ns", 7},
        {"2m", 120 * NSEC_PER_SEC},
        {"2min", 120 * NSEC_PER_SEC},
        {"1h", 3600 * NSEC_PER_SEC},
        {"2d", 2 * 86400 * NSEC_PER_SEC},
        {"inf", CAIRN_NEVER},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t v = 77;
        int r = cairn_parse_duration(cases[i].text, &v);
        if (r || v != cases[i].ns)
            fail_msg("%s: %d, %lld", cases[i].text, r, (long long)v);
    }
}

static void no_durations_are_refused(void **state)
{
    static const struct {
        const char *text;
        int error;
    } cases[] = {
        {"", -EINVAL},      {"s", -EINVAL},        {"-5s", -EINVAL},
        {"5 s", -EINVAL},   {"5S", -EINVAL},       {"5M", -EINVAL},
        {"INF", -EINVAL},   {"infinite", -EINVAL}, {"5sec", -EINVAL},
        {"1.5ns", -EINVAL}, {"106752d", -ERANGE},  {"9223372036854775807ns", -ERANGE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t v = 77;
        int r = cairn_parse_duration(cases[i].text, &v);
        if (r != cases[i].error || v != 77)
            fail_msg("'%s': %d, %lld", cases[i].text, r, (long long)v);
    }
}

static void sizes_as_text_read_back(void **state)
{
    const char *env = getenv("CAIRN_SEED");
    unsigned seed = env ? (unsigned)strtoul(env, NULL, 0) : (unsigned)time(NULL);

    print_message("CAIRN_SEED=%u\n", seed);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = ((uint64_t)rand_r(&seed) << 42) ^ ((uint64_t)rand_r(&seed) << 21) ^
                        (uint64_t)rand_r(&seed);
        uint64_t v = bits >> (rand_r(&seed) % 60), back;
        char text[32];
        snprintf(text, sizeof text, "%llu", (unsigned long long)v);
        assert_int_equal(cairn_parse_size(text, &back), 0);
        assert_true(back == v);
        snprintf(text, sizeof text, "%lluKiB", (unsigned long long)v);
        int r = cairn_parse_size(text, &back);
        assert_int_equal(r, v > UINT64_MAX / 1024 ? -ERANGE : 0);
        if (!r)
            assert_true(back == v * 1024);
    }
}

static void distance_counts_changes(void **state)
{
    static const struct {
        const char *a, *b;
        unsigned d;
    } cases[] = {
        {"", "", 0},
        {"", "abc", 3},
        {"cache", "cache", 0},
        {"cahce", "cache", 1},
        {"cach", "cache", 1},
        {"caches", "cache", 1},
        {"kache", "cache", 1},
        {"memroy", "memory", 1},
        {"ro", "rw", 1},
        {"kitten", "sitting", 3},
        {"allow_other", "allow-other", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(cairn_edit_distance(cases[i].a, cases[i].b), cases[i].d);
        assert_int_equal(cairn_edit_distance(cases[i].b, cases[i].a), cases[i].d);
    }
}

static void distance_survives_long_names(void **state)
{
    char name[1000];

    for (size_t i = 0; i < sizeof name - 1; i++)
        name[i] = 'a';
    name[sizeof name - 1] = '\0';
    assert_true(cairn_edit_distance(name, "cache") == UINT32_MAX);
    assert_true(cairn_edit_distance(name, name) == 0);
}

static void sizes_are_written_for_people(void **state)
{
    char buf[CAIRN_SIZE_TEXT];

    assert_string_equal(cairn_format_size(buf, 0), "0 B");
    assert_string_equal(cairn_format_size(buf, 1023), "1023 B");
    assert_string_equal(cairn_format_size(buf, 1024), "1.0 KiB");
    assert_string_equal(cairn_format_size(buf, MIB - 1), "1.0 MiB");
    assert_string_equal(cairn_format_size(buf, 10 * GIB), "10.0 GiB");
    assert_string_equal(cairn_format_size(buf, UINT64_MAX), "16.0 EiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_read),
        cmocka_unit_test(no_sizes_are_refused),
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(no_durations_are_refused),
        cmocka_unit_test(sizes_as_text_read_back),
        cmocka_unit_test(distance_counts_changes),
        cmocka_unit_test(distance_survives_long_names),
        cmocka_unit_test(sizes_are_written_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
