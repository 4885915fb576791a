// SPDX-License-Identifier: Apache-2.0
#include "origins/metrics.h"

#include "base/clock.h"
#include "origins/wrap.h"

#define OPS(X)                                                                                     \
    X(stat)                                                                                        \
    X(list) X(readlink) X(statfs) X(open) X(mkdir) X(mknod) X(symlink) X(link) X(unlink) X(rmdir)  \
        X(rename) X(setattr) X(getxattr) X(listxattr) X(setxattr) X(removexattr) X(health)         \
            X(read_whole) X(pread) X(pwrite) X(fstat) X(fsetattr) X(fsync) X(copy_range) X(seek)

enum op {
#define X(name) OP_##name,
    OPS(X)
#undef X
        OP_COUNT
};

static const char *const op_names[OP_COUNT] = {
#define X(name) #name,
    OPS(X)
#undef X
};

struct op_counts {
    _Atomic uint64_t errors, bytes, latency[ORIGIN_LATENCY_BUCKETS];
};

struct metrics {
    struct wrap wrap;
    struct cairn_metrics *counters;
    struct op_counts ops[OP_COUNT];
};

static struct metrics *self(struct origin *o)
{
    return container_of(o, struct metrics, wrap.base);
}

static void add(_Atomic uint64_t *n, uint64_t by)
{
    atomic_fetch_add_explicit(n, by, memory_order_relaxed);
}

/* Answers that tell what is there, as opposed to an origin that did not do its work. */
static bool is_answer(int err)
{
    switch (-err) {
    case ENOENT:
    case EEXIST:
    case ENOTEMPTY:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENODATA:
    case ENXIO:
    case ERANGE:
    case EOPNOTSUPP:
    case EINTR:
        return true;
    default:
        return false;
    }
}

static size_t bucket_of(int64_t ns)
{
    uint64_t us = ns > 0 ? (uint64_t)ns / 1000 : 0;
    size_t i = us ? 64 - (size_t)__builtin_clzll(us) : 0;
    return i < ORIGIN_LATENCY_BUCKETS ? i : ORIGIN_LATENCY_BUCKETS - 1;
}

/* Books a call of `op` that began at `start` and gave `result`; returns the result. */
static int64_t book(struct origin *o, enum op op, int64_t start, int64_t result)
{
    struct metrics *m = self(o);
    add(&m->ops[op].latency[bucket_of(cairn_now_ns() - start)], 1);
    cairn_count(m->counters, CAIRN_ORIGIN_CALLS, 1);
    if (result < 0 && !is_answer((int)result)) {
        add(&m->ops[op].errors, 1);
        cairn_count(m->counters, CAIRN_ORIGIN_ERRORS, 1);
        if (result == -ETIMEDOUT)
            cairn_count(m->counters, CAIRN_ORIGIN_TIMEOUTS, 1);
    }
    return result;
}

static void book_bytes(struct origin *o, enum op op, enum cairn_counter counter, int64_t bytes)
{
    if (bytes <= 0)
        return;
    struct metrics *m = self(o);
    add(&m->ops[op].bytes, (uint64_t)bytes);
    if (counter != CAIRN_COUNTER_COUNT)
        cairn_count(m->counters, counter, (uint64_t)bytes);
}

/* --- the ops, each timed and booked --- */

static int metrics_stat(struct origin *o, const struct origin_call *c, const char *path,
                        struct origin_stat *ret)
{
    int64_t start = cairn_now_ns();
    int r = origin_stat(wrap_next(o), c, path, ret);
    return (int)book(o, OP_stat, start, r);
}

static int metrics_list(struct origin *o, const struct origin_call *c, const char *path,
                        origin_list_fn *fn, void *arg)
{
    int64_t start = cairn_now_ns();
    int r = origin_list(wrap_next(o), c, path, fn, arg);
    return (int)book(o, OP_list, start, r);
}

static int metrics_readlink(struct origin *o, const struct origin_call *c, const char *path,
                            char **ret_target)
{
    int64_t start = cairn_now_ns();
    int r = origin_readlink(wrap_next(o), c, path, ret_target);
    return (int)book(o, OP_readlink, start, r);
}

static int metrics_statfs(struct origin *o, const struct origin_call *c, struct statvfs *ret)
{
    int64_t start = cairn_now_ns();
    int r = origin_statfs(wrap_next(o), c, ret);
    return (int)book(o, OP_statfs, start, r);
}

static int metrics_mkdir(struct origin *o, const struct origin_call *c, const char *path,
                         uint32_t mode)
{
    int64_t start = cairn_now_ns();
    int r = origin_mkdir(wrap_next(o), c, path, mode);
    return (int)book(o, OP_mkdir, start, r);
}

static int metrics_mknod(struct origin *o, const struct origin_call *c, const char *path,
                         uint32_t mode, uint64_t rdev)
{
    int64_t start = cairn_now_ns();
    int r = origin_mknod(wrap_next(o), c, path, mode, rdev);
    return (int)book(o, OP_mknod, start, r);
}

