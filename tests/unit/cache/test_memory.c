// SPDX-License-Identifier: Apache-2.0
#include "cache/memory.h"

#include <pthread.h>

#include "unit/cache/support.h"

static struct cairn_memory *make_memory(uint64_t bytes)
{
    struct cairn_memory *m;
    assert_int_equal(cairn_memory_new(&m, bytes, NULL), 0);
    return m;
}

static void put(struct cairn_memory *m, uint64_t n, uint32_t len)
{
    struct cairn_chunk *c = make_chunk(n, len, false);
    cairn_memory_put(m, c);
    cairn_chunk_unref(c);
}

/* A chunk whose id is made up: these tests care for queues, not for bytes. */
static struct cairn_chunk *named_chunk(uint64_t n, uint32_t len)
{
    struct cairn_chunk *c = cairn_chunk_new(len);
    assert_non_null(c);
    uint64_t words[2] = {n, ~n};
    c->id = cairn_chunk_id_of(words, sizeof(words));
    memcpy(c->data, &n, sizeof(n));
    return c;
}

/* Gets chunk n, or puts it if it is not there. True: it was there. */
static bool use(struct cairn_memory *m, uint64_t n, uint32_t len)
{
    struct cairn_chunk *c = named_chunk(n, len);
    struct cairn_chunk *got = cairn_memory_get(m, &c->id);
    if (got)
        assert_memory_equal(got->data, &n, sizeof(n));
    else
        cairn_memory_put(m, c);
    cairn_chunk_unref(got);
    cairn_chunk_unref(c);
    return got != NULL;
}

static void a_chunk_is_found_again(void **state)
{
    (void)state;
    struct cairn_memory *m = make_memory(MIB);
    struct cairn_chunk *c = make_chunk(1, 1000, false);
    assert_null(cairn_memory_get(m, &c->id));
    assert_false(cairn_memory_has(m, &c->id));
    cairn_memory_put(m, c);
    cairn_memory_put(m, c);
    assert_true(cairn_memory_has(m, &c->id));
    struct cairn_chunk *got = cairn_memory_get(m, &c->id);
    assert_ptr_equal(got, c);
    struct cairn_memory_stats stats;
    cairn_memory_stats(m, &stats);
    assert_int_equal(stats.chunks, 1);
    assert_int_equal(stats.bytes, 1000);
    cairn_chunk_unref(got);
    cairn_chunk_unref(c);
    cairn_memory_free(m);
}

static void a_reference_outlives_the_tier(void **state)
{
    (void)state;
    struct cairn_memory *m = make_memory(MIB);
    put(m, 7, 5000);
    struct cairn_chunk *want = make_chunk(7, 5000, false);
    struct cairn_chunk *got = cairn_memory_get(m, &want->id);
    cairn_memory_free(m);
    assert_same_chunk(got, want);
    cairn_chunk_unref(got);
    cairn_chunk_unref(want);
}

static void a_chunk_too_large_for_its_shard_is_not_kept(void **state)
{
    (void)state;
    struct cairn_memory *m = make_memory(100000);
    put(m, 1, 200000);
    struct cairn_memory_stats stats;
    cairn_memory_stats(m, &stats);
    assert_int_equal(stats.chunks, 0);
    cairn_memory_free(m);

    m = make_memory(0);
    put(m, 1, 1);
    cairn_memory_stats(m, &stats);
    assert_int_equal(stats.chunks, 0);
    cairn_memory_free(m);
}

static void the_bound_holds_after_every_put(void **state)
{
    (void)state;
    uint64_t seed = test_seed();
    for (unsigned round = 0; round < 5; round++) {
        uint64_t bytes = 100000 + splitmix64(&seed) % (80 * MIB);
        struct cairn_memory *m = make_memory(bytes);
        for (unsigned i = 0; i < 4000; i++) {
            use(m, splitmix64(&seed) % 3000, 16 + (uint32_t)(splitmix64(&seed) % 100000));
            struct cairn_memory_stats stats;
            cairn_memory_stats(m, &stats);
            assert_true(stats.bytes <= bytes);
        }
        struct cairn_memory_stats stats;
        cairn_memory_stats(m, &stats);
        assert_true(stats.bytes > bytes / 4);
        cairn_memory_free(m);
    }
}

/* The hot set takes half of the tier; the scan is ten times as large as the tier, and each of its
 * chunks is asked for several times in a row, as by a reader in small steps. */
static void a_scan_leaves_the_hot_set_alone(void **state)
{
    (void)state;
    uint64_t seed = test_seed();
    uint32_t len = 16384;
    uint64_t chunks = 64 * MIB / len;
    uint64_t hot = chunks / 2;
    struct cairn_memory *m = make_memory(64 * MIB);
    for (unsigned i = 0; i < hot * 20; i++)
        use(m, splitmix64(&seed) % hot, len);
    for (uint64_t n = 0; n < chunks * 10; n++)
        for (unsigned k = 0; k < 4; k++)
            use(m, 1000000 + n, len);
    uint64_t hits = 0;
    for (uint64_t n = 0; n < hot; n++)
        hits += use(m, n, len);
    print_message("hot chunks after the scan: %" PRIu64 " of %" PRIu64 "\n", hits, hot);
    assert_true(hits * 10 > hot * 9);
    cairn_memory_free(m);
}

static void a_chunk_that_comes_back_is_kept_in_the_main_queue(void **state)
{
    (void)state;
    uint32_t len = 16384;
    struct cairn_memory *m = make_memory(4 * MIB); /* one shard */
    for (uint64_t n = 0; n < 300; n++)
        use(m, n, len);
    /* Dropped from the small queue, remembered as ghost. */
    assert_false(use(m, 0, len));
    for (uint64_t n = 1000; n < 1200; n++)
        use(m, n, len);
    assert_true(use(m, 0, len));
    cairn_memory_free(m);
}

static void *hammer(void *arg)
{
    struct cairn_memory *m = arg;
    uint64_t seed = (uint64_t)(uintptr_t)&seed;
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t n = splitmix64(&seed) % 500;
        use(m, n, 64 + (uint32_t)(n * 100));
    }
    return NULL;
}

static void threads_may_do_anything_at_once(void **state)
{
    (void)state;
    struct cairn_memory *m = make_memory(5 * MIB);
    pthread_t threads[8];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, m), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    struct cairn_memory_stats stats;
    cairn_memory_stats(m, &stats);
    assert_true(stats.bytes <= 5 * MIB);
    cairn_memory_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chunk_is_found_again),
        cmocka_unit_test(a_reference_outlives_the_tier),
        cmocka_unit_test(a_chunk_too_large_for_its_shard_is_not_kept),
        cmocka_unit_test(the_bound_holds_after_every_put),
        cmocka_unit_test(a_scan_leaves_the_hot_set_alone),
        cmocka_unit_test(a_chunk_that_comes_back_is_kept_in_the_main_queue),
        cmocka_unit_test(threads_may_do_anything_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
