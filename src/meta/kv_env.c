// SPDX-License-Identifier: Apache-2.0
#include "meta/kv_env.h"

#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <xxhash.h>

#include "base/log.h"
#include "base/util.h"
#include "meta/overlay.h"

#define READERS_MAX   512
#define SNAPSHOTS_MAX 480 /* some slots stay free for mdb_stat and the like */
#define MAP_MIN       (1 * MIB)
#define MAP_FALLBACK  (16 * MIB) /* smallest map tried when address space is short */
#define CHECK_BYTES   4

struct kv_snapshot {
    struct kv_env *env;
    struct kv_snapshot *next; /* in the pool */
    MDB_txn *txn;
    MDB_cursor *cursor;
    bool begun;
};

struct kv_env {
    MDB_env *mdb;
    MDB_dbi dbi;
    int lock_fd;
    uint64_t map_max;
    atomic_bool damage_logged;
    _Atomic uint64_t map_bytes; /* written by the writer only */
    pthread_mutex_t lock;       /* protects what follows */
    pthread_cond_t moved;       /* a snapshot came back, or the map stands still again */
    struct kv_snapshot *pool;
    unsigned out;   /* snapshots taken */
    unsigned count; /* snapshots in all */
    bool growing;
    bool broken; /* the map was lost while it grew */
};

/* LMDB's codes are negative, errno's positive. */
static int mdb_result(int rc)
{
    if (rc == 0)
        return 0;
    if (rc > 0)
        return -rc;
    return rc == MDB_NOTFOUND ? -ENOENT : -EIO;
}

static int mdb_open_result(int rc)
{
    switch (rc) {
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INCOMPATIBLE:
        return -EBADMSG;
    default:
        return mdb_result(rc);
    }
}

/* Of key and value, little-endian in the file. */
static void put_check(struct kv_slice key, const uint8_t *val, size_t len, uint8_t *ret)
{
    uint64_t seed = XXH3_64bits(key.data, key.len);
    uint64_t h = XXH3_64bits_withSeed(val, len, seed);
    for (unsigned i = 0; i < CHECK_BYTES; i++)
        ret[i] = (uint8_t)(h >> (8 * i));
}

static int open_value(struct kv_env *env, struct kv_slice key, MDB_val raw, struct kv_slice *ret)
{
    const uint8_t *data = raw.mv_data;
    uint8_t check[CHECK_BYTES];
    if (raw.mv_size >= CHECK_BYTES) {
        size_t len = raw.mv_size - CHECK_BYTES;
        put_check(key, data, len, check);
        if (!memcmp(check, data + len, CHECK_BYTES)) {
            ret->data = data;
            ret->len = len;
            return 0;
        }
    }
    if (!atomic_exchange(&env->damage_logged, true))
        log_error("metadata store: damaged record kind=%c", key.len ? key.data[0] : '?');
    return -EIO;
}

/* A second opening, here or in another process, would not see our overlay. */
static int lock_dir(const char *dir, int *ret_fd)
{
    AUTO_FREE char *path = NULL;
    if (asprintf(&path, "%s/owner.lock", dir) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    *ret_fd = steal_fd(&fd);
    return 0;
}

static int open_mdb(const char *dir, uint64_t map_bytes, MDB_env **ret)
{
    MDB_env *mdb;
    int rc = mdb_env_create(&mdb);
    if (rc)
        return mdb_open_result(rc);
    rc = mdb_env_set_maxreaders(mdb, READERS_MAX);
    if (!rc)
        rc = mdb_env_set_mapsize(mdb, map_bytes);
    if (!rc)
        rc = mdb_env_open(mdb, dir, MDB_NOTLS | MDB_NORDAHEAD, 0600);
    if (rc) {
        mdb_env_close(mdb);
        return mdb_open_result(rc);
    }
    *ret = mdb;
    return 0;
}

/* LMDB syncs its file but not the directory that names it. */
static int sync_dir(const char *dir)
{
    AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return -errno;
    return 0;
}

/* Pages at the end that were never written read as zeros, which LMDB reports; a file cut short
 * would kill the reader with SIGBUS instead. */
static int restore_length(MDB_env *mdb)
{
    int fd;
    MDB_envinfo info;
    MDB_stat stat;
    struct stat st;
    int rc = mdb_env_get_fd(mdb, &fd);
    if (!rc)
        rc = mdb_env_info(mdb, &info);
    if (!rc)
        rc = mdb_env_stat(mdb, &stat);
    if (rc)
        return mdb_open_result(rc);
    off_t want = (off_t)((info.me_last_pgno + 1) * stat.ms_psize);
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size < want && ftruncate(fd, want) < 0)
        return -errno;
    return 0;
}

static int open_dbi(struct kv_env *env)
{
    MDB_txn *txn;
    int dead;
    int rc = mdb_reader_check(env->mdb, &dead);
    if (!rc)
        rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);
    if (rc)
        return mdb_open_result(rc);
    rc = mdb_dbi_open(txn, NULL, 0, &env->dbi);
    if (rc) {
        mdb_txn_abort(txn);
        return mdb_open_result(rc);
    }
    return mdb_open_result(mdb_txn_commit(txn));
}

