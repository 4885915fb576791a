// SPDX-License-Identifier: Apache-2.0
#include "sync/extents.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/util.h"
#include "unit/seed.h"

/* Allocations that still succeed; -1: all do. The linker sends malloc here. */
static int allocations_left = -1;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    return __real_malloc(size);
}

static struct cairn_extent data(uint64_t start, uint64_t end)
{
    return (struct cairn_extent){.start = start, .end = end, .kind = CAIRN_EXTENT_DATA};
}

static struct cairn_extent zero(uint64_t start, uint64_t end)
{
    return (struct cairn_extent){.start = start, .end = end, .kind = CAIRN_EXTENT_ZERO};
}

static struct cairn_extent clone(uint64_t start, uint64_t end, uint64_t content, uint64_t off)
{
    return (struct cairn_extent){.start = start,
                                 .end = end,
                                 .kind = CAIRN_EXTENT_CLONE,
                                 .content = content,
                                 .content_off = off};
}

static void set(struct cairn_extents *map, struct cairn_extent e)
{
    assert_int_equal(cairn_extents_set(map, &e), 0);
}

static bool is_same(const struct cairn_extent *a, const struct cairn_extent *b)
{
    return a->start == b->start && a->end == b->end && a->kind == b->kind &&
           a->content == b->content && a->content_off == b->content_off;
}

/* The map holds exactly these, in order. */
static void assert_map(const struct cairn_extents *map, const struct cairn_extent *expected,
                       size_t count)
{
    uint64_t bytes[CAIRN_EXTENT_KINDS] = {0}, off = 0;
    struct cairn_extent e;
    size_t i = 0;

    for (; cairn_extents_next(map, off, &e); off = e.end, i++) {
        assert_true(i < count);
        assert_true(is_same(&e, &expected[i]));
        bytes[e.kind] += e.end - e.start;
    }
    assert_int_equal(i, count);
    assert_int_equal(cairn_extents_count(map), count);
    for (unsigned k = 0; k < CAIRN_EXTENT_KINDS; k++)
        assert_int_equal(cairn_extents_bytes(map, k), bytes[k]);
}

#define ASSERT_MAP(map, ...)                                                                       \
    assert_map(map, (struct cairn_extent[]){__VA_ARGS__},                                          \
               ARRAY_LEN(((struct cairn_extent[]){__VA_ARGS__})))

static void empty_map_is_one_gap(void **state)
{
    struct cairn_extents map;
    struct cairn_extent e;

    cairn_extents_init(&map);
    assert_false(cairn_extents_find(&map, 5, &e));
    assert_int_equal(e.start, 0);
    assert_int_equal(e.end, UINT64_MAX);
    assert_int_equal(e.kind, CAIRN_EXTENT_BASE);
    assert_false(cairn_extents_next(&map, 0, &e));
    assert_map(&map, NULL, 0);
    cairn_extents_free(&map);
}

static void find_tells_the_gap_between(void **state)
{
    struct cairn_extents map;
    struct cairn_extent e;

    cairn_extents_init(&map);
    set(&map, data(10, 20));
    set(&map, zero(30, 40));
    for (uint64_t off = 20; off < 30; off++) {
        assert_false(cairn_extents_find(&map, off, &e));
        assert_int_equal(e.start, 20);
        assert_int_equal(e.end, 30);
    }
    assert_false(cairn_extents_find(&map, 40, &e));
    assert_int_equal(e.start, 40);
    assert_int_equal(e.end, UINT64_MAX);
    cairn_extents_free(&map);
}

static void middle_of_an_extent_is_overwritten(void **state)
{
    struct cairn_extents map;

    cairn_extents_init(&map);
    set(&map, clone(0, 100, 7, 1000));
    set(&map, data(40, 60));
    ASSERT_MAP(&map, clone(0, 40, 7, 1000), data(40, 60), clone(60, 100, 7, 1060));
    cairn_extents_free(&map);
}

