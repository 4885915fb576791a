// SPDX-License-Identifier: Apache-2.0
/*
 * The engine of one mount: everything between the kernel's side (src/fs) and the origin. It holds
 * the origin, the tiers and the metadata store together and owns the threads that may block.
 *
 * Functions here and in the sibling headers that take a `struct origin_call` may block on the
 * origin and are called from worker threads only; the others never wait for the origin.
 *
 * Order of locks: rename_lock > a handle's readahead > node->lock > the store's write lock
 * (cairn_meta_lock).
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "cache/cache.h"
#include "cdc/fastcdc.h"
#include "meta/store.h"
#include "origins/origin.h"
#include "sync/buffers.h"
#include "sync/workers.h"

struct cairn_node;
struct cairn_nodes;
struct cairn_fresh;
struct cairn_siblings;

/* Names of this form are ours, at the origin, while a file is being replaced; never shown. */
#define CAIRN_TEMP_PREFIX ".cairnfs-tmp-"

/* What the kernel's side wants to be told. Called from any thread; must not block or call back. */
struct cairn_listener {
    void *arg;
    /* Attributes changed; with `data` the content as well, which is said with the store's lock
     * held, before the new version can be opened: not to be passed on before that is free. */
    void (*inode_changed)(void *arg, uint64_t ino, bool data);
    /* `name` in `parent` means something else now, or nothing. */
    void (*entry_changed)(void *arg, uint64_t parent, const char *name);
};

/* Staging files that wait for their next use. */
struct cairn_spares {
    pthread_mutex_t lock;
    int fd[16];     /* under lock */
    unsigned count; /* the same */
};

struct cairn_sync_config {
    struct origin *origin;          /* taken over, also on failure */
    const char *dir;                /* this origin's cache directory; its lock is held */
    struct cairn_cdc_params cdc;
    uint64_t cache_bytes;
    uint64_t memory_bytes;
    int zstd_level;
    int64_t fresh_ns;               /* 0 = ask each time, CAIRN_NEVER = the origin never changes */
    bool watch;                     /* use the origin's own events where it has them */
    int64_t timeout_ns;
    bool read_only;
};

struct cairn_sync {
    struct origin *origin;
    const struct origin_info *info;
    struct cairn_cache *cache;
    struct cairn_meta *meta;
    struct cairn_metrics *metrics;
    struct cairn_cdc cdc;
    struct cairn_nodes *nodes;
    struct cairn_fresh *fresh;
    struct cairn_siblings *siblings;
    struct cairn_buffers buffers;
    struct cairn_spares spares;
    struct cairn_workers *workers;  /* operations that wait for the origin */
    struct cairn_workers *fetchers; /* windows; never wait for another task */
    struct cairn_workers *background; /* chunking of what was written, probes */
    struct cairn_listener listener;
    pthread_mutex_t linger_lock;
    struct cairn_node *lingering;   /* under linger_lock */
    atomic_uint lingering_count;
    pthread_rwlock_t rename_lock;   /* held to read while a path is used, to write by renames */
    atomic_uint_fast64_t epoch;     /* what was checked in an earlier one is stale */
    int64_t fresh_ns;
    int64_t timeout_ns;
    uint64_t dense_most;            /* the largest file that is read ahead for a random reader */
    bool read_only;
    bool watching;
    int staging_fd;                 /* directory of staging files */
    int uploads_fd;                 /* directory: one file per temporary name at the origin */
    atomic_uint_fast64_t sequence;  /* for unique names */
    atomic_bool stalled;            /* the origin does not answer: serve what is cached */
    atomic_bool probing;
    atomic_bool closing;            /* the last chance to send what is unsent */
    atomic_bool stopping;
};

int cairn_sync_open(struct cairn_sync **ret, const struct cairn_sync_config *cfg,
                    struct cairn_metrics *metrics, const struct cairn_listener *listener,
                    char **ret_why);
/* Sends what is unsent, waits for the threads, closes all. NULL is allowed. */
void cairn_sync_close(struct cairn_sync *s);

/* A call that has the mount's whole timeout from now on. */
static inline struct origin_call cairn_sync_call(struct cairn_sync *s)
{
    return (struct origin_call){.deadline_ns = cairn_now_ns() + s->timeout_ns};
}

/* Says that the origin has not answered for long: cached answers are given until it does. */
void cairn_sync_stalled(struct cairn_sync *s);
/* Says how a call ended: any answer, even a refusal, ends a stall. Returns `err`. */
int cairn_sync_answered(struct cairn_sync *s, int err);
