// SPDX-License-Identifier: Apache-2.0
/* Paths at the origin. A path is right only while rename_lock is held. */
#pragma once

#include "sync/sync.h"

static inline void cairn_paths_begin(struct cairn_sync *s)
{
    pthread_rwlock_rdlock(&s->rename_lock);
}

static inline void cairn_paths_end(struct cairn_sync *s)
{
    pthread_rwlock_unlock(&s->rename_lock);
}

/* The path of `name` in directory `parent`; the caller frees. -ESTALE if the parent has no path,
 * -ENAMETOOLONG if the name or the path is longer than the origin can have. */
int cairn_path_of_name(struct cairn_sync *s, uint64_t parent, const char *name, char **ret);

/* The directory that a path names in the store; -ENOENT. */
int cairn_path_resolve(struct cairn_sync *s, const char *path, uint64_t *ret_ino);
