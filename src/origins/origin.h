// SPDX-License-Identifier: Apache-2.0
/*
 * The origin interface: what every protocol driver offers, and what the wrappers around drivers
 * (pool, retry, metrics) offer again. A mount's origin is a stack such as
 *
 *     metrics( retry( pool( driver, driver, ... ) ) )
 *
 * Lifecycle:  connect -> any calls -> close.   open -> file calls -> close_file.
 *
 * Rules
 *  - Every call blocks the calling thread, which is never one that serves the kernel.
 *  - Every call takes a `struct origin_call`: it must end by its deadline with -ETIMEDOUT and
 *    soon after `cancelled` turns true with -EINTR. A driver checks both wherever it waits; a
 *    driver whose waits are in the kernel (file) cannot, and the caller's own deadline covers it.
 *  - Paths are relative to the origin's root, no leading slash, "" is the root itself, components
 *    are never "." or ".."; any byte but '/' and NUL may stand in a name. Drivers confine what
 *    they resolve to the root: a symlink in the middle of a path is never followed.
 *  - 0 or a count on success, -errno on failure; outputs are untouched on failure.
 *  - Errors that a repetition may cure are told by origin_error_class(); drivers never repeat.
 *  - Buffers: pointer, length, offset, in this order. Sizes and offsets are bytes.
 *  - Drivers are used by one thread at a time per `struct origin` unless `concurrent` is set in
 *    their ops; the pool sees to that, and everything above the pool is concurrent.
 *  - A NULL op is not supported: the callers below answer -EOPNOTSUPP.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include "base/metrics.h"

struct origin;
struct origin_file;

/* What an origin can do; the layers above plan with these, never with the protocol's name. */
enum origin_caps {
    ORIGIN_ATOMIC_RENAME = 1 << 0,  /* rename replaces an existing file atomically */
    ORIGIN_RENAME_NOREPLACE = 1 << 1, /* RENAME_NOREPLACE, atomically */
    ORIGIN_RENAME_EXCHANGE = 1 << 2,  /* RENAME_EXCHANGE, atomically */
    ORIGIN_WRITE_RANGES = 1 << 3,   /* pwrite at any offset of an existing file */
    ORIGIN_COPY_RANGE = 1 << 4,     /* copy_range between files on the server */
    ORIGIN_COPY_SHARES = 1 << 5,    /* ... which shares extents (reflink): costs nothing */
    ORIGIN_HARD_LINKS = 1 << 6,
    ORIGIN_SYMLINKS = 1 << 7,
    ORIGIN_MODES = 1 << 8,          /* permission bits can be set and are kept */
    ORIGIN_OWNERS = 1 << 9,         /* chown may work */
    ORIGIN_SPECIAL = 1 << 10,       /* mknod of fifos and sockets */
    ORIGIN_XATTRS = 1 << 11,        /* user.* extended attributes */
    ORIGIN_FSYNC = 1 << 12,
    ORIGIN_FILE_IDS = 1 << 13,      /* origin_stat.fileid and nlink are true */
    ORIGIN_WATCH = 1 << 14,         /* tells of changes by itself (watch, watch_dir) */
    ORIGIN_SEEK_HOLES = 1 << 15,    /* seek finds holes */
    ORIGIN_LOCAL = 1 << 16,         /* calls never wait for a network: a local disk's filesystem */
};

struct origin_info {
    uint32_t caps;              /* enum origin_caps */
    int64_t time_granularity_ns; /* one step of its timestamps: 1 (file), 1000000000 (SFTP v3) */
    uint32_t name_max;          /* bytes in one name */
    uint32_t io_size;           /* a good size for one pread / pwrite call, bytes */
};

/*
 * Attributes of one node, of the node itself (never followed). `mode` includes the file type.
 * What the protocol does not tell: nlink 1, fileid 0, token zero, atime/ctime = mtime,
 * blocks = size in 512-byte units rounded up.
 */
struct origin_stat {
    uint32_t mode;
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    uint64_t rdev;
    uint64_t size;              /* bytes */
    uint64_t blocks;            /* 512-byte units */
    int64_t atime_ns;           /* since the epoch */
    int64_t mtime_ns;
    int64_t ctime_ns;
    uint64_t fileid;            /* the same for all names of one node; 0 = not told */
    uint64_t token[2];          /* changes with the content, besides size and mtime; 0,0 = none */
};

struct origin_entry {
    const char *name;           /* NUL-terminated, valid during the callback; never "." or ".." */
    bool has_stat;
    struct origin_stat stat;    /* if has_stat; else only stat.mode's type bits, or 0 */
};

