// SPDX-License-Identifier: Apache-2.0
/* Writing: the origin's file equals a model, the cache keeps what it had, nothing else is lost. */
#include "unit/sync/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <cmocka.h>

#include "sync/copy.h"
#include "sync/fresh.h"
#include "sync/stage.h"
#include "sync/tree.h"
#include "sync/upload.h"
#include "unit/seed.h"

#define STEP (128 * KIB)

static struct stat stat_of(struct engine *e, const char *name)
{
    struct stat st;
    assert_int_equal(stat(engine_path(e, name), &st), 0);
    return st;
}

static void new_file_arrives(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *data = engine_bytes(&rng, 3 * MIB);
    struct cairn_handle *h = engine_create(e, "f", 0640);

    engine_write(h, 0, data, 3 * MIB);
    engine_close(h);
    engine_assert_origin(e, "f", data, 3 * MIB);
    assert_int_equal(stat_of(e, "f").st_mode, S_IFREG | 0640);
    assert_int_equal(engine_temp_names(e), 0);
    engine_settle(e);
    engine_assert_file(e, "f", data, 3 * MIB, STEP);
    assert_int_equal(engine_counted(e, CAIRN_FETCH_BYTES), 0);
    engine_assert_canonical(e, engine_ino(e, "f"), data, 3 * MIB);
}

static void written_bytes_are_read_before_they_are_sent(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *data = engine_bytes(&rng, MIB);
    AUTO_FREE uint8_t *got = malloc(2 * MIB);
    engine_put(e, "f", data, MIB);

    struct cairn_handle *h = engine_open(e, "f", true);
    memset(data + 500000, 'x', 1000);
    engine_write(h, 500000, data + 500000, 1000);
    assert_int_equal(engine_read(h, got, 0, 2 * MIB), MIB);
    assert_memory_equal(got, data, MIB);
    engine_close(h);
    engine_assert_origin(e, "f", data, MIB);
}

/* --- random edits against a model --- */

struct model {
    uint8_t *data;
    size_t size, most;
};

static void edit(struct cairn_handle *h, struct model *m, uint64_t *rng)
{
    uint64_t off = splitmix64(rng) % (m->size + 1), len = 1 + splitmix64(rng) % 200000;
    switch (splitmix64(rng) % 8) {
    case 0: /* append */
        off = m->size;
        break;
    case 1: /* leave a hole */
        off = m->size + splitmix64(rng) % 300000;
        break;
    case 2:
    case 3: { /* cut or extend */
        size_t size = splitmix64(rng) % 2 ? off : m->size + splitmix64(rng) % 300000;
        size = min_u64(size, m->most);
        engine_truncate(h, size);
        if (size > m->size)
            memset(m->data + m->size, 0, size - m->size);
        m->size = size;
        return;
    }
    case 4: /* punch */
        engine_punch(h, off, len);
        if (off < m->size)
            memset(m->data + off, 0, min_u64(len, m->size - off));
        return;
    default:
        break;
    }
    if (off + len > m->most)
        return;
    if (off > m->size)
        memset(m->data + m->size, 0, off - m->size);
    AUTO_FREE uint8_t *bytes = engine_bytes(rng, len);
    memcpy(m->data + off, bytes, len);
    engine_write(h, off, bytes, len);
    m->size = max_u64(m->size, off + len);
}

static void check_all(struct engine *e, struct cairn_handle *h, const struct model *m, uint8_t *got)
{
    assert_int_equal(engine_read(h, got, 0, m->most), m->size);
    assert_memory_equal(got, m->data, m->size);
}

