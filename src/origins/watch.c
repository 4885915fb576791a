// SPDX-License-Identifier: Apache-2.0
#include "origins/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include "base/util.h"
#include "origins/watch_tree.h"

#define WATCHED                                                                                    \
    (IN_CREATE | IN_DELETE | IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO |                 \
     IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF)

#define RECENT_MOVES  64  /* renames whose last event is still to come: one per racing renamer */
#define RECENT_EVENTS 256 /* slots of the table that finds repeated events */

/* A directory's rename, of which the kernel told the names but not yet the directory. */
struct move {
    uint32_t cookie; /* 0: free */
    char *from, *to; /* NULL: not watched there */
};

struct watch {
    int fd;
    int stop_fd;
    pthread_t thread;
    origin_event_fn *fn;
    void *arg;

    pthread_mutex_t lock; /* protects `tree`; no callback and no wait under it */
    struct watch_tree tree;

    /* Of the thread alone: */
    struct move moves[RECENT_MOVES];
    size_t next_move;
};

static void emit(struct watch *w, const char *dir, const char *name, bool overflow)
{
    struct origin_event ev = {.dir = dir, .name = name, .overflow = overflow};
    w->fn(w->arg, &ev);
}

/* --- renames of directories --- */

static void free_move(struct move *m)
{
    free(m->from);
    free(m->to);
    *m = (struct move){0};
}

static struct move *find_move(struct watch *w, uint32_t cookie)
{
    for (size_t i = 0; i < RECENT_MOVES; i++)
        if (w->moves[i].cookie == cookie)
            return &w->moves[i];
    return NULL;
}

static void note_move(struct watch *w, const struct inotify_event *e, const char *dir)
{
    struct move *m = find_move(w, e->cookie);
    if (!m) {
        m = &w->moves[w->next_move++ % RECENT_MOVES];
        free_move(m);
        m->cookie = e->cookie;
    }
    char *path;
    if (asprintf(&path, "%s%s%s", dir, *dir ? "/" : "", e->name) < 0)
        path = NULL; /* as if not watched: the directory will be dropped, with an overflow */
    char **side = e->mask & IN_MOVED_FROM ? &m->from : &m->to;
    free(*side);
    *side = path;
}

/* Ends the watches of a directory that went where we can't see it. */
static bool drop_subtree(struct watch *w, struct watch_node *n)
{
    size_t count;
    AUTO_FREE int *wds = watch_tree_drop_all(&w->tree, n, &count);
    for (size_t i = 0; wds && i < count; i++)
        inotify_rm_watch(w->fd, wds[i]);
    return wds;
}

/* Directory `n`, known as `path`, was moved. False if nobody can tell what became of it. */
static bool settle_move_locked(struct watch *w, struct watch_node *n, const char *path)
{
    for (size_t i = 1; i <= RECENT_MOVES; i++) { /* the latest first */
        struct move *m = &w->moves[(w->next_move - i) % RECENT_MOVES];
        if (!m->cookie || !m->from || strcmp(m->from, path))
            continue;
        bool told = m->to ? watch_tree_move_node(&w->tree, n, m->to) == 0 : drop_subtree(w, n);
        free_move(m);
        if (!told)
            drop_subtree(w, n);
        return told;
    }
    for (size_t i = 0; i < RECENT_MOVES; i++) {
        struct move *m = &w->moves[i];
        if (m->cookie && m->to && !strcmp(m->to, path)) { /* whoever renamed it told us already */
            free_move(m);
            return true;
        }
    }
    drop_subtree(w, n);
    return false;
}

/* --- events --- */

/* Finds repetitions in what one read gave: a table of the last event of each (directory, name). */
struct repeats {
    const struct inotify_event *slot[RECENT_EVENTS];
};

static const char *name_of(const struct inotify_event *e)
{
    return e->len ? e->name : "";
}

static bool is_repeated(struct repeats *r, const struct inotify_event *e)
{
    uint32_t h = (uint32_t)e->wd * 2654435761u;
    for (const char *p = name_of(e); *p; p++)
        h = (h ^ (unsigned char)*p) * 16777619u;
    const struct inotify_event **slot = &r->slot[h % RECENT_EVENTS];
    bool same = *slot && (*slot)->wd == e->wd && !strcmp(name_of(*slot), name_of(e));
    *slot = e;
    return same;
}

