// SPDX-License-Identifier: Apache-2.0
#include "origins/retry.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "origins/wrap.h"

#define FIRST_WAIT_NS     (50 * NSEC_PER_MSEC)
#define LONGEST_WAIT_NS   (2 * NSEC_PER_SEC)
#define ENDLESS_TRIES     16 /* of a call without deadline */
#define STALE_TRIES       3
#define CANCELLED_SEEN_NS (20 * NSEC_PER_MSEC) /* a wait looks that often whether it is over */

struct retry {
    struct wrap wrap;
    struct retry_clock clock;
    struct cairn_metrics *metrics;
    char *name;
    atomic_bool silent; /* the origin failed all tries of some call and answered none since */
};

static struct retry *self(struct origin *o)
{
    return container_of(o, struct retry, wrap.base);
}

/* --- the real clock --- */

static int64_t real_now(void *arg)
{
    return cairn_now_ns();
}

static bool is_cancelled(const struct origin_call *c)
{
    return c->cancelled && atomic_load_explicit(c->cancelled, memory_order_relaxed);
}

static void real_sleep(void *arg, const struct origin_call *c, int64_t ns)
{
    while (ns > 0 && !is_cancelled(c)) {
        int64_t step = ns < CANCELLED_SEEN_NS ? ns : CANCELLED_SEEN_NS;
        struct timespec t = ns_to_timespec(step);
        nanosleep(&t, NULL);
        ns -= step;
    }
}

static uint64_t real_random(void *arg)
{
    uint64_t n;
    if (getrandom(&n, sizeof n, GRND_NONBLOCK) != sizeof n)
        n = (uint64_t)cairn_now_ns(); /* spreads the tries well enough */
    return n;
}

static const struct retry_clock real_clock = {real_now, real_sleep, real_random, NULL};

/* --- one call and its tries --- */

struct tries {
    struct origin *o;
    const struct origin_call *c;
    const char *what; /* for the log */
    unsigned count;
    bool unsure; /* an earlier try may have been done although it failed */
};

#define TRIES(o_, c_, what_)                                                                       \
    (struct tries)                                                                                 \
    {                                                                                              \
        .o = (o_), .c = (c_), .what = (what_)                                                      \
    }

static bool may_repeat(const struct tries *t, int err)
{
    switch (origin_error_class(err)) {
    case ORIGIN_ERR_TRANSIENT:
        break;
    case ORIGIN_ERR_STALE:
        if (err == -ESTALE && t->count >= STALE_TRIES)
            return false;
        break;
    case ORIGIN_ERR_ENDED: /* of the call, or only of something below it? */
        if (err == -EINTR && t->c->cancelled && is_cancelled(t->c))
            return false;
        break;
    default:
        return false;
    }
    return t->c->deadline_ns != CAIRN_NEVER || t->count < ENDLESS_TRIES;
}

static void note_failure(const struct tries *t, int err)
{
    struct retry *r = self(t->o);
    if (origin_error_class(err) == ORIGIN_ERR_TRANSIENT && !atomic_exchange(&r->silent, true))
        log_warn("origin=%s op=%s tries=%u error=\"%s\": the origin does not answer", r->name,
                 t->what, t->count, strerror(-err));
}

static void note_answer(struct origin *o)
{
    struct retry *r = self(o);
    if (atomic_load_explicit(&r->silent, memory_order_relaxed) &&
        atomic_exchange(&r->silent, false))
        log_info("origin=%s: the origin answers again", r->name);
}

/*
 * After a try gave *result: true if it is to be repeated, the wait being over. On false *result is
 * what the caller of the origin gets.
 */
