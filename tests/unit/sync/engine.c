// SPDX-License-Identifier: Apache-2.0
#include "unit/sync/engine.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "sync/absorb.h"
#include "sync/fresh.h"
#include "sync/stage.h"
#include "sync/tree.h"
#include "sync/upload.h"
#include "unit/origins/tempdir.h"
#include "unit/seed.h"

/* --- the origin, with a hook --- */

static struct engine *engine_of(struct origin *o)
{
    return container_of((struct origin_ops *)(uintptr_t)o->ops, struct engine, ops);
}

static void answered(struct engine *e, const char *op)
{
    if (e->hook)
        e->hook(e, op, e->hook_arg);
}

static int hooked_stat(struct origin *o, const struct origin_call *c, const char *path,
                       struct origin_stat *ret)
{
    struct engine *e = engine_of(o);
    int err = e->real->stat(o, c, path, ret);
    answered(e, "stat");
    return err;
}

struct page {
    struct engine *e;
    origin_list_fn *fn;
    void *arg;
};

static int hooked_page(void *arg, const struct origin_entry *entries, size_t count)
{
    struct page *p = arg;
    answered(p->e, "list");
    return p->fn(p->arg, entries, count);
}

static int hooked_list(struct origin *o, const struct origin_call *c, const char *path,
                       origin_list_fn *fn, void *arg)
{
    struct page page = {engine_of(o), fn, arg};
    return page.e->real->list(o, c, path, hooked_page, &page);
}

static ssize_t hooked_pread(struct origin *o, const struct origin_call *c, struct origin_file *f,
                            void *buf, size_t len, uint64_t off, struct origin_stat *ret_after)
{
    struct engine *e = engine_of(o);
    ssize_t n = e->real->pread(o, c, f, buf, len, off, ret_after);
    answered(e, "pread");
    return n;
}

static int failing_pwrite(struct origin *o, const struct origin_call *c, struct origin_file *f,
                          const void *buf, size_t len, uint64_t off)
{
    struct engine *e = engine_of(o);
    int err = atomic_load(&e->write_error);
    return err ? err : e->real->pwrite(o, c, f, buf, len, off);
}

/* --- what the kernel would hear --- */

static void inode_changed(void *arg, uint64_t ino, bool data)
{
    struct engine *e = arg;
    atomic_fetch_add(data ? &e->data_told : &e->attr_told, 1);
}

static void entry_changed(void *arg, uint64_t parent, const char *name)
{
    struct engine *e = arg;
    atomic_fetch_add(&e->names_told, 1);
}

/* --- life --- */

void engine_start(struct engine *e)
{
    struct origin *o = tempdir_connect(e->root);
    e->real = o->ops;
    e->ops = *o->ops;
    e->ops.stat = hooked_stat;
    e->ops.list = hooked_list;
    e->ops.pread = hooked_pread;
    e->ops.pwrite = failing_pwrite;
    o->ops = &e->ops;

    struct cairn_sync_config cfg = {.origin = o,
                                    .dir = e->cache,
                                    .cdc = CAIRN_CDC_DEFAULT,
                                    .cache_bytes = 512 * MIB,
                                    .memory_bytes = 128 * MIB,
                                    .fresh_ns = e->fresh_ns,
                                    .timeout_ns = 30 * NSEC_PER_SEC};
    struct cairn_listener listener = {
        .arg = e, .inode_changed = inode_changed, .entry_changed = entry_changed};
    char *why = NULL;
    int err = cairn_sync_open(&e->s, &cfg, &e->metrics, &listener, &why);
    if (err)
        print_error("%s\n", why ? why : "?");
    free(why);
    assert_int_equal(err, 0);
}

void engine_stop(struct engine *e)
{
    cairn_sync_close(e->s);
    e->s = NULL;
}

int engine_setup(void **state)
{
    struct engine *e = calloc(1, sizeof *e);
    assert_non_null(e);
    e->root = tempdir_new();
    e->cache = tempdir_new();
    e->fresh_ns = CAIRN_NEVER;
    engine_start(e);
    *state = e;
    return 0;
}

int engine_teardown(void **state)
{
    struct engine *e = *state;
    engine_stop(e);
    tempdir_remove(e->root);
    tempdir_remove(e->cache);
    free(e);
    return 0;
}

void engine_settle(struct engine *e)
{
    cairn_workers_drain(e->s->workers);
    cairn_workers_drain(e->s->fetchers);
    cairn_workers_drain(e->s->background);
}

uint64_t engine_counted(struct engine *e, enum cairn_counter c)
{
    return cairn_counted(&e->metrics, c);
}

/* --- at the origin --- */

const char *engine_path(struct engine *e, const char *name)
{
    return tempdir_path(e->root, name);
}

