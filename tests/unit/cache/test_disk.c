// SPDX-License-Identifier: Apache-2.0
#include "cache/disk.h"

#include <pthread.h>

#include "unit/cache/support.h"

struct fixture {
    char dir[64];
    struct cairn_disk *disk;
    struct cairn_metrics metrics;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    make_dir(f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    cairn_disk_close(f->disk);
    remove_dir(f->dir);
    free(f);
    return 0;
}

static void reopen(struct fixture *f, uint64_t max_bytes, int level)
{
    struct cairn_disk_config cfg = {.dir = f->dir, .max_bytes = max_bytes, .zstd_level = level};
    cairn_disk_close(f->disk);
    f->disk = NULL;
    assert_int_equal(cairn_disk_open(&f->disk, &cfg, &f->metrics), 0);
}

static uint64_t counted(struct fixture *f, enum cairn_counter c)
{
    return cairn_counted(&f->metrics, c);
}

static void put(struct fixture *f, uint64_t n, uint32_t len, bool text)
{
    struct cairn_chunk *c = make_chunk(n, len, text);
    cairn_disk_put(f->disk, c, true);
    cairn_chunk_unref(c);
}

/* True if chunk n is there; what is there is always right. */
static bool is_there(struct fixture *f, uint64_t n, uint32_t len, bool text)
{
    struct cairn_chunk *want = make_chunk(n, len, text);
    struct cairn_chunk *got = NULL;
    int r = cairn_disk_get(f->disk, &want->id, &got);
    if (r == 0) {
        assert_same_chunk(got, want);
        cairn_chunk_unref(got);
    } else {
        assert_int_equal(r, -ENOENT);
    }
    cairn_chunk_unref(want);
    return r == 0;
}

static uint32_t length_of(uint64_t n)
{
    uint64_t state = n;
    return 1 + (uint32_t)(splitmix64(&state) % 100000);
}

static void a_chunk_is_there_at_once_and_for_ever(void **state)
{
    struct fixture *f = *state;
    reopen(f, 64 * MIB, 0);
    assert_false(is_there(f, 1, 5000, false));
    put(f, 1, 5000, false);
    assert_true(is_there(f, 1, 5000, false));
    cairn_disk_drain(f->disk);
    assert_true(is_there(f, 1, 5000, false));
    reopen(f, 64 * MIB, 0);
    assert_true(is_there(f, 1, 5000, false));
}

static void every_length_comes_back(void **state)
{
    struct fixture *f = *state;
    reopen(f, 256 * MIB, 0);
    for (uint32_t len = 1; len < 200; len++)
        put(f, len, len, false);
    const uint32_t large[] = {65536, 65537, 262144, 1 << 20, (1 << 24) - 1};
    for (size_t i = 0; i < ARRAY_LEN(large); i++)
        put(f, 9, large[i], false);
    reopen(f, 256 * MIB, 0);
    for (uint32_t len = 1; len < 200; len++)
        assert_true(is_there(f, len, len, false));
    for (size_t i = 0; i < ARRAY_LEN(large); i++)
        assert_true(is_there(f, 9, large[i], false));
}

static void one_chunk_is_stored_once(void **state)
{
    struct fixture *f = *state;
    reopen(f, 64 * MIB, 0);
    for (unsigned i = 0; i < 10; i++) {
        put(f, 3, 40000, false);
        if (i % 3 == 0)
            cairn_disk_drain(f->disk);
    }
    cairn_disk_drain(f->disk);
    struct cairn_disk_stats stats;
    cairn_disk_stats(f->disk, &stats);
    assert_int_equal(stats.chunks, 1);
    assert_int_equal(stats.plain_bytes, 40000);
    assert_int_equal(stats.record_bytes, 40040);
    assert_int_equal(counted(f, CAIRN_CHUNK_DEDUP), 9);
    assert_int_equal(counted(f, CAIRN_DISK_WRITTEN), 40040);
}

static void stats_say_what_the_directory_holds(void **state)
{
    struct fixture *f = *state;
    reopen(f, 64 * MIB, 0);
    for (uint64_t n = 0; n < 300; n++)
        put(f, n, length_of(n), false);
    cairn_disk_drain(f->disk);
    struct cairn_disk_stats stats;
    cairn_disk_stats(f->disk, &stats);
    assert_int_equal(stats.chunks, 300);
    assert_int_equal(stats.stored_bytes, dir_bytes(f->dir));
    assert_int_equal(stats.segments, walked_segments);
    assert_int_equal(stats.max_bytes, 64 * MIB);
    uint64_t records = stats.record_bytes;
    reopen(f, 64 * MIB, 0);
    cairn_disk_stats(f->disk, &stats);
    assert_int_equal(stats.chunks, 300);
    assert_int_equal(stats.record_bytes, records);
}

static void the_bound_holds_whatever_is_written(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = test_seed();
    const uint64_t limits[] = {300 * KIB, MIB, 5 * MIB, 20 * MIB};
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        reopen(f, limits[i], 0);
        cairn_disk_drain(f->disk);
        uint64_t written = 0;
        uint64_t since_check = 0;
        bool tiny = false;
        while (written < limits[i] * 20) {
            /* Small tiers also see runs of tiny chunks: their tables of contents weigh most. */
            if (splitmix64(&seed) % (tiny ? 5000 : 20) == 0)
                tiny = limits[i] <= MIB && !tiny;
            uint32_t len = length_of(splitmix64(&seed));
            len = tiny ? 20 + len % 200 : len;
            put(f, splitmix64(&seed), len, false);
            written += len;
            since_check += len;
            if (since_check < limits[i] / 40)
                continue;
            since_check = 0;
            cairn_disk_drain(f->disk);
            assert_true(dir_bytes(f->dir) <= limits[i]);
            if (splitmix64(&seed) % 8)
                continue;
            cairn_disk_close(f->disk);
            f->disk = NULL;
            assert_true(dir_bytes(f->dir) <= limits[i]);
            reopen(f, limits[i], 0);
        }
        cairn_disk_drain(f->disk);
        assert_true(dir_bytes(f->dir) <= limits[i]);
        assert_true(dir_bytes(f->dir) > limits[i] / 3);
    }
    assert_int_equal(counted(f, CAIRN_DISK_ERRORS), 0);
    assert_int_equal(counted(f, CAIRN_DISK_CORRUPT), 0);
}