static bool again(struct tries *t, int64_t *result)
{
    struct retry *r = self(t->o);
    t->count++;
    int err = *result < 0 ? (int)*result : 0;
    if (!err || origin_error_class(err) == ORIGIN_ERR_PERMANENT ||
        origin_error_class(err) == ORIGIN_ERR_FULL) {
        note_answer(t->o);
        return false;
    }
    /* What was never sent was not done. */
    if (err != -EAGAIN && err != -ECONNREFUSED)
        t->unsure = true;
    if (!may_repeat(t, err)) {
        note_failure(t, err);
        return false;
    }
    unsigned doublings = t->count - 1 < 10 ? t->count - 1 : 10;
    int64_t bound = FIRST_WAIT_NS << doublings;
    if (bound > LONGEST_WAIT_NS)
        bound = LONGEST_WAIT_NS;
    int64_t wait = (int64_t)(r->clock.random(r->clock.arg) % (uint64_t)(bound + 1));
    if (t->c->deadline_ns != CAIRN_NEVER &&
        r->clock.now(r->clock.arg) + wait >= t->c->deadline_ns) {
        note_failure(t, err);
        return false;
    }
    log_debug("origin=%s op=%s try=%u error=\"%s\" wait_ms=%lld", r->name, t->what, t->count,
              strerror(-err), (long long)(wait / NSEC_PER_MSEC));
    r->clock.sleep(r->clock.arg, t->c, wait);
    if (is_cancelled(t->c)) {
        *result = -EINTR;
        return false;
    }
    cairn_count(r->metrics, CAIRN_ORIGIN_RETRIES, 1);
    return true;
}

/* Runs `expr` until `again` is content; for operations that a repetition can't harm. */
#define REPEAT(o, c, what, expr)                                                                   \
    do {                                                                                           \
        struct tries t_ = TRIES(o, c, what);                                                       \
        int64_t r_;                                                                                \
        do {                                                                                       \
            r_ = (expr);                                                                           \
        } while (again(&t_, &r_));                                                                 \
        return (__typeof__(expr))r_;                                                               \
    } while (0)

/* --- operations that may be repeated as they are --- */

static int retry_stat(struct origin *o, const struct origin_call *c, const char *path,
                      struct origin_stat *ret)
{
    REPEAT(o, c, "stat", origin_stat(wrap_next(o), c, path, ret));
}

static int retry_readlink(struct origin *o, const struct origin_call *c, const char *path,
                          char **ret_target)
{
    REPEAT(o, c, "readlink", origin_readlink(wrap_next(o), c, path, ret_target));
}

static int retry_statfs(struct origin *o, const struct origin_call *c, struct statvfs *ret)
{
    REPEAT(o, c, "statfs", origin_statfs(wrap_next(o), c, ret));
}

static int retry_setattr(struct origin *o, const struct origin_call *c, const char *path,
                         const struct origin_attr *attr)
{
    REPEAT(o, c, "setattr", origin_setattr(wrap_next(o), c, path, attr));
}

static ssize_t retry_getxattr(struct origin *o, const struct origin_call *c, const char *path,
                              const char *name, void *buf, size_t len)
{
    REPEAT(o, c, "getxattr", origin_getxattr(wrap_next(o), c, path, name, buf, len));
}

static ssize_t retry_listxattr(struct origin *o, const struct origin_call *c, const char *path,
                               char *buf, size_t len)
{
    REPEAT(o, c, "listxattr", origin_listxattr(wrap_next(o), c, path, buf, len));
}

static int retry_read_whole(struct origin *o, const struct origin_call *c,
                            struct origin_whole *files, size_t count)
{
    REPEAT(o, c, "read_whole", origin_read_whole(wrap_next(o), c, files, count));
}

static int retry_health(struct origin *o, const struct origin_call *c)
{
    REPEAT(o, c, "health", origin_health(wrap_next(o), c));
}

static ssize_t retry_pread(struct origin *o, const struct origin_call *c, struct origin_file *f,
                           void *buf, size_t len, uint64_t off, struct origin_stat *ret_after)
{
    REPEAT(o, c, "pread", origin_pread(wrap_next_file(f), c, buf, len, off, ret_after));
}

static int retry_pwrite(struct origin *o, const struct origin_call *c, struct origin_file *f,
                        const void *buf, size_t len, uint64_t off)
{
    REPEAT(o, c, "pwrite", origin_pwrite(wrap_next_file(f), c, buf, len, off));
}

