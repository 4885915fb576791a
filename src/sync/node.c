// SPDX-License-Identifier: Apache-2.0
#include "sync/node.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/util.h"
#include "sync/stage.h"

#define BUCKETS 4096 /* power of two */

struct cairn_nodes {
    pthread_mutex_t lock;
    struct cairn_node *bucket[BUCKETS]; /* under lock */
};

static struct cairn_node **bucket_of(struct cairn_nodes *t, uint64_t ino)
{
    return &t->bucket[(ino * 0x9E3779B97F4A7C15ULL) >> 52];
}

int cairn_nodes_new(struct cairn_nodes **ret)
{
    struct cairn_nodes *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    pthread_mutex_init(&t->lock, NULL);
    *ret = t;
    return 0;
}

void cairn_nodes_free(struct cairn_nodes *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static struct cairn_node *find_locked(struct cairn_nodes *t, uint64_t ino)
{
    for (struct cairn_node *n = *bucket_of(t, ino); n; n = n->next)
        if (n->ino == ino)
            return n;
    return NULL;
}

struct cairn_node *cairn_node_find(struct cairn_sync *s, uint64_t ino)
{
    pthread_mutex_lock(&s->nodes->lock);
    struct cairn_node *n = find_locked(s->nodes, ino);
    if (n)
        n->refs++;
    pthread_mutex_unlock(&s->nodes->lock);
    return n;
}

struct cairn_node *cairn_node_get(struct cairn_sync *s, uint64_t ino)
{
    struct cairn_node *n = cairn_node_find(s, ino);
    if (n)
        return n;
    struct cairn_node *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return NULL;
    fresh->sync = s;
    fresh->ino = ino;
    fresh->refs = 1;
    fresh->generation = 1;
    pthread_mutex_init(&fresh->lock, NULL);
    pthread_cond_init(&fresh->cond, NULL);
    pthread_mutex_lock(&s->nodes->lock);
    n = find_locked(s->nodes, ino);
    if (n) {
        n->refs++;
    } else {
        struct cairn_node **b = bucket_of(s->nodes, ino);
        fresh->next = *b;
        *b = fresh;
        n = STEAL(fresh);
    }
    pthread_mutex_unlock(&s->nodes->lock);
    if (fresh) {
        pthread_mutex_destroy(&fresh->lock);
        pthread_cond_destroy(&fresh->cond);
        free(fresh);
    }
    return n;
}

struct cairn_node *cairn_node_ref(struct cairn_node *n)
{
    pthread_mutex_lock(&n->sync->nodes->lock);
    n->refs++;
    pthread_mutex_unlock(&n->sync->nodes->lock);
    return n;
}

void cairn_node_unref(struct cairn_node *n)
{
    if (!n)
        return;
    struct cairn_nodes *t = n->sync->nodes;
    pthread_mutex_lock(&t->lock);
    if (--n->refs) {
        pthread_mutex_unlock(&t->lock);
        return;
    }
    struct cairn_node **p = bucket_of(t, n->ino);
    while (*p != n)
        p = &(*p)->next;
    *p = n->next;
    pthread_mutex_unlock(&t->lock);

    cairn_source_unref(n->source);
    cairn_source_unref(n->sink);
    cairn_stage_free(n->stage);
    free(n->carry.data);
    pthread_mutex_destroy(&n->lock);
    pthread_cond_destroy(&n->cond);
    free(n);
}

int cairn_node_load_locked(struct cairn_node *n)
{
    if (n->loaded)
        return 0;
    struct cairn_inode in;
    int err = cairn_meta_inode(n->sync->meta, n->ino, &in);
    if (err)
        return err == -ENOENT ? -ESTALE : err;
    n->content = in.content;
    n->version = in.version;
    n->size = in.size;
    n->unlinked = in.parent == 0 && in.ino != CAIRN_ROOT_INO;
    n->loaded = true;
    return 0;
}

void cairn_node_switch_locked(struct cairn_node *n, uint64_t content,
                              const struct cairn_version *version)
{
    n->loaded = true;
    n->content = content;
    n->version = *version;
    n->size = version->size;
    n->generation++;
    n->carry.len = 0;
    cairn_source_unref(STEAL(n->source));
}

struct cairn_source *cairn_source_new(struct cairn_sync *s, struct origin_file *file)
{
    struct cairn_source *src = calloc(1, sizeof *src);
    if (!src) {
        origin_close_file(file);
        return NULL;
    }
    atomic_init(&src->refs, 1);
    src->sync = s;
    src->file = file;
    return src;
}

struct cairn_source *cairn_source_ref(struct cairn_source *src)
{
    atomic_fetch_add(&src->refs, 1);
    return src;
}

bool cairn_node_wants_pin_locked(struct cairn_node *n)
{
    return cairn_node_load_locked(n) == 0 && !n->source && n->size &&
           ((n->sync->info->caps & ORIGIN_LOCAL) || n->size > CAIRN_ONE_REQUEST);
}

int cairn_node_pin(struct cairn_node *n, const struct origin_call *c)
{
    struct cairn_sync *s = n->sync;
    AUTO_FREE char *path = NULL;
    struct origin_file *f;
    struct origin_stat st;
    pthread_mutex_lock(&n->lock);
    int err = cairn_node_load_locked(n);
    bool wanted = !err && !n->source && n->size;
    if (wanted && n->unlinked) {
        wanted = false;
        err = n->stage ? 0 : -ESTALE;
    }
    pthread_mutex_unlock(&n->lock);
    if (err || !wanted)
        return err;
    err = cairn_meta_path(s->meta, n->ino, &path);
    if (!err)
        err = origin_open(s->origin, c, path, O_RDONLY, 0, &f, &st);
    if (err)
        return err;
    struct cairn_source *src = cairn_source_new(s, f);
    if (!src)
        return -ENOMEM;
    struct cairn_version version = cairn_version_of(&st);
    pthread_mutex_lock(&n->lock);
    if (!cairn_version_equal(&version, &n->version))
        err = n->uploading || n->stage ? 0 : -ESTALE;
    else if (!n->source)
        n->source = STEAL(src);
    pthread_mutex_unlock(&n->lock);
    cairn_source_unref(src);
    return err;
}

static void close_source(struct cairn_task *t)
{
    struct cairn_source *src = container_of(t, struct cairn_source, closing);
    origin_close_file(src->file);
    free(src);
}

void cairn_source_unref(struct cairn_source *src)
{
    if (!src || atomic_fetch_sub(&src->refs, 1) != 1)
        return;
    src->closing.run = close_source;
    if (src->sync->info->caps & ORIGIN_LOCAL)
        close_source(&src->closing);
    else
        cairn_workers_submit(src->sync->background, &src->closing);
}

void cairn_nodes_each(struct cairn_sync *s, void (*fn)(void *arg, struct cairn_node *n), void *arg)
{
    for (unsigned i = 0; i < BUCKETS; i++) {
        pthread_mutex_lock(&s->nodes->lock);
        struct cairn_node *n = s->nodes->bucket[i];
        if (n)
            n->refs++;
        while (n) {
            pthread_mutex_unlock(&s->nodes->lock);
            fn(arg, n);
            pthread_mutex_lock(&s->nodes->lock);
            struct cairn_node *next = n->next;
            if (next)
                next->refs++;
            pthread_mutex_unlock(&s->nodes->lock);
            cairn_node_unref(n);
            pthread_mutex_lock(&s->nodes->lock);
            n = next;
        }
        pthread_mutex_unlock(&s->nodes->lock);
    }
}

int cairn_node_attr(struct cairn_sync *s, uint64_t ino, struct cairn_inode *ret)
{
    struct cairn_node *n = cairn_node_find(s, ino);
    if (!n)
        return cairn_meta_inode(s->meta, ino, ret);
    /* Both under the lock: an upload moves the attributes from the stage to the store. */
    pthread_mutex_lock(&n->lock);
    int err = cairn_meta_inode(s->meta, ino, ret);
    if (!err && n->stage)
        cairn_stage_attr(n->stage, ret);
    pthread_mutex_unlock(&n->lock);
    cairn_node_unref(n);
    return err;
}
