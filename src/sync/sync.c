// SPDX-License-Identifier: Apache-2.0
#include "sync/sync.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "sync/fresh.h"
#include "sync/linger.h"
#include "sync/node.h"
#include "sync/siblings.h"
#include "sync/stage.h"
#include "sync/upload.h"

#define WORKERS_MOST    32
#define FETCHERS_MOST   24
#define BACKGROUND_MOST 4
#define PROBE_NS        (1 * NSEC_PER_SEC)

static int make_dir(int parent, const char *name)
{
    if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    return 0;
}

static int open_dirs(struct cairn_sync *s, const char *dir, char **ret_meta, char **ret_disk)
{
    AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    static const char *const names[] = {"meta", "disk", "staging", "uploads"};
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        int err = make_dir(fd, names[i]);
        if (err)
            return err;
    }
    s->staging_fd = openat(fd, "staging", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    s->uploads_fd = openat(fd, "uploads", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->staging_fd < 0 || s->uploads_fd < 0)
        return -errno;
    if (asprintf(ret_meta, "%s/meta", dir) < 0 || asprintf(ret_disk, "%s/disk", dir) < 0)
        return -ENOMEM;
    return 0;
}

static int fail(int err, char **ret_why, const char *what, const char *dir)
{
    if (asprintf(ret_why, "%s in '%s': %s", what, dir, strerror(-err)) < 0)
        *ret_why = NULL;
    return err;
}

int cairn_sync_open(struct cairn_sync **ret, const struct cairn_sync_config *cfg,
                    struct cairn_metrics *metrics, const struct cairn_listener *listener,
                    char **ret_why)
{
    AUTO_FREE char *meta_dir = NULL;
    AUTO_FREE char *disk_dir = NULL;
    struct cairn_sync *s = calloc(1, sizeof *s);
    if (!s) {
        origin_close(cfg->origin);
        return fail(-ENOMEM, ret_why, "cannot start", cfg->dir);
    }
    s->origin = cfg->origin;
    s->info = origin_info(s->origin);
    s->metrics = metrics;
    s->listener = *listener;
    s->fresh_ns = cfg->fresh_ns;
    s->timeout_ns = cfg->timeout_ns;
    s->dense_most = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 4;
    s->read_only = cfg->read_only;
    s->staging_fd = s->uploads_fd = -1;
    atomic_init(&s->sequence, (uint64_t)cairn_wall_ns());
    pthread_mutex_init(&s->linger_lock, NULL);
    cairn_buffers_init(&s->buffers);
    cairn_spares_init(&s->spares);
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&s->rename_lock, &attr);
    pthread_rwlockattr_destroy(&attr);

    int err = open_dirs(s, cfg->dir, &meta_dir, &disk_dir);
    if (err) {
        fail(err, ret_why, "cannot use the cache", cfg->dir);
        goto out;
    }
    err = cairn_cdc_init(&s->cdc, &cfg->cdc);
    if (err) {
        fail(err, ret_why, "bad chunk sizes", cfg->dir);
        goto out;
    }
    struct cairn_meta_config mc = {.dir = meta_dir};
    err = cairn_meta_open(&s->meta, &mc);
    if (err) {
        fail(err, ret_why, "cannot open the metadata store", cfg->dir);
        goto out;
    }
    s->epoch = cairn_meta_epoch(s->meta) << 24; /* room to count lost events */
    struct cairn_cache_config cc = {
        .disk = {.dir = disk_dir, .max_bytes = cfg->cache_bytes, .zstd_level = cfg->zstd_level},
        .memory_bytes = cfg->memory_bytes};
    err = cairn_cache_open(&s->cache, &cc, metrics);
    if (err) {
        fail(err, ret_why, "cannot open the disk tier", cfg->dir);
        goto out;
    }
    err = cairn_nodes_new(&s->nodes);
    if (!err)
        err = cairn_fresh_new(s);
    if (!err)
        err = cairn_siblings_new(&s->siblings);
    if (!err)
        err = cairn_workers_new(&s->workers, "cairn-work", WORKERS_MOST);
    if (!err)
        err = cairn_workers_new(&s->fetchers, "cairn-fetch", FETCHERS_MOST);
    if (!err)
        err = cairn_workers_new(&s->background, "cairn-back", BACKGROUND_MOST);
    if (err) {
        fail(err, ret_why, "cannot start", cfg->dir);
        goto out;
    }
    if (cfg->watch && s->fresh_ns > 0 && s->fresh_ns != CAIRN_NEVER &&
        origin_can(s->origin, ORIGIN_WATCH) && (err = cairn_fresh_watch(s)) < 0) {
        log_warn("no events from the origin, looking every %" PRId64 " ms instead: %s",
                 s->fresh_ns / (int64_t)NSEC_PER_MSEC, strerror(-err));
        err = 0;
    }
    struct origin_call c = cairn_sync_call(s);
    err = cairn_fresh_inode(s, &c, CAIRN_ROOT_INO);
    if (err) {
        fail(err, ret_why, "cannot look at the origin; its cache is", cfg->dir);
        struct cairn_inode root;
        if (cairn_meta_inode(s->meta, CAIRN_ROOT_INO, &root) == 0 && err != -EACCES) {
            log_warn("the origin is away, showing it as last seen: %s", strerror(-err));
            free(STEAL(*ret_why));
            cairn_sync_stalled(s);
            err = 0;
        }
    } else if (!s->read_only) {
        cairn_upload_clean(s);
    }
