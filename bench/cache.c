// SPDX-License-Identifier: Apache-2.0
/*
 * What does a chunk of 64 KiB cost in each tier, the page cache being hot?
 *
 *     bench-cache DIR [threads]     DIR is made empty use of: a new subdirectory, removed again
 *
 * Microseconds per chunk and GB/s (10^9), best of five rounds: a get from memory, a get from disk
 * (read, verified, in a buffer of its own), a put through to written segments, a put of what is
 * there already, and opening a tier of that size.
 */
#include <ftw.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "cache/cache.h"

enum { ROUNDS = 5, CHUNKS = 8192, LEN = 65536 };

struct bench {
    struct cairn_cache *cache;
    struct cairn_chunk_id ids[CHUNKS];
    unsigned threads;
};

static void fail(const char *what, int error)
{
    fprintf(stderr, "bench-cache: %s: %s\n", what, strerror(-error));
    exit(1);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void report(const char *name, int64_t ns, uint64_t chunks)
{
    printf("%-28s %8.3f us %8.2f GB/s\n", name, (double)ns / 1000 / (double)chunks,
           (double)chunks * LEN / (double)ns);
}

static void fill(struct cairn_chunk *c, uint64_t n)
{
    uint64_t state = n * 0x9e3779b97f4a7c15ULL + 1;
    for (size_t i = 0; i < LEN; i += 8) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        memcpy(c->data + i, &state, 8);
    }
    c->id = cairn_chunk_id_of(c->data, LEN);
}

static void *get_memory(void *arg)
{
    struct bench *b = arg;
    for (unsigned i = 0; i < CHUNKS; i++) {
        struct cairn_chunk *c = cairn_memory_get(cairn_cache_memory(b->cache), &b->ids[i]);
        if (!c)
            fail("get from memory", -ENOENT);
        cairn_chunk_unref(c);
    }
    return NULL;
}

static void *get_disk(void *arg)
{
    struct bench *b = arg;
    for (unsigned i = 0; i < CHUNKS; i++) {
        struct cairn_chunk *c;
        int r = cairn_disk_get(cairn_cache_disk(b->cache), &b->ids[i], &c);
        if (r < 0)
            fail("get from disk", r);
        cairn_chunk_unref(c);
    }
    return NULL;
}

static void run(struct bench *b, const char *name, void *(*fn)(void *))
{
    int64_t best = INT64_MAX;
    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_t threads[64];
        int64_t start = cairn_now_ns();
        for (unsigned i = 1; i < b->threads; i++)
            if (pthread_create(&threads[i], NULL, fn, b) != 0)
                fail("thread", -EAGAIN);
        fn(b);
        for (unsigned i = 1; i < b->threads; i++)
            pthread_join(threads[i], NULL);
        int64_t ns = cairn_now_ns() - start;
        best = ns < best ? ns : best;
    }
    report(name, best, (uint64_t)CHUNKS * b->threads);
}

static void put_all(struct bench *b)
{
    int64_t writing = 0;
    int64_t again = 0;
    for (unsigned i = 0; i < CHUNKS; i++) {
        struct cairn_chunk *c = cairn_chunk_new(LEN);
        if (!c)
            fail("chunk", -ENOMEM);
        fill(c, i);
        b->ids[i] = c->id;
        int64_t start = cairn_now_ns();
        cairn_cache_put(b->cache, c, true);
        writing += cairn_now_ns() - start;
        cairn_chunk_unref(c);
    }
    int64_t start = cairn_now_ns();
    cairn_disk_drain(cairn_cache_disk(b->cache));
    writing += cairn_now_ns() - start;
    report("put, until written", writing, CHUNKS);
    for (unsigned i = 0; i < CHUNKS; i++) {
        struct cairn_chunk *c = cairn_memory_get(cairn_cache_memory(b->cache), &b->ids[i]);
        start = cairn_now_ns();
        cairn_cache_put(b->cache, c, true);
        again += cairn_now_ns() - start;
        cairn_chunk_unref(c);
    }
    report("put, there already", again, CHUNKS);
}

int main(int argc, char **argv)
{
    static struct bench b;
    char dir[256];
    if (argc < 2) {
        fprintf(stderr, "usage: bench-cache DIR [threads]\n");
        return 2;
    }
    b.threads = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1;
    if (b.threads < 1 || b.threads > 64)
        fail("threads", -EINVAL);
    snprintf(dir, sizeof(dir), "%.200s/bench-cache-XXXXXX", argv[1]);
    if (!mkdtemp(dir))
        fail(argv[1], -errno);
    /* As the mount does: chunks are recycled instead of mapped anew. */
    mallopt(M_MMAP_THRESHOLD, 32 << 20); /* the most that glibc accepts */
    mallopt(M_TRIM_THRESHOLD, 1 << 30);

    struct cairn_cache_config cfg = {
        .disk = {.dir = dir, .max_bytes = 4 * GIB},
        .memory_bytes = 2 * GIB,
    };
    int r = cairn_cache_open(&b.cache, &cfg, NULL);
    if (r < 0)
        fail("open", r);
    put_all(&b);
    run(&b, "get from memory", get_memory);
    run(&b, "get from disk, verified", get_disk);
    cairn_cache_close(b.cache);

    int64_t start = cairn_now_ns();
    r = cairn_cache_open(&b.cache, &cfg, NULL);
    if (r < 0)
        fail("open", r);
    printf("%-28s %8.3f us\n", "open", (double)(cairn_now_ns() - start) / 1000);
    cairn_cache_close(b.cache);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