static void many_extents_are_overwritten(void **state)
{
    struct cairn_extents map;

    cairn_extents_init(&map);
    for (uint64_t i = 0; i < 100; i++)
        set(&map, i % 2 ? data(10 * i, 10 * i + 10) : clone(10 * i, 10 * i + 10, i, 0));
    set(&map, zero(5, 995));
    ASSERT_MAP(&map, clone(0, 5, 0, 0), zero(5, 995), data(995, 1000));
    cairn_extents_free(&map);
}

static void neighbours_of_one_kind_merge(void **state)
{
    struct cairn_extents map;

    cairn_extents_init(&map);
    set(&map, data(0, 10));
    set(&map, data(20, 30));
    set(&map, data(10, 20));
    ASSERT_MAP(&map, data(0, 30));
    cairn_extents_free(&map);
}

static void clones_merge_only_if_they_continue(void **state)
{
    struct cairn_extents map;

    cairn_extents_init(&map);
    set(&map, clone(0, 10, 1, 100));
    set(&map, clone(10, 20, 1, 110));
    ASSERT_MAP(&map, clone(0, 20, 1, 100));
    set(&map, clone(20, 30, 1, 121));
    set(&map, clone(30, 40, 2, 131));
    ASSERT_MAP(&map, clone(0, 20, 1, 100), clone(20, 30, 1, 121), clone(30, 40, 2, 131));
    cairn_extents_free(&map);
}

static void content_of_other_kinds_is_ignored(void **state)
{
    struct cairn_extents map;
    struct cairn_extent e = data(0, 10);

    cairn_extents_init(&map);
    e.content = 5;
    e.content_off = UINT64_MAX;
    set(&map, e);
    ASSERT_MAP(&map, data(0, 10));
    cairn_extents_free(&map);
}

static void truncate_cuts_the_extent_across(void **state)
{
    struct cairn_extents map;

    cairn_extents_init(&map);
    set(&map, data(0, 10));
    set(&map, clone(10, 30, 1, 0));
    set(&map, zero(30, 40));
    cairn_extents_truncate(&map, 25);
    ASSERT_MAP(&map, data(0, 10), clone(10, 25, 1, 0));
    cairn_extents_truncate(&map, 10);
    ASSERT_MAP(&map, data(0, 10));
    cairn_extents_truncate(&map, 0);
    assert_map(&map, NULL, 0);
    cairn_extents_free(&map);
}

static void clear_leaves_a_usable_map(void **state)
{
    struct cairn_extents map;

    cairn_extents_init(&map);
    set(&map, data(0, 10));
    cairn_extents_clear(&map);
    assert_map(&map, NULL, 0);
    set(&map, zero(3, 4));
    ASSERT_MAP(&map, zero(3, 4));
    cairn_extents_free(&map);
}

static void bad_extents_are_refused(void **state)
{
    const struct cairn_extent bad[] = {
        data(5, 5),
        data(6, 5),
        {.start = 0, .end = 1, .kind = CAIRN_EXTENT_BASE},
        {.start = 0, .end = 1, .kind = CAIRN_EXTENT_KINDS},
        clone(0, 10, 1, UINT64_MAX - 9),
    };
    struct cairn_extents map;

    cairn_extents_init(&map);
    set(&map, clone(0, 10, 1, UINT64_MAX - 10));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(cairn_extents_set(&map, &bad[i]), -EINVAL);
    ASSERT_MAP(&map, clone(0, 10, 1, UINT64_MAX - 10));
    cairn_extents_free(&map);
}

static void offsets_reach_to_the_largest(void **state)
{
    struct cairn_extents map;
    struct cairn_extent e;

    cairn_extents_init(&map);
    set(&map, data(0, UINT64_MAX));
    assert_true(cairn_extents_find(&map, UINT64_MAX - 1, &e));
    set(&map, zero(UINT64_MAX - 1, UINT64_MAX));
    ASSERT_MAP(&map, data(0, UINT64_MAX - 1), zero(UINT64_MAX - 1, UINT64_MAX));
    assert_false(cairn_extents_next(&map, UINT64_MAX, &e));
    cairn_extents_free(&map);
}

