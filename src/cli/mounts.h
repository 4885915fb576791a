// SPDX-License-Identifier: Apache-2.0
/* The mounts of this process's namespace, as /proc/self/mountinfo lists them (proc(5)). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define CAIRN_FSTYPE "fuse.cairnfs"

struct cairn_mount {
    char *mountpoint;
    char *source; /* of a cairnfs mount: its origin */
    char *fstype;
};

struct cairn_mounts {
    struct cairn_mount *list; /* in the order of mounting: a later one covers an earlier one */
    size_t count;
};

/* Reads lines of mountinfo; malformed ones are skipped. 0, -ENOMEM, -EIO. */
int cairn_mounts_parse(FILE *f, struct cairn_mounts *ret);
/* The same from /proc/self/mountinfo. */
int cairn_mounts_read(struct cairn_mounts *ret);
void cairn_mounts_clear(struct cairn_mounts *m);

/* What is mounted at this absolute path, on top; NULL if nothing is. */
const struct cairn_mount *cairn_mounts_at(const struct cairn_mounts *m, const char *path);
bool cairn_mount_is_ours(const struct cairn_mount *m); /* NULL is allowed */

/*
 * The absolute path of a mountpoint, without asking the filesystem that is mounted there: it may
 * be dead. NULL with errno.
 */
char *cairn_mountpoint_path(const char *path);

/* Is `path` the directory `dir` or below it? Both absolute and normalised. */
bool cairn_path_within(const char *path, const char *dir);
