// SPDX-License-Identifier: Apache-2.0
/* Whatever happens to the files while nobody looks: a get is right or says that nothing is there.
 */
#include "cache/disk.h"

#include <sys/wait.h>

#include "cache/index.h"
#include "cache/record.h"
#include "unit/cache/support.h"

#define CHUNKS    60U
#define LIMIT     (16 * MIB)
#define FIRST_SEG "segments/00000001.seg"

struct fixture {
    char dir[64];
    int dirfd;
    struct cairn_disk *disk;
    struct cairn_metrics metrics;
    struct cairn_chunk *chunks[CHUNKS];
};

static void open_disk(struct fixture *f)
{
    struct cairn_disk_config cfg = {.dir = f->dir, .max_bytes = LIMIT};
    memset(&f->metrics, 0, sizeof(f->metrics));
    assert_int_equal(cairn_disk_open(&f->disk, &cfg, &f->metrics), 0);
    cairn_disk_drain(f->disk);
}

static void close_disk(struct fixture *f)
{
    cairn_disk_close(f->disk);
    f->disk = NULL;
}

static void put_all(struct fixture *f)
{
    for (unsigned i = 0; i < CHUNKS; i++)
        cairn_disk_put(f->disk, f->chunks[i], true);
    cairn_disk_drain(f->disk);
}

/* How many of the chunks are there; fails if one is wrong. */
static unsigned count_there(struct fixture *f)
{
    unsigned there = 0;
    for (unsigned i = 0; i < CHUNKS; i++) {
        struct cairn_chunk *got;
        int r = cairn_disk_get(f->disk, &f->chunks[i]->id, &got);
        if (r < 0) {
            assert_int_equal(r, -ENOENT);
            continue;
        }
        assert_same_chunk(got, f->chunks[i]);
        cairn_chunk_unref(got);
        there++;
    }
    return there;
}

/* After damage: a second store makes all well again. */
static void assert_heals(struct fixture *f)
{
    put_all(f);
    assert_int_equal(count_there(f), CHUNKS);
    close_disk(f);
    open_disk(f);
    assert_int_equal(count_there(f), CHUNKS);
}

/* Chunk i has 1000 * (i + 1) bytes; all lie in one sealed segment, in this order. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->dirfd = open(make_dir(f->dir), O_RDONLY | O_DIRECTORY);
    for (unsigned i = 0; i < CHUNKS; i++)
        f->chunks[i] = make_chunk(i, 1000 * (i % 16 + 1), false);
    *state = f;
    open_disk(f);
    put_all(f);
    close_disk(f);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close_disk(f);
    for (unsigned i = 0; i < CHUNKS; i++)
        cairn_chunk_unref(f->chunks[i]);
    close(f->dirfd);
    remove_dir(f->dir);
    free(f);
    return 0;
}

static off_t length_of(struct fixture *f, const char *name)
{
    struct stat st;
    assert_int_equal(fstatat(f->dirfd, name, &st, 0), 0);
    return st.st_size;
}

static void flip(struct fixture *f, const char *name, off_t at, unsigned bit)
{
    AUTO_CLOSE int fd = openat(f->dirfd, name, O_RDWR);
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= (uint8_t)(1U << bit);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void truncate_file(struct fixture *f, const char *name, off_t length)
{
    AUTO_CLOSE int fd = openat(f->dirfd, name, O_RDWR);
    assert_int_equal(ftruncate(fd, length), 0);
}

static void every_byte_of_a_header_matters(void **state)
{
    struct fixture *f = *state;
    for (off_t at = 0; at < (off_t)sizeof(struct record_header); at++) {
        flip(f, FIRST_SEG, at, (unsigned)at % 8);
        open_disk(f);
        assert_int_equal(count_there(f), CHUNKS - 1);
        assert_int_equal(cairn_counted(&f->metrics, CAIRN_DISK_CORRUPT), 1);
        struct cairn_disk_stats stats;
        cairn_disk_stats(f->disk, &stats);
        assert_int_equal(stats.chunks, CHUNKS - 1);
        /* Dropped once, then absent without further ado. */
        assert_int_equal(count_there(f), CHUNKS - 1);
        assert_int_equal(cairn_counted(&f->metrics, CAIRN_DISK_CORRUPT), 1);
        close_disk(f);
        /* The index forgot it: bring it back for the next round by a rebuild. */
        flip(f, FIRST_SEG, at, (unsigned)at % 8);
        assert_int_equal(unlinkat(f->dirfd, "index", 0), 0);
    }
    open_disk(f);
    assert_heals(f);
}

