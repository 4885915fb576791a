// SPDX-License-Identifier: Apache-2.0
/*
 * Making the origin's file match what is staged.
 *
 * Two ways: `replace` composes a new file beside the old one (unchanged ranges copied on the
 * server, changed ones sent) and renames it over, so that others see the old or the new file and
 * nothing between; `in place` sends the changed ranges into the file. Replacing is chosen when the
 * whole content is new or the rest is cheap to copy, and nothing that hangs on the old file would
 * be lost by it: other hard links, extended attributes, an owner that we may not give.
 */
#pragma once

#include "sync/node.h"

/*
 * Returns when the origin has what was staged at the time of the call; what is written meanwhile
 * may or may not be included. `durable`: and has synced it. `closing`: no more is expected soon.
 * On failure the stage stays, to be tried again. Without a stage only the sync is done.
 */
int cairn_upload(struct cairn_node *n, const struct origin_call *c, bool durable, bool closing);

/* Removes temporary files at the origin that an earlier process left behind. */
void cairn_upload_clean(struct cairn_sync *s);
