// SPDX-License-Identifier: Apache-2.0
/* Inode records, symlink targets and the origin's identities of nodes. */
#include "meta/store.h"

#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "meta/store_priv.h"

struct inode_view {
    uint64_t ino;
    struct cairn_inode *in;
    uint32_t names;
};

static int view_inode(void *arg, const uint8_t *val, size_t len)
{
    struct inode_view *v = arg;
    return unpack_inode(val, len, v->ino, v->in, &v->names);
}

int meta_get_record(struct cairn_meta *m, uint64_t ino, struct inode_record *ret)
{
    struct kv_key key;
    struct inode_view v = {.ino = ino, .in = &ret->in};
    key_inode(&key, ino);
    int r = kv_view(m->kv, &key, view_inode, &v);
    if (r == 0)
        ret->names = v.names;
    return r;
}

void meta_put_record(struct kv_batch *b, const struct inode_record *rec)
{
    struct kv_key key;
    uint8_t val[INODE_BYTES_MAX];
    key_inode(&key, rec->in.ino);
    kv_batch_put(b, &key, val, pack_inode(val, rec));
}

static int view_number(void *arg, const uint8_t *val, size_t len)
{
    return unpack_number(val, len, arg);
}

int meta_get_number(struct cairn_meta *m, const struct kv_key *key, uint64_t *ret)
{
    return kv_view(m->kv, key, view_number, ret);
}

int cairn_meta_inode(struct cairn_meta *m, uint64_t ino, struct cairn_inode *ret)
{
    struct kv_key key;
    struct inode_view v = {.ino = ino, .in = ret};
    key_inode(&key, ino);
    return kv_view(m->kv, &key, view_inode, &v);
}

int cairn_meta_by_fileid(struct cairn_meta *m, uint64_t fileid, uint64_t *ret_ino)
{
    struct kv_key key;
    if (!fileid)
        return -ENOENT;
    key_fileid(&key, fileid);
    return meta_get_number(m, &key, ret_ino);
}

/* Removes the way from `fileid` to `ino`, unless it leads elsewhere by now. */
static int forget_fileid(struct cairn_meta *m, struct kv_batch *b, uint64_t fileid, uint64_t ino)
{
    struct kv_key key;
    uint64_t at;
    if (!fileid)
        return 0;
    key_fileid(&key, fileid);
    int r = meta_get_number(m, &key, &at);
    if (r == 0 && at == ino)
        kv_batch_del(b, &key);
    return r == -ENOENT ? 0 : r;
}

/* A new identity takes its key over; an old one takes only a free key. */
static int remember_fileid(struct cairn_meta *m, struct kv_batch *b, uint64_t fileid, uint64_t ino,
                           bool is_new)
{
    struct kv_key key;
    uint8_t val[NUMBER_BYTES];
    uint64_t at;
    if (!fileid)
        return 0;
    key_fileid(&key, fileid);
    if (!is_new) {
        int r = meta_get_number(m, &key, &at);
        if (r != -ENOENT)
            return r;
    }
    kv_batch_put(b, &key, val, pack_number(val, ino));
    return 0;
}

int cairn_meta_put_inode(struct cairn_meta *m, const struct cairn_inode *in)
{
    struct inode_record rec, old;
    old.in.parent = old.in.fileid = 0;
    old.in.name[0] = 0;
    old.names = 0;
    if (!in->ino)
        return -EINVAL;
    int r = meta_get_record(m, in->ino, &old);
    bool is_new = r == -ENOENT;
    if (r < 0 && !is_new)
        return r;
    rec.in = *in;
    rec.in.parent = old.in.parent;
    strcpy(rec.in.name, old.in.name);
    rec.names = old.names;

    struct kv_batch b;
    kv_batch_begin(&b, m->kv);
    meta_put_record(&b, &rec);
    bool changed = in->fileid != old.in.fileid;
    r = changed ? forget_fileid(m, &b, old.in.fileid, in->ino) : 0;
    if (r == 0)
        r = remember_fileid(m, &b, in->fileid, in->ino, changed);
    if (r < 0) {
        kv_batch_discard(&b);
        return r;
    }
    r = kv_apply(&b);
    if (r == 0 && is_new)
        atomic_fetch_add(&m->inodes, 1);
    return r;
}

int cairn_meta_del_inode(struct cairn_meta *m, uint64_t ino)
{
    struct inode_record rec;
    struct kv_key key;
    int r = meta_get_record(m, ino, &rec);
    if (r < 0)
        return r;
    if (rec.names)
        return -EBUSY;
    if (S_ISDIR(rec.in.mode)) {
        key_dirent(&key, ino, "");
        r = meta_any_key(m, &key, KEY_PREFIX_NUMBER);
        if (r)
            return r < 0 ? r : -ENOTEMPTY;
    }
    r = cairn_meta_drop_content(m, rec.in.content);
    if (r < 0)
        return r;
    struct kv_batch b;
    kv_batch_begin(&b, m->kv);
    b.removing = true;
    r = forget_fileid(m, &b, rec.in.fileid, ino);
    if (r < 0) {
        kv_batch_discard(&b);
        return r;
    }
    key_inode(&key, ino);
    kv_batch_del(&b, &key);
    if (S_ISLNK(rec.in.mode)) {
        key_target(&key, ino);
        kv_batch_del(&b, &key);
    }
    r = kv_apply(&b);
    if (r == 0)
        atomic_fetch_sub(&m->inodes, 1);
    return r;
}

static int view_target(void *arg, const uint8_t *val, size_t len)
{
    return unpack_target(val, len, arg);
}

int cairn_meta_target(struct cairn_meta *m, uint64_t ino, char **ret_target)
{
    struct kv_key key;
    key_target(&key, ino);
    return kv_view(m->kv, &key, view_target, ret_target);
}

int cairn_meta_put_target(struct cairn_meta *m, uint64_t ino, const char *target)
{
    struct kv_key key;
    size_t len = strlen(target);
    if (len > TARGET_MAX)
        return -ENAMETOOLONG;
    AUTO_FREE uint8_t *val = malloc(len + 1);
    if (!val)
        return -ENOMEM;
    struct kv_batch b;
    kv_batch_begin(&b, m->kv);
    key_target(&key, ino);
    kv_batch_put(&b, &key, val, pack_target(val, target));
    return kv_apply(&b);
}
