// SPDX-License-Identifier: Apache-2.0
#include "sync/fresh_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "sync/path.h"

#define QUESTIONS 4 /* tries until an answer is not overtaken by a change */

static int64_t left(struct cairn_sync *s, int64_t checked_ns, uint64_t epoch)
{
    if (s->fresh_ns == CAIRN_NEVER)
        return CAIRN_NEVER;
    if (s->fresh_ns == 0 || epoch != s->epoch)
        return 0;
    if (checked_ns == CAIRN_NEVER)
        return CAIRN_NEVER;
    int64_t ns = checked_ns + s->fresh_ns - cairn_now_ns();
    return ns > 0 ? ns : 0;
}

int64_t cairn_fresh_left(struct cairn_sync *s, const struct cairn_inode *in)
{
    if (!(in->flags & CAIRN_INODE_KNOWN))
        return 0;
    return left(s, in->checked_ns, in->checked_epoch);
}

int64_t cairn_fresh_listing_left(struct cairn_sync *s, const struct cairn_inode *dir)
{
    if (!(dir->flags & CAIRN_INODE_LISTED))
        return 0;
    return left(s, dir->listed_ns, dir->listed_epoch);
}

struct cairn_stamp cairn_stamp_for(struct cairn_sync *s, uint64_t dir, const char *path)
{
    struct cairn_stamp stamp = {.ns = cairn_now_ns(), .epoch = s->epoch};
    if (!s->watching)
        return stamp;
    struct cairn_fresh *f = s->fresh;
    uint64_t key = cairn_name_hash(dir, "");
    pthread_mutex_lock(&f->lock);
    bool watched = cairn_name_set_has(&f->watched, key);
    pthread_mutex_unlock(&f->lock);
    if (!watched) {
        if (origin_watch_dir(s->origin, path) < 0)
            return stamp; /* no more watches to be had: this directory lives by the clock */
        pthread_mutex_lock(&f->lock);
        watched = cairn_name_set_add(&f->watched, key) == 0;
        pthread_mutex_unlock(&f->lock);
    }
    if (watched)
        stamp.ns = CAIRN_NEVER;
    return stamp;
}

void cairn_fresh_mark_name(struct cairn_sync *s, uint64_t parent, const char *name)
{
    cairn_mark_name(&s->fresh->marks, parent, name);
}

void cairn_fresh_change_begin(struct cairn_sync *s, uint64_t parent, const char *name)
{
    cairn_marks_change_begin(&s->fresh->marks, parent, name);
}

void cairn_fresh_change_end(struct cairn_sync *s, uint64_t parent, const char *name)
{
    cairn_marks_change_end(&s->fresh->marks, parent, name);
}

void cairn_fresh_mark_inode(struct cairn_sync *s, uint64_t ino)
{
    cairn_mark_inode(&s->fresh->marks, ino);
}

/* Locks what an answer about this name has to hold: the node that it leads to (NULL if that is not
 * in use), then the store. */
static struct cairn_node *lock_name(struct cairn_sync *s, uint64_t parent, const char *name)
{
    for (;;) {
        uint64_t ino = 0, again = 0;
        cairn_meta_lookup(s->meta, parent, name, &ino);
        struct cairn_node *n = ino ? cairn_node_find(s, ino) : NULL;
        if (n) {
            pthread_mutex_lock(&n->lock);
            cairn_node_load_locked(n);
        }
        cairn_meta_lock(s->meta);
        cairn_meta_lookup(s->meta, parent, name, &again);
        if (ino == again)
            return n;
        cairn_meta_unlock(s->meta);
        if (n)
            pthread_mutex_unlock(&n->lock);
        cairn_node_unref(n);
    }
}

static void unlock_name(struct cairn_sync *s, struct cairn_node *n)
{
    cairn_meta_unlock(s->meta);
    if (n)
        pthread_mutex_unlock(&n->lock);
    cairn_node_unref(n);
}

static uint64_t marks_now(struct cairn_sync *s, uint64_t parent, const char *name)
{
    uint64_t ino, marks = cairn_marks_of_name(&s->fresh->marks, parent, name);
    if (cairn_meta_lookup(s->meta, parent, name, &ino) == 0)
        marks += cairn_marks_of_inode(&s->fresh->marks, ino);
    return marks;
}

/* One answer about one name into the store. -EAGAIN: it was overtaken. */
static int apply_one(struct cairn_sync *s, uint64_t parent, const char *name,
                     const struct origin_stat *st, struct cairn_stamp stamp, uint64_t marks,
                     uint64_t *ret_ino)
{
    struct cairn_changes changes = {0};
    struct cairn_node *n = lock_name(s, parent, name);
    int err = -EAGAIN;
    if (marks == marks_now(s, parent, name) &&
        !cairn_marks_changing(&s->fresh->marks, parent, name))
        err = cairn_apply_name_locked(s, n, parent, name, st, stamp, &changes, ret_ino);
    unlock_name(s, n);
    cairn_changes_tell(s, &changes);
    return err;
}

