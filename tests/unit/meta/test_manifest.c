// SPDX-License-Identifier: Apache-2.0
/* Manifests: pages, borders, holes, replacement, cloning, dropping. */
#include "check.h"
#include "fixture.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MIB  (1ull << 20)
#define PAGE (8 * MIB)

static void put_one(struct cairn_meta *m, uint64_t content, uint64_t off, uint32_t len,
                    uint64_t tag)
{
    struct cairn_manifest_entry e = make_entry(off, len, tag);
    cairn_meta_lock(m);
    assert_ok(cairn_meta_put_chunks(m, content, off, off + len, &e, 1));
    cairn_meta_unlock(m);
}

static void assert_at(struct cairn_meta *m, uint64_t content, uint64_t off, uint64_t start,
                      uint32_t len, uint64_t tag)
{
    struct cairn_manifest_entry e, want = make_entry(start, len, tag);
    assert_ok(cairn_meta_chunk_at(m, content, off, &e, NULL));
    assert_int_equal(e.off, start);
    assert_int_equal(e.len, len);
    assert_memory_equal(&e.id, &want.id, sizeof(e.id));
}

static void test_entry_over_a_page_border(void **state)
{
    struct fixture *f = *state;
    put_one(f->m, 1, PAGE - 10, 5 * MIB, 7);
    assert_at(f->m, 1, PAGE - 10, PAGE - 10, 5 * MIB, 7);
    assert_at(f->m, 1, PAGE, PAGE - 10, 5 * MIB, 7);
    assert_at(f->m, 1, PAGE + 5 * MIB - 11, PAGE - 10, 5 * MIB, 7);
    struct cairn_manifest_entry e;
    uint64_t hole_end = 0;
    assert_int_equal(cairn_meta_chunk_at(f->m, 1, PAGE + 5 * MIB - 10, &e, &hole_end), -ENOENT);
    assert_int_equal(e.off, PAGE + 5 * MIB - 10);
    assert_true(hole_end >= PAGE + 21 * MIB);
}

static void test_hole_between_entries(void **state)
{
    struct fixture *f = *state;
    struct cairn_manifest_entry e;
    uint64_t hole_end = 0;
    put_one(f->m, 1, 0, 1000, 1);
    put_one(f->m, 1, 17 * MIB, 1000, 2);
    assert_int_equal(cairn_meta_chunk_at(f->m, 1, 5000, &e, &hole_end), -ENOENT);
    assert_int_equal(e.off, 1000);
    assert_int_equal(hole_end, 17 * MIB);
    assert_int_equal(cairn_meta_chunk_at(f->m, 1, 17 * MIB - 1, &e, &hole_end), -ENOENT);
    assert_true(e.off <= 17 * MIB - 1 && e.off + MIB >= 17 * MIB - 1);
    assert_int_equal(hole_end, 17 * MIB);
}

static void test_empty_manifest_is_a_hole(void **state)
{
    struct fixture *f = *state;
    struct cairn_manifest_entry e;
    uint64_t hole_end, offs[] = {0, 1, PAGE, UINT64_MAX};
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(cairn_meta_chunk_at(f->m, 1, offs[i], &e, &hole_end), -ENOENT);
        assert_true(e.off <= offs[i]);
        assert_true(hole_end == UINT64_MAX || hole_end >= offs[i] + 16 * MIB);
    }
}

static void test_bad_entries_are_refused(void **state)
{
    struct fixture *f = *state;
    struct cairn_manifest_entry e[2] = {make_entry(10, 10, 1), make_entry(15, 10, 2)};
    struct cairn_manifest_entry whole = make_entry(0, PAGE, 3), last = make_entry(INT64_MAX, 9, 4);
    cairn_meta_lock(f->m);
    assert_int_equal(cairn_meta_put_chunks(f->m, 1, 0, 100, e, 2), -EINVAL);
    assert_int_equal(cairn_meta_put_chunks(f->m, 1, 0, 19, e, 1), -EINVAL);
    assert_int_equal(cairn_meta_put_chunks(f->m, 1, 11, 100, e, 1), -EINVAL);
    assert_int_equal(cairn_meta_put_chunks(f->m, 0, 0, 100, e, 1), -EINVAL);
    assert_int_equal(cairn_meta_put_chunks(f->m, 1, 0, PAGE, &whole, 1), -EINVAL);
    assert_int_equal(cairn_meta_put_chunks(f->m, 1, 0, UINT64_MAX, &last, 1), -EINVAL);
    cairn_meta_unlock(f->m);
    check_names(f->m);
}

