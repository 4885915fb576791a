// SPDX-License-Identifier: Apache-2.0
/* What the files that implement store.h share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "meta/format.h"
#include "meta/kv.h"
#include "meta/store.h"

struct cairn_meta {
    struct kv *kv;
    uint64_t epoch;
    _Atomic uint64_t next_ino;
    _Atomic uint64_t next_content;
    /* Odd or changed: a name moved meanwhile; see cairn_meta_path. Written under the write lock. */
    _Atomic uint64_t moves;
    /* Written under the write lock, read by anyone. */
    _Atomic uint64_t next_cookie;
    _Atomic uint64_t inodes;
    _Atomic uint64_t logical_bytes;
    _Atomic uint64_t manifest_chunks;

    pthread_mutex_t drop_lock; /* protects what follows; taken inside the write lock */
    pthread_cond_t drop_due;   /* drop_pending or stop */
    bool drop_pending;         /* there may be X records */
    bool stop;
    bool dropping; /* the thread runs */
    pthread_t dropper;
};

/* The record; -ENOENT. */
int meta_get_record(struct cairn_meta *m, uint64_t ino, struct inode_record *ret);
void meta_put_record(struct kv_batch *b, const struct inode_record *rec);
/* A record that is one number; -ENOENT. */
int meta_get_number(struct cairn_meta *m, const struct kv_key *key, uint64_t *ret);

/* Whether any key begins with the first `prefix_len` bytes: 1, 0, -errno. */
int meta_any_key(struct cairn_meta *m, const struct kv_key *key, size_t prefix_len);

/* [locked] Adds to the counters. */
void meta_count_chunks(struct cairn_meta *m, int64_t chunks, int64_t bytes);

/* The dropper: forgets large manifests, step by step, also those that a crash left over. */
int meta_dropper_start(struct cairn_meta *m);
void meta_dropper_stop(struct cairn_meta *m);
