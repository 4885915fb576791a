// SPDX-License-Identifier: Apache-2.0
/*
 * The write lock and the group commit of the key-value store.
 *
 * A commit that fails (disk full) keeps its overlay and is repeated; readers notice nothing. Too
 * much pending makes writers wait while commits succeed, and fail while they do not: nobody hangs.
 */
#include "meta/kv.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "meta/kv_priv.h"

#define RETRY_NS (1 * NSEC_PER_SEC)

/* [gate] */
static bool must_wait(const struct kv *kv, bool urgent)
{
    uint64_t pending = atomic_load(&kv->active_bytes) + atomic_load(&kv->flushing_bytes);
    return kv->held || kv->swap_wanted ||
           (!urgent && pending > KV_HIGH_BYTES && !atomic_load(&kv->error));
}

void kv_lock(struct kv *kv, bool urgent)
{
    pthread_mutex_lock(&kv->gate);
    kv->waiting++;
    /* Until: free, the committer has had its turn, and there is room. */
    while (must_wait(kv, urgent))
        pthread_cond_wait(&kv->writers, &kv->gate);
    kv->waiting--;
    kv->held = true;
    pthread_mutex_unlock(&kv->gate);
}

void kv_unlock(struct kv *kv)
{
    pthread_mutex_lock(&kv->gate);
    uint64_t bytes = atomic_load(&kv->active_bytes);
    if (bytes && !kv->dirty_ns) {
        kv->dirty_ns = cairn_now_ns();
        pthread_cond_signal(&kv->committer);
    } else if (bytes > KV_FLUSH_BYTES && !atomic_load(&kv->flushing_bytes)) {
        pthread_cond_signal(&kv->committer);
    }
    kv->held = false;
    if (kv->swap_wanted)
        pthread_cond_signal(&kv->swapper);
    else if (kv->waiting)
        pthread_cond_broadcast(&kv->writers);
    pthread_mutex_unlock(&kv->gate);
}

int kv_sync(struct kv *kv)
{
    int r = 0;
    pthread_mutex_lock(&kv->gate);
    uint64_t target = 0;
    if (atomic_load(&kv->active_bytes))
        target = kv->active_gen;
    else if (atomic_load(&kv->flushing_bytes))
        target = kv->active_gen - 1;
    if (target > kv->durable_gen) {
        uint64_t failures = kv->failures;
        kv->sync_gen = max_u64(kv->sync_gen, target);
        pthread_cond_signal(&kv->committer);
        /* Until: durable, or a commit on the way there failed. */
        while (kv->durable_gen < target && kv->failures == failures)
            pthread_cond_wait(&kv->syncers, &kv->gate);
        if (kv->durable_gen < target)
            r = atomic_load(&kv->error);
    }
    pthread_mutex_unlock(&kv->gate);
    return r;
}

/* [gate] When the committer has to act; CAIRN_NEVER: nothing to do. */
static int64_t next_due(const struct kv *kv)
{
    bool wanted = kv->stop || kv->sync_gen > kv->durable_gen;
    if (!kv->flushing && !kv->dirty_ns)
        return CAIRN_NEVER;
    if (wanted)
        return 0;
    if (atomic_load(&kv->error))
        return kv->retry_ns;
    bool full = atomic_load(&kv->active_bytes) > KV_FLUSH_BYTES;
    return full ? 0 : kv->dirty_ns + kv->cfg.commit_ns;
}

/* [gate] Makes the active overlay the flushing one, between two holders of the write lock. What a
 * failed commit left is joined with it: what came later may be what makes it fit. */
static int take_active(struct kv *kv)
{
    struct overlay *fresh = kv->flushing ? NULL : overlay_new();
    if (!fresh && !kv->flushing)
        return -ENOMEM;
    kv->swap_wanted = true;
    while (kv->held)
        pthread_cond_wait(&kv->swapper, &kv->gate);
    kv->seal_len = kv->cfg.seal(kv->cfg.arg, kv->seal);
    pthread_rwlock_wrlock(&kv->layers);
    if (kv->flushing) {
        overlay_absorb(kv->flushing, kv->active);
    } else {
        kv->flushing = kv->active;
        kv->active = fresh;
    }
    atomic_store(&kv->flushing_bytes, kv->flushing->bytes);
    atomic_store(&kv->active_bytes, 0);
    pthread_rwlock_unlock(&kv->layers);
    kv->active_gen++;
    kv->dirty_ns = 0;
    kv->swap_wanted = false;
    if (kv->waiting)
        pthread_cond_broadcast(&kv->writers);
    return 0;
}

