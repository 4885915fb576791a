// SPDX-License-Identifier: Apache-2.0
/* Readers while writers write and generations change: nothing is missed, nothing is torn. */
#include "check.h"
#include "fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILES = 200, READERS = 4, ROUNDS = 4000 };

struct hammer {
    struct cairn_meta *m;
    uint64_t dir, ino[FILES];
    uint64_t content;
    _Atomic uint64_t newest; /* its record exists */
    atomic_bool stop;
    atomic_int failed; /* line */
};

#define EXPECT(h, cond)                                                                            \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            int none = 0;                                                                          \
            atomic_compare_exchange_strong(&(h)->failed, &none, __LINE__);                         \
            return;                                                                                \
        }                                                                                          \
    } while (0)

static int count_fixed(void *arg, const struct cairn_dirent *e)
{
    if (!strncmp(e->name, "fixed", 5))
        ++*(unsigned *)arg;
    return 0;
}

static void read_round(struct hammer *h, uint64_t *seed, uint64_t seen[FILES])
{
    struct cairn_inode newest;
    EXPECT(h, cairn_meta_inode(h->m, atomic_load(&h->newest), &newest) == 0);
    uint64_t i = next_random(seed) % FILES, ino = 0, hole_end;
    struct cairn_inode in;
    struct cairn_manifest_entry e, got[64];
    char name[32];
    snprintf(name, sizeof(name), "fixed%u", (unsigned)i);
    EXPECT(h, cairn_meta_lookup(h->m, h->dir, name, &ino) == 0 && ino == h->ino[i]);
    EXPECT(h, cairn_meta_inode(h->m, ino, &in) == 0);
    EXPECT(h, in.size == in.version.size && in.size == in.blocks && !strcmp(in.name, name));
    EXPECT(h, in.size >= seen[i]); /* no step back to what was overwritten */
    seen[i] = in.size;
    EXPECT(h, cairn_meta_by_fileid(h->m, ino + 1000000, &ino) == 0 && ino == h->ino[i]);

    /* The first 64 MiB are always covered, by entries that begin at changing offsets. */
    uint64_t off = next_random(seed) % (64 << 20);
    EXPECT(h, cairn_meta_chunk_at(h->m, h->content, off, &e, &hole_end) == 0);
    EXPECT(h, e.off <= off && off < e.off + e.len);
    int n = cairn_meta_chunks(h->m, h->content, 0, 64 << 20, got, 64);
    EXPECT(h, n > 0);
}

static void *run_reader(void *arg)
{
    struct hammer *h = arg;
    uint64_t seed = (uint64_t)(uintptr_t)&seed, seen[FILES] = {0};
    for (unsigned k = 0; !atomic_load(&h->stop) && !atomic_load(&h->failed); k++) {
        unsigned count = 0;
        read_round(h, &seed, seen);
        if (k % 16 == 0 &&
            (cairn_meta_readdir(h->m, h->dir, 0, count_fixed, &count) != 0 || count != FILES))
            atomic_store(&h->failed, __LINE__);
    }
    return NULL;
}

static void cover(struct hammer *h, uint64_t *seed)
{
    struct cairn_manifest_entry e[64];
    uint64_t end = 64 << 20, at = 0;
    unsigned count = 0;
    while (at < end) {
        uint32_t len = (2 << 20) + (uint32_t)(next_random(seed) % (5 << 20));
        if (len > end - at)
            len = (uint32_t)(end - at);
        e[count++] = make_entry(at, len, next_random(seed));
        at += len;
    }
    assert_ok(cairn_meta_put_chunks(h->m, h->content, 0, end, e, count));
}

static void write_round(struct hammer *h, uint64_t *seed, unsigned round)
{
    struct cairn_inode in;
    char name[32], other[32];
    uint64_t i = next_random(seed) % FILES;
    cairn_meta_lock(h->m);
    assert_ok(cairn_meta_inode(h->m, h->ino[i], &in));
    in.size = in.version.size = in.blocks = round;
    assert_ok(cairn_meta_put_inode(h->m, &in));
    snprintf(name, sizeof(name), "passing%u", round % 100);
    snprintf(other, sizeof(other), "passed%u", round % 100);
    if (round % 200 < 100)
        assert_ok(cairn_meta_link(h->m, h->dir, name, h->ino[i]));
    else
        assert_ok(cairn_meta_unlink(h->m, h->dir, other, NULL, NULL));
    if (round % 200 < 100)
        assert_ok(cairn_meta_rename(h->m, h->dir, name, h->dir, other));
    if (round % 3 == 0)
        cover(h, seed);
    struct cairn_inode fresh = {.ino = cairn_meta_new_ino(h->m)};
    assert_ok(cairn_meta_put_inode(h->m, &fresh));
    cairn_meta_unlock(h->m);
    atomic_store(&h->newest, fresh.ino);
}

