// SPDX-License-Identifier: Apache-2.0
/* Open files: create, open, flush, fsync, release. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "fs/handle.h"
#include "fs/job.h"
#include "fs/notify.h"
#include "sync/absorb.h"
#include "sync/fresh.h"
#include "sync/linger.h"
#include "sync/path.h"
#include "sync/siblings.h"
#include "sync/stage.h"
#include "sync/tree.h"
#include "sync/upload.h"

#define QUICK_UPLOAD (256 * KIB) /* to a local disk: sooner done than handed to another thread */
#define OPEN_TRIES   8           /* of a file that is replaced again and again */

/* O_TRUNC changes the file even when it is opened for reading. */
static bool for_writing(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}

static void close_handle(struct cairn_handle *h)
{
    struct cairn_node *n = h->node;
    struct cairn_source *source = NULL, *sink = NULL;
    pthread_mutex_lock(&n->lock);
    n->opens--;
    n->writers -= h->writer;
    if (!n->writers)
        sink = STEAL(n->sink);
    cairn_absorb_release_locked(n);
    bool last = !n->opens;
    if (last)
        cairn_carry_end_locked(n);
    if (last && !n->unlinked)
        source = STEAL(n->source);
    bool gone = last && n->unlinked;
    pthread_mutex_unlock(&n->lock);
    if (gone && !cairn_linger(n))
        cairn_node_gone(n);
    cairn_source_unref(source);
    cairn_source_unref(sink);
    cairn_linger_end(n->sync, false);
    cairn_handle_unref(h);
}

/* Should the origin's file be opened along, so that who reads it to its end reads one version,
 * whatever replaces it from now on? Not while the origin is silent. Needs n->lock. */
static bool wants_pin_locked(struct cairn_node *n, int flags)
{
    return !(flags & O_TRUNC) && (flags & O_ACCMODE) != O_WRONLY &&
           !atomic_load(&n->sync->stalled) && cairn_node_wants_pin_locked(n);
}

/* -ESTALE: it is another version already. */
static int pin(struct cairn_node *n)
{
    struct cairn_sync *s = n->sync;
    struct origin_call c = cairn_sync_call(s);
    cairn_paths_begin(s);
    int err = cairn_sync_answered(s, cairn_node_pin(n, &c));
    cairn_paths_end(s);
    if (err == -ENOENT || err == -ELOOP)
        err = -ESTALE;
    /* Not to be read by us, perhaps, or a dead origin: what is cached must do. */
    return err == -ESTALE || err == -ETIMEDOUT ? err : 0;
}

/*
 * Makes the node an open one. Not before it is pinned: a file that is replaced while it is just
 * being opened keeps its inode, for its opener to get the new content. `ask`: may ask the origin.
 */
static int begin_open(struct cairn_node *n, bool writer, bool ask, int flags)
{
    pthread_mutex_lock(&n->lock);
    int err = n->gone ? -ESTALE : cairn_node_load_locked(n);
    for (unsigned i = 0; !err && ask && i < OPEN_TRIES && wants_pin_locked(n, flags); i++) {
        uint64_t generation = n->generation;
        pthread_mutex_unlock(&n->lock);
        err = pin(n);
        pthread_mutex_lock(&n->lock);
        if (!err && n->gone)
            err = -ESTALE;
        if (n->generation == generation)
            break; /* pinned, or not to be; else it was for a version of the past */
    }
    if (!err && (flags & O_TRUNC)) {
        err = cairn_stage_begin(n);
        if (!err && (n->stage->size || n->stage->base_limit))
            err = cairn_stage_truncate(n->stage, 0);
    }
    if (!err) {
        n->opens++;
        n->writers += writer;
    }
    pthread_mutex_unlock(&n->lock);
    return err;
}

/* Takes over the reference to the node. */
static int open_handle(struct cairn_fs *fs, struct cairn_node *n, bool ask,
                       struct fuse_file_info *fi)
{
    bool writer = for_writing(fi->flags);
    struct cairn_handle *h = cairn_handle_new(n, writer);
    if (!h) {
        cairn_node_unref(n);
        return -ENOMEM;
    }
    int err = begin_open(n, writer, ask, fi->flags);
    if (err) {
        cairn_handle_unref(h);
        return err;
    }
    if (ask && !writer)
        cairn_siblings_opened(n);
    /* The kernel's pages and size are right, since each change is told to it; while it is just
     * being told, a reader does without them (which forbids a shared mapping). */
    bool pending = cairn_notify_pending(fs->notifier, n->ino);
    fi->keep_cache = !pending;
    fi->direct_io = pending && !writer;
    fi->fh = (uintptr_t)h;
    fi->noflush = !writer;
    return 0;
}

