// SPDX-License-Identifier: Apache-2.0
/*
 * Telling the kernel what it must forget. From a thread of its own: the kernel waits for pages and
 * directories that a request under way may hold, so no thread that answers requests may tell it.
 *
 * Nor should this thread wait there: killed while it does, it would keep the connection alive, and
 * with it whoever waits for an answer. Names are therefore forgotten through the connection's
 * epoch, which takes no lock, where the kernel has it (FUSE 7.44, Linux 6.16); pages, and names on
 * older kernels, when no request that we know of holds them.
 */
#pragma once

#include "fs/fs.h"

/* Queues until it is started, which needs fs->se and fs->conn. */
int cairn_notifier_new(struct cairn_notifier **ret, struct cairn_fs *fs);
int cairn_notifier_start(struct cairn_notifier *n);
/* Ends the thread; what is queued from now on is dropped. NULL is allowed. */
void cairn_notifier_stop(struct cairn_notifier *n);
void cairn_notifier_free(struct cairn_notifier *n); /* stopped; NULL is allowed */

void cairn_notify_inode(struct cairn_notifier *n, uint64_t ino, bool data);
void cairn_notify_entry(struct cairn_notifier *n, uint64_t parent, const char *name);
/* May a request that the kernel has begun already still go by old pages, or an old size, of this
 * inode? It was not told yet, or only just now. */
bool cairn_notify_pending(struct cairn_notifier *n, uint64_t ino);
