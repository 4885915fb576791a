// SPDX-License-Identifier: Apache-2.0
#include "fs/notify.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "fs/job.h"
#include "sync/node.h"

struct note {
    struct note *next;
    uint64_t ino; /* of the parent if there is a name */
    bool data;
    bool entry;
    unsigned tries;
    char name[];
};

#define TRIES_MOST 40 /* 5 ms each: then requests come without end */
#define RECENT     64
#define RECENT_NS  (100 * NSEC_PER_MSEC) /* a request takes this long to reach us, at most */

struct cairn_notifier {
    struct cairn_fs *fs;
    pthread_t thread;
    bool started; /* set before any other thread could stop it */
    pthread_mutex_t lock;
    pthread_cond_t cond; /* the queue is not empty, or stopping */
    /* under lock */
    struct note *head, **tail;
    uint64_t telling; /* inode whose pages are being dropped */
    unsigned data_notes;
    struct {
        uint64_t ino;
        int64_t ns;
    } recent[RECENT]; /* a ring: whose pages were dropped last */
    unsigned next_recent;
    bool stopping;
};

/* FUSE_NOTIFY_INC_EPOCH of <linux/fuse.h>, which libfuse has no call for before 3.17. */
static bool has_epoch(const struct cairn_fs *fs)
{
    return fs->conn.proto_major == 7 && fs->conn.proto_minor >= 44;
}

static void new_epoch(struct cairn_fs *fs)
{
    struct {
        uint32_t len;
        int32_t code;
        uint64_t unique;
    } msg = {.len = sizeof msg, .code = 8};
    if (write(fuse_session_fd(fs->se), &msg, sizeof msg) < 0 && errno != ENODEV)
        log_debug("the kernel refused a new epoch: %s", strerror(errno));
}

/* Does a request under way hold what the note is about? */
static bool held(struct cairn_fs *fs, const struct note *e)
{
    if (e->entry)
        return cairn_jobs_any(fs->jobs, e->ino);
    if (!e->data)
        return false;
    struct cairn_node *n = cairn_node_find(fs->sync, e->ino);
    bool waiting = n && atomic_load(&n->waiting);
    cairn_node_unref(n);
    /* One that no thread has taken yet may be a read of this file, too. */
    struct pollfd p = {.fd = fuse_session_fd(fs->se), .events = POLLIN};
    return waiting || (e->tries < TRIES_MOST && poll(&p, 1, 0) > 0);
}

/* False: later. */
static bool tell(struct cairn_fs *fs, const struct note *e)
{
    if (e->entry && has_epoch(fs)) {
        new_epoch(fs);
        return true;
    }
    if (e->data) {
        /* The change is said to us before it is made, under this lock. */
        cairn_meta_lock(fs->sync->meta);
        cairn_meta_unlock(fs->sync->meta);
    }
    if (held(fs, e))
        return false;
    /* ENOENT: the kernel did not know it. ENOSYS and the like: nothing to be done. */
    if (e->entry)
        fuse_lowlevel_notify_inval_entry(fs->se, e->ino, e->name, strlen(e->name));
    else
        fuse_lowlevel_notify_inval_inode(fs->se, e->ino, e->data ? 0 : -1, 0);
    return true;
}

static void *notify_thread(void *arg)
{
    struct cairn_notifier *n = arg;
    static const struct timespec pause = {.tv_nsec = 5000000};
    pthread_mutex_lock(&n->lock);
    while (!n->stopping) {
        struct note *e = n->head;
        if (!e) {
            pthread_cond_wait(&n->cond, &n->lock);
            continue;
        }
        n->head = e->next;
        if (!n->head)
            n->tail = &n->head;
        n->telling = e->data ? e->ino : 0;
        pthread_mutex_unlock(&n->lock);
        bool told = tell(n->fs, e);
        if (!told) {
            e->tries++;
            nanosleep(&pause, NULL);
        }
        pthread_mutex_lock(&n->lock);
        n->telling = 0;
        if (told) {
            if (e->data) {
                n->data_notes--;
                n->recent[n->next_recent].ino = e->ino;
                n->recent[n->next_recent].ns = cairn_now_ns();
                n->next_recent = (n->next_recent + 1) % RECENT;
            }
            free(e);
        } else {
            e->next = NULL;
            *n->tail = e;
            n->tail = &e->next;
        }
    }
    pthread_mutex_unlock(&n->lock);
    return NULL;
}

int cairn_notifier_new(struct cairn_notifier **ret, struct cairn_fs *fs)
{
    struct cairn_notifier *n = calloc(1, sizeof *n);
    if (!n)
        return -ENOMEM;
    n->fs = fs;
    n->tail = &n->head;
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->cond, NULL);
    *ret = n;
    return 0;
}

int cairn_notifier_start(struct cairn_notifier *n)
{
    int err = pthread_create(&n->thread, NULL, notify_thread, n);
    if (err)
        return -err;
    pthread_setname_np(n->thread, "cairn-notify");
    n->started = true;
    return 0;
}

void cairn_notifier_stop(struct cairn_notifier *n)
{
    if (!n || !n->started)
        return;
    pthread_mutex_lock(&n->lock);
    n->stopping = true;
    pthread_cond_signal(&n->cond);
    pthread_mutex_unlock(&n->lock);
    pthread_join(n->thread, NULL);
}

void cairn_notifier_free(struct cairn_notifier *n)
{
    if (!n)
        return;
    for (struct note *e = n->head; e;) {
        struct note *next = e->next;
        free(e);
        e = next;
    }
    pthread_mutex_destroy(&n->lock);
    pthread_cond_destroy(&n->cond);
    free(n);
}

static void queue(struct cairn_notifier *n, uint64_t ino, bool data, const char *name)
{
    size_t len = name ? strlen(name) + 1 : 0;
    struct note *e = malloc(sizeof *e + len);
    if (!e)
        return; /* the timeouts that the kernel was given cover it */
    e->next = NULL;
    e->ino = ino;
    e->data = data;
    e->tries = 0;
    e->entry = name != NULL;
    if (name)
        memcpy(e->name, name, len);
    pthread_mutex_lock(&n->lock);
    *n->tail = e;
    n->tail = &e->next;
    n->data_notes += data;
    pthread_cond_signal(&n->cond);
    pthread_mutex_unlock(&n->lock);
}

void cairn_notify_inode(struct cairn_notifier *n, uint64_t ino, bool data)
{
    queue(n, ino, data, NULL);
}

void cairn_notify_entry(struct cairn_notifier *n, uint64_t parent, const char *name)
{
    queue(n, parent, false, name);
}

bool cairn_notify_pending(struct cairn_notifier *n, uint64_t ino)
{
    int64_t since = cairn_now_ns() - RECENT_NS;
    pthread_mutex_lock(&n->lock);
    /* More than the ring can remember: then any may be among them. */
    bool pending = n->telling == ino || n->recent[n->next_recent].ns > since;
    for (unsigned i = 0; i < RECENT && !pending; i++)
        pending = n->recent[i].ino == ino && n->recent[i].ns > since;
    if (n->data_notes)
        for (struct note *e = n->head; e && !pending; e = e->next)
            pending = e->data && e->ino == ino;
    pthread_mutex_unlock(&n->lock);
    return pending;
}
