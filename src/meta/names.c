// SPDX-License-Identifier: Apache-2.0
/*
 * Names: which inode a name means, in which order a directory shows its names, what a node is
 * called. Each operation gathers its changes in one batch, so that a reader sees all or none.
 * Invariant: a D record has exactly one C record with the same inode, and either the inode's
 * record (primary name) or an L record says the name too.
 */
#include "meta/store.h"

#include <sched.h>
#include <string.h>

#include "base/util.h"
#include "meta/kv_iter.h"
#include "meta/store_priv.h"

#define PATH_TRIES     8
#define PATH_DEPTH_MAX 16384
#define LISTING_FIRST  32 /* names of the first batch: about what one FUSE reply takes */

struct dirent_view {
    uint64_t ino, cookie;
};

static int check_name(uint64_t parent, const char *name)
{
    size_t len = strnlen(name, CAIRN_NAME_MAX + 1);
    if (len > CAIRN_NAME_MAX)
        return -ENAMETOOLONG;
    if (!parent || len == 0 || memchr(name, '/', len) || !strcmp(name, ".") || !strcmp(name, ".."))
        return -EINVAL;
    return 0;
}

static int view_dirent(void *arg, const uint8_t *val, size_t len)
{
    struct dirent_view *d = arg;
    return unpack_dirent(val, len, &d->ino, &d->cookie);
}

static int get_dirent(struct cairn_meta *m, uint64_t parent, const char *name,
                      struct dirent_view *ret)
{
    struct kv_key key;
    int r = check_name(parent, name);
    if (r < 0)
        return r == -EINVAL ? -ENOENT : r;
    key_dirent(&key, parent, name);
    return kv_view(m->kv, &key, view_dirent, ret);
}

/* -EEXIST if the name is taken. */
static int check_free(struct cairn_meta *m, uint64_t parent, const char *name)
{
    struct dirent_view d;
    int r = check_name(parent, name);
    if (r == 0)
        r = get_dirent(m, parent, name, &d);
    return r == -ENOENT ? 0 : r < 0 ? r : -EEXIST;
}

static void put_dirent(struct kv_batch *b, uint64_t parent, const char *name, uint64_t ino,
                       uint64_t cookie)
{
    struct kv_key key;
    uint8_t val[DIRENT_BYTES], named[COOKIE_BYTES_MAX];
    key_dirent(&key, parent, name);
    kv_batch_put(b, &key, val, pack_dirent(val, ino, cookie));
    key_cookie(&key, parent, cookie);
    kv_batch_put(b, &key, named, pack_cookie(named, ino, name));
}

static void del_dirent(struct kv_batch *b, uint64_t parent, const char *name, uint64_t cookie)
{
    struct kv_key key;
    key_dirent(&key, parent, name);
    kv_batch_del(b, &key);
    key_cookie(&key, parent, cookie);
    kv_batch_del(b, &key);
}

static bool is_primary(const struct inode_record *rec, uint64_t parent, const char *name)
{
    return rec->in.parent == parent && !strcmp(rec->in.name, name);
}

static void set_primary(struct inode_record *rec, uint64_t parent, const char *name)
{
    size_t len = strnlen(name, CAIRN_NAME_MAX);
    rec->in.parent = parent;
    memcpy(rec->in.name, name, len);
    rec->in.name[len] = 0;
}

static void put_extra(struct kv_batch *b, uint64_t ino, uint64_t parent, const char *name)
{
    struct kv_key key;
    uint8_t val[MARK_BYTES];
    key_link(&key, ino, parent, name);
    kv_batch_put(b, &key, val, pack_mark(val));
}

static void del_extra(struct kv_batch *b, uint64_t ino, uint64_t parent, const char *name)
{
    struct kv_key key;
    key_link(&key, ino, parent, name);
    kv_batch_del(b, &key);
}

/* What the inode says of its own names, when one of them changes. */
static void move_name(struct kv_batch *b, struct inode_record *rec, uint64_t parent,
                      const char *name, uint64_t new_parent, const char *new_name)
{
    if (is_primary(rec, parent, name)) {
        set_primary(rec, new_parent, new_name);
        meta_put_record(b, rec);
    } else {
        del_extra(b, rec->in.ino, parent, name);
        put_extra(b, rec->in.ino, new_parent, new_name);
    }
}

/* Applies and lets those know who read several records to build a path. */
static int apply_move(struct cairn_meta *m, struct kv_batch *b)
{
    atomic_fetch_add(&m->moves, 1);
    int r = kv_apply(b);
    atomic_fetch_add(&m->moves, 1);
    return r;
}

static uint64_t new_cookie(struct cairn_meta *m)
{
    return atomic_fetch_add(&m->next_cookie, 1);
}

int cairn_meta_lookup(struct cairn_meta *m, uint64_t parent, const char *name, uint64_t *ret_ino)
{
    struct dirent_view d;
    int r = get_dirent(m, parent, name, &d);
    if (r == 0)
        *ret_ino = d.ino;
    return r;
}

