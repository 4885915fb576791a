// SPDX-License-Identifier: Apache-2.0
#include "unit/origins/fault.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "origins/wrap.h"

#define MAX_RULES 64

struct rule {
    const char *op;
    unsigned times;
    int err;
    bool after;
};

struct fault {
    struct wrap wrap;
    atomic_bool busy; /* a call is in: drivers have one at a time */
    atomic_bool usable;
    bool hide_ids;
    fault_hook *hook;
    void *hook_arg;
    pthread_mutex_t lock; /* protects what follows */
    struct rule rules[MAX_RULES];
    size_t rule_count;
    struct {
        const char *op;
        unsigned calls;
    } counts[64];
};

static struct fault *self(struct origin *o)
{
    return container_of(o, struct fault, wrap.base);
}

struct verdict {
    int err; /* 0: none */
    bool after;
};

static unsigned *count_of(struct fault *f, const char *op)
{
    size_t i = 0;
    while (f->counts[i].op && strcmp(f->counts[i].op, op))
        i++;
    f->counts[i].op = op;
    return &f->counts[i].calls;
}

static struct verdict enter(struct origin *o, const char *op, const struct origin_call *c)
{
    struct fault *f = self(o);
    bool was_busy = atomic_exchange(&f->busy, true);
    assert(!was_busy);
    (void)was_busy;
    if (f->hook)
        f->hook(f->hook_arg, op, c);
    struct verdict v = {0};
    pthread_mutex_lock(&f->lock);
    ++*count_of(f, op);
    for (size_t i = 0; i < f->rule_count; i++) {
        struct rule *r = &f->rules[i];
        if (!r->times || (strcmp(r->op, op) && strcmp(r->op, "*")))
            continue;
        r->times--;
        v = (struct verdict){r->err, r->after};
        break;
    }
    pthread_mutex_unlock(&f->lock);
    return v;
}

static int64_t leave(struct origin *o, struct verdict v, int64_t result)
{
    atomic_store(&self(o)->busy, false);
    return v.err ? v.err : result;
}

/* As an origin that knows no inode numbers tells it. */
static struct origin_stat without_ids(struct origin_stat st)
{
    st.fileid = st.token[0] = st.token[1] = 0;
    st.nlink = 1;
    return st;
}

static bool performs(struct verdict v)
{
    return !v.err || v.after;
}

static int fault_stat(struct origin *o, const struct origin_call *c, const char *path,
                      struct origin_stat *ret)
{
    struct verdict v = enter(o, "stat", c);
    int r = performs(v) ? origin_stat(wrap_next(o), c, path, ret) : 0;
    if (r == 0 && !v.err && self(o)->hide_ids)
        *ret = without_ids(*ret);
    return (int)leave(o, v, r);
}

static int fault_list(struct origin *o, const struct origin_call *c, const char *path,
                      origin_list_fn *fn, void *arg)
{
    struct verdict v = enter(o, "list", c);
    return (int)leave(o, v, performs(v) ? origin_list(wrap_next(o), c, path, fn, arg) : 0);
}

static int fault_readlink(struct origin *o, const struct origin_call *c, const char *path,
                          char **ret_target)
{
    struct verdict v = enter(o, "readlink", c);
    return (int)leave(o, v, performs(v) ? origin_readlink(wrap_next(o), c, path, ret_target) : 0);
}

static int fault_statfs(struct origin *o, const struct origin_call *c, struct statvfs *ret)
{
    struct verdict v = enter(o, "statfs", c);
    return (int)leave(o, v, performs(v) ? origin_statfs(wrap_next(o), c, ret) : 0);
}

static int fault_mkdir(struct origin *o, const struct origin_call *c, const char *path,
                       uint32_t mode)
{
    struct verdict v = enter(o, "mkdir", c);
    return (int)leave(o, v, performs(v) ? origin_mkdir(wrap_next(o), c, path, mode) : 0);
}

static int fault_mknod(struct origin *o, const struct origin_call *c, const char *path,
                       uint32_t mode, uint64_t rdev)
{
    struct verdict v = enter(o, "mknod", c);
    return (int)leave(o, v, performs(v) ? origin_mknod(wrap_next(o), c, path, mode, rdev) : 0);
}

static int fault_symlink(struct origin *o, const struct origin_call *c, const char *target,
                         const char *path)
{
    struct verdict v = enter(o, "symlink", c);
    return (int)leave(o, v, performs(v) ? origin_symlink(wrap_next(o), c, target, path) : 0);
}