static void test_truncate_takes_all_behind(void **state)
{
    struct fixture *f = *state;
    struct cairn_meta_stats st;
    for (unsigned i = 0; i < 100; i++)
        put_one(f->m, 1, i * MIB, MIB, i);
    cairn_meta_lock(f->m);
    assert_ok(cairn_meta_put_chunks(f->m, 1, 50 * MIB + 1, UINT64_MAX, NULL, 0));
    cairn_meta_unlock(f->m);
    cairn_meta_stats(f->m, &st);
    assert_int_equal(st.manifest_chunks, 50);
    assert_int_equal(st.logical_bytes, 50 * MIB);
    check_names(f->m);
}

/* The model: for every unit of a file, which entry (by tag) covers it; 0 = hole. An entry's start
 * and length follow from the tag. */
enum { UNITS = 512, TAGS = 20000 };
static const uint64_t unit = PAGE / 16;

struct model {
    uint32_t at[UNITS];
    struct cairn_manifest_entry entry[TAGS];
};

static void model_remove(struct model *mo, unsigned start, unsigned end)
{
    for (unsigned i = start; i < end; i++) {
        uint32_t tag = mo->at[i];
        for (unsigned k = 0; tag && k < UNITS; k++)
            if (mo->at[k] == tag)
                mo->at[k] = 0;
    }
}