static int metrics_symlink(struct origin *o, const struct origin_call *c, const char *target,
                           const char *path)
{
    int64_t start = cairn_now_ns();
    int r = origin_symlink(wrap_next(o), c, target, path);
    return (int)book(o, OP_symlink, start, r);
}

static int metrics_link(struct origin *o, const struct origin_call *c, const char *from,
                        const char *to)
{
    int64_t start = cairn_now_ns();
    int r = origin_link(wrap_next(o), c, from, to);
    return (int)book(o, OP_link, start, r);
}

static int metrics_unlink(struct origin *o, const struct origin_call *c, const char *path)
{
    int64_t start = cairn_now_ns();
    int r = origin_unlink(wrap_next(o), c, path);
    return (int)book(o, OP_unlink, start, r);
}

static int metrics_rmdir(struct origin *o, const struct origin_call *c, const char *path)
{
    int64_t start = cairn_now_ns();
    int r = origin_rmdir(wrap_next(o), c, path);
    return (int)book(o, OP_rmdir, start, r);
}

static int metrics_rename(struct origin *o, const struct origin_call *c, const char *from,
                          const char *to, unsigned flags)
{
    int64_t start = cairn_now_ns();
    int r = origin_rename(wrap_next(o), c, from, to, flags);
    return (int)book(o, OP_rename, start, r);
}

static int metrics_setattr(struct origin *o, const struct origin_call *c, const char *path,
                           const struct origin_attr *attr)
{
    int64_t start = cairn_now_ns();
    int r = origin_setattr(wrap_next(o), c, path, attr);
    return (int)book(o, OP_setattr, start, r);
}

static ssize_t metrics_getxattr(struct origin *o, const struct origin_call *c, const char *path,
                                const char *name, void *buf, size_t len)
{
    int64_t start = cairn_now_ns();
    ssize_t r = origin_getxattr(wrap_next(o), c, path, name, buf, len);
    return (ssize_t)book(o, OP_getxattr, start, r);
}

static ssize_t metrics_listxattr(struct origin *o, const struct origin_call *c, const char *path,
                                 char *buf, size_t len)
{
    int64_t start = cairn_now_ns();
    ssize_t r = origin_listxattr(wrap_next(o), c, path, buf, len);
    return (ssize_t)book(o, OP_listxattr, start, r);
}

static int metrics_setxattr(struct origin *o, const struct origin_call *c, const char *path,
                            const char *name, const void *value, size_t len, int flags)
{
    int64_t start = cairn_now_ns();
    int r = origin_setxattr(wrap_next(o), c, path, name, value, len, flags);
    return (int)book(o, OP_setxattr, start, r);
}

static int metrics_removexattr(struct origin *o, const struct origin_call *c, const char *path,
                               const char *name)
{
    int64_t start = cairn_now_ns();
    int r = origin_removexattr(wrap_next(o), c, path, name);
    return (int)book(o, OP_removexattr, start, r);
}

static int metrics_health(struct origin *o, const struct origin_call *c)
{
    int64_t start = cairn_now_ns();
    int r = origin_health(wrap_next(o), c);
    return (int)book(o, OP_health, start, r);
}

static int metrics_open(struct origin *o, const struct origin_call *c, const char *path, int flags,
                        uint32_t mode, struct origin_file **ret, struct origin_stat *ret_stat)
{
    int64_t start = cairn_now_ns();
    AUTO_FREE struct wrap_file *f = malloc(sizeof *f);
    if (!f)
        return -ENOMEM;
    f->base.owner = o;
    int r = origin_open(wrap_next(o), c, path, flags, mode, &f->next, ret_stat);
    if (r == 0)
        *ret = &STEAL(f)->base;
    return (int)book(o, OP_open, start, r);
}

static int metrics_read_whole(struct origin *o, const struct origin_call *c,
                              struct origin_whole *files, size_t count)
{
    int64_t start = cairn_now_ns();
    int r = origin_read_whole(wrap_next(o), c, files, count);
    for (size_t i = 0; i < count; i++)
        if (files[i].finished)
            book_bytes(o, OP_read_whole, CAIRN_ORIGIN_READ_BYTES, files[i].ret_got);
    return (int)book(o, OP_read_whole, start, r);
}

static ssize_t metrics_pread(struct origin *o, const struct origin_call *c, struct origin_file *f,
                             void *buf, size_t len, uint64_t off, struct origin_stat *ret_after)
{
    int64_t start = cairn_now_ns();
    ssize_t r = origin_pread(wrap_next_file(f), c, buf, len, off, ret_after);
    book_bytes(o, OP_pread, CAIRN_ORIGIN_READ_BYTES, r);
    return (ssize_t)book(o, OP_pread, start, r);
}

