// SPDX-License-Identifier: Apache-2.0
/*
 * The one gate to every driver and wrapper: answers for absent ops, refuses paths and arguments
 * that break the rules of origin.h, so that no driver has to check them again; and says once what
 * an errno means for a second try.
 */
#include "origins/origin.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

/* The rules for paths: relative, no empty component, no "." and no "..". */
static bool path_is_valid(const char *path)
{
    if (!*path)
        return true;
    for (const char *p = path;; p++) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        p += n;
        if (!*p)
            return true;
    }
}

/* What every call with a path checks first; 0 or the answer. */
static int check(const void *op, const char *path)
{
    if (!op)
        return -EOPNOTSUPP;
    return path_is_valid(path) ? 0 : -EINVAL;
}

#define CHECK(o, op, path)                                                                         \
    do {                                                                                           \
        int err_ = check((const void *)(uintptr_t)(o)->ops->op, path);                             \
        if (err_)                                                                                  \
            return err_;                                                                           \
    } while (0)

void origin_close(struct origin *o)
{
    if (o)
        o->ops->close(o);
}

const struct origin_info *origin_info(struct origin *o)
{
    return o->ops->info(o);
}

bool origin_usable(struct origin *o)
{
    return o->ops->usable && o->ops->usable(o);
}

int origin_stat(struct origin *o, const struct origin_call *c, const char *path,
                struct origin_stat *ret)
{
    CHECK(o, stat, path);
    return o->ops->stat(o, c, path, ret);
}

int origin_list(struct origin *o, const struct origin_call *c, const char *path, origin_list_fn *fn,
                void *arg)
{
    CHECK(o, list, path);
    return o->ops->list(o, c, path, fn, arg);
}

int origin_readlink(struct origin *o, const struct origin_call *c, const char *path,
                    char **ret_target)
{
    CHECK(o, readlink, path);
    return o->ops->readlink(o, c, path, ret_target);
}

int origin_statfs(struct origin *o, const struct origin_call *c, struct statvfs *ret)
{
    CHECK(o, statfs, "");
    return o->ops->statfs(o, c, ret);
}

int origin_open(struct origin *o, const struct origin_call *c, const char *path, int flags,
                uint32_t mode, struct origin_file **ret, struct origin_stat *ret_stat)
{
    CHECK(o, open, path);
    if (flags != (O_RDONLY | O_DIRECTORY) &&
        (flags & ~(O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC) || (flags & O_ACCMODE) == O_ACCMODE))
        return -EINVAL;
    return o->ops->open(o, c, path, flags, mode, ret, ret_stat);
}

int origin_mkdir(struct origin *o, const struct origin_call *c, const char *path, uint32_t mode)
{
    CHECK(o, mkdir, path);
    return o->ops->mkdir(o, c, path, mode);
}

int origin_mknod(struct origin *o, const struct origin_call *c, const char *path, uint32_t mode,
                 uint64_t rdev)
{
    CHECK(o, mknod, path);
    return o->ops->mknod(o, c, path, mode, rdev);
}

int origin_symlink(struct origin *o, const struct origin_call *c, const char *target,
                   const char *path)
{
    CHECK(o, symlink, path);
    return o->ops->symlink(o, c, target, path);
}

int origin_link(struct origin *o, const struct origin_call *c, const char *from, const char *to)
{
    CHECK(o, link, from);
    CHECK(o, link, to);
    return o->ops->link(o, c, from, to);
}

int origin_unlink(struct origin *o, const struct origin_call *c, const char *path)
{
    CHECK(o, unlink, path);
    return o->ops->unlink(o, c, path);
}

int origin_rmdir(struct origin *o, const struct origin_call *c, const char *path)
{
    CHECK(o, rmdir, path);
    return o->ops->rmdir(o, c, path);
}

int origin_rename(struct origin *o, const struct origin_call *c, const char *from, const char *to,
                  unsigned flags)
{
    CHECK(o, rename, from);
    CHECK(o, rename, to);
    return o->ops->rename(o, c, from, to, flags);
}

int origin_setattr(struct origin *o, const struct origin_call *c, const char *path,
                   const struct origin_attr *attr)
{
    CHECK(o, setattr, path);
    return o->ops->setattr(o, c, path, attr);
}

static ssize_t read_one(struct origin *o, const struct origin_call *c, struct origin_whole *w)
{
    struct origin_file *f;
    int err = origin_open(o, c, w->path, O_RDONLY, 0, &f, NULL);
    if (err)
        return err;
    ssize_t got = origin_pread(f, c, w->buf, w->len, 0, &w->ret_after);
    origin_close_file(f);
    return got;
}

int origin_read_whole(struct origin *o, const struct origin_call *c, struct origin_whole *files,
                      size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!path_is_valid(files[i].path))
            return -EINVAL;
    if (o->ops->read_whole)
        return o->ops->read_whole(o, c, files, count);
    for (size_t i = 0; i < count; i++) {
        struct origin_whole *w = &files[i];
        if (w->finished)
            continue;
        ssize_t got = read_one(o, c, w);
        if (got < 0 && origin_error_class((int)got) != ORIGIN_ERR_PERMANENT)
            return (int)got;
        w->ret_got = got;
        w->finished = true;
        w->done(w);
    }
    return 0;
}

