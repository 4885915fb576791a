// SPDX-License-Identifier: Apache-2.0
/*
 * Manifests: for each content number, the chunks of a file by offset.
 *
 * Entries are kept in pages by the 8 MiB of the file in which they begin. An entry is shorter than
 * a page, so it can stick out into the next one only: what covers an offset begins in its page or
 * in the one before.
 */
#include "meta/store.h"

#include <string.h>

#include "base/util.h"
#include "meta/kv_iter.h"
#include "meta/store_priv.h"

#define CLONE_PAGES 256 /* one batch's */

struct page_view {
    uint64_t page; /* as asked */
    uint64_t off;
    bool any, have_prev, have_next;
    struct cairn_manifest_entry prev; /* the last one that begins at or before `off` */
    struct cairn_manifest_entry next; /* the one after that */
};

static uint64_t end_of(const struct cairn_manifest_entry *e)
{
    return e->off + e->len;
}

static bool covers(const struct cairn_manifest_entry *e, uint64_t off)
{
    return e->off <= off && off < end_of(e);
}

static int view_page(void *arg, const uint8_t *val, size_t len)
{
    struct page_view *v = arg;
    int count = page_count(val, len), r = 0;
    if (count < 0)
        return count;
    int i = page_find(val, (unsigned)count, v->page, v->off);
    if (i >= 0)
        r = page_entry(val, (unsigned)i, v->page, &v->prev);
    if (r == 0 && i + 1 < count)
        r = page_entry(val, (unsigned)(i + 1), v->page, &v->next);
    v->have_prev = i >= 0;
    v->have_next = i + 1 < count;
    return r;
}

static int view_page_of_many(void *arg, unsigned index, const uint8_t *val, size_t len)
{
    return view_page((struct page_view *)arg + index, val, len);
}

/* `off` is not covered by an entry of its own page: looks around it, at one instant. */
static int look_around(struct cairn_meta *m, uint64_t content, uint64_t off,
                       struct cairn_manifest_entry *ret, uint64_t *ret_hole_end)
{
    enum { BEFORE, OWN, NEXT, AFTER, COUNT };
    uint64_t page = off / PAGE_BYTES;
    struct page_view v[COUNT] = {0};
    struct kv_key keys[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        v[i].page = page + i - 1; /* one that does not exist, at either end, is not found */
        v[i].off = off;
        key_page(&keys[i], content, v[i].page);
    }
    int r = kv_view_many(m->kv, keys, COUNT, view_page_of_many, v);
    if (r < 0)
        return r;

    const struct page_view *p = v[OWN].have_prev ? &v[OWN] : &v[BEFORE];
    if (p->have_prev && covers(&p->prev, off)) {
        *ret = p->prev;
        return 0;
    }
    if (p->have_prev)
        ret->off = end_of(&p->prev);
    else
        ret->off = max_u64(page * PAGE_BYTES, off > MIB ? off - MIB : 0);
    if (ret_hole_end) {
        *ret_hole_end = page + AFTER > PAGE_NUMBER_MAX ? UINT64_MAX : (page + AFTER) * PAGE_BYTES;
        for (unsigned i = AFTER; i >= OWN; i--)
            if (v[i].have_next)
                *ret_hole_end = v[i].next.off;
    }
    return -ENOENT;
}

int cairn_meta_chunk_at(struct cairn_meta *m, uint64_t content, uint64_t off,
                        struct cairn_manifest_entry *ret, uint64_t *ret_hole_end)
{
    struct page_view v = {.page = off / PAGE_BYTES, .off = off};
    struct kv_key key;
    key_page(&key, content, v.page);
    int r = kv_view(m->kv, &key, view_page, &v);
    if (r == 0 && v.have_prev && covers(&v.prev, off)) {
        *ret = v.prev;
        return 0;
    }
    if (r < 0 && r != -ENOENT)
        return r;
    return look_around(m, content, off, ret, ret_hole_end);
}

/* Begins a walk over the pages with entries that may overlap [start, ...). */
static void begin_pages(struct cairn_meta *m, struct kv_iter *it, uint64_t content, uint64_t start,
                        unsigned first_batch)
{
    struct kv_key key;
    uint64_t page = start / PAGE_BYTES;
    key_page(&key, content, page ? page - 1 : 0);
    kv_iter_begin(it, m->kv, &key, KEY_PREFIX_NUMBER, first_batch);
}

