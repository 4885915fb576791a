// SPDX-License-Identifier: Apache-2.0
/* Names and attributes: lookup, forget, getattr, setattr, readlink. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "fs/handle.h"
#include "fs/job.h"
#include "sync/fresh.h"
#include "sync/stage.h"
#include "sync/tree.h"
#include "sync/upload.h"

#define SILENT_SECONDS 1.0     /* how long an answer holds that the origin did not confirm */
#define FOREVER_SECONDS 86400.0 /* of an origin that never changes */

void cairn_fs_stat(const struct cairn_inode *in, struct stat *ret)
{
    *ret = (struct stat){.st_ino = in->ino,
                         .st_mode = in->mode,
                         .st_nlink = in->nlink,
                         .st_uid = in->uid,
                         .st_gid = in->gid,
                         .st_rdev = in->rdev,
                         .st_size = (off_t)in->size,
                         .st_blksize = 128 * KIB,
                         .st_blocks = (blkcnt_t)in->blocks,
                         .st_atim = ns_to_timespec(in->atime_ns),
                         .st_mtim = ns_to_timespec(in->mtime_ns),
                         .st_ctim = ns_to_timespec(in->ctime_ns)};
}

double cairn_fs_seconds(struct cairn_fs *fs, int64_t left_ns)
{
    if (fs->sync->fresh_ns == CAIRN_NEVER)
        return FOREVER_SECONDS;
    /* Also where events will tell: should one be lost, this is how long it matters. */
    if (left_ns > fs->sync->fresh_ns)
        left_ns = fs->sync->fresh_ns;
    if (left_ns <= 0)
        return atomic_load(&fs->sync->stalled) ? SILENT_SECONDS : 0;
    return (double)left_ns / 1e9;
}

void cairn_fs_entry(struct cairn_fs *fs, const struct cairn_inode *in,
                    struct fuse_entry_param *ret)
{
    *ret = (struct fuse_entry_param){.ino = in->ino, .generation = 1};
    cairn_fs_stat(in, &ret->attr);
    ret->attr_timeout = ret->entry_timeout =
        cairn_fs_seconds(fs, cairn_fresh_left(fs->sync, in));
}

bool cairn_fs_usable(struct cairn_fs *fs, const struct cairn_inode *in)
{
    if (cairn_fresh_left(fs->sync, in) > 0 || (!in->parent && in->ino != CAIRN_ROOT_INO))
        return true;
    if (!atomic_load(&fs->sync->stalled) || !(in->flags & CAIRN_INODE_KNOWN))
        return false;
    cairn_count(&fs->metrics, CAIRN_STALE_SERVED, 1);
    return true;
}

/* --- lookup --- */

static void reply_absent(struct cairn_fs *fs, fuse_req_t req, int64_t left_ns)
{
    struct fuse_entry_param e = {.entry_timeout = cairn_fs_seconds(fs, left_ns)};
    fuse_reply_entry(req, &e);
}

static void reply_inode(struct cairn_fs *fs, fuse_req_t req, const struct cairn_inode *in)
{
    struct fuse_entry_param e;
    cairn_fs_entry(fs, in, &e);
    fuse_reply_entry(req, &e);
}

/*
 * The name as the store has it. A name that is just given to another node is absent, or without an
 * inode, for a moment between two steps; absent is therefore only what is so under the lock.
 */
static bool known_name(struct cairn_sync *s, uint64_t parent, const char *name,
                       struct cairn_inode *ret)
{
    uint64_t ino;
    if (cairn_meta_lookup(s->meta, parent, name, &ino) == 0 && cairn_node_attr(s, ino, ret) == 0)
        return true;
    for (;;) {
        cairn_meta_lock(s->meta);
        int err = cairn_meta_lookup(s->meta, parent, name, &ino);
        cairn_meta_unlock(s->meta);
        if (err)
            return false;
        if (cairn_node_attr(s, ino, ret) == 0)
            return true;
    }
}

static void run_lookup(struct cairn_job *j)
{
    struct cairn_sync *s = j->fs->sync;
    struct cairn_inode in;
    uint64_t ino;
    int err = cairn_fresh_lookup(s, &j->call, j->ino, j->name, &ino);
    if ((!err || err == -EBUSY) && !known_name(s, j->ino, j->name, &in))
        err = -ENOENT;
    else if (err == -EBUSY)
        err = 0; /* it changes faster than can be asked: as last seen */
    if (!cairn_job_claim(j))
        return;
    if (!err)
        reply_inode(j->fs, j->req, &in);
    else if (err == -ENOENT)
        reply_absent(j->fs, j->req, s->fresh_ns);
    else
        fuse_reply_err(j->req, cairn_fs_errno(err));
}