static void handle(struct watch *w, const struct inotify_event *e, struct repeats *r)
{
    if (e->mask & IN_Q_OVERFLOW) {
        emit(w, "", "", true);
        return;
    }
    pthread_mutex_lock(&w->lock);
    struct watch_node *n = watch_tree_find(&w->tree, e->wd);
    AUTO_FREE char *dir = n ? watch_tree_path(n) : NULL;
    bool known = true;
    if (n && e->mask & IN_IGNORED)
        watch_tree_drop(&w->tree, e->wd);
    else if (dir && e->mask & IN_MOVE_SELF && *dir)
        known = settle_move_locked(w, n, dir);
    pthread_mutex_unlock(&w->lock);

    if (!n || e->mask & IN_IGNORED)
        return;
    if (!dir || !known) { /* no memory for the path, or the directory was lost */
        emit(w, "", "", true);
        return;
    }
    if (e->mask & IN_MOVE_SELF) /* its parents were told */
        return;
    if (e->mask & IN_ISDIR && e->mask & (IN_MOVED_FROM | IN_MOVED_TO))
        note_move(w, e, dir);
    if (!is_repeated(r, e))
        emit(w, dir, name_of(e), false);
}

static void *run(void *arg)
{
    struct watch *w = arg;
    _Alignas(struct inotify_event) char buf[64 * KIB];
    struct pollfd fds[] = {{.fd = w->fd, .events = POLLIN}, {.fd = w->stop_fd, .events = POLLIN}};
    for (;;) {
        if (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno != EINTR)
            break;
        if (fds[1].revents)
            return NULL;
        ssize_t n = read(w->fd, buf, sizeof buf);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (n <= 0)
            break;
        struct repeats repeats = {0};
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const void *)(buf + at);
            at += (ssize_t)(sizeof *e + e->len);
            handle(w, e, &repeats);
        }
    }
    emit(w, "", "", true); /* never again anything: at least what was cached is looked at anew */
    return NULL;
}

/* --- life --- */

static void destroy(struct watch *w)
{
    for (size_t i = 0; i < RECENT_MOVES; i++)
        free_move(&w->moves[i]);
    watch_tree_free(&w->tree);
    pthread_mutex_destroy(&w->lock);
    cleanup_closep(&w->fd);
    cleanup_closep(&w->stop_fd);
    free(w);
}

static int start_thread(struct watch *w)
{
    sigset_t all, old;
    sigfillset(&all); /* signals are for the threads that expect them */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int err = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -err;
}

int watch_new(struct watch **ret, origin_event_fn *fn, void *arg)
{
    struct watch *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->fn = fn;
    w->arg = arg;
    pthread_mutex_init(&w->lock, NULL);
    w->fd = sys_result(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    w->stop_fd = sys_result(eventfd(0, EFD_CLOEXEC));
    int err = w->fd < 0 ? w->fd : w->stop_fd < 0 ? w->stop_fd : watch_tree_init(&w->tree);
    if (!err)
        err = start_thread(w);
    if (err) {
        destroy(w);
        return err;
    }
    *ret = w;
    return 0;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    eventfd_write(w->stop_fd, 1);
    pthread_join(w->thread, NULL);
    destroy(w);
}

int watch_add(struct watch *w, int dir_fd, const char *path)
{
    /* Through /proc, so that it is that directory and no other which the path leads to by now;
     * IN_DONT_FOLLOW would stop at the link in /proc. */
    char proc[40];
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", dir_fd);
    pthread_mutex_lock(&w->lock); /* the thread must not see an event before the path */
    int wd = sys_result(inotify_add_watch(w->fd, proc, WATCHED | IN_ONLYDIR));
    int err = wd < 0 ? wd : watch_tree_set(&w->tree, path, wd);
    if (wd >= 0 && err) {
        watch_tree_drop(&w->tree, wd);
        inotify_rm_watch(w->fd, wd);
    }
    pthread_mutex_unlock(&w->lock);
    return err;
}

void watch_renamed(struct watch *w, const char *from, const char *to)
{
    pthread_mutex_lock(&w->lock);
    watch_tree_move(&w->tree, from, to);
    pthread_mutex_unlock(&w->lock);
}
