// SPDX-License-Identifier: Apache-2.0
#include "sync/tree.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "sync/fresh.h"
#include "sync/path.h"

/* The directory's times (and links) after a change in it; `links` of ours if we must count. */
static void parent_changed(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                           int links)
{
    AUTO_FREE char *path = NULL;
    struct origin_stat st;
    bool told = false;
    if (s->info->caps & ORIGIN_LOCAL) {
        cairn_paths_begin(s);
        told = cairn_meta_path(s->meta, parent, &path) == 0 &&
               origin_stat(s->origin, c, path, &st) == 0;
        cairn_paths_end(s);
    }
    struct cairn_inode in;
    cairn_meta_lock(s->meta);
    cairn_fresh_mark_inode(s, parent);
    if (cairn_meta_inode(s->meta, parent, &in) == 0) {
        if (told) {
            cairn_fresh_own_stat(s, &in, &st);
        } else {
            in.mtime_ns = in.ctime_ns = cairn_wall_ns();
            if (in.nlink > 1) /* else its subdirectories have not been counted */
                in.nlink = (uint32_t)((int64_t)in.nlink + links);
        }
        cairn_meta_put_inode(s->meta, &in);
    }
    cairn_meta_unlock(s->meta);
}

/* A new node belongs to its maker, or to the group of a setgid directory. */
static uint32_t group_for(struct cairn_sync *s, uint64_t parent, struct cairn_maker *who)
{
    struct cairn_inode dir;
    if (cairn_meta_inode(s->meta, parent, &dir) == 0 && (dir.mode & S_ISGID)) {
        who->gid = dir.gid;
        if (S_ISDIR(who->mode))
            who->mode |= S_ISGID;
    }
    return who->gid;
}

/* What has to be set after the origin has made the node: its mask is 0 if nothing. */
static struct origin_attr owner_attr(struct cairn_sync *s, const struct origin_stat *st,
                                     const struct cairn_maker *who)
{
    struct origin_attr a = {.uid = who->uid, .gid = who->gid, .mode = who->mode & 07777};
    if (s->info->caps & ORIGIN_OWNERS) {
        if (st->uid != who->uid)
            a.mask |= ORIGIN_SET_UID;
        if (st->gid != who->gid)
            a.mask |= ORIGIN_SET_GID;
    }
    /* Giving a node away clears its suid and sgid bits. */
    bool cleared = a.mask && (who->mode & (S_ISUID | S_ISGID));
    if (!S_ISLNK(who->mode) && (s->info->caps & ORIGIN_MODES) &&
        (cleared || (st->mode & 07777) != a.mode))
        a.mask |= ORIGIN_SET_MODE;
    return a;
}

/* Sets owner and mode by path. That an ordinary user may not give nodes away is no failure. */
static int settle_owner(struct cairn_sync *s, const struct origin_call *c, const char *path,
                        const struct cairn_maker *who, struct origin_stat *st)
{
    int err = origin_stat(s->origin, c, path, st);
    if (err)
        return err;
    struct origin_attr a = owner_attr(s, st, who);
    if (!a.mask)
        return 0;
    err = origin_setattr(s->origin, c, path, &a);
    if (err && err != -EPERM && err != -EACCES && err != -EOPNOTSUPP)
        return err;
    return origin_stat(s->origin, c, path, st);
}