static void a_flipped_bit_of_a_payload_is_noticed(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = test_seed();
    for (unsigned round = 0; round < 30; round++) {
        off_t at = (off_t)sizeof(struct record_header) + (off_t)(splitmix64(&seed) % 1000);
        unsigned bit = (unsigned)(splitmix64(&seed) % 8);
        flip(f, FIRST_SEG, at, bit);
        open_disk(f);
        assert_int_equal(count_there(f), CHUNKS - 1);
        assert_int_equal(cairn_counted(&f->metrics, CAIRN_DISK_CORRUPT), 1);
        close_disk(f);
        flip(f, FIRST_SEG, at, bit);
        assert_int_equal(unlinkat(f->dirfd, "index", 0), 0);
    }
    open_disk(f);
    assert_heals(f);
}

static void a_slot_that_points_to_another_record_is_noticed(void **state)
{
    struct fixture *f = *state;
    struct disk_index *ix;
    struct place a;
    struct place b;
    bool clean;
    assert_int_equal(disk_index_open(&ix, f->dirfd, &clean), 0);
    /* Chunks 0 and 16 have the same length: only the id tells their records apart. */
    assert_true(disk_index_find(ix, &f->chunks[0]->id, &a));
    assert_true(disk_index_find(ix, &f->chunks[16]->id, &b));
    assert_int_equal(disk_index_put(ix, &f->chunks[0]->id, &b), 0);
    a.offset += 8;
    assert_int_equal(disk_index_put(ix, &f->chunks[16]->id, &a), 0);
    a.segment = 77;
    assert_int_equal(disk_index_put(ix, &f->chunks[1]->id, &a), 0);
    disk_index_close(ix);
    open_disk(f);
    assert_int_equal(count_there(f), CHUNKS - 3);
    assert_int_equal(cairn_counted(&f->metrics, CAIRN_DISK_CORRUPT), 3);
    assert_heals(f);
}

static void flipped_bits_of_the_index_lose_at_most_their_entries(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = test_seed();
    off_t length = length_of(f, "index");
    for (unsigned i = 0; i < 2000; i++)
        flip(f, "index", 4096 + (off_t)(splitmix64(&seed) % (uint64_t)(length - 4096)),
             (unsigned)(splitmix64(&seed) % 8));
    open_disk(f);
    count_there(f);
    assert_heals(f);
}

static void a_segment_cut_short_loses_only_its_end(void **state)
{
    struct fixture *f = *state;
    /* Through the middle of chunk 20. */
    off_t at = 0;
    for (unsigned i = 0; i < 20; i++)
        at += record_size(f->chunks[i]->len);
    truncate_file(f, FIRST_SEG, at + 500);
    open_disk(f);
    assert_int_equal(count_there(f), 20);
    close_disk(f);
    /* The same from the headers alone. */
    assert_int_equal(unlinkat(f->dirfd, "index", 0), 0);
    open_disk(f);
    assert_int_equal(count_there(f), 20);
    assert_heals(f);
}

static void a_missing_segment_is_absent(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(unlinkat(f->dirfd, FIRST_SEG, 0), 0);
    open_disk(f);
    assert_int_equal(count_there(f), 0);
    assert_heals(f);
}

static void entries_that_a_crash_left_are_audited(void **state)
{
    struct fixture *f = *state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        open_disk(f);
        _exit(0); /* without closing */
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    /* As after a power cut that the index survived and the segment did not. */
    assert_int_equal(unlinkat(f->dirfd, FIRST_SEG, 0), 0);
    open_disk(f);
    struct cairn_disk_stats stats;
    cairn_disk_stats(f->disk, &stats);
    assert_int_equal(stats.chunks, 0);
    assert_int_equal(stats.record_bytes, 0);
    assert_int_equal(count_there(f), 0);
    assert_int_equal(cairn_counted(&f->metrics, CAIRN_DISK_CORRUPT), 0);
    assert_heals(f);
}

