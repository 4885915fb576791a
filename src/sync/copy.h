// SPDX-License-Identifier: Apache-2.0
/* Copying ranges between files, and finding data and holes in them, by the origin's own means. */
#pragma once

#include "sync/node.h"

/*
 * Copies on the server and shares the chunks here: no bytes move. -EXDEV if the origin can't: the
 * caller then reads and writes. Returns how many bytes were copied, at most `len`.
 */
ssize_t cairn_copy_range(struct cairn_node *from, uint64_t from_off, struct cairn_node *to,
                         uint64_t to_off, uint64_t len, const struct origin_call *c);

/* lseek(2) with SEEK_DATA or SEEK_HOLE; -ENXIO. */
int64_t cairn_seek(struct cairn_node *n, const struct origin_call *c, uint64_t off, int whence);