/* Gets the next page of a listing. Not 0 ends the listing with that value. */
typedef int origin_list_fn(void *arg, const struct origin_entry *entries, size_t count);

/* Which fields origin_setattr carries. */
enum origin_attr_mask {
    ORIGIN_SET_MODE = 1 << 0,   /* mode & 07777 */
    ORIGIN_SET_UID = 1 << 1,
    ORIGIN_SET_GID = 1 << 2,
    ORIGIN_SET_SIZE = 1 << 3,
    ORIGIN_SET_ATIME = 1 << 4,
    ORIGIN_SET_MTIME = 1 << 5,
};

struct origin_attr {
    uint32_t mask;              /* enum origin_attr_mask */
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    uint64_t size;
    int64_t atime_ns;
    int64_t mtime_ns;
};

/* What accompanies each call. Owned by the caller, outlives the call. */
struct origin_call {
    int64_t deadline_ns;            /* CLOCK_MONOTONIC, CAIRN_NEVER for none */
    const atomic_bool *cancelled;   /* may be NULL */
    bool bulk;                      /* moves file data: the pool keeps a connection for the others */
};

/* Server-side events, from a thread of the driver's. `dir` is the directory's path; `name` is ""
 * for the directory itself. `overflow`: events were lost, anything may have changed. */
struct origin_event {
    const char *dir;
    const char *name;
    bool overflow;
};
typedef void origin_event_fn(void *arg, const struct origin_event *ev);

/* How a connection is to be made. Strings are owned by the caller and copied where kept. */
struct origin_config {
    const struct origin_url *url;
    int64_t timeout_ns;             /* of one operation, connecting included */
    unsigned connections;           /* most connections the pool makes; 0 = the default */
    struct cairn_metrics *metrics;  /* may be NULL */
    const char *ssh_config;         /* NULL = ~/.ssh/config */
    const char *ssh_known_hosts;    /* NULL = as ~/.ssh/config says, else ~/.ssh/known_hosts */
    const char *ssh_identity;       /* NULL = as ~/.ssh/config says, else the usual files */
    const struct origin_info *assumed; /* NULL, or: should the origin be away, begin without a
                                        * connection and take it for able to do this */
    bool idmap_user;                /* sftp: show the login user's files as the mounting user's */
};

/* A file to be read whole by origin_read_whole, among others. Owned by the caller. */
struct origin_whole {
    const char *path;
    void *buf;
    size_t len;                     /* as long as the file is taken to be, bytes */
    /* Called when the file is finished, from the calling thread, before the call ends. */
    void (*done)(struct origin_whole *f);
    void *arg;                      /* the caller's */
    bool finished;
    ssize_t ret_got;                /* bytes read, or -errno as origin_open and origin_pread say it */
    struct origin_stat ret_after;   /* with bytes: as origin_pread's */
};

/* One driver, or one wrapper. `self` is the driver's own state behind `struct origin`. */
struct origin_ops {
    const char *scheme;             /* "file", "sftp"; wrappers: "pool", "retry", "metrics" */
    bool concurrent;                /* calls may come from several threads at once */

    void (*close)(struct origin *o);
    const struct origin_info *(*info)(struct origin *o);

    int (*stat)(struct origin *o, const struct origin_call *c, const char *path,
                struct origin_stat *ret);
    int (*list)(struct origin *o, const struct origin_call *c, const char *path,
                origin_list_fn *fn, void *arg);
    int (*readlink)(struct origin *o, const struct origin_call *c, const char *path,
                    char **ret_target);
    int (*statfs)(struct origin *o, const struct origin_call *c, struct statvfs *ret);

    /* flags: O_RDONLY, O_WRONLY or O_RDWR, with O_CREAT, O_EXCL, O_TRUNC; a symlink as the last
     * component is -ELOOP. A file created gets `mode` exactly (no umask). ret_stat may be NULL.
     * O_RDONLY | O_DIRECTORY opens a directory, for origin_fsync alone; not every driver can. */
    int (*open)(struct origin *o, const struct origin_call *c, const char *path, int flags,
                uint32_t mode, struct origin_file **ret, struct origin_stat *ret_stat);
    int (*mkdir)(struct origin *o, const struct origin_call *c, const char *path, uint32_t mode);
    int (*mknod)(struct origin *o, const struct origin_call *c, const char *path, uint32_t mode,
                 uint64_t rdev);
    int (*symlink)(struct origin *o, const struct origin_call *c, const char *target,
                   const char *path);
    int (*link)(struct origin *o, const struct origin_call *c, const char *from, const char *to);
    int (*unlink)(struct origin *o, const struct origin_call *c, const char *path);
    int (*rmdir)(struct origin *o, const struct origin_call *c, const char *path);
    /* flags: 0, RENAME_NOREPLACE or RENAME_EXCHANGE (of <linux/fs.h>). */
    int (*rename)(struct origin *o, const struct origin_call *c, const char *from, const char *to,
                  unsigned flags);
    int (*setattr)(struct origin *o, const struct origin_call *c, const char *path,
                   const struct origin_attr *attr);

