// SPDX-License-Identifier: Apache-2.0
/* Each allocation of a short life fails once: nothing crashes, leaks or lies. */
#include "cache/cache.h"

#include <limits.h>

#include "unit/cache/support.h"

static atomic_long until_failure = LONG_MAX;

static bool fails(void)
{
    return atomic_fetch_sub(&until_failure, 1) == 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return fails() ? NULL : __real_aligned_alloc(align, n);
}

#define CHUNKS 60U

/* Opens, stores more than fits, reads; *ret_open is the result of the open. */
static void live(const char *dir, struct cairn_chunk **chunks, int *ret_open)
{
    struct cairn_cache_config cfg = {
        .disk = {.dir = dir, .max_bytes = MIB, .zstd_level = 1},
        .memory_bytes = 300 * KIB,
    };
    struct cairn_cache *c = NULL;
    *ret_open = cairn_cache_open(&c, &cfg, NULL);
    if (*ret_open < 0)
        return;
    for (unsigned i = 0; i < CHUNKS; i++) {
        cairn_cache_put(c, chunks[i], true);
        if (i % 10 == 9)
            cairn_disk_drain(cairn_cache_disk(c));
        for (unsigned k = 0; k < 3; k++) {
            struct cairn_chunk *got;
            unsigned n = k == 0 ? i : (i * 7 + k) % CHUNKS;
            int r = cairn_cache_get(c, &chunks[n]->id, &got);
            if (r == 0 &&
                (got->len != chunks[n]->len || memcmp(got->data, chunks[n]->data, got->len) != 0))
                fail_msg("chunk %u is wrong", n);
            else if (r == 0)
                cairn_chunk_unref(got);
            else if (r != -ENOENT && r != -ENOMEM)
                fail_msg("chunk %u: %d", n, r);
        }
    }
    cairn_disk_drain(cairn_cache_disk(c));
    if (dir_bytes(dir) > MIB)
        fail_msg("too much on disk");
    cairn_cache_close(c);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    struct cairn_chunk *chunks[CHUNKS];
    for (unsigned i = 0; i < CHUNKS; i++)
        chunks[i] = make_chunk(i, 30000, i % 2);
    char dir[64];
    make_dir(dir);
    long failed = 0;
    /* Until a life needs fewer allocations than that. */
    for (long n = 0;; n++) {
        int opened;
        atomic_store(&until_failure, n);
        live(dir, chunks, &opened);
        long left = atomic_exchange(&until_failure, LONG_MAX);
        assert_true(opened == 0 || opened == -ENOMEM);
        if (left >= 0)
            break;
        failed++;
        if (n % 5 == 0) {
            /* Also from nothing, and from segments without an index. */
            char index[128];
            snprintf(index, sizeof(index), "%s/index", dir);
            if (n % 10 == 0)
                remove_dir(dir), assert_int_equal(mkdir(dir, 0700), 0);
            else
                (void)!unlink(index);
        }
    }
    print_message("allocations failed: %ld\n", failed);
    assert_true(failed > 100);
    for (unsigned i = 0; i < CHUNKS; i++)
        cairn_chunk_unref(chunks[i]);
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
