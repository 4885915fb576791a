// SPDX-License-Identifier: Apache-2.0
/*
 * A sorted map of byte keys to byte values in memory: the writes that LMDB does not have yet.
 *
 * A skip list keeps the keys in memcmp order for scans, a chained hash table over the same entries
 * answers point look-ups with one cache miss; most of them find nothing. A deleted key stays as a
 * tombstone that hides the key below. Entries are made beforehand, so that putting them in cannot
 * fail. Not locked: the owner serialises writers against readers.
 * Reference: W. Pugh, "Skip lists: a probabilistic alternative to balanced trees", 1990.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OVERLAY_HEIGHT_MAX 12

struct overlay_entry {
    struct overlay_entry *chain; /* same hash bucket; links a batch before it is put in */
    uint64_t hash;
    uint32_t val_len; /* bytes */
    uint32_t val_cap;
    uint16_t key_len;
    uint8_t height;
    bool deleted;                 /* a tombstone: no value */
    struct overlay_entry *next[]; /* `height` links, then the key, then the value */
};

struct overlay {
    struct overlay_entry *head[OVERLAY_HEIGHT_MAX];
    struct overlay_entry **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;        /* entries */
    size_t bytes;        /* what the entries take */
};

static inline const uint8_t *overlay_key(const struct overlay_entry *e)
{
    return (const uint8_t *)&e->next[e->height];
}

static inline const uint8_t *overlay_val(const struct overlay_entry *e)
{
    return overlay_key(e) + e->key_len;
}

/* memcmp order; a prefix sorts before what it begins. */
int overlay_compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len);

/* NULL: out of memory. */
struct overlay *overlay_new(void);
void overlay_free(struct overlay *o); /* NULL is allowed */

/* A copy of key and value; `val` NULL makes a tombstone. `hash` must be the same function of the
 * key for all entries of an overlay, evenly spread. NULL: out of memory. */
struct overlay_entry *overlay_entry_new(const uint8_t *key, size_t key_len, uint64_t hash,
                                        const uint8_t *val, size_t val_len);
void overlay_entry_free(struct overlay_entry *e);

/* Puts `e` in and owns it from now on; an entry with the same key is replaced. */
void overlay_put(struct overlay *o, struct overlay_entry *e);
/* Moves all of `from` into `o`, where it wins; leaves `from` empty. */
void overlay_absorb(struct overlay *o, struct overlay *from);
/* The entry (perhaps a tombstone) or NULL. */
const struct overlay_entry *overlay_find(const struct overlay *o, const uint8_t *key,
                                         size_t key_len, uint64_t hash);
/* The first entry with a key >= (or, with `after`, >) the given one; NULL at the end. Its
 * successors follow in next[0]. */
const struct overlay_entry *overlay_seek(const struct overlay *o, const uint8_t *key,
                                         size_t key_len, bool after);