static void lookup_from_cache(struct cairn_job *j)
{
    struct cairn_inode in;
    if (known_name(j->fs->sync, j->ino, j->name, &in))
        reply_inode(j->fs, j->req, &in);
    else
        reply_absent(j->fs, j->req, 0);
}

void fs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct cairn_fs *fs = fs_of(req);
    struct cairn_sync *s = fs->sync;
    struct cairn_inode in, dir;
    if (strlen(name) > CAIRN_NAME_MAX) {
        fuse_reply_err(req, ENAMETOOLONG);
        return;
    }
    bool known = known_name(s, parent, name, &in);
    if (known && cairn_fs_usable(fs, &in)) {
        reply_inode(fs, req, &in);
        return;
    }
    bool listed = !known && cairn_meta_inode(s->meta, parent, &dir) == 0 &&
                  (dir.flags & CAIRN_INODE_LISTED);
    if (listed) {
        int64_t left = cairn_fresh_listing_left(s, &dir);
        if (left > 0 || atomic_load(&s->stalled)) {
            reply_absent(fs, req, left);
            return;
        }
    }
    struct cairn_job *j = cairn_job_new(req, sizeof *j, parent, name, run_lookup);
    if (!j)
        return;
    if ((known && (in.flags & CAIRN_INODE_KNOWN)) || listed)
        j->fallback = lookup_from_cache;
    cairn_job_submit(j);
}

static void forget(struct cairn_fs *fs, fuse_ino_t ino)
{
    struct cairn_inode in;
    struct cairn_sync *s = fs->sync;
    if (cairn_meta_inode(s->meta, ino, &in) || in.parent || ino == CAIRN_ROOT_INO)
        return;
    struct cairn_node *n = cairn_node_find(s, ino);
    cairn_node_unref(n);
    if (n)
        return; /* its last handle sees to it */
    cairn_meta_lock(s->meta);
    if (cairn_meta_inode(s->meta, ino, &in) == 0 && !in.parent)
        cairn_meta_del_inode(s->meta, ino);
    cairn_meta_unlock(s->meta);
}

void fs_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
    /* Numbers stand for records in the store, so there is nothing to count: the kernel forgets an
     * inode once, and a nameless one is not found again. */
    forget(fs_of(req), ino);
    fuse_reply_none(req);
}

void fs_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    struct cairn_fs *fs = fs_of(req);
    for (size_t i = 0; i < count; i++)
        forget(fs, forgets[i].ino);
    fuse_reply_none(req);
}

/* --- getattr --- */

static void reply_attr(struct cairn_fs *fs, fuse_req_t req, const struct cairn_inode *in)
{
    struct stat st;
    cairn_fs_stat(in, &st);
    fuse_reply_attr(req, &st, cairn_fs_seconds(fs, cairn_fresh_left(fs->sync, in)));
}

static void run_getattr(struct cairn_job *j)
{
    struct cairn_inode in;
    int err = cairn_fresh_inode(j->fs->sync, &j->call, j->ino);
    if (!err)
        err = cairn_node_attr(j->fs->sync, j->ino, &in);
    if (!cairn_job_claim(j))
        return;
    if (err)
        fuse_reply_err(j->req, cairn_fs_errno_inode(err));
    else
        reply_attr(j->fs, j->req, &in);
}

static void getattr_from_cache(struct cairn_job *j)
{
    struct cairn_inode in;
    if (cairn_node_attr(j->fs->sync, j->ino, &in) == 0)
        reply_attr(j->fs, j->req, &in);
    else
        fuse_reply_err(j->req, EHOSTUNREACH);
}

void fs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct cairn_fs *fs = fs_of(req);
    struct cairn_inode in;
    int err = cairn_node_attr(fs->sync, ino, &in);
    if (err || cairn_fs_usable(fs, &in)) {
        if (err)
            fuse_reply_err(req, cairn_fs_errno_inode(err));
        else
            reply_attr(fs, req, &in);
        return;
    }
    struct cairn_job *j = cairn_job_new(req, sizeof *j, ino, NULL, run_getattr);
    if (!j)
        return;
    if (in.flags & CAIRN_INODE_KNOWN)
        j->fallback = getattr_from_cache;
    cairn_job_submit(j);
}

/* --- setattr --- */

struct setattr_job {
    struct cairn_job job;
    struct origin_attr attr; /* size included */
    bool open;               /* through an open file: its close will send the size */
};

static int set_size(struct cairn_node *n, uint64_t size)
{
    pthread_mutex_lock(&n->lock);
    int err = cairn_stage_begin(n);
    if (!err)
        err = cairn_stage_truncate(n->stage, size);
    pthread_mutex_unlock(&n->lock);
    return err;
}

