// SPDX-License-Identifier: Apache-2.0
/*
 * The wrapper that makes one origin of several connections, so that many threads may call a driver
 * that serves one at a time. Connections are made as they are needed, up to a limit, and kept. One
 * whose call failed on the way (ORIGIN_ERR_TRANSIENT, _STALE, _ENDED) is discarded, unless the
 * driver says that it is still good, and those that idled meanwhile are asked for a sign of life
 * before they are used. Of two or more connections, calls with `bulk` leave one to the others.
 *
 * A file is a path and how it was opened; it is opened on each connection that serves it, if it is
 * proved to be the same file there: by its fileid, else, if only read, by size and mtime. What can't
 * be proved stays on the connection that opened it. When no connection has it open any more, it is
 * opened anew under the same rule, and is -ESTALE if it is not the same. What was written and not
 * synced on a lost connection makes fsync fail with -ESTALE: nobody knows whether it arrived.
 */
#pragma once

#include "origins/origin.h"

/*
 * Makes the first connection, within `c`; as origin_connect on failure (*ret_why may stay NULL).
 * `driver` is kept, `cfg` is copied except for its metrics.
 */
int origin_pool_new(struct origin **ret, const struct origin_driver *driver,
                    const struct origin_config *cfg, const struct origin_call *c, char **ret_why);
