// SPDX-License-Identifier: Apache-2.0
/* One mount, from connecting to its origin until it is unmounted. */
#pragma once

#include "base/config.h"

/* The mount answers this extended attribute of its root with its status, a JSON object. */
#define CAIRN_STATUS_XATTR "user.cairnfs.status"

/* Called once when the mount answers (err 0) or has failed (-errno; why = one line for the user,
 * valid during the call). */
typedef void cairn_ready_fn(void *arg, int err, const char *why);

/*
 * Mounts cfg->origin at cfg->mountpoint and serves until it is unmounted or the process gets
 * SIGTERM, SIGINT or SIGHUP. Blocks. 0 or -errno, which has been reported through `ready` or the
 * log. Starts threads: to be called after daemonising. Several may run in one process.
 */
int cairn_session_run(const struct cairn_config *cfg, cairn_ready_fn *ready, void *arg);
