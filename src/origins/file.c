// SPDX-License-Identifier: Apache-2.0
/*
 * The driver for a local directory (or any filesystem that the kernel has mounted).
 *
 * Invariant: nothing outside the root is ever touched. Paths are resolved by beneath.c; a node is
 * then reached through its parent's descriptor and one component, or through an O_PATH descriptor
 * of its own and /proc/self/fd, which names that very node and follows nothing. The kernel's waits
 * can't be cut short, so a call ends only between two of them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/clock.h"
#include "base/util.h"
#include "origins/beneath.h"
#include "origins/file_handle.h"
#include "origins/file_probe.h"
#include "origins/origin.h"
#include "origins/url.h"
#include "origins/watch.h"

#define LIST_PAGE 256

struct file_origin {
    struct origin base;
    int root_fd;
    dev_t root_dev;
    struct beneath beneath;
    struct origin_info info;
    _Atomic(struct watch *) watch; /* set once, by file_watch */
};

static struct file_origin *self(struct origin *o)
{
    return container_of(o, struct file_origin, base);
}

dev_t file_root_dev(struct origin *o)
{
    return self(o)->root_dev;
}

bool file_shares(struct origin *o)
{
    return self(o)->info.caps & ORIGIN_COPY_SHARES;
}

/* The name under /proc that leads to an open node, whatever its type, and no further. */
struct proc_name {
    char text[40];
};

static struct proc_name proc_name(int fd)
{
    struct proc_name n;
    snprintf(n.text, sizeof n.text, "/proc/self/fd/%d", fd);
    return n;
}

static const struct origin_info *file_info(struct origin *o)
{
    return &self(o)->info;
}

/* --- attributes --- */

static int file_stat(struct origin *o, const struct origin_call *c, const char *path,
                     struct origin_stat *ret)
{
    struct file_origin *f = self(o);
    struct stat st;
    int err;
    if (!*path) {
        err = sys_result(fstat(f->root_fd, &st));
    } else {
        AUTO_PARENT struct beneath_parent p = {0};
        err = beneath_parent(&f->beneath, path, &p);
        if (!err)
            err = sys_result(fstatat(p.fd, p.name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT));
    }
    if (err)
        return err;
    file_stat_from(ret, &st, f->root_dev);
    return 0;
}

static int set_size(const char *proc, uint64_t size)
{
    if (size > INT64_MAX)
        return -EFBIG;
    return sys_result(truncate(proc, (off_t)size));
}

static int file_setattr(struct origin *o, const struct origin_call *c, const char *path,
                        const struct origin_attr *a)
{
    AUTO_CLOSE int fd = beneath_open(&self(o)->beneath, path, O_PATH, 0);
    if (fd < 0)
        return fd;
    struct proc_name proc = proc_name(fd);
    if (a->mask & (ORIGIN_SET_MODE | ORIGIN_SET_SIZE)) {
        struct stat st;
        if (fstat(fd, &st) < 0)
            return -errno;
        if (a->mask & ORIGIN_SET_SIZE && !S_ISREG(st.st_mode))
            return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
        /* Kernels disagree on the mode of a symlink; it means nothing, so it is refused. */
        if (a->mask & ORIGIN_SET_MODE && S_ISLNK(st.st_mode))
            return -EOPNOTSUPP;
    }
    /* In this order: truncation moves mtime, chown clears set-id bits. */
    if (a->mask & ORIGIN_SET_SIZE) {
        int err = set_size(proc.text, a->size);
        if (err)
            return err;
    }
    if (a->mask & (ORIGIN_SET_UID | ORIGIN_SET_GID) &&
        fchownat(fd, "", a->mask & ORIGIN_SET_UID ? a->uid : (uid_t)-1,
                 a->mask & ORIGIN_SET_GID ? a->gid : (gid_t)-1, AT_EMPTY_PATH) < 0)
        return -errno;
    if (a->mask & ORIGIN_SET_MODE && chmod(proc.text, a->mode & 07777) < 0)
        return -errno;
    if (a->mask & (ORIGIN_SET_ATIME | ORIGIN_SET_MTIME)) {
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};
        if (a->mask & ORIGIN_SET_ATIME)
            times[0] = ns_to_timespec(a->atime_ns);
        if (a->mask & ORIGIN_SET_MTIME)
            times[1] = ns_to_timespec(a->mtime_ns);
        if (utimensat(AT_FDCWD, proc.text, times, 0) < 0)
            return -errno;
    }
    return 0;
}

static int file_statfs(struct origin *o, const struct origin_call *c, struct statvfs *ret)
{
    struct statvfs st;
    if (fstatvfs(self(o)->root_fd, &st) < 0)
        return -errno;
    *ret = st;
    return 0;
}