out:
    if (err) {
        cairn_sync_close(s);
        return err;
    }
    *ret = s;
    return 0;
}

/* --- the origin's silence --- */

/* Tries again to send what could not be sent. */
static void send_unsent(void *arg, struct cairn_node *n)
{
    struct cairn_sync *s = arg;
    pthread_mutex_lock(&n->lock);
    bool wanted = n->unsent || (atomic_load(&s->closing) && n->stage && n->stage->dirty);
    pthread_mutex_unlock(&n->lock);
    if (!wanted)
        return;
    struct origin_call c = cairn_sync_call(s);
    int err = cairn_upload(n, &c, false, true);
    pthread_mutex_lock(&n->lock);
    bool kept = err && atomic_load(&s->closing) && n->unsent;
    if (kept)
        n->unsent = false;
    pthread_mutex_unlock(&n->lock);
    if (kept)
        cairn_node_unref(n); /* the caller has its own */
    if (err && atomic_load(&s->closing))
        log_error("lost: what was written to inode %" PRIu64 " could not be sent: %s", n->ino,
                  strerror(-err));
}

struct probe {
    struct cairn_task task;
    struct cairn_sync *s;
};

static void probe(struct cairn_task *t)
{
    struct probe *p = container_of(t, struct probe, task);
    struct cairn_sync *s = p->s;
    free(p);
    do {
        while (atomic_load(&s->stalled) && !atomic_load(&s->stopping)) {
            struct origin_call c = {.deadline_ns = cairn_now_ns() + 5 * PROBE_NS,
                                    .cancelled = &s->stopping};
            if (cairn_sync_answered(s, origin_health(s->origin, &c)) == 0)
                break;
            struct timespec pause = ns_to_timespec(PROBE_NS);
            nanosleep(&pause, NULL);
        }
        atomic_store(&s->probing, false);
        /* Who said meanwhile that the origin is silent again has left it to us. */
    } while (atomic_load(&s->stalled) && !atomic_load(&s->stopping) &&
             !atomic_exchange(&s->probing, true));
    cairn_nodes_each(s, send_unsent, s);
}

void cairn_sync_stalled(struct cairn_sync *s)
{
    if (!atomic_exchange(&s->stalled, true))
        log_warn("the origin does not answer: serving what is cached");
    if (atomic_exchange(&s->probing, true))
        return;
    struct probe *p = calloc(1, sizeof *p);
    if (!p) {
        atomic_store(&s->probing, false);
        return;
    }
    p->task.run = probe;
    p->s = s;
    cairn_workers_submit(s->background, &p->task);
}

int cairn_sync_answered(struct cairn_sync *s, int err)
{
    if (err == 0 || origin_error_class(err) == ORIGIN_ERR_PERMANENT ||
        origin_error_class(err) == ORIGIN_ERR_FULL) {
        if (atomic_load_explicit(&s->stalled, memory_order_relaxed) &&
            atomic_exchange(&s->stalled, false))
            log_info("the origin answers again");
    } else if (err == -ETIMEDOUT || origin_error_class(err) == ORIGIN_ERR_TRANSIENT) {
        cairn_sync_stalled(s);
    }
    return err;
}

/* --- the end --- */

void cairn_sync_close(struct cairn_sync *s)
{
    if (!s)
        return;
    atomic_store(&s->closing, true);
    if (s->nodes && s->workers && s->background)
        cairn_nodes_each(s, send_unsent, s);
    atomic_store(&s->stopping, true);
    cairn_fresh_stop(s);
    if (s->nodes && s->meta)
        cairn_linger_end(s, true);
    cairn_workers_free(s->workers);
    cairn_workers_free(s->fetchers);
    cairn_siblings_free(s->siblings);
    if (s->background)
        cairn_workers_drain(s->background);
    origin_close(s->origin); /* its events end with it */
    cairn_workers_free(s->background);
    cairn_fresh_free(s);
    cairn_nodes_free(s->nodes);
    cairn_cache_close(s->cache);
    cairn_meta_close(s->meta);
    if (s->staging_fd >= 0)
        close(s->staging_fd);
    if (s->uploads_fd >= 0)
        close(s->uploads_fd);
    pthread_rwlock_destroy(&s->rename_lock);
    cairn_spares_destroy(&s->spares);
    cairn_buffers_destroy(&s->buffers);
    pthread_mutex_destroy(&s->linger_lock);
    free(s);
}