static void random_edits_equal_the_model(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    const size_t most = 3 * MIB;

    for (unsigned file = 0; file < 6; file++) {
        struct model m = {.size = splitmix64(&rng) % (2 * MIB), .most = most};
        AUTO_FREE uint8_t *got = malloc(most);
        char name[16];
        m.data = engine_bytes(&rng, most);
        snprintf(name, sizeof name, "f%u", file);
        engine_put(e, name, m.data, m.size);
        if (file % 2) /* an extended file is written in place */
            assert_int_equal(link(engine_path(e, name), engine_path(e, "other")), 0);
        for (unsigned round = 0; round < 12; round++) {
            struct cairn_handle *h = engine_open(e, name, true);
            for (uint64_t n = splitmix64(&rng) % 6; n > 0; n--) {
                edit(h, &m, &rng);
                if (splitmix64(&rng) % 3 == 0)
                    check_all(e, h, &m, got);
                if (splitmix64(&rng) % 4 == 0) {
                    assert_int_equal(engine_flush(h, true, false), 0);
                    engine_assert_origin(e, name, m.data, m.size);
                }
            }
            engine_close(h);
            engine_assert_origin(e, name, m.data, m.size);
            if (splitmix64(&rng) % 2)
                engine_settle(e);
            engine_assert_file(e, name, m.data, m.size, STEP);
        }
        engine_settle(e);
        engine_assert_file(e, name, m.data, m.size, 99999);
        if (file % 2)
            assert_int_equal(unlink(engine_path(e, "other")), 0);
        free(m.data);
    }
    assert_int_equal(engine_temp_names(e), 0);
}

/* --- what the cache keeps --- */

static void small_edit_fetches_nothing_again(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    const size_t size = 8 * MIB;
    AUTO_FREE uint8_t *data = engine_bytes(&rng, size);
    engine_put(e, "f", data, size);
    engine_assert_file(e, "f", data, size, STEP);
    engine_settle(e);
    assert_int_equal(engine_counted(e, CAIRN_FETCH_BYTES), size);

    for (unsigned i = 0; i < 5; i++) {
        struct cairn_handle *h = engine_open(e, "f", true);
        uint64_t off = splitmix64(&rng) % (size - 100);
        AUTO_FREE uint8_t *bytes = engine_bytes(&rng, 100);
        memcpy(data + off, bytes, 100);
        engine_write(h, off, bytes, 100);
        engine_close(h);
        engine_assert_origin(e, "f", data, size);
        engine_settle(e);
        engine_assert_file(e, "f", data, size, STEP);
        assert_int_equal(engine_counted(e, CAIRN_FETCH_BYTES), size);
    }
    engine_assert_canonical(e, engine_ino(e, "f"), data, size);
    engine_stop(e);
    engine_start(e);
    engine_assert_file(e, "f", data, size, STEP);
    assert_int_equal(engine_counted(e, CAIRN_FETCH_BYTES), size);
}

/* Somebody else wrote into the file since it was cached, and we write in place. */
static void edit_of_a_changed_file_shows_the_other_change(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    const size_t size = MIB;

    for (unsigned linked = 0; linked < 2; linked++) {
        AUTO_FREE uint8_t *data = engine_bytes(&rng, size);
        char name[16];
        snprintf(name, sizeof name, "f%u", linked);
        engine_put(e, name, data, size);
        if (linked)
            assert_int_equal(link(engine_path(e, name), engine_path(e, "other")), 0);
        engine_assert_file(e, name, data, size, STEP);
        engine_settle(e);
        struct cairn_handle *h = engine_open(e, name, true);
        memset(data + 10, 'a', 10);
        engine_poke(e, name, 10, data + 10, 10);
        memset(data + 700000, 'b', 10);
        engine_write(h, 700000, data + 700000, 10);
        engine_close(h);
        engine_assert_origin(e, name, data, size);
        engine_settle(e);
        engine_assert_file(e, name, data, size, STEP);
    }
}

/* Somebody else appended to a file that we have open with unsent changes. */
static void edit_keeps_what_another_appended(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    const size_t size = 300000, more = 5000;
    AUTO_FREE uint8_t *data = engine_bytes(&rng, size + more);

    for (unsigned asked = 0; asked < 2; asked++) {
        char name[16];
        snprintf(name, sizeof name, "f%u", asked);
        engine_put(e, name, data, size);
        engine_assert_file(e, name, data, size, STEP);
        engine_settle(e);
        struct cairn_handle *h = engine_open(e, name, true);
        memset(data + 1000, 'x', 10);
        engine_write(h, 1000, data + 1000, 10);
        engine_poke(e, name, size, data + size, more);
        if (asked) /* and the store has heard of it */
            engine_ino(e, name);
        engine_close(h);
        engine_assert_origin(e, name, data, size + more);
        engine_settle(e);
        engine_assert_file(e, name, data, size + more, STEP);
    }
}

