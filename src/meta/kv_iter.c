// SPDX-License-Identifier: Apache-2.0
#include "meta/kv_iter.h"

#include <string.h>

#include "base/util.h"
#include "meta/kv_priv.h"

#define BATCH_MAX     1024 /* pairs */
#define BATCH_BYTES   (128 * KIB)
#define PENDING_EXTRA 64 /* tombstones looked past for one batch, at least */

/* A pair in a buffer; key and value follow, the next one is aligned. */
struct packed {
    uint32_t val_len;
    uint16_t key_len;
    bool deleted;
};

struct buffer {
    uint8_t *data;
    size_t len, cap;
};

static size_t packed_bytes(const struct packed *p)
{
    size_t n = sizeof(*p) + p->key_len + p->val_len;
    return (n + sizeof(uint32_t) - 1) & ~(sizeof(uint32_t) - 1);
}

static const uint8_t *packed_key(const struct packed *p)
{
    return (const uint8_t *)(p + 1);
}

static int add_pair(struct buffer *b, struct kv_slice key, struct kv_slice val, bool deleted)
{
    struct packed p = {(uint32_t)val.len, (uint16_t)key.len, deleted};
    size_t need = b->len + packed_bytes(&p);
    if (need > b->cap) {
        size_t cap = max_u64(max_u64(need, b->cap * 2), 4 * KIB);
        uint8_t *data = realloc(b->data, cap);
        if (!data)
            return -ENOMEM;
        b->data = data;
        b->cap = cap;
    }
    uint8_t *at = b->data + b->len;
    memcpy(at, &p, sizeof(p));
    memcpy(at + sizeof(p), key.data, key.len);
    if (val.len)
        memcpy(at + sizeof(p) + key.len, val.data, val.len);
    b->len = need;
    return 0;
}

static const struct packed *pair_at(const struct buffer *b, size_t at)
{
    return at < b->len ? (const struct packed *)(const void *)(b->data + at) : NULL;
}

void kv_iter_begin(struct kv_iter *it, struct kv *kv, const struct kv_key *from, size_t prefix_len,
                   unsigned first_batch)
{
    *it = (struct kv_iter){.kv = kv, .prefix_len = prefix_len, .want = first_batch};
    it->pos.len = from->len;
    memcpy(it->pos.bytes, from->bytes, from->len);
}

void kv_iter_end(struct kv_iter *it)
{
    free(it->batch);
    it->batch = NULL;
}

static bool in_prefix(const struct kv_iter *it, const uint8_t *key, size_t len)
{
    return len >= it->prefix_len && !memcmp(key, it->pos.bytes, it->prefix_len);
}

static const struct overlay_entry *seek_pending(const struct kv_iter *it, const struct overlay *o)
{
    if (!o || !o->count)
        return NULL;
    const struct overlay_entry *e = overlay_seek(o, it->pos.bytes, it->pos.len, it->after);
    return e && in_prefix(it, overlay_key(e), e->key_len) ? e : NULL;
}

static const struct overlay_entry *step_pending(const struct kv_iter *it,
                                                const struct overlay_entry *e)
{
    e = e->next[0];
    return e && in_prefix(it, overlay_key(e), e->key_len) ? e : NULL;
}

/* [layers, for reading] Copies what the overlays hold next, tombstones too. Sets *ret_bounded when
 * it stopped early: then nothing is known beyond the last key copied. */
static int gather_pending(const struct kv_iter *it, struct buffer *b, bool *ret_bounded)
{
    const struct overlay_entry *a = seek_pending(it, it->kv->active);
    const struct overlay_entry *f = seek_pending(it, it->kv->flushing);
    unsigned left = it->want + PENDING_EXTRA;
    while (a || f) {
        if (left-- == 0 || b->len > BATCH_BYTES) {
            *ret_bounded = true;
            return 0;
        }
        int c = !f   ? -1
                : !a ? 1
                     : overlay_compare(overlay_key(a), a->key_len, overlay_key(f), f->key_len);
        const struct overlay_entry *e = c <= 0 ? a : f;
        int r = add_pair(b, (struct kv_slice){overlay_key(e), e->key_len},
                         (struct kv_slice){overlay_val(e), e->val_len}, e->deleted);
        if (r < 0)
            return r;
        if (c <= 0)
            a = step_pending(it, a);
        if (c >= 0)
            f = step_pending(it, f);
    }
    *ret_bounded = false;
    return 0;
}