static void compare(struct cairn_meta *m, uint64_t content, const struct model *mo, unsigned units)
{
    struct cairn_manifest_entry got[UNITS];
    unsigned count = 0;
    uint32_t before = 0;
    for (unsigned i = 0; i < units; i++) {
        struct cairn_manifest_entry e;
        uint64_t hole_end, off = i * unit + unit / 2;
        int r = cairn_meta_chunk_at(m, content, off, &e, &hole_end);
        if (!mo->at[i]) {
            assert_int_equal(r, -ENOENT);
            assert_true(e.off <= off && hole_end > off);
            unsigned first = (unsigned)((e.off + unit - 1) / unit);
            for (unsigned k = first; k < i; k++)
                assert_int_equal(mo->at[k], 0);
            assert_true(e.off + MIB >= off || e.off == 0 || mo->at[e.off / unit - 1]);
            for (unsigned k = i; k < units && k * unit < hole_end; k++)
                assert_int_equal(mo->at[k], 0);
            assert_true(hole_end >= off + 16 * MIB || mo->at[hole_end / unit]);
        } else {
            assert_ok(r);
            assert_memory_equal(&e.id, &mo->entry[mo->at[i]].id, sizeof(e.id));
            assert_int_equal(e.off, mo->entry[mo->at[i]].off);
            assert_int_equal(e.len, mo->entry[mo->at[i]].len);
            count += mo->at[i] != before;
        }
        before = mo->at[i];
    }
    assert_int_equal(cairn_meta_chunks(m, content, 0, units * unit, got, UNITS), count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(got[i].off, mo->entry[mo->at[got[i].off / unit]].off);
}

/* Entries in [start, end) at random, with holes. */
static unsigned make_entries(struct model *mo, uint64_t *seed, uint32_t *tag, unsigned start,
                             unsigned end, struct cairn_manifest_entry *ret)
{
    unsigned count = 0;
    while (start < end) {
        uint64_t r = next_random(seed);
        unsigned len = 1 + (unsigned)(r % 15);
        if (len > end - start)
            len = end - start;
        if ((r >> 8) % 3) {
            ++*tag;
            ret[count] = make_entry(start * unit, (uint32_t)(len * unit), *tag);
            mo->entry[*tag] = ret[count++];
            for (unsigned i = 0; i < len; i++)
                mo->at[start + i] = *tag;
        }
        start += len;
    }
    return count;
}

static void test_random_puts_match_a_model(void **state)
{
    struct fixture *f = *state;
    struct model *mo = calloc(1, sizeof(*mo));
    uint64_t seed = test_seed();
    uint32_t tag = 0;
    struct cairn_manifest_entry e[UNITS];
    put_one(f->m, 6, 5 * unit, 77, 1); /* neighbours that must not change */
    put_one(f->m, 8, 5 * unit, 77, 1);
    for (int step = 0; step < 250; step++) {
        uint64_t r = next_random(&seed);
        unsigned start = (unsigned)(r % UNITS), len = 1 + (unsigned)((r >> 16) % 60);
        unsigned end = start + len > UNITS ? UNITS : start + len;
        model_remove(mo, start, end);
        unsigned count = make_entries(mo, &seed, &tag, start, end, e);
        cairn_meta_lock(f->m);
        assert_ok(cairn_meta_put_chunks(f->m, 7, start * unit, end * unit, e, count));
        cairn_meta_unlock(f->m);
        if (step % 25 == 24) {
            compare(f->m, 7, mo, UNITS);
            check_names(f->m);
        }
        if (step % 100 == 50)
            fixture_reopen(f);
    }
    assert_at(f->m, 6, 5 * unit, 5 * unit, 77, 1);
    assert_at(f->m, 8, 5 * unit, 5 * unit, 77, 1);

    /* A copy has what ends at or before the size. */
    unsigned size = (unsigned)(next_random(&seed) % UNITS);
    cairn_meta_lock(f->m);
    assert_ok(cairn_meta_clone_content(f->m, 7, 9, size * unit));
    int again = cairn_meta_clone_content(f->m, 7, 9, size * unit);
    cairn_meta_unlock(f->m);
    /* So small a copy may be empty, which is as good as none. */
    struct cairn_manifest_entry first;
    bool any = cairn_meta_chunks(f->m, 9, 0, UINT64_MAX, &first, 1) > 0;
    assert_int_equal(again, any ? -EEXIST : 0);
    compare(f->m, 7, mo, UNITS);
    for (unsigned i = 0; i < UNITS; i++) {
        const struct cairn_manifest_entry *x = &mo->entry[mo->at[i]];
        if (mo->at[i] && x->off + x->len > size * unit)
            mo->at[i] = 0;
    }
    compare(f->m, 9, mo, UNITS);
    check_names(f->m);
    free(mo);
}

static void test_chunks_of_a_part(void **state)
{
    struct fixture *f = *state;
    struct cairn_manifest_entry got[10];
    for (unsigned i = 0; i < 40; i++)
        put_one(f->m, 1, i * MIB, MIB, i);
    assert_int_equal(cairn_meta_chunks(f->m, 1, 7 * MIB + 5, 9 * MIB + 1, got, 10), 3);
    assert_int_equal(got[0].off, 7 * MIB);
    assert_int_equal(got[2].off, 9 * MIB);
    assert_int_equal(cairn_meta_chunks(f->m, 1, 0, UINT64_MAX, got, 10), 10);
    assert_int_equal(got[9].off, 9 * MIB);
    assert_int_equal(cairn_meta_chunks(f->m, 1, 40 * MIB, UINT64_MAX, got, 10), 0);
    assert_int_equal(cairn_meta_chunks(f->m, 1, 5, 5, got, 10), 0);
    assert_int_equal(cairn_meta_chunks(f->m, 1, 0, 100, got, 0), 0);
}

static void fill(struct cairn_meta *m, uint64_t content, unsigned pages)
{
    for (unsigned i = 0; i < pages; i++)
        put_one(m, content, i * PAGE, 4096, i);
}

static void wait_for_chunks(struct cairn_meta *m, uint64_t want)
{
    struct cairn_meta_stats st;
    do {
        sched_yield();
        cairn_meta_stats(m, &st);
    } while (st.manifest_chunks != want);
}

static void drop(struct cairn_meta *m, uint64_t content)
{
    cairn_meta_lock(m);
    assert_ok(cairn_meta_drop_content(m, content));
    cairn_meta_unlock(m);
}

static void test_drop_small_and_none(void **state)
{
    struct fixture *f = *state;
    struct cairn_meta_stats st;
    fill(f->m, 1, 10);
    fill(f->m, 2, 3);
    drop(f->m, 1);
    drop(f->m, 0);
    drop(f->m, 55);
    cairn_meta_stats(f->m, &st);
    assert_int_equal(st.manifest_chunks, 3);
    check_names(f->m);
}

static void test_drop_large_in_the_background(void **state)
{
    struct fixture *f = *state;
    fill(f->m, 1, 3000);
    fill(f->m, 2, 500);
    fill(f->m, 3, 5);
    drop(f->m, 1);
    drop(f->m, 2);
    wait_for_chunks(f->m, 5);
    check_names(f->m);
}

static void test_drop_goes_on_after_reopening(void **state)
{
    struct fixture *f = *state;
    fill(f->m, 1, 3000);
    fill(f->m, 2, 5);
    drop(f->m, 1);
    fixture_reopen(f); /* most likely in its midst */
    wait_for_chunks(f->m, 5);
    check_names(f->m);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)
    const struct CMUnitTest tests[] = {
        T(test_entry_over_a_page_border),
        T(test_hole_between_entries),
        T(test_empty_manifest_is_a_hole),
        T(test_bad_entries_are_refused),
        T(test_truncate_takes_all_behind),
        T(test_random_puts_match_a_model),
        T(test_chunks_of_a_part),
        T(test_drop_small_and_none),
        T(test_drop_large_in_the_background),
        T(test_drop_goes_on_after_reopening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
