// SPDX-License-Identifier: Apache-2.0
/*
 * Telling the kernel what it must forget. From a thread of its own: the kernel waits for pages and
 * directories that a request under way may hold, so no thread that answers requests may tell it.
 */
#pragma once

#include "fs/fs.h"

int cairn_notifier_new(struct cairn_notifier **ret, struct cairn_fs *fs);
void cairn_notifier_free(struct cairn_notifier *n); /* NULL is allowed; drops what is queued */

void cairn_notify_inode(struct cairn_notifier *n, uint64_t ino, bool data);
void cairn_notify_entry(struct cairn_notifier *n, uint64_t parent, const char *name);
/* Are there pages of this inode that the kernel has not been told to drop yet? */
bool cairn_notify_pending(struct cairn_notifier *n, uint64_t ino);
