// SPDX-License-Identifier: Apache-2.0
#include "cli/daemon.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/clock.h"
#include "base/options.h"
#include "base/util.h"

/* XATTR_SIZE_MAX of the kernel: no answer can be longer. */
enum { ANSWER_MAX = 65536 };

/* Shared by the asking and the waiting thread; the last one frees it. */
struct question {
    atomic_int refs;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool done;      /* lock */
    ssize_t result; /* lock: length of the answer or -errno */
    char *mountpoint;
    char answer[ANSWER_MAX]; /* the asking thread's until done */
};

static void question_unref(struct question *q)
{
    if (atomic_fetch_sub(&q->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->answered);
    free(q->mountpoint);
    free(q);
}

static void *ask(void *arg)
{
    struct question *q = arg;
    ssize_t n = getxattr(q->mountpoint, CAIRN_STATUS_XATTR, q->answer, sizeof q->answer);

    if (n < 0)
        n = -errno;
    pthread_mutex_lock(&q->lock);
    q->result = n;
    q->done = true;
    pthread_cond_signal(&q->answered);
    pthread_mutex_unlock(&q->lock);
    question_unref(q);
    return NULL;
}

static struct question *question_new(const char *mountpoint)
{
    struct question *q = calloc(1, sizeof *q);
    pthread_condattr_t attr;

    if (!q)
        return NULL;
    q->mountpoint = strdup(mountpoint);
    if (!q->mountpoint) {
        free(q);
        return NULL;
    }
    atomic_init(&q->refs, 1);
    pthread_mutex_init(&q->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&q->answered, &attr);
    pthread_condattr_destroy(&attr);
    return q;
}

/* The bytes that the process occupies, or 0. */
static uint64_t resident_bytes(long pid)
{
    AUTO_FREE char *path = cairn_text("/proc/%ld/statm", pid);
    FILE *f = path ? fopen(path, "re") : NULL;
    unsigned long long total, resident = 0;

    if (!f)
        return 0;
    if (fscanf(f, "%llu %llu", &total, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int parse_answer(const char *text, size_t len, json_t **ret)
{
    json_t *status = json_loadb(text, len, 0, NULL);

    if (!json_is_object(status)) {
        json_decref(status);
        return -EBADMSG;
    }
    json_int_t pid = json_integer_value(json_object_get(status, "pid"));
    uint64_t rss = pid > 0 ? resident_bytes((long)pid) : 0;
    if (rss && !json_object_get(status, "rss_bytes"))
        json_object_set_new(status, "rss_bytes", json_integer((json_int_t)rss));
    *ret = status;
    return 0;
}

int cairn_daemon_status(const char *mountpoint, int64_t timeout_ns, json_t **ret)
{
    struct timespec until = ns_to_timespec(cairn_now_ns() + timeout_ns);
    struct question *q = question_new(mountpoint);
    pthread_t thread;

    if (!q)
        return -ENOMEM;
    atomic_store(&q->refs, 2);
    int r = -pthread_create(&thread, NULL, ask, q);
    if (r) {
        atomic_store(&q->refs, 1);
        question_unref(q);
        return r;
    }
    pthread_detach(thread);

    pthread_mutex_lock(&q->lock);
    while (!q->done && r != ETIMEDOUT)
        r = pthread_cond_timedwait(&q->answered, &q->lock, &until);
    ssize_t n = q->done ? q->result : -ETIMEDOUT;
    pthread_mutex_unlock(&q->lock);

    if (n == -ENODATA)
        n = -EOPNOTSUPP;
    r = n < 0 ? (int)n : parse_answer(q->answer, (size_t)n, ret);
    question_unref(q);
    return r;
}

char *cairn_daemon_error(const char *mountpoint, int err)
{
    switch (err) {
    case -ENOTCONN:
        return cairn_text("the daemon of '%s' is dead; free the mountpoint with: cairnfs umount %s",
                          mountpoint, mountpoint);
    case -ETIMEDOUT:
        return cairn_text("the daemon of '%s' does not answer", mountpoint);
    case -EOPNOTSUPP:
        return cairn_text("'%s' is not a cairnfs mount", mountpoint);
    case -EBADMSG:
        return cairn_text("the daemon of '%s' gave an answer that is not understood", mountpoint);
    case -EACCES:
        return cairn_text("'%s' was mounted by another user, who alone may use it (see the option"
                          " allow-other)",
                          mountpoint);
    default:
        return cairn_text("'%s': %s", mountpoint, strerror(-err));
    }
}