int kv_env_open(struct kv_env **ret, const char *dir, uint64_t map_first, uint64_t map_max)
{
    struct kv_env *env = calloc(1, sizeof(*env));
    if (!env)
        return -ENOMEM;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    env->lock_fd = -1;
    env->map_max = max_u64(map_max, MAP_MIN) / page * page;
    pthread_mutex_init(&env->lock, NULL);
    pthread_cond_init(&env->moved, NULL);
    int r = lock_dir(dir, &env->lock_fd);
    if (r == 0) {
        uint64_t map = min_u64(env->map_max, max_u64(map_first, MAP_MIN) / page * page);
        while ((r = open_mdb(dir, map, &env->mdb)) == -ENOMEM && map > MAP_FALLBACK)
            map = max_u64(map / 4, MAP_FALLBACK);
    }
    if (r == 0)
        r = sync_dir(dir);
    if (r == 0)
        r = restore_length(env->mdb);
    if (r == 0)
        r = open_dbi(env);
    if (r == 0) {
        MDB_envinfo info;
        r = mdb_open_result(mdb_env_info(env->mdb, &info));
        if (r == 0)
            atomic_store(&env->map_bytes, info.me_mapsize);
    }
    if (r < 0) {
        kv_env_close(env);
        return r;
    }
    *ret = env;
    return 0;
}

static void free_snapshot(struct kv_snapshot *s)
{
    if (s->cursor)
        mdb_cursor_close(s->cursor);
    if (s->txn)
        mdb_txn_abort(s->txn);
    free(s);
}

void kv_env_close(struct kv_env *env)
{
    if (!env)
        return;
    while (env->pool) {
        struct kv_snapshot *s = env->pool;
        env->pool = s->next;
        free_snapshot(s);
    }
    if (env->mdb)
        mdb_env_close(env->mdb);
    if (env->lock_fd >= 0)
        close(env->lock_fd);
    pthread_cond_destroy(&env->moved);
    pthread_mutex_destroy(&env->lock);
    free(env);
}

static int new_snapshot(struct kv_env *env, struct kv_snapshot **ret)
{
    struct kv_snapshot *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->env = env;
    int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &s->txn);
    if (!rc)
        rc = mdb_cursor_open(s->txn, env->dbi, &s->cursor);
    if (rc) {
        free_snapshot(s);
        return mdb_result(rc);
    }
    mdb_txn_reset(s->txn);
    *ret = s;
    return 0;
}

int kv_env_take(struct kv_env *env, struct kv_snapshot **ret)
{
    pthread_mutex_lock(&env->lock);
    /* Until: the map stands still, and one is in the pool or may be made. */
    while (env->growing || (!env->pool && env->count >= SNAPSHOTS_MAX))
        pthread_cond_wait(&env->moved, &env->lock);
    if (env->broken) {
        pthread_mutex_unlock(&env->lock);
        return -EIO;
    }
    struct kv_snapshot *s = env->pool;
    env->out++;
    if (s) {
        env->pool = s->next;
        pthread_mutex_unlock(&env->lock);
        *ret = s;
        return 0;
    }
    env->count++;
    pthread_mutex_unlock(&env->lock);
    int r = new_snapshot(env, ret);
    if (r < 0) {
        pthread_mutex_lock(&env->lock);
        env->out--;
        env->count--;
        pthread_cond_broadcast(&env->moved);
        pthread_mutex_unlock(&env->lock);
    }
    return r;
}

void kv_env_give(struct kv_env *env, struct kv_snapshot *s)
{
    if (s->begun) {
        mdb_txn_reset(s->txn);
        s->begun = false;
    }
    pthread_mutex_lock(&env->lock);
    s->next = env->pool;
    env->pool = s;
    env->out--;
    if (env->growing || env->count >= SNAPSHOTS_MAX)
        pthread_cond_broadcast(&env->moved);
    pthread_mutex_unlock(&env->lock);
}

int kv_snapshot_begin(struct kv_snapshot *s)
{
    int rc = mdb_txn_renew(s->txn);
    if (rc)
        return mdb_result(rc);
    s->begun = true;
    return 0;
}

int kv_snapshot_get(struct kv_snapshot *s, struct kv_slice key, struct kv_slice *ret_val)
{
    MDB_val k = {key.len, (void *)(uintptr_t)key.data}, v;
    int rc = mdb_get(s->txn, s->env->dbi, &k, &v);
    return rc ? mdb_result(rc) : open_value(s->env, key, v, ret_val);
}

