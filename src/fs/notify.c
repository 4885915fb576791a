// SPDX-License-Identifier: Apache-2.0
#include "fs/notify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct note {
    struct note *next;
    uint64_t ino; /* of the parent if there is a name */
    bool data;
    bool entry;
    char name[];
};

struct cairn_notifier {
    struct cairn_fs *fs;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t cond; /* the queue is not empty, or stopping */
    /* under lock */
    struct note *head, **tail;
    uint64_t telling; /* inode whose pages are being dropped */
    unsigned data_notes;
    bool stopping;
};

static void tell(struct cairn_fs *fs, const struct note *e)
{
    /* ENOENT: the kernel did not know it. ENOSYS and the like: nothing to be done. */
    if (e->entry)
        fuse_lowlevel_notify_inval_entry(fs->se, e->ino, e->name, strlen(e->name));
    else
        fuse_lowlevel_notify_inval_inode(fs->se, e->ino, e->data ? 0 : -1, 0);
}

static void *notify_thread(void *arg)
{
    struct cairn_notifier *n = arg;
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
        tell(n->fs, e);
        pthread_mutex_lock(&n->lock);
        n->telling = 0;
        n->data_notes -= e->data;
        free(e);
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
    int err = pthread_create(&n->thread, NULL, notify_thread, n);
    if (err) {
        free(n);
        return -err;
    }
    pthread_setname_np(n->thread, "cairn-notify");
    *ret = n;
    return 0;
}

void cairn_notifier_free(struct cairn_notifier *n)
{
    if (!n)
        return;
    pthread_mutex_lock(&n->lock);
    n->stopping = true;
    pthread_cond_signal(&n->cond);
    pthread_mutex_unlock(&n->lock);
    pthread_join(n->thread, NULL);
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
    pthread_mutex_lock(&n->lock);
    bool pending = n->telling == ino;
    if (n->data_notes)
        for (struct note *e = n->head; e && !pending; e = e->next)
            pending = e->data && e->ino == ino;
    pthread_mutex_unlock(&n->lock);
    return pending;
}