int cairn_meta_link(struct cairn_meta *m, uint64_t parent, const char *name, uint64_t ino)
{
    struct inode_record rec;
    int r = ino == CAIRN_ROOT_INO ? -EINVAL : check_free(m, parent, name);
    if (r == 0)
        r = meta_get_record(m, ino, &rec);
    if (r < 0)
        return r;
    struct kv_batch b;
    kv_batch_begin(&b, m->kv);
    put_dirent(&b, parent, name, ino, new_cookie(m));
    if (rec.in.parent)
        put_extra(&b, ino, parent, name);
    else
        set_primary(&rec, parent, name);
    rec.names++;
    meta_put_record(&b, &rec);
    return kv_apply(&b);
}

/* Makes the first of the extra names the primary one; without any there is none. */
static int promote_name(struct cairn_meta *m, struct kv_batch *b, struct inode_record *rec)
{
    struct kv_iter it;
    struct kv_item item;
    struct kv_key key;
    key_link(&key, rec->in.ino, 0, "");
    kv_iter_begin(&it, m->kv, &key, KEY_PREFIX_NUMBER, 1);
    int r = kv_iter_next(&it, &item);
    set_primary(rec, 0, "");
    if (r > 0) {
        uint64_t ino, parent;
        char name[CAIRN_NAME_MAX + 1];
        r = parse_key_link(item.key, item.key_len, &ino, &parent, name);
        if (r == 0) {
            set_primary(rec, parent, name);
            del_extra(b, ino, parent, name);
        }
    }
    kv_iter_end(&it);
    return r;
}

int cairn_meta_unlink(struct cairn_meta *m, uint64_t parent, const char *name, uint64_t *ret_ino,
                      uint32_t *ret_names_left)
{
    struct dirent_view d;
    struct inode_record rec = {0};
    int r = get_dirent(m, parent, name, &d);
    if (r < 0)
        return r;
    struct kv_batch b;
    kv_batch_begin(&b, m->kv);
    b.removing = true;
    del_dirent(&b, parent, name, d.cookie);
    r = meta_get_record(m, d.ino, &rec);
    if (r == 0) {
        rec.names -= rec.names > 0;
        if (is_primary(&rec, parent, name))
            r = promote_name(m, &b, &rec);
        else
            del_extra(&b, d.ino, parent, name);
        meta_put_record(&b, &rec);
    } else if (r == -ENOENT) {
        r = 0; /* a name of nothing goes all the same */
    }
    if (r < 0) {
        kv_batch_discard(&b);
        return r;
    }
    r = apply_move(m, &b);
    if (r < 0)
        return r;
    if (ret_ino)
        *ret_ino = d.ino;
    if (ret_names_left)
        *ret_names_left = rec.names;
    return 0;
}

int cairn_meta_rename(struct cairn_meta *m, uint64_t parent, const char *name, uint64_t new_parent,
                      const char *new_name)
{
    struct dirent_view d;
    struct inode_record rec;
    int r = get_dirent(m, parent, name, &d);
    if (r == 0)
        r = check_free(m, new_parent, new_name);
    if (r == 0)
        r = meta_get_record(m, d.ino, &rec);
    if (r < 0)
        return r;
    struct kv_batch b;
    kv_batch_begin(&b, m->kv);
    del_dirent(&b, parent, name, d.cookie);
    put_dirent(&b, new_parent, new_name, d.ino, new_cookie(m));
    move_name(&b, &rec, parent, name, new_parent, new_name);
    return apply_move(m, &b);
}

int cairn_meta_exchange(struct cairn_meta *m, uint64_t a_parent, const char *a_name,
                        uint64_t b_parent, const char *b_name)
{
    struct dirent_view x, y;
    struct inode_record x_rec, y_rec;
    int r = get_dirent(m, a_parent, a_name, &x);
    if (r == 0)
        r = get_dirent(m, b_parent, b_name, &y);
    if (r == 0)
        r = meta_get_record(m, x.ino, &x_rec);
    if (r == 0)
        r = meta_get_record(m, y.ino, &y_rec);
    if (r < 0 || x.ino == y.ino)
        return r;
    struct kv_batch b;
    kv_batch_begin(&b, m->kv);
    put_dirent(&b, a_parent, a_name, y.ino, x.cookie);
    put_dirent(&b, b_parent, b_name, x.ino, y.cookie);
    move_name(&b, &x_rec, a_parent, a_name, b_parent, b_name);
    move_name(&b, &y_rec, b_parent, b_name, a_parent, a_name);
    return apply_move(m, &b);
}

/* A path that is written from its end. */
struct path {
    char *buf;
    size_t cap, at; /* the text is buf + at, up to cap */
};

