// SPDX-License-Identifier: Apache-2.0
/*
 * Bringing the origin's answers into the store. A name keeps its inode number as long as it leads
 * to the same node: the same type and, where the origin tells identities, the same identity. Where
 * it does not, a file replaced by another keeps its number and gets a new content.
 */
#include "sync/fresh_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "sync/stage.h"

static struct cairn_change *add_change(struct cairn_changes *c)
{
    if (c->count == c->room) {
        unsigned room = c->room ? c->room * 2 : 8;
        struct cairn_change *item = realloc(c->item, room * sizeof *item);
        if (!item)
            return NULL; /* the kernel's own timeouts cover it */
        c->item = item;
        c->room = room;
    }
    return &c->item[c->count++];
}

void cairn_changes_inode(struct cairn_changes *c, uint64_t ino)
{
    struct cairn_change *i = add_change(c);
    if (i)
        i->ino = ino;
}

void cairn_changes_name(struct cairn_changes *c, uint64_t parent, const char *name)
{
    struct cairn_change *i = add_change(c);
    if (i) {
        i->ino = 0;
        i->parent = parent;
        strcpy(i->name, name);
    }
}

static void tell_inode(struct cairn_sync *s, uint64_t ino, bool data)
{
    cairn_count(s->metrics, CAIRN_INVALIDATED, 1);
    s->listener.inode_changed(s->listener.arg, ino, data);
}

void cairn_changes_tell(struct cairn_sync *s, struct cairn_changes *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        const struct cairn_change *e = &c->item[i];
        if (e->ino) {
            tell_inode(s, e->ino, false);
        } else {
            cairn_count(s->metrics, CAIRN_INVALIDATED, 1);
            s->listener.entry_changed(s->listener.arg, e->parent, e->name);
        }
    }
    free(c->item);
    memset(c, 0, sizeof *c);
}

/* The origin's time, unless ours is the same at its granularity and tells more. */
static int64_t merge_time(struct cairn_sync *s, int64_t ours, int64_t theirs)
{
    int64_t step = s->info->time_granularity_ns;
    if (step > 1 && ours >= theirs && ours < theirs + step)
        return ours;
    return theirs;
}

static void copy_stat(struct cairn_sync *s, struct cairn_inode *in, const struct origin_stat *st)
{
    bool identities = s->info->caps & ORIGIN_FILE_IDS;
    in->mode = st->mode;
    in->uid = st->uid;
    in->gid = st->gid;
    in->rdev = st->rdev;
    if (identities || !in->nlink)
        in->nlink = S_ISDIR(st->mode) && !identities ? 1 : st->nlink; /* 1: not counted yet */
    in->size = st->size;
    in->blocks = st->blocks;
    in->atime_ns = merge_time(s, in->atime_ns, st->atime_ns);
    int64_t mtime = merge_time(s, in->mtime_ns, st->mtime_ns);
    /* Without a change time of the origin's own, ours stands until something changes. */
    if (identities || !(in->flags & CAIRN_INODE_KNOWN) || mtime != in->mtime_ns)
        in->ctime_ns = identities ? st->ctime_ns : mtime;
    in->mtime_ns = mtime;
    in->fileid = st->fileid;
    in->flags |= CAIRN_INODE_KNOWN;
}

static bool same_node(const struct cairn_inode *in, const struct origin_stat *st)
{
    return (in->mode & S_IFMT) == (st->mode & S_IFMT) &&
           (!in->fileid || !st->fileid || in->fileid == st->fileid);
}

static bool same_attributes(const struct cairn_inode *a, const struct cairn_inode *b)
{
    return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && a->nlink == b->nlink &&
           a->size == b->size && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns &&
           cairn_version_equal(&a->version, &b->version);
}

static bool is_open(struct cairn_sync *s, uint64_t ino)
{
    struct cairn_node *n = cairn_node_find(s, ino);
    bool open = n && atomic_load(&n->opens);
    cairn_node_unref(n);
    return open;
}

/*
 * A file that was replaced by another keeps its inode if nobody has either open and neither has
 * other names: who has just looked it up and is about to open it then gets the new content, not an
 * error. The name from which the other came is about to be found gone. It also keeps it if what
 * was written to it here is not sent yet: that belongs under the name, whoever else wrote there.
 */
static bool may_take_over(struct cairn_sync *s, const struct cairn_node *n,
                          const struct cairn_inode *in, const struct origin_stat *st)
{
    uint64_t other;
    return S_ISREG(in->mode) && S_ISREG(st->mode) && in->nlink <= 1 && st->nlink <= 1 &&
           !(n && n->opens && !(n->stage && n->stage->dirty)) &&
           (cairn_meta_by_fileid(s->meta, st->fileid, &other) || !is_open(s, other));
}

void cairn_fresh_own_stat(struct cairn_sync *s, struct cairn_inode *in,
                          const struct origin_stat *st)
{
    copy_stat(s, in, st);
    in->version = cairn_version_of(st);
}

