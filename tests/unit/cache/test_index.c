// SPDX-License-Identifier: Apache-2.0
#include "cache/index.h"

#include <pthread.h>

#include "unit/cache/support.h"

#define HEADER_BYTES 4096
#define SLOT_BYTES   32

struct fixture {
    char dir[64];
    int dirfd;
    struct disk_index *ix;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->dirfd = open(make_dir(f->dir), O_RDONLY | O_DIRECTORY);
    *state = f;
    if (disk_index_create(&f->ix, f->dirfd, 0) < 0)
        return -1;
    disk_index_complete(f->ix);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    disk_index_close(f->ix);
    close(f->dirfd);
    remove_dir(f->dir);
    free(f);
    return 0;
}

static int reopen(struct fixture *f, bool *ret_clean)
{
    disk_index_close(f->ix);
    f->ix = NULL;
    return disk_index_open(&f->ix, f->dirfd, ret_clean);
}

static struct cairn_chunk_id id_of(uint64_t n)
{
    return cairn_chunk_id_of(&n, sizeof(n));
}

static struct place place_of(uint64_t n)
{
    return (struct place){
        .segment = (uint32_t)(n * 2654435761U),
        .offset = (uint32_t)(n % 8000000) * 8,
        .stored_len = (uint32_t)(n % 200000) + 1,
        .plain_len = (uint32_t)(n % 200000) + 1 + (uint32_t)(n % 3),
    };
}

static bool find(struct disk_index *ix, uint64_t n, struct place *ret)
{
    struct cairn_chunk_id id = id_of(n);
    return disk_index_find(ix, &id, ret);
}

static void put(struct disk_index *ix, uint64_t n, const struct place *p)
{
    struct cairn_chunk_id id = id_of(n);
    while (!disk_index_has_room(ix, 1))
        assert_int_equal(disk_index_grow(ix), 0);
    assert_int_equal(disk_index_put(ix, &id, p), 0);
}

static void an_entry_is_found_until_it_is_removed(void **state)
{
    struct fixture *f = *state;
    struct place p = place_of(5);
    struct place q = place_of(6);
    struct place got;
    struct cairn_chunk_id id = id_of(5);
    assert_false(find(f->ix, 5, &got));
    put(f->ix, 5, &p);
    assert_true(find(f->ix, 5, &got));
    assert_memory_equal(&got, &p, sizeof(p));
    assert_false(disk_index_remove(f->ix, &id, &q));
    assert_true(disk_index_remove(f->ix, &id, &p));
    assert_false(find(f->ix, 5, &got));
}

#define MODEL 6000

/* A plain array is the model: version of each entry, 0 = absent. */
static void it_agrees_with_a_plain_map(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = test_seed();
    static uint64_t model[MODEL];
    memset(model, 0, sizeof(model));
    uint64_t chunks = 0;
    for (unsigned step = 0; step < 100000; step++) {
        uint64_t n = splitmix64(&seed) % MODEL;
        struct place p = place_of(model[n]);
        struct place got;
        struct cairn_chunk_id id = id_of(n);
        /* Phases in which it mostly grows and mostly shrinks. */
        bool grows = (step / 20000) % 2 == 0;
        unsigned dice = (unsigned)(splitmix64(&seed) % 10);
        if (dice < (grows ? 6U : 2U)) {
            chunks += model[n] == 0;
            model[n] = splitmix64(&seed) | 1;
            p = place_of(model[n]);
            put(f->ix, n, &p);
        } else if (dice < 8) {
            assert_int_equal(disk_index_remove(f->ix, &id, &p), model[n] != 0);
            chunks -= model[n] != 0;
            model[n] = 0;
        } else {
            assert_int_equal(disk_index_find(f->ix, &id, &got), model[n] != 0);
            if (model[n])
                assert_memory_equal(&got, &p, sizeof(p));
        }
        if (step % 25000 == 24999) {
            bool clean = false;
            assert_int_equal(reopen(f, &clean), 0);
            assert_true(clean);
        }
    }
    struct disk_index_stats stats;
    disk_index_stats(f->ix, &stats);
    assert_int_equal(stats.chunks, chunks);
    for (uint64_t n = 0; n < MODEL; n++) {
        struct place p = place_of(model[n]);
        struct place got;
        assert_int_equal(find(f->ix, n, &got), model[n] != 0);
        if (model[n])
            assert_memory_equal(&got, &p, sizeof(p));
    }
}