/* --- what hangs on the file --- */

static void rewrite(struct engine *e, const char *name, const uint8_t *data, size_t len)
{
    struct cairn_handle *h = engine_open(e, name, true);
    engine_truncate(h, 0);
    engine_write(h, 0, data, len);
    engine_close(h);
    engine_assert_origin(e, name, data, len);
    assert_int_equal(engine_temp_names(e), 0);
}

static void rewritten_file_is_replaced(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *data = engine_bytes(&rng, MIB);
    engine_put(e, "f", data, 1000);
    assert_int_equal(chmod(engine_path(e, "f"), 0751), 0);
    /* Keeps the old inode's number from being given out again. */
    AUTO_CLOSE int fd = open(engine_path(e, "f"), O_RDONLY);
    assert_true(fd >= 0);
    struct stat old = stat_of(e, "f");

    rewrite(e, "f", data, MIB);
    struct stat now = stat_of(e, "f");
    assert_int_not_equal(now.st_ino, old.st_ino);
    assert_int_equal(now.st_mode, old.st_mode);
    assert_int_equal(now.st_uid, old.st_uid);
    assert_int_equal(now.st_gid, old.st_gid);
    engine_assert_file(e, "f", data, MIB, STEP);
}

static void synced_rewrite_arrives(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *data = engine_bytes(&rng, 2 * MIB);
    engine_put(e, "f", data, 1000);
    struct cairn_handle *h = engine_open(e, "f", true);
    engine_truncate(h, 0);
    engine_write(h, 0, data, 2 * MIB);
    assert_int_equal(engine_flush(h, true, false), 0);
    engine_assert_origin(e, "f", data, 2 * MIB);
    engine_close(h);
    assert_int_equal(engine_temp_names(e), 0);
}

static void owner_is_kept(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *data = engine_bytes(&rng, MIB);
    engine_put(e, "f", data, 1000);
    if (chown(engine_path(e, "f"), 12345, 23456) < 0)
        skip(); /* for the superuser alone */
    rewrite(e, "f", data, MIB);
    assert_int_equal(stat_of(e, "f").st_uid, 12345);
    assert_int_equal(stat_of(e, "f").st_gid, 23456);
}

static void hard_links_stay_one_file(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *data = engine_bytes(&rng, MIB);
    engine_put(e, "f", data, 1000);
    assert_int_equal(link(engine_path(e, "f"), engine_path(e, "g")), 0);
    struct stat old = stat_of(e, "f");

    rewrite(e, "f", data, MIB);
    assert_int_equal(stat_of(e, "f").st_ino, old.st_ino);
    engine_assert_origin(e, "g", data, MIB);
    engine_assert_file(e, "g", data, MIB, STEP);
}

/* A second name that was made at the origin after the file was last looked at. */
static void new_hard_link_stays_one_file(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *data = engine_bytes(&rng, MIB);
    engine_put(e, "f", data, 1000);
    struct cairn_handle *h = engine_open(e, "f", true);
    assert_int_equal(link(engine_path(e, "f"), engine_path(e, "g")), 0);
    engine_truncate(h, 0);
    engine_write(h, 0, data, MIB);
    engine_close(h);
    engine_assert_origin(e, "f", data, MIB);
    engine_assert_origin(e, "g", data, MIB);
}

static void xattrs_are_kept(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *data = engine_bytes(&rng, MIB);
    char value[16];
    engine_put(e, "f", data, 1000);
    if (setxattr(engine_path(e, "f"), "user.colour", "blue", 4, 0) < 0)
        skip(); /* not every filesystem has them */
    rewrite(e, "f", data, MIB);
    assert_int_equal(getxattr(engine_path(e, "f"), "user.colour", value, sizeof value), 4);
    assert_memory_equal(value, "blue", 4);
}