ssize_t origin_getxattr(struct origin *o, const struct origin_call *c, const char *path,
                        const char *name, void *buf, size_t len)
{
    CHECK(o, getxattr, path);
    return o->ops->getxattr(o, c, path, name, buf, len);
}

ssize_t origin_listxattr(struct origin *o, const struct origin_call *c, const char *path, char *buf,
                         size_t len)
{
    CHECK(o, listxattr, path);
    return o->ops->listxattr(o, c, path, buf, len);
}

int origin_setxattr(struct origin *o, const struct origin_call *c, const char *path,
                    const char *name, const void *value, size_t len, int flags)
{
    CHECK(o, setxattr, path);
    return o->ops->setxattr(o, c, path, name, value, len, flags);
}

int origin_removexattr(struct origin *o, const struct origin_call *c, const char *path,
                       const char *name)
{
    CHECK(o, removexattr, path);
    return o->ops->removexattr(o, c, path, name);
}

int origin_health(struct origin *o, const struct origin_call *c)
{
    CHECK(o, health, "");
    return o->ops->health(o, c);
}

int origin_watch(struct origin *o, origin_event_fn *fn, void *arg)
{
    CHECK(o, watch, "");
    return o->ops->watch(o, fn, arg);
}

int origin_watch_dir(struct origin *o, const char *path)
{
    CHECK(o, watch_dir, path);
    return o->ops->watch_dir(o, path);
}

void origin_watch_renamed(struct origin *o, const char *from, const char *to)
{
    if (o->ops->watch_renamed && path_is_valid(from) && path_is_valid(to))
        o->ops->watch_renamed(o, from, to);
}

void origin_close_file(struct origin_file *f)
{
    if (f)
        f->owner->ops->close_file(f->owner, f);
}

ssize_t origin_pread(struct origin_file *f, const struct origin_call *c, void *buf, size_t len,
                     uint64_t off, struct origin_stat *ret_after)
{
    CHECK(f->owner, pread, "");
    if (off > INT64_MAX || len > INT64_MAX - off)
        return -EINVAL;
    return f->owner->ops->pread(f->owner, c, f, buf, len, off, ret_after);
}

int origin_pwrite(struct origin_file *f, const struct origin_call *c, const void *buf, size_t len,
                  uint64_t off)
{
    CHECK(f->owner, pwrite, "");
    if (off > INT64_MAX || len > INT64_MAX - off)
        return -EFBIG;
    return f->owner->ops->pwrite(f->owner, c, f, buf, len, off);
}

int origin_fstat(struct origin_file *f, const struct origin_call *c, struct origin_stat *ret)
{
    CHECK(f->owner, fstat, "");
    return f->owner->ops->fstat(f->owner, c, f, ret);
}

int origin_fsetattr(struct origin_file *f, const struct origin_call *c,
                    const struct origin_attr *attr)
{
    CHECK(f->owner, fsetattr, "");
    return f->owner->ops->fsetattr(f->owner, c, f, attr);
}

int origin_fsync(struct origin_file *f, const struct origin_call *c)
{
    CHECK(f->owner, fsync, "");
    return f->owner->ops->fsync(f->owner, c, f);
}

ssize_t origin_copy_range(struct origin_file *from, const struct origin_call *c, uint64_t from_off,
                          struct origin_file *to, uint64_t to_off, uint64_t len)
{
    CHECK(from->owner, copy_range, "");
    if (from->owner != to->owner)
        return -EXDEV;
    if (from_off > INT64_MAX || to_off > INT64_MAX || len > INT64_MAX - from_off ||
        len > INT64_MAX - to_off)
        return -EINVAL;
    return from->owner->ops->copy_range(from->owner, c, from, from_off, to, to_off, len);
}

int64_t origin_seek(struct origin_file *f, const struct origin_call *c, uint64_t off, int whence)
{
    CHECK(f->owner, seek, "");
    if (off > INT64_MAX || (whence != SEEK_DATA && whence != SEEK_HOLE))
        return -EINVAL;
    return f->owner->ops->seek(f->owner, c, f, off, whence);
}

enum origin_error_class origin_error_class(int err)
{
    switch (-err) {
    case EAGAIN:
    case ECONNRESET:
    case ECONNREFUSED:
    case ECONNABORTED:
    case EPIPE:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
    case ENETRESET:
        return ORIGIN_ERR_TRANSIENT;
    case ESTALE:
    case ENOTCONN:
        return ORIGIN_ERR_STALE;
    case ENOSPC:
    case EDQUOT:
        return ORIGIN_ERR_FULL;
    case ETIMEDOUT:
    case EINTR:
        return ORIGIN_ERR_ENDED;
    default:
        return ORIGIN_ERR_PERMANENT;
    }
}

bool origin_call_ended(const struct origin_call *c, int *ret_err)
{
    if (c->cancelled && atomic_load_explicit(c->cancelled, memory_order_relaxed)) {
        *ret_err = -EINTR;
        return true;
    }
    if (c->deadline_ns != CAIRN_NEVER && cairn_now_ns() >= c->deadline_ns) {
        *ret_err = -ETIMEDOUT;
        return true;
    }
    return false;
}
