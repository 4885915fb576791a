// SPDX-License-Identifier: Apache-2.0
/* The files of a pool; the rules are in pool.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "origins/pool_slots.h"

/* What opening a file on one more connection may find out, besides errors of the origin: */
#define NOT_HERE 1 /* this connection can't serve the file, but another one can */
#define GONE     2 /* no connection can: it is -ESTALE, through no fault of the connection */

static struct pool *pool_of(struct origin *o)
{
    return container_of(o, struct pool, base);
}

static struct pool_file *file_of(struct origin_file *f)
{
    return container_of(f, struct pool_file, base);
}

static bool is_written(const struct pool_file *f)
{
    return (f->flags & O_ACCMODE) != O_RDONLY;
}

/* True if `st` is proved to be of the file that was opened first. */
static bool is_same(const struct pool_file *f, const struct origin_stat *st)
{
    if (f->identity.fileid && st->fileid)
        return f->identity.fileid == st->fileid;
    return !is_written(f) && f->identity.size == st->size && f->identity.mtime_ns == st->mtime_ns;
}

/* Failures to open a path that mean: what we had open is not there any more. */
static bool tells_another_file(int err)
{
    switch (-err) {
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENXIO:
    case EACCES:
    case EPERM:
    case EROFS:
        return true;
    default:
        return false;
    }
}

/* After opening `f` on a connection gave `err`, or another file (err 0). */
static int refuse(struct pool *p, struct pool_file *f, int err)
{
    enum origin_error_class class = origin_error_class(err);
    if (err && class != ORIGIN_ERR_PERMANENT)
        return err;
    pthread_mutex_lock(&p->lock);
    int result;
    if (f->handle[f->home]) {
        f->pinned = true;
        result = NOT_HERE;
    } else if (!err || tells_another_file(err)) {
        f->stale = true;
        result = GONE;
    } else {
        result = err;
    }
    pthread_mutex_unlock(&p->lock);
    return result;
}

/* The file of `f` on a connection that the caller holds: 0, NOT_HERE, GONE or -errno. */
static int open_here(struct pool *p, struct pool_slot *s, const struct origin_call *c,
                     struct pool_file *f, struct origin_file **ret)
{
    unsigned i = pool_index(p, s);
    if (f->handle[i]) {
        *ret = f->handle[i]->file;
        return 0;
    }
    pthread_mutex_lock(&p->lock);
    AUTO_FREE char *path = strdup(f->path);
    pthread_mutex_unlock(&p->lock);
    AUTO_FREE struct pool_handle *h = calloc(1, sizeof *h);
    if (!path || !h)
        return -ENOMEM;
    struct origin_stat st;
    int err = origin_open(s->origin, c, path, f->flags, 0, &h->file, &st);
    if (err)
        return refuse(p, f, err);
    if (!is_same(f, &st)) {
        origin_close_file(h->file);
        return refuse(p, f, 0);
    }
    *ret = h->file;
    pthread_mutex_lock(&p->lock);
    if (!f->handle[f->home])
        f->home = i;
    f->handle[i] = STEAL(h);
    pthread_cond_broadcast(&p->released); /* who waited for its home may look again */
    pthread_mutex_unlock(&p->lock);
    return 0;
}

/* A connection with `f`, and `g` if it is given, open on it. */
static int acquire_open(struct pool *p, const struct origin_call *c, struct pool_file *f,
                        struct pool_file *g, struct pool_slot **ret, struct origin_file **ret_f,
                        struct origin_file **ret_g)
{
    for (;;) {
        struct pool_slot *s;
        int err = pool_acquire(p, c, f, g, &s);
        if (err)
            return err;
        err = open_here(p, s, c, f, ret_f);
        if (!err && g)
            err = open_here(p, s, c, g, ret_g);
        if (!err) {
            *ret = s;
            return 0;
        }
        pool_release(p, s, err > 0 ? 0 : err);
        if (err != NOT_HERE)
            return err == GONE ? -ESTALE : err;
    }
}

/* Forgets the driver's file on a connection that the caller holds. */
static void drop_handle(struct pool *p, struct pool_slot *s, struct pool_file *f)
{
    pthread_mutex_lock(&p->lock);
    struct pool_handle *h = pool_unlink_handle_locked(p, f, pool_index(p, s));
    pthread_mutex_unlock(&p->lock);
    if (h) {
        origin_close_file(h->file);
        free(h);
    }
}

