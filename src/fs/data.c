// SPDX-License-Identifier: Apache-2.0
/* The bytes of open files: read, write, fallocate, lseek, copy_file_range. */
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "fs/handle.h"
#include "fs/job.h"
#include "sync/copy.h"
#include "sync/stage.h"
#include "sync/upload.h"

/* --- read --- */

struct read_job {
    struct cairn_job job;
    struct cairn_read read;
};

static void reply_read(fuse_req_t req, const struct cairn_read *r)
{
    struct iovec few[16];
    if (r->pieces <= ARRAY_LEN(few)) {
        for (unsigned i = 0; i < r->pieces; i++)
            few[i] = r->piece[i].iov;
        fuse_reply_iov(req, few, (int)r->pieces);
        return;
    }
    /* One part of a vector is the reply's header. */
    bool flat = r->pieces >= IOV_MAX;
    struct iovec *iov = malloc(flat ? r->bytes : r->pieces * sizeof *iov);
    if (!iov) {
        fuse_reply_err(req, ENOMEM);
    } else if (flat) {
        char *out = (char *)iov;
        for (unsigned i = 0; i < r->pieces; i++)
            out = mempcpy(out, r->piece[i].iov.iov_base, r->piece[i].iov.iov_len);
        fuse_reply_buf(req, (char *)iov, r->bytes);
    } else {
        for (unsigned i = 0; i < r->pieces; i++)
            iov[i] = r->piece[i].iov;
        fuse_reply_iov(req, iov, (int)r->pieces);
    }
    free(iov);
}

static void read_done(struct cairn_read *r, int err)
{
    struct read_job *rj = container_of(r, struct read_job, read);
    atomic_fetch_sub(&r->handle->node->waiting, 1);
    if (cairn_job_claim(&rj->job)) {
        if (err)
            fuse_reply_err(rj->job.req, cairn_fs_errno(err));
        else
            reply_read(rj->job.req, r);
    }
    cairn_job_end(&rj->job);
}

static void destroy_read(struct cairn_job *j)
{
    cairn_read_release(&((struct read_job *)j)->read);
}

void fs_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    fs_of(req);
    struct cairn_read quick;
    int err;
    /* Most reads find everything near: those need no job. */
    cairn_read_init(&quick, cairn_handle_of(fi), (uint64_t)off, size, NULL);
    if (cairn_read_try(&quick, &err)) {
        if (err)
            fuse_reply_err(req, cairn_fs_errno(err));
        else
            reply_read(req, &quick);
        cairn_read_release(&quick);
        return;
    }
    cairn_read_release(&quick);
    struct read_job *rj = cairn_job_new(req, sizeof *rj, ino, NULL, NULL);
    if (!rj)
        return;
    cairn_read_init(&rj->read, cairn_handle_of(fi), (uint64_t)off, size, read_done);
    rj->read.sequential = quick.sequential;
    rj->read.random = quick.random;
    rj->job.destroy = destroy_read;
    atomic_fetch_add(&rj->read.handle->node->waiting, 1);
    cairn_job_wait(&rj->job);
    if (cairn_read_start(&rj->read, &err))
        read_done(&rj->read, err);
}

/* --- write --- */

static int stage_bytes(struct cairn_node *n, struct fuse_bufvec *in, uint64_t off, size_t *ret_len)
{
    struct fuse_bufvec out = FUSE_BUFVEC_INIT(fuse_buf_size(in));
    pthread_mutex_lock(&n->lock);
    int err = cairn_stage_begin(n);
    if (!err) {
        out.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
        out.buf[0].fd = n->stage->fd;
        out.buf[0].pos = (off_t)off;
        ssize_t len = fuse_buf_copy(&out, in, 0);
        if (len < 0) {
            err = (int)len;
            n->stage->writes++; /* some bytes may have arrived over older ones */
        } else {
            err = cairn_stage_wrote(n->stage, off, (uint64_t)len);
        }
        *ret_len = (size_t)len;
    }
    pthread_mutex_unlock(&n->lock);
    return err;
}