static int do_create(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                     const char *name, const struct cairn_maker *maker, struct cairn_inode *ret,
                     struct cairn_node **ret_node)
{
    struct cairn_maker who = *maker;
    AUTO_FREE char *path = NULL;
    struct origin_file *f;
    struct origin_stat st;
    group_for(s, parent, &who);
    cairn_paths_begin(s);
    int err = cairn_path_of_name(s, parent, name, &path);
    if (!err)
        err = origin_open(s->origin, c, path, O_RDWR | O_CREAT | O_EXCL, who.mode & 07777, &f, &st);
    cairn_paths_end(s);
    if (cairn_sync_answered(s, err))
        return err;
    struct cairn_source *sink = cairn_source_new(s, f);
    if (!sink)
        return -ENOMEM;
    struct origin_attr a = owner_attr(s, &st, &who);
    if (a.mask) {
        int e = origin_fsetattr(f, c, &a);
        if (!e)
            err = origin_fstat(f, c, &st);
        else if (e != -EPERM && e != -EACCES && e != -EOPNOTSUPP)
            err = e;
    }
    struct cairn_node *n = NULL;
    if (!err)
        err = cairn_fresh_adopt(s, parent, name, &st, ret);
    if (!err && !(n = cairn_node_get(s, ret->ino)))
        err = -ENOMEM;
    if (err) {
        cairn_source_unref(sink);
        return err;
    }
    pthread_mutex_lock(&n->lock);
    err = cairn_node_load_locked(n);
    if (!n->sink)
        n->sink = STEAL(sink);
    pthread_mutex_unlock(&n->lock);
    cairn_source_unref(sink);
    parent_changed(s, c, parent, 0);
    *ret_node = n;
    return 0;
}

int cairn_tree_create(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                      const char *name, const struct cairn_maker *maker, struct cairn_inode *ret,
                      struct cairn_node **ret_node)
{
    cairn_fresh_change_begin(s, parent, name);
    int err = do_create(s, c, parent, name, maker, ret, ret_node);
    cairn_fresh_change_end(s, parent, name);
    return err;
}

/* After the origin has made `path`: owner, store, parent. */
static int adopt_path(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                      const char *name, const char *path, const struct cairn_maker *who,
                      struct cairn_inode *ret)
{
    struct origin_stat st;
    int err = settle_owner(s, c, path, who, &st);
    if (!err)
        err = cairn_fresh_adopt(s, parent, name, &st, ret);
    if (!err)
        parent_changed(s, c, parent, S_ISDIR(st.mode) ? 1 : 0);
    return err;
}

static int do_mkdir(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                    const char *name, const struct cairn_maker *maker, struct cairn_inode *ret)
{
    struct cairn_maker who = *maker;
    AUTO_FREE char *path = NULL;
    group_for(s, parent, &who);
    cairn_paths_begin(s);
    int err = cairn_path_of_name(s, parent, name, &path);
    if (!err)
        err = cairn_sync_answered(s, origin_mkdir(s->origin, c, path, who.mode & 07777));
    cairn_paths_end(s);
    if (!err)
        err = adopt_path(s, c, parent, name, path, &who, ret);
    if (!err) {
        /* It is empty, and that is its listing; unless events begin with the first listing, before
         * which another mount could fill it unseen. */
        cairn_meta_lock(s->meta);
        if (!s->watching && cairn_meta_inode(s->meta, ret->ino, ret) == 0) {
            ret->flags |= CAIRN_INODE_LISTED;
            ret->listed_ns = cairn_now_ns();
            ret->listed_epoch = s->epoch;
            if (ret->nlink < 2)
                ret->nlink = 2;
            cairn_meta_put_inode(s->meta, ret);
        }
        cairn_meta_unlock(s->meta);
    }
    return err;
}

int cairn_tree_mkdir(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                     const char *name, const struct cairn_maker *maker, struct cairn_inode *ret)
{
    cairn_fresh_change_begin(s, parent, name);
    int err = do_mkdir(s, c, parent, name, maker, ret);
    cairn_fresh_change_end(s, parent, name);
    /* Where the origin sends events they begin with the first listing, and with them the knowledge
     * that a name is absent, which every creation in it asks for. */
    if (!err && s->watching && cairn_fresh_list(s, c, ret->ino) == 0)
        err = cairn_meta_inode(s->meta, ret->ino, ret);
    return err;
}

static int do_mknod(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                    const char *name, const struct cairn_maker *maker, struct cairn_inode *ret)
{
    struct cairn_maker who = *maker;
    AUTO_FREE char *path = NULL;
    group_for(s, parent, &who);
    cairn_paths_begin(s);
    int err = cairn_path_of_name(s, parent, name, &path);
    if (!err)
        err = cairn_sync_answered(s, origin_mknod(s->origin, c, path, who.mode, who.rdev));
    cairn_paths_end(s);
    if (!err)
        err = adopt_path(s, c, parent, name, path, &who, ret);
    return err == -EOPNOTSUPP ? -EPERM : err; /* as mknod(2) says of such a filesystem */
}