static void counters_are_sums_over_the_entries(void **state)
{
    struct fixture *f = *state;
    struct disk_index_stats want = {0};
    struct disk_index_stats got;
    for (uint64_t n = 0; n < 3000; n++) {
        struct place p = place_of(n);
        put(f->ix, n, &p);
        want.chunks++;
        want.plain_bytes += p.plain_len;
        want.record_bytes += record_size(p.stored_len);
    }
    disk_index_stats(f->ix, &got);
    assert_memory_equal(&got, &want, sizeof(want));
    bool clean;
    assert_int_equal(reopen(f, &clean), 0);
    disk_index_stats(f->ix, &got);
    assert_memory_equal(&got, &want, sizeof(want));
}

/* Flips one bit of each slot in turn, in the file, and sees that entry gone and no other. */
static void a_torn_slot_is_absent(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = test_seed();
    unsigned lost = 0;
    for (uint64_t n = 0; n < 200; n++) {
        struct place p = place_of(n);
        put(f->ix, n, &p);
    }
    int fd = openat(f->dirfd, "index", O_RDWR);
    for (unsigned slot = 0; slot < 1024; slot += 3) {
        uint8_t byte;
        off_t at = HEADER_BYTES + slot * SLOT_BYTES + 1 + (off_t)(splitmix64(&seed) % 29);
        uint8_t all[SLOT_BYTES];
        assert_int_equal(pread(fd, all, SLOT_BYTES, HEADER_BYTES + slot * SLOT_BYTES), SLOT_BYTES);
        static const uint8_t zeros[SLOT_BYTES];
        if (!memcmp(all, zeros, SLOT_BYTES))
            continue;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= (uint8_t)(1U << splitmix64(&seed) % 8);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        lost++;
    }
    close(fd);
    unsigned absent = 0;
    for (uint64_t n = 0; n < 200; n++) {
        struct place p = place_of(n);
        struct place got;
        if (find(f->ix, n, &got))
            assert_memory_equal(&got, &p, sizeof(p));
        else
            absent++;
    }
    assert_true(lost > 20);
    /* 16 check bits: one in 65,536 passes, and is caught by the record. */
    assert_true(absent >= lost - 1 && absent <= lost);

    /* Torn slots can be used again. */
    for (uint64_t n = 0; n < 200; n++) {
        struct place p = place_of(n);
        struct place got;
        put(f->ix, n, &p);
        assert_true(find(f->ix, n, &got));
        assert_memory_equal(&got, &p, sizeof(p));
    }
}

static void a_damaged_header_is_refused(void **state)
{
    struct fixture *f = *state;
    bool clean;
    disk_index_close(f->ix);
    f->ix = NULL;
    for (off_t at = 0; at < 32; at++) {
        int fd = openat(f->dirfd, "index", O_RDWR);
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_int_equal(disk_index_open(&f->ix, f->dirfd, &clean), -EBADMSG);
        byte ^= 4;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
    }
    assert_int_equal(disk_index_open(&f->ix, f->dirfd, &clean), 0);
    assert_true(clean);
}

static void a_file_of_the_wrong_length_is_refused(void **state)
{
    struct fixture *f = *state;
    bool clean;
    disk_index_close(f->ix);
    f->ix = NULL;
    int fd = openat(f->dirfd, "index", O_RDWR);
    off_t length = lseek(fd, 0, SEEK_END);
    const off_t lengths[] = {0, 1, 4095, 4096, length - 1, length + 1};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        assert_int_equal(ftruncate(fd, lengths[i]), 0);
        assert_int_equal(disk_index_open(&f->ix, f->dirfd, &clean), -EBADMSG);
    }
    close(fd);
    assert_int_equal(unlinkat(f->dirfd, "index", 0), 0);
    assert_int_equal(disk_index_open(&f->ix, f->dirfd, &clean), -ENOENT);
}