static void failed_allocation_changes_nothing(void **state)
{
    struct cairn_extents map;
    struct cairn_extent e = data(40, 60);

    cairn_extents_init(&map);
    set(&map, clone(0, 100, 7, 0));
    /* It takes two: for the extent and for what is left behind it. */
    for (int successes = 0; successes < 2; successes++) {
        allocations_left = successes;
        int r = cairn_extents_set(&map, &e);
        allocations_left = -1;
        assert_int_equal(r, -ENOMEM);
        ASSERT_MAP(&map, clone(0, 100, 7, 0));
    }
    set(&map, e);
    assert_int_equal(cairn_extents_count(&map), 3);
    cairn_extents_free(&map);
}

static void writing_on_needs_no_memory(void **state)
{
    struct cairn_extents map;

    cairn_extents_init(&map);
    set(&map, data(0, 10));
    allocations_left = 0;
    for (uint64_t i = 1; i < 100; i++)
        set(&map, data(10 * i, 10 * i + 10));
    set(&map, data(500, 700));
    set(&map, data(995, 1001));
    allocations_left = -1;
    ASSERT_MAP(&map, data(0, 1001));
    cairn_extents_free(&map);
}

/* --- The map against an array that says for each byte what it is. --- */

enum { MODEL_MOST = 2000 };

struct model_byte {
    enum cairn_extent_kind kind;
    uint64_t content;
    uint64_t content_off;
};

static struct cairn_extent random_extent(uint64_t most, uint64_t *rng)
{
    uint64_t start = splitmix64(rng) % most;
    uint64_t longest = splitmix64(rng) % 8 ? min_u64(most - start, 1 + most / 10) : most - start;
    uint64_t end = start + 1 + splitmix64(rng) % longest;

    switch (splitmix64(rng) % 4) {
    case 0:
        return data(start, end);
    case 1:
        return zero(start, end);
    default:
        /* Few shifts, so that clones often continue each other. */
        return clone(start, end, 1 + splitmix64(rng) % 2, start + 7 * (splitmix64(rng) % 2));
    }
}

static void apply(struct model_byte *model, const struct cairn_extent *e)
{
    for (uint64_t i = e->start; i < e->end; i++)
        model[i] = (struct model_byte){
            .kind = e->kind,
            .content = e->content,
            .content_off = e->kind == CAIRN_EXTENT_CLONE ? e->content_off + (i - e->start) : 0,
        };
}

static bool goes_on(const struct model_byte *a, const struct model_byte *b)
{
    return a->kind == b->kind && a->content == b->content &&
           b->content_off == a->content_off + (a->kind == CAIRN_EXTENT_CLONE);
}

/* Builds the longest extents that the model allows and compares; every find on the way as well. */
static void assert_equals_model(const struct cairn_extents *map, const struct model_byte *model,
                                uint64_t most)
{
    static struct cairn_extent expected[MODEL_MOST];
    size_t count = 0;
    struct cairn_extent found;

    for (uint64_t i = 0, end; i < most; i = end) {
        for (end = i + 1; end < most && goes_on(&model[end - 1], &model[end]); end++)
            ;
        struct cairn_extent e = {.start = i,
                                 .end = end,
                                 .kind = model[i].kind,
                                 .content = model[i].content,
                                 .content_off = model[i].content_off};
        bool covered = e.kind != CAIRN_EXTENT_BASE;
        if (covered)
            expected[count++] = e;
        else if (end == most)
            e.end = UINT64_MAX;
        for (uint64_t off = i; off < end; off += 1 + (end - i) / 3) {
            assert_int_equal(cairn_extents_find(map, off, &found), covered);
            assert_true(is_same(&found, &e));
        }
    }
    assert_map(map, expected, count);
}