/* --- create and open --- */

struct open_job {
    struct cairn_job job;
    struct fuse_file_info fi;
    struct cairn_maker who;
};

static void reply_open(struct cairn_job *j, int err)
{
    struct open_job *o = (struct open_job *)j;
    if (!cairn_job_claim(j)) {
        if (!err)
            close_handle(cairn_handle_of(&o->fi));
    } else if (err) {
        fuse_reply_err(j->req, cairn_fs_errno(err));
    } else if (fuse_reply_open(j->req, &o->fi) < 0) {
        close_handle(cairn_handle_of(&o->fi)); /* interrupted: there will be no release */
    }
}

/* `ask`: may ask the origin. */
static int open_inode(struct cairn_fs *fs, uint64_t ino, bool ask, struct fuse_file_info *fi)
{
    struct cairn_node *n = cairn_node_get(fs->sync, ino);
    return n ? open_handle(fs, n, ask, fi) : -ENOMEM;
}

static void run_open(struct cairn_job *j)
{
    struct open_job *o = (struct open_job *)j;
    struct cairn_sync *s = j->fs->sync;
    struct cairn_inode in;
    int err = cairn_node_attr(s, j->ino, &in);
    bool stale = err || !cairn_fs_usable(j->fs, &in);
    for (unsigned i = 0; i < OPEN_TRIES; i++) {
        err = stale ? cairn_fresh_inode(s, &j->call, j->ino) : 0;
        if (!err)
            err = open_inode(j->fs, j->ino, true, &o->fi);
        if (err != -ESTALE)
            break;
        stale = true;
    }
    /* -ESTALE: replaced while it was open elsewhere; the kernel looks the name up again. */
    reply_open(j, err == -ENOENT ? -ESTALE : err);
}

static void open_from_cache(struct cairn_job *j)
{
    struct fuse_file_info fi = ((struct open_job *)j)->fi;
    int err = open_inode(j->fs, j->ino, false, &fi);
    if (err)
        fuse_reply_err(j->req, cairn_fs_errno(err));
    else if (fuse_reply_open(j->req, &fi) < 0)
        close_handle(cairn_handle_of(&fi));
}

/* Can it be opened without asking a far origin? */
static bool opens_here(struct cairn_fs *fs, uint64_t ino, int flags)
{
    if (fs->sync->info->caps & ORIGIN_LOCAL)
        return true;
    struct cairn_node *n = cairn_node_get(fs->sync, ino);
    if (!n)
        return false;
    pthread_mutex_lock(&n->lock);
    bool here = !wants_pin_locked(n, flags);
    pthread_mutex_unlock(&n->lock);
    cairn_node_unref(n);
    return here;
}

void fs_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct cairn_fs *fs = fs_of(req);
    struct cairn_inode in;
    int err = cairn_node_attr(fs->sync, ino, &in);
    if (!err && cairn_fs_usable(fs, &in) && opens_here(fs, ino, fi->flags)) {
        err = open_inode(fs, ino, true, fi);
        if (!err) {
            if (fuse_reply_open(req, fi) < 0)
                close_handle(cairn_handle_of(fi));
            return;
        }
    }
    if (err && err != -ESTALE) {
        fuse_reply_err(req, cairn_fs_errno_inode(err));
        return;
    }
    struct open_job *o = cairn_job_new(req, sizeof *o, ino, NULL, run_open);
    if (!o)
        return;
    o->fi = *fi;
    if (in.flags & CAIRN_INODE_KNOWN)
        o->job.fallback = open_from_cache;
    cairn_job_submit(&o->job);
}