static int retry_fstat(struct origin *o, const struct origin_call *c, struct origin_file *f,
                       struct origin_stat *ret)
{
    REPEAT(o, c, "fstat", origin_fstat(wrap_next_file(f), c, ret));
}

static int retry_fsetattr(struct origin *o, const struct origin_call *c, struct origin_file *f,
                          const struct origin_attr *attr)
{
    REPEAT(o, c, "fsetattr", origin_fsetattr(wrap_next_file(f), c, attr));
}

static int retry_fsync(struct origin *o, const struct origin_call *c, struct origin_file *f)
{
    REPEAT(o, c, "fsync", origin_fsync(wrap_next_file(f), c));
}

static ssize_t retry_copy_range(struct origin *o, const struct origin_call *c,
                                struct origin_file *from, uint64_t from_off, struct origin_file *to,
                                uint64_t to_off, uint64_t len)
{
    REPEAT(o, c, "copy_range",
           origin_copy_range(wrap_next_file(from), c, from_off, wrap_next_file(to), to_off, len));
}

static int64_t retry_seek(struct origin *o, const struct origin_call *c, struct origin_file *f,
                          uint64_t off, int whence)
{
    REPEAT(o, c, "seek", origin_seek(wrap_next_file(f), c, off, whence));
}

struct page_watch {
    origin_list_fn *fn;
    void *arg;
    bool handed_out;
};

static int hand_out(void *arg, const struct origin_entry *entries, size_t count)
{
    struct page_watch *w = arg;
    w->handed_out = true;
    return w->fn(w->arg, entries, count);
}

static int retry_list(struct origin *o, const struct origin_call *c, const char *path,
                      origin_list_fn *fn, void *arg)
{
    struct page_watch w = {.fn = fn, .arg = arg};
    struct tries t = TRIES(o, c, "list");
    int64_t r;
    do {
        r = origin_list(wrap_next(o), c, path, hand_out, &w);
    } while (!w.handed_out && again(&t, &r));
    return (int)r;
}

/* --- operations whose repetition has to look at what the first try did --- */

/* The mode that a node should have been made with, for a try that was cut off before it set it. */
static int settle_mode(struct origin *o, const struct origin_call *c, const char *path,
                       const struct origin_stat *st, uint32_t mode)
{
    mode &= 07777;
    if (S_ISDIR(st->mode))
        mode |= st->mode & S_ISGID;
    if ((st->mode & 07777) == mode || !origin_can(o, ORIGIN_MODES))
        return 0;
    struct origin_attr a = {.mask = ORIGIN_SET_MODE, .mode = mode};
    return retry_setattr(o, c, path, &a);
}

static int retry_mkdir(struct origin *o, const struct origin_call *c, const char *path,
                       uint32_t mode)
{
    struct tries t = TRIES(o, c, "mkdir");
    int64_t r;
    do {
        r = origin_mkdir(wrap_next(o), c, path, mode);
    } while (again(&t, &r));
    struct origin_stat st;
    if (r == -EEXIST && t.unsure && retry_stat(o, c, path, &st) == 0 && S_ISDIR(st.mode))
        return settle_mode(o, c, path, &st, mode);
    return (int)r;
}

static int retry_mknod(struct origin *o, const struct origin_call *c, const char *path,
                       uint32_t mode, uint64_t rdev)
{
    struct tries t = TRIES(o, c, "mknod");
    int64_t r;
    do {
        r = origin_mknod(wrap_next(o), c, path, mode, rdev);
    } while (again(&t, &r));
    struct origin_stat st;
    uint32_t type = mode & S_IFMT ? mode & S_IFMT : S_IFREG;
    if (r == -EEXIST && t.unsure && retry_stat(o, c, path, &st) == 0 &&
        (st.mode & S_IFMT) == type && st.size == 0)
        return settle_mode(o, c, path, &st, mode);
    return (int)r;
}

static int retry_symlink(struct origin *o, const struct origin_call *c, const char *target,
                         const char *path)
{
    struct tries t = TRIES(o, c, "symlink");
    int64_t r;
    do {
        r = origin_symlink(wrap_next(o), c, target, path);
    } while (again(&t, &r));
    if (r == -EEXIST && t.unsure) {
        AUTO_FREE char *found = NULL;
        if (retry_readlink(o, c, path, &found) == 0 && !strcmp(found, target))
            return 0;
    }
    return (int)r;
}