static void write_all(int fd, const uint8_t *data, size_t len, uint64_t off)
{
    while (len) {
        ssize_t n = pwrite(fd, data, len, (off_t)off);
        assert_true(n > 0);
        data += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
}

void engine_put(struct engine *e, const char *name, const uint8_t *data, size_t len)
{
    AUTO_CLOSE int fd = open(engine_path(e, name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    write_all(fd, data, len, 0);
}

void engine_replace(struct engine *e, const char *name, const uint8_t *data, size_t len)
{
    struct stat old, now;
    assert_int_equal(stat(engine_path(e, name), &old), 0);
    engine_put(e, "replacement", data, len);
    do { /* a clock that has not moved on makes two versions look alike */
        assert_int_equal(utimensat(AT_FDCWD, engine_path(e, "replacement"), NULL, 0), 0);
        assert_int_equal(stat(engine_path(e, "replacement"), &now), 0);
    } while (timespec_to_ns(now.st_mtim) == timespec_to_ns(old.st_mtim));
    assert_int_equal(rename(engine_path(e, "replacement"), engine_path(e, name)), 0);
}

void engine_poke(struct engine *e, const char *name, uint64_t off, const uint8_t *data, size_t len)
{
    struct stat old, now;
    AUTO_CLOSE int fd = open(engine_path(e, name), O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &old), 0);
    do {
        write_all(fd, data, len, off);
        assert_int_equal(fstat(fd, &now), 0);
    } while (timespec_to_ns(now.st_ctim) == timespec_to_ns(old.st_ctim));
}

void engine_assert_origin(struct engine *e, const char *name, const uint8_t *data, size_t len)
{
    AUTO_CLOSE int fd = open(engine_path(e, name), O_RDONLY);
    AUTO_FREE uint8_t *got = malloc(len + 1);
    size_t have = 0;
    ssize_t n;
    assert_true(fd >= 0);
    while ((n = read(fd, got + have, len + 1 - have)) > 0)
        have += (size_t)n;
    assert_int_equal(n, 0);
    assert_int_equal(have, len);
    assert_true(!len || memcmp(got, data, len) == 0);
}

unsigned engine_temp_names(struct engine *e)
{
    unsigned count = 0;
    DIR *d = opendir(e->root);
    struct dirent *entry;
    assert_non_null(d);
    while ((entry = readdir(d)))
        count += strncmp(entry->d_name, CAIRN_TEMP_PREFIX, strlen(CAIRN_TEMP_PREFIX)) == 0;
    closedir(d);
    return count;
}

/* --- through the engine --- */

uint64_t engine_ino(struct engine *e, const char *name)
{
    struct origin_call c = cairn_sync_call(e->s);
    uint64_t ino = 0;
    assert_int_equal(cairn_fresh_lookup(e->s, &c, CAIRN_ROOT_INO, name, &ino), 0);
    return ino;
}

/* Takes over the reference to the node. */
static struct cairn_handle *open_node(struct cairn_node *n, bool writer)
{
    assert_non_null(n);
    struct cairn_handle *h = cairn_handle_new(n, writer);
    assert_non_null(h);
    pthread_mutex_lock(&n->lock);
    assert_int_equal(cairn_node_load_locked(n), 0);
    n->opens++;
    n->writers += writer;
    pthread_mutex_unlock(&n->lock);
    return h;
}

struct cairn_handle *engine_open(struct engine *e, const char *name, bool writer)
{
    return open_node(cairn_node_get(e->s, engine_ino(e, name)), writer);
}

struct cairn_handle *engine_create(struct engine *e, const char *name, uint32_t mode)
{
    struct origin_call c = cairn_sync_call(e->s);
    struct cairn_maker who = {.mode = S_IFREG | mode, .uid = getuid(), .gid = getgid()};
    struct cairn_inode in;
    struct cairn_node *n;
    assert_int_equal(cairn_tree_create(e->s, &c, CAIRN_ROOT_INO, name, &who, &in, &n), 0);
    return open_node(n, true);
}

int engine_flush(struct cairn_handle *h, bool durable, bool closing)
{
    struct origin_call c = cairn_sync_call(h->node->sync);
    return cairn_upload(h->node, &c, durable, closing);
}

void engine_drop(struct cairn_handle *h)
{
    struct cairn_node *n = h->node;
    struct cairn_source *source = NULL, *sink = NULL;
    pthread_mutex_lock(&n->lock);
    n->opens--;
    n->writers -= h->writer;
    if (!n->writers)
        sink = STEAL(n->sink);
    cairn_absorb_release_locked(n);
    if (!n->opens) {
        source = STEAL(n->source);
        cairn_carry_end_locked(n);
    }
    pthread_mutex_unlock(&n->lock);
    cairn_source_unref(source);
    cairn_source_unref(sink);
    cairn_handle_unref(h);
}

void engine_close(struct cairn_handle *h)
{
    if (h->writer)
        assert_int_equal(engine_flush(h, false, true), 0);
    engine_drop(h);
}

/* A read that may be pending, and who waits for it. */
struct pending {
    struct cairn_read read;
    pthread_mutex_t lock;
    pthread_cond_t cond; /* done */
    bool done;
    int err;
};

static void read_done(struct cairn_read *r, int err)
{
    struct pending *p = container_of(r, struct pending, read);
    pthread_mutex_lock(&p->lock);
    p->done = true;
    p->err = err;
    pthread_cond_signal(&p->cond);
    pthread_mutex_unlock(&p->lock);
}

static void begin(struct pending *p, struct cairn_handle *h, uint64_t off, size_t len)
{
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->cond, NULL);
    p->done = false;
    cairn_read_init(&p->read, h, off, len, read_done);
    int err;
    if (cairn_read_try(&p->read, &err) || cairn_read_start(&p->read, &err))
        read_done(&p->read, err);
}

static ssize_t finish(struct pending *p, uint8_t *buf)
{
    pthread_mutex_lock(&p->lock);
    while (!p->done)
        pthread_cond_wait(&p->cond, &p->lock);
    pthread_mutex_unlock(&p->lock);
    ssize_t result = p->err ? p->err : (ssize_t)p->read.bytes;
    for (unsigned i = 0; !p->err && i < p->read.pieces; i++)
        buf = mempcpy(buf, p->read.piece[i].iov.iov_base, p->read.piece[i].iov.iov_len);
    cairn_read_release(&p->read);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->cond);
    return result;
}