static void an_incomplete_rebuild_is_refused(void **state)
{
    struct fixture *f = *state;
    struct disk_index *half;
    bool clean;
    disk_index_close(f->ix);
    f->ix = NULL;
    assert_int_equal(disk_index_create(&half, f->dirfd, 0), 0);
    struct disk_index *second = NULL;
    assert_int_equal(disk_index_open(&second, f->dirfd, &clean), -EBADMSG);
    disk_index_complete(half);
    assert_int_equal(disk_index_open(&second, f->dirfd, &clean), 0);
    assert_false(clean);
    disk_index_close(second);
    disk_index_close(half);
}

static bool is_even(void *arg, const struct place *p)
{
    (void)arg;
    return p->plain_len % 2 == 0;
}

static void an_audit_drops_the_dead_and_counts_anew(void **state)
{
    struct fixture *f = *state;
    uint64_t even = 0;
    for (uint64_t n = 0; n < 5000; n++) {
        struct place p = place_of(n);
        put(f->ix, n, &p);
        even += p.plain_len % 2 == 0;
    }
    disk_index_audit(f->ix, is_even, NULL);
    struct disk_index_stats stats;
    disk_index_stats(f->ix, &stats);
    assert_int_equal(stats.chunks, even);
    for (uint64_t n = 0; n < 5000; n++) {
        struct place got;
        assert_int_equal(find(f->ix, n, &got), place_of(n).plain_len % 2 == 0);
    }
}

struct race {
    struct disk_index *ix;
    atomic_bool stop;
    atomic_uint wrong;
};

/* Entries 0..99 are always there: no reader may ever miss one, or see a wrong place. */
static void *read_always(void *arg)
{
    struct race *race = arg;
    uint64_t seed = 1;
    while (!atomic_load(&race->stop)) {
        uint64_t n = splitmix64(&seed) % 100;
        struct place p = place_of(n);
        struct place got;
        if (!find(race->ix, n, &got) || memcmp(&got, &p, sizeof(p)) != 0)
            atomic_fetch_add(&race->wrong, 1);
    }
    return NULL;
}

static void readers_never_miss_what_stays_while_others_come_and_go(void **state)
{
    struct fixture *f = *state;
    struct race race = {.ix = f->ix};
    for (uint64_t n = 0; n < 100; n++) {
        struct place p = place_of(n);
        put(f->ix, n, &p);
    }
    pthread_t threads[3];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_always, &race), 0);
    /* A full small table, so that entries move much; then larger ones. */
    for (uint64_t round = 0; round < 420; round++) {
        uint64_t end = round < 400 ? 700 : 3000 + (round - 400) * 500;
        for (uint64_t n = 100; n < end; n++) {
            struct place p = place_of(n);
            put(f->ix, n, &p);
        }
        for (uint64_t n = 100; n < end; n++) {
            struct place p = place_of(n);
            struct cairn_chunk_id id = id_of(n);
            assert_true(disk_index_remove(f->ix, &id, &p));
        }
    }
    atomic_store(&race.stop, true);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&race.wrong), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        TEST(an_entry_is_found_until_it_is_removed),
        TEST(it_agrees_with_a_plain_map),
        TEST(counters_are_sums_over_the_entries),
        TEST(a_torn_slot_is_absent),
        TEST(a_damaged_header_is_refused),
        TEST(a_file_of_the_wrong_length_is_refused),
        TEST(an_incomplete_rebuild_is_refused),
        TEST(an_audit_drops_the_dead_and_counts_anew),
        TEST(readers_never_miss_what_stays_while_others_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
