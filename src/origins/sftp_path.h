// SPDX-License-Identifier: Apache-2.0
/*
 * Paths of the server, and their confinement: SFTP resolves symlinks in the middle of a path, so
 * every directory on the way is looked at with LSTAT first; what was a real directory a moment ago
 * is taken to be one still.
 */
#pragma once

#include "origins/sftp.h"

/* A look at the directories above one path that are not known yet. Zero before use. */
struct sftp_walk {
    struct sftp *s;
    size_t count;
    struct sftp_request *request; /* count of them */
    char **dir;                   /* the server's paths, owned */
};

/* Ends the walk's requests and frees what it holds. Repeatable. */
void sftp_walk_end(struct sftp_walk *w);
#define AUTO_WALK __attribute__((cleanup(sftp_walk_end)))

/* *ret_full (free it) is the server's path of `path`. -ENAMETOOLONG, -ENOMEM. */
int sftp_full_path(struct sftp *s, const char *path, char **ret_full);

/* Sends what has to be asked about the directories above `full`. What is asked after it, without
 * waiting in between, costs no round trip more. */
int sftp_walk_ask(struct sftp *s, const struct origin_call *c, const char *full,
                  struct sftp_walk *w);

/* Waits for the answers. -ELOOP if a directory is a symlink, -ENOTDIR, -ENOENT, ... */
int sftp_walk_settle(const struct origin_call *c, struct sftp_walk *w);

/* All of it: the server's path, with its directories looked at. Before calls that change things. */
int sftp_resolve(struct sftp *s, const struct origin_call *c, const char *path, char **ret_full);

/* Directories moved or went away: nothing is known any more. */
void sftp_forget_directories(struct sftp *s);

/* malloc'ed directory part of a server's path ("/" at the top); NULL if memory is short. */
char *sftp_parent_path(const char *full);