static int file_health(struct origin *o, const struct origin_call *c)
{
    struct stat st;
    if (fstat(self(o)->root_fd, &st) < 0)
        return -errno;
    return st.st_nlink ? 0 : -ENOENT; /* the root was deleted under us */
}

/* --- listing --- */

struct listing {
    struct file_origin *f;
    int fd;
    size_t count;
    struct origin_entry page[LIST_PAGE];
    char dirents[32 * KIB];
};

static uint32_t mode_of_type(unsigned char d_type)
{
    return d_type == DT_UNKNOWN ? 0 : DTTOIF(d_type);
}

static void add_entry(struct listing *l, const struct dirent64 *d)
{
    if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
        return;
    struct origin_entry *e = &l->page[l->count];
    *e = (struct origin_entry){.name = d->d_name};
    struct stat st;
    if (fstatat(l->fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) == 0) {
        e->has_stat = true;
        file_stat_from(&e->stat, &st, l->f->root_dev);
    } else if (errno == ENOENT) {
        return; /* it went while we listed */
    } else {
        e->stat.mode = mode_of_type(d->d_type);
    }
    l->count++;
}

static int flush_page(struct listing *l, origin_list_fn *fn, void *arg)
{
    int r = l->count ? fn(arg, l->page, l->count) : 0;
    l->count = 0;
    return r;
}

static int file_list(struct origin *o, const struct origin_call *c, const char *path,
                     origin_list_fn *fn, void *arg)
{
    struct file_origin *f = self(o);
    AUTO_CLOSE int fd = beneath_open(&f->beneath, path, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    AUTO_FREE struct listing *l = malloc(sizeof *l);
    if (!l)
        return -ENOMEM;
    l->f = f;
    l->fd = fd;
    l->count = 0;
    for (;;) {
        int err;
        if (origin_call_ended(c, &err))
            return err;
        ssize_t n = getdents64(fd, l->dirents, sizeof l->dirents);
        if (n <= 0)
            return n < 0 ? -errno : 0;
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *d = (const struct dirent64 *)(void *)(l->dirents + at);
            at += d->d_reclen;
            add_entry(l, d);
            if (l->count < LIST_PAGE && at < n)
                continue;
            int r = flush_page(l, fn, arg); /* the names live until the next getdents64 */
            if (r)
                return r;
        }
    }
}

/* --- names --- */

static int file_readlink(struct origin *o, const struct origin_call *c, const char *path,
                         char **ret_target)
{
    if (!*path)
        return -EINVAL;
    AUTO_PARENT struct beneath_parent p = {0};
    int err = beneath_parent(&self(o)->beneath, path, &p);
    if (err)
        return err;
    for (size_t size = 256; size <= 1 * MIB; size *= 4) {
        AUTO_FREE char *target = malloc(size);
        if (!target)
            return -ENOMEM;
        ssize_t n = readlinkat(p.fd, p.name, target, size);
        if (n < 0)
            return -errno;
        if ((size_t)n == size)
            continue; /* maybe cut */
        target[n] = '\0';
        *ret_target = STEAL(target);
        return 0;
    }
    return -ENAMETOOLONG;
}

