// SPDX-License-Identifier: Apache-2.0
/* Comparing two directory trees node by node. */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

/* What two trees can't be expected to share. */
struct tree_rules {
    bool links;     /* link counts of files, and which names are one file */
    bool dir_links; /* link counts of directories */
};

/* True if the nodes look alike: type, mode, owner, size of files and symlinks, link counts by the
 * rules. Else says on stderr how `name` differs. */
bool stat_equal(const char *name, const struct stat *a, const struct stat *b,
                const struct tree_rules *rules);

/* True if both files have the same bytes; else says where they differ. */
bool content_equal(const char *name, int a, int b);

/* Compares the names in two directories, sorted, and all below them; ".cairnfs" is left out. Says
 * each difference and returns false if there was any. */
bool tree_equal(const char *a, const char *b, const struct tree_rules *rules);