static void tiny_chunks_do_not_break_the_bound(void **state)
{
    struct fixture *f = *state;
    reopen(f, 3 * MIB, 0);
    for (uint64_t n = 0; n < 60000; n++) {
        put(f, n, 8, false);
        if (n % 200 == 0) {
            cairn_disk_drain(f->disk);
            assert_true(dir_bytes(f->dir) <= 3 * MIB);
        }
    }
    cairn_disk_drain(f->disk);
    assert_true(dir_bytes(f->dir) <= 3 * MIB);
    assert_true(is_there(f, 59999, 8, false));
}

static void a_tier_of_no_size_stores_nothing(void **state)
{
    struct fixture *f = *state;
    reopen(f, 10 * MIB, 0);
    for (uint64_t n = 0; n < 100; n++)
        put(f, n, 50000, false);
    reopen(f, 0, 0);
    put(f, 200, 50000, false);
    cairn_disk_drain(f->disk);
    assert_false(is_there(f, 200, 50000, false));
    assert_false(is_there(f, 1, 50000, false));
    assert_true(dir_bytes(f->dir) <= 64 * KIB);
}

static void a_smaller_bound_evicts_at_once(void **state)
{
    struct fixture *f = *state;
    const uint64_t limits[] = {40 * MIB, 15 * MIB, 4 * MIB, MIB};
    reopen(f, 60 * MIB, 0);
    for (uint64_t n = 0; n < 1000; n++)
        put(f, n, 50000, false);
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        reopen(f, limits[i], 0);
        cairn_disk_drain(f->disk);
        assert_true(dir_bytes(f->dir) <= limits[i]);
    }
    reopen(f, 60 * MIB, 0);
    for (uint64_t n = 2000; n < 3000; n++)
        put(f, n, 50000, false);
    for (uint64_t n = 2000; n < 3000; n++)
        assert_true(is_there(f, n, 50000, false));
}

