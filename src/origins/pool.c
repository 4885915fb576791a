// SPDX-License-Identifier: Apache-2.0
#include "origins/pool.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "origins/pool_slots.h"
#include "origins/url.h"

static struct pool *self(struct origin *o)
{
    return container_of(o, struct pool, base);
}

static const struct origin_info *pool_info(struct origin *o)
{
    return &self(o)->info;
}

/* Evaluates `expr` with `s` bound to a connection, and returns its value. */
#define ON_CONNECTION(o, c, s, expr)                                                               \
    do {                                                                                           \
        struct pool_slot *s;                                                                       \
        int err_ = pool_acquire(self(o), c, NULL, NULL, &s);                                       \
        if (err_)                                                                                  \
            return err_;                                                                           \
        __typeof__(expr) r_ = (expr);                                                              \
        pool_release(self(o), s, r_);                                                              \
        return r_;                                                                                 \
    } while (0)

static int pool_stat(struct origin *o, const struct origin_call *c, const char *path,
                     struct origin_stat *ret)
{
    ON_CONNECTION(o, c, s, origin_stat(s->origin, c, path, ret));
}

static int pool_readlink(struct origin *o, const struct origin_call *c, const char *path,
                         char **ret_target)
{
    ON_CONNECTION(o, c, s, origin_readlink(s->origin, c, path, ret_target));
}

static int pool_statfs(struct origin *o, const struct origin_call *c, struct statvfs *ret)
{
    ON_CONNECTION(o, c, s, origin_statfs(s->origin, c, ret));
}

static int pool_mkdir(struct origin *o, const struct origin_call *c, const char *path,
                      uint32_t mode)
{
    ON_CONNECTION(o, c, s, origin_mkdir(s->origin, c, path, mode));
}

static int pool_mknod(struct origin *o, const struct origin_call *c, const char *path,
                      uint32_t mode, uint64_t rdev)
{
    ON_CONNECTION(o, c, s, origin_mknod(s->origin, c, path, mode, rdev));
}

static int pool_symlink(struct origin *o, const struct origin_call *c, const char *target,
                        const char *path)
{
    ON_CONNECTION(o, c, s, origin_symlink(s->origin, c, target, path));
}

static int pool_link(struct origin *o, const struct origin_call *c, const char *from,
                     const char *to)
{
    ON_CONNECTION(o, c, s, origin_link(s->origin, c, from, to));
}

static int pool_unlink(struct origin *o, const struct origin_call *c, const char *path)
{
    ON_CONNECTION(o, c, s, origin_unlink(s->origin, c, path));
}

static int pool_rmdir(struct origin *o, const struct origin_call *c, const char *path)
{
    ON_CONNECTION(o, c, s, origin_rmdir(s->origin, c, path));
}

static int pool_setattr(struct origin *o, const struct origin_call *c, const char *path,
                        const struct origin_attr *attr)
{
    ON_CONNECTION(o, c, s, origin_setattr(s->origin, c, path, attr));
}

static int pool_read_whole(struct origin *o, const struct origin_call *c,
                           struct origin_whole *files, size_t count)
{
    ON_CONNECTION(o, c, s, origin_read_whole(s->origin, c, files, count));
}

static ssize_t pool_getxattr(struct origin *o, const struct origin_call *c, const char *path,
                             const char *name, void *buf, size_t len)
{
    ON_CONNECTION(o, c, s, origin_getxattr(s->origin, c, path, name, buf, len));
}

static ssize_t pool_listxattr(struct origin *o, const struct origin_call *c, const char *path,
                              char *buf, size_t len)
{
    ON_CONNECTION(o, c, s, origin_listxattr(s->origin, c, path, buf, len));
}

static int pool_setxattr(struct origin *o, const struct origin_call *c, const char *path,
                         const char *name, const void *value, size_t len, int flags)
{
    ON_CONNECTION(o, c, s, origin_setxattr(s->origin, c, path, name, value, len, flags));
}

static int pool_removexattr(struct origin *o, const struct origin_call *c, const char *path,
                            const char *name)
{
    ON_CONNECTION(o, c, s, origin_removexattr(s->origin, c, path, name));
}

static int pool_health(struct origin *o, const struct origin_call *c)
{
    ON_CONNECTION(o, c, s, origin_health(s->origin, c));
}

static int pool_rename(struct origin *o, const struct origin_call *c, const char *from,
                       const char *to, unsigned flags)
{
    struct pool_slot *s;
    int err = pool_acquire(self(o), c, NULL, NULL, &s);
    if (err)
        return err;
    err = origin_rename(s->origin, c, from, to, flags);
    if (!err)
        pool_files_renamed(self(o), from, to, flags & RENAME_EXCHANGE);
    pool_release(self(o), s, err);
    return err;
}

struct listing {
    origin_list_fn *fn;
    void *arg;
    bool stopped; /* by the callback: its value says nothing about the connection */
};

