// SPDX-License-Identifier: Apache-2.0
/*
 * Inodes in use: what must be remembered in memory while a file is open, written, fetched or
 * changed. All other inodes live in the metadata store alone.
 */
#pragma once

#include "sync/sync.h"

struct cairn_stage;
struct cairn_window;

/* An open file at the origin, shared by the windows of one node. */
struct cairn_source {
    struct cairn_task closing;
    struct cairn_sync *sync;
    atomic_uint refs;
    struct origin_file *file;
};

/* The end of the last window, not yet cut: chunking goes on from here, so that a file read from
 * its start gets the same cuts whatever the windows. */
struct cairn_carry {
    uint64_t off;
    uint32_t len;
    uint8_t *data;
};

struct cairn_node {
    /* under the table's lock */
    struct cairn_node *next;
    unsigned refs;

    struct cairn_sync *sync;
    uint64_t ino;
    pthread_mutex_t lock;
    pthread_cond_t cond;        /* `uploading` or `absorbing` has become false */
    atomic_bool replaced;       /* its last name was given to another file at the origin */
    /* under the sync's linger_lock */
    atomic_bool lingers;        /* may be read without it */
    int64_t linger_until_ns;
    struct cairn_node *next_lingering;
    /* under lock */
    bool loaded;
    uint64_t content;           /* the manifest that reads use; 0 = none yet */
    uint64_t generation;        /* changes with each change of the content */
    struct cairn_version version;
    uint64_t size;              /* of the content, without what is staged */
    atomic_uint opens;          /* open handles; may be read without the lock */
    unsigned writers;           /* of those, for writing */
    atomic_uint waiting;        /* reads that wait for a window, in them pages of the kernel's */
    atomic_bool unlinked;       /* no name leads here any more: nothing is uploaded; may be set
                                 * and read without the lock */
    struct cairn_stage *stage;  /* what was written locally; NULL = nothing */
    bool uploading;
    bool absorbing;
    bool gone;                  /* nameless, and let go of: not to be opened again */
    bool unsent;                /* the last upload failed: kept, with a reference, until it is sent */
    struct cairn_source *source; /* for reading `version` */
    struct cairn_source *sink;   /* for writing, from the creation of the file until its writers
                                  * have closed it: its mode may forbid a second opening */
    struct cairn_window *windows; /* in flight, or filled and not yet chunked */
    struct cairn_carry carry;
    int64_t failed_ns;          /* when a window last failed for want of an answer; 0 = never */
    int failed_err;
};

int cairn_nodes_new(struct cairn_nodes **ret);
void cairn_nodes_free(struct cairn_nodes *t); /* all references are gone */

/* A reference to the node of `ino`, made if there is none. NULL: out of memory. */
struct cairn_node *cairn_node_get(struct cairn_sync *s, uint64_t ino);
/* The same, or NULL if it is not in use. */
struct cairn_node *cairn_node_find(struct cairn_sync *s, uint64_t ino);
struct cairn_node *cairn_node_ref(struct cairn_node *n);
/* The last one frees. */
void cairn_node_unref(struct cairn_node *n); /* NULL is allowed */

/* Fills content, version and size from the store, once. Needs n->lock. */
int cairn_node_load_locked(struct cairn_node *n);
/* The node's content is now another one: readers restart, windows in flight are void. Needs
 * n->lock. `content` 0 allocates one when it is first needed. */
void cairn_node_switch_locked(struct cairn_node *n, uint64_t content,
                              const struct cairn_version *version);

/* Takes over `file`, on failure (NULL: out of memory) too. */
struct cairn_source *cairn_source_new(struct cairn_sync *s, struct origin_file *file);
struct cairn_source *cairn_source_ref(struct cairn_source *src);
void cairn_source_unref(struct cairn_source *src); /* NULL is allowed; a worker closes the last */

/* Calls `fn` for each node in use, each with a reference held during the call. */
void cairn_nodes_each(struct cairn_sync *s, void (*fn)(void *arg, struct cairn_node *n), void *arg);

/* The attributes as a caller sees them now: the store's, with what is staged. */
int cairn_node_attr(struct cairn_sync *s, uint64_t ino, struct cairn_inode *ret);

static inline bool cairn_version_equal(const struct cairn_version *a, const struct cairn_version *b)
{
    return a->size == b->size && a->mtime_ns == b->mtime_ns && a->token[0] == b->token[0] &&
           a->token[1] == b->token[1];
}

static inline struct cairn_version cairn_version_of(const struct origin_stat *st)
{
    return (struct cairn_version){
        .size = st->size, .mtime_ns = st->mtime_ns, .token = {st->token[0], st->token[1]}};
}

/* What the kernel reads at once, at least, bytes. */
#define CAIRN_ONE_REQUEST (128 * KIB)

/* Is a pin missing that a reader of several requests should have? For a local origin always; not
 * worth a question to a far one for a file that one request reads whole. Needs n->lock. */
bool cairn_node_wants_pin_locked(struct cairn_node *n);
/* Opens the file at the origin for reading, if it is not open already and still is the version
 * that the node has: then it can be read to its end whatever happens to its name. */
int cairn_node_pin(struct cairn_node *n, const struct origin_call *c);