int cairn_apply_inode_locked(struct cairn_sync *s, struct cairn_node *n, struct cairn_inode *in,
                             const struct origin_stat *st, struct cairn_stamp stamp,
                             struct cairn_changes *changes)
{
    /* While we write the file ourselves the origin shows states of our own making; the upload
     * tells the store what came of it. */
    if (n && n->uploading)
        return 0;
    struct cairn_inode old = *in;
    copy_stat(s, in, st);
    struct cairn_version version = cairn_version_of(st);
    bool data = false;
    if (S_ISREG(in->mode) && !cairn_version_equal(&version, &in->version)) {
        data = old.flags & CAIRN_INODE_KNOWN;
        /* Before anybody can open the new version, who would else keep the pages of the old one;
         * it is passed on once the store's lock is free. */
        if (data)
            tell_inode(s, in->ino, true);
        if (in->content)
            cairn_meta_drop_content(s->meta, in->content);
        in->content = 0;
        if (n && n->stage)
            cairn_stage_rebase(n->stage, n->size, in);
        if (n)
            cairn_node_switch_locked(n, 0, &version);
    } else if (S_ISLNK(in->mode) && !cairn_version_equal(&version, &in->version)) {
        cairn_meta_put_target(s->meta, in->ino, "");
    }
    in->version = version;
    in->checked_ns = stamp.ns;
    in->checked_epoch = stamp.epoch;
    if (memcmp(in, &old, sizeof old) == 0)
        return 0; /* an event of our own making, mostly */
    if (!data && (old.flags & CAIRN_INODE_KNOWN) && !same_attributes(&old, in))
        cairn_changes_inode(changes, in->ino);
    return cairn_meta_put_inode(s->meta, in);
}

enum why {
    WHY_GONE,     /* it is no longer there */
    WHY_REPLACED, /* it leads to another node */
    WHY_OURS,     /* taken away by the kernel's request: the kernel knows the inode */
};

static int drop_name_locked(struct cairn_sync *s, uint64_t parent, const char *name, enum why why,
                            struct cairn_changes *changes);

static int first_name(void *arg, const struct cairn_dirent *e)
{
    strcpy(arg, e->name);
    return 1;
}

/* A directory that is gone: so is all that was below it. */
static int drop_children_locked(struct cairn_sync *s, uint64_t dir, struct cairn_changes *changes)
{
    char name[CAIRN_NAME_MAX + 1];
    int r;
    while ((r = cairn_meta_readdir(s->meta, dir, 0, first_name, name)) == 1) {
        r = drop_name_locked(s, dir, name, WHY_GONE, changes);
        if (r)
            break;
    }
    return r;
}

/* The name leads nowhere any more, or to another node. */
static int drop_name_locked(struct cairn_sync *s, uint64_t parent, const char *name, enum why why,
                            struct cairn_changes *changes)
{
    uint64_t ino;
    uint32_t left;
    struct cairn_inode in;
    int err = cairn_meta_lookup(s->meta, parent, name, &ino);
    if (!err)
        err = cairn_meta_inode(s->meta, ino, &in);
    if (!err && S_ISDIR(in.mode))
        err = drop_children_locked(s, ino, changes);
    if (!err)
        err = cairn_meta_unlink(s->meta, parent, name, NULL, &left);
    if (err)
        return err == -ENOENT ? 0 : err;
    cairn_changes_name(changes, parent, name);
    err = cairn_meta_inode(s->meta, ino, &in);
    if (err)
        return err == -ENOENT ? 0 : err;
    if (left) {
        if (in.nlink > 1)
            in.nlink--;
        in.ctime_ns = cairn_wall_ns();
        return cairn_meta_put_inode(s->meta, &in);
    }
    /* Found without its lock, which comes before the store's: the marks may be set without it. */
    struct cairn_node *n = cairn_node_find(s, ino);
    if (n) {
        atomic_store(&n->replaced, why == WHY_REPLACED);
        atomic_store(&n->unlinked, true);
    }
    /* After the mark: a close from now on sees it, and lets the record go. */
    bool open = n && (atomic_load(&n->opens) || atomic_load(&n->lingers));
    in.nlink = 0;
    /* What the kernel knows may still be asked about, through a directory's descriptor, say; its
     * FORGET ends it. */
    err = open || why == WHY_OURS ? cairn_meta_put_inode(s->meta, &in)
                                  : cairn_meta_del_inode(s->meta, ino);
    cairn_node_unref(n);
    return err;
}

/* The inode that this node has under another name: a hard link, or a rename at the origin. */
static bool find_other_name(struct cairn_sync *s, const struct origin_stat *st,
                            struct cairn_inode *ret)
{
    uint64_t ino;
    if (!st->fileid || S_ISDIR(st->mode) || cairn_meta_by_fileid(s->meta, st->fileid, &ino) ||
        cairn_meta_inode(s->meta, ino, ret))
        return false;
    return same_node(ret, st) && ret->parent &&
           (st->nlink > 1 || (ret->size == st->size && ret->mtime_ns == st->mtime_ns));
}