/* 1 and the next page, 0 at the end, -errno. */
static int next_page(struct kv_iter *it, struct kv_item *ret, uint64_t *ret_page,
                     unsigned *ret_count)
{
    uint64_t content;
    int r = kv_iter_next(it, ret);
    if (r <= 0)
        return r;
    r = parse_key_page(ret->key, ret->key_len, &content, ret_page);
    if (r < 0)
        return r;
    r = page_count(ret->val, ret->val_len);
    if (r < 0)
        return r;
    *ret_count = (unsigned)r;
    return 1;
}

int cairn_meta_chunks(struct cairn_meta *m, uint64_t content, uint64_t start, uint64_t end,
                      struct cairn_manifest_entry *ret, unsigned max)
{
    struct kv_iter it;
    struct kv_item item;
    uint64_t page, done = start;
    unsigned found = 0, count;
    int r = 0;
    if (start >= end || !max)
        return 0;
    begin_pages(m, &it, content, start, 4);
    while (found < max && (r = next_page(&it, &item, &page, &count)) > 0) {
        if (page > (end - 1) / PAGE_BYTES)
            break;
        int first = page_find(item.val, count, page, start);
        for (unsigned i = first < 0 ? 0 : (unsigned)first; i < count && found < max; i++) {
            struct cairn_manifest_entry e;
            r = page_entry(item.val, i, page, &e);
            if (r < 0 || e.off >= end)
                break;
            /* Two batches may show two instants: never tell of one place twice. */
            if (end_of(&e) <= done || (found && e.off < done))
                continue;
            ret[found++] = e;
            done = end_of(&e);
        }
        if (r < 0)
            break;
    }
    kv_iter_end(&it);
    return r < 0 ? r : (int)found;
}

/* A page under construction. */
struct page_draft {
    uint8_t *val;
    size_t len, cap;
    int64_t chunks, bytes; /* change against what was stored */
};

static int draft_begin(struct page_draft *d, size_t entries)
{
    size_t need = PAGE_HEAD_BYTES + entries * PAGE_ENTRY_BYTES;
    if (need > d->cap) {
        uint8_t *val = realloc(d->val, need);
        if (!val)
            return -ENOMEM;
        d->val = val;
        d->cap = need;
    }
    pack_page_head(d->val);
    d->len = PAGE_HEAD_BYTES;
    return 0;
}

static void draft_add(struct page_draft *d, const struct cairn_manifest_entry *e)
{
    pack_page_entry(d->val + d->len, e);
    d->len += PAGE_ENTRY_BYTES;
}

static void draft_store(struct page_draft *d, struct kv_batch *b, uint64_t content, uint64_t page)
{
    struct kv_key key;
    key_page(&key, content, page);
    if (d->len > PAGE_HEAD_BYTES)
        kv_batch_put(b, &key, d->val, d->len);
    else
        kv_batch_del(b, &key);
}

struct page_change {
    uint64_t content, start, end;
    const struct cairn_manifest_entry *put; /* what is left to put in */
    unsigned put_count;
    struct page_draft draft;
    struct kv_batch batch;
};

/* Writes one page anew: `val` (NULL: none so far) without what overlaps, with what begins there. */
static int change_page(struct page_change *c, uint64_t page, const uint8_t *val, unsigned count)
{
    unsigned fresh = 0, removed = 0, i = 0;
    while (fresh < c->put_count && c->put[fresh].off / PAGE_BYTES == page)
        fresh++;
    int r = draft_begin(&c->draft, count + fresh);
    if (r < 0)
        return r;
    struct cairn_manifest_entry e;
    uint64_t behind = 0;
    for (; i < count; i++) {
        r = page_entry(val, i, page, &e);
        if (r < 0 || e.off < behind)
            return -EIO;
        if (e.off >= c->end)
            break;
        behind = end_of(&e);
        if (behind <= c->start) {
            draft_add(&c->draft, &e);
        } else {
            removed++;
            c->draft.chunks--;
            c->draft.bytes -= e.len;
        }
    }
    for (unsigned k = 0; k < fresh; k++) {
        draft_add(&c->draft, &c->put[k]);
        c->draft.chunks++;
        c->draft.bytes += c->put[k].len;
    }
    if (!fresh && !removed)
        return 0;
    if (fresh)
        c->put += fresh;
    c->put_count -= fresh;
    for (; i < count; i++) {
        r = page_entry(val, i, page, &e);
        if (r < 0)
            return r;
        draft_add(&c->draft, &e);
    }
    draft_store(&c->draft, &c->batch, c->content, page);
    return 0;
}

