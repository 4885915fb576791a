// SPDX-License-Identifier: Apache-2.0
/* Answers of the origin: what they change, and that none is believed which a change of our own has
 * overtaken. */
#include "unit/sync/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "sync/fresh.h"
#include "sync/tree.h"
#include "unit/seed.h"

/* Something of ours that happens between an answer and its arrival, once. */
struct meanwhile {
    const char *op;
    void (*fn)(struct engine *e);
};

static void happen(struct engine *e, const char *op, void *arg)
{
    struct meanwhile *m = arg;
    if (strcmp(op, m->op) != 0)
        return;
    e->hook = NULL;
    m->fn(e);
}

static void set_meanwhile(struct engine *e, struct meanwhile *m)
{
    e->hook_arg = m;
    e->hook = happen;
}

static int ask(struct engine *e, const char *name, uint64_t *ret_ino)
{
    struct origin_call c = cairn_sync_call(e->s);
    return cairn_fresh_lookup(e->s, &c, CAIRN_ROOT_INO, name, ret_ino);
}

static int list(struct engine *e)
{
    struct origin_call c = cairn_sync_call(e->s);
    return cairn_fresh_list(e->s, &c, CAIRN_ROOT_INO);
}

static bool stored(struct engine *e, const char *name)
{
    uint64_t ino;
    return cairn_meta_lookup(e->s->meta, CAIRN_ROOT_INO, name, &ino) == 0;
}

static void create(struct engine *e)
{
    engine_close(engine_create(e, "made", 0600));
}

static void unlink_gone(struct engine *e)
{
    struct origin_call c = cairn_sync_call(e->s);
    assert_int_equal(cairn_tree_unlink(e->s, &c, CAIRN_ROOT_INO, "gone"), 0);
}

static void create_and_unlink(struct engine *e)
{
    create(e);
    unlink_gone(e);
}

static void make_private(struct engine *e)
{
    struct origin_call c = cairn_sync_call(e->s);
    struct origin_attr a = {.mask = ORIGIN_SET_MODE, .mode = 0600};
    uint64_t ino;
    assert_int_equal(cairn_meta_lookup(e->s->meta, CAIRN_ROOT_INO, "f", &ino), 0);
    assert_int_equal(cairn_tree_setattr(e->s, &c, ino, &a), 0);
}

static void write_on(struct engine *e)
{
    uint64_t ino;
    uint8_t bytes[1000];
    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(cairn_meta_lookup(e->s->meta, CAIRN_ROOT_INO, "f", &ino), 0);
    struct cairn_handle *h = engine_open(e, "f", true);
    engine_write(h, 0, bytes, sizeof bytes);
    engine_close(h);
}

static void name_made_meanwhile_is_there(void **state)
{
    struct engine *e = *state;
    struct meanwhile m = {"stat", create};
    uint64_t ino, again;
    set_meanwhile(e, &m);
    assert_int_equal(ask(e, "made", &ino), 0);
    assert_int_equal(cairn_meta_lookup(e->s->meta, CAIRN_ROOT_INO, "made", &again), 0);
    assert_int_equal(ino, again);
}

static void name_removed_meanwhile_is_gone(void **state)
{
    struct engine *e = *state;
    struct meanwhile m = {"stat", unlink_gone};
    uint64_t ino;
    engine_put(e, "gone", NULL, 0);
    engine_ino(e, "gone");
    set_meanwhile(e, &m);
    assert_int_equal(ask(e, "gone", &ino), -ENOENT);
    assert_false(stored(e, "gone"));
}

static void mode_set_meanwhile_stays(void **state)
{
    struct engine *e = *state;
    struct meanwhile m = {"stat", make_private};
    struct cairn_inode in;
    engine_put(e, "f", NULL, 0);
    assert_int_equal(chmod(engine_path(e, "f"), 0644), 0);
    engine_ino(e, "f");
    set_meanwhile(e, &m);
    assert_int_equal(cairn_meta_inode(e->s->meta, engine_ino(e, "f"), &in), 0);
    assert_int_equal(in.mode, S_IFREG | 0600);
}