static void test_readers_never_miss(void **state)
{
    struct fixture *f = *state;
    struct cairn_meta_config cfg = {.dir = f->dir, .map_bytes = 4ull << 30, .commit_ns = 1000000};
    cairn_meta_close(f->m);
    assert_ok(cairn_meta_open(&f->m, &cfg));
    struct hammer *h = calloc(1, sizeof(*h));
    uint64_t seed = test_seed();
    h->m = f->m;
    h->dir = make_node(f->m, CAIRN_ROOT_INO, "dir", S_IFDIR);
    h->content = cairn_meta_new_content(f->m);
    for (unsigned i = 0; i < FILES; i++) {
        char name[32];
        snprintf(name, sizeof(name), "fixed%u", i);
        h->ino[i] = make_node(f->m, h->dir, name, S_IFREG);
        struct cairn_inode in = {.ino = h->ino[i], .fileid = h->ino[i] + 1000000};
        cairn_meta_lock(f->m);
        assert_ok(cairn_meta_put_inode(f->m, &in));
        cairn_meta_unlock(f->m);
    }
    cairn_meta_lock(f->m);
    cover(h, &seed);
    cairn_meta_unlock(f->m);
    atomic_store(&h->newest, CAIRN_ROOT_INO);
    pthread_t readers[READERS];
    for (int i = 0; i < READERS; i++)
        pthread_create(&readers[i], NULL, run_reader, h);
    for (unsigned round = 0; round < ROUNDS && !atomic_load(&h->failed); round++) {
        write_round(h, &seed, round);
        if (round % 40 == 39)
            assert_ok(cairn_meta_sync(f->m));
    }
    atomic_store(&h->stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    assert_int_equal(atomic_load(&h->failed), 0);
    check_names(f->m);
    free(h);
}

enum { DEPTH = 40 };

struct mover {
    struct cairn_meta *m;
    uint64_t leaf;
    atomic_bool stop;
    atomic_int failed;
};

/* Top and leaf of a deep path are renamed in turn, so that only some pairs of names ever exist: a
 * walk that mixes instants finds others. */
static const char *const pairs[][2] = {{"x", "1"}, {"y", "1"}, {"y", "2"},
                                       {"z", "2"}, {"z", "3"}, {"x", "3"}};

static void *watch_path(void *arg)
{
    struct mover *mv = arg;
    while (!atomic_load(&mv->stop)) {
        char *path = NULL;
        bool known = false;
        if (cairn_meta_path(mv->m, mv->leaf, &path) == 0)
            for (int i = 0; i < 6; i++)
                known |= path[0] == pairs[i][0][0] && path[strlen(path) - 1] == pairs[i][1][0];
        if (!known)
            atomic_store(&mv->failed, 1);
        free(path);
    }
    return NULL;
}

static void test_paths_are_of_one_instant(void **state)
{
    struct fixture *f = *state;
    struct mover mv = {.m = f->m};
    uint64_t dir = make_node(f->m, CAIRN_ROOT_INO, "x", S_IFDIR);
    for (int i = 0; i < DEPTH; i++)
        dir = make_node(f->m, dir, "down", S_IFDIR);
    mv.leaf = make_node(f->m, dir, "1", S_IFREG);
    pthread_t watcher[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&watcher[i], NULL, watch_path, &mv);
    for (int i = 0; i < 6000; i++) {
        const char *const *from = pairs[i % 6], *const *to = pairs[(i + 1) % 6];
        cairn_meta_lock(f->m);
        if (strcmp(from[0], to[0]))
            assert_ok(cairn_meta_rename(f->m, CAIRN_ROOT_INO, from[0], CAIRN_ROOT_INO, to[0]));
        else
            assert_ok(cairn_meta_rename(f->m, dir, from[1], dir, to[1]));
        cairn_meta_unlock(f->m);
    }
    atomic_store(&mv.stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(watcher[i], NULL);
    assert_int_equal(atomic_load(&mv.failed), 0);
}

static void *add_files(void *arg)
{
    struct cairn_meta *m = arg;
    for (int i = 0; i < 300; i++) {
        char name[32];
        struct cairn_inode in = {.ino = cairn_meta_new_ino(m), .mode = S_IFREG};
        snprintf(name, sizeof(name), "f%llu", (unsigned long long)in.ino);
        cairn_meta_lock(m);
        int r = cairn_meta_put_inode(m, &in);
        if (r == 0)
            r = cairn_meta_link(m, CAIRN_ROOT_INO, name, in.ino);
        cairn_meta_unlock(m);
        if (r || (i % 50 == 0 && cairn_meta_sync(m)))
            return arg;
    }
    return NULL;
}

static void test_many_writers(void **state)
{
    struct fixture *f = *state;
    pthread_t writers[6];
    struct cairn_meta_stats st;
    for (int i = 0; i < 6; i++)
        pthread_create(&writers[i], NULL, add_files, f->m);
    for (int i = 0; i < 6; i++) {
        void *failed;
        pthread_join(writers[i], &failed);
        assert_null(failed);
    }
    cairn_meta_stats(f->m, &st);
    assert_int_equal(st.inodes, 1 + 6 * 300);
    check_names(f->m);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        T(test_readers_never_miss),
        T(test_paths_are_of_one_instant),
        T(test_many_writers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
