// SPDX-License-Identifier: Apache-2.0
/*
 * Questions to the daemon behind a mount. It answers in band, as an extended attribute of the
 * mount's root: no socket, no permission beyond that to use the mount.
 */
#pragma once

#include <jansson.h>
#include <stdint.h>

/*
 * The status object of the mount (json_decref it), its "rss_bytes" filled in from /proc. -ENOTCONN:
 * the daemon is dead; -ETIMEDOUT: it is silent; -EOPNOTSUPP: what is mounted is no cairnfs;
 * -EBADMSG: its answer is no JSON object; or what the kernel says. Forks: no threads may run.
 */
int cairn_daemon_status(const char *mountpoint, int64_t timeout_ns, json_t **ret);

/* One line that says what went wrong, for the errors above; the caller frees it. */
char *cairn_daemon_error(const char *mountpoint, int err);
