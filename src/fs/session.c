// SPDX-License-Identifier: Apache-2.0
#include "fs/session.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "fs/cachedir.h"
#include "fs/job.h"
#include "fs/loop.h"
#include "fs/notify.h"
#include "origins/url.h"

#define READAHEAD_KB   1024 /* one request of the largest size */
#define BACKGROUND     64   /* of the kernel's asynchronous reads at once */

struct session {
    struct cairn_fs fs;
    cairn_ready_fn *ready;
    void *ready_arg;
    bool answered;
};

static void report(struct session *s, int err, const char *why)
{
    if (!s->answered)
        s->ready(s->ready_arg, err, why);
    else if (err)
        log_error("%s", why);
    s->answered = true;
}

static void fs_init(void *userdata, struct fuse_conn_info *conn)
{
    struct cairn_fs *fs = userdata;
    struct session *s = container_of(fs, struct session, fs);
    static const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC |
                                   FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS |
                                   FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_CACHE_SYMLINKS |
                                   FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_ASYNC_DIO |
                                   FUSE_CAP_SPLICE_READ;
    /*
     * AUTO_INVAL_DATA: we tell of changes ourselves. WRITEBACK_CACHE: the kernel would no longer
     * believe sizes and times that change at the origin. Locks: without our part in them the
     * kernel keeps them itself, and none of our threads ever waits for one. HANDLE_KILLPRIV: the
     * kernel clears suid and sgid by setattr.
     */
    static const unsigned unwanted = FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_WRITEBACK_CACHE |
                                     FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS |
                                     FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_POSIX_ACL |
                                     FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE;
    conn->want |= wanted & conn->capable;
    conn->want &= ~unwanted;
    conn->max_background = BACKGROUND;
    conn->congestion_threshold = BACKGROUND * 3 / 4;
    fs->conn = *conn;
    /* Only now: what it may tell the kernel depends on what was agreed. */
    int err = cairn_notifier_start(fs->notifier);
    if (err)
        log_error("the kernel will not be told of changes at the origin: %s", strerror(-err));
    report(s, 0, NULL);
}

static const struct fuse_lowlevel_ops operations = {
    .init = fs_init,
    .lookup = fs_lookup,
    .forget = fs_forget,
    .forget_multi = fs_forget_multi,
    .getattr = fs_getattr,
    .setattr = fs_setattr,
    .readlink = fs_readlink,
    .mknod = fs_mknod,
    .mkdir = fs_mkdir,
    .symlink = fs_symlink,
    .link = fs_link,
    .unlink = fs_unlink,
    .rmdir = fs_rmdir,
    .rename = fs_rename,
    .create = fs_create,
    .open = fs_open,
    .read = fs_read,
    .write_buf = fs_write_buf,
    .flush = fs_flush,
    .fsync = fs_fsync,
    .release = fs_release,
    .fallocate = fs_fallocate,
    .lseek = fs_lseek,
    .copy_file_range = fs_copy_file_range,
    .opendir = fs_opendir,
    .readdir = fs_readdir,
    .readdirplus = fs_readdirplus,
    .releasedir = fs_releasedir,
    .fsyncdir = fs_fsyncdir,
    .getxattr = fs_getxattr,
    .setxattr = fs_setxattr,
    .listxattr = fs_listxattr,
    .removexattr = fs_removexattr,
    .statfs = fs_statfs,
};

static void inode_changed(void *arg, uint64_t ino, bool data)
{
    cairn_notify_inode(((struct cairn_fs *)arg)->notifier, ino, data);
}

static void entry_changed(void *arg, uint64_t parent, const char *name)
{
    cairn_notify_entry(((struct cairn_fs *)arg)->notifier, parent, name);
}

/* The kernel reads ahead by 128 KiB unless told otherwise, which root alone may. */
static unsigned set_readahead(const char *mountpoint)
{
    AUTO_FREE char *line = NULL;
    size_t room = 0;
    unsigned major, minor, kb = 0;
    char at[4096];
    FILE *f = fopen("/proc/self/mountinfo", "re");
    bool found = false;
    while (f && getline(&line, &room, f) > 0)
        if (sscanf(line, "%*u %*u %u:%u %*s %4095s", &major, &minor, at) == 3 &&
            strcmp(at, mountpoint) == 0)
            found = true; /* the last one is on top */
    if (f)
        fclose(f);
    if (!found)
        return 0;
    snprintf(at, sizeof at, "/sys/class/bdi/%u:%u/read_ahead_kb", major, minor);
    f = fopen(at, "re");
    if (f) {
        if (fscanf(f, "%u", &kb) != 1)
            kb = 0;
        fclose(f);
    }
    if (kb < READAHEAD_KB && (f = fopen(at, "we"))) {
        fprintf(f, "%u\n", READAHEAD_KB);
        if (fclose(f) == 0)
            kb = READAHEAD_KB;
    }
    return kb;
}

static void escape_option(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; *text && n + 2 < size; text++) {
        if (*text == ',' || *text == '\\')
            out[n++] = '\\';
        out[n++] = *text;
    }
    out[n] = 0;
}