static int ask_root(struct cairn_sync *s, const struct origin_call *c)
{
    struct origin_stat st;
    struct cairn_stamp stamp = cairn_stamp_for(s, CAIRN_ROOT_INO, "");
    int err = cairn_sync_answered(s, origin_stat(s->origin, c, "", &st));
    if (err)
        return err;
    struct cairn_changes changes = {0};
    struct cairn_inode in;
    cairn_meta_lock(s->meta);
    err = cairn_meta_inode(s->meta, CAIRN_ROOT_INO, &in);
    if (err == -ENOENT) {
        memset(&in, 0, sizeof in);
        in.ino = CAIRN_ROOT_INO;
        err = 0;
    }
    /* The root's own attributes change without an event in the root: they live by the clock. */
    stamp.ns = cairn_now_ns();
    if (!err)
        err = cairn_apply_inode_locked(s, NULL, &in, &st, stamp, &changes);
    cairn_meta_unlock(s->meta);
    cairn_changes_tell(s, &changes);
    return err;
}

/*
 * Another version under a name whose file is open here, from an origin that tells no identities. If
 * the file that we have open there is still as it was, the name was given to another one, and who
 * has the old one open goes on reading that; if it changed with the name, it is the same. If that
 * can't be told (not open there, or opened on a connection that is gone), who might be in the midst
 * of it must not go on in another file; only one that grew, and which one request read, is taken
 * for the same: something is appended to it, and perhaps followed.
 */
static bool was_replaced(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                         const char *name, const struct origin_stat *st)
{
    struct cairn_version now = cairn_version_of(st), known = now;
    struct cairn_source *src = NULL;
    struct origin_stat open_st;
    uint64_t ino;
    if ((s->info->caps & ORIGIN_FILE_IDS) || !S_ISREG(st->mode) ||
        cairn_meta_lookup(s->meta, parent, name, &ino))
        return false;
    struct cairn_node *n = cairn_node_find(s, ino);
    if (!n)
        return false;
    pthread_mutex_lock(&n->lock);
    if (n->loaded && n->opens && !n->uploading && !n->stage) {
        known = n->version;
        if (n->source)
            src = cairn_source_ref(n->source);
    }
    pthread_mutex_unlock(&n->lock);
    bool replaced = false;
    if (!cairn_version_equal(&known, &now)) {
        replaced = known.size > CAIRN_ONE_REQUEST || now.size <= known.size;
        if (src && origin_fstat(src->file, c, &open_st) == 0) {
            struct cairn_version opened = cairn_version_of(&open_st);
            replaced = cairn_version_equal(&opened, &known);
        }
    }
    cairn_source_unref(src);
    cairn_node_unref(n);
    return replaced;
}

int cairn_fresh_lookup(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                       const char *name, uint64_t *ret_ino)
{
    if (cairn_is_temp_name(name))
        return -ENOENT;
    int err = -EAGAIN;
    for (unsigned i = 0; err == -EAGAIN && i < QUESTIONS; i++) {
        AUTO_FREE char *path = NULL;
        AUTO_FREE char *dir = NULL;
        struct origin_stat st;
        cairn_paths_begin(s);
        err = cairn_path_of_name(s, parent, name, &path);
        if (!err)
            err = cairn_meta_path(s->meta, parent, &dir);
        if (err) {
            cairn_paths_end(s);
            return err;
        }
        struct cairn_stamp stamp = cairn_stamp_for(s, parent, dir);
        uint64_t marks = marks_now(s, parent, name);
        err = cairn_sync_answered(s, origin_stat(s->origin, c, path, &st));
        cairn_paths_end(s);
        if (err == -ENOTDIR || err == -ELOOP)
            err = -ENOENT; /* an ancestor is something else now */
        if (err && err != -ENOENT)
            return err;
        stamp.replaced = !err && was_replaced(s, c, parent, name, &st);
        err = apply_one(s, parent, name, err ? NULL : &st, stamp, marks, ret_ino);
    }
    return err == -EAGAIN ? -EBUSY : err;
}

int cairn_fresh_inode(struct cairn_sync *s, const struct origin_call *c, uint64_t ino)
{
    if (ino == CAIRN_ROOT_INO)
        return ask_root(s, c);
    struct cairn_inode in;
    int err = cairn_meta_inode(s->meta, ino, &in);
    if (err || !in.parent)
        return err;
    uint64_t now;
    err = cairn_fresh_lookup(s, c, in.parent, in.name, &now);
    if (err == -EBUSY)
        return 0; /* changed by ourselves all the time: what the store has is ours */
    if (!err && now != ino)
        return cairn_meta_inode(s->meta, ino, &in); /* replaced: nameless now, or gone */
    return err;
}

/* --- listings --- */

struct listing {
    struct cairn_sync *s;
    uint64_t dir;
    struct cairn_stamp stamp;
    struct cairn_marked marked;
    struct cairn_name_set seen;
    uint32_t subdirs;
};

/* Has the name changed by our own doing since the listing began, or is it just changing? */
static bool overtaken(struct listing *l, const char *name)
{
    struct cairn_marks *m = &l->s->fresh->marks;
    return cairn_marks_listing_has(m, &l->marked, name) || cairn_marks_changing(m, l->dir, name);
}

