// SPDX-License-Identifier: Apache-2.0
/*
 * The map of a staged file: which byte ranges differ from the base content, and where their
 * bytes are. What the map does not name belongs to the base content.
 *
 * A treap ordered by offset: set, find and truncate take O(log n) and the time to drop what they
 * overwrite. Invariant: extents are disjoint, none is empty, and neighbours that continue each
 * other are one. Not thread-safe: the caller's lock covers the map (shared for the const functions,
 * exclusive for the others).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cairn_extent_kind {
    CAIRN_EXTENT_BASE = 0, /* never in the map: what find says of a gap */
    CAIRN_EXTENT_DATA,     /* the bytes are in the staging file, at the same offset */
    CAIRN_EXTENT_ZERO,     /* reads as zeros */
    CAIRN_EXTENT_CLONE,    /* the bytes of `content`, from `content_off` on */
};
#define CAIRN_EXTENT_KINDS 4

struct cairn_extent {
    uint64_t start; /* file offsets, bytes: [start, end) */
    uint64_t end;
    enum cairn_extent_kind kind;
    uint64_t content;     /* CLONE: which content; else 0 */
    uint64_t content_off; /* CLONE: the offset in it that `start` shows; else 0 */
};

struct extent_node;

/* Fields are the map's own. */
struct cairn_extents {
    struct extent_node *root;
    size_t count;
    uint64_t bytes[CAIRN_EXTENT_KINDS];
    uint64_t random; /* state of the generator of priorities */
};

/* An empty map; allocates nothing. A zeroed struct is one too. */
void cairn_extents_init(struct cairn_extents *map);
/* Both free all extents and leave an empty map. */
void cairn_extents_free(struct cairn_extents *map);
void cairn_extents_clear(struct cairn_extents *map);

/*
 * Makes [start, end) what `e` says, whatever was there. -EINVAL: empty range, kind BASE or unknown,
 * or a clone whose content offsets pass 2^64; -ENOMEM. On failure the map is unchanged.
 */
int cairn_extents_set(struct cairn_extents *map, const struct cairn_extent *e);

/*
 * True: `off` lies in the extent *ret, given whole. False: *ret is the gap around `off`, kind BASE,
 * from the end of the extent before (or 0) to the start of the next (or UINT64_MAX).
 */
bool cairn_extents_find(const struct cairn_extents *map, uint64_t off, struct cairn_extent *ret);

/*
 * The first extent with end > off; false and *ret untouched if there is none. In order:
 *     for (uint64_t off = 0; cairn_extents_next(map, off, &e); off = e.end)
 */
bool cairn_extents_next(const struct cairn_extents *map, uint64_t off, struct cairn_extent *ret);

/* Drops what lies at and beyond `size`: an extent across it is cut short. Cannot fail. */
void cairn_extents_truncate(struct cairn_extents *map, uint64_t size);

static inline size_t cairn_extents_count(const struct cairn_extents *map)
{
    return map->count;
}

/* The bytes of all extents of one kind; 0 for BASE. */
static inline uint64_t cairn_extents_bytes(const struct cairn_extents *map,
                                           enum cairn_extent_kind kind)
{
    return map->bytes[kind];
}