static struct kv_slice seal_key(const struct kv *kv)
{
    return (struct kv_slice){kv->cfg.seal_key.bytes, kv->cfg.seal_key.len};
}

/* [gate, given up meanwhile] */
static int flush(struct kv *kv)
{
    pthread_mutex_unlock(&kv->gate);
    int r = kv_env_write(kv->env, kv->flushing, seal_key(kv),
                         (struct kv_slice){kv->seal, kv->seal_len});
    struct overlay *done = NULL;
    if (r == 0) {
        pthread_rwlock_wrlock(&kv->layers);
        done = kv->flushing;
        kv->flushing = NULL;
        atomic_store(&kv->flushing_bytes, 0);
        pthread_rwlock_unlock(&kv->layers);
    }
    overlay_free(done);
    pthread_mutex_lock(&kv->gate);
    return r;
}

/* [gate] Tells those who wait how an attempt ended. */
static void finish(struct kv *kv, int r)
{
    int before = atomic_exchange(&kv->error, r);
    if (r == 0) {
        kv->durable_gen = kv->active_gen - 1;
        if (before)
            log_info("metadata store: commits succeed again");
    } else {
        kv->failures++;
        kv->sync_gen = kv->durable_gen;
        kv->retry_ns = cairn_now_ns() + RETRY_NS;
        if (before != r)
            log_error("metadata store: commit failed, kept in memory and repeated: %s",
                      strerror(-r));
    }
    pthread_cond_broadcast(&kv->syncers);
    if (kv->waiting)
        pthread_cond_broadcast(&kv->writers);
}

static void *run_committer(void *arg)
{
    struct kv *kv = arg;
    pthread_mutex_lock(&kv->gate);
    for (;;) {
        int64_t due = next_due(kv);
        if (due == CAIRN_NEVER) {
            if (kv->stop)
                break;
            pthread_cond_wait(&kv->committer, &kv->gate);
            continue;
        }
        if (due > cairn_now_ns()) {
            struct timespec t = ns_to_timespec(due);
            pthread_cond_timedwait(&kv->committer, &kv->gate, &t);
            continue;
        }
        int r = kv->dirty_ns ? take_active(kv) : 0;
        if (r == 0)
            r = flush(kv);
        finish(kv, r);
        if (r < 0 && kv->stop)
            break;
    }
    pthread_mutex_unlock(&kv->gate);
    return NULL;
}

int kv_start(struct kv *kv)
{
    uint8_t seal[KV_SEAL_MAX];
    size_t len = kv->cfg.seal(kv->cfg.arg, seal);
    int r = kv_env_write(kv->env, NULL, seal_key(kv), (struct kv_slice){seal, len});
    if (r < 0 && r != -ENOSPC && r != -EDQUOT)
        return r;
    r = -pthread_create(&kv->thread, NULL, run_committer, kv);
    kv->started = r == 0;
    return r;
}

void kv_close(struct kv *kv)
{
    if (!kv)
        return;
    if (kv->started) {
        pthread_mutex_lock(&kv->gate);
        kv->stop = true;
        pthread_cond_signal(&kv->committer);
        pthread_mutex_unlock(&kv->gate);
        pthread_join(kv->thread, NULL);
    }
    kv_env_close(kv->env);
    overlay_free(kv->active);
    overlay_free(kv->flushing);
    pthread_cond_destroy(&kv->writers);
    pthread_cond_destroy(&kv->swapper);
    pthread_cond_destroy(&kv->committer);
    pthread_cond_destroy(&kv->syncers);
    pthread_mutex_destroy(&kv->gate);
    pthread_rwlock_destroy(&kv->layers);
    free(kv);
}