void fs_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
                  struct fuse_file_info *fi)
{
    fs_of(req);
    size_t len;
    int err = stage_bytes(cairn_handle_of(fi)->node, in, (uint64_t)off, &len);
    if (err)
        fuse_reply_err(req, cairn_fs_errno(err));
    else
        fuse_reply_write(req, len);
}

static int allocate(struct cairn_node *n, int mode, uint64_t off, uint64_t len)
{
    bool keep = mode & FALLOC_FL_KEEP_SIZE;
    switch (mode & ~FALLOC_FL_KEEP_SIZE) {
    case FALLOC_FL_PUNCH_HOLE:
        return keep ? cairn_stage_zero(n->stage, off, len, false) : -EINVAL;
    case FALLOC_FL_ZERO_RANGE:
        return cairn_stage_zero(n->stage, off, len, !keep);
    case 0:
        /* Space cannot be promised for the origin; the size can. */
        if (keep || off + len <= n->stage->size)
            return 0;
        return cairn_stage_truncate(n->stage, off + len);
    default:
        return -EOPNOTSUPP;
    }
}

void fs_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                  struct fuse_file_info *fi)
{
    fs_of(req);
    struct cairn_node *n = cairn_handle_of(fi)->node;
    if (off < 0 || len <= 0 || off > INT64_MAX - len) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    pthread_mutex_lock(&n->lock);
    int err = cairn_stage_begin(n);
    if (!err)
        err = allocate(n, mode, (uint64_t)off, (uint64_t)len);
    pthread_mutex_unlock(&n->lock);
    fuse_reply_err(req, cairn_fs_errno(err));
}

/* --- lseek and copy_file_range --- */

struct range_job {
    struct cairn_job job;
    struct cairn_handle *from; /* references */
    struct cairn_handle *to;
    uint64_t off, to_off, len;
    int whence;
};

static void destroy_range(struct cairn_job *j)
{
    struct range_job *r = (struct range_job *)j;
    cairn_handle_unref(r->from);
    if (r->to)
        cairn_handle_unref(r->to);
}

static struct range_job *new_range(fuse_req_t req, struct fuse_file_info *from,
                                   struct fuse_file_info *to, void (*run)(struct cairn_job *))
{
    fs_of(req);
    struct range_job *r = cairn_job_new(req, sizeof *r, 0, NULL, run);
    if (!r)
        return NULL;
    r->from = cairn_handle_of(from);
    atomic_fetch_add(&r->from->refs, 1);
    if (to) {
        r->to = cairn_handle_of(to);
        atomic_fetch_add(&r->to->refs, 1);
    }
    r->job.destroy = destroy_range;
    return r;
}

static void run_lseek(struct cairn_job *j)
{
    struct range_job *r = (struct range_job *)j;
    int64_t pos = cairn_seek(r->from->node, &j->call, r->off, r->whence);
    if (!cairn_job_claim(j))
        return;
    if (pos < 0)
        fuse_reply_err(j->req, cairn_fs_errno((int)pos));
    else
        fuse_reply_lseek(j->req, (off_t)pos);
}

void fs_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
    struct range_job *r = new_range(req, fi, NULL, run_lseek);
    if (!r)
        return;
    r->off = (uint64_t)off;
    r->whence = whence;
    cairn_job_submit(&r->job);
}

static void run_copy(struct cairn_job *j)
{
    struct range_job *r = (struct range_job *)j;
    struct origin_call c = cairn_sync_call(j->fs->sync);
    ssize_t n = cairn_copy_range(r->from->node, r->off, r->to->node, r->to_off, r->len, &c);
    if (!cairn_job_claim(j))
        return;
    if (n < 0)
        fuse_reply_err(j->req, cairn_fs_errno((int)n));
    else
        fuse_reply_write(j->req, (size_t)n);
}

void fs_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                        struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
                        struct fuse_file_info *fi_out, size_t len, int flags)
{
    struct range_job *r = new_range(req, fi_in, fi_out, run_copy);
    if (!r)
        return;
    r->off = (uint64_t)off_in;
    r->to_off = (uint64_t)off_out;
    r->len = min_u64(len, 1 * GIB); /* so that an interrupt is heard between two calls */
    r->job.slow = true;
    r->job.call.deadline_ns = CAIRN_NEVER;
    cairn_job_submit(&r->job);
}