/* Ends a call on `f`, and `g` if given, that gave `result`; returns the result. */
static int64_t done(struct pool *p, struct pool_slot *s, struct pool_file *f, struct pool_file *g,
                    int64_t result)
{
    if (result == -ESTALE) { /* the server forgot the handle: the next call opens it anew */
        drop_handle(p, s, f);
        if (g)
            drop_handle(p, s, g);
    }
    pool_release(p, s, result);
    return result;
}

/* --- opening and closing --- */

static void free_file(struct pool_file *f)
{
    free(f->path);
    free(f);
}

static struct pool_file *new_file(struct pool *p, const char *path, int flags)
{
    struct pool_file *f = calloc(1, sizeof *f + p->max * sizeof f->handle[0]);
    if (!f)
        return NULL;
    f->base.owner = &p->base;
    f->path = strdup(path);
    f->flags = flags & ~(O_CREAT | O_EXCL | O_TRUNC);
    if (!f->path) {
        free(f);
        return NULL;
    }
    return f;
}

int pool_open(struct origin *o, const struct origin_call *c, const char *path, int flags,
              uint32_t mode, struct origin_file **ret, struct origin_stat *ret_stat)
{
    struct pool *p = pool_of(o);
    AUTO_FREE struct pool_handle *h = calloc(1, sizeof *h);
    struct pool_file *f = h ? new_file(p, path, flags) : NULL;
    if (!f)
        return -ENOMEM;
    struct pool_slot *s;
    int err = pool_acquire(p, c, NULL, NULL, &s);
    if (!err) {
        err = origin_open(s->origin, c, path, flags, mode, &h->file, &f->identity);
        if (err)
            pool_release(p, s, err);
    }
    if (err) {
        free_file(f);
        return err;
    }
    f->home = pool_index(p, s);
    f->handle[f->home] = STEAL(h);
    f->pinned = is_written(f) && !f->identity.fileid;
    pthread_mutex_lock(&p->lock);
    f->next = p->files;
    if (f->next)
        f->next->prev = f;
    p->files = f;
    pthread_mutex_unlock(&p->lock);
    if (ret_stat)
        *ret_stat = f->identity;
    *ret = &f->base;
    pool_release(p, s, 0);
    return 0;
}

void pool_close_file(struct origin *o, struct origin_file *file)
{
    struct pool *p = pool_of(o);
    struct pool_file *f = file_of(file);
    pthread_mutex_lock(&p->lock);
    if (f->prev)
        f->prev->next = f->next;
    else
        p->files = f->next;
    if (f->next)
        f->next->prev = f->prev;
    for (unsigned i = 0; i < p->max; i++) {
        struct pool_handle *h = f->handle[i];
        if (!h || pool_try_take_locked(p, i))
            continue; /* taken: closed below */
        h->next = p->slots[i].doomed;
        p->slots[i].doomed = h;
        f->handle[i] = NULL;
    }
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->max; i++) {
        if (!f->handle[i])
            continue;
        origin_close_file(f->handle[i]->file);
        free(f->handle[i]);
        pool_release(p, &p->slots[i], 0);
    }
    free_file(f);
}

/* The path of a node when `from` became `to`: allocated, or NULL if it is not concerned. */
static char *path_after(const char *path, const char *from, const char *to)
{
    size_t n = strlen(from);
    char *moved;
    if (strncmp(path, from, n) || (path[n] && path[n] != '/') ||
        asprintf(&moved, "%s%s", to, path + n) < 0)
        return NULL; /* without memory: the old path, whose file won't be the same */
    return moved;
}

void pool_files_renamed(struct pool *p, const char *from, const char *to, bool exchange)
{
    pthread_mutex_lock(&p->lock);
    for (struct pool_file *f = p->files; f; f = f->next) {
        char *moved = path_after(f->path, from, to);
        if (!moved && exchange)
            moved = path_after(f->path, to, from);
        if (moved) {
            free(f->path);
            f->path = moved;
        }
    }
    pthread_mutex_unlock(&p->lock);
}

/* --- calls --- */

