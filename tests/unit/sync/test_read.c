// SPDX-License-Identifier: Apache-2.0
/* Reading through windows: bytes, cuts, single flight, and files that change meanwhile. */
#include "unit/sync/engine.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "unit/seed.h"

#define REQUEST (128 * KIB)

/* --- cuts --- */

static void cuts_are_canonical_after_reading_from_the_start(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    static const size_t windows[] = {1, 4096, 100000, 262144, 300001, 1 << 20, 8 << 20};
    const size_t size = 5 * MIB + 12345;
    AUTO_FREE uint8_t *got = malloc(REQUEST);

    for (size_t i = 0; i < ARRAY_LEN(windows); i++) {
        AUTO_FREE uint8_t *data = engine_bytes(&rng, size);
        char name[16];
        snprintf(name, sizeof name, "f%zu", i);
        engine_put(e, name, data, size);
        struct cairn_handle *h = engine_open(e, name, false);
        h->ahead.window = windows[i];
        for (size_t off = 0; off < size; off += REQUEST) {
            size_t len = min_u64(REQUEST, size - off);
            assert_int_equal(engine_read(h, got, off, len), len);
            assert_memory_equal(got, data + off, len);
        }
        uint64_t ino = h->node->ino;
        engine_close(h);
        engine_settle(e);
        engine_assert_canonical(e, ino, data, size);
    }
}

static void shuffle(struct engine_range *r, size_t count, uint64_t *rng)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = splitmix64(rng) % i;
        struct engine_range t = r[i - 1];
        r[i - 1] = r[j];
        r[j] = t;
    }
}

/* The kernel asks for a few requests of its readahead at once, in any order. */
static void cuts_are_canonical_after_reordered_reads(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    const size_t size = 6 * MIB + 777, batch = 4;

    for (unsigned round = 0; round < 8; round++) {
        AUTO_FREE uint8_t *data = engine_bytes(&rng, size);
        AUTO_FREE uint8_t *got = calloc(1, size);
        struct engine_range r[4];
        char name[16];
        snprintf(name, sizeof name, "f%u", round);
        engine_put(e, name, data, size);
        struct cairn_handle *h = engine_open(e, name, false);
        for (size_t off = 0; off < size;) {
            size_t count = 0;
            for (; count < batch && off < size; count++) {
                size_t len = min_u64(REQUEST, size - off);
                r[count] = (struct engine_range){off, len, got + off};
                off += len;
            }
            if (r[0].off) /* the first read is alone: it tells that this is sequential */
                shuffle(r, count, &rng);
            engine_read_many(h, r, count);
        }
        assert_memory_equal(got, data, size);
        uint64_t ino = h->node->ino;
        engine_close(h);
        engine_settle(e);
        engine_assert_canonical(e, ino, data, size);
    }
}

static void random_reads_then_all_are_right(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    const size_t size = 4 * MIB + 99;

    for (unsigned round = 0; round < 6; round++) {
        AUTO_FREE uint8_t *data = engine_bytes(&rng, size);
        AUTO_FREE uint8_t *got = malloc(size);
        char name[16];
        snprintf(name, sizeof name, "f%u", round);
        engine_put(e, name, data, size);
        struct cairn_handle *h = engine_open(e, name, false);
        for (unsigned i = 0; i < 60; i++) {
            uint64_t off = splitmix64(&rng) % size;
            size_t len = 1 + splitmix64(&rng) % (i % 2 ? 5000 : 400000);
            size_t expected = min_u64(len, size - off);
            assert_int_equal(engine_read(h, got, off, len), expected);
            assert_memory_equal(got, data + off, expected);
        }
        engine_close(h);
        engine_assert_file(e, name, data, size, REQUEST);
        engine_settle(e);
        uint64_t fetched = engine_counted(e, CAIRN_FETCH_BYTES);
        engine_assert_file(e, name, data, size, 100001);
        assert_int_equal(engine_counted(e, CAIRN_FETCH_BYTES), fetched);
    }
}

static void reads_at_and_behind_the_end_are_short(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *data = engine_bytes(&rng, 1000);
    uint8_t got[4096];

    engine_put(e, "f", data, 1000);
    engine_put(e, "empty", data, 0);
    struct cairn_handle *h = engine_open(e, "f", false);
    assert_int_equal(engine_read(h, got, 900, sizeof got), 100);
    assert_memory_equal(got, data + 900, 100);
    assert_int_equal(engine_read(h, got, 1000, sizeof got), 0);
    assert_int_equal(engine_read(h, got, UINT64_MAX / 2, sizeof got), 0);
    engine_close(h);
    h = engine_open(e, "empty", false);
    assert_int_equal(engine_read(h, got, 0, sizeof got), 0);
    engine_close(h);
}

/* --- single flight --- */

struct reader {
    pthread_t thread;
    pthread_barrier_t *barrier;
    struct cairn_handle *handle;
    const uint8_t *data;
    size_t size, step;
    bool right;
};

