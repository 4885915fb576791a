// SPDX-License-Identifier: Apache-2.0
/*
 * The stage of a file: what was written to it here and is not yet part of its content. Written
 * bytes lie at their own offsets in a sparse local file; the extent map says which; everything
 * else below `base_limit` is the content's, beyond it zeros.
 *
 * All functions need the lock of the node that the stage belongs to.
 */
#pragma once

#include "sync/extents.h"
#include "sync/node.h"

struct cairn_stage {
    struct cairn_sync *sync;
    int fd;
    struct cairn_extents map; /* what the origin does not have yet */
    struct cairn_extents kept; /* what it has, and the cache has not yet; `map` lies over it */
    uint64_t size;          /* of the file as its users see it, bytes */
    uint64_t base_limit;    /* the content shows through the gaps below this */
    int64_t atime_ns;
    int64_t mtime_ns;
    int64_t ctime_ns;
    uint64_t writes;        /* counts changes */
    bool dirty;             /* the origin does not have it all */
};

/* The node's stage, made if there is none. -ENOSPC, -ENOMEM, ... */
int cairn_stage_begin(struct cairn_node *n);
void cairn_stage_free(struct cairn_stage *st); /* NULL is allowed; removes the staging file */
void cairn_spares_init(struct cairn_spares *sp);
void cairn_spares_destroy(struct cairn_spares *sp);

/* The caller has put `len` bytes at `off` into the staging file. */
int cairn_stage_wrote(struct cairn_stage *st, uint64_t off, uint64_t len);
int cairn_stage_truncate(struct cairn_stage *st, uint64_t size);
/* Zeros for [off, off + len), beyond the end of the file only if `extend`. */
int cairn_stage_zero(struct cairn_stage *st, uint64_t off, uint64_t len, bool extend);
/* The origin has it all now: what was staged is part of the content, and kept for reading. */
int cairn_stage_sent(struct cairn_stage *st);
/* Somebody else changed the content beneath, which had `old_size` bytes and is now as `in` says:
 * what was written here stays, a size that was not changed here follows. */
void cairn_stage_rebase(struct cairn_stage *st, uint64_t old_size, const struct cairn_inode *in);
/* The cache has what was kept. */
void cairn_stage_settle(struct cairn_stage *st);

/* Where the bytes at `off` are: an extent of the map or of what is kept, or (false) none of them;
 * ret->end is where that ends to be so. */
bool cairn_stage_find(const struct cairn_stage *st, uint64_t off, struct cairn_extent *ret);

/* Overlays size and times. */
void cairn_stage_attr(const struct cairn_stage *st, struct cairn_inode *in);