    /* Reads small files, all on their way at once. Those already finished are left alone, so that a
     * call that failed can be repeated. 0: all are finished. NULL = one after the other. */
    int (*read_whole)(struct origin *o, const struct origin_call *c, struct origin_whole *files,
                      size_t count);

    /* Extended attributes by full name ("user.x"). A NULL buffer asks for the size. */
    ssize_t (*getxattr)(struct origin *o, const struct origin_call *c, const char *path,
                        const char *name, void *buf, size_t len);
    ssize_t (*listxattr)(struct origin *o, const struct origin_call *c, const char *path, char *buf,
                         size_t len);
    int (*setxattr)(struct origin *o, const struct origin_call *c, const char *path,
                    const char *name, const void *value, size_t len, int flags);
    int (*removexattr)(struct origin *o, const struct origin_call *c, const char *path,
                       const char *name);

    /* A light question that a living origin answers at once. */
    int (*health)(struct origin *o, const struct origin_call *c);

    /* Asked after a call failed as ORIGIN_ERR_TRANSIENT, _STALE or _ENDED: may this connection
     * serve more calls (its stream is in step)? Never waits. NULL = no, it is discarded. */
    bool (*usable)(struct origin *o);

    /* ORIGIN_WATCH: events for the directories added, until close. At most one `watch`. */
    int (*watch)(struct origin *o, origin_event_fn *fn, void *arg);
    int (*watch_dir)(struct origin *o, const char *path);
    /* Directory `from` is now `to`: watches below it tell the new paths. */
    void (*watch_renamed)(struct origin *o, const char *from, const char *to);

    /* --- open files: `o` is the origin that opened `f` --- */
    void (*close_file)(struct origin *o, struct origin_file *f);
    /* Reads until `len` or the end of the file, pipelining inside. If `ret_after` is given, the
     * file's attributes as they were after the last byte was read. */
    ssize_t (*pread)(struct origin *o, const struct origin_call *c, struct origin_file *f,
                     void *buf, size_t len, uint64_t off, struct origin_stat *ret_after);
    /* Writes all of it or fails. */
    int (*pwrite)(struct origin *o, const struct origin_call *c, struct origin_file *f,
                  const void *buf, size_t len, uint64_t off);
    int (*fstat)(struct origin *o, const struct origin_call *c, struct origin_file *f,
                 struct origin_stat *ret);
    int (*fsetattr)(struct origin *o, const struct origin_call *c, struct origin_file *f,
                    const struct origin_attr *attr);
    int (*fsync)(struct origin *o, const struct origin_call *c, struct origin_file *f);
    /* Copies on the server; may copy less than asked, never 0 unless `from` ends there. */
    ssize_t (*copy_range)(struct origin *o, const struct origin_call *c, struct origin_file *from,
                          uint64_t from_off, struct origin_file *to, uint64_t to_off, uint64_t len);
    /* whence: SEEK_DATA or SEEK_HOLE; -ENXIO as lseek(2). */
    int64_t (*seek)(struct origin *o, const struct origin_call *c, struct origin_file *f,
                    uint64_t off, int whence);
};

/* Drivers and wrappers embed this as their first member. */
struct origin {
    const struct origin_ops *ops;
};

/* Embedded first by what `open` returns. `owner` is the origin whose ops serve the file. */
struct origin_file {
    struct origin *owner;
};

/* --- What callers use. Each is as the op above, and answers by itself for a NULL op (-EOPNOTSUPP),
 * a path that breaks the rules, unknown flags or an offset beyond INT64_MAX (-EINVAL, a write
 * -EFBIG), and files of two origins in one copy (-EXDEV). --------------------------------------- */

void origin_close(struct origin *o); /* NULL is allowed */
const struct origin_info *origin_info(struct origin *o);
static inline bool origin_can(struct origin *o, uint32_t caps)
{
    return (origin_info(o)->caps & caps) == caps;
}
int origin_stat(struct origin *o, const struct origin_call *c, const char *path,
                struct origin_stat *ret);
int origin_list(struct origin *o, const struct origin_call *c, const char *path, origin_list_fn *fn,
                void *arg);
int origin_readlink(struct origin *o, const struct origin_call *c, const char *path,
                    char **ret_target);