/* Undoes what the umask took from a node just made. A directory keeps an inherited set-gid bit. */
static int fix_mode(const struct beneath_parent *p, uint32_t mode)
{
    AUTO_CLOSE int fd = sys_result(openat(p->fd, p->name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (fd < 0)
        return fd;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    mode &= 07777;
    if (S_ISDIR(st.st_mode))
        mode |= st.st_mode & S_ISGID;
    if ((st.st_mode & 07777) == mode || S_ISLNK(st.st_mode))
        return 0;
    return sys_result(chmod(proc_name(fd).text, mode));
}

static int file_mkdir(struct origin *o, const struct origin_call *c, const char *path,
                      uint32_t mode)
{
    if (!*path)
        return -EEXIST;
    AUTO_PARENT struct beneath_parent p = {0};
    int err = beneath_parent(&self(o)->beneath, path, &p);
    if (!err)
        err = sys_result(mkdirat(p.fd, p.name, mode & 07777));
    return err ? err : fix_mode(&p, mode);
}

static int file_mknod(struct origin *o, const struct origin_call *c, const char *path,
                      uint32_t mode, uint64_t rdev)
{
    if (!*path)
        return -EEXIST;
    AUTO_PARENT struct beneath_parent p = {0};
    int err = beneath_parent(&self(o)->beneath, path, &p);
    if (!err)
        err = sys_result(mknodat(p.fd, p.name, mode & (S_IFMT | 07777), rdev));
    return err ? err : fix_mode(&p, mode);
}

static int file_symlink(struct origin *o, const struct origin_call *c, const char *target,
                        const char *path)
{
    if (!*path)
        return -EEXIST;
    AUTO_PARENT struct beneath_parent p = {0};
    int err = beneath_parent(&self(o)->beneath, path, &p);
    return err ? err : sys_result(symlinkat(target, p.fd, p.name));
}

static int file_link(struct origin *o, const struct origin_call *c, const char *from,
                     const char *to)
{
    if (!*from || !*to)
        return *from ? -EEXIST : -EPERM;
    AUTO_PARENT struct beneath_parent p = {0};
    AUTO_PARENT struct beneath_parent q = {0};
    int err = beneath_parent(&self(o)->beneath, from, &p);
    if (!err)
        err = beneath_parent(&self(o)->beneath, to, &q);
    return err ? err : sys_result(linkat(p.fd, p.name, q.fd, q.name, 0));
}

static int file_unlink(struct origin *o, const struct origin_call *c, const char *path)
{
    if (!*path)
        return -EISDIR;
    AUTO_PARENT struct beneath_parent p = {0};
    int err = beneath_parent(&self(o)->beneath, path, &p);
    return err ? err : sys_result(unlinkat(p.fd, p.name, 0));
}

static int file_rmdir(struct origin *o, const struct origin_call *c, const char *path)
{
    AUTO_PARENT struct beneath_parent p = {0};
    int err = beneath_parent(&self(o)->beneath, path, &p);
    return err ? err : sys_result(unlinkat(p.fd, p.name, AT_REMOVEDIR));
}

static int file_rename(struct origin *o, const struct origin_call *c, const char *from,
                       const char *to, unsigned flags)
{
    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
        return -EINVAL;
    AUTO_PARENT struct beneath_parent p = {0};
    AUTO_PARENT struct beneath_parent q = {0};
    int err = beneath_parent(&self(o)->beneath, from, &p);
    if (!err)
        err = beneath_parent(&self(o)->beneath, to, &q);
    return err ? err : sys_result(renameat2(p.fd, p.name, q.fd, q.name, flags));
}

/* --- opening --- */

#define OPEN_ALWAYS (O_NOCTTY | O_NONBLOCK) /* a fifo or a tape must not hold us up */

/* Creates a file that must not exist. */
static int create_file(struct file_origin *f, const char *path, int flags, uint32_t mode)
{
    AUTO_CLOSE int fd =
        beneath_open(&f->beneath, path, flags | OPEN_ALWAYS | O_CREAT | O_EXCL, mode);
    if (fd < 0)
        return fd;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if ((st.st_mode & 07777) != (mode & 07777) && fchmod(fd, mode & 07777) < 0)
        return -errno;
    return steal_fd(&fd);
}

static int open_or_create(struct file_origin *f, const char *path, int flags, uint32_t mode)
{
    int bare = flags & ~(O_CREAT | O_EXCL);
    if (flags & O_CREAT && flags & O_EXCL)
        return create_file(f, path, bare, mode);
    /* Whether we made the file decides whether its mode is ours to set: hence two steps, which
     * others may interleave with a creation and a deletion; not for ever. */
    for (int tries = 0; tries < 100; tries++) {
        int fd = beneath_open(&f->beneath, path, bare | OPEN_ALWAYS, 0);
        if (fd != -ENOENT || !(flags & O_CREAT))
            return fd;
        fd = create_file(f, path, bare, mode);
        if (fd != -EEXIST)
            return fd;
    }
    return -EAGAIN;
}

static int file_open(struct origin *o, const struct origin_call *c, const char *path, int flags,
                     uint32_t mode, struct origin_file **ret, struct origin_stat *ret_stat)
{
    struct file_origin *f = self(o);
    AUTO_CLOSE int fd = open_or_create(f, path, flags, mode);
    if (fd < 0)
        return fd;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) && !(flags & O_DIRECTORY))
        return S_ISDIR(st.st_mode) ? -EISDIR : -ENXIO;
    struct origin_file *file = file_new(o, fd);
    if (!file)
        return -ENOMEM;
    steal_fd(&fd);
    if (ret_stat)
        file_stat_from(ret_stat, &st, f->root_dev);
    *ret = file;
    return 0;
}

/* --- extended attributes: of the node itself, through its own descriptor --- */

static ssize_t file_getxattr(struct origin *o, const struct origin_call *c, const char *path,
                             const char *name, void *buf, size_t len)
{
    AUTO_CLOSE int fd = beneath_open(&self(o)->beneath, path, O_PATH, 0);
    if (fd < 0)
        return fd;
    ssize_t n = getxattr(proc_name(fd).text, name, buf, buf ? len : 0);
    return n < 0 ? -errno : n;
}