static bool same_node(const struct origin_stat *a, const struct origin_stat *b)
{
    if (a->fileid && b->fileid)
        return a->fileid == b->fileid;
    return a->mode == b->mode && a->size == b->size && a->mtime_ns == b->mtime_ns;
}

static int retry_link(struct origin *o, const struct origin_call *c, const char *from,
                      const char *to)
{
    struct tries t = TRIES(o, c, "link");
    int64_t r;
    do {
        r = origin_link(wrap_next(o), c, from, to);
    } while (again(&t, &r));
    struct origin_stat a, b;
    if (r == -EEXIST && t.unsure && retry_stat(o, c, from, &a) == 0 &&
        retry_stat(o, c, to, &b) == 0 && same_node(&a, &b))
        return 0;
    return (int)r;
}

static bool is_gone(struct origin *o, const struct origin_call *c, const char *path)
{
    struct origin_stat st;
    return retry_stat(o, c, path, &st) == -ENOENT;
}

static int retry_unlink(struct origin *o, const struct origin_call *c, const char *path)
{
    struct tries t = TRIES(o, c, "unlink");
    int64_t r;
    do {
        r = origin_unlink(wrap_next(o), c, path);
    } while (again(&t, &r));
    return r == -ENOENT && t.unsure && is_gone(o, c, path) ? 0 : (int)r;
}

static int retry_rmdir(struct origin *o, const struct origin_call *c, const char *path)
{
    struct tries t = TRIES(o, c, "rmdir");
    int64_t r;
    do {
        r = origin_rmdir(wrap_next(o), c, path);
    } while (again(&t, &r));
    return r == -ENOENT && t.unsure && is_gone(o, c, path) ? 0 : (int)r;
}

/* A second exchange would undo the first: it is repeated only where inode numbers tell that the
 * first was not done. */
static int retry_exchange(struct origin *o, const struct origin_call *c, const char *from,
                          const char *to)
{
    bool ids = origin_can(o, ORIGIN_FILE_IDS);
    struct origin_stat a = {0}, b = {0}, now;
    if (ids) {
        int err = retry_stat(o, c, from, &a);
        if (!err)
            err = retry_stat(o, c, to, &b);
        if (err)
            return err;
        ids = a.fileid && b.fileid;
    }
    struct tries t = TRIES(o, c, "rename");
    int64_t r;
    do {
        r = origin_rename(wrap_next(o), c, from, to, RENAME_EXCHANGE);
        bool lost = r < 0 && r != -EAGAIN && r != -ECONNREFUSED &&
                    origin_error_class((int)r) != ORIGIN_ERR_PERMANENT &&
                    origin_error_class((int)r) != ORIGIN_ERR_FULL;
        if (lost && !ids)
            return (int)r;
        if (lost && retry_stat(o, c, from, &now) == 0 && now.fileid == b.fileid &&
            a.fileid != b.fileid)
            return 0;
    } while (again(&t, &r));
    return (int)r;
}

static int retry_rename(struct origin *o, const struct origin_call *c, const char *from,
                        const char *to, unsigned flags)
{
    if (flags & RENAME_EXCHANGE)
        return retry_exchange(o, c, from, to);
    struct tries t = TRIES(o, c, "rename");
    int64_t r;
    do {
        r = origin_rename(wrap_next(o), c, from, to, flags);
    } while (again(&t, &r));
    struct origin_stat st;
    if (t.unsure && (r == -ENOENT || (r == -EEXIST && flags & RENAME_NOREPLACE)) &&
        is_gone(o, c, from) && retry_stat(o, c, to, &st) == 0)
        return 0;
    return (int)r;
}