/* A file that is being written has its times in the stage. */
static void set_staged_times(struct cairn_sync *s, uint64_t ino, const struct origin_attr *a)
{
    struct cairn_node *n = cairn_node_find(s, ino);
    if (!n)
        return;
    pthread_mutex_lock(&n->lock);
    if (n->stage) {
        if (a->mask & ORIGIN_SET_ATIME)
            n->stage->atime_ns = a->atime_ns;
        if (a->mask & ORIGIN_SET_MTIME)
            n->stage->mtime_ns = a->mtime_ns;
        n->stage->ctime_ns = cairn_wall_ns();
    }
    pthread_mutex_unlock(&n->lock);
    cairn_node_unref(n);
}

static void run_setattr(struct cairn_job *j)
{
    struct setattr_job *sj = (struct setattr_job *)j;
    struct cairn_sync *s = j->fs->sync;
    struct origin_attr attr = sj->attr;
    struct cairn_inode in;
    int err = 0;
    attr.mask &= ~(uint32_t)ORIGIN_SET_SIZE;
    if (sj->attr.mask & ORIGIN_SET_SIZE) {
        struct cairn_node *n = cairn_node_get(s, j->ino);
        err = n ? set_size(n, sj->attr.size) : -ENOMEM;
        if (!err && !sj->open)
            err = cairn_upload(n, &j->call, false, true);
        cairn_node_unref(n);
    }
    if (!err && attr.mask) {
        err = cairn_tree_setattr(s, &j->call, j->ino, &attr);
        if (!err)
            set_staged_times(s, j->ino, &attr);
    }
    if (!err)
        err = cairn_node_attr(s, j->ino, &in);
    if (!cairn_job_claim(j))
        return;
    if (err)
        fuse_reply_err(j->req, cairn_fs_errno_inode(err));
    else
        reply_attr(j->fs, j->req, &in);
}

static int64_t time_of(const struct timespec *t, bool now)
{
    if (!now)
        return timespec_to_ns(*t);
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    return timespec_to_ns(wall);
}

void fs_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
                struct fuse_file_info *fi)
{
    struct cairn_fs *fs = fs_of(req);
    struct origin_attr a = {.mode = st->st_mode & 07777,
                            .uid = st->st_uid,
                            .gid = st->st_gid,
                            .size = (uint64_t)st->st_size};
    if (to_set & FUSE_SET_ATTR_MODE)
        a.mask |= ORIGIN_SET_MODE;
    if (to_set & FUSE_SET_ATTR_UID)
        a.mask |= ORIGIN_SET_UID;
    if (to_set & FUSE_SET_ATTR_GID)
        a.mask |= ORIGIN_SET_GID;
    if (to_set & FUSE_SET_ATTR_SIZE)
        a.mask |= ORIGIN_SET_SIZE;
    if (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) {
        a.mask |= ORIGIN_SET_ATIME;
        a.atime_ns = time_of(&st->st_atim, to_set & FUSE_SET_ATTR_ATIME_NOW);
    }
    if (to_set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) {
        a.mask |= ORIGIN_SET_MTIME;
        a.mtime_ns = time_of(&st->st_mtim, to_set & FUSE_SET_ATTR_MTIME_NOW);
    }
    /* Truncation is staged, and moves the time of modification by itself. */
    if ((a.mask & ORIGIN_SET_SIZE) && (to_set & FUSE_SET_ATTR_MTIME_NOW))
        a.mask &= ~(uint32_t)ORIGIN_SET_MTIME;
    if (fi && a.mask == ORIGIN_SET_SIZE) {
        struct cairn_inode in;
        int err = set_size(cairn_handle_of(fi)->node, a.size);
        if (!err)
            err = cairn_node_attr(fs->sync, ino, &in);
        if (err)
            fuse_reply_err(req, cairn_fs_errno_inode(err));
        else
            reply_attr(fs, req, &in);
        return;
    }
    struct setattr_job *sj = cairn_job_new(req, sizeof *sj, ino, NULL, run_setattr);
    if (!sj)
        return;
    sj->attr = a;
    sj->open = fi != NULL;
    cairn_job_submit(&sj->job);
}

/* --- readlink --- */

static void run_readlink(struct cairn_job *j)
{
    AUTO_FREE char *target = NULL;
    int err = cairn_tree_readlink(j->fs->sync, &j->call, j->ino, &target);
    if (!cairn_job_claim(j))
        return;
    if (err)
        fuse_reply_err(j->req, cairn_fs_errno_inode(err));
    else
        fuse_reply_readlink(j->req, target);
}

void fs_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct cairn_fs *fs = fs_of(req);
    AUTO_FREE char *target = NULL;
    /* An empty target marks one that has to be asked for again. */
    if (cairn_meta_target(fs->sync->meta, ino, &target) == 0 && *target) {
        fuse_reply_readlink(req, target);
        return;
    }
    struct cairn_job *j = cairn_job_new(req, sizeof *j, ino, NULL, run_readlink);
    if (j)
        cairn_job_submit(j);
}