static int fault_link(struct origin *o, const struct origin_call *c, const char *from,
                      const char *to)
{
    struct verdict v = enter(o, "link", c);
    return (int)leave(o, v, performs(v) ? origin_link(wrap_next(o), c, from, to) : 0);
}

static int fault_unlink(struct origin *o, const struct origin_call *c, const char *path)
{
    struct verdict v = enter(o, "unlink", c);
    return (int)leave(o, v, performs(v) ? origin_unlink(wrap_next(o), c, path) : 0);
}

static int fault_rmdir(struct origin *o, const struct origin_call *c, const char *path)
{
    struct verdict v = enter(o, "rmdir", c);
    return (int)leave(o, v, performs(v) ? origin_rmdir(wrap_next(o), c, path) : 0);
}

static int fault_rename(struct origin *o, const struct origin_call *c, const char *from,
                        const char *to, unsigned flags)
{
    struct verdict v = enter(o, "rename", c);
    return (int)leave(o, v, performs(v) ? origin_rename(wrap_next(o), c, from, to, flags) : 0);
}

static int fault_setattr(struct origin *o, const struct origin_call *c, const char *path,
                         const struct origin_attr *attr)
{
    struct verdict v = enter(o, "setattr", c);
    return (int)leave(o, v, performs(v) ? origin_setattr(wrap_next(o), c, path, attr) : 0);
}

static ssize_t fault_getxattr(struct origin *o, const struct origin_call *c, const char *path,
                              const char *name, void *buf, size_t len)
{
    struct verdict v = enter(o, "getxattr", c);
    return (ssize_t)leave(o, v,
                          performs(v) ? origin_getxattr(wrap_next(o), c, path, name, buf, len) : 0);
}

static ssize_t fault_listxattr(struct origin *o, const struct origin_call *c, const char *path,
                               char *buf, size_t len)
{
    struct verdict v = enter(o, "listxattr", c);
    return (ssize_t)leave(o, v,
                          performs(v) ? origin_listxattr(wrap_next(o), c, path, buf, len) : 0);
}

static int fault_setxattr(struct origin *o, const struct origin_call *c, const char *path,
                          const char *name, const void *value, size_t len, int flags)
{
    struct verdict v = enter(o, "setxattr", c);
    return (int)leave(
        o, v, performs(v) ? origin_setxattr(wrap_next(o), c, path, name, value, len, flags) : 0);
}

static int fault_removexattr(struct origin *o, const struct origin_call *c, const char *path,
                             const char *name)
{
    struct verdict v = enter(o, "removexattr", c);
    return (int)leave(o, v, performs(v) ? origin_removexattr(wrap_next(o), c, path, name) : 0);
}

static int fault_health(struct origin *o, const struct origin_call *c)
{
    struct verdict v = enter(o, "health", c);
    return (int)leave(o, v, performs(v) ? origin_health(wrap_next(o), c) : 0);
}

static int fault_open(struct origin *o, const struct origin_call *c, const char *path, int flags,
                      uint32_t mode, struct origin_file **ret, struct origin_stat *ret_stat)
{
    struct verdict v = enter(o, "open", c);
    AUTO_FREE struct wrap_file *f = malloc(sizeof *f);
    f->base.owner = o;
    struct origin_stat st;
    int r = performs(v) ? origin_open(wrap_next(o), c, path, flags, mode, &f->next, &st) : 0;
    if (r == 0 && !v.err) {
        *ret = &STEAL(f)->base;
        if (ret_stat)
            *ret_stat = self(o)->hide_ids ? without_ids(st) : st;
    } else if (r == 0 && v.after) {
        origin_close_file(f->next);
    }
    return (int)leave(o, v, r);
}

static ssize_t fault_pread(struct origin *o, const struct origin_call *c, struct origin_file *f,
                           void *buf, size_t len, uint64_t off, struct origin_stat *ret_after)
{
    struct verdict v = enter(o, "pread", c);
    return leave(o, v,
                 performs(v) ? origin_pread(wrap_next_file(f), c, buf, len, off, ret_after) : 0);
}

static int fault_pwrite(struct origin *o, const struct origin_call *c, struct origin_file *f,
                        const void *buf, size_t len, uint64_t off)
{
    struct verdict v = enter(o, "pwrite", c);
    return (int)leave(o, v, performs(v) ? origin_pwrite(wrap_next_file(f), c, buf, len, off) : 0);
}

static int fault_fstat(struct origin *o, const struct origin_call *c, struct origin_file *f,
                       struct origin_stat *ret)
{
    struct verdict v = enter(o, "fstat", c);
    int r = performs(v) ? origin_fstat(wrap_next_file(f), c, ret) : 0;
    if (r == 0 && !v.err && self(o)->hide_ids)
        *ret = without_ids(*ret);
    return (int)leave(o, v, r);
}

