// SPDX-License-Identifier: Apache-2.0
/*
 * An ordered key-value store: LMDB under the writes of the last second.
 *
 * Writes enter the active overlay in memory. A committer thread swaps it against an empty one
 * between two holders of the write lock, so a unit of work is never split, and writes the flushing
 * one to LMDB in one synced transaction. Readers look in active, flushing, LMDB. Invariant: the
 * flushing overlay goes away only after LMDB shows what it held, and a reader begins its snapshot
 * of LMDB no earlier than it looked into the overlays; so no key is missed while they change.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "meta/kv_env.h"

#define KV_KEY_MAX  320 /* bytes; LMDB takes 511 */
#define KV_SEAL_MAX 256 /* bytes */

struct kv;
struct overlay_entry;

struct kv_key {
    uint16_t len;
    uint8_t bytes[KV_KEY_MAX];
};

struct kv_config {
    const char *dir;
    uint64_t map_bytes; /* most bytes of the file */
    uint64_t map_first; /* mapped at first; 0 = all of it */
    int64_t commit_ns;  /* longest time until a change is durable */
    /* Fills in the value of `seal_key` that goes with all writes up to now; called between two
     * holders of the write lock; returns its length (<= KV_SEAL_MAX). Must not call kv_*. */
    struct kv_key seal_key;
    size_t (*seal)(void *arg, uint8_t *ret_val);
    void *arg;
};

/* Opens or creates; readable at once, writable after kv_start. Errors as of kv_env_open. */
int kv_open(struct kv **ret, const struct kv_config *cfg);
/* Writes the seal and starts the committer. No space left is no error. */
int kv_start(struct kv *kv);
/* Commits (one attempt) and closes; no other thread is in a call. NULL is allowed. */
void kv_close(struct kv *kv);

/* The write lock. Waits for the committer when too much is pending, unless `urgent`. */
void kv_lock(struct kv *kv, bool urgent);
void kv_unlock(struct kv *kv);
/* Waits until everything unlocked before is durable. Not with the write lock held. */
int kv_sync(struct kv *kv);

/* Gets the value in place: `val` lives until the function returns, which must be short, must not
 * block and must not call kv_*. Its result becomes that of the look-up. */
typedef int kv_view_fn(void *arg, const uint8_t *val, size_t len);
/* Any thread. -ENOENT, -EIO (damaged), or what `fn` returned. */
int kv_view(struct kv *kv, const struct kv_key *key, kv_view_fn *fn, void *arg);
/* The same for several keys at one instant, in any order; `fn` is not called for absent ones. The
 * first error ends it. */
#define KV_VIEW_MANY_MAX 8
typedef int kv_view_many_fn(void *arg, unsigned index, const uint8_t *val, size_t len);
int kv_view_many(struct kv *kv, const struct kv_key *keys, unsigned count, kv_view_many_fn *fn,
                 void *arg);

/* Changes that readers see all at once. Begin with kv_batch_begin; always end with kv_apply or
 * kv_batch_discard. Running out of memory is remembered and told by kv_apply. */
struct kv_batch {
    struct kv *kv;
    struct overlay_entry *first;
    struct overlay_entry **last;
    int error;
    bool removing; /* frees space: allowed somewhat longer when the disk is full */
};
void kv_batch_begin(struct kv_batch *b, struct kv *kv);
void kv_batch_put(struct kv_batch *b, const struct kv_key *key, const void *val, size_t len);
void kv_batch_del(struct kv_batch *b, const struct kv_key *key);
void kv_batch_discard(struct kv_batch *b);
/* [write lock] Later changes of a key win over earlier ones. -ENOMEM, or the last commit's error
 * when too much is pending because commits fail: then nothing is changed. */
int kv_apply(struct kv_batch *b);

uint64_t kv_pending_bytes(struct kv *kv); /* not yet durable */
uint64_t kv_file_bytes(struct kv *kv);
