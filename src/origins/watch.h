// SPDX-License-Identifier: Apache-2.0
/*
 * Changes of a local directory tree, told by inotify to a thread of its own. Directories are
 * watched one by one; a watch belongs to a directory, not to a path, so renames are followed: the
 * kernel says which names moved (a cookie joins the two halves) and then which directory it was.
 *
 * Several events for one name within one read become one. An event with an empty name is about the
 * directory itself, whose watch may be gone: whoever meets the directory again adds it again.
 * After an overflow all directories are to be added again; adding twice does no harm.
 *
 * Reference: inotify(7).
 */
#pragma once

#include "origins/origin.h"

struct watch;

/* `fn` is called from the thread of the watch, with no lock held; it may add directories, and may
 * not free the watch. 0, or -EMFILE, -ENOMEM, ... */
int watch_new(struct watch **ret, origin_event_fn *fn, void *arg);

/* Ends the thread; no event comes afterwards. NULL is allowed. */
void watch_free(struct watch *w);

/* Watches the directory `dir_fd` (O_PATH will do; it need not stay open), whose path is `path`.
 * Any thread. -ENOSPC: the kernel's limit is reached. */
int watch_add(struct watch *w, int dir_fd, const char *path);

/* As origin_watch_renamed. Any thread. */
void watch_renamed(struct watch *w, const char *from, const char *to);