/* Hot chunks lie one by one among cold ones: keeping their segments would waste the tier. */
static void eviction_carries_hot_chunks_over(void **state)
{
    struct fixture *f = *state;
    const uint64_t hot = 15;
    unsigned misses = 0;
    unsigned recent = 0;
    reopen(f, 32 * MIB, 0);
    for (uint64_t n = 0; n < 4000; n++) {
        put(f, n, 50000, false);
        if (n >= hot * 40)
            misses += !is_there(f, (n % hot) * 40, 50000, false);
        cairn_disk_drain(f->disk);
    }
    for (uint64_t n = 3600; n < 4000; n++)
        recent += is_there(f, n, 50000, false);
    print_message("misses of the hot set: %u of 3400, recent chunks: %u of 400\n", misses, recent);
    assert_true(misses < 34);
    assert_true(recent > 380);
    assert_true(counted(f, CAIRN_DISK_EVICTED) > 50);
    assert_true(counted(f, CAIRN_DISK_CARRIED) > 0);
    assert_false(is_there(f, 1, 50000, false));
    assert_true(dir_bytes(f->dir) <= 32 * MIB);
}

static void a_segment_that_is_read_outlives_one_that_is_not(void **state)
{
    struct fixture *f = *state;
    reopen(f, 16 * MIB, 0);
    /* The first 40 chunks fill about two of sixteen segments; all of them are read once per 100. */
    for (uint64_t n = 0; n < 1500; n++) {
        put(f, n, 50000, false);
        if (n >= 40 && n % 25 == 0) {
            cairn_disk_drain(f->disk);
            for (uint64_t k = 0; k < 40; k++)
                is_there(f, k, 50000, false);
        }
    }
    unsigned kept = 0;
    for (uint64_t k = 0; k < 40; k++)
        kept += is_there(f, k, 50000, false);
    assert_true(kept >= 38);
}

static void compressed_chunks_come_back(void **state)
{
    struct fixture *f = *state;
#ifndef CAIRNFS_HAVE_ZSTD
    (void)f;
    skip();
#endif
    reopen(f, 64 * MIB, 3);
    for (uint64_t n = 0; n < 200; n++)
        put(f, n, length_of(n), n % 2 == 0);
    cairn_disk_drain(f->disk);
    struct cairn_disk_stats stats;
    cairn_disk_stats(f->disk, &stats);
    assert_true(stats.record_bytes < stats.plain_bytes * 8 / 10);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (uint64_t n = 0; n < 200; n++)
            assert_true(is_there(f, n, length_of(n), n % 2 == 0));
        /* Also when new chunks are no longer compressed. */
        reopen(f, 64 * MIB, 0);
    }
}

static void short_sessions_share_a_segment(void **state)
{
    struct fixture *f = *state;
    for (uint64_t n = 0; n < 30; n++) {
        reopen(f, 64 * MIB, 0);
        put(f, n, 3000, false);
    }
    reopen(f, 64 * MIB, 0);
    dir_bytes(f->dir);
    assert_int_equal(walked_segments, 1);
    for (uint64_t n = 0; n < 30; n++)
        assert_true(is_there(f, n, 3000, false));
}

