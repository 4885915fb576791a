// SPDX-License-Identifier: Apache-2.0
/*
 * Readahead over files: who reads the small files of a directory one after another, in the order
 * of their names or of the listing, finds the next ones on their way, many in one batch. How far
 * ahead doubles with each batch, as long as the reader follows.
 */
#pragma once

#include "sync/node.h"

struct cairn_siblings;

int cairn_siblings_new(struct cairn_siblings **ret);
void cairn_siblings_free(struct cairn_siblings *sb); /* NULL is allowed; no batch is under way */

/* `n` is opened for reading. Without locks; asks nothing, waits for nothing. */
void cairn_siblings_opened(struct cairn_node *n);