/* Pages without a record so far, before `page` (PAGE_NUMBER_MAX + 1: all). */
static int add_pages_before(struct page_change *c, uint64_t page)
{
    int r = 0;
    while (r == 0 && c->put_count && c->put->off / PAGE_BYTES < page)
        r = change_page(c, c->put->off / PAGE_BYTES, NULL, 0);
    return r;
}

static int change_pages(struct cairn_meta *m, struct page_change *c)
{
    struct kv_iter it;
    struct kv_item item;
    uint64_t page;
    unsigned count;
    int r;
    begin_pages(m, &it, c->content, c->start, 4);
    while ((r = next_page(&it, &item, &page, &count)) > 0) {
        if (page > (c->end - 1) / PAGE_BYTES)
            break;
        r = add_pages_before(c, page);
        if (r == 0)
            r = change_page(c, page, item.val, count);
        if (r < 0)
            break;
    }
    kv_iter_end(&it);
    return r < 0 ? r : add_pages_before(c, PAGE_NUMBER_MAX + 1);
}

int cairn_meta_put_chunks(struct cairn_meta *m, uint64_t content, uint64_t start, uint64_t end,
                          const struct cairn_manifest_entry *e, unsigned count)
{
    uint64_t at = start;
    if (!content || start > end)
        return -EINVAL;
    for (unsigned i = 0; i < count; i++) {
        if (e[i].off < at || !e[i].len || e[i].len >= PAGE_BYTES || e[i].off >= end ||
            e[i].len > end - e[i].off || e[i].off > (uint64_t)INT64_MAX - e[i].len)
            return -EINVAL;
        at = end_of(&e[i]);
    }
    if (start == end)
        return 0;
    struct page_change c = {
        .content = content, .start = start, .end = end, .put = e, .put_count = count};
    kv_batch_begin(&c.batch, m->kv);
    c.batch.removing = count == 0;
    int r = change_pages(m, &c);
    free(c.draft.val);
    if (r < 0) {
        kv_batch_discard(&c.batch);
        return r;
    }
    r = kv_apply(&c.batch);
    if (r == 0)
        meta_count_chunks(m, c.draft.chunks, c.draft.bytes);
    return r;
}

/* Adds the entries of one page that end at or before `size` to the batch. */
static int clone_page(struct page_draft *d, struct kv_batch *b, uint64_t to, uint64_t size,
                      uint64_t page, const struct kv_item *item, unsigned count)
{
    int r = draft_begin(d, count);
    for (unsigned i = 0; i < count && r == 0; i++) {
        struct cairn_manifest_entry e;
        r = page_entry(item->val, i, page, &e);
        if (r < 0 || end_of(&e) > size)
            break;
        draft_add(d, &e);
        d->chunks++;
        d->bytes += e.len;
    }
    if (r == 0 && d->len > PAGE_HEAD_BYTES)
        draft_store(d, b, to, page);
    return r;
}

static int apply_clone(struct cairn_meta *m, struct kv_batch *b, struct page_draft *d)
{
    int r = kv_apply(b);
    if (r == 0)
        meta_count_chunks(m, d->chunks, d->bytes);
    d->chunks = 0;
    d->bytes = 0;
    return r;
}

int cairn_meta_clone_content(struct cairn_meta *m, uint64_t from, uint64_t to, uint64_t size)
{
    struct kv_iter it;
    struct kv_item item;
    struct kv_key key;
    struct page_draft d = {0};
    struct kv_batch b;
    uint64_t page;
    unsigned count, pages = 0;
    if (!to || from == to)
        return -EINVAL;
    key_page(&key, to, 0);
    int r = meta_any_key(m, &key, KEY_PREFIX_NUMBER);
    if (r)
        return r < 0 ? r : -EEXIST;
    kv_batch_begin(&b, m->kv);
    begin_pages(m, &it, from, 0, 4);
    /* Nobody knows `to` yet: it need not appear at once. */
    while ((r = next_page(&it, &item, &page, &count)) > 0) {
        if (page * PAGE_BYTES >= size)
            break;
        r = clone_page(&d, &b, to, size, page, &item, count);
        if (r == 0 && ++pages % CLONE_PAGES == 0)
            r = apply_clone(m, &b, &d);
        if (r < 0)
            break;
    }
    kv_iter_end(&it);
    if (r >= 0)
        r = apply_clone(m, &b, &d);
    kv_batch_discard(&b);
    free(d.val);
    if (r < 0)
        cairn_meta_drop_content(m, to);
    return r;
}
