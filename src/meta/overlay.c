// SPDX-License-Identifier: Apache-2.0
#include "meta/overlay.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS_FIRST 1024

int overlay_compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    int c = memcmp(a, b, a_len < b_len ? a_len : b_len);
    if (c)
        return c;
    return (a_len > b_len) - (a_len < b_len);
}

struct overlay *overlay_new(void)
{
    struct overlay *o = calloc(1, sizeof(*o));
    if (!o)
        return NULL;
    o->buckets = calloc(BUCKETS_FIRST, sizeof(*o->buckets));
    if (!o->buckets) {
        free(o);
        return NULL;
    }
    o->bucket_count = BUCKETS_FIRST;
    return o;
}

void overlay_free(struct overlay *o)
{
    if (!o)
        return;
    struct overlay_entry *e = o->head[0];
    while (e) {
        struct overlay_entry *next = e->next[0];
        free(e);
        e = next;
    }
    free(o->buckets);
    free(o);
}

static size_t entry_bytes(const struct overlay_entry *e)
{
    return sizeof(*e) + e->height * sizeof(e->next[0]) + e->key_len + e->val_cap;
}

struct overlay_entry *overlay_entry_new(const uint8_t *key, size_t key_len, uint64_t hash,
                                        const uint8_t *val, size_t val_len)
{
    /* One entry in four rises a level. The upper bits of the hash choose, the lower ones choose the
     * bucket: no random numbers are needed. */
    unsigned height = 1;
    for (uint64_t bits = hash >> 32; height < OVERLAY_HEIGHT_MAX && (bits & 3) == 0; bits >>= 2)
        height++;
    struct overlay_entry *e = malloc(sizeof(*e) + height * sizeof(e->next[0]) + key_len + val_len);
    if (!e)
        return NULL;
    e->chain = NULL;
    e->hash = hash;
    e->key_len = (uint16_t)key_len;
    e->val_len = (uint32_t)val_len;
    e->val_cap = (uint32_t)val_len;
    e->height = (uint8_t)height;
    e->deleted = !val;
    memcpy((uint8_t *)&e->next[height], key, key_len);
    if (val_len)
        memcpy((uint8_t *)&e->next[height] + key_len, val, val_len);
    return e;
}

void overlay_entry_free(struct overlay_entry *e)
{
    free(e);
}

/* Fills prev[i] with the link at level i that leads to the first entry >= (or >) the key. */
static void find_links(const struct overlay *o, const uint8_t *key, size_t key_len, bool after,
                       struct overlay_entry **prev[OVERLAY_HEIGHT_MAX])
{
    struct overlay_entry **links = (struct overlay_entry **)(uintptr_t)o->head;
    /* An entry that was already found too large a level higher needs no second comparison. */
    const struct overlay_entry *beyond = NULL;
    for (int level = OVERLAY_HEIGHT_MAX - 1; level >= 0; level--) {
        struct overlay_entry *e;
        while ((e = links[level]) != NULL && e != beyond) {
            int c = overlay_compare(overlay_key(e), e->key_len, key, key_len);
            if (c > 0 || (c == 0 && !after))
                break;
            links = e->next;
        }
        beyond = links[level];
        prev[level] = &links[level];
    }
}

static struct overlay_entry **bucket_of(const struct overlay *o, uint64_t hash)
{
    return &o->buckets[hash & (o->bucket_count - 1)];
}

static struct overlay_entry *hash_find(const struct overlay *o, const uint8_t *key, size_t key_len,
                                       uint64_t hash)
{
    struct overlay_entry *e = *bucket_of(o, hash);
    while (e &&
           !(e->hash == hash && e->key_len == key_len && !memcmp(overlay_key(e), key, key_len)))
        e = e->chain;
    return e;
}

/* Without memory for it the table stays as it is: slower, not wrong. */
static void grow_buckets(struct overlay *o)
{
    size_t count = o->bucket_count * 2;
    struct overlay_entry **buckets = calloc(count, sizeof(*buckets));
    if (!buckets)
        return;
    free(o->buckets);
    o->buckets = buckets;
    o->bucket_count = count;
    for (struct overlay_entry *e = o->head[0]; e; e = e->next[0]) {
        struct overlay_entry **b = bucket_of(o, e->hash);
        e->chain = *b;
        *b = e;
    }
}

static void remove_entry(struct overlay *o, struct overlay_entry *e,
                         struct overlay_entry **prev[OVERLAY_HEIGHT_MAX])
{
    for (unsigned i = 0; i < e->height; i++)
        *prev[i] = e->next[i];
    struct overlay_entry **b = bucket_of(o, e->hash);
    while (*b != e)
        b = &(*b)->chain;
    *b = e->chain;
    o->count--;
    o->bytes -= entry_bytes(e);
    free(e);
}

void overlay_put(struct overlay *o, struct overlay_entry *e)
{
    struct overlay_entry *old = hash_find(o, overlay_key(e), e->key_len, e->hash);
    if (old && e->val_len <= old->val_cap) {
        memcpy((uint8_t *)(uintptr_t)overlay_val(old), overlay_val(e), e->val_len);
        old->val_len = e->val_len;
        old->deleted = e->deleted;
        free(e);
        return;
    }
    struct overlay_entry **prev[OVERLAY_HEIGHT_MAX];
    find_links(o, overlay_key(e), e->key_len, false, prev);
    if (old)
        remove_entry(o, old, prev);
    for (unsigned i = 0; i < e->height; i++) {
        e->next[i] = *prev[i];
        *prev[i] = e;
    }
    o->count++;
    o->bytes += entry_bytes(e);
    struct overlay_entry **b = bucket_of(o, e->hash);
    e->chain = *b;
    *b = e;
    if (o->count > o->bucket_count)
        grow_buckets(o);
}

void overlay_absorb(struct overlay *o, struct overlay *from)
{
    struct overlay_entry *e = from->head[0];
    memset(from->head, 0, sizeof(from->head));
    memset(from->buckets, 0, from->bucket_count * sizeof(*from->buckets));
    from->count = 0;
    from->bytes = 0;
    while (e) {
        struct overlay_entry *next = e->next[0];
        overlay_put(o, e);
        e = next;
    }
}

const struct overlay_entry *overlay_find(const struct overlay *o, const uint8_t *key,
                                         size_t key_len, uint64_t hash)
{
    return o->count ? hash_find(o, key, key_len, hash) : NULL;
}

const struct overlay_entry *overlay_seek(const struct overlay *o, const uint8_t *key,
                                         size_t key_len, bool after)
{
    struct overlay_entry **prev[OVERLAY_HEIGHT_MAX];
    find_links(o, key, key_len, after, prev);
    return *prev[0];
}