static void run_create(struct cairn_job *j)
{
    struct open_job *o = (struct open_job *)j;
    struct cairn_sync *s = j->fs->sync;
    struct cairn_inode in;
    struct cairn_node *n = NULL;
    uint64_t ino;
    int err = cairn_tree_create(s, &j->call, j->ino, j->name, &o->who, &in, &n);
    if (err == -EEXIST && !(o->fi.flags & O_EXCL)) {
        /* Made by somebody else since the kernel looked. */
        err = cairn_fresh_lookup(s, &j->call, j->ino, j->name, &ino);
        if (!err)
            err = cairn_meta_inode(s->meta, ino, &in);
        if (!err && !S_ISREG(in.mode))
            err = S_ISDIR(in.mode) ? -EISDIR : -EEXIST;
        if (!err && !(n = cairn_node_get(s, ino)))
            err = -ENOMEM;
    }
    if (!err)
        err = open_handle(j->fs, n, false, &o->fi);
    if (!err && (err = cairn_node_attr(s, in.ino, &in)))
        close_handle(cairn_handle_of(&o->fi));
    if (!cairn_job_claim(j)) {
        if (!err)
            close_handle(cairn_handle_of(&o->fi));
        return;
    }
    if (err) {
        fuse_reply_err(j->req, cairn_fs_errno(err));
        return;
    }
    struct fuse_entry_param e;
    cairn_fs_entry(j->fs, &in, &e);
    if (fuse_reply_create(j->req, &e, &o->fi) < 0)
        close_handle(cairn_handle_of(&o->fi));
}

void fs_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *fi)
{
    fs_of(req);
    if (strlen(name) > CAIRN_NAME_MAX) {
        fuse_reply_err(req, ENAMETOOLONG);
        return;
    }
    struct open_job *o = cairn_job_new(req, sizeof *o, parent, name, run_create);
    if (!o)
        return;
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    o->fi = *fi;
    o->who =
        (struct cairn_maker){.mode = S_IFREG | (mode & 07777), .uid = ctx->uid, .gid = ctx->gid};
    cairn_job_submit(&o->job);
}

/* --- flush, fsync, release --- */

struct sync_job {
    struct cairn_job job;
    struct cairn_handle *handle; /* a reference */
    bool durable;
};

static void destroy_sync(struct cairn_job *j)
{
    cairn_handle_unref(((struct sync_job *)j)->handle);
}

static void run_sync(struct cairn_job *j)
{
    struct sync_job *sj = (struct sync_job *)j;
    struct origin_call c = cairn_sync_call(j->fs->sync);
    cairn_job_reply_err(j, cairn_upload(sj->handle->node, &c, sj->durable, !sj->durable));
}

static void submit_sync(fuse_req_t req, struct cairn_handle *h, bool durable, bool slow)
{
    struct sync_job *sj = cairn_job_new(req, sizeof *sj, h->node->ino, NULL, run_sync);
    if (!sj)
        return;
    atomic_fetch_add(&h->refs, 1);
    sj->handle = h;
    sj->durable = durable;
    sj->job.slow = slow;
    sj->job.destroy = destroy_sync;
    /* As long as the origin goes on taking bytes: each call has its own deadline. */
    sj->job.call.deadline_ns = CAIRN_NEVER;
    cairn_job_submit(&sj->job);
}

void fs_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    fs_of(req);
    struct cairn_handle *h = cairn_handle_of(fi);
    struct cairn_node *n = h->node;
    pthread_mutex_lock(&n->lock);
    bool clean = !n->uploading && (!n->stage || !n->stage->dirty || n->unlinked);
    bool slow = n->uploading || (n->stage && n->stage->size > QUICK_UPLOAD);
    pthread_mutex_unlock(&n->lock);
    if (clean)
        fuse_reply_err(req, 0);
    else
        submit_sync(req, h, false, slow);
}

void fs_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    fs_of(req);
    submit_sync(req, cairn_handle_of(fi), true, true);
}

/* What was written after the last close: through a mapping that outlived it. */
struct late_upload {
    struct cairn_task task;
    struct cairn_handle *handle;
};

static void run_late_upload(struct cairn_task *t)
{
    struct late_upload *l = container_of(t, struct late_upload, task);
    struct origin_call c = cairn_sync_call(l->handle->node->sync);
    cairn_upload(l->handle->node, &c, false, true); /* logs its failure, and is tried again */
    close_handle(l->handle);
    free(l);
}

void fs_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct cairn_fs *fs = fs_of(req);
    struct cairn_handle *h = cairn_handle_of(fi);
    struct cairn_node *n = h->node;
    pthread_mutex_lock(&n->lock);
    bool late = h->writer && n->stage && n->stage->dirty && !n->unlinked;
    pthread_mutex_unlock(&n->lock);
    struct late_upload *l = late ? malloc(sizeof *l) : NULL;
    if (l) {
        l->task.run = run_late_upload;
        l->handle = h;
        cairn_workers_submit(fs->sync->workers, &l->task);
    } else {
        close_handle(h);
    }
    fuse_reply_err(req, 0);
}