static int hand_out(void *arg, const struct origin_entry *entries, size_t count)
{
    struct listing *l = arg;
    int r = l->fn(l->arg, entries, count);
    l->stopped = r != 0;
    return r;
}

static int pool_list(struct origin *o, const struct origin_call *c, const char *path,
                     origin_list_fn *fn, void *arg)
{
    struct listing l = {.fn = fn, .arg = arg};
    struct pool_slot *s;
    int r = pool_acquire(self(o), c, NULL, NULL, &s);
    if (r)
        return r;
    r = origin_list(s->origin, c, path, hand_out, &l);
    pool_release(self(o), s, l.stopped ? 0 : r);
    return r;
}

/* --- life --- */

static void free_config(struct origin_config *cfg)
{
    origin_url_free((struct origin_url *)(uintptr_t)cfg->url);
    free((char *)(uintptr_t)cfg->ssh_config);
    free((char *)(uintptr_t)cfg->ssh_known_hosts);
    free((char *)(uintptr_t)cfg->ssh_identity);
}

/* The copy of a string that may be NULL; false without memory. */
static bool copy_text(const char **ret, const char *text)
{
    *ret = text ? strdup(text) : NULL;
    return !text || *ret;
}

static int copy_config(struct origin_config *ret, const struct origin_config *cfg)
{
    struct origin_config copy = *cfg;
    copy.url = NULL;
    copy.ssh_config = copy.ssh_known_hosts = copy.ssh_identity = NULL;
    struct origin_url *url = origin_url_copy(cfg->url);
    copy.url = url;
    if (url && copy_text(&copy.ssh_config, cfg->ssh_config) &&
        copy_text(&copy.ssh_known_hosts, cfg->ssh_known_hosts) &&
        copy_text(&copy.ssh_identity, cfg->ssh_identity)) {
        *ret = copy;
        return 0;
    }
    free_config(&copy);
    return -ENOMEM;
}

static void destroy(struct pool *p)
{
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->released);
    free_config(&p->cfg);
    free(p->name);
    free(p);
}

static void pool_close(struct origin *o)
{
    struct pool *p = self(o);
    for (unsigned i = 0; i < p->max; i++)
        origin_close(p->slots[i].origin);
    destroy(p);
}

static const struct origin_ops pool_ops = {
    .scheme = "pool",
    .concurrent = true,
    .close = pool_close,
    .info = pool_info,
    .stat = pool_stat,
    .list = pool_list,
    .readlink = pool_readlink,
    .statfs = pool_statfs,
    .open = pool_open,
    .mkdir = pool_mkdir,
    .mknod = pool_mknod,
    .symlink = pool_symlink,
    .link = pool_link,
    .unlink = pool_unlink,
    .rmdir = pool_rmdir,
    .rename = pool_rename,
    .setattr = pool_setattr,
    .getxattr = pool_getxattr,
    .listxattr = pool_listxattr,
    .setxattr = pool_setxattr,
    .removexattr = pool_removexattr,
    .health = pool_health,
    .close_file = pool_close_file,
    .read_whole = pool_read_whole,
    .pread = pool_pread,
    .pwrite = pool_pwrite,
    .fstat = pool_fstat,
    .fsetattr = pool_fsetattr,
    .fsync = pool_fsync,
    .copy_range = pool_copy_range,
    .seek = pool_seek,
};

int origin_pool_new(struct origin **ret, const struct origin_driver *driver,
                    const struct origin_config *cfg, const struct origin_call *c, char **ret_why)
{
    unsigned max = cfg->connections ? cfg->connections : POOL_CONNECTIONS;
    struct pool *p = calloc(1, sizeof *p + max * sizeof p->slots[0]);
    if (!p)
        return -ENOMEM;
    p->base.ops = &pool_ops;
    p->driver = driver;
    p->max = max;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&p->released, &monotonic);
    pthread_condattr_destroy(&monotonic);

    int err = copy_config(&p->cfg, cfg);
    if (!err && !(p->name = origin_url_format(cfg->url)))
        err = -ENOMEM;
    if (!err)
        err = driver->connect(&p->slots[0].origin, &p->cfg, c, ret_why);
    bool away = err && cfg->assumed &&
                (err == -ETIMEDOUT || origin_error_class(err) == ORIGIN_ERR_TRANSIENT);
    if (err && !away) {
        destroy(p);
        return err;
    }
    if (away) {
        free(STEAL(*ret_why)); /* connections are made when they are needed */
        p->info = *cfg->assumed;
    } else {
        p->slots[0].state = SLOT_IDLE;
        p->slots[0].idle_since_ns = cairn_now_ns();
        p->info = *origin_info(p->slots[0].origin);
    }
    p->info.caps &= ~(uint32_t)ORIGIN_WATCH; /* events belong to one connection; none is for good */
    *ret = &p->base;
    return 0;
}
