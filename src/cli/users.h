// SPDX-License-Identifier: Apache-2.0
/* Who keeps a mount busy. */
#pragma once

/*
 * The processes that this user may look into and that have a directory or file open at or below
 * `dir` (absolute), as "name (pid 12), name (pid 34)": at most a few. Asks only /proc, never the
 * filesystem. NULL if none is found; the caller frees it.
 */
char *cairn_users_of(const char *dir);