ssize_t pool_pread(struct origin *o, const struct origin_call *c, struct origin_file *file,
                   void *buf, size_t len, uint64_t off, struct origin_stat *ret_after)
{
    struct pool *p = pool_of(o);
    struct pool_file *f = file_of(file);
    struct pool_slot *s;
    struct origin_file *here;
    int err = acquire_open(p, c, f, NULL, &s, &here, NULL);
    if (err)
        return err;
    return done(p, s, f, NULL, origin_pread(here, c, buf, len, off, ret_after));
}

/* Notes that bytes go through the handle on `s`: before and after, so that an fsync that runs at
 * the same time does not take them for synced. */
static void note_write(struct pool *p, struct pool_slot *s, struct pool_file *f)
{
    pthread_mutex_lock(&p->lock);
    f->handle[pool_index(p, s)]->written = ++f->writes;
    pthread_mutex_unlock(&p->lock);
}

int pool_pwrite(struct origin *o, const struct origin_call *c, struct origin_file *file,
                const void *buf, size_t len, uint64_t off)
{
    struct pool *p = pool_of(o);
    struct pool_file *f = file_of(file);
    struct pool_slot *s;
    struct origin_file *here;
    int err = acquire_open(p, c, f, NULL, &s, &here, NULL);
    if (err)
        return err;
    note_write(p, s, f);
    err = origin_pwrite(here, c, buf, len, off);
    note_write(p, s, f);
    return (int)done(p, s, f, NULL, err);
}

int pool_fstat(struct origin *o, const struct origin_call *c, struct origin_file *file,
               struct origin_stat *ret)
{
    struct pool *p = pool_of(o);
    struct pool_file *f = file_of(file);
    struct pool_slot *s;
    struct origin_file *here;
    int err = acquire_open(p, c, f, NULL, &s, &here, NULL);
    if (err)
        return err;
    return (int)done(p, s, f, NULL, origin_fstat(here, c, ret));
}

int pool_fsetattr(struct origin *o, const struct origin_call *c, struct origin_file *file,
                  const struct origin_attr *attr)
{
    struct pool *p = pool_of(o);
    struct pool_file *f = file_of(file);
    struct pool_slot *s;
    struct origin_file *here;
    int err = acquire_open(p, c, f, NULL, &s, &here, NULL);
    if (err)
        return err;
    return (int)done(p, s, f, NULL, origin_fsetattr(here, c, attr));
}

int pool_fsync(struct origin *o, const struct origin_call *c, struct origin_file *file)
{
    struct pool *p = pool_of(o);
    struct pool_file *f = file_of(file);
    struct pool_slot *s;
    struct origin_file *here;
    int err = acquire_open(p, c, f, NULL, &s, &here, NULL);
    if (err)
        return err;
    pthread_mutex_lock(&p->lock);
    uint64_t writes = f->writes;
    bool lost = f->lost_writes;
    pthread_mutex_unlock(&p->lock);
    if (lost) {
        pool_release(p, s, 0);
        return -ESTALE;
    }
    err = origin_fsync(here, c);
    if (!err) {
        pthread_mutex_lock(&p->lock);
        f->synced = max_u64(f->synced, writes);
        pthread_mutex_unlock(&p->lock);
    }
    return (int)done(p, s, f, NULL, err);
}

ssize_t pool_copy_range(struct origin *o, const struct origin_call *c, struct origin_file *from,
                        uint64_t from_off, struct origin_file *to, uint64_t to_off, uint64_t len)
{
    struct pool *p = pool_of(o);
    struct pool_file *f = file_of(from), *g = file_of(to);
    struct pool_slot *s;
    struct origin_file *in, *out;
    int err = acquire_open(p, c, f, g, &s, &in, &out);
    if (err)
        return err;
    note_write(p, s, g);
    ssize_t n = origin_copy_range(in, c, from_off, out, to_off, len);
    note_write(p, s, g);
    return done(p, s, f, g, n);
}

int64_t pool_seek(struct origin *o, const struct origin_call *c, struct origin_file *file,
                  uint64_t off, int whence)
{
    struct pool *p = pool_of(o);
    struct pool_file *f = file_of(file);
    struct pool_slot *s;
    struct origin_file *here;
    int err = acquire_open(p, c, f, NULL, &s, &here, NULL);
    if (err)
        return err;
    return done(p, s, f, NULL, origin_seek(here, c, off, whence));
}
