// SPDX-License-Identifier: Apache-2.0
/* What a local directory can do. */
#pragma once

#include "origins/origin.h"

/*
 * Looks at the filesystem of `root_fd` (O_PATH or better) and, where it is writable, tries things
 * out on files without names, so nothing is left behind even by a crash. ORIGIN_WATCH is set for
 * disks' filesystems: others change without inotify's knowledge.
 */
int file_probe(int root_fd, struct origin_info *ret);
