// SPDX-License-Identifier: Apache-2.0
/*
 * The kernel's side of one mount, shared by the files of this folder. Each file has one family of
 * operations, as functions of the type that <fuse_lowlevel.h> asks for; session.c puts them in a
 * table. An operation that finds what it needs near answers on the thread that received it; any
 * other becomes a job (job.h).
 */
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "base/config.h"
#include "base/metrics.h"
#include "sync/sync.h"

struct cairn_jobs;
struct cairn_notifier;

struct cairn_fs {
    const struct cairn_config *cfg;
    struct cairn_sync *sync;
    struct cairn_metrics metrics;
    struct cairn_jobs *jobs;
    struct cairn_notifier *notifier;
    struct fuse_session *se;
    struct fuse_conn_info conn; /* as agreed with the kernel */
    int64_t started_ns;
    pthread_mutex_t statfs_lock;
    struct statvfs statfs;      /* under statfs_lock */
    int64_t statfs_ns;          /* under statfs_lock: when it was asked; 0 = never */
    unsigned readahead_kb;      /* of the kernel, set after mounting; 0 = unknown */
};

static inline struct cairn_fs *fs_of(fuse_req_t req)
{
    struct cairn_fs *fs = fuse_req_userdata(req);
    cairn_count(&fs->metrics, CAIRN_FS_OPS, 1);
    return fs;
}

/* attr.c: what the kernel may believe, and how long. */
void cairn_fs_stat(const struct cairn_inode *in, struct stat *ret);
double cairn_fs_seconds(struct cairn_fs *fs, int64_t left_ns);
void cairn_fs_entry(struct cairn_fs *fs, const struct cairn_inode *in,
                    struct fuse_entry_param *ret);
/* True if the inode's attributes may be answered as they are: fresh, or the origin is silent. */
bool cairn_fs_usable(struct cairn_fs *fs, const struct cairn_inode *in);

/* status.c: the answer to CAIRN_STATUS_XATTR; free it. */
char *cairn_fs_status(struct cairn_fs *fs);

/* --- the operations --- */
void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void fs_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
                struct fuse_file_info *fi);
void fs_readlink(fuse_req_t req, fuse_ino_t ino);

void fs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fs_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi);
void fs_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

void fs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void fs_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void fs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
               const char *new_name, unsigned flags);

void fs_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi);
void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void fs_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void fs_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

void fs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void fs_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
                  struct fuse_file_info *fi);
void fs_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                  struct fuse_file_info *fi);
void fs_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void fs_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                        struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
                        struct fuse_file_info *fi_out, size_t len, int flags);

void fs_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void fs_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                 int flags);
void fs_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void fs_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
void fs_statfs(fuse_req_t req, fuse_ino_t ino);