ssize_t engine_read(struct cairn_handle *h, void *buf, uint64_t off, size_t len)
{
    struct pending p;
    begin(&p, h, off, len);
    return finish(&p, buf);
}

void engine_read_many(struct cairn_handle *h, const struct engine_range *ranges, size_t count)
{
    AUTO_FREE struct pending *p = calloc(count, sizeof *p);
    assert_non_null(p);
    for (size_t i = 0; i < count; i++)
        begin(&p[i], h, ranges[i].off, ranges[i].len);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(finish(&p[i], ranges[i].buf), ranges[i].len);
}

void engine_write(struct cairn_handle *h, uint64_t off, const void *data, size_t len)
{
    struct cairn_node *n = h->node;
    pthread_mutex_lock(&n->lock);
    assert_int_equal(cairn_stage_begin(n), 0);
    write_all(n->stage->fd, data, len, off);
    assert_int_equal(cairn_stage_wrote(n->stage, off, len), 0);
    pthread_mutex_unlock(&n->lock);
}

void engine_truncate(struct cairn_handle *h, uint64_t size)
{
    struct cairn_node *n = h->node;
    pthread_mutex_lock(&n->lock);
    assert_int_equal(cairn_stage_begin(n), 0);
    assert_int_equal(cairn_stage_truncate(n->stage, size), 0);
    pthread_mutex_unlock(&n->lock);
}

void engine_punch(struct cairn_handle *h, uint64_t off, uint64_t len)
{
    struct cairn_node *n = h->node;
    pthread_mutex_lock(&n->lock);
    assert_int_equal(cairn_stage_begin(n), 0);
    assert_int_equal(cairn_stage_zero(n->stage, off, len, false), 0);
    pthread_mutex_unlock(&n->lock);
}

void engine_assert_file(struct engine *e, const char *name, const uint8_t *data, size_t len,
                        size_t step)
{
    struct cairn_handle *h = engine_open(e, name, false);
    AUTO_FREE uint8_t *got = malloc(step);
    uint64_t off = 0;
    assert_non_null(got);
    for (;;) {
        ssize_t n = engine_read(h, got, off, step);
        assert_int_equal(n, min_u64(step, len - off));
        if (!n)
            break;
        assert_memory_equal(got, data + off, (size_t)n);
        off += (uint64_t)n;
    }
    engine_close(h);
}

void engine_assert_canonical(struct engine *e, uint64_t ino, const uint8_t *data, size_t len)
{
    struct cairn_inode in;
    struct cairn_manifest_entry m;
    assert_int_equal(cairn_meta_inode(e->s->meta, ino, &in), 0);
    for (size_t off = 0; off < len;) {
        size_t cut = cairn_cdc_cut(&e->s->cdc, data + off, len - off);
        struct cairn_chunk_id id = cairn_chunk_id_of(data + off, cut);
        assert_int_equal(cairn_meta_chunk_at(e->s->meta, in.content, off, &m, NULL), 0);
        assert_int_equal(m.off, off);
        assert_int_equal(m.len, cut);
        assert_true(cairn_chunk_id_equal(&m.id, &id));
        off += cut;
    }
    assert_int_equal(cairn_meta_chunks(e->s->meta, in.content, len, UINT64_MAX, &m, 1), 0);
}

uint8_t *engine_bytes(uint64_t *rng, size_t len)
{
    uint8_t *b = malloc(len + 8);
    assert_non_null(b);
    for (size_t i = 0; i < len; i += 8) {
        uint64_t r = splitmix64(rng);
        memcpy(b + i, &r, 8);
    }
    return b;
}