static ssize_t file_listxattr(struct origin *o, const struct origin_call *c, const char *path,
                              char *buf, size_t len)
{
    AUTO_CLOSE int fd = beneath_open(&self(o)->beneath, path, O_PATH, 0);
    if (fd < 0)
        return fd;
    ssize_t n = listxattr(proc_name(fd).text, buf, buf ? len : 0);
    return n < 0 ? -errno : n;
}

static int file_setxattr(struct origin *o, const struct origin_call *c, const char *path,
                         const char *name, const void *value, size_t len, int flags)
{
    AUTO_CLOSE int fd = beneath_open(&self(o)->beneath, path, O_PATH, 0);
    if (fd < 0)
        return fd;
    return sys_result(setxattr(proc_name(fd).text, name, value, len, flags));
}

static int file_removexattr(struct origin *o, const struct origin_call *c, const char *path,
                            const char *name)
{
    AUTO_CLOSE int fd = beneath_open(&self(o)->beneath, path, O_PATH, 0);
    if (fd < 0)
        return fd;
    return sys_result(removexattr(proc_name(fd).text, name));
}

/* --- watching --- */

static int file_watch(struct origin *o, origin_event_fn *fn, void *arg)
{
    struct watch *w, *none = NULL;
    if (!(self(o)->info.caps & ORIGIN_WATCH))
        return -EOPNOTSUPP;
    int err = watch_new(&w, fn, arg);
    if (err)
        return err;
    if (!atomic_compare_exchange_strong(&self(o)->watch, &none, w)) {
        watch_free(w);
        return -EBUSY;
    }
    return 0;
}

static int file_watch_dir(struct origin *o, const char *path)
{
    struct watch *w = atomic_load(&self(o)->watch);
    if (!w)
        return -EOPNOTSUPP;
    AUTO_CLOSE int fd = beneath_open(&self(o)->beneath, path, O_PATH | O_DIRECTORY, 0);
    return fd < 0 ? fd : watch_add(w, fd, path);
}

static void file_watch_renamed(struct origin *o, const char *from, const char *to)
{
    struct watch *w = atomic_load(&self(o)->watch);
    if (w)
        watch_renamed(w, from, to);
}

/* --- life --- */

static void file_disconnect(struct origin *o)
{
    struct file_origin *f = self(o);
    watch_free(atomic_load(&f->watch));
    close(f->root_fd);
    free(f);
}

static const struct origin_ops file_ops = {
    .scheme = "file",
    .concurrent = true,
    .close = file_disconnect,
    .info = file_info,
    .stat = file_stat,
    .list = file_list,
    .readlink = file_readlink,
    .statfs = file_statfs,
    .open = file_open,
    .mkdir = file_mkdir,
    .mknod = file_mknod,
    .symlink = file_symlink,
    .link = file_link,
    .unlink = file_unlink,
    .rmdir = file_rmdir,
    .rename = file_rename,
    .setattr = file_setattr,
    .getxattr = file_getxattr,
    .listxattr = file_listxattr,
    .setxattr = file_setxattr,
    .removexattr = file_removexattr,
    .health = file_health,
    .watch = file_watch,
    .watch_dir = file_watch_dir,
    .watch_renamed = file_watch_renamed,
    .close_file = file_close,
    .pread = file_pread,
    .pwrite = file_pwrite,
    .fstat = file_fstat,
    .fsetattr = file_fsetattr,
    .fsync = file_fsync,
    .copy_range = file_copy_range,
    .seek = file_seek,
};

static void explain(char **ret_why, const char *path, int err)
{
    const char *what = err == -ENOENT    ? "No such directory: create it, or check the path"
                       : err == -ENOTDIR ? "Not a directory: give the directory that holds it"
                       : err == -EACCES  ? "Permission denied: it needs to be readable by you"
                                         : strerror(-err);
    if (asprintf(ret_why, "file://%s: %s", path, what) < 0)
        *ret_why = NULL;
}

static int file_connect(struct origin **ret, const struct origin_config *cfg,
                        const struct origin_call *c, char **ret_why)
{
    const char *path = cfg->url->path;
    struct file_origin *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    f->base.ops = &file_ops;
    struct stat st;
    int err = 0;
    /* Here alone symlinks are followed: the root is the user's choice. */
    f->root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->root_fd < 0 || fstat(f->root_fd, &st) < 0)
        err = -errno;
    if (!err)
        err = file_probe(f->root_fd, &f->info);
    if (err) {
        explain(ret_why, path, err);
        if (f->root_fd >= 0)
            close(f->root_fd);
        free(f);
        return err;
    }
    f->root_dev = st.st_dev;
    beneath_init(&f->beneath, f->root_fd);
    *ret = &f->base;
    return 0;
}

const struct origin_driver origin_driver_file = {
    .scheme = "file",
    .pooled = false,
    .connect = file_connect,
};
