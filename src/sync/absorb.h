// SPDX-License-Identifier: Apache-2.0
/*
 * Taking what was staged, once the origin has it, into the cache: the changed ranges are cut into
 * chunks, from the last cut before them to where the cuts meet the old ones again, and enter the
 * tiers and the manifest. Runs in the background; until it is done the stage serves the reads.
 */
#pragma once

#include "sync/node.h"

/* Chunks of the content as it was before, of which parts below `limit` are still right; in order
 * of their offsets. */
struct cairn_edges {
    struct cairn_manifest_entry *entry;
    size_t count;
    uint64_t limit;
};

/* Needs n->lock; the stage is clean. Takes edges->entry over. */
void cairn_absorb_start(struct cairn_node *n, struct cairn_edges *edges);
/* Needs n->lock: lets go of a stage that nobody needs any more. */
void cairn_absorb_release_locked(struct cairn_node *n);