static void content_written_meanwhile_stays(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    struct meanwhile m = {"stat", write_on};
    AUTO_FREE uint8_t *data = engine_bytes(&rng, MIB);
    engine_put(e, "f", data, MIB);
    engine_assert_file(e, "f", data, MIB, MIB);
    engine_settle(e);
    set_meanwhile(e, &m);
    engine_ino(e, "f");
    engine_settle(e);
    memset(data, 'x', 1000);
    engine_assert_origin(e, "f", data, MIB);
    engine_assert_file(e, "f", data, MIB, MIB);
    assert_int_equal(engine_counted(e, CAIRN_FETCH_BYTES), MIB);
}

static void listing_leaves_changes_alone_that_overtook_it(void **state)
{
    struct engine *e = *state;
    struct meanwhile m = {"list", create_and_unlink};
    engine_put(e, "gone", NULL, 0);
    engine_put(e, "other", NULL, 0);
    engine_ino(e, "gone");
    set_meanwhile(e, &m);
    assert_int_equal(list(e), 0);
    assert_null(e->hook);
    assert_true(stored(e, "made"));
    assert_true(stored(e, "other"));
    assert_false(stored(e, "gone"));
}

/* --- changes at the origin --- */

static void listing_takes_what_the_origin_has(void **state)
{
    struct engine *e = *state;
    engine_put(e, "a", NULL, 0);
    engine_put(e, "b", NULL, 0);
    engine_put(e, CAIRN_TEMP_PREFIX "1", NULL, 0);
    assert_int_equal(list(e), 0);
    assert_true(stored(e, "a"));
    assert_true(stored(e, "b"));
    assert_false(stored(e, CAIRN_TEMP_PREFIX "1"));
    assert_int_equal(unlink(engine_path(e, "a")), 0);
    assert_int_equal(list(e), 0);
    assert_false(stored(e, "a"));
    assert_true(stored(e, "b"));
    assert_int_equal(e->names_told, 1);
}

static void changed_file_gets_another_content(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *data = engine_bytes(&rng, MIB);
    engine_put(e, "f", data, MIB);
    engine_assert_file(e, "f", data, MIB, MIB);
    uint64_t ino = engine_ino(e, "f");
    assert_int_equal(e->data_told, 0);
    memset(data, 'x', 10);
    engine_poke(e, "f", 0, data, 10);
    assert_int_equal(engine_ino(e, "f"), ino);
    assert_int_equal(e->data_told, 1);
    engine_assert_file(e, "f", data, MIB, MIB);
}

static void closed_file_keeps_its_number_when_replaced(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *data = engine_bytes(&rng, 2 * MIB);
    engine_put(e, "f", data, MIB);
    engine_assert_file(e, "f", data, MIB, MIB);
    uint64_t ino = engine_ino(e, "f");
    engine_replace(e, "f", data + MIB, MIB);
    assert_int_equal(engine_ino(e, "f"), ino);
    engine_assert_file(e, "f", data + MIB, MIB, MIB);
}

static void open_file_stays_itself_when_replaced(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *data = engine_bytes(&rng, 2 * MIB);
    AUTO_FREE uint8_t *got = malloc(MIB);
    engine_put(e, "f", data, MIB);
    struct cairn_handle *h = engine_open(e, "f", false);
    struct origin_call c = cairn_sync_call(e->s);
    assert_int_equal(cairn_node_pin(h->node, &c), 0);
    engine_replace(e, "f", data + MIB, MIB);
    assert_int_not_equal(engine_ino(e, "f"), h->node->ino);
    assert_int_equal(engine_read(h, got, 0, MIB), MIB);
    assert_memory_equal(got, data, MIB);
    engine_assert_file(e, "f", data + MIB, MIB, MIB);
    engine_close(h);
}

