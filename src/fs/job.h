// SPDX-License-Identifier: Apache-2.0
/*
 * Requests of the kernel that cannot be answered at once. A job is answered exactly once, by
 * whoever claims it first: the worker that did the work, or the watchdog, when its caller was
 * interrupted, when its deadline has passed although the driver is stuck, or when the origin is
 * silent and the cache has an answer. A job that lost its claim still finishes its work, so that
 * the store learns what happened at the origin.
 *
 * An interrupted caller gets EINTR after a moment's grace: programs with timers and children are
 * interrupted all the time, and must not see EINTR from operations that end soon by themselves.
 */
#pragma once

#include <errno.h>

#include "fs/fs.h"

struct cairn_job {
    struct cairn_task task;
    struct cairn_fs *fs;
    fuse_req_t req;
    struct origin_call call;
    void (*run)(struct cairn_job *j);      /* on a worker */
    void (*fallback)(struct cairn_job *j); /* NULL, or: replies from the cache; j is claimed */
    void (*destroy)(struct cairn_job *j);  /* NULL, or: frees what the job holds, not the job */
    bool slow;                             /* takes its time even where the origin is local */
    /* arguments that most operations have */
    fuse_ino_t ino;
    char *name;                            /* freed with the job */
    /* the rest is job.c's */
    atomic_uint refs;
    atomic_bool answered;
    _Atomic int64_t interrupted_ns;        /* 0 = not */
    int64_t submitted_ns;
    struct cairn_job *prev, *next;         /* under the list's lock */
};

int cairn_jobs_new(struct cairn_jobs **ret, struct cairn_fs *fs);
void cairn_jobs_free(struct cairn_jobs *jobs); /* NULL is allowed; no job is left */

/* Zeroed memory for a job of `size` bytes that begins with a struct cairn_job. Answers the request
 * with ENOMEM and returns NULL if there is none. `name` may be NULL. */
void *cairn_job_new(fuse_req_t req, size_t size, fuse_ino_t ino, const char *name,
                    void (*run)(struct cairn_job *j));
/* Hands the job to a worker, or runs it here if the origin is a local disk, which keeps nobody
 * waiting longer than the cache itself would. The caller must not touch it any more. */
void cairn_job_submit(struct cairn_job *j);
/* Without a worker: the job waits for something else (a read for its window). */
void cairn_job_wait(struct cairn_job *j);
/* Ends a job that waited; after its answer was given. */
void cairn_job_end(struct cairn_job *j);

/* Is a job under way that was asked of this inode? */
bool cairn_jobs_any(struct cairn_jobs *jobs, fuse_ino_t ino);

/* True for one caller only, who then replies to j->req. */
bool cairn_job_claim(struct cairn_job *j);
/* Claims and replies with an error (0 or negative errno). */
void cairn_job_reply_err(struct cairn_job *j, int err);

/* What the kernel is told for an error inside. */
int cairn_fs_errno(int err);
/* The same for operations on an inode by its number: that there is no such inode any more is
 * ESTALE, upon which the kernel looks the name up again. */
static inline int cairn_fs_errno_inode(int err)
{
    return err == -ENOENT ? ESTALE : cairn_fs_errno(err);
}
