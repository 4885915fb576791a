// SPDX-License-Identifier: Apache-2.0
#include "check.h"

#include <string.h>

#include "fixture.h"
#include "meta/kv_iter.h"
#include "meta/store_priv.h"

struct seen {
    uint64_t inodes, named, dirents, cookies, extras, names, chunks, bytes;
};

struct bytes {
    uint8_t data[64];
    size_t len;
};

static int copy_bytes(void *arg, const uint8_t *val, size_t len)
{
    struct bytes *b = arg;
    b->len = len;
    memcpy(b->data, val, len < sizeof(b->data) ? len : sizeof(b->data));
    return 0;
}

static bool have(struct cairn_meta *m, const struct kv_key *key)
{
    struct bytes b;
    return kv_view(m->kv, key, copy_bytes, &b) == 0;
}

static void check_dirent(struct cairn_meta *m, const struct kv_item *item)
{
    uint64_t parent, ino, cookie;
    char name[CAIRN_NAME_MAX + 1];
    struct kv_key key;
    struct bytes b;
    assert_ok(parse_key_dirent(item->key, item->key_len, &parent, name));
    assert_ok(unpack_dirent(item->val, item->val_len, &ino, &cookie));
    key_cookie(&key, parent, cookie);
    assert_ok(kv_view(m->kv, &key, copy_bytes, &b));
    assert_int_equal(b.len, 9 + strlen(name));

    struct inode_record rec;
    assert_ok(meta_get_record(m, ino, &rec));
    key_link(&key, ino, parent, name);
    bool primary = rec.in.parent == parent && !strcmp(rec.in.name, name);
    assert_int_equal(primary, !have(m, &key));
}

static void check_cookie(struct cairn_meta *m, const struct kv_item *item)
{
    uint64_t parent, cookie, ino, d_ino, d_cookie;
    char name[CAIRN_NAME_MAX + 1];
    struct kv_key key;
    struct bytes b;
    assert_ok(parse_key_cookie(item->key, item->key_len, &parent, &cookie));
    assert_ok(unpack_cookie(item->val, item->val_len, &ino, name));
    key_dirent(&key, parent, name);
    assert_ok(kv_view(m->kv, &key, copy_bytes, &b));
    assert_ok(unpack_dirent(b.data, b.len, &d_ino, &d_cookie));
    assert_int_equal(d_ino, ino);
    assert_int_equal(d_cookie, cookie);
}

static void check_inode(struct cairn_meta *m, const struct kv_item *item, struct seen *s)
{
    struct inode_record rec;
    struct kv_key key;
    assert_ok(unpack_inode(item->val, item->val_len, 0, &rec.in, &rec.names));
    s->inodes++;
    s->names += rec.names;
    assert_int_equal(rec.names > 0, rec.in.parent != 0);
    if (rec.in.parent) {
        s->named++;
        key_dirent(&key, rec.in.parent, rec.in.name);
        assert_true(have(m, &key));
    }
}

static void check_extra(struct cairn_meta *m, const struct kv_item *item)
{
    uint64_t ino, parent, d_ino, cookie;
    char name[CAIRN_NAME_MAX + 1];
    struct kv_key key;
    struct bytes b;
    assert_ok(parse_key_link(item->key, item->key_len, &ino, &parent, name));
    key_dirent(&key, parent, name);
    assert_ok(kv_view(m->kv, &key, copy_bytes, &b));
    assert_ok(unpack_dirent(b.data, b.len, &d_ino, &cookie));
    assert_int_equal(d_ino, ino);
}

static void check_page(const struct kv_item *item, struct seen *s)
{
    uint64_t content, page, at = 0;
    assert_ok(parse_key_page(item->key, item->key_len, &content, &page));
    int count = page_count(item->val, item->val_len);
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        struct cairn_manifest_entry e;
        assert_ok(page_entry(item->val, (unsigned)i, page, &e));
        assert_true(e.off >= at);
        at = e.off + e.len;
        s->chunks++;
        s->bytes += e.len;
    }
}

void check_names(struct cairn_meta *m)
{
    struct seen s = {0};
    struct kv_iter it;
    struct kv_item item;
    struct kv_key from = {.len = 0};
    int r;
    cairn_meta_lock(m);
    kv_iter_begin(&it, m->kv, &from, 0, 64);
    while ((r = kv_iter_next(&it, &item)) > 0) {
        switch (item.key[0]) {
        case 'D':
            s.dirents++;
            check_dirent(m, &item);
            break;
        case 'C':
            s.cookies++;
            check_cookie(m, &item);
            break;
        case 'I':
            check_inode(m, &item, &s);
            break;
        case 'L':
            s.extras++;
            check_extra(m, &item);
            break;
        case 'M':
            check_page(&item, &s);
            break;
        default:
            break;
        }
    }
    kv_iter_end(&it);
    assert_ok(r);
    assert_int_equal(s.dirents, s.cookies);
    assert_int_equal(s.dirents, s.named + s.extras);
    assert_int_equal(s.dirents, s.names);
    struct cairn_meta_stats st;
    cairn_meta_stats(m, &st);
    cairn_meta_unlock(m);
    assert_int_equal(st.inodes, s.inodes);
    assert_int_equal(st.manifest_chunks, s.chunks);
    assert_int_equal(st.logical_bytes, s.bytes);
}