/* A node found under one more name. If the origin says that it has but one, it was moved: kept
 * under an old name it would be mistaken for what is there by now. */
static int add_name_locked(struct cairn_sync *s, const struct cairn_inode *found, uint64_t parent,
                           const char *name, const struct origin_stat *st,
                           struct cairn_changes *changes)
{
    struct cairn_inode in = *found;
    int err = 0;
    while (!err && st->nlink == 1 && in.parent) {
        cairn_mark_name(&s->fresh->marks, in.parent, in.name);
        cairn_changes_name(changes, in.parent, in.name);
        err = cairn_meta_unlink(s->meta, in.parent, in.name, NULL, NULL);
        if (!err)
            err = cairn_meta_inode(s->meta, in.ino, &in);
    }
    return err ? err : cairn_meta_link(s->meta, parent, name, in.ino);
}

int cairn_apply_name_locked(struct cairn_sync *s, struct cairn_node *n, uint64_t parent,
                            const char *name, const struct origin_stat *st,
                            struct cairn_stamp stamp, struct cairn_changes *changes,
                            uint64_t *ret_ino)
{
    struct cairn_inode in, before;
    uint64_t ino;
    int err = cairn_meta_lookup(s->meta, parent, name, &ino);
    if (err && err != -ENOENT)
        return err;
    bool have = !err && cairn_meta_inode(s->meta, ino, &in) == 0;
    bool news = !err;
    if (!err &&
        (!st || !have || stamp.replaced || !(same_node(&in, st) || may_take_over(s, n, &in, st)))) {
        /* What was written here and not yet sent must not vanish with the name. */
        if (n && n->stage && n->uploading)
            return *ret_ino = ino, 0;
        err = drop_name_locked(s, parent, name, st ? WHY_REPLACED : WHY_GONE, changes);
        if (err)
            return err;
        have = false;
    }
    if (!st) {
        err = -ENOENT;
    } else if (have) {
        before = in;
        err = cairn_apply_inode_locked(s, n, &in, st, stamp, changes);
        news = !same_attributes(&before, &in);
    } else if (find_other_name(s, st, &in)) {
        news = true;
        err = add_name_locked(s, &in, parent, name, st, changes);
    } else {
        news = true;
        memset(&in, 0, sizeof in);
        in.ino = cairn_meta_new_ino(s->meta);
        err = cairn_apply_inode_locked(s, NULL, &in, st, stamp, changes);
        if (!err)
            err = cairn_meta_link(s->meta, parent, name, in.ino);
    }
    /* An answer that was given before this one must not come after it. */
    if (news)
        cairn_mark_name(&s->fresh->marks, parent, name);
    if (!err)
        *ret_ino = in.ino;
    return err;
}

static int64_t own_stamp_ns(struct cairn_sync *s, uint64_t parent)
{
    pthread_mutex_lock(&s->fresh->lock);
    bool watched = cairn_name_set_has(&s->fresh->watched, cairn_name_hash(parent, ""));
    pthread_mutex_unlock(&s->fresh->lock);
    return watched ? CAIRN_NEVER : cairn_now_ns();
}

int cairn_fresh_adopt(struct cairn_sync *s, uint64_t parent, const char *name,
                      const struct origin_stat *st, struct cairn_inode *ret)
{
    struct cairn_changes changes = {0};
    struct cairn_stamp stamp = {.ns = own_stamp_ns(s, parent), .epoch = s->epoch};
    uint64_t ino;
    cairn_meta_lock(s->meta);
    cairn_mark_name(&s->fresh->marks, parent, name);
    /* The kernel has asked for this name to be made, so what the store has under it is stale;
     * an event may also have brought our own node in already, which then keeps its number. */
    int err = cairn_apply_name_locked(s, NULL, parent, name, st, stamp, &changes, &ino);
    if (!err)
        err = cairn_meta_inode(s->meta, ino, ret);
    cairn_meta_unlock(s->meta);
    free(changes.item); /* the kernel learns it from the reply to its own request */
    return err;
}

void cairn_fresh_forget_name_locked(struct cairn_sync *s, uint64_t parent, const char *name)
{
    struct cairn_changes changes = {0};
    uint64_t ino;
    cairn_mark_name(&s->fresh->marks, parent, name);
    if (cairn_meta_lookup(s->meta, parent, name, &ino) == 0) {
        cairn_mark_inode(&s->fresh->marks, ino);
        drop_name_locked(s, parent, name, WHY_OURS, &changes);
    }
    free(changes.item); /* the kernel learns it from the reply to its own request */
}

void cairn_fresh_forget_name(struct cairn_sync *s, uint64_t parent, const char *name)
{
    cairn_meta_lock(s->meta);
    cairn_fresh_forget_name_locked(s, parent, name);
    cairn_meta_unlock(s->meta);
}
