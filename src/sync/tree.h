// SPDX-License-Identifier: Apache-2.0
/*
 * Changes of the tree: made at the origin first, then in the store, so that what a caller was told
 * has happened there. All block on the origin; 0 or -errno as the system calls of these names.
 */
#pragma once

#include "sync/node.h"

/* Who makes a node, and with which mode (type included; the umask has been applied). */
struct cairn_maker {
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    uint64_t rdev;
};

/* A regular file that did not exist: -EEXIST if it does. *ret_node has a reference, and its sink
 * is open. */
int cairn_tree_create(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                      const char *name, const struct cairn_maker *who, struct cairn_inode *ret,
                      struct cairn_node **ret_node);
int cairn_tree_mkdir(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                     const char *name, const struct cairn_maker *who, struct cairn_inode *ret);
int cairn_tree_mknod(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                     const char *name, const struct cairn_maker *who, struct cairn_inode *ret);
int cairn_tree_symlink(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                       const char *name, const char *target, const struct cairn_maker *who,
                       struct cairn_inode *ret);
int cairn_tree_link(struct cairn_sync *s, const struct origin_call *c, uint64_t ino,
                    uint64_t parent, const char *name, struct cairn_inode *ret);
int cairn_tree_unlink(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                      const char *name);
int cairn_tree_rmdir(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                     const char *name);
int cairn_tree_rename(struct cairn_sync *s, const struct origin_call *c, uint64_t parent,
                      const char *name, uint64_t new_parent, const char *new_name, unsigned flags);
/* All but the size, which is the stage's affair. */
int cairn_tree_setattr(struct cairn_sync *s, const struct origin_call *c, uint64_t ino,
                       const struct origin_attr *attr);
int cairn_tree_readlink(struct cairn_sync *s, const struct origin_call *c, uint64_t ino,
                        char **ret_target);

/* A change of our own (a rename, an extended attribute) moved the change time of the node at
 * `path`, which is part of its version: the content is still the same. */
void cairn_tree_version_moved(struct cairn_sync *s, const struct origin_call *c, uint64_t ino,
                              const char *path);