static int mount_session(struct session *s, char **ret_why)
{
    const struct cairn_config *cfg = s->fs.cfg;
    char name[4096], options[8192];
    escape_option(name, sizeof name, cfg->origin);
    snprintf(options, sizeof options, "subtype=cairnfs,fsname=%s,default_permissions%s%s%s%s", name,
             cfg->allow_other ? ",allow_other" : "", cfg->read_only ? ",ro" : "",
             cfg->kernel_opts && *cfg->kernel_opts ? "," : "",
             cfg->kernel_opts ? cfg->kernel_opts : "");
    char *argv[] = {(char *)"cairnfs", (char *)"-o", options, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, argv);
    s->fs.se = fuse_session_new(&args, &operations, sizeof operations, &s->fs);
    fuse_opt_free_args(&args);
    if (!s->fs.se || fuse_session_mount(s->fs.se, cfg->mountpoint) < 0) {
        if (asprintf(ret_why, "cannot mount at '%s': %s", cfg->mountpoint,
                     s->fs.se ? "the kernel or fusermount3 refused it (see above)"
                              : "bad mount options") < 0)
            *ret_why = NULL;
        return -EIO;
    }
    s->fs.readahead_kb = set_readahead(cfg->mountpoint);
    return 0;
}

static int connect_origin(const struct cairn_config *cfg, const char *dir,
                          struct cairn_metrics *metrics, struct origin **ret, char **ret_why)
{
    struct origin_info last;
    struct origin_url *url;
    int err = origin_url_parse(cfg->origin, &url, ret_why);
    if (err)
        return err;
    struct origin_config oc = {.url = url,
                               .timeout_ns = cfg->timeout_ns,
                               .connections = (unsigned)cfg->connections,
                               .metrics = metrics,
                               .ssh_config = cfg->ssh_config,
                               .ssh_known_hosts = cfg->ssh_known_hosts,
                               .ssh_identity = cfg->ssh_identity,
                               .assumed = cairn_cachedir_load_info(dir, &last) ? NULL : &last,
                               .idmap_user = cfg->idmap_user};
    err = origin_connect(ret, &oc, ret_why);
    origin_url_free(url);
    if (!err)
        cairn_cachedir_save_info(dir, origin_info(*ret));
    return err;
}

static int open_sync(struct session *s, const char *dir, char **ret_why)
{
    const struct cairn_config *cfg = s->fs.cfg;
    struct origin *origin;
    int err = connect_origin(cfg, dir, &s->fs.metrics, &origin, ret_why);
    if (err)
        return err;
    struct cairn_sync_config sc = {.origin = origin,
                                   .dir = dir,
                                   .cdc = {.min_bytes = (uint32_t)cfg->chunk_min,
                                           .avg_bytes = (uint32_t)cfg->chunk_avg,
                                           .max_bytes = (uint32_t)cfg->chunk_max},
                                   .cache_bytes = cfg->cache_bytes,
                                   .memory_bytes = cfg->memory_bytes,
                                   .zstd_level = cfg->zstd_level,
                                   .fresh_ns = cfg->fresh_ns,
                                   .watch = true,
                                   .timeout_ns = cfg->timeout_ns,
                                   .read_only = cfg->read_only};
    struct cairn_listener listener = {
        .arg = &s->fs, .inode_changed = inode_changed, .entry_changed = entry_changed};
    return cairn_sync_open(&s->fs.sync, &sc, &s->fs.metrics, &listener, ret_why);
}

int cairn_session_run(const struct cairn_config *cfg, cairn_ready_fn *ready, void *arg)
{
    struct session *s = calloc(1, sizeof *s);
    AUTO_FREE char *why = NULL;
    AUTO_FREE char *dir = NULL;
    AUTO_CLOSE int lock = -1;
    if (!s) {
        ready(arg, -ENOMEM, "out of memory");
        return -ENOMEM;
    }
    /* Chunk buffers come and go: a fresh mapping for each would cost more than its use. */
    mallopt(M_MMAP_THRESHOLD, (int)(32 * MIB)); /* the most that glibc takes */
    mallopt(M_TRIM_THRESHOLD, (int)(64 * MIB));
    s->ready = ready;
    s->ready_arg = arg;
    s->fs.cfg = cfg;
    s->fs.started_ns = cairn_now_ns();
    pthread_mutex_init(&s->fs.statfs_lock, NULL);

    int err = cairn_notifier_new(&s->fs.notifier, &s->fs);
    if (!err)
        err = cairn_jobs_new(&s->fs.jobs, &s->fs);
    if (!err)
        err = cairn_cachedir_open(cfg->cache_dir, cfg->origin, &lock, &dir, &why);
    if (!err)
        err = open_sync(s, dir, &why);
    if (!err)
        err = mount_session(s, &why);
    if (!err) {
        fuse_set_signal_handlers(s->fs.se);
        err = cairn_loop_run(&s->fs);
        fuse_remove_signal_handlers(s->fs.se);
        fuse_session_unmount(s->fs.se);
    }
    if (err)
        report(s, err, why ? why : strerror(-err));

    cairn_notifier_stop(s->fs.notifier); /* it looks at both of the next */
    cairn_sync_close(s->fs.sync);
    cairn_jobs_free(s->fs.jobs);
    cairn_notifier_free(s->fs.notifier);
    if (s->fs.se)
        fuse_session_destroy(s->fs.se);
    pthread_mutex_destroy(&s->fs.statfs_lock);
    free(s);
    return err;
}