static void temp_names_of_a_crash_are_removed(void **state)
{
    struct engine *e = *state;
    const uint8_t byte = 'x';
    char note[4200];
    static const char *const names[] = {CAIRN_TEMP_PREFIX "0001", "not-ours"};

    engine_stop(e);
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        engine_put(e, names[i], &byte, 1);
        snprintf(note, sizeof note, "%s/uploads/%u", e->cache, i);
        AUTO_CLOSE int fd = open(note, O_WRONLY | O_CREAT, 0600);
        assert_int_equal(write(fd, names[i], strlen(names[i])), strlen(names[i]));
    }
    engine_start(e);
    assert_int_equal(engine_temp_names(e), 0);
    engine_assert_origin(e, "not-ours", &byte, 1);
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(note, sizeof note, "%s/uploads/%u", e->cache, i);
        assert_int_equal(access(note, F_OK), -1);
    }
}

static void closing_sends_what_was_left_open(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *data = engine_bytes(&rng, MIB);
    struct cairn_handle *h = engine_create(e, "f", 0600);
    engine_write(h, 0, data, MIB);
    /* As at the end of a mount: without a flush, while a node is still in use. */
    struct cairn_node *n = cairn_node_ref(h->node);
    engine_drop(h);
    atomic_store(&e->s->closing, true);
    struct origin_call c = cairn_sync_call(e->s);
    assert_int_equal(cairn_upload(n, &c, false, true), 0);
    cairn_node_unref(n);
    engine_assert_origin(e, "f", data, MIB);
}

/* Leaves a file with bytes that the origin would not take. */
static void write_in_vain(struct engine *e, const char *name, const uint8_t *data, size_t len)
{
    struct cairn_handle *h = engine_create(e, name, 0600);
    engine_write(h, 0, data, len);
    atomic_store(&e->write_error, -ENOSPC);
    assert_int_equal(engine_flush(h, false, true), -ENOSPC);
    assert_int_equal(engine_temp_names(e), 0);
    atomic_store(&e->write_error, 0);
    engine_drop(h);
}

static void failed_upload_is_sent_later(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    const size_t size = 2 * MIB;
    AUTO_FREE uint8_t *data = engine_bytes(&rng, size);
    write_in_vain(e, "again", data, size);
    engine_assert_file(e, "again", data, size, STEP); /* still to be read */
    struct cairn_handle *h = engine_open(e, "again", true);
    engine_close(h);
    engine_assert_origin(e, "again", data, size);

    write_in_vain(e, "end", data, size);
    engine_stop(e);
    engine_assert_origin(e, "end", data, size);
    engine_start(e);
}

/* Under the address sanitizer it also shows that nothing is kept for ever. */
static void failed_upload_is_forgotten_with_its_name(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    struct origin_call c = cairn_sync_call(e->s);
    AUTO_FREE uint8_t *data = engine_bytes(&rng, MIB);
    write_in_vain(e, "f", data, MIB);
    uint64_t ino = engine_ino(e, "f");
    assert_int_equal(cairn_tree_unlink(e->s, &c, CAIRN_ROOT_INO, "f"), 0);
    struct cairn_node *n = cairn_node_find(e->s, ino);
    assert_non_null(n);
    assert_int_equal(cairn_upload(n, &c, false, true), 0);
    cairn_node_unref(n);
    assert_null(cairn_node_find(e->s, ino));
    assert_int_equal(access(engine_path(e, "f"), F_OK), -1);
}

/* --- copies --- */

static ssize_t copy(struct cairn_handle *from, uint64_t from_off, struct cairn_handle *to,
                    uint64_t to_off, uint64_t len)
{
    struct origin_call c = cairn_sync_call(from->node->sync);
    return cairn_copy_range(from->node, from_off, to->node, to_off, len, &c);
}

