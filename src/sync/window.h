// SPDX-License-Identifier: Apache-2.0
/*
 * Windows: ranges of a file under way from the origin. One window per range however many readers
 * wait for it (single flight). A window is bound to the version of the file that it began with:
 * if the file is another one when its last byte has come, the window is void and its readers
 * start again. A whole window is verified before any of it is given to a reader.
 *
 * After its readers are served a window is cut into chunks. Windows that follow one another are
 * cut in order, each going on where the one before left off, so that a file read from its start
 * has the canonical cuts.
 */
#pragma once

#include "sync/node.h"

/* Somebody who waits for a window. `wake` is called once, from a fetcher thread, without locks;
 * err 0: the window is filled, and stays as long as the waiter holds a reference to it;
 * -EAGAIN: the file has changed, start again. */
struct cairn_waiter {
    struct cairn_waiter *next;
    void (*wake)(struct cairn_waiter *w, struct cairn_window *win, int err);
};

enum cairn_window_state { CAIRN_WINDOW_FETCHING, CAIRN_WINDOW_FILLED };

struct cairn_window {
    struct cairn_task task;
    struct cairn_node *node;    /* a reference */
    atomic_uint refs;
    uint64_t off, len;          /* bytes of the file */
    uint64_t generation, content;
    struct cairn_version version;
    uint8_t *buf;               /* with room for a carry in front of `data` */
    size_t buf_len;
    uint8_t *data;
    /* under node->lock */
    struct cairn_window *next;
    enum cairn_window_state state;
    bool chunking;
    struct cairn_waiter *waiters;
};

struct cairn_window *cairn_window_ref(struct cairn_window *w);
void cairn_window_unref(struct cairn_window *w); /* NULL is allowed */

/*
 * A reader misses the byte at `off`; [start, start + len) around it would be worth having. Needs
 * n->lock. Finds the window that has it or starts one (cut short where others lie). Returns it
 * with a reference if it is filled already; else NULL, and the waiter (NULL: nobody waits,
 * readahead) will be woken. -errno in *ret_err if neither could be done.
 */
struct cairn_window *cairn_window_want(struct cairn_node *n, uint64_t off, uint64_t start,
                                       uint64_t len, struct cairn_waiter *waiter, int *ret_err);

/* Where the window that has `off` ends; 0 if there is none. Needs n->lock. */
uint64_t cairn_window_end_at(struct cairn_node *n, uint64_t off);

/* Nothing will continue the carry: it becomes a chunk. Needs n->lock. */
void cairn_carry_settle_locked(struct cairn_node *n);
/* The same if the file is closed and nothing is under way any more; after each end of the two: as
 * long as windows wait to be cut they continue the carry. Needs n->lock. */
void cairn_carry_end_locked(struct cairn_node *n);

/* A window for all of a small file (CAIRN_ONE_REQUEST) of which nothing is near or under way, NULL
 * if it is none. Nobody fetches it: the caller, who holds no reference, fills w->data with w->len
 * bytes and calls cairn_window_arrived. Needs n->lock. */
struct cairn_window *cairn_window_whole(struct cairn_node *n);
/* Ends it: `got` bytes and the attributes `after` they were read, or -errno. Without locks. */
void cairn_window_arrived(struct cairn_window *w, ssize_t got, const struct origin_stat *after);
