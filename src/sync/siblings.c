// SPDX-License-Identifier: Apache-2.0
#include "sync/siblings.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "sync/path.h"
#include "sync/window.h"

#define RUNS        8 /* directories that are read at the same time */
#define STREAK      3 /* files in order until the next ones are fetched */
#define STREAK_MOST 16
#define DEPTH_FIRST 8 /* files ahead of the reader */
#define DEPTH_MOST  512
#define BATCH_FILES 32
#define BATCH_BYTES (1 * MIB)
#define SCAN_MOST   256 /* names looked at for one batch */

/* One directory whose files somebody reads. */
struct run {
    uint64_t dir;  /* 0: unused */
    uint64_t used; /* for the choice of whom to forget */
    /* the file opened last */
    char name[CAIRN_NAME_MAX + 1];
    uint64_t cookie;
    unsigned by_name, by_cookie; /* files in a row in that order; a step back halves it */
    /* what is fetched */
    bool begun, ended;
    bool name_order;
    char next_name[CAIRN_NAME_MAX + 1]; /* looked at up to here, in the one order or the other */
    uint64_t next_cookie;
    unsigned ahead, depth; /* files */
};

struct cairn_siblings {
    pthread_mutex_t lock;
    struct run run[RUNS]; /* under lock */
    uint64_t clock;       /* the same */
};

struct batch {
    struct cairn_task task;
    struct cairn_sync *sync;
    size_t count, bytes;
    struct origin_whole file[BATCH_FILES];
    struct cairn_window *window[BATCH_FILES]; /* NULL once it has ended */
};

int cairn_siblings_new(struct cairn_siblings **ret)
{
    struct cairn_siblings *sb = calloc(1, sizeof *sb);
    if (!sb)
        return -ENOMEM;
    pthread_mutex_init(&sb->lock, NULL);
    *ret = sb;
    return 0;
}

void cairn_siblings_free(struct cairn_siblings *sb)
{
    if (!sb)
        return;
    pthread_mutex_destroy(&sb->lock);
    free(sb);
}

/* --- fetching a batch --- */

static void end_window(struct batch *b, size_t i, ssize_t got)
{
    struct cairn_window *w = STEAL(b->window[i]);
    if (w)
        cairn_window_arrived(w, got, &b->file[i].ret_after);
}

static void file_done(struct origin_whole *f)
{
    struct batch *b = f->arg;
    end_window(b, (size_t)(f - b->file), f->ret_got);
}

static void run_batch(struct cairn_task *t)
{
    struct batch *b = container_of(t, struct batch, task);
    struct cairn_sync *s = b->sync;
    struct origin_call c = cairn_sync_call(s);
    char *path[BATCH_FILES] = {NULL};
    c.bulk = true;
    cairn_paths_begin(s);
    for (size_t i = 0; i < b->count; i++) {
        struct cairn_window *w = b->window[i];
        bool found = cairn_meta_path(s->meta, w->node->ino, &path[i]) == 0;
        b->file[i] = (struct origin_whole){.path = found ? path[i] : "",
                                           .buf = w->data,
                                           .len = w->len,
                                           .done = file_done,
                                           .arg = b,
                                           .finished = !found};
        if (!found)
            end_window(b, i, -ESTALE);
    }
    int err = cairn_sync_answered(s, origin_read_whole(s->origin, &c, b->file, b->count));
    cairn_paths_end(s);
    for (size_t i = 0; i < b->count; i++) {
        end_window(b, i, err ? err : -ESTALE);
        free(path[i]);
    }
    free(b);
}

/* --- what comes next --- */

struct gathering {
    struct run *run;
    struct cairn_sync *sync;
    struct batch *batch;
    unsigned scanned;
};

