// SPDX-License-Identifier: Apache-2.0
/* Directories: opendir, readdir, readdirplus, fsyncdir. An offset is the cookie of a name, which
 * stays with it whatever comes and goes around it; 1 and 2 are "." and "..". */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "fs/job.h"
#include "sync/fresh.h"
#include "sync/path.h"

enum { AFTER_DOT = 1, AFTER_DOT_DOT = 2 };

struct page {
    struct cairn_fs *fs;
    fuse_req_t req;
    char *buf;
    size_t size, used;
    bool plus;
    bool full;
};

static bool add(struct page *p, const char *name, const struct cairn_inode *in, uint64_t ino,
                uint64_t cookie, bool known)
{
    size_t left = p->size - p->used, need;
    if (p->plus) {
        struct fuse_entry_param e = {.attr = {.st_ino = ino}};
        if (known)
            cairn_fs_entry(p->fs, in, &e);
        else if (in)
            e.attr.st_mode = in->mode; /* e.ino 0: the kernel will look it up if it cares */
        need = fuse_add_direntry_plus(p->req, p->buf + p->used, left, name, &e, (off_t)cookie);
    } else {
        struct stat st = {.st_ino = ino, .st_mode = in ? in->mode : 0};
        need = fuse_add_direntry(p->req, p->buf + p->used, left, name, &st, (off_t)cookie);
    }
    if (need > left) {
        p->full = true;
        return false;
    }
    p->used += need;
    return true;
}

static int add_name(void *arg, const struct cairn_dirent *e)
{
    struct page *p = arg;
    struct cairn_sync *s = p->fs->sync;
    struct cairn_inode staged;
    const struct cairn_inode *in = e->have_inode ? e->inode : NULL;
    bool known = in && p->plus && cairn_fs_usable(p->fs, in);
    if (known && S_ISREG(in->mode)) {
        struct cairn_node *n = cairn_node_find(s, e->ino);
        if (n) { /* it may be written just now */
            cairn_node_unref(n);
            if (cairn_node_attr(s, e->ino, &staged) == 0)
                in = &staged;
        }
    }
    return add(p, e->name, in, e->ino, e->cookie, known) ? 0 : 1;
}

static void reply_page(struct cairn_fs *fs, fuse_req_t req, fuse_ino_t ino, size_t size,
                       uint64_t off, bool plus)
{
    struct cairn_inode dir;
    struct page p = {.fs = fs, .req = req, .size = size, .plus = plus, .buf = malloc(size)};
    int err = p.buf ? cairn_meta_inode(fs->sync->meta, ino, &dir) : -ENOMEM;
    if (!err) {
        uint64_t up = dir.parent ? dir.parent : dir.ino;
        bool more = off >= AFTER_DOT || add(&p, ".", &dir, dir.ino, AFTER_DOT, false);
        more = more && (off >= AFTER_DOT_DOT || add(&p, "..", &dir, up, AFTER_DOT_DOT, false));
        if (more)
            err = cairn_meta_readdir(fs->sync->meta, ino, off > AFTER_DOT_DOT ? off : AFTER_DOT_DOT,
                                     add_name, &p);
    }
    if (err < 0)
        fuse_reply_err(req, cairn_fs_errno_inode(err));
    else
        fuse_reply_buf(req, p.buf, p.used);
    free(p.buf);
}

struct readdir_job {
    struct cairn_job job;
    size_t size;
    uint64_t off;
    bool plus;
};

static void run_readdir(struct cairn_job *j)
{
    struct readdir_job *rj = (struct readdir_job *)j;
    int err = cairn_fresh_list(j->fs->sync, &j->call, j->ino);
    if (!cairn_job_claim(j))
        return;
    if (err)
        fuse_reply_err(j->req, cairn_fs_errno_inode(err));
    else
        reply_page(j->fs, j->req, j->ino, rj->size, rj->off, rj->plus);
}

static void readdir_from_cache(struct cairn_job *j)
{
    struct readdir_job *rj = (struct readdir_job *)j;
    reply_page(j->fs, j->req, j->ino, rj->size, rj->off, rj->plus);
}

static void read_names(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
    struct cairn_fs *fs = fs_of(req);
    struct cairn_inode dir;
    int err = cairn_meta_inode(fs->sync->meta, ino, &dir);
    if (err) {
        fuse_reply_err(req, cairn_fs_errno_inode(err));
        return;
    }
    bool listed = dir.flags & CAIRN_INODE_LISTED;
    if (off > 0 || !dir.nlink || cairn_fresh_listing_left(fs->sync, &dir) > 0 ||
        (listed && atomic_load(&fs->sync->stalled))) {
        reply_page(fs, req, ino, size, (uint64_t)off, plus);
        return;
    }
    struct readdir_job *rj = cairn_job_new(req, sizeof *rj, ino, NULL, run_readdir);
    if (!rj)
        return;
    rj->size = size;
    rj->off = (uint64_t)off;
    rj->plus = plus;
    if (listed)
        rj->job.fallback = readdir_from_cache;
    cairn_job_submit(&rj->job);
}

void fs_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    read_names(req, ino, size, off, false);
}

void fs_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    read_names(req, ino, size, off, true);
}

void fs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    fs_of(req);
    fuse_reply_open(req, fi);
}

void fs_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    fs_of(req);
    fuse_reply_err(req, 0);
}

/* The origin has each change already when the operation returns; what is left is its own sync. */
static void run_fsyncdir(struct cairn_job *j)
{
    struct cairn_sync *s = j->fs->sync;
    AUTO_FREE char *path = NULL;
    struct origin_file *f;
    cairn_paths_begin(s);
    int err = cairn_meta_path(s->meta, j->ino, &path);
    if (!err)
        err = origin_open(s->origin, &j->call, path, O_RDONLY | O_DIRECTORY, 0, &f, NULL);
    cairn_paths_end(s);
    if (!err) {
        err = origin_fsync(f, &j->call);
        origin_close_file(f);
    }
    /* Protocols that cannot sync a directory make each change durable, or nothing. */
    cairn_job_reply_err(j, err == -ETIMEDOUT ? err : 0);
}

void fs_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct cairn_fs *fs = fs_of(req);
    if (!(fs->sync->info->caps & ORIGIN_LOCAL)) {
        fuse_reply_err(req, 0);
        return;
    }
    struct cairn_job *j = cairn_job_new(req, sizeof *j, ino, NULL, run_fsyncdir);
    if (!j)
        return;
    j->slow = true;
    cairn_job_submit(j);
}