int cairn_tree_mknod(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                     const char *name, const struct cairn_maker *maker, struct cairn_inode *ret)
{
    cairn_fresh_change_begin(s, parent, name);
    int err = do_mknod(s, c, parent, name, maker, ret);
    cairn_fresh_change_end(s, parent, name);
    return err;
}

static int do_symlink(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                      const char *name, const char *target, const struct cairn_maker *maker,
                      struct cairn_inode *ret)
{
    struct cairn_maker who = *maker;
    AUTO_FREE char *path = NULL;
    group_for(s, parent, &who);
    cairn_paths_begin(s);
    int err = cairn_path_of_name(s, parent, name, &path);
    if (!err)
        err = cairn_sync_answered(s, origin_symlink(s->origin, c, target, path));
    cairn_paths_end(s);
    if (!err)
        err = adopt_path(s, c, parent, name, path, &who, ret);
    if (!err) {
        cairn_meta_lock(s->meta);
        cairn_meta_put_target(s->meta, ret->ino, target);
        cairn_meta_unlock(s->meta);
    }
    return err == -EOPNOTSUPP ? -EPERM : err;
}

int cairn_tree_symlink(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                       const char *name, const char *target, const struct cairn_maker *maker,
                       struct cairn_inode *ret)
{
    cairn_fresh_change_begin(s, parent, name);
    int err = do_symlink(s, c, parent, name, target, maker, ret);
    cairn_fresh_change_end(s, parent, name);
    return err;
}

static int do_link(struct cairn_sync *s, const struct origin_call *c, uint64_t ino, uint64_t parent,
                   const char *name, struct cairn_inode *ret)
{
    AUTO_FREE char *from = NULL;
    AUTO_FREE char *to = NULL;
    struct origin_stat st;
    cairn_paths_begin(s);
    int err = cairn_meta_path(s->meta, ino, &from);
    if (!err)
        err = cairn_path_of_name(s, parent, name, &to);
    if (!err)
        err = cairn_sync_answered(s, origin_link(s->origin, c, from, to));
    bool told =
        !err && (s->info->caps & ORIGIN_FILE_IDS) && origin_stat(s->origin, c, to, &st) == 0;
    cairn_paths_end(s);
    if (err)
        return err == -ESTALE ? -ENOENT : err == -EOPNOTSUPP ? -EPERM : err;
    cairn_fresh_forget_name(s, parent, name); /* if a stale one stood there */
    struct cairn_node *n = cairn_node_find(s, ino);
    if (n)
        pthread_mutex_lock(&n->lock);
    cairn_meta_lock(s->meta);
    cairn_fresh_mark_name(s, parent, name);
    cairn_fresh_mark_inode(s, ino);
    err = cairn_meta_link(s->meta, parent, name, ino);
    if (!err || err == -EEXIST) /* an event may have been faster */
        err = cairn_meta_inode(s->meta, ino, ret);
    if (!err) {
        if (told && st.size == ret->version.size && st.mtime_ns == ret->version.mtime_ns) {
            ret->nlink = st.nlink;
            ret->ctime_ns = st.ctime_ns;
            ret->version = cairn_version_of(&st);
            if (n)
                n->version = ret->version;
        } else {
            ret->nlink++;
            ret->ctime_ns = cairn_wall_ns();
        }
        err = cairn_meta_put_inode(s->meta, ret);
    }
    cairn_meta_unlock(s->meta);
    if (n)
        pthread_mutex_unlock(&n->lock);
    cairn_node_unref(n);
    parent_changed(s, c, parent, 0);
    return err;
}

int cairn_tree_link(struct cairn_sync *s, const struct origin_call *c, uint64_t ino,
                    uint64_t parent, const char *name, struct cairn_inode *ret)
{
    cairn_fresh_change_begin(s, parent, name);
    int err = do_link(s, c, ino, parent, name, ret);
    cairn_fresh_change_end(s, parent, name);
    return err;
}

