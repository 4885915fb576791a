// SPDX-License-Identifier: Apache-2.0
/* Changes of names: mknod, mkdir, symlink, link, unlink, rmdir, rename. All are jobs: they are
 * made at the origin before they are answered. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "fs/job.h"
#include "sync/tree.h"

struct make_job {
    struct cairn_job job; /* ino: the parent */
    struct cairn_maker who;
    fuse_ino_t other;     /* link: the inode; rename: the new parent */
    char *text;           /* symlink: the target; rename: the new name */
    unsigned flags;
};

static void destroy_make(struct cairn_job *j)
{
    free(((struct make_job *)j)->text);
}

static struct make_job *new_make(fuse_req_t req, fuse_ino_t parent, const char *name,
                                 const char *text, void (*run)(struct cairn_job *))
{
    fs_of(req);
    if (strlen(name) > CAIRN_NAME_MAX || (text && strlen(text) >= PATH_MAX)) {
        fuse_reply_err(req, ENAMETOOLONG);
        return NULL;
    }
    struct make_job *m = cairn_job_new(req, sizeof *m, parent, name, run);
    if (!m)
        return NULL;
    m->job.destroy = destroy_make;
    m->text = text ? strdup(text) : NULL;
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    m->who.uid = ctx->uid;
    m->who.gid = ctx->gid;
    return m;
}

static void reply_made(struct cairn_job *j, int err, const struct cairn_inode *in)
{
    if (!cairn_job_claim(j))
        return;
    if (err) {
        fuse_reply_err(j->req, cairn_fs_errno(err));
    } else {
        struct fuse_entry_param e;
        cairn_fs_entry(j->fs, in, &e);
        fuse_reply_entry(j->req, &e);
    }
}

static void run_mknod(struct cairn_job *j)
{
    struct make_job *m = (struct make_job *)j;
    struct cairn_inode in;
    struct cairn_sync *s = j->fs->sync;
    int err;
    if (S_ISREG(m->who.mode)) {
        struct cairn_node *n;
        err = cairn_tree_create(s, &j->call, j->ino, j->name, &m->who, &in, &n);
        if (!err) {
            struct cairn_source *sink;
            pthread_mutex_lock(&n->lock);
            sink = n->writers ? NULL : STEAL(n->sink);
            pthread_mutex_unlock(&n->lock);
            cairn_source_unref(sink);
            cairn_node_unref(n);
        }
    } else {
        err = cairn_tree_mknod(s, &j->call, j->ino, j->name, &m->who, &in);
    }
    reply_made(j, err, &in);
}

void fs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    struct make_job *m = new_make(req, parent, name, NULL, run_mknod);
    if (!m)
        return;
    m->who.mode = mode;
    m->who.rdev = rdev;
    cairn_job_submit(&m->job);
}

static void run_mkdir(struct cairn_job *j)
{
    struct make_job *m = (struct make_job *)j;
    struct cairn_inode in;
    int err = cairn_tree_mkdir(j->fs->sync, &j->call, j->ino, j->name, &m->who, &in);
    reply_made(j, err, &in);
}

void fs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct make_job *m = new_make(req, parent, name, NULL, run_mkdir);
    if (!m)
        return;
    m->who.mode = S_IFDIR | (mode & 07777);
    cairn_job_submit(&m->job);
}

static void run_symlink(struct cairn_job *j)
{
    struct make_job *m = (struct make_job *)j;
    struct cairn_inode in;
    int err = m->text ? cairn_tree_symlink(j->fs->sync, &j->call, j->ino, j->name, m->text, &m->who,
                                           &in)
                      : -ENOMEM;
    reply_made(j, err, &in);
}

void fs_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    struct make_job *m = new_make(req, parent, name, target, run_symlink);
    if (!m)
        return;
    m->who.mode = S_IFLNK | 0777;
    cairn_job_submit(&m->job);
}

static void run_link(struct cairn_job *j)
{
    struct make_job *m = (struct make_job *)j;
    struct cairn_inode in;
    int err = cairn_tree_link(j->fs->sync, &j->call, m->other, j->ino, j->name, &in);
    if (!err)
        err = cairn_node_attr(j->fs->sync, in.ino, &in);
    reply_made(j, err, &in);
}

void fs_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
    struct make_job *m = new_make(req, parent, name, NULL, run_link);
    if (!m)
        return;
    m->other = ino;
    cairn_job_submit(&m->job);
}

static void run_unlink(struct cairn_job *j)
{
    cairn_job_reply_err(j, cairn_tree_unlink(j->fs->sync, &j->call, j->ino, j->name));
}

void fs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct make_job *m = new_make(req, parent, name, NULL, run_unlink);
    if (m)
        cairn_job_submit(&m->job);
}

static void run_rmdir(struct cairn_job *j)
{
    cairn_job_reply_err(j, cairn_tree_rmdir(j->fs->sync, &j->call, j->ino, j->name));
}

void fs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct make_job *m = new_make(req, parent, name, NULL, run_rmdir);
    if (m)
        cairn_job_submit(&m->job);
}

static void run_rename(struct cairn_job *j)
{
    struct make_job *m = (struct make_job *)j;
    int err = m->text ? cairn_tree_rename(j->fs->sync, &j->call, j->ino, j->name, m->other, m->text,
                                          m->flags)
                      : -ENOMEM;
    cairn_job_reply_err(j, err);
}

void fs_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
               const char *new_name, unsigned flags)
{
    struct make_job *m = new_make(req, parent, name, new_name, run_rename);
    if (!m)
        return;
    m->other = new_parent;
    m->flags = flags;
    cairn_job_submit(&m->job);
}