static int path_prepend(struct path *p, const char *name)
{
    size_t len = strlen(name), need = len + 1;
    if (p->at < need) {
        size_t used = p->cap - p->at, cap = (p->cap + need) * 2;
        char *buf = malloc(cap);
        if (!buf)
            return -ENOMEM;
        if (used)
            memcpy(buf + cap - used, p->buf + p->at, used);
        free(p->buf);
        p->buf = buf;
        p->at = cap - used;
        p->cap = cap;
    }
    /* Each name ends with '/'; the last one's becomes the NUL. */
    p->buf[--p->at] = '/';
    p->at -= len;
    memcpy(p->buf + p->at, name, len);
    return 0;
}

static int walk_up(struct cairn_meta *m, uint64_t ino, char **ret_path)
{
    struct path p = {0};
    int r = 0;
    for (unsigned depth = 0; ino != CAIRN_ROOT_INO && r == 0; depth++) {
        struct cairn_inode in = {0};
        r = depth < PATH_DEPTH_MAX ? cairn_meta_inode(m, ino, &in) : -ELOOP;
        if ((r == -ENOENT && depth > 0) || (r == 0 && !in.parent))
            r = -ESTALE;
        if (r == 0)
            r = path_prepend(&p, in.name);
        ino = in.parent;
    }
    char *path = NULL;
    if (r == 0) {
        if (p.cap)
            p.buf[p.cap - 1] = 0;
        path = strdup(p.cap ? p.buf + p.at : "");
        r = path ? 0 : -ENOMEM;
    }
    free(p.buf);
    if (r == 0)
        *ret_path = path;
    return r;
}

int cairn_meta_path(struct cairn_meta *m, uint64_t ino, char **ret_path)
{
    char *path = NULL;
    for (unsigned i = 0; i < PATH_TRIES; i++) {
        uint64_t moves = atomic_load(&m->moves);
        if (moves & 1) {
            sched_yield();
            continue;
        }
        int r = walk_up(m, ino, &path);
        if (atomic_load(&m->moves) == moves) {
            if (r == 0)
                *ret_path = path;
            return r;
        }
        if (r == 0)
            free(path);
    }
    /* Somebody moves names all the time; it is not us, or `moves` would have stood still. */
    kv_lock(m->kv, true);
    int r = walk_up(m, ino, &path);
    kv_unlock(m->kv);
    if (r == 0)
        *ret_path = path;
    return r;
}

/* Adds the inode's record to the entry and hands it over: 0 to go on. */
static int tell_dirent(struct cairn_meta *m, struct cairn_dirent *e, cairn_dirent_fn *fn, void *arg)
{
    struct cairn_inode in;
    int r = cairn_meta_inode(m, e->ino, &in);
    if (r < 0 && r != -ENOENT)
        return r;
    e->have_inode = r == 0;
    e->inode = e->have_inode ? &in : NULL;
    return fn(arg, e);
}

int cairn_meta_readdir(struct cairn_meta *m, uint64_t dir, uint64_t after, cairn_dirent_fn *fn,
                       void *arg)
{
    struct kv_iter it;
    struct kv_item item;
    struct kv_key key;
    int r;
    if (after == UINT64_MAX)
        return 0;
    key_cookie(&key, dir, after + 1);
    kv_iter_begin(&it, m->kv, &key, KEY_PREFIX_NUMBER, LISTING_FIRST);
    while ((r = kv_iter_next(&it, &item)) > 0) {
        char name[CAIRN_NAME_MAX + 1];
        struct cairn_dirent e = {.name = name};
        uint64_t parent;
        r = parse_key_cookie(item.key, item.key_len, &parent, &e.cookie);
        if (r == 0)
            r = unpack_cookie(item.val, item.val_len, &e.ino, name);
        if (r == 0)
            r = tell_dirent(m, &e, fn, arg);
        if (r)
            break;
    }
    kv_iter_end(&it);
    return r;
}

int cairn_meta_readdir_by_name(struct cairn_meta *m, uint64_t dir, const char *after,
                               cairn_dirent_fn *fn, void *arg)
{
    struct kv_iter it;
    struct kv_item item;
    struct kv_key key;
    int r;
    key_dirent(&key, dir, after);
    kv_iter_begin(&it, m->kv, &key, KEY_PREFIX_NUMBER, LISTING_FIRST);
    while ((r = kv_iter_next(&it, &item)) > 0) {
        char name[CAIRN_NAME_MAX + 1];
        struct cairn_dirent e = {.name = name};
        uint64_t parent;
        r = parse_key_dirent(item.key, item.key_len, &parent, name);
        if (r == 0 && strcmp(name, after) == 0)
            continue;
        if (r == 0)
            r = unpack_dirent(item.val, item.val_len, &e.ino, &e.cookie);
        if (r == 0)
            r = tell_dirent(m, &e, fn, arg);
        if (r)
            break;
    }
    kv_iter_end(&it);
    return r;
}

int cairn_meta_place(struct cairn_meta *m, uint64_t parent, const char *name, uint64_t *ret_cookie)
{
    struct dirent_view d;
    int r = get_dirent(m, parent, name, &d);
    if (r == 0)
        *ret_cookie = d.cookie;
    return r;
}
