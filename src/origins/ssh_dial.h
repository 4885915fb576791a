// SPDX-License-Identifier: Apache-2.0
/* Name lookup and TCP connect that obey a call's deadline and its cancel flag. */
#pragma once

#include <stdint.h>

#include "origins/origin.h"

/*
 * Waits until `fd` has one of the poll(2) `events` (or an error to fetch). 0, or -ETIMEDOUT /
 * -EINTR when the call has to end. `c` may be NULL: then it waits without a limit.
 */
int ssh_wait_fd(int fd, short events, const struct origin_call *c);

/*
 * Connects to the first address of `host` that answers. *ret_fd is non-blocking, close-on-exec and
 * without Nagle's delay; the caller closes it. Errors: -EHOSTUNREACH (also: no such name),
 * -ENETUNREACH, -ECONNREFUSED, -ETIMEDOUT, -EINTR; then *ret_why (free it) is one line for the
 * user.
 */
int ssh_dial(const char *host, uint16_t port, const struct origin_call *c, int *ret_fd,
             char **ret_why);

/* Sets *ret_why, freeing what it held, and returns `err`; control characters become '?'. */
int ssh_fail(char **ret_why, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
