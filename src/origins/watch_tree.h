// SPDX-License-Identifier: Apache-2.0
/*
 * Which directory an inotify watch stands for: watch numbers to paths, where moving a directory
 * moves all below it in one step. A node that another one displaces from its path keeps its watch
 * and its last path, off the tree, until it is moved or dropped itself. Pure; the caller locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct watch_node;

struct watch_tree {
    struct watch_node *root;
    void *by_wd; /* of tsearch(3) */
};

int watch_tree_init(struct watch_tree *t); /* 0 or -ENOMEM */
void watch_tree_free(struct watch_tree *t);

/* Watch `wd` (>= 0) stands for `path` from now on. 0 or -ENOMEM. */
int watch_tree_set(struct watch_tree *t, const char *path, int wd);

/* NULL if there is none. */
struct watch_node *watch_tree_find(struct watch_tree *t, int wd);

/* Allocated; NULL without memory. */
char *watch_tree_path(const struct watch_node *n);

/* What was at `from` is at `to`; nothing happens if nothing was. 0, -EINVAL if `to` lies below, or
 * -ENOMEM. */
int watch_tree_move(struct watch_tree *t, const char *from, const char *to);
int watch_tree_move_node(struct watch_tree *t, struct watch_node *n, const char *to);

/* Forgets a watch. */
void watch_tree_drop(struct watch_tree *t, int wd);

/* Forgets the watches of `n` and of all below it; they come as an allocated array of *ret_count
 * numbers, for the caller to end. NULL without memory: then nothing was forgotten. */
int *watch_tree_drop_all(struct watch_tree *t, struct watch_node *n, size_t *ret_count);