static int consider(void *arg, const struct cairn_dirent *e)
{
    struct gathering *g = arg;
    struct run *r = g->run;
    struct batch *b = g->batch;
    if (r->ahead >= r->depth || b->count == BATCH_FILES || b->bytes >= BATCH_BYTES ||
        g->scanned++ == SCAN_MOST)
        return 1;
    strcpy(r->next_name, e->name);
    r->next_cookie = e->cookie;
    if (!e->have_inode || !S_ISREG(e->inode->mode) || !e->inode->size ||
        e->inode->size > CAIRN_ONE_REQUEST)
        return 0;
    r->ahead++;
    struct cairn_node *n = cairn_node_get(g->sync, e->ino);
    if (!n)
        return -ENOMEM;
    pthread_mutex_lock(&n->lock);
    struct cairn_window *w = cairn_window_whole(n);
    pthread_mutex_unlock(&n->lock);
    cairn_node_unref(n);
    if (w) {
        b->window[b->count++] = w;
        b->bytes += w->len;
    }
    return 0;
}

/* The next batch of the run, NULL if there is nothing to fetch. */
static struct batch *gather_locked(struct cairn_sync *s, struct run *r)
{
    struct batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->task.run = run_batch;
    b->sync = s;
    struct gathering g = {.run = r, .sync = s, .batch = b};
    int err = r->name_order
                  ? cairn_meta_readdir_by_name(s->meta, r->dir, r->next_name, consider, &g)
                  : cairn_meta_readdir(s->meta, r->dir, r->next_cookie, consider, &g);
    if (err == 0)
        r->ended = true;
    if (!b->count) {
        free(b);
        return NULL;
    }
    return b;
}

/* --- who reads what --- */

static struct run *run_of_locked(struct cairn_siblings *sb, uint64_t dir)
{
    struct run *oldest = &sb->run[0];
    for (size_t i = 0; i < RUNS; i++) {
        struct run *r = &sb->run[i];
        if (r->dir == dir) {
            r->used = ++sb->clock;
            return r;
        }
        if (r->used < oldest->used)
            oldest = r;
    }
    *oldest = (struct run){.dir = dir, .used = ++sb->clock};
    return oldest;
}

static unsigned streak(unsigned before, bool forward)
{
    return forward ? min_u64(before + 1, STREAK_MOST) : before / 2;
}

/* Notes the file. True: the reader goes on in an order that is known, and there may be more. */
static bool follow_locked(struct run *r, const char *name, uint64_t cookie)
{
    r->by_name = streak(r->by_name, strcmp(name, r->name) > 0);
    r->by_cookie = streak(r->by_cookie, cookie > r->cookie);
    strcpy(r->name, name);
    r->cookie = cookie;
    if (r->by_name < STREAK && r->by_cookie < STREAK) {
        r->begun = false;
        return false;
    }
    bool name_order = r->by_name >= r->by_cookie;
    bool passed = name_order ? strcmp(name, r->next_name) > 0 : cookie > r->next_cookie;
    if (!r->begun || r->name_order != name_order || passed) {
        r->begun = true;
        r->ended = false;
        r->name_order = name_order;
        strcpy(r->next_name, name);
        r->next_cookie = cookie;
        r->ahead = 0;
        r->depth = DEPTH_FIRST;
    } else if (r->ahead) {
        r->ahead--;
    }
    return !r->ended && r->ahead <= r->depth / 2;
}

void cairn_siblings_opened(struct cairn_node *n)
{
    struct cairn_sync *s = n->sync;
    struct cairn_siblings *sb = s->siblings;
    struct cairn_inode in;
    uint64_t cookie;
    if ((s->info->caps & ORIGIN_LOCAL) || atomic_load(&s->stalled) ||
        cairn_meta_inode(s->meta, n->ino, &in) || !in.parent || in.size > CAIRN_ONE_REQUEST ||
        cairn_meta_place(s->meta, in.parent, in.name, &cookie))
        return;
    struct batch *b = NULL;
    pthread_mutex_lock(&sb->lock);
    struct run *r = run_of_locked(sb, in.parent);
    if (follow_locked(r, in.name, cookie)) {
        b = gather_locked(s, r);
        r->depth = (unsigned)min_u64(r->depth * 2, DEPTH_MOST);
    }
    pthread_mutex_unlock(&sb->lock);
    if (b)
        cairn_workers_submit(s->fetchers, &b->task);
}
