// SPDX-License-Identifier: Apache-2.0
#include "cdc/fastcdc.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "cdc/gear.h"
#include "unit/seed.h"

/* The source of bytes that the golden rows name. */
static void fill_splitmix(uint8_t *buf, size_t len, uint64_t state)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t z = splitmix64(&state);
        for (size_t k = 0; k < 8 && i + k < len; k++)
            buf[i + k] = (uint8_t)(z >> (8 * k));
    }
}

static uint8_t *make_stream(const char *name, size_t *ret_len)
{
    uint64_t seed;
    char size[16];
    bool ramp = strcmp(name, "ramp251-1MiB") == 0;
    size_t len = MIB;

    if (sscanf(name, "splitmix64-seed%" SCNu64 "-%15s", &seed, size) == 2)
        len = strcmp(size, "10MiB") == 0 ? 10 * MIB : strtoul(size, NULL, 10);
    else if (!ramp && strcmp(name, "zero-1MiB") != 0)
        fail_msg("unknown stream %s", name);
    else
        size[0] = '\0';

    uint8_t *buf = calloc(1, len);
    assert_non_null(buf);
    if (size[0])
        fill_splitmix(buf, len, seed);
    for (size_t i = 0; ramp && i < len; i++)
        buf[i] = (uint8_t)(i % 251);
    *ret_len = len;
    return buf;
}

static struct cairn_cdc make_cdc(uint32_t min, uint32_t avg, uint32_t max)
{
    struct cairn_cdc cdc;
    struct cairn_cdc_params p = {.min_bytes = min, .avg_bytes = avg, .max_bytes = max};

    assert_int_equal(cairn_cdc_init(&cdc, &p), 0);
    return cdc;
}

static void cuts_are_the_golden_ones(void **state)
{
    FILE *f = fopen(*state, "re");
    AUTO_FREE char *line = NULL;
    size_t room = 0;
    unsigned rows = 0;

    assert_non_null(f);
    while (getline(&line, &room, f) > 0) {
        char name[64];
        uint32_t min, avg, max;
        size_t count, len;
        int at;

        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%63s %" SCNu32 " %" SCNu32 " %" SCNu32 " %zu %n", name, &min,
                                &avg, &max, &count, &at),
                         5);
        struct cairn_cdc cdc = make_cdc(min, avg, max);
        AUTO_FREE uint8_t *buf = make_stream(name, &len);
        const char *p = line + at;
        size_t off = 0;
        for (size_t i = 0; i < count; i++) {
            char *end;
            size_t expected = strtoul(p, &end, 10);
            assert_int_equal(cairn_cdc_cut(&cdc, buf + off, len - off), expected);
            off += expected;
            p = end + 1;
        }
        assert_int_equal(off, len);
        rows++;
    }
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rows, 15);
}

/*
 * The definition, a byte at a time, as the paper's figure has it: the reference for parameters and
 * ends of streams that the golden rows do not have.
 */
static size_t cut_plainly(const struct cairn_cdc *cdc, const uint8_t *buf, size_t len)
{
    const struct cairn_cdc_params *p = &cdc->params;
    uint64_t hash = 0;

    if (len <= p->min_bytes)
        return len;
    if (len > p->max_bytes)
        len = p->max_bytes;
    for (size_t i = p->min_bytes / 2; i < len / 2; i++) {
        uint64_t mask = 2 * i < p->avg_bytes ? cdc->mask_small : cdc->mask_large;
        hash = (hash << 2) + (cairn_gear[buf[2 * i]] << 1);
        if (!(hash & (mask << 1)))
            return 2 * i;
        hash += cairn_gear[buf[2 * i + 1]];
        if (!(hash & mask))
            return 2 * i + 1;
    }
    return len;
}

static struct cairn_cdc random_cdc(uint64_t *rng)
{
    uint32_t avg = 256U << (splitmix64(rng) % 5);
    uint32_t min = 64 + (uint32_t)(splitmix64(rng) % (avg - 63));
    uint32_t least = avg < 1024 ? 1024 : avg;
    uint32_t max = least + (uint32_t)(splitmix64(rng) % (4 * avg));
    return make_cdc(min, avg, max);
}

/* Random bytes, with runs of one value between them. */
static size_t random_stream(uint8_t *buf, size_t most, uint64_t *rng)
{
    size_t len = splitmix64(rng) % (most + 1);

    fill_splitmix(buf, len, splitmix64(rng));
    if (len > 0 && splitmix64(rng) % 4 == 0) {
        size_t from = splitmix64(rng) % len;
        memset(buf + from, (int)(splitmix64(rng) & 255), (len - from) / 2);
    }
    return len;
}