static void a_name_that_is_taken_is_passed_over(void **state)
{
    struct fixture *f = *state;
    char path[128];
    reopen(f, 16 * MIB, 0);
    snprintf(path, sizeof(path), "%s/segments/00000002.seg", f->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    for (uint64_t n = 0; n < 100; n++)
        put(f, n, 50000, false);
    cairn_disk_drain(f->disk);
    for (uint64_t n = 0; n < 100; n++)
        assert_true(is_there(f, n, 50000, false));
    assert_int_equal(counted(f, CAIRN_DISK_ERRORS), 0);
}

static void a_much_smaller_tier_indexes_less(void **state)
{
    struct fixture *f = *state;
    reopen(f, 32 * MIB, 0);
    for (uint64_t n = 0; n < 100000; n++)
        put(f, n, 8, false);
    for (unsigned i = 0; i < 2; i++) {
        reopen(f, 2 * MIB, 0);
        cairn_disk_drain(f->disk);
        assert_true(dir_bytes(f->dir) <= 2 * MIB);
        uint64_t found = 0;
        for (uint64_t n = 0; n < 100000; n++)
            found += is_there(f, n, 8, false);
        struct cairn_disk_stats stats;
        cairn_disk_stats(f->disk, &stats);
        assert_int_equal(stats.chunks, found);
        assert_true(found > 1000);
    }
    assert_int_equal(counted(f, CAIRN_DISK_CORRUPT), 0);
}

static void two_tiers_live_in_one_process(void **state)
{
    struct fixture *f = *state;
    char dir[64];
    struct cairn_disk *other;
    struct cairn_disk_config cfg = {.dir = make_dir(dir), .max_bytes = 10 * MIB};
    reopen(f, 10 * MIB, 0);
    assert_int_equal(cairn_disk_open(&other, &cfg, NULL), 0);
    put(f, 1, 3000, false);
    struct cairn_chunk *c = make_chunk(1, 3000, false);
    struct cairn_chunk *got;
    assert_int_equal(cairn_disk_get(other, &c->id, &got), -ENOENT);
    assert_false(cairn_disk_has(other, &c->id));
    assert_true(cairn_disk_has(f->disk, &c->id));
    cairn_chunk_unref(c);
    cairn_disk_close(other);
    remove_dir(dir);
}

static void what_cannot_be_opened_says_why(void **state)
{
    (void)state;
    struct cairn_disk *d = (void *)1;
    struct cairn_disk_config cfg = {.dir = "/nonexistent/cairn", .max_bytes = MIB};
    assert_int_equal(cairn_disk_open(&d, &cfg, NULL), -ENOENT);
    cfg.dir = "/proc/self";
    assert_true(cairn_disk_open(&d, &cfg, NULL) < 0);
    assert_ptr_equal(d, (void *)1);
}

struct crowd {
    struct fixture *f;
    uint64_t seed;
    atomic_uint *wrong;
};

static void *use_disk(void *arg)
{
    struct crowd *crowd = arg;
    for (unsigned i = 0; i < 3000; i++) {
        uint64_t n = splitmix64(&crowd->seed) % 800;
        struct cairn_chunk *want = make_chunk(n, length_of(n) / 4 + 1, n % 2);
        struct cairn_chunk *got = NULL;
        if (cairn_disk_get(crowd->f->disk, &want->id, &got) < 0)
            cairn_disk_put(crowd->f->disk, want, i % 2);
        else if (got->len != want->len || memcmp(got->data, want->data, want->len) != 0)
            atomic_fetch_add(crowd->wrong, 1);
        cairn_chunk_unref(got);
        cairn_chunk_unref(want);
    }
    return NULL;
}

static void readers_and_eviction_do_not_disturb_each_other(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = test_seed();
    atomic_uint wrong = 0;
    struct crowd crowds[6];
    pthread_t threads[6];
    reopen(f, 4 * MIB, 1);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        crowds[i] = (struct crowd){.f = f, .seed = splitmix64(&seed), .wrong = &wrong};
        assert_int_equal(pthread_create(&threads[i], NULL, use_disk, &crowds[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    cairn_disk_drain(f->disk);
    assert_int_equal(wrong, 0);
    assert_int_equal(counted(f, CAIRN_DISK_CORRUPT), 0);
    assert_int_equal(counted(f, CAIRN_DISK_ERRORS), 0);
    assert_true(counted(f, CAIRN_DISK_EVICTED) > 0);
    assert_true(dir_bytes(f->dir) <= 4 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        TEST(a_chunk_is_there_at_once_and_for_ever),
        TEST(every_length_comes_back),
        TEST(one_chunk_is_stored_once),
        TEST(stats_say_what_the_directory_holds),
        TEST(the_bound_holds_whatever_is_written),
        TEST(tiny_chunks_do_not_break_the_bound),
        TEST(a_tier_of_no_size_stores_nothing),
        TEST(a_smaller_bound_evicts_at_once),
        TEST(eviction_carries_hot_chunks_over),
        TEST(a_segment_that_is_read_outlives_one_that_is_not),
        TEST(compressed_chunks_come_back),
        TEST(short_sessions_share_a_segment),
        TEST(a_name_that_is_taken_is_passed_over),
        TEST(a_much_smaller_tier_indexes_less),
        TEST(two_tiers_live_in_one_process),
        TEST(what_cannot_be_opened_says_why),
        TEST(readers_and_eviction_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