static int fault_fsetattr(struct origin *o, const struct origin_call *c, struct origin_file *f,
                          const struct origin_attr *attr)
{
    struct verdict v = enter(o, "fsetattr", c);
    return (int)leave(o, v, performs(v) ? origin_fsetattr(wrap_next_file(f), c, attr) : 0);
}

static int fault_fsync(struct origin *o, const struct origin_call *c, struct origin_file *f)
{
    struct verdict v = enter(o, "fsync", c);
    return (int)leave(o, v, performs(v) ? origin_fsync(wrap_next_file(f), c) : 0);
}

static ssize_t fault_copy_range(struct origin *o, const struct origin_call *c,
                                struct origin_file *from, uint64_t from_off, struct origin_file *to,
                                uint64_t to_off, uint64_t len)
{
    struct verdict v = enter(o, "copy_range", c);
    return leave(o, v,
                 performs(v) ? origin_copy_range(wrap_next_file(from), c, from_off,
                                                 wrap_next_file(to), to_off, len)
                             : 0);
}

static int64_t fault_seek(struct origin *o, const struct origin_call *c, struct origin_file *f,
                          uint64_t off, int whence)
{
    struct verdict v = enter(o, "seek", c);
    return leave(o, v, performs(v) ? origin_seek(wrap_next_file(f), c, off, whence) : 0);
}

static void fault_close_file(struct origin *o, struct origin_file *f)
{
    struct verdict v = enter(o, "close_file", NULL);
    wrap_close_file(o, f);
    leave(o, v, 0);
}

static bool fault_is_usable(struct origin *o)
{
    return atomic_load(&self(o)->usable);
}

static void fault_close(struct origin *o)
{
    struct verdict v = enter(o, "close", NULL);
    leave(o, v, 0);
    origin_close(wrap_next(o));
    pthread_mutex_destroy(&self(o)->lock);
    free(self(o));
}

static const struct origin_ops fault_ops = {
    .scheme = "fault",
    .concurrent = false,
    .close = fault_close,
    .info = wrap_info,
    .usable = fault_is_usable,
    .close_file = fault_close_file,
    .stat = fault_stat,
    .list = fault_list,
    .readlink = fault_readlink,
    .statfs = fault_statfs,
    .open = fault_open,
    .mkdir = fault_mkdir,
    .mknod = fault_mknod,
    .symlink = fault_symlink,
    .link = fault_link,
    .unlink = fault_unlink,
    .rmdir = fault_rmdir,
    .rename = fault_rename,
    .setattr = fault_setattr,
    .getxattr = fault_getxattr,
    .listxattr = fault_listxattr,
    .setxattr = fault_setxattr,
    .removexattr = fault_removexattr,
    .health = fault_health,
    .pread = fault_pread,
    .pwrite = fault_pwrite,
    .fstat = fault_fstat,
    .fsetattr = fault_fsetattr,
    .fsync = fault_fsync,
    .copy_range = fault_copy_range,
    .seek = fault_seek,
};

struct origin *fault_new(struct origin *next)
{
    struct fault *f = calloc(1, sizeof *f);
    f->wrap.base.ops = &fault_ops;
    f->wrap.next = next;
    pthread_mutex_init(&f->lock, NULL);
    return &f->wrap.base;
}

static void add_rule(struct origin *o, struct rule r)
{
    struct fault *f = self(o);
    pthread_mutex_lock(&f->lock);
    assert(f->rule_count < MAX_RULES);
    f->rules[f->rule_count++] = r;
    pthread_mutex_unlock(&f->lock);
}

void fault_before(struct origin *o, const char *op, unsigned times, int err)
{
    add_rule(o, (struct rule){.op = op, .times = times, .err = err});
}

void fault_after(struct origin *o, const char *op, unsigned times, int err)
{
    add_rule(o, (struct rule){.op = op, .times = times, .err = err, .after = true});
}

void fault_set_hook(struct origin *o, fault_hook *hook, void *arg)
{
    self(o)->hook = hook;
    self(o)->hook_arg = arg;
}

void fault_set_usable(struct origin *o, bool usable)
{
    atomic_store(&self(o)->usable, usable);
}

void fault_hide_ids(struct origin *o)
{
    self(o)->hide_ids = true;
}

unsigned fault_calls(struct origin *o, const char *op)
{
    struct fault *f = self(o);
    pthread_mutex_lock(&f->lock);
    unsigned n = *count_of(f, op);
    pthread_mutex_unlock(&f->lock);
    return n;
}
