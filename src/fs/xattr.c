// SPDX-License-Identifier: Apache-2.0
/* Extended attributes and statfs. Attributes are the origin's, of the class "user." only; ACLs are
 * not supported, and said so. */
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/clock.h"
#include "base/util.h"
#include "fs/job.h"
#include "fs/session.h"
#include "sync/path.h"
#include "sync/tree.h"

#define XATTR_MOST   (64 * KIB) /* XATTR_SIZE_MAX and XATTR_LIST_MAX of Linux */
#define STATFS_FRESH (2 * NSEC_PER_SEC)

struct xattr_job {
    struct cairn_job job; /* name: of the attribute, if it has one */
    size_t size;          /* of the caller's buffer; 0 = wants to know the size */
    char *value;          /* what is set, or was got; freed with the job */
    size_t len;
    int flags;
};

static bool is_user(const char *name)
{
    return strncmp(name, "user.", 5) == 0;
}

static void destroy_xattr(struct cairn_job *j)
{
    free(((struct xattr_job *)j)->value);
}

static struct xattr_job *new_xattr(fuse_req_t req, fuse_ino_t ino, const char *name,
                                   void (*run)(struct cairn_job *))
{
    struct xattr_job *x = cairn_job_new(req, sizeof *x, ino, name, run);
    if (x)
        x->job.destroy = destroy_xattr;
    return x;
}

static void reply_value(fuse_req_t req, size_t size, const char *value, ssize_t len)
{
    if (len < 0)
        fuse_reply_err(req, cairn_fs_errno((int)len));
    else if (size == 0)
        fuse_reply_xattr(req, (size_t)len);
    else if ((size_t)len > size)
        fuse_reply_err(req, ERANGE);
    else
        fuse_reply_buf(req, value, (size_t)len);
}

/* Asks the origin about the inode's path. */
static ssize_t at_origin(struct xattr_job *x, ssize_t (*op)(struct xattr_job *x, struct origin *o,
                                                            const char *path))
{
    struct cairn_sync *s = x->job.fs->sync;
    AUTO_FREE char *path = NULL;
    cairn_paths_begin(s);
    ssize_t r = cairn_meta_path(s->meta, x->job.ino, &path);
    if (!r)
        r = op(x, s->origin, path);
    cairn_paths_end(s);
    cairn_sync_answered(s, r < 0 ? (int)r : 0);
    return r;
}

static ssize_t get_value(struct xattr_job *x, struct origin *o, const char *path)
{
    return origin_getxattr(o, &x->job.call, path, x->job.name, x->value, XATTR_MOST);
}

static ssize_t list_names(struct xattr_job *x, struct origin *o, const char *path)
{
    return origin_listxattr(o, &x->job.call, path, x->value, XATTR_MOST);
}

/* Setting or removing one moves the change time: a change of our own. */
static ssize_t set_value(struct xattr_job *x, struct origin *o, const char *path)
{
    int err = origin_setxattr(o, &x->job.call, path, x->job.name, x->value, x->len, x->flags);
    if (!err)
        cairn_tree_version_moved(x->job.fs->sync, &x->job.call, x->job.ino, path);
    return err;
}

static ssize_t remove_value(struct xattr_job *x, struct origin *o, const char *path)
{
    int err = origin_removexattr(o, &x->job.call, path, x->job.name);
    if (!err)
        cairn_tree_version_moved(x->job.fs->sync, &x->job.call, x->job.ino, path);
    return err;
}

static void run_getxattr(struct cairn_job *j)
{
    struct xattr_job *x = (struct xattr_job *)j;
    x->value = malloc(XATTR_MOST);
    ssize_t len = x->value ? at_origin(x, get_value) : -ENOMEM;
    if (cairn_job_claim(j))
        reply_value(j->req, x->size, x->value, len);
}

void fs_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct cairn_fs *fs = fs_of(req);
    if (ino == FUSE_ROOT_ID && strcmp(name, CAIRN_STATUS_XATTR) == 0) {
        AUTO_FREE char *status = cairn_fs_status(fs);
        reply_value(req, size, status, status ? (ssize_t)strlen(status) : -ENOMEM);
        return;
    }
    if (!is_user(name) || !origin_can(fs->sync->origin, ORIGIN_XATTRS)) {
        /* "security." is asked for at each write: answered without the origin. */
        bool absent = strncmp(name, "security.", 9) == 0 && strcmp(name, "security.selinux") != 0;
        fuse_reply_err(req, absent ? ENODATA : EOPNOTSUPP);
        return;
    }
    struct xattr_job *x = new_xattr(req, ino, name, run_getxattr);
    if (!x)
        return;
    x->size = size;
    cairn_job_submit(&x->job);
}

