// SPDX-License-Identifier: Apache-2.0
#include "fs/job.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"

#define GRACE_NS    (100 * NSEC_PER_MSEC) /* from an interrupt to EINTR */
/* How much silence there is before the cache answers: many times what the origin usually takes. */
#define FALLBACK_TIMES 8
#define FALLBACK_LEAST (150 * NSEC_PER_MSEC)
#define FALLBACK_MOST  (2 * NSEC_PER_SEC)
#define OVERDUE_NS  (2 * NSEC_PER_SEC)    /* past its deadline: the driver is stuck */
#define TICK_NS     (20 * NSEC_PER_MSEC)

struct cairn_jobs {
    struct cairn_fs *fs;
    pthread_t watchdog;
    pthread_mutex_t lock;
    pthread_cond_t cond; /* the list is no longer empty, or stopping */
    /* under lock */
    struct cairn_job *head;
    bool stopping;
    _Atomic int64_t usual_ns; /* a moving average of what a job takes that has a fallback */
};

int cairn_fs_errno(int err)
{
    switch (err) {
    case 0:
        return 0;
    case -ECONNREFUSED:
    case -ENETUNREACH:
    case -EHOSTDOWN:
        return EHOSTUNREACH;
    case -ECONNRESET:
    case -ECONNABORTED:
    case -EPIPE:
    case -ENOTCONN:
    case -EBADMSG:
        return EIO;
    default:
        return err < 0 && err > -512 ? -err : EIO;
    }
}

static void unref(struct cairn_job *j)
{
    if (atomic_fetch_sub(&j->refs, 1) != 1)
        return;
    if (j->destroy)
        j->destroy(j);
    free(j->name);
    free(j);
}

bool cairn_job_claim(struct cairn_job *j)
{
    if (atomic_exchange(&j->answered, true))
        return false;
    /* Waits for an interrupt that is just being told of; none comes after this. */
    fuse_req_interrupt_func(j->req, NULL, NULL);
    return true;
}

void cairn_job_reply_err(struct cairn_job *j, int err)
{
    if (cairn_job_claim(j))
        fuse_reply_err(j->req, cairn_fs_errno(err));
}

static void on_interrupt(fuse_req_t req, void *data)
{
    struct cairn_job *j = data;
    atomic_store(&j->interrupted_ns, cairn_now_ns());
}

static int64_t patience_ns(struct cairn_jobs *jobs)
{
    int64_t ns = atomic_load(&jobs->usual_ns) * FALLBACK_TIMES;
    return ns < FALLBACK_LEAST ? FALLBACK_LEAST : ns > FALLBACK_MOST ? FALLBACK_MOST : ns;
}

/* What stalls or fails late says nothing about what is usual. */
static void note_usual(struct cairn_jobs *jobs, int64_t took_ns)
{
    int64_t usual = atomic_load(&jobs->usual_ns);
    if (took_ns < FALLBACK_MOST)
        atomic_store(&jobs->usual_ns, usual + (took_ns - usual) / 8);
}

/* Answers for a job that takes too long, if it does. */
static void check(struct cairn_job *j, int64_t now)
{
    struct cairn_fs *fs = j->fs;
    int64_t interrupted = atomic_load(&j->interrupted_ns);
    if (interrupted && now - interrupted > GRACE_NS) {
        if (cairn_job_claim(j)) {
            cairn_count(&fs->metrics, CAIRN_INTERRUPTED, 1);
            fuse_reply_err(j->req, EINTR);
        }
    } else if (j->fallback && now - j->submitted_ns > patience_ns(fs->jobs)) {
        cairn_sync_stalled(fs->sync);
        if (cairn_job_claim(j)) {
            cairn_count(&fs->metrics, CAIRN_STALE_SERVED, 1);
            j->fallback(j);
        }
    } else if (j->call.deadline_ns != CAIRN_NEVER && now > j->call.deadline_ns + OVERDUE_NS) {
        if (cairn_job_claim(j)) {
            cairn_count(&fs->metrics, CAIRN_ORIGIN_TIMEOUTS, 1);
            fuse_reply_err(j->req, ETIMEDOUT);
        }
    }
}

