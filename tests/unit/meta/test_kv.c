// SPDX-License-Identifier: Apache-2.0
/* The key-value store: overlay, LMDB and the walk over both, against a model; growth of the map. */
#include "fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "meta/kv_iter.h"
#include "meta/kv_priv.h"

enum { KEYS = 3000, VAL_MAX = 6000 };

struct model {
    uint32_t val[KEYS]; /* 0: absent; else length and content of the value */
};

static size_t seal(void *arg, uint8_t *ret_val)
{
    memcpy(ret_val, "seal", 4);
    return 4;
}

static struct kv *open_kv(const char *dir, uint64_t map_first)
{
    struct kv *kv;
    struct kv_config cfg = {.dir = dir,
                            .map_bytes = 256 << 20,
                            .map_first = map_first,
                            .commit_ns = 2000000,
                            .seal = seal,
                            .seal_key = {.len = 1, .bytes = "~"}};
    assert_ok(kv_open(&kv, &cfg));
    assert_ok(kv_start(kv));
    return kv;
}

/* In model order = memcmp order: "k" and the number in decimal would not be. */
static void make_key(struct kv_key *ret, unsigned i)
{
    ret->len = 4;
    memcpy(ret->bytes, "k", 1);
    ret->bytes[1] = (uint8_t)(i / 500);
    ret->bytes[2] = (uint8_t)(i % 500 / 2);
    if (i % 2) {
        ret->bytes[3] = 0; /* its predecessor is its prefix */
    } else {
        ret->len = 3;
    }
}

static size_t make_val(uint8_t *ret, uint32_t v)
{
    size_t len = v % VAL_MAX;
    memset(ret, (int)(v & 0xff), len);
    return len;
}

static void assert_val(uint32_t v, const uint8_t *val, size_t len)
{
    uint8_t want[VAL_MAX];
    assert_int_equal(len, make_val(want, v));
    assert_memory_equal(want, val, len);
}

static int view_val(void *arg, const uint8_t *val, size_t len)
{
    assert_val(*(uint32_t *)arg, val, len);
    return 0;
}

static void compare_gets(struct kv *kv, const struct model *mo)
{
    struct kv_key key;
    for (unsigned i = 0; i < KEYS; i++) {
        uint32_t v = mo->val[i];
        make_key(&key, i);
        assert_int_equal(kv_view(kv, &key, view_val, &v), mo->val[i] ? 0 : -ENOENT);
    }
}

static void compare_walk(struct kv *kv, const struct model *mo, unsigned from, size_t prefix_len,
                         unsigned end)
{
    struct kv_iter it;
    struct kv_item item;
    struct kv_key key;
    int r;
    make_key(&key, from);
    kv_iter_begin(&it, kv, &key, prefix_len, 1 + from % 40);
    unsigned i = from;
    while ((r = kv_iter_next(&it, &item)) > 0) {
        while (i < end && !mo->val[i])
            i++;
        assert_true(i < end);
        make_key(&key, i);
        assert_int_equal(item.key_len, key.len);
        assert_memory_equal(item.key, key.bytes, key.len);
        assert_val(mo->val[i++], item.val, item.val_len);
    }
    assert_ok(r);
    while (i < end && !mo->val[i])
        i++;
    assert_int_equal(i, end);
    kv_iter_end(&it);
}

static void change_some(struct kv *kv, struct model *mo, uint64_t *seed)
{
    struct kv_batch b;
    struct kv_key key;
    uint8_t val[VAL_MAX];
    kv_lock(kv, false);
    kv_batch_begin(&b, kv);
    unsigned count = (unsigned)(next_random(seed) % 100), dels = (unsigned)(next_random(seed) % 4);
    for (unsigned k = 0; k < count; k++) {
        uint64_t r = next_random(seed);
        unsigned i = (unsigned)(r % KEYS);
        make_key(&key, i);
        if ((r >> 32) % 4 < dels) {
            mo->val[i] = 0;
            kv_batch_del(&b, &key);
        } else {
            mo->val[i] = 1 + (uint32_t)((r >> 34) & 0xfffff) % 400;
            if ((r >> 60) == 0)
                mo->val[i] += 5000;
            kv_batch_put(&b, &key, val, make_val(val, mo->val[i]));
        }
    }
    assert_ok(kv_apply(&b));
    kv_unlock(kv);
}

static void test_random_changes_match_a_model(void **state)
{
    char dir[64];
    uint64_t seed = test_seed();
    struct model *mo = calloc(1, sizeof(*mo));
    make_dir(dir);
    struct kv *kv = open_kv(dir, 0);
    for (int step = 0; step < 600; step++) {
        uint64_t r = next_random(&seed);
        change_some(kv, mo, &seed);
        if (r % 17 == 0)
            assert_ok(kv_sync(kv));
        if (r % 23 == 0) {
            unsigned from = (unsigned)((r >> 8) % KEYS);
            compare_gets(kv, mo);
            compare_walk(kv, mo, from, 1, KEYS);
            compare_walk(kv, mo, from, 2, from / 500 * 500 + 500);
        }
        if (r % 151 == 0) {
            kv_close(kv);
            kv = open_kv(dir, 0);
        }
    }
    compare_gets(kv, mo);
    kv_close(kv);
    remove_dir(dir);
    free(mo);
}