static void run_listxattr(struct cairn_job *j)
{
    struct xattr_job *x = (struct xattr_job *)j;
    x->value = malloc(XATTR_MOST);
    char *names = x->value;
    ssize_t len = names ? at_origin(x, list_names) : -ENOMEM, kept = 0;
    for (ssize_t i = 0; i < len;) {
        ssize_t n = (ssize_t)strlen(names + i) + 1;
        if (is_user(names + i)) {
            memmove(names + kept, names + i, (size_t)n);
            kept += n;
        }
        i += n;
    }
    if (cairn_job_claim(j))
        reply_value(j->req, x->size, names, len < 0 ? len : kept);
}

void fs_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct cairn_fs *fs = fs_of(req);
    if (!origin_can(fs->sync->origin, ORIGIN_XATTRS)) {
        reply_value(req, size, "", 0);
        return;
    }
    struct xattr_job *x = new_xattr(req, ino, NULL, run_listxattr);
    if (!x)
        return;
    x->size = size;
    cairn_job_submit(&x->job);
}

static void run_setxattr(struct cairn_job *j)
{
    struct xattr_job *x = (struct xattr_job *)j;
    cairn_job_reply_err(j, x->value ? (int)at_origin(x, set_value) : -ENOMEM);
}

void fs_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                 int flags)
{
    struct cairn_fs *fs = fs_of(req);
    if (!is_user(name) || !origin_can(fs->sync->origin, ORIGIN_XATTRS)) {
        fuse_reply_err(req, EOPNOTSUPP);
        return;
    }
    struct xattr_job *x = new_xattr(req, ino, name, run_setxattr);
    if (!x)
        return;
    x->value = malloc(size ? size : 1);
    if (x->value)
        memcpy(x->value, value, size);
    x->len = size;
    x->flags = flags;
    cairn_job_submit(&x->job);
}

static void run_removexattr(struct cairn_job *j)
{
    cairn_job_reply_err(j, (int)at_origin((struct xattr_job *)j, remove_value));
}

void fs_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct cairn_fs *fs = fs_of(req);
    if (!is_user(name) || !origin_can(fs->sync->origin, ORIGIN_XATTRS)) {
        fuse_reply_err(req, EOPNOTSUPP);
        return;
    }
    struct xattr_job *x = new_xattr(req, ino, name, run_removexattr);
    if (x)
        cairn_job_submit(&x->job);
}

/* --- statfs --- */

static void run_statfs(struct cairn_job *j)
{
    struct cairn_fs *fs = j->fs;
    struct statvfs st;
    int err = cairn_sync_answered(fs->sync, origin_statfs(fs->sync->origin, &j->call, &st));
    if (err == -EOPNOTSUPP) {
        /* It does not tell: as good as endless. */
        st = (struct statvfs){.f_bsize = 4096, .f_frsize = 4096, .f_blocks = 1ULL << 38,
                              .f_bfree = 1ULL << 38, .f_bavail = 1ULL << 38};
        err = 0;
    }
    if (!err) {
        st.f_namemax = fs->sync->info->name_max < CAIRN_NAME_MAX ? fs->sync->info->name_max
                                                                 : CAIRN_NAME_MAX;
        pthread_mutex_lock(&fs->statfs_lock);
        fs->statfs = st;
        fs->statfs_ns = cairn_now_ns();
        pthread_mutex_unlock(&fs->statfs_lock);
    }
    if (!cairn_job_claim(j))
        return;
    if (err)
        fuse_reply_err(j->req, cairn_fs_errno(err));
    else
        fuse_reply_statfs(j->req, &st);
}

static void statfs_from_cache(struct cairn_job *j)
{
    pthread_mutex_lock(&j->fs->statfs_lock);
    struct statvfs st = j->fs->statfs;
    pthread_mutex_unlock(&j->fs->statfs_lock);
    fuse_reply_statfs(j->req, &st);
}

void fs_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct cairn_fs *fs = fs_of(req);
    pthread_mutex_lock(&fs->statfs_lock);
    struct statvfs st = fs->statfs;
    bool known = fs->statfs_ns;
    bool fresh = known && cairn_now_ns() - fs->statfs_ns < STATFS_FRESH;
    pthread_mutex_unlock(&fs->statfs_lock);
    if (fresh || (known && atomic_load(&fs->sync->stalled))) {
        fuse_reply_statfs(req, &st);
        return;
    }
    struct cairn_job *j = cairn_job_new(req, sizeof *j, ino, NULL, run_statfs);
    if (!j)
        return;
    if (known)
        j->fallback = statfs_from_cache;
    cairn_job_submit(j);
}