static int retry_setxattr(struct origin *o, const struct origin_call *c, const char *path,
                          const char *name, const void *value, size_t len, int flags)
{
    struct tries t = TRIES(o, c, "setxattr");
    int64_t r;
    do {
        r = origin_setxattr(wrap_next(o), c, path, name, value, len, flags);
    } while (again(&t, &r));
    if (r == -EEXIST && t.unsure) { /* XATTR_CREATE */
        AUTO_FREE char *found = malloc(len + 1);
        if (found && retry_getxattr(o, c, path, name, found, len + 1) == (ssize_t)len &&
            !memcmp(found, value, len))
            return 0;
    }
    return (int)r;
}

static int retry_removexattr(struct origin *o, const struct origin_call *c, const char *path,
                             const char *name)
{
    struct tries t = TRIES(o, c, "removexattr");
    int64_t r;
    do {
        r = origin_removexattr(wrap_next(o), c, path, name);
    } while (again(&t, &r));
    return r == -ENODATA && t.unsure ? 0 : (int)r;
}

static int64_t open_again(struct origin *o, const struct origin_call *c, const char *path,
                          int flags, uint32_t mode, struct wrap_file *f, struct origin_stat *st)
{
    struct tries t = TRIES(o, c, "open");
    int64_t r;
    do {
        r = origin_open(wrap_next(o), c, path, flags, mode, &f->next, st);
    } while (again(&t, &r));
    if (r != -EEXIST || !t.unsure || !(flags & O_EXCL))
        return r;
    /* An empty file may well be the one that the lost try made. */
    struct origin_stat found;
    if (retry_stat(o, c, path, &found) != 0 || !S_ISREG(found.mode) || found.size != 0)
        return r;
    int err = settle_mode(o, c, path, &found, mode);
    return err ? err : open_again(o, c, path, flags & ~(O_CREAT | O_EXCL), mode, f, st);
}

static int retry_open(struct origin *o, const struct origin_call *c, const char *path, int flags,
                      uint32_t mode, struct origin_file **ret, struct origin_stat *ret_stat)
{
    AUTO_FREE struct wrap_file *f = malloc(sizeof *f);
    if (!f)
        return -ENOMEM;
    f->base.owner = o;
    int r = (int)open_again(o, c, path, flags, mode, f, ret_stat);
    if (r == 0)
        *ret = &STEAL(f)->base;
    return r;
}

static void retry_close(struct origin *o)
{
    struct retry *r = self(o);
    origin_close(r->wrap.next);
    free(r->name);
    free(r);
}

static const struct origin_ops retry_ops = {
    .scheme = "retry",
    .concurrent = true,
    .close = retry_close,
    .info = wrap_info,
    .stat = retry_stat,
    .list = retry_list,
    .readlink = retry_readlink,
    .statfs = retry_statfs,
    .open = retry_open,
    .mkdir = retry_mkdir,
    .mknod = retry_mknod,
    .symlink = retry_symlink,
    .link = retry_link,
    .unlink = retry_unlink,
    .rmdir = retry_rmdir,
    .rename = retry_rename,
    .setattr = retry_setattr,
    .getxattr = retry_getxattr,
    .listxattr = retry_listxattr,
    .setxattr = retry_setxattr,
    .removexattr = retry_removexattr,
    .health = retry_health,
    .usable = wrap_usable,
    .watch = wrap_watch,
    .watch_dir = wrap_watch_dir,
    .watch_renamed = wrap_watch_renamed,
    .close_file = wrap_close_file,
    .read_whole = retry_read_whole,
    .pread = retry_pread,
    .pwrite = retry_pwrite,
    .fstat = retry_fstat,
    .fsetattr = retry_fsetattr,
    .fsync = retry_fsync,
    .copy_range = retry_copy_range,
    .seek = retry_seek,
};

int origin_retry_new(struct origin **ret, struct origin *next, const char *name,
                     const struct retry_clock *clock, struct cairn_metrics *m)
{
    struct retry *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->name = strdup(name);
    if (!r->name) {
        free(r);
        return -ENOMEM;
    }
    r->wrap.base.ops = &retry_ops;
    r->wrap.next = next;
    r->clock = clock ? *clock : real_clock;
    r->metrics = m;
    *ret = &r->wrap.base;
    return 0;
}
