// SPDX-License-Identifier: Apache-2.0
#include "cdc/chunkid.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/util.h"

static void assert_id_text(const void *data, size_t len, const char *expected)
{
    char text[CAIRN_CHUNK_ID_TEXT];
    struct cairn_chunk_id id = cairn_chunk_id_of(data, len);

    assert_string_equal(cairn_chunk_id_format(&id, text), expected);
}

static void empty_input_has_the_specified_id(void **state)
{
    assert_id_text(NULL, 0, "99aa06d3014798d86001c324468d497f");
}

/* Input and, up to 2367 bytes, expected values of xxHash's own sanity check; beyond that, values of
 * the library's scalar code, which the vector code that is really used must equal. */
static void ids_are_those_of_the_specification(void **state)
{
    static const struct {
        size_t len;
        const char *text;
    } vectors[] = {
        {1, "a6cd5e9392000f6ac44bdff4074eecdb"},      {6, "082afe0b8162d12a3e7039bdda43cfc6"},
        {12, "6e3efd8fc7802b18061a192713f69ad9"},     {24, "0ce966e4678d37611e7044d28b1b901d"},
        {48, "a002ac4e5478227ef942219aed80f67b"},     {81, "4952f58181ab00425e8bafb9f95fb803"},
        {222, "337e09641b948717f1aebd597cec6b3a"},    {403, "1b6de21e332dd73dcdeb804d65c6dea4"},
        {512, "18d2d110dcc9bca1617e49599013cb6b"},    {2048, "f736557fd47073a5dd59e2c3a5f038e0"},
        {2240, "ccb134fbfa7ce49d6e73a90539cf2948"},   {2367, "e89c0f6ff369b427cb37aeb9e5d361ed"},
        {16384, "035fd334e0a37a89edd17b079a94769e"},  {65536, "deafbd9df07edb70918f7f0f912ca480"},
        {262144, "03e8c2cf878f8af270bce4d830270554"},
    };
    size_t most = vectors[ARRAY_LEN(vectors) - 1].len;
    AUTO_FREE uint8_t *data = malloc(most);
    uint64_t generator = 2654435761U;

    assert_non_null(data);
    for (size_t i = 0; i < most; i++) {
        data[i] = (uint8_t)(generator >> 56);
        generator *= 11400714785074694797ULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
        assert_id_text(data, vectors[i].len, vectors[i].text);
}

static void format_and_parse_are_inverse(void **state)
{
    for (unsigned i = 0; i < 1000; i++) {
        struct cairn_chunk_id id = cairn_chunk_id_of(&i, sizeof(i)), back;
        char text[CAIRN_CHUNK_ID_TEXT];

        assert_int_equal(cairn_chunk_id_parse(cairn_chunk_id_format(&id, text), &back), 0);
        assert_true(cairn_chunk_id_equal(&id, &back));
    }
}

static void parse_refuses_all_else(void **state)
{
    static const char *const bad[] = {
        "",
        "0",
        "99aa06d3014798d86001c324468d497",
        "99aa06d3014798d86001c324468d497f0",
        "99aa06d3014798d86001c324468d497f ",
        " 99aa06d3014798d86001c324468d497f",
        "99AA06D3014798D86001C324468D497F",
        "99aa06d3014798d86001c324468d497g",
        "99aa06d3014798d86001c324468d49/f",
        "99aa06d3014798d86001c324468d49:f",
        "0x99aa06d3014798d86001c324468d49",
        "99aa06d3-014798d86001c324468d497",
    };
    struct cairn_chunk_id untouched = cairn_chunk_id_of("x", 1), id = untouched;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        /* A heap copy, so that a sanitizer sees a read beyond the NUL. */
        AUTO_FREE char *text = strdup(bad[i]);
        assert_non_null(text);
        assert_int_equal(cairn_chunk_id_parse(text, &id), -EINVAL);
        assert_true(cairn_chunk_id_equal(&id, &untouched));
    }
}

static void each_byte_counts_in_equality(void **state)
{
    struct cairn_chunk_id a = cairn_chunk_id_of("cairn", 5);

    for (size_t i = 0; i < CAIRN_CHUNK_ID_BYTES; i++) {
        struct cairn_chunk_id b = a;
        assert_true(cairn_chunk_id_equal(&a, &b));
        b.bytes[i] ^= 1;
        assert_false(cairn_chunk_id_equal(&a, &b));
    }
}

static void each_byte_counts_in_null(void **state)
{
    struct cairn_chunk_id id = {{0}};

    assert_true(cairn_chunk_id_is_null(&id));
    for (size_t i = 0; i < CAIRN_CHUNK_ID_BYTES; i++) {
        id.bytes[i] = 1;
        assert_false(cairn_chunk_id_is_null(&id));
        id.bytes[i] = 0;
    }
}

static void hash_spreads_ids(void **state)
{
    unsigned used[256] = {0};

    for (unsigned i = 0; i < 25600; i++) {
        struct cairn_chunk_id id = cairn_chunk_id_of(&i, sizeof(i));
        used[cairn_chunk_id_hash(&id) & 255]++;
    }
    for (unsigned i = 0; i < 256; i++)
        assert_in_range(used[i], 50, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_input_has_the_specified_id),
        cmocka_unit_test(ids_are_those_of_the_specification),
        cmocka_unit_test(format_and_parse_are_inverse),
        cmocka_unit_test(parse_refuses_all_else),
        cmocka_unit_test(each_byte_counts_in_equality),
        cmocka_unit_test(each_byte_counts_in_null),
        cmocka_unit_test(hash_spreads_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
