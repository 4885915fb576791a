// SPDX-License-Identifier: Apache-2.0
/* Shared by fresh.c (questions), apply.c (answers) and watch.c (events). */
#pragma once

#include "sync/fresh.h"
#include "sync/marks.h"

struct cairn_watch_queue;

struct cairn_fresh {
    struct cairn_marks marks;
    pthread_mutex_t lock;
    struct cairn_name_set watched; /* under lock: hashes of watched directories' inodes */
    struct cairn_watch_queue *events;
};

/* When and under which circumstances a question was asked. */
struct cairn_stamp {
    int64_t ns; /* CAIRN_NEVER if events would have told of any later change */
    uint64_t epoch;
    bool replaced; /* the name leads to another node now, though the origin tells no identities */
};

/* What to tell the kernel, gathered while locks are held, told afterwards. */
struct cairn_changes {
    struct cairn_change {
        uint64_t ino; /* 0: it is the name `name` of `parent` */
        uint64_t parent;
        char name[CAIRN_NAME_MAX + 1];
    } *item;
    unsigned count, room;
};

void cairn_changes_inode(struct cairn_changes *c, uint64_t ino);
void cairn_changes_name(struct cairn_changes *c, uint64_t parent, const char *name);
void cairn_changes_tell(struct cairn_sync *s, struct cairn_changes *c); /* and frees them */

/* Sees to it that events for `dir` come, where the origin has them; before asking about it. */
struct cairn_stamp cairn_stamp_for(struct cairn_sync *s, uint64_t dir, const char *path);

/*
 * The store's write lock is held, and n->lock if `n` (the node of the inode that the name has in
 * the store now, if it is in use) is not NULL. Brings "`name` is `st`" into the store, or "`name`
 * is not there" if st is NULL.
 */
int cairn_apply_name_locked(struct cairn_sync *s, struct cairn_node *n, uint64_t parent,
                            const char *name, const struct origin_stat *st,
                            struct cairn_stamp stamp, struct cairn_changes *changes,
                            uint64_t *ret_ino);
/* The same for the root, or for any inode whose identity is certain. */
int cairn_apply_inode_locked(struct cairn_sync *s, struct cairn_node *n, struct cairn_inode *in,
                             const struct origin_stat *st, struct cairn_stamp stamp,
                             struct cairn_changes *changes);

static inline bool cairn_is_temp_name(const char *name)
{
    return __builtin_strncmp(name, CAIRN_TEMP_PREFIX, sizeof CAIRN_TEMP_PREFIX - 1) == 0;
}