static int cursor_get(struct kv_snapshot *s, MDB_val *k, MDB_cursor_op op, struct kv_slice *ret_key,
                      struct kv_slice *ret_val)
{
    MDB_val v;
    int rc = mdb_cursor_get(s->cursor, k, &v, op);
    if (rc)
        return mdb_result(rc);
    struct kv_slice key = {k->mv_data, k->mv_size};
    int r = open_value(s->env, key, v, ret_val);
    if (r == 0)
        *ret_key = key;
    return r;
}

int kv_snapshot_seek(struct kv_snapshot *s, struct kv_slice from, struct kv_slice *ret_key,
                     struct kv_slice *ret_val)
{
    int rc = mdb_cursor_renew(s->txn, s->cursor);
    if (rc)
        return mdb_result(rc);
    MDB_val k = {from.len, (void *)(uintptr_t)from.data};
    return cursor_get(s, &k, from.len ? MDB_SET_RANGE : MDB_FIRST, ret_key, ret_val);
}

int kv_snapshot_step(struct kv_snapshot *s, struct kv_slice *ret_key, struct kv_slice *ret_val)
{
    MDB_val k;
    return cursor_get(s, &k, MDB_NEXT, ret_key, ret_val);
}

/* LMDB unmaps before it maps anew and cannot go back, so the room is tried out first. */
static bool have_room(uint64_t more)
{
    void *p = mmap(NULL, more, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    munmap(p, more);
    return true;
}

/* Called by the writer outside of a transaction. */
static int grow_map(struct kv_env *env)
{
    uint64_t old = atomic_load(&env->map_bytes), page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t more = old < env->map_max ? min_u64(old, env->map_max - old) / page * page : 0;
    while (more >= MAP_MIN && !have_room(more))
        more = more / 2 / page * page;
    if (more == 0)
        return -ENOSPC;

    pthread_mutex_lock(&env->lock);
    env->growing = true;
    while (env->out > 0)
        pthread_cond_wait(&env->moved, &env->lock);
    int rc = mdb_env_set_mapsize(env->mdb, old + more);
    if (rc) {
        log_error("metadata store: cannot map %llu bytes: %s", (unsigned long long)(old + more),
                  mdb_strerror(rc));
        env->broken = true;
    } else {
        atomic_store(&env->map_bytes, old + more);
    }
    env->growing = false;
    pthread_cond_broadcast(&env->moved);
    pthread_mutex_unlock(&env->lock);
    return rc ? -EIO : 0;
}

static int put_pair(MDB_txn *txn, MDB_dbi dbi, struct kv_slice key, struct kv_slice val)
{
    MDB_val k = {key.len, (void *)(uintptr_t)key.data}, v = {val.len + CHECK_BYTES, NULL};
    int rc = mdb_put(txn, dbi, &k, &v, MDB_RESERVE);
    if (rc)
        return rc;
    memcpy(v.mv_data, val.data, val.len);
    put_check(key, val.data, val.len, (uint8_t *)v.mv_data + val.len);
    return 0;
}

static int write_once(struct kv_env *env, const struct overlay *o, struct kv_slice key,
                      struct kv_slice val)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(env->mdb, NULL, 0, &txn);
    if (rc)
        return rc;
    for (const struct overlay_entry *e = o ? o->head[0] : NULL; e && !rc; e = e->next[0]) {
        struct kv_slice k = {overlay_key(e), e->key_len};
        if (e->deleted) {
            MDB_val mk = {k.len, (void *)(uintptr_t)k.data};
            rc = mdb_del(txn, env->dbi, &mk, NULL);
            if (rc == MDB_NOTFOUND)
                rc = 0;
        } else {
            rc = put_pair(txn, env->dbi, k, (struct kv_slice){overlay_val(e), e->val_len});
        }
    }
    if (!rc)
        rc = put_pair(txn, env->dbi, key, val);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

/* LMDB calls a write that was cut short EIO; most often the disk is full. */
static bool disk_is_full(struct kv_env *env)
{
    int fd;
    struct statvfs st;
    return !mdb_env_get_fd(env->mdb, &fd) && fstatvfs(fd, &st) == 0 &&
           st.f_bavail * st.f_frsize < MIB;
}

int kv_env_write(struct kv_env *env, const struct overlay *o, struct kv_slice key,
                 struct kv_slice val)
{
    for (;;) {
        pthread_mutex_lock(&env->lock);
        bool broken = env->broken;
        pthread_mutex_unlock(&env->lock);
        if (broken)
            return -EIO;
        int rc = write_once(env, o, key, val);
        if (rc == EIO && disk_is_full(env))
            return -ENOSPC;
        if (rc != MDB_MAP_FULL)
            return mdb_result(rc);
        int r = grow_map(env);
        if (r < 0)
            return r;
    }
}

uint64_t kv_env_file_bytes(struct kv_env *env)
{
    int fd;
    struct stat st;
    if (mdb_env_get_fd(env->mdb, &fd) || fstat(fd, &st) < 0)
        return 0;
    return (uint64_t)st.st_blocks * 512;
}

uint64_t kv_env_map_bytes(struct kv_env *env)
{
    return atomic_load(&env->map_bytes);
}
