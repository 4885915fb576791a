// SPDX-License-Identifier: Apache-2.0
#include "meta/kv.h"

#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/util.h"
#include "meta/kv_priv.h"

uint64_t kv_hash(const struct kv *kv, const struct kv_key *key)
{
    return XXH3_64bits_withSeed(key->bytes, key->len, kv->hash_seed);
}

/* [layers, for reading] */
static const struct overlay_entry *find_pending(const struct kv *kv, const struct kv_key *key)
{
    if (!kv->active->count && !kv->flushing)
        return NULL;
    uint64_t hash = kv_hash(kv, key);
    const struct overlay_entry *e = overlay_find(kv->active, key->bytes, key->len, hash);
    if (!e && kv->flushing)
        e = overlay_find(kv->flushing, key->bytes, key->len, hash);
    return e;
}

static struct kv_slice key_slice(const struct kv_key *key)
{
    return (struct kv_slice){key->bytes, key->len};
}

int kv_view(struct kv *kv, const struct kv_key *key, kv_view_fn *fn, void *arg)
{
    pthread_rwlock_rdlock(&kv->layers);
    const struct overlay_entry *e = find_pending(kv, key);
    if (e) {
        int r = e->deleted ? -ENOENT : fn(arg, overlay_val(e), e->val_len);
        pthread_rwlock_unlock(&kv->layers);
        return r;
    }
    pthread_rwlock_unlock(&kv->layers);

    struct kv_snapshot *s;
    int r = kv_env_take(kv->env, &s);
    if (r < 0)
        return r;
    struct kv_slice val;
    r = kv_snapshot_begin(s);
    if (r == 0)
        r = kv_snapshot_get(s, key_slice(key), &val);
    if (r == 0)
        r = fn(arg, val.data, val.len);
    kv_env_give(kv->env, s);
    return r;
}

int kv_view_many(struct kv *kv, const struct kv_key *keys, unsigned count, kv_view_many_fn *fn,
                 void *arg)
{
    bool below[KV_VIEW_MANY_MAX] = {false};
    struct kv_snapshot *s;
    int r = kv_env_take(kv->env, &s);
    if (r < 0)
        return r;
    pthread_rwlock_rdlock(&kv->layers);
    r = kv_snapshot_begin(s);
    for (unsigned i = 0; i < count && r == 0; i++) {
        const struct overlay_entry *e = find_pending(kv, &keys[i]);
        below[i] = !e;
        if (e && !e->deleted)
            r = fn(arg, i, overlay_val(e), e->val_len);
    }
    pthread_rwlock_unlock(&kv->layers);
    for (unsigned i = 0; i < count && r == 0; i++) {
        struct kv_slice val;
        if (!below[i])
            continue;
        r = kv_snapshot_get(s, key_slice(&keys[i]), &val);
        if (r == 0)
            r = fn(arg, i, val.data, val.len);
        else if (r == -ENOENT)
            r = 0;
    }
    kv_env_give(kv->env, s);
    return r;
}

void kv_batch_begin(struct kv_batch *b, struct kv *kv)
{
    *b = (struct kv_batch){.kv = kv};
    b->last = &b->first;
}

static void batch_add(struct kv_batch *b, const struct kv_key *key, const void *val, size_t len)
{
    if (b->error)
        return;
    struct overlay_entry *e =
        overlay_entry_new(key->bytes, key->len, kv_hash(b->kv, key), val, len);
    if (!e) {
        b->error = -ENOMEM;
        return;
    }
    *b->last = e;
    b->last = &e->chain;
}

void kv_batch_put(struct kv_batch *b, const struct kv_key *key, const void *val, size_t len)
{
    batch_add(b, key, val, len);
}

void kv_batch_del(struct kv_batch *b, const struct kv_key *key)
{
    batch_add(b, key, NULL, 0);
}

void kv_batch_discard(struct kv_batch *b)
{
    while (b->first) {
        struct overlay_entry *e = b->first;
        b->first = e->chain;
        overlay_entry_free(e);
    }
    b->last = &b->first;
}

int kv_apply(struct kv_batch *b)
{
    struct kv *kv = b->kv;
    uint64_t limit = b->removing ? KV_HIGH_BYTES + KV_HIGH_BYTES / 2 : KV_HIGH_BYTES;
    int error = b->error;
    if (!error && kv_pending_bytes(kv) > limit)
        error = atomic_load(&kv->error);
    if (error) {
        kv_batch_discard(b);
        return error;
    }
    pthread_rwlock_wrlock(&kv->layers);
    while (b->first) {
        struct overlay_entry *e = b->first;
        b->first = e->chain;
        overlay_put(kv->active, e);
    }
    atomic_store(&kv->active_bytes, kv->active->bytes);
    pthread_rwlock_unlock(&kv->layers);
    b->last = &b->first;
    return 0;
}

uint64_t kv_pending_bytes(struct kv *kv)
{
    return atomic_load(&kv->active_bytes) + atomic_load(&kv->flushing_bytes);
}

uint64_t kv_file_bytes(struct kv *kv)
{
    return kv_env_file_bytes(kv->env);
}

int kv_open(struct kv **ret, const struct kv_config *cfg)
{
    struct kv *kv = calloc(1, sizeof(*kv));
    if (!kv)
        return -ENOMEM;
    kv->cfg = *cfg;
    kv->cfg.dir = NULL;
    kv->active_gen = 1;
    /* A writer must not starve behind a stream of readers; no reader locks twice. */
    pthread_rwlockattr_t rwattr;
    pthread_rwlockattr_init(&rwattr);
    pthread_rwlockattr_setkind_np(&rwattr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&kv->layers, &rwattr);
    pthread_rwlockattr_destroy(&rwattr);
    pthread_mutex_init(&kv->gate, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&kv->writers, &attr);
    pthread_cond_init(&kv->swapper, &attr);
    pthread_cond_init(&kv->committer, &attr);
    pthread_cond_init(&kv->syncers, &attr);
    pthread_condattr_destroy(&attr);

    int r = 0;
    if (getrandom(&kv->hash_seed, sizeof(kv->hash_seed), 0) < 0)
        r = -errno;
    kv->active = overlay_new();
    if (r == 0 && !kv->active)
        r = -ENOMEM;
    if (r == 0)
        r = kv_env_open(&kv->env, cfg->dir, cfg->map_first ? cfg->map_first : cfg->map_bytes,
                        cfg->map_bytes);
    if (r < 0) {
        kv_close(kv);
        return r;
    }
    *ret = kv;
    return 0;
}