int origin_statfs(struct origin *o, const struct origin_call *c, struct statvfs *ret);
int origin_open(struct origin *o, const struct origin_call *c, const char *path, int flags,
                uint32_t mode, struct origin_file **ret, struct origin_stat *ret_stat);
int origin_mkdir(struct origin *o, const struct origin_call *c, const char *path, uint32_t mode);
int origin_mknod(struct origin *o, const struct origin_call *c, const char *path, uint32_t mode,
                 uint64_t rdev);
int origin_symlink(struct origin *o, const struct origin_call *c, const char *target,
                   const char *path);
int origin_link(struct origin *o, const struct origin_call *c, const char *from, const char *to);
int origin_unlink(struct origin *o, const struct origin_call *c, const char *path);
int origin_rmdir(struct origin *o, const struct origin_call *c, const char *path);
int origin_rename(struct origin *o, const struct origin_call *c, const char *from, const char *to,
                  unsigned flags);
int origin_setattr(struct origin *o, const struct origin_call *c, const char *path,
                   const struct origin_attr *attr);
int origin_read_whole(struct origin *o, const struct origin_call *c, struct origin_whole *files,
                      size_t count);
ssize_t origin_getxattr(struct origin *o, const struct origin_call *c, const char *path,
                        const char *name, void *buf, size_t len);
ssize_t origin_listxattr(struct origin *o, const struct origin_call *c, const char *path, char *buf,
                         size_t len);
int origin_setxattr(struct origin *o, const struct origin_call *c, const char *path,
                    const char *name, const void *value, size_t len, int flags);
int origin_removexattr(struct origin *o, const struct origin_call *c, const char *path,
                       const char *name);
int origin_health(struct origin *o, const struct origin_call *c);
bool origin_usable(struct origin *o);
int origin_watch(struct origin *o, origin_event_fn *fn, void *arg);
int origin_watch_dir(struct origin *o, const char *path);
void origin_watch_renamed(struct origin *o, const char *from, const char *to);

void origin_close_file(struct origin_file *f); /* NULL is allowed */
ssize_t origin_pread(struct origin_file *f, const struct origin_call *c, void *buf, size_t len,
                     uint64_t off, struct origin_stat *ret_after);
int origin_pwrite(struct origin_file *f, const struct origin_call *c, const void *buf, size_t len,
                  uint64_t off);
int origin_fstat(struct origin_file *f, const struct origin_call *c, struct origin_stat *ret);
int origin_fsetattr(struct origin_file *f, const struct origin_call *c,
                    const struct origin_attr *attr);
int origin_fsync(struct origin_file *f, const struct origin_call *c);
ssize_t origin_copy_range(struct origin_file *from, const struct origin_call *c, uint64_t from_off,
                          struct origin_file *to, uint64_t to_off, uint64_t len);
int64_t origin_seek(struct origin_file *f, const struct origin_call *c, uint64_t off, int whence);

/* What an error means for a second try. */
enum origin_error_class {
    ORIGIN_ERR_PERMANENT,   /* the answer is no: ENOENT, EACCES, EEXIST, ENOTEMPTY, ... */
    ORIGIN_ERR_TRANSIENT,   /* the network or the server: a new try may succeed */
    ORIGIN_ERR_STALE,       /* a handle died: reopen, then try again (ESTALE, ENOTCONN) */
    ORIGIN_ERR_FULL,        /* ENOSPC, EDQUOT */
    ORIGIN_ERR_ENDED,       /* ETIMEDOUT at the deadline, EINTR: no time left */
};
/* `err` is a negative errno. Drivers say ECONNRESET, ECONNREFUSED, EPIPE, EHOSTUNREACH,
 * ENETUNREACH, ECONNABORTED, EAGAIN for transient ones. */
enum origin_error_class origin_error_class(int err);

/* True once the call has to end; *ret_err is then -EINTR or -ETIMEDOUT. */
bool origin_call_ended(const struct origin_call *c, int *ret_err);

/*
 * Connects to what the URL names and builds the whole stack around the driver. On failure *ret_why
 * (free it) is one line for the user: what is wrong and what to do.
 */
int origin_connect(struct origin **ret, const struct origin_config *cfg, char **ret_why);

/* A driver's entry: one connection. In the table of src/origins/connect.c. */
struct origin_driver {
    const char *scheme;
    bool pooled; /* wants a pool of connections */
    int (*connect)(struct origin **ret, const struct origin_config *cfg,
                   const struct origin_call *c, char **ret_why);
};
extern const struct origin_driver origin_driver_file;
extern const struct origin_driver origin_driver_sftp;