static int take_page(void *arg, const struct origin_entry *entries, size_t count)
{
    struct listing *l = arg;
    struct cairn_sync *s = l->s;
    struct cairn_changes changes = {0};
    bool *later = calloc(count, sizeof *later);
    if (!later)
        return -ENOMEM;
    int err = 0;
    uint64_t ino;
    cairn_meta_lock(s->meta);
    for (size_t i = 0; !err && i < count; i++) {
        const struct origin_entry *e = &entries[i];
        if (cairn_is_temp_name(e->name) || strlen(e->name) > CAIRN_NAME_MAX)
            continue;
        err = cairn_name_set_add(&l->seen, cairn_name_hash(l->dir, e->name));
        if (err || overtaken(l, e->name))
            continue;
        l->subdirs += S_ISDIR(e->stat.mode);
        struct cairn_node *n = NULL;
        if (!e->has_stat) {
            later[i] = true;
        } else if (cairn_meta_lookup(s->meta, l->dir, e->name, &ino) == 0 &&
                   (n = cairn_node_find(s, ino))) {
            later[i] = true; /* its lock comes before the store's */
        } else {
            err = cairn_apply_name_locked(s, NULL, l->dir, e->name, &e->stat, l->stamp, &changes,
                                          &ino);
        }
        cairn_node_unref(n);
    }
    cairn_meta_unlock(s->meta);
    cairn_changes_tell(s, &changes);
    for (size_t i = 0; !err && i < count; i++) {
        const struct origin_entry *e = &entries[i];
        if (!later[i] || !e->has_stat)
            continue;
        struct cairn_node *n = lock_name(s, l->dir, e->name);
        struct cairn_changes c = {0};
        /* An open file is asked about by itself when its time has come. */
        if (!overtaken(l, e->name) && !(n && n->opens))
            err = cairn_apply_name_locked(s, n, l->dir, e->name, &e->stat, l->stamp, &c, &ino);
        unlock_name(s, n);
        cairn_changes_tell(s, &c);
    }
    free(later);
    return err;
}

struct vanished {
    struct listing *l;
    char **name;
    size_t count, room;
};

static int collect_vanished(void *arg, const struct cairn_dirent *e)
{
    struct vanished *v = arg;
    if (cairn_name_set_has(&v->l->seen, cairn_name_hash(v->l->dir, e->name)))
        return 0;
    if (v->count == v->room) {
        size_t room = v->room ? v->room * 2 : 64;
        char **name = realloc(v->name, room * sizeof *name);
        if (!name)
            return -ENOMEM;
        v->name = name;
        v->room = room;
    }
    v->name[v->count] = strdup(e->name);
    return v->name[v->count] ? (v->count++, 0) : -ENOMEM;
}

static int drop_vanished(struct listing *l)
{
    struct cairn_sync *s = l->s;
    struct vanished v = {.l = l};
    int err = cairn_meta_readdir(s->meta, l->dir, 0, collect_vanished, &v);
    for (size_t i = 0; i < v.count; i++) {
        if (!err) {
            struct cairn_changes changes = {0};
            struct cairn_node *n = lock_name(s, l->dir, v.name[i]);
            uint64_t ino;
            if (!overtaken(l, v.name[i]))
                cairn_apply_name_locked(s, n, l->dir, v.name[i], NULL, l->stamp, &changes, &ino);
            unlock_name(s, n);
            cairn_changes_tell(s, &changes);
        }
        free(v.name[i]);
    }
    free(v.name);
    return err;
}

static int finish_listing(struct listing *l)
{
    struct cairn_sync *s = l->s;
    struct cairn_inode in;
    cairn_meta_lock(s->meta);
    int err = cairn_meta_inode(s->meta, l->dir, &in);
    if (!err) {
        in.flags |= CAIRN_INODE_LISTED;
        in.listed_ns = l->stamp.ns;
        in.listed_epoch = l->stamp.epoch;
        if (!(s->info->caps & ORIGIN_FILE_IDS))
            in.nlink = 2 + l->subdirs;
        err = cairn_meta_put_inode(s->meta, &in);
    }
    cairn_meta_unlock(s->meta);
    return err;
}

int cairn_fresh_list(struct cairn_sync *s, const struct origin_call *c, uint64_t dir)
{
    int err = cairn_fresh_inode(s, c, dir);
    if (err)
        return err;
    struct listing l = {.s = s, .dir = dir};
    AUTO_FREE char *path = NULL;
    cairn_paths_begin(s);
    err = cairn_meta_path(s->meta, dir, &path);
    if (!err) {
        l.stamp = cairn_stamp_for(s, dir, path);
        cairn_marks_listing_begin(&s->fresh->marks, &l.marked, dir);
        err = cairn_sync_answered(s, origin_list(s->origin, c, path, take_page, &l));
        cairn_paths_end(s);
        if (!err)
            err = drop_vanished(&l);
        if (!err)
            err = finish_listing(&l);
        cairn_marks_listing_end(&s->fresh->marks, &l.marked);
        cairn_name_set_free(&l.seen);
    } else {
        cairn_paths_end(s);
    }
    return err;
}