static void copied_range_shares_its_chunks(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    const size_t size = 4 * MIB, other = 3 * MIB, from = 123456, to = 777777, len = 2 * MIB;
    AUTO_FREE uint8_t *a = engine_bytes(&rng, size);
    AUTO_FREE uint8_t *b = engine_bytes(&rng, other);
    engine_put(e, "a", a, size);
    engine_put(e, "b", b, other);
    engine_assert_file(e, "a", a, size, STEP);
    engine_assert_file(e, "b", b, other, STEP);
    engine_settle(e);
    assert_int_equal(engine_counted(e, CAIRN_FETCH_BYTES), size + other);

    struct cairn_handle *src = engine_open(e, "a", false), *dst = engine_open(e, "b", true);
    ssize_t n = copy(src, from, dst, to, len);
    if (n == -EXDEV) {
        engine_close(src);
        engine_close(dst);
        skip(); /* the origin cannot */
    }
    assert_int_equal(n, len);
    memcpy(b + to, a + from, len);
    engine_close(src);
    engine_close(dst);
    engine_settle(e);
    engine_assert_origin(e, "b", b, other);
    engine_assert_file(e, "b", b, other, STEP);
    assert_int_equal(engine_counted(e, CAIRN_FETCH_BYTES), size + other);
}

static void copy_into_a_changed_file_shows_the_other_change(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    const size_t size = MIB;
    AUTO_FREE uint8_t *a = engine_bytes(&rng, size);
    AUTO_FREE uint8_t *b = engine_bytes(&rng, size);
    engine_put(e, "a", a, size);
    engine_put(e, "b", b, size);
    engine_assert_file(e, "a", a, size, STEP);
    engine_assert_file(e, "b", b, size, STEP);
    engine_settle(e);
    struct cairn_handle *src = engine_open(e, "a", false), *dst = engine_open(e, "b", true);
    memset(b, 'x', 10);
    engine_poke(e, "b", 0, b, 10);
    if (copy(src, 500000, dst, 500000, 1000) == 1000)
        memcpy(b + 500000, a + 500000, 1000);
    engine_close(src);
    engine_close(dst);
    engine_settle(e);
    engine_assert_origin(e, "b", b, size);
    engine_ino(e, "b"); /* asked anew it must be right; not asked, it may still be the old one */
    engine_assert_file(e, "b", b, size, STEP);
}

static void copy_after_a_write_takes_the_written_bytes(void **state)
{
    struct engine *e = *state;
    uint64_t rng = test_seed();
    AUTO_FREE uint8_t *data = engine_bytes(&rng, MIB);
    AUTO_FREE uint8_t *got = malloc(MIB);
    struct cairn_handle *src = engine_create(e, "a", 0600), *dst = engine_create(e, "b", 0600);
    engine_write(src, 0, data, MIB);
    ssize_t n = copy(src, 0, dst, 0, MIB);
    if (n != -EXDEV) {
        assert_int_equal(n, MIB);
        assert_int_equal(engine_read(dst, got, 0, MIB), MIB);
        assert_memory_equal(got, data, MIB);
        engine_assert_origin(e, "b", data, MIB);
    }
    engine_close(src);
    engine_close(dst);
}

#define engine_test(f) cmocka_unit_test_setup_teardown(f, engine_setup, engine_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        engine_test(new_file_arrives),
        engine_test(written_bytes_are_read_before_they_are_sent),
        engine_test(random_edits_equal_the_model),
        engine_test(small_edit_fetches_nothing_again),
        engine_test(edit_of_a_changed_file_shows_the_other_change),
        engine_test(edit_keeps_what_another_appended),
        engine_test(rewritten_file_is_replaced),
        engine_test(synced_rewrite_arrives),
        engine_test(owner_is_kept),
        engine_test(hard_links_stay_one_file),
        engine_test(new_hard_link_stays_one_file),
        engine_test(xattrs_are_kept),
        engine_test(temp_names_of_a_crash_are_removed),
        engine_test(closing_sends_what_was_left_open),
        engine_test(failed_upload_is_sent_later),
        engine_test(failed_upload_is_forgotten_with_its_name),
        engine_test(copied_range_shares_its_chunks),
        engine_test(copy_into_a_changed_file_shows_the_other_change),
        engine_test(copy_after_a_write_takes_the_written_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