static void a_missing_index_is_rebuilt(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(unlinkat(f->dirfd, "index", 0), 0);
    open_disk(f);
    assert_int_equal(count_there(f), CHUNKS);
    struct cairn_disk_stats stats;
    cairn_disk_stats(f->disk, &stats);
    assert_int_equal(stats.chunks, CHUNKS);
}

static void a_garbage_index_is_rebuilt(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = test_seed();
    off_t length = length_of(f, "index");
    AUTO_CLOSE int fd = openat(f->dirfd, "index", O_RDWR);
    for (off_t at = 0; at < length; at += 8) {
        uint64_t v = splitmix64(&seed);
        assert_int_equal(pwrite(fd, &v, 8, at), 8);
    }
    open_disk(f);
    assert_int_equal(count_there(f), CHUNKS);
}

static void a_damaged_table_of_contents_is_made_up_for(void **state)
{
    struct fixture *f = *state;
    off_t length = length_of(f, FIRST_SEG);
    for (off_t back = 1; back < 200; back += 7) {
        flip(f, FIRST_SEG, length - back, 1);
        assert_int_equal(unlinkat(f->dirfd, "index", 0), 0);
        open_disk(f);
        assert_int_equal(count_there(f), CHUNKS);
        /* Its end is not trusted: new records go elsewhere. */
        close_disk(f);
        flip(f, FIRST_SEG, length_of(f, FIRST_SEG) - back, 1);
    }
}

static void foreign_files_are_left_alone(void **state)
{
    struct fixture *f = *state;
    const char *const names[] = {"segments/README", "segments/1.seg", "segments/0000000G.seg"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        close(openat(f->dirfd, names[i], O_CREAT | O_WRONLY, 0600));
    assert_int_equal(mkdirat(f->dirfd, "segments/00000007.seg", 0700), 0);
    open_disk(f);
    assert_int_equal(count_there(f), CHUNKS);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(faccessat(f->dirfd, names[i], F_OK, 0), 0);
}

static void overwrite_anything(struct fixture *f, uint64_t *seed, const char *name)
{
    AUTO_CLOSE int fd = openat(f->dirfd, name, O_RDWR);
    if (fd < 0)
        return;
    uint64_t length = (uint64_t)lseek(fd, 0, SEEK_END);
    for (unsigned i = 0; length && i < 20; i++) {
        uint64_t v = splitmix64(seed);
        size_t n = v % 8 + 1;
        if (splitmix64(seed) % 4 == 0)
            v = 0;
        assert_true(pwrite(fd, &v, n, (off_t)(splitmix64(seed) % length)) > 0);
    }
    if (splitmix64(seed) % 3 == 0)
        assert_int_equal(ftruncate(fd, (off_t)(splitmix64(seed) % (length + 1000))), 0);
}

static void random_damage_is_survived(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = test_seed();
    for (unsigned round = 0; round < 60; round++) {
        for (unsigned i = 1; i < 9; i++) {
            char name[64];
            snprintf(name, sizeof(name), "segments/%08x.seg", round * 2 / 3 + i);
            if (splitmix64(&seed) % 2)
                overwrite_anything(f, &seed, name);
        }
        if (splitmix64(&seed) % 2)
            overwrite_anything(f, &seed, "index");
        open_disk(f);
        count_there(f);
        put_all(f);
        assert_int_equal(count_there(f), CHUNKS);
        assert_true(dir_bytes(f->dir) <= LIMIT);
        close_disk(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        TEST(every_byte_of_a_header_matters),
        TEST(a_flipped_bit_of_a_payload_is_noticed),
        TEST(a_slot_that_points_to_another_record_is_noticed),
        TEST(flipped_bits_of_the_index_lose_at_most_their_entries),
        TEST(a_segment_cut_short_loses_only_its_end),
        TEST(a_missing_segment_is_absent),
        TEST(entries_that_a_crash_left_are_audited),
        TEST(a_missing_index_is_rebuilt),
        TEST(a_garbage_index_is_rebuilt),
        TEST(a_damaged_table_of_contents_is_made_up_for),
        TEST(foreign_files_are_left_alone),
        TEST(random_damage_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