enum { STREAM_MOST = 100000 };

static void cut_is_what_the_definition_says(void **state)
{
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *buf = malloc(STREAM_MOST);

    assert_non_null(buf);
    for (unsigned round = 0; round < 300; round++) {
        struct cairn_cdc cdc = random_cdc(&rng);
        size_t len = random_stream(buf, STREAM_MOST, &rng);
        for (size_t off = 0; off < len;) {
            size_t n = cairn_cdc_cut(&cdc, buf + off, len - off);
            assert_int_equal(n, cut_plainly(&cdc, buf + off, len - off));
            off += n;
        }
    }
}

static void cut_needs_no_more_than_the_longest_chunk(void **state)
{
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *buf = malloc(STREAM_MOST);

    assert_non_null(buf);
    for (unsigned round = 0; round < 100; round++) {
        struct cairn_cdc cdc = random_cdc(&rng);
        size_t len = random_stream(buf, STREAM_MOST, &rng);
        size_t enough = min_u64(len, cdc.params.max_bytes);
        assert_int_equal(cairn_cdc_cut(&cdc, buf, enough), cairn_cdc_cut(&cdc, buf, len));
    }
}

/* Sizes of pieces from 0 on, most of them small or near the interesting lengths. */
static size_t random_piece(const struct cairn_cdc *cdc, uint64_t *rng)
{
    switch (splitmix64(rng) % 4) {
    case 0:
        return splitmix64(rng) % 4;
    case 1:
        return cdc->params.min_bytes - 2 + splitmix64(rng) % 5;
    case 2:
        return splitmix64(rng) % 300;
    default:
        return splitmix64(rng) % (2 * (uint64_t)cdc->params.max_bytes);
    }
}

/* Feeds `buf` in random pieces, each a heap block of its own size, and compares each cut with
 * those of the whole. */
static void assert_split_cuts_are_equal(const struct cairn_cdc *cdc, const uint8_t *buf, size_t len,
                                        uint64_t start, bool single, uint64_t *rng)
{
    struct cairn_chunker c;
    size_t off = 0, fed = 0;
    uint64_t end;

    cairn_chunker_init(&c, cdc, start);
    while (fed < len) {
        size_t n = min_u64(single ? 1 : random_piece(cdc, rng), len - fed), left = n;
        AUTO_FREE uint8_t *piece = malloc(n ? n : 1);
        const uint8_t *p = piece;
        assert_non_null(piece);
        memcpy(piece, buf + fed, n);
        while (cairn_chunker_feed(&c, &p, &left, &end)) {
            off += cairn_cdc_cut(cdc, buf + off, len - off);
            assert_int_equal(end, start + off);
            assert_ptr_equal(p + left, piece + n);
        }
        assert_int_equal(left, 0);
        assert_ptr_equal(p, piece + n);
        fed += n;
    }
    if (cairn_chunker_finish(&c, &end)) {
        off += cairn_cdc_cut(cdc, buf + off, len - off);
        assert_int_equal(end, start + off);
    }
    assert_int_equal(off, len);
    assert_false(cairn_chunker_finish(&c, &end));
}

static void cuts_do_not_depend_on_the_pieces(void **state)
{
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *buf = malloc(STREAM_MOST);

    assert_non_null(buf);
    for (unsigned round = 0; round < 400; round++) {
        struct cairn_cdc cdc = random_cdc(&rng);
        size_t len = random_stream(buf, STREAM_MOST, &rng);
        assert_split_cuts_are_equal(&cdc, buf, len, splitmix64(&rng) >> 1, false, &rng);
    }
}

static void cuts_do_not_depend_on_the_pieces_of_one_byte(void **state)
{
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *buf = malloc(STREAM_MOST);

    assert_non_null(buf);
    for (unsigned round = 0; round < 20; round++) {
        struct cairn_cdc cdc = random_cdc(&rng);
        size_t len = random_stream(buf, STREAM_MOST, &rng);
        assert_split_cuts_are_equal(&cdc, buf, len, 0, true, &rng);
    }
}

static void cuts_do_not_depend_on_the_pieces_by_default(void **state)
{
    uint64_t rng = test_seed();
    struct cairn_cdc cdc;
    struct cairn_cdc_params p = CAIRN_CDC_DEFAULT;
    size_t len = 4 * MIB + 1;
    AUTO_FREE uint8_t *buf = malloc(len);

    assert_non_null(buf);
    assert_int_equal(cairn_cdc_init(&cdc, &p), 0);
    fill_splitmix(buf, len, splitmix64(&rng));
    assert_split_cuts_are_equal(&cdc, buf, len, 0, false, &rng);
}