static void renamed_file_keeps_its_cache(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *data = engine_bytes(&rng, MIB);
    struct origin_call c = cairn_sync_call(e->s);
    engine_put(e, "f", data, MIB);
    engine_assert_file(e, "f", data, MIB, MIB);
    uint64_t ino = engine_ino(e, "f");
    assert_int_equal(cairn_tree_rename(e->s, &c, CAIRN_ROOT_INO, "f", CAIRN_ROOT_INO, "g", 0), 0);
    assert_int_equal(engine_ino(e, "g"), ino);
    assert_int_equal(ask(e, "f", &ino), -ENOENT);
    engine_assert_file(e, "g", data, MIB, MIB);
    assert_int_equal(engine_counted(e, CAIRN_FETCH_BYTES), MIB);
}

/* Moved at the origin, and another file has its old name by now: the event of that may be late. */
static void moved_file_is_not_mistaken_for_its_successor(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed(), again;
    AUTO_FREE uint8_t *data = engine_bytes(&rng, MIB);
    struct origin_call c = cairn_sync_call(e->s);
    engine_put(e, "f", data, MIB);
    engine_assert_file(e, "f", data, MIB, MIB);
    uint64_t ino = engine_ino(e, "f");
    assert_int_equal(rename(engine_path(e, "f"), engine_path(e, "g")), 0);
    engine_put(e, "f", data, 1000);
    assert_int_equal(engine_ino(e, "g"), ino);
    assert_int_equal(cairn_fresh_inode(e->s, &c, ino), 0);
    engine_assert_file(e, "g", data, MIB, MIB);
    assert_int_equal(ask(e, "f", &again), 0);
    assert_int_not_equal(again, ino);
    engine_assert_file(e, "f", data, 1000, 1000);
}

static void grow_and_ask(struct engine *e)
{
    static const uint8_t more[5000];
    uint64_t ino;
    engine_put(e, "f", more, sizeof more);
    assert_int_equal(ask(e, "f", &ino), 0);
}

static void older_answer_does_not_undo_a_newer_one(void **state)
{
    struct engine *e = *state;
    struct meanwhile m = {"stat", grow_and_ask};
    struct cairn_inode in;
    engine_put(e, "f", NULL, 0);
    engine_ino(e, "f");
    set_meanwhile(e, &m);
    assert_int_equal(cairn_meta_inode(e->s->meta, engine_ino(e, "f"), &in), 0);
    assert_int_equal(in.size, 5000);
}

static void directory_that_vanished_takes_its_names_along(void **state)
{
    struct engine *e = *state;
    struct origin_call c = cairn_sync_call(e->s);
    uint64_t dir, ino;
    assert_int_equal(mkdir(engine_path(e, "d"), 0755), 0);
    engine_put(e, "d/f", NULL, 0);
    dir = engine_ino(e, "d");
    assert_int_equal(cairn_fresh_list(e->s, &c, dir), 0);
    assert_int_equal(cairn_meta_lookup(e->s->meta, dir, "f", &ino), 0);
    assert_int_equal(unlink(engine_path(e, "d/f")), 0);
    assert_int_equal(rmdir(engine_path(e, "d")), 0);
    assert_int_equal(ask(e, "d", &ino), -ENOENT);
    assert_int_equal(cairn_meta_lookup(e->s->meta, dir, "f", &ino), -ENOENT);
}

#define engine_test(f) cmocka_unit_test_setup_teardown(f, engine_setup, engine_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(name_made_meanwhile_is_there),
        engine_test(name_removed_meanwhile_is_gone),
        engine_test(mode_set_meanwhile_stays),
        engine_test(content_written_meanwhile_stays),
        engine_test(listing_leaves_changes_alone_that_overtook_it),
        engine_test(listing_takes_what_the_origin_has),
        engine_test(changed_file_gets_another_content),
        engine_test(closed_file_keeps_its_number_when_replaced),
        engine_test(open_file_stays_itself_when_replaced),
        engine_test(renamed_file_keeps_its_cache),
        engine_test(moved_file_is_not_mistaken_for_its_successor),
        engine_test(older_answer_does_not_undo_a_newer_one),
        engine_test(directory_that_vanished_takes_its_names_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
