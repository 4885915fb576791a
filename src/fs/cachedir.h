// SPDX-License-Identifier: Apache-2.0
/* The directory of one origin below the cache: CACHE/<hash of the origin's URL>/, locked by the
 * process that uses it. */
#pragma once

#include "origins/origin.h"

/*
 * Makes (with its parents) and locks it. *ret_fd holds the lock until it is closed; *ret_dir is to
 * be freed. -EBUSY: another process uses it; -EACCES and others as they come; *ret_why says so in
 * one line.
 */
int cairn_cachedir_open(const char *cache, const char *origin, int *ret_fd, char **ret_dir,
                        char **ret_why);

/* What the origin could do when it was last connected: a mount begins with this while it is away.
 * load: -ENOENT if it never was. */
int cairn_cachedir_load_info(const char *dir, struct origin_info *ret);
void cairn_cachedir_save_info(const char *dir, const struct origin_info *info);