/*
 * The name, perhaps the last, of an open file is about to go: what is not cached yet can be read
 * only through a file that is open at the origin.
 */
static void pin_open_file(struct cairn_sync *s, const struct origin_call *c, uint64_t ino)
{
    struct cairn_node *n = cairn_node_find(s, ino);
    if (n && n->opens)
        cairn_node_pin(n, c); /* if that fails what is cached must do */
    cairn_node_unref(n);
}

/* One of several names of a file went: its change time moved. */
static void other_name_moved(struct cairn_sync *s, const struct origin_call *c, uint64_t ino)
{
    AUTO_FREE char *path = NULL;
    if (cairn_meta_path(s->meta, ino, &path) == 0)
        cairn_tree_version_moved(s, c, ino, path);
}

static int remove_name(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                       const char *name, bool directory)
{
    AUTO_FREE char *path = NULL;
    uint64_t ino = 0;
    cairn_paths_begin(s);
    int err = cairn_path_of_name(s, parent, name, &path);
    if (!err && !directory && cairn_meta_lookup(s->meta, parent, name, &ino) == 0)
        pin_open_file(s, c, ino);
    if (!err)
        err = cairn_sync_answered(s, directory ? origin_rmdir(s->origin, c, path)
                                               : origin_unlink(s->origin, c, path));
    bool gone = !err || err == -ENOENT;
    if (gone)
        cairn_fresh_forget_name(s, parent, name);
    if (!err && ino)
        other_name_moved(s, c, ino);
    cairn_paths_end(s);
    if (gone)
        parent_changed(s, c, parent, directory ? -1 : 0);
    return err;
}

int cairn_tree_unlink(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                      const char *name)
{
    cairn_fresh_change_begin(s, parent, name);
    int err = remove_name(s, c, parent, name, false);
    cairn_fresh_change_end(s, parent, name);
    return err;
}

int cairn_tree_rmdir(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                     const char *name)
{
    cairn_fresh_change_begin(s, parent, name);
    int err = remove_name(s, c, parent, name, true);
    cairn_fresh_change_end(s, parent, name);
    return err;
}

void cairn_tree_version_moved(struct cairn_sync *s, const struct origin_call *c, uint64_t ino,
                              const char *path)
{
    struct origin_stat st;
    if (!(s->info->caps & ORIGIN_FILE_IDS) || origin_stat(s->origin, c, path, &st))
        return;
    struct cairn_node *n = cairn_node_find(s, ino);
    if (n)
        pthread_mutex_lock(&n->lock);
    cairn_meta_lock(s->meta);
    cairn_fresh_mark_inode(s, ino);
    struct cairn_inode in;
    if (!(n && n->uploading) && cairn_meta_inode(s->meta, ino, &in) == 0 &&
        st.fileid == in.fileid && st.size == in.version.size &&
        st.mtime_ns == in.version.mtime_ns) {
        in.version = cairn_version_of(&st);
        in.ctime_ns = st.ctime_ns;
        cairn_meta_put_inode(s->meta, &in);
        if (n)
            n->version = in.version;
    }
    cairn_meta_unlock(s->meta);
    if (n)
        pthread_mutex_unlock(&n->lock);
    cairn_node_unref(n);
}

/* --- rename --- */

/* The move in the store. Marks what it touches. */
static void move_name(struct cairn_sync *s, uint64_t parent, const char *name, uint64_t new_parent,
                      const char *new_name, unsigned flags)
{
    uint64_t ino = 0;
    bool exchange = flags & RENAME_EXCHANGE;
    cairn_meta_lock(s->meta);
    if (!exchange)
        cairn_fresh_forget_name_locked(s, new_parent, new_name);
    cairn_fresh_mark_name(s, parent, name);
    cairn_fresh_mark_name(s, new_parent, new_name);
    cairn_meta_lookup(s->meta, parent, name, &ino);
    if (exchange)
        cairn_meta_exchange(s->meta, parent, name, new_parent, new_name);
    else
        cairn_meta_rename(s->meta, parent, name, new_parent, new_name);
    struct cairn_inode in;
    if (ino && cairn_meta_inode(s->meta, ino, &in) == 0) {
        cairn_fresh_mark_inode(s, ino);
        in.ctime_ns = cairn_wall_ns();
        cairn_meta_put_inode(s->meta, &in);
    }
    cairn_meta_unlock(s->meta);
}