static void *read_all(void *arg)
{
    struct reader *r = arg;
    AUTO_FREE uint8_t *got = malloc(r->step);
    r->right = true;
    pthread_barrier_wait(r->barrier);
    for (size_t off = 0; off < r->size; off += r->step) {
        size_t len = min_u64(r->step, r->size - off);
        if (engine_read(r->handle, got, off, len) != (ssize_t)len ||
            memcmp(got, r->data + off, len) != 0)
            r->right = false;
    }
    return NULL;
}

static void many_readers_fetch_a_range_once(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    const size_t size = 4 * MIB + 4321;
    enum { READERS = 12 };
    struct reader r[READERS];

    for (unsigned round = 0; round < 6; round++) {
        AUTO_FREE uint8_t *data = engine_bytes(&rng, size);
        char name[16];
        pthread_barrier_t barrier;
        uint64_t before = engine_counted(e, CAIRN_FETCH_BYTES);
        snprintf(name, sizeof name, "f%u", round);
        engine_put(e, name, data, size);
        pthread_barrier_init(&barrier, NULL, READERS);
        for (unsigned i = 0; i < READERS; i++) {
            r[i] = (struct reader){.barrier = &barrier,
                                   .handle = engine_open(e, name, false),
                                   .data = data,
                                   .size = size,
                                   .step = i % 2 ? REQUEST : 70001};
            assert_int_equal(pthread_create(&r[i].thread, NULL, read_all, &r[i]), 0);
        }
        for (unsigned i = 0; i < READERS; i++) {
            pthread_join(r[i].thread, NULL);
            assert_true(r[i].right);
            engine_close(r[i].handle);
        }
        pthread_barrier_destroy(&barrier);
        engine_settle(e);
        assert_int_equal(engine_counted(e, CAIRN_FETCH_BYTES) - before, size);
    }
}

/* --- files that change --- */

struct change {
    const char *name;
    const uint8_t *data;
    size_t size;
    bool replace;
    atomic_uint after; /* preads until the change is made */
};

static void change_between_windows(struct engine *e, const char *op, void *arg)
{
    struct change *c = arg;
    if (strcmp(op, "pread") != 0 || !atomic_load(&c->after) || atomic_fetch_sub(&c->after, 1) != 1)
        return;
    if (c->replace)
        engine_replace(e, c->name, c->data, c->size);
    else
        engine_poke(e, c->name, 0, c->data, c->size);
}

/* One read over several windows, while the file changes between two of them. */
static void read_while_changing(struct engine *e, bool replace, bool pinned)
{
    uint64_t rng = test_seed();
    const size_t size = 2 * MIB;
    AUTO_FREE uint8_t *got = malloc(size);
    for (unsigned after = 1; after <= 3; after++) {
        AUTO_FREE uint8_t *old = engine_bytes(&rng, size);
        AUTO_FREE uint8_t *new = engine_bytes(&rng, size);
        struct change change = {"f", new, size, replace, after};
        struct origin_call c = cairn_sync_call(e->s);
        engine_put(e, "f", old, size);
        struct cairn_handle *h = engine_open(e, "f", false);
        if (pinned)
            assert_int_equal(cairn_node_pin(h->node, &c), 0);
        /* The middle is near, so that the read needs a window before it and one behind. */
        assert_int_equal(engine_read(h, got, 600 * KIB, 1), 1);
        engine_settle(e);
        e->hook_arg = &change;
        e->hook = change_between_windows;
        ssize_t n = engine_read(h, got, 0, size);
        engine_settle(e);
        e->hook = NULL;
        assert_int_equal(n, size);
        if (memcmp(got, old, size) != 0)
            assert_memory_equal(got, new, size);
        engine_close(h);
        engine_assert_file(e, "f", atomic_load(&change.after) ? old : new, size, REQUEST);
    }
}

static void read_never_mixes_when_changed_in_place(void **state)
{
    read_while_changing(*state, false, false);
}

static void read_never_mixes_when_changed_in_place_and_pinned(void **state)
{
    read_while_changing(*state, false, true);
}

static void read_never_mixes_when_replaced(void **state)
{
    read_while_changing(*state, true, false);
}

static void read_never_mixes_when_replaced_and_pinned(void **state)
{
    read_while_changing(*state, true, true);
}

#define engine_test(f) cmocka_unit_test_setup_teardown(f, engine_setup, engine_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(cuts_are_canonical_after_reading_from_the_start),
        engine_test(cuts_are_canonical_after_reordered_reads),
        engine_test(random_reads_then_all_are_right),
        engine_test(reads_at_and_behind_the_end_are_short),
        engine_test(many_readers_fetch_a_range_once),
        engine_test(read_never_mixes_when_changed_in_place),
        engine_test(read_never_mixes_when_changed_in_place_and_pinned),
        engine_test(read_never_mixes_when_replaced),
        engine_test(read_never_mixes_when_replaced_and_pinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
