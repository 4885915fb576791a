// SPDX-License-Identifier: Apache-2.0
/*
 * Events of the origin: each says that a name may have changed. The name is marked at once, so
 * that answers under way are not believed, and asked about by a worker; what came of it goes the
 * way of all answers. One change makes several events, and so does each change of our own: what
 * comes within a moment is asked about once. When events were lost everything counts as unchecked.
 */
#include "sync/fresh_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "sync/path.h"

#define GATHER_NS (2 * NSEC_PER_MSEC)

struct event {
    struct event *next;
    uint64_t dir;
    char name[CAIRN_NAME_MAX + 1];
};

struct cairn_watch_queue {
    struct cairn_task task;
    struct cairn_sync *sync;
    pthread_mutex_t lock;
    /* under lock */
    struct event *head, **tail;
    struct cairn_name_set names; /* that are in the queue */
    bool running;
    bool stopped;
    pthread_cond_t cond; /* `running` has become false */
};

/* The directory itself changed: its names, times, links. */
static void directory_changed(struct cairn_sync *s, const struct origin_call *c, uint64_t dir)
{
    cairn_fresh_inode(s, c, dir);
}

static void ask(struct cairn_sync *s, const struct event *e)
{
    struct origin_call c = cairn_sync_call(s);
    uint64_t before = 0, after = 0;
    cairn_meta_lookup(s->meta, e->dir, e->name, &before);
    int err = cairn_fresh_lookup(s, &c, e->dir, e->name, &after);
    if (err && err != -ENOENT && err != -ESTALE)
        log_debug("change not followed: name=%s error=%s", e->name, strerror(-err));
    if (before != after) {
        s->listener.entry_changed(s->listener.arg, e->dir, e->name);
        directory_changed(s, &c, e->dir);
    }
}

static void drain_events(struct cairn_task *t)
{
    static const struct timespec gather = {.tv_nsec = GATHER_NS};
    struct cairn_watch_queue *q = container_of(t, struct cairn_watch_queue, task);
    pthread_mutex_lock(&q->lock);
    while (!q->stopped && q->head) {
        pthread_mutex_unlock(&q->lock);
        nanosleep(&gather, NULL);
        pthread_mutex_lock(&q->lock);
        struct event *e = STEAL(q->head);
        q->tail = &q->head;
        cairn_name_set_free(&q->names);
        pthread_mutex_unlock(&q->lock);
        while (e) {
            struct event *next = e->next;
            if (!atomic_load(&q->sync->stopping))
                ask(q->sync, e);
            free(e);
            e = next;
        }
        pthread_mutex_lock(&q->lock);
    }
    q->running = false;
    pthread_cond_broadcast(&q->cond);
    pthread_mutex_unlock(&q->lock);
}

static void all_unchecked(struct cairn_sync *s)
{
    log_warn("events of the origin were lost: checking everything anew");
    atomic_fetch_add(&s->epoch, 1);
    pthread_mutex_lock(&s->fresh->lock);
    cairn_name_set_free(&s->fresh->watched);
    pthread_mutex_unlock(&s->fresh->lock);
}

static void on_event(void *arg, const struct origin_event *ev)
{
    struct cairn_sync *s = arg;
    struct cairn_watch_queue *q = s->fresh->events;
    if (ev->overflow) {
        all_unchecked(s);
        return;
    }
    uint64_t dir, ino;
    if (cairn_is_temp_name(ev->name) || cairn_path_resolve(s, ev->dir, &dir))
        return;
    if (!ev->name[0]) {
        struct cairn_inode in; /* the directory itself: it is a name of its parent's */
        if (cairn_meta_inode(s->meta, dir, &in) || !in.parent)
            return;
        struct origin_event up = {.dir = ev->dir, .name = in.name};
        AUTO_FREE char *path = NULL;
        if (cairn_meta_path(s->meta, in.parent, &path))
            return;
        up.dir = path;
        on_event(arg, &up);
        return;
    }
    if (strlen(ev->name) > CAIRN_NAME_MAX)
        return;
    cairn_meta_lock(s->meta);
    cairn_mark_name(&s->fresh->marks, dir, ev->name);
    if (cairn_meta_lookup(s->meta, dir, ev->name, &ino) == 0)
        cairn_mark_inode(&s->fresh->marks, ino);
    cairn_meta_unlock(s->meta);

    pthread_mutex_lock(&q->lock);
    struct event *e = NULL;
    uint64_t hash = cairn_name_hash(dir, ev->name);
    if (!cairn_name_set_has(&q->names, hash) && (e = calloc(1, sizeof *e))) {
        e->dir = dir;
        strcpy(e->name, ev->name);
        *q->tail = e;
        q->tail = &e->next;
        cairn_name_set_add(&q->names, hash); /* or it is asked about twice */
    }
    bool start = e && !q->running && !q->stopped;
    if (start)
        q->running = true;
    pthread_mutex_unlock(&q->lock);
    if (start)
        cairn_workers_submit(s->background, &q->task);
}

int cairn_fresh_new(struct cairn_sync *s)
{
    struct cairn_fresh *f = calloc(1, sizeof *f);
    struct cairn_watch_queue *q = calloc(1, sizeof *q);
    if (!f || !q) {
        free(f);
        free(q);
        return -ENOMEM;
    }
    cairn_marks_init(&f->marks);
    pthread_mutex_init(&f->lock, NULL);
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->cond, NULL);
    q->tail = &q->head;
    q->sync = s;
    q->task.run = drain_events;
    f->events = q;
    s->fresh = f;
    return 0;
}

void cairn_fresh_stop(struct cairn_sync *s)
{
    if (!s->fresh)
        return;
    struct cairn_watch_queue *q = s->fresh->events;
    pthread_mutex_lock(&q->lock);
    q->stopped = true;
    while (q->running)
        pthread_cond_wait(&q->cond, &q->lock);
    pthread_mutex_unlock(&q->lock);
}

void cairn_fresh_free(struct cairn_sync *s)
{
    struct cairn_fresh *f = s->fresh;
    if (!f)
        return;
    while (f->events->head) {
        struct event *e = f->events->head;
        f->events->head = e->next;
        free(e);
    }
    cairn_name_set_free(&f->events->names);
    pthread_mutex_destroy(&f->events->lock);
    pthread_cond_destroy(&f->events->cond);
    free(f->events);
    cairn_name_set_free(&f->watched);
    cairn_marks_destroy(&f->marks);
    pthread_mutex_destroy(&f->lock);
    free(f);
    s->fresh = NULL;
}

int cairn_fresh_watch(struct cairn_sync *s)
{
    int err = origin_watch(s->origin, on_event, s);
    s->watching = err == 0;
    return err;
}
