// SPDX-License-Identifier: Apache-2.0
/*
 * What kv.c, kv_commit.c and kv_iter.c share.
 *
 * Lock order: the write lock (`held`), then `gate`, then `layers`; snapshots of LMDB are taken out
 * before `layers` and need nothing while they are out.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "meta/kv.h"
#include "meta/overlay.h"

#define KV_FLUSH_BYTES (8 << 20)  /* of the active overlay: commit now */
#define KV_HIGH_BYTES  (64 << 20) /* pending: writers wait, or fail when commits do */

struct kv {
    struct kv_env *env;
    struct kv_config cfg;
    uint64_t hash_seed; /* random: names come from others */

    /* Protects the two pointers and what is in `active`; written only by the holder of the write
     * lock, or by the committer between two holders. What is in `flushing` does not change. */
    pthread_rwlock_t layers;
    struct overlay *active;
    struct overlay *flushing; /* NULL: none */
    _Atomic uint64_t active_bytes;
    _Atomic uint64_t flushing_bytes;
    _Atomic int error; /* of the last commit */

    pthread_mutex_t gate;     /* protects what follows */
    pthread_cond_t writers;   /* the write lock may be free for one */
    pthread_cond_t swapper;   /* !held, for the committer */
    pthread_cond_t committer; /* something is due, or stop */
    pthread_cond_t syncers;   /* a commit ended */
    bool held;                /* the write lock */
    bool swap_wanted;         /* the committer goes before the next writer */
    bool stop;
    unsigned waiting;     /* on `writers` */
    uint64_t active_gen;  /* of `active`; `flushing` has the one before */
    uint64_t durable_gen; /* all up to this are durable */
    uint64_t sync_gen;    /* somebody waits for this one */
    uint64_t failures;
    int64_t dirty_ns; /* when `active` got its first entry; 0: empty */
    int64_t retry_ns; /* when a failed commit is repeated */

    pthread_t thread;
    bool started;
    size_t seal_len; /* of `flushing`; the committer's own */
    uint8_t seal[KV_SEAL_MAX];
};

uint64_t kv_hash(const struct kv *kv, const struct kv_key *key);