/* For origins that rename without RENAME_NOREPLACE: not atomic, but as close as they allow. */
static int rename_at_origin(struct cairn_sync *s, const struct origin_call *c, const char *from,
                            const char *to, unsigned flags)
{
    struct origin_stat st;
    if ((flags & RENAME_NOREPLACE) && !origin_can(s->origin, ORIGIN_RENAME_NOREPLACE)) {
        int err = origin_stat(s->origin, c, to, &st);
        if (err != -ENOENT)
            return err ? err : -EEXIST;
        flags &= ~(unsigned)RENAME_NOREPLACE;
    }
    if ((flags & RENAME_EXCHANGE) && !origin_can(s->origin, ORIGIN_RENAME_EXCHANGE))
        return -EINVAL;
    return origin_rename(s->origin, c, from, to, flags);
}

static int do_rename(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                     const char *name, uint64_t new_parent, const char *new_name, unsigned flags)
{
    AUTO_FREE char *from = NULL;
    AUTO_FREE char *to = NULL;
    uint64_t ino = 0, over = 0;
    struct cairn_inode in = {0}, over_in = {0};
    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
        return -EINVAL;
    pthread_rwlock_wrlock(&s->rename_lock);
    int err = cairn_path_of_name(s, parent, name, &from);
    if (!err)
        err = cairn_path_of_name(s, new_parent, new_name, &to);
    if (!err && cairn_meta_lookup(s->meta, parent, name, &ino) == 0)
        cairn_meta_inode(s->meta, ino, &in);
    if (!err && cairn_meta_lookup(s->meta, new_parent, new_name, &over) == 0)
        cairn_meta_inode(s->meta, over, &over_in);
    if (err || (ino && ino == over && !flags)) { /* two names of one file: nothing to be done */
        pthread_rwlock_unlock(&s->rename_lock);
        return err;
    }
    if (over && !flags)
        pin_open_file(s, c, over);
    err = cairn_sync_answered(s, rename_at_origin(s, c, from, to, flags));
    if (!err) {
        move_name(s, parent, name, new_parent, new_name, flags);
        if (ino)
            cairn_tree_version_moved(s, c, ino, to);
        if (over && !(flags & RENAME_EXCHANGE) && over_in.nlink > 1)
            other_name_moved(s, c, over);
        if (over && (flags & RENAME_EXCHANGE))
            cairn_tree_version_moved(s, c, over, from);
        /* Two directories that were exchanged are noticed by the origin's events themselves. */
        if (S_ISDIR(in.mode) && !S_ISDIR(over_in.mode))
            origin_watch_renamed(s->origin, from, to);
        else if ((flags & RENAME_EXCHANGE) && S_ISDIR(over_in.mode) && !S_ISDIR(in.mode))
            origin_watch_renamed(s->origin, to, from);
    }
    pthread_rwlock_unlock(&s->rename_lock);
    if (err)
        return err;
    /* How many subdirectories each parent has more. */
    int came = S_ISDIR(in.mode), went = S_ISDIR(over_in.mode);
    if (parent == new_parent) {
        parent_changed(s, c, parent, flags & RENAME_EXCHANGE ? 0 : -went);
    } else {
        parent_changed(s, c, parent, (flags & RENAME_EXCHANGE ? went : 0) - came);
        parent_changed(s, c, new_parent, came - went);
    }
    return 0;
}

int cairn_tree_rename(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                      const char *name, uint64_t new_parent, const char *new_name, unsigned flags)
{
    cairn_fresh_change_begin(s, parent, name);
    cairn_fresh_change_begin(s, new_parent, new_name);
    int err = do_rename(s, c, parent, name, new_parent, new_name, flags);
    cairn_fresh_change_end(s, new_parent, new_name);
    cairn_fresh_change_end(s, parent, name);
    return err;
}

/* --- attributes --- */

