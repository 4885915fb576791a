// SPDX-License-Identifier: Apache-2.0
/*
 * Reading a range of an open file: from its stage, the tiers, or windows from the origin. A read
 * that finds all it needs near ends in the calling thread; else it waits in a window without
 * holding a thread, and is gone on with by the fetcher that brings the bytes.
 */
#pragma once

#include <sys/uio.h>

#include "sync/node.h"
#include "sync/window.h"

/* What one open handle's reads look like; decides the size of windows and what is fetched ahead. */
struct cairn_readahead {
    pthread_mutex_t lock; /* before the node's */
    uint64_t next;     /* where the reader is expected to go on */
    uint64_t window;   /* bytes of the next window */
    uint64_t frontier; /* all before it has been fetched or is under way */
    unsigned streak;   /* sequential reads in a row */
    uint64_t random;   /* reads that were not */
};

/* One open file of the kernel's. Pending reads outlive its release, so it is counted. */
struct cairn_handle {
    atomic_uint refs;
    struct cairn_node *node; /* a reference */
    struct cairn_readahead ahead;
    bool writer;
};

#define CAIRN_READ_WINDOWS 8

struct cairn_piece {
    struct iovec iov;
    struct cairn_chunk *chunk;   /* what keeps the bytes, or */
    struct cairn_window *window;
    void *owned;                 /* freed with the read */
};

struct cairn_read {
    struct cairn_waiter waiter;
    struct cairn_handle *handle;
    uint64_t off;
    uint64_t len;
    bool sequential; /* goes on where the handle's reads were */
    uint64_t random; /* 0 then; else the handle's reads that did not, this one included */
    bool dense;      /* of this version so many that the rest will be needed, too */
    /* Called when a read that was left pending is complete; from another thread. */
    void (*done)(struct cairn_read *r, int err);
    /* the result: the bytes in order, fewer than asked only at the end of the file */
    struct cairn_piece *piece;
    unsigned pieces, room;
    struct cairn_piece few[12];
    uint64_t bytes;
    /* windows this read has waited for: kept, so that it makes progress however small the tiers */
    struct cairn_window *got[CAIRN_READ_WINDOWS];
    unsigned gots;
    unsigned restarts;
};

/* Takes over the caller's reference to the node; NULL: out of memory, and nothing taken. */
struct cairn_handle *cairn_handle_new(struct cairn_node *n, bool writer);
void cairn_handle_unref(struct cairn_handle *h);

/* Sets up. Takes a reference to the handle until cairn_read_release. */
void cairn_read_init(struct cairn_read *r, struct cairn_handle *h, uint64_t off, uint64_t len,
                     void (*done)(struct cairn_read *r, int err));
/* True: complete, with *ret_err, from what is near. False: something is missing, and nothing was
 * begun; the read may be released. */
bool cairn_read_try(struct cairn_read *r, int *ret_err);
/* After a try of the same range (which may have been another struct's). True: complete, with *ret_err. False: `done` will be called, and may have been already. */
bool cairn_read_start(struct cairn_read *r, int *ret_err);
/* Lets go of the result. Not before the read is complete. */
void cairn_read_release(struct cairn_read *r);