static void zeros_are_cut_at_the_longest(void **state)
{
    struct cairn_cdc cdc = make_cdc(16384, 65536, 262144);
    AUTO_FREE uint8_t *buf = calloc(1, 600000);

    assert_non_null(buf);
    assert_int_equal(cairn_cdc_cut(&cdc, buf, 600000), 262144);
    assert_int_equal(cairn_cdc_cut(&cdc, buf, 262145), 262144);
    assert_int_equal(cairn_cdc_cut(&cdc, buf, 262143), 262143);
}

static void short_streams_are_one_chunk(void **state)
{
    uint64_t rng = test_seed();
    struct cairn_cdc cdc = make_cdc(16384, 65536, 262144);
    AUTO_FREE uint8_t *buf = malloc(16384);

    assert_non_null(buf);
    fill_splitmix(buf, 16384, splitmix64(&rng));
    for (size_t len = 0; len <= 16384; len += len < 4 ? 1 : 4095)
        assert_int_equal(cairn_cdc_cut(&cdc, buf, len), len);
}

static void empty_stream_has_no_chunk(void **state)
{
    struct cairn_cdc cdc = make_cdc(16384, 65536, 262144);
    struct cairn_chunker c;
    const uint8_t *p = (const uint8_t *)"";
    size_t n = 0;
    uint64_t end = 7;

    cairn_chunker_init(&c, &cdc, 0);
    assert_false(cairn_chunker_feed(&c, &p, &n, &end));
    assert_false(cairn_chunker_finish(&c, &end));
    assert_int_equal(end, 7);
}

/* What write-back builds on: after an insertion, cuts fall on the old ones again. */
static void cuts_come_together_after_an_insertion(void **state)
{
    uint64_t rng = test_seed();
    struct cairn_cdc cdc = make_cdc(2048, 8192, 65536);
    size_t len = MIB, old = 0, new = 0;
    AUTO_FREE uint8_t *buf = malloc(len + 100);

    assert_non_null(buf);
    /* The original begins at byte 100; the first 100 are the insertion before it. */
    fill_splitmix(buf, len + 100, splitmix64(&rng));
    while (old + 100 != new &&old < len &&new < len + 100) {
        if (old + 100 < new)
            old += cairn_cdc_cut(&cdc, buf + 100 + old, len - old);
        else
            new += cairn_cdc_cut(&cdc, buf + new, len + 100 - new);
    }
    assert_true(old < len / 2);
}

static void bad_parameters_are_refused(void **state)
{
    static const struct cairn_cdc_params bad[] = {
        {63, 256, 1024},         {64, 128, 1024},
        {64, 256, 1023},         {1048577, 2097152, 4194304},
        {64, 8388608, 16777216}, {64, 256, 16777217},
        {512, 256, 1024},        {64, 2048, 1024},
        {16384, 65537, 262144},  {16384, 65535, 262144},
        {16384, 98304, 262144},  {0, 0, 0},
    };
    struct cairn_cdc cdc = make_cdc(64, 256, 1024), before = cdc;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(cairn_cdc_params_check(&bad[i]), -EINVAL);
        assert_int_equal(cairn_cdc_init(&cdc, &bad[i]), -EINVAL);
    }
    assert_memory_equal(&cdc, &before, sizeof(cdc));
}

static void parameters_at_the_bounds_are_taken(void **state)
{
    static const struct cairn_cdc_params good[] = {
        CAIRN_CDC_DEFAULT, {64, 256, 1024},    {1048576, 4194304, 16777216},
        {65, 1024, 1025},  {1024, 1024, 1024},
    };

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(cairn_cdc_params_check(&good[i]), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(cuts_are_the_golden_ones, argv[argc - 1]),
        cmocka_unit_test(cut_is_what_the_definition_says),
        cmocka_unit_test(cut_needs_no_more_than_the_longest_chunk),
        cmocka_unit_test(cuts_do_not_depend_on_the_pieces),
        cmocka_unit_test(cuts_do_not_depend_on_the_pieces_of_one_byte),
        cmocka_unit_test(cuts_do_not_depend_on_the_pieces_by_default),
        cmocka_unit_test(zeros_are_cut_at_the_longest),
        cmocka_unit_test(short_streams_are_one_chunk),
        cmocka_unit_test(empty_stream_has_no_chunk),
        cmocka_unit_test(cuts_come_together_after_an_insertion),
        cmocka_unit_test(bad_parameters_are_refused),
        cmocka_unit_test(parameters_at_the_bounds_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
