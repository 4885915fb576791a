// SPDX-License-Identifier: Apache-2.0
/*
 * Freshness: when what the store knows may be answered without asking, asking the origin, and
 * bringing its answers into the store.
 *
 * An answer that was overtaken by a change of our own, or by an event of the origin, is not
 * applied: each change marks its name or inode, each question notes the marks before it asks and
 * compares them under the store's write lock before it applies.
 */
#pragma once

#include "sync/node.h"

int cairn_fresh_new(struct cairn_sync *s);
void cairn_fresh_free(struct cairn_sync *s);
/* Begins to take events, if the origin has them. */
int cairn_fresh_watch(struct cairn_sync *s);

/* Waits for the event that is being followed, and follows none any more. */
void cairn_fresh_stop(struct cairn_sync *s);

/* How long the attributes, or the listing, may still be answered from the store, in ns; 0 = ask;
 * CAIRN_NEVER = until an event says otherwise. */
int64_t cairn_fresh_left(struct cairn_sync *s, const struct cairn_inode *in);
int64_t cairn_fresh_listing_left(struct cairn_sync *s, const struct cairn_inode *dir);

/* Asks for one name. -ENOENT: it is not there (and no longer in the store). */
int cairn_fresh_lookup(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                       const char *name, uint64_t *ret_ino);
/* Asks for one inode by its path. -ENOENT: it is gone. An inode without a name is left as it is. */
int cairn_fresh_inode(struct cairn_sync *s, const struct origin_call *c, uint64_t ino);
/* Asks for all names of a directory. */
int cairn_fresh_list(struct cairn_sync *s, const struct origin_call *c, uint64_t dir);

/* Marks for changes of our own: the answers to questions asked before are void. */
void cairn_fresh_mark_name(struct cairn_sync *s, uint64_t parent, const char *name);
void cairn_fresh_mark_inode(struct cairn_sync *s, uint64_t ino);

/* Around a change of our own, from before it is made at the origin until the store has it. */
void cairn_fresh_change_begin(struct cairn_sync *s, uint64_t parent, const char *name);
void cairn_fresh_change_end(struct cairn_sync *s, uint64_t parent, const char *name);

/* A new node that we made at the origin: into the store under this name, which is free or is
 * replaced. Marks the name. The store's write lock must not be held. */
int cairn_fresh_adopt(struct cairn_sync *s, uint64_t parent, const char *name,
                      const struct origin_stat *st, struct cairn_inode *ret);
/* The store's write lock is held: `in` as the origin's `st` says, for a change of our own (the
 * content is what we have: no switch). */
void cairn_fresh_own_stat(struct cairn_sync *s, struct cairn_inode *in,
                          const struct origin_stat *st);
/* The name is gone at the origin, by our own doing: takes it out of the store. Marks it. */
void cairn_fresh_forget_name(struct cairn_sync *s, uint64_t parent, const char *name);
/* The same with the store's write lock held. */
void cairn_fresh_forget_name_locked(struct cairn_sync *s, uint64_t parent, const char *name);