static void check_against_model(uint64_t most, unsigned rounds, bool failing)
{
    uint64_t rng = test_seed();
    AUTO_FREE struct model_byte *model = calloc(MODEL_MOST, sizeof(*model));
    struct cairn_extents map;

    assert_non_null(model);
    cairn_extents_init(&map);
    for (unsigned i = 0; i < rounds; i++) {
        uint64_t choice = splitmix64(&rng) % 100;
        if (choice == 0) {
            cairn_extents_clear(&map);
            memset(model, 0, most * sizeof(*model));
        } else if (choice < 5) {
            uint64_t size = splitmix64(&rng) % (most + most / 2);
            cairn_extents_truncate(&map, size);
            if (size < most)
                memset(model + size, 0, (most - size) * sizeof(*model));
        } else {
            struct cairn_extent e = random_extent(most, &rng);
            if (failing)
                allocations_left = (int)(splitmix64(&rng) % 3);
            int r = cairn_extents_set(&map, &e);
            allocations_left = -1;
            if (r == 0)
                apply(model, &e);
            else
                assert_int_equal(r, failing ? -ENOMEM : 0);
        }
        assert_equals_model(&map, model, most);
    }
    cairn_extents_free(&map);
}

static void small_map_equals_the_model(void **state)
{
    check_against_model(24, 20000, false);
}

static void large_map_equals_the_model(void **state)
{
    check_against_model(MODEL_MOST, 3000, false);
}

static void map_equals_the_model_while_memory_fails(void **state)
{
    check_against_model(60, 10000, true);
}

/* A tree that lost its balance would take hours here, or overflow the stack. */
static void million_extents_in_order(void **state)
{
    const uint64_t many = 1000000;
    struct cairn_extents map;
    struct cairn_extent e;
    uint64_t seen = 0;

    cairn_extents_init(&map);
    for (uint64_t i = 0; i < many; i++)
        set(&map, data(3 * i, 3 * i + 2));
    assert_int_equal(cairn_extents_count(&map), many);
    assert_int_equal(cairn_extents_bytes(&map, CAIRN_EXTENT_DATA), 2 * many);
    for (uint64_t off = 0; cairn_extents_next(&map, off, &e); off = e.end)
        assert_int_equal(e.start, 3 * seen++);
    assert_int_equal(seen, many);
    cairn_extents_truncate(&map, 3 * many / 2);
    assert_int_equal(cairn_extents_count(&map), many / 2);
    cairn_extents_free(&map);
}

static void million_extents_backwards(void **state)
{
    const uint64_t many = 1000000;
    struct cairn_extents map;

    cairn_extents_init(&map);
    for (uint64_t i = many; i-- > 0;)
        set(&map, zero(3 * i, 3 * i + 2));
    assert_int_equal(cairn_extents_count(&map), many);
    set(&map, data(0, 3 * many));
    ASSERT_MAP(&map, data(0, 3 * many));
    cairn_extents_free(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_map_is_one_gap),
        cmocka_unit_test(find_tells_the_gap_between),
        cmocka_unit_test(middle_of_an_extent_is_overwritten),
        cmocka_unit_test(many_extents_are_overwritten),
        cmocka_unit_test(neighbours_of_one_kind_merge),
        cmocka_unit_test(clones_merge_only_if_they_continue),
        cmocka_unit_test(content_of_other_kinds_is_ignored),
        cmocka_unit_test(truncate_cuts_the_extent_across),
        cmocka_unit_test(clear_leaves_a_usable_map),
        cmocka_unit_test(bad_extents_are_refused),
        cmocka_unit_test(offsets_reach_to_the_largest),
        cmocka_unit_test(failed_allocation_changes_nothing),
        cmocka_unit_test(writing_on_needs_no_memory),
        cmocka_unit_test(small_map_equals_the_model),
        cmocka_unit_test(large_map_equals_the_model),
        cmocka_unit_test(map_equals_the_model_while_memory_fails),
        cmocka_unit_test(million_extents_in_order),
        cmocka_unit_test(million_extents_backwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
