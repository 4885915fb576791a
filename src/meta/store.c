// SPDX-License-Identifier: Apache-2.0
#include "meta/store.h"

#include "base/log.h"
#include "base/util.h"
#include "meta/kv_iter.h"
#include "meta/store_priv.h"

#define MAP_DEFAULT    (64 * GIB)
#define COMMIT_DEFAULT (1 * NSEC_PER_SEC)
/* How far ahead of the numbers given out the durable marks are: a crash skips as many, and only
 * who takes more between two commits, without storing anything, could see one again. */
#define MARK_AHEAD (1ULL << 20)

/* Runs between two holders of the write lock. Numbers in any record of this commit were given out
 * before, so the marks are beyond them. */
static size_t seal_globals(void *arg, uint8_t *ret_val)
{
    struct cairn_meta *m = arg;
    struct globals g = {
        .epoch = m->epoch,
        .next_ino = atomic_load(&m->next_ino) + MARK_AHEAD,
        .next_content = atomic_load(&m->next_content) + MARK_AHEAD,
        .next_cookie = atomic_load(&m->next_cookie),
        .inodes = atomic_load(&m->inodes),
        .logical_bytes = atomic_load(&m->logical_bytes),
        .manifest_chunks = atomic_load(&m->manifest_chunks),
    };
    return pack_globals(ret_val, &g);
}

static int view_globals(void *arg, const uint8_t *val, size_t len)
{
    return unpack_globals(val, len, arg);
}

int meta_any_key(struct cairn_meta *m, const struct kv_key *key, size_t prefix_len)
{
    struct kv_iter it;
    struct kv_item item;
    kv_iter_begin(&it, m->kv, key, prefix_len, 1);
    int r = kv_iter_next(&it, &item);
    kv_iter_end(&it);
    return r;
}

static int load_globals(struct cairn_meta *m)
{
    struct kv_key key;
    struct globals g = {.next_ino = CAIRN_ROOT_INO + 1, .next_content = 1, .next_cookie = 3};
    key_globals(&key);
    int r = kv_view(m->kv, &key, view_globals, &g);
    if (r == -ENOENT) {
        /* New, then; or records without it: not ours, or damaged. */
        r = meta_any_key(m, &(struct kv_key){.len = 0}, 0);
        if (r > 0)
            r = -EBADMSG;
    }
    if (r < 0)
        return r == -EIO ? -EBADMSG : r;
    m->epoch = g.epoch + 1;
    atomic_store(&m->next_ino, g.next_ino);
    atomic_store(&m->next_content, g.next_content);
    atomic_store(&m->next_cookie, g.next_cookie);
    atomic_store(&m->inodes, g.inodes);
    atomic_store(&m->logical_bytes, g.logical_bytes);
    atomic_store(&m->manifest_chunks, g.manifest_chunks);
    return 0;
}

int cairn_meta_open(struct cairn_meta **ret, const struct cairn_meta_config *cfg)
{
    struct cairn_meta *m = calloc(1, sizeof(*m));
    if (!m)
        return -ENOMEM;
    pthread_mutex_init(&m->drop_lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->drop_due, &attr);
    pthread_condattr_destroy(&attr);
    struct kv_config kv_cfg = {
        .dir = cfg->dir,
        .map_bytes = cfg->map_bytes ? cfg->map_bytes : MAP_DEFAULT,
        .commit_ns = cfg->commit_ns > 0 ? cfg->commit_ns : COMMIT_DEFAULT,
        .seal = seal_globals,
        .arg = m,
    };
    key_globals(&kv_cfg.seal_key);
    int r = kv_open(&m->kv, &kv_cfg);
    if (r == 0)
        r = load_globals(m);
    if (r == 0)
        r = kv_start(m->kv);
    if (r == 0)
        r = meta_dropper_start(m);
    if (r < 0) {
        cairn_meta_close(m);
        return r;
    }
    *ret = m;
    return 0;
}

void cairn_meta_close(struct cairn_meta *m)
{
    if (!m)
        return;
    meta_dropper_stop(m);
    kv_close(m->kv);
    pthread_cond_destroy(&m->drop_due);
    pthread_mutex_destroy(&m->drop_lock);
    free(m);
}

uint64_t cairn_meta_epoch(struct cairn_meta *m)
{
    return m->epoch;
}

void cairn_meta_lock(struct cairn_meta *m)
{
    kv_lock(m->kv, false);
}

void cairn_meta_unlock(struct cairn_meta *m)
{
    kv_unlock(m->kv);
}

int cairn_meta_sync(struct cairn_meta *m)
{
    return kv_sync(m->kv);
}

uint64_t cairn_meta_new_ino(struct cairn_meta *m)
{
    return atomic_fetch_add(&m->next_ino, 1);
}

uint64_t cairn_meta_new_content(struct cairn_meta *m)
{
    return atomic_fetch_add(&m->next_content, 1);
}

void meta_count_chunks(struct cairn_meta *m, int64_t chunks, int64_t bytes)
{
    atomic_fetch_add(&m->manifest_chunks, (uint64_t)chunks);
    atomic_fetch_add(&m->logical_bytes, (uint64_t)bytes);
}

void cairn_meta_stats(struct cairn_meta *m, struct cairn_meta_stats *ret)
{
    *ret = (struct cairn_meta_stats){
        .inodes = atomic_load(&m->inodes),
        .logical_bytes = atomic_load(&m->logical_bytes),
        .manifest_chunks = atomic_load(&m->manifest_chunks),
        .file_bytes = kv_file_bytes(m->kv),
        .pending_bytes = kv_pending_bytes(m->kv),
    };
}