static int metrics_pwrite(struct origin *o, const struct origin_call *c, struct origin_file *f,
                          const void *buf, size_t len, uint64_t off)
{
    int64_t start = cairn_now_ns();
    int r = origin_pwrite(wrap_next_file(f), c, buf, len, off);
    if (r == 0)
        book_bytes(o, OP_pwrite, CAIRN_ORIGIN_WRITTEN_BYTES, (int64_t)len);
    return (int)book(o, OP_pwrite, start, r);
}

static int metrics_fstat(struct origin *o, const struct origin_call *c, struct origin_file *f,
                         struct origin_stat *ret)
{
    int64_t start = cairn_now_ns();
    int r = origin_fstat(wrap_next_file(f), c, ret);
    return (int)book(o, OP_fstat, start, r);
}

static int metrics_fsetattr(struct origin *o, const struct origin_call *c, struct origin_file *f,
                            const struct origin_attr *attr)
{
    int64_t start = cairn_now_ns();
    int r = origin_fsetattr(wrap_next_file(f), c, attr);
    return (int)book(o, OP_fsetattr, start, r);
}

static int metrics_fsync(struct origin *o, const struct origin_call *c, struct origin_file *f)
{
    int64_t start = cairn_now_ns();
    int r = origin_fsync(wrap_next_file(f), c);
    return (int)book(o, OP_fsync, start, r);
}

static ssize_t metrics_copy_range(struct origin *o, const struct origin_call *c,
                                  struct origin_file *from, uint64_t from_off,
                                  struct origin_file *to, uint64_t to_off, uint64_t len)
{
    int64_t start = cairn_now_ns();
    ssize_t r =
        origin_copy_range(wrap_next_file(from), c, from_off, wrap_next_file(to), to_off, len);
    book_bytes(o, OP_copy_range, CAIRN_COUNTER_COUNT, r);
    return (ssize_t)book(o, OP_copy_range, start, r);
}

static int64_t metrics_seek(struct origin *o, const struct origin_call *c, struct origin_file *f,
                            uint64_t off, int whence)
{
    int64_t start = cairn_now_ns();
    return book(o, OP_seek, start, origin_seek(wrap_next_file(f), c, off, whence));
}

static void metrics_close(struct origin *o)
{
    origin_close(wrap_next(o));
    free(self(o));
}

static const struct origin_ops metrics_ops = {
    .scheme = "metrics",
    .concurrent = true,
    .close = metrics_close,
    .info = wrap_info,
    .usable = wrap_usable,
    .watch = wrap_watch,
    .watch_dir = wrap_watch_dir,
    .watch_renamed = wrap_watch_renamed,
    .close_file = wrap_close_file,
    .stat = metrics_stat,
    .list = metrics_list,
    .readlink = metrics_readlink,
    .statfs = metrics_statfs,
    .open = metrics_open,
    .mkdir = metrics_mkdir,
    .mknod = metrics_mknod,
    .symlink = metrics_symlink,
    .link = metrics_link,
    .unlink = metrics_unlink,
    .rmdir = metrics_rmdir,
    .rename = metrics_rename,
    .setattr = metrics_setattr,
    .getxattr = metrics_getxattr,
    .listxattr = metrics_listxattr,
    .setxattr = metrics_setxattr,
    .removexattr = metrics_removexattr,
    .health = metrics_health,
    .read_whole = metrics_read_whole,
    .pread = metrics_pread,
    .pwrite = metrics_pwrite,
    .fstat = metrics_fstat,
    .fsetattr = metrics_fsetattr,
    .fsync = metrics_fsync,
    .copy_range = metrics_copy_range,
    .seek = metrics_seek,
};

int origin_metrics_new(struct origin **ret, struct origin *next, struct cairn_metrics *counters)
{
    struct metrics *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->wrap.base.ops = &metrics_ops;
    m->wrap.next = next;
    m->counters = counters;
    *ret = &m->wrap.base;
    return 0;
}

bool origin_metrics_get(struct origin *o, size_t op, struct origin_op_metrics *ret)
{
    if (o->ops != &metrics_ops || op >= OP_COUNT)
        return false;
    struct op_counts *n = &self(o)->ops[op];
    *ret = (struct origin_op_metrics){
        .name = op_names[op],
        .errors = atomic_load_explicit(&n->errors, memory_order_relaxed),
        .bytes = atomic_load_explicit(&n->bytes, memory_order_relaxed),
    };
    for (size_t i = 0; i < ORIGIN_LATENCY_BUCKETS; i++) {
        ret->latency[i] = atomic_load_explicit(&n->latency[i], memory_order_relaxed);
        ret->calls += ret->latency[i];
    }
    return true;
}

uint64_t origin_metrics_percentile_us(const struct origin_op_metrics *m, double share)
{
    if (!m->calls)
        return 0;
    double want = share * (double)m->calls;
    uint64_t sum = 0;
    size_t i = 0;
    for (; i < ORIGIN_LATENCY_BUCKETS - 1; i++) {
        sum += m->latency[i];
        if (sum && (double)sum >= want)
            break;
    }
    return 1ULL << i;
}