static void set_pos(struct kv_iter *it, const uint8_t *key, size_t len)
{
    memcpy(it->pos.bytes, key, len);
    it->pos.len = (uint16_t)len;
    it->after = true;
}

/* The pair of LMDB under the cursor, or NULL data behind the prefix. */
static int seek_stored(const struct kv_iter *it, struct kv_snapshot *s, struct kv_slice *ret_key,
                       struct kv_slice *ret_val)
{
    struct kv_slice from = {it->pos.bytes, it->pos.len};
    int r = kv_snapshot_seek(s, from, ret_key, ret_val);
    if (r == 0 && it->after && ret_key->len == from.len &&
        !memcmp(ret_key->data, from.data, from.len))
        r = kv_snapshot_step(s, ret_key, ret_val);
    return r;
}

/* Merges `pending` with LMDB into `out`, up to it->want pairs. */
static int merge(struct kv_iter *it, struct kv_snapshot *s, const struct buffer *pending,
                 bool bounded, struct buffer *out)
{
    const struct packed *p = pair_at(pending, 0);
    size_t at = 0;
    struct kv_slice bound = {NULL, 0}, key, val;
    for (const struct packed *q = p; bounded && q; q = pair_at(pending, at)) {
        bound = (struct kv_slice){packed_key(q), q->key_len};
        at += packed_bytes(q);
    }
    at = 0;
    unsigned count = 0;
    int r = seek_stored(it, s, &key, &val);
    for (;;) {
        bool stored = r == 0 && in_prefix(it, key.data, key.len) &&
                      (!bounded || overlay_compare(key.data, key.len, bound.data, bound.len) <= 0);
        if (r < 0 && r != -ENOENT)
            return r;
        if (!stored && !p)
            break;
        if (count == it->want || out->len > BATCH_BYTES)
            return 0;
        int c = !stored ? -1
                : !p    ? 1
                        : overlay_compare(packed_key(p), p->key_len, key.data, key.len);
        struct kv_slice k = key, v = val;
        bool deleted = false;
        if (c <= 0) {
            k = (struct kv_slice){packed_key(p), p->key_len};
            v = (struct kv_slice){k.data + k.len, p->val_len};
            deleted = p->deleted;
        }
        if (k.len > KV_KEY_MAX)
            return -EIO;
        if (!deleted) {
            int e = add_pair(out, k, v, false);
            if (e < 0)
                return e;
            count++;
        }
        set_pos(it, k.data, k.len);
        if (c <= 0) {
            at += packed_bytes(p);
            p = pair_at(pending, at);
        }
        if (c >= 0)
            r = kv_snapshot_step(s, &key, &val);
    }
    if (!bounded)
        it->done = true;
    return 0;
}

static int refill(struct kv_iter *it)
{
    struct buffer pending = {0}, out = {it->batch, 0, it->batch_cap};
    struct kv_snapshot *s;
    bool bounded = false;
    int r = kv_env_take(it->kv->env, &s);
    if (r < 0)
        return r;
    pthread_rwlock_rdlock(&it->kv->layers);
    r = kv_snapshot_begin(s);
    if (r == 0)
        r = gather_pending(it, &pending, &bounded);
    pthread_rwlock_unlock(&it->kv->layers);
    if (r == 0)
        r = merge(it, s, &pending, bounded, &out);
    kv_env_give(it->kv->env, s);
    free(pending.data);
    it->batch = out.data;
    it->batch_cap = out.cap;
    it->batch_len = r == 0 ? out.len : 0;
    it->at = 0;
    it->want = (unsigned)min_u64(it->want * 2, BATCH_MAX);
    return r;
}

int kv_iter_next(struct kv_iter *it, struct kv_item *ret)
{
    while (it->at >= it->batch_len) {
        if (it->done)
            return 0;
        int r = refill(it);
        if (r < 0)
            return r;
    }
    struct buffer b = {it->batch, it->batch_len, it->batch_cap};
    const struct packed *p = pair_at(&b, it->at);
    it->at += packed_bytes(p);
    ret->key = packed_key(p);
    ret->key_len = p->key_len;
    ret->val = ret->key + ret->key_len;
    ret->val_len = p->val_len;
    return 1;
}