/* Applies to the origin's node by name, or by an open file if it has none. */
static int setattr_at_origin(struct cairn_sync *s, const struct origin_call *c, uint64_t ino,
                             struct cairn_node *n, const struct origin_attr *attr,
                             struct origin_stat *ret)
{
    AUTO_FREE char *path = NULL;
    int err = cairn_meta_path(s->meta, ino, &path);
    if (err == -ESTALE && n) {
        pthread_mutex_lock(&n->lock);
        struct cairn_source *src = n->sink ? n->sink : n->source;
        if (src)
            cairn_source_ref(src);
        pthread_mutex_unlock(&n->lock);
        if (!src)
            return -ENODATA; /* it lives here alone */
        err = origin_fsetattr(src->file, c, attr);
        if (!err)
            err = origin_fstat(src->file, c, ret);
        cairn_source_unref(src);
        return err;
    }
    if (!err)
        err = origin_setattr(s->origin, c, path, attr);
    return err ? err : origin_stat(s->origin, c, path, ret);
}

int cairn_tree_setattr(struct cairn_sync *s, const struct origin_call *c, uint64_t ino,
                       const struct origin_attr *attr)
{
    struct cairn_node *n = cairn_node_find(s, ino);
    struct origin_stat st;
    struct cairn_inode in;
    cairn_paths_begin(s);
    int err = cairn_sync_answered(s, setattr_at_origin(s, c, ino, n, attr, &st));
    cairn_paths_end(s);
    bool told = !err;
    if (err == -ENODATA)
        err = 0;
    if (err) {
        cairn_node_unref(n);
        return err;
    }
    if (n)
        pthread_mutex_lock(&n->lock);
    cairn_meta_lock(s->meta);
    cairn_fresh_mark_inode(s, ino);
    err = cairn_meta_inode(s->meta, ino, &in);
    if (!err) {
        struct cairn_inode old = in;
        /* Is it still the content that we know, but for what we have just set? */
        bool ours = told && st.size == in.version.size && st.token[0] == in.version.token[0] &&
                    ((attr->mask & ORIGIN_SET_MTIME) || st.mtime_ns == in.version.mtime_ns);
        if (ours || (told && !S_ISREG(in.mode))) {
            cairn_fresh_own_stat(s, &in, &st);
            if (n && n->loaded && !n->uploading)
                n->version = in.version;
            else if (n && n->uploading)
                in.version = old.version;
        } else {
            /* Something else happened to it as well: the next question tells. */
            if (attr->mask & ORIGIN_SET_MODE)
                in.mode = (in.mode & S_IFMT) | attr->mode;
            if (attr->mask & ORIGIN_SET_UID)
                in.uid = attr->uid;
            if (attr->mask & ORIGIN_SET_GID)
                in.gid = attr->gid;
            if (told)
                in.checked_epoch = 0;
        }
        /* What the origin's clock is too coarse to hold is held here. */
        if (attr->mask & ORIGIN_SET_MTIME)
            in.mtime_ns = attr->mtime_ns;
        if (attr->mask & ORIGIN_SET_ATIME)
            in.atime_ns = attr->atime_ns;
        if (!(s->info->caps & ORIGIN_FILE_IDS))
            in.ctime_ns = cairn_wall_ns();
        err = cairn_meta_put_inode(s->meta, &in);
    }
    cairn_meta_unlock(s->meta);
    if (n)
        pthread_mutex_unlock(&n->lock);
    cairn_node_unref(n);
    return err;
}

int cairn_tree_readlink(struct cairn_sync *s, const struct origin_call *c, uint64_t ino,
                        char **ret_target)
{
    AUTO_FREE char *path = NULL;
    char *target;
    cairn_paths_begin(s);
    int err = cairn_meta_path(s->meta, ino, &path);
    if (!err)
        err = cairn_sync_answered(s, origin_readlink(s->origin, c, path, &target));
    cairn_paths_end(s);
    if (err)
        return err == -ESTALE ? -ENOENT : err;
    cairn_meta_lock(s->meta);
    cairn_meta_put_target(s->meta, ino, target);
    cairn_meta_unlock(s->meta);
    *ret_target = target;
    return 0;
}