static void *watch_jobs(void *arg)
{
    struct cairn_jobs *jobs = arg;
    struct timespec tick = ns_to_timespec(TICK_NS);
    pthread_mutex_lock(&jobs->lock);
    while (!jobs->stopping) {
        if (!jobs->head) {
            pthread_cond_wait(&jobs->cond, &jobs->lock);
            continue;
        }
        pthread_mutex_unlock(&jobs->lock);
        nanosleep(&tick, NULL);
        pthread_mutex_lock(&jobs->lock);
        int64_t now = cairn_now_ns();
        struct cairn_job *j = jobs->head;
        if (j)
            atomic_fetch_add(&j->refs, 1);
        while (j) {
            /* Replies are system calls: not under the lock. The reference keeps the place. */
            pthread_mutex_unlock(&jobs->lock);
            if (!atomic_load(&j->answered))
                check(j, now);
            pthread_mutex_lock(&jobs->lock);
            struct cairn_job *next = j->next;
            if (next)
                atomic_fetch_add(&next->refs, 1);
            pthread_mutex_unlock(&jobs->lock);
            unref(j);
            pthread_mutex_lock(&jobs->lock);
            j = next;
        }
    }
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

int cairn_jobs_new(struct cairn_jobs **ret, struct cairn_fs *fs)
{
    struct cairn_jobs *jobs = calloc(1, sizeof *jobs);
    if (!jobs)
        return -ENOMEM;
    jobs->fs = fs;
    pthread_mutex_init(&jobs->lock, NULL);
    pthread_cond_init(&jobs->cond, NULL);
    int err = pthread_create(&jobs->watchdog, NULL, watch_jobs, jobs);
    if (err) {
        free(jobs);
        return -err;
    }
    pthread_setname_np(jobs->watchdog, "cairn-watch");
    *ret = jobs;
    return 0;
}

void cairn_jobs_free(struct cairn_jobs *jobs)
{
    if (!jobs)
        return;
    pthread_mutex_lock(&jobs->lock);
    jobs->stopping = true;
    pthread_cond_broadcast(&jobs->cond);
    pthread_mutex_unlock(&jobs->lock);
    pthread_join(jobs->watchdog, NULL);
    pthread_mutex_destroy(&jobs->lock);
    pthread_cond_destroy(&jobs->cond);
    free(jobs);
}

void *cairn_job_new(fuse_req_t req, size_t size, fuse_ino_t ino, const char *name,
                    void (*run)(struct cairn_job *j))
{
    struct cairn_fs *fs = fuse_req_userdata(req);
    struct cairn_job *j = calloc(1, size);
    char *copy = name ? strdup(name) : NULL;
    if (!j || (name && !copy)) {
        free(j);
        free(copy);
        fuse_reply_err(req, ENOMEM);
        return NULL;
    }
    j->fs = fs;
    j->req = req;
    j->ino = ino;
    j->name = copy;
    j->run = run;
    j->call = cairn_sync_call(fs->sync);
    atomic_init(&j->refs, 1);
    return j;
}

static void enlist(struct cairn_job *j)
{
    struct cairn_jobs *jobs = j->fs->jobs;
    j->submitted_ns = cairn_now_ns();
    cairn_count(&j->fs->metrics, CAIRN_JOBS, 1);
    /* First: once the job is in the list the watchdog may answer, and the request is gone. */
    fuse_req_interrupt_func(j->req, on_interrupt, j);
    pthread_mutex_lock(&jobs->lock);
    j->next = jobs->head;
    if (j->next)
        j->next->prev = j;
    else
        pthread_cond_signal(&jobs->cond);
    jobs->head = j;
    pthread_mutex_unlock(&jobs->lock);
}

void cairn_job_end(struct cairn_job *j)
{
    struct cairn_jobs *jobs = j->fs->jobs;
    pthread_mutex_lock(&jobs->lock);
    if (j->prev)
        j->prev->next = j->next;
    else
        jobs->head = j->next;
    if (j->next)
        j->next->prev = j->prev;
    pthread_mutex_unlock(&jobs->lock);
    unref(j);
}

bool cairn_jobs_any(struct cairn_jobs *jobs, fuse_ino_t ino)
{
    bool any = false;
    pthread_mutex_lock(&jobs->lock);
    for (struct cairn_job *j = jobs->head; j && !any; j = j->next)
        any = j->ino == ino && !atomic_load(&j->answered);
    pthread_mutex_unlock(&jobs->lock);
    return any;
}

static void run_job(struct cairn_task *t)
{
    struct cairn_job *j = container_of(t, struct cairn_job, task);
    /* Interrupted or out of time before it began: then it never happened. */
    if (!atomic_load(&j->answered))
        j->run(j);
    if (j->fallback)
        note_usual(j->fs->jobs, cairn_now_ns() - j->submitted_ns);
    cairn_job_end(j);
}

void cairn_job_submit(struct cairn_job *j)
{
    if ((j->fs->sync->info->caps & ORIGIN_LOCAL) && !j->slow) {
        j->run(j);
        unref(j);
        return;
    }
    j->task.run = run_job;
    enlist(j);
    cairn_workers_submit(j->fs->sync->workers, &j->task);
}

void cairn_job_wait(struct cairn_job *j)
{
    enlist(j);
}