struct growth {
    struct kv *kv;
    atomic_uint filled;
    atomic_bool stop;
};

static int view_any(void *arg, const uint8_t *val, size_t len)
{
    return len == 4000 ? 0 : -EIO;
}

static void *read_on(void *arg)
{
    struct growth *g = arg;
    uint64_t seed = 1;
    while (!atomic_load(&g->stop)) {
        unsigned filled = atomic_load(&g->filled);
        struct kv_key key = {.len = 5, .bytes = "k"};
        uint32_t i = filled ? (uint32_t)(next_random(&seed) % filled) : 0;
        memcpy(key.bytes + 1, &i, 4);
        if (filled && kv_view(g->kv, &key, view_any, NULL) != 0)
            return g;
    }
    return NULL;
}

static void test_map_grows_under_readers(void **state)
{
    char dir[64];
    make_dir(dir);
    struct growth g = {.kv = open_kv(dir, 1 << 20)};
    pthread_t readers[3];
    uint8_t val[4000] = "x";
    for (int i = 0; i < 3; i++)
        pthread_create(&readers[i], NULL, read_on, &g);
    for (uint32_t i = 0; i < 5000; i++) {
        struct kv_batch b;
        struct kv_key key = {.len = 5, .bytes = "k"};
        memcpy(key.bytes + 1, &i, 4);
        kv_lock(g.kv, false);
        kv_batch_begin(&b, g.kv);
        kv_batch_put(&b, &key, val, sizeof(val));
        assert_ok(kv_apply(&b));
        kv_unlock(g.kv);
        atomic_store(&g.filled, i + 1);
        if (i % 100 == 0)
            assert_ok(kv_sync(g.kv));
    }
    assert_ok(kv_sync(g.kv));
    atomic_store(&g.stop, true);
    for (int i = 0; i < 3; i++) {
        void *failed;
        pthread_join(readers[i], &failed);
        assert_null(failed);
    }
    assert_true(kv_env_map_bytes(g.kv->env) >= 16 << 20);
    kv_close(g.kv);
    remove_dir(dir);
}

static int add_index(void *arg, unsigned index, const uint8_t *val, size_t len)
{
    *(unsigned *)arg |= 1u << index;
    return 0;
}

static void test_view_many_finds_what_is_there(void **state)
{
    char dir[64];
    make_dir(dir);
    struct kv *kv = open_kv(dir, 0);
    struct kv_key keys[4];
    struct kv_batch b;
    unsigned found = 0;
    for (unsigned i = 0; i < 4; i++)
        make_key(&keys[i], i);
    kv_lock(kv, false);
    kv_batch_begin(&b, kv);
    kv_batch_put(&b, &keys[0], "a", 1);
    kv_batch_put(&b, &keys[2], "b", 1);
    assert_ok(kv_apply(&b));
    kv_unlock(kv);
    assert_ok(kv_sync(kv));
    kv_lock(kv, false);
    kv_batch_begin(&b, kv);
    kv_batch_put(&b, &keys[3], "c", 1);
    kv_batch_del(&b, &keys[0]);
    assert_ok(kv_apply(&b));
    kv_unlock(kv);
    assert_ok(kv_view_many(kv, keys, 4, add_index, &found));
    assert_int_equal(found, 0xc);
    kv_close(kv);
    remove_dir(dir);
}

static void test_absorb_joins_overlays(void **state)
{
    struct overlay *a = overlay_new(), *b = overlay_new();
    const uint8_t k[] = {1, 2, 3};
    overlay_put(a, overlay_entry_new(k, 1, 1, k, 1));
    overlay_put(a, overlay_entry_new(k, 2, 2, k, 1));
    overlay_put(b, overlay_entry_new(k, 1, 1, NULL, 0));
    overlay_put(b, overlay_entry_new(k, 3, 3, k, 3));
    overlay_absorb(a, b);
    assert_int_equal(a->count, 3);
    assert_int_equal(b->count, 0);
    assert_int_equal(b->bytes, 0);
    assert_null(overlay_find(b, k, 3, 3));
    assert_true(overlay_find(a, k, 1, 1)->deleted);
    assert_false(overlay_find(a, k, 2, 2)->deleted);
    assert_int_equal(overlay_find(a, k, 3, 3)->val_len, 3);
    const struct overlay_entry *e = overlay_seek(a, k, 1, true);
    assert_int_equal(e->key_len, 2);
    assert_int_equal(e->next[0]->key_len, 3);
    assert_null(e->next[0]->next[0]);
    overlay_free(a);
    overlay_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_changes_match_a_model),
        cmocka_unit_test(test_map_grows_under_readers),
        cmocka_unit_test(test_view_many_finds_what_is_there),
        cmocka_unit_test(test_absorb_joins_overlays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
