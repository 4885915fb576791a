// SPDX-License-Identifier: Apache-2.0
/*
 * Confined path resolution: nothing opened here lies outside the root, and no symlink is followed,
 * neither in the middle of a path nor at its end. openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
 * where the kernel has it and the path fits it, else component by component with O_NOFOLLOW.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct beneath {
    int root_fd;      /* O_PATH or better; owned by the caller */
    bool has_openat2; /* set by beneath_init */
};

/* `root_fd` must stay open as long as `b` is used. Any thread may use `b` afterwards. */
void beneath_init(struct beneath *b, int root_fd);

/*
 * Opens `path` ("" is the root) with `flags`; O_NOFOLLOW | O_CLOEXEC are added. Returns the
 * descriptor (the caller's), or -ELOOP for a symlink that is in the way.
 */
int beneath_open(const struct beneath *b, const char *path, int flags, uint32_t mode);

/* The directory that holds the last component of a path, for the *at calls. */
struct beneath_parent {
    int fd;           /* O_PATH */
    bool owned;       /* false if `fd` is the root's */
    const char *name; /* points into the path */
};

/* 0 and *ret, to be given to beneath_parent_done; -EBUSY for "", which has no parent here. */
int beneath_parent(const struct beneath *b, const char *path, struct beneath_parent *ret);
void beneath_parent_done(struct beneath_parent *p);
#define AUTO_PARENT __attribute__((cleanup(beneath_parent_done)))
