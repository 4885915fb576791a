// SPDX-License-Identifier: Apache-2.0
/* The pool from inside: its connections and who may use which; see pool.h. */
#pragma once

#include <pthread.h>

#include "origins/origin.h"

#define POOL_CONNECTIONS 4 /* unless the configuration says another number */

/* A driver's file on one connection. */
struct pool_handle {
    struct origin_file *file; /* used by the holder of the connection */
    uint64_t written;         /* lock: pool_file.writes after the last write through it */
    struct pool_handle *next; /* in pool_slot.doomed */
};

struct pool_file {
    struct origin_file base;
    int flags;                   /* constant, without those that create or truncate */
    struct origin_stat identity; /* constant: as it was when first opened */

    /* All below: lock. */
    struct pool_file *prev, *next; /* in pool.files */
    char *path;
    bool pinned;                  /* only `home` may serve it, as long as it is open there */
    bool stale;                   /* gone or another: no call can succeed any more */
    bool lost_writes;             /* a connection died with writes that were not synced */
    unsigned home;                /* the connection that opened it first, or anew */
    uint64_t writes, synced;      /* counts writes; and up to which they are synced */
    struct pool_handle *handle[]; /* by connection, NULL: not open there; changed only by the
                                     holder of that connection */
};

struct pool_slot {
    enum pool_slot_state {
        SLOT_EMPTY, /* no connection */
        SLOT_IDLE,  /* nobody uses it */
        SLOT_BUSY,  /* one thread holds it: makes, uses or closes the connection */
    } state;                    /* lock */
    bool bulk;                  /* lock: held by a bulk call */
    bool suspect;               /* lock: another connection died while this one idled */
    int64_t idle_since_ns;      /* lock */
    struct pool_handle *doomed; /* lock: to be closed by the holder before it lets go */
    struct origin *origin;      /* the holder's */
};

struct pool {
    struct origin base;
    const struct origin_driver *driver;
    struct origin_config cfg; /* owned copies */
    char *name;               /* for the log */
    struct origin_info info;  /* constant */
    unsigned max;             /* constant: number of slots */

    pthread_mutex_t lock;    /* no I/O under it */
    pthread_cond_t released; /* a slot became idle or empty, or a pinned file lost its home */
    unsigned bulk_busy;      /* lock: slots held by bulk calls */
    unsigned lost;           /* lock: connections discarded and not yet replaced */
    int64_t grow_after_ns;   /* lock: the server refused a further connection until then */
    bool complained;         /* lock: a failed connection was logged since the last good one */
    struct pool_file *files; /* lock */
    struct pool_slot slots[];
};

static inline unsigned pool_index(struct pool *p, struct pool_slot *s)
{
    return (unsigned)(s - p->slots);
}

/*
 * Waits for a connection that may serve `f` and `g` (each may be NULL), making one if needed. The
 * caller holds it until pool_release. -EOPNOTSUPP if the two are pinned to different ones, or
 * -ETIMEDOUT, -EINTR, or what connecting answered.
 */
int pool_acquire(struct pool *p, const struct origin_call *c, struct pool_file *f,
                 struct pool_file *g, struct pool_slot **ret);

/* Takes an idle connection if slot `i` has one; else false. Without waiting; for closing files. */
bool pool_try_take_locked(struct pool *p, unsigned i);

/* Gives a connection back, or discards it if `result` of the last call on it says so. */
void pool_release(struct pool *p, struct pool_slot *s, int64_t result);

/* Takes the handle of `f` on slot `i`, which the caller holds, out of the file; NULL if none. */
struct pool_handle *pool_unlink_handle_locked(struct pool *p, struct pool_file *f, unsigned i);

/* The ops on files, in pool_file.c. */
int pool_open(struct origin *o, const struct origin_call *c, const char *path, int flags,
              uint32_t mode, struct origin_file **ret, struct origin_stat *ret_stat);
void pool_close_file(struct origin *o, struct origin_file *f);
ssize_t pool_pread(struct origin *o, const struct origin_call *c, struct origin_file *f, void *buf,
                   size_t len, uint64_t off, struct origin_stat *ret_after);
int pool_pwrite(struct origin *o, const struct origin_call *c, struct origin_file *f,
                const void *buf, size_t len, uint64_t off);
int pool_fstat(struct origin *o, const struct origin_call *c, struct origin_file *f,
               struct origin_stat *ret);
int pool_fsetattr(struct origin *o, const struct origin_call *c, struct origin_file *f,
                  const struct origin_attr *attr);
int pool_fsync(struct origin *o, const struct origin_call *c, struct origin_file *f);
ssize_t pool_copy_range(struct origin *o, const struct origin_call *c, struct origin_file *from,
                        uint64_t from_off, struct origin_file *to, uint64_t to_off, uint64_t len);
int64_t pool_seek(struct origin *o, const struct origin_call *c, struct origin_file *f,
                  uint64_t off, int whence);

/* Open files follow a rename made through the pool. */
void pool_files_renamed(struct pool *p, const char *from, const char *to, bool exchange);
