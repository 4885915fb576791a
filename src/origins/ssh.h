// SPDX-License-Identifier: Apache-2.0
/*
 * One SSH connection with one channel, on libssh2 in non-blocking mode: every wait is a poll(2)
 * of ours that obeys the call's deadline and cancel flag. One thread at a time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "origins/origin.h"

struct ssh;

/*
 * Connects, checks the host's key, proves who we are and opens a channel with `subsystem`.
 * `receive_window` is in bytes: as much as may be on its way to us. On failure *ret_why (free it)
 * is one line for the user and the error is
 *   -ECONNREFUSED, -EHOSTUNREACH, -ENETUNREACH, -ETIMEDOUT   unreachable
 *   -EKEYREJECTED   the host's key is unknown, has changed or is revoked
 *   -EACCES         none of our keys was accepted
 *   -EOPNOTSUPP     no common algorithm, or no such subsystem
 *   -ECONNRESET, -EINTR, -ENOMEM
 * Free with ssh_close.
 */
int ssh_connect(struct ssh **ret, const struct origin_config *cfg, const char *subsystem,
                uint32_t receive_window, const struct origin_call *c, char **ret_why);

/* Says goodbye without waiting, and frees. NULL is allowed. */
void ssh_close(struct ssh *s);

/* "user@host:port", valid until ssh_close. */
const char *ssh_name(const struct ssh *s);

/*
 * Bytes read, at least 1; -EAGAIN if none are there yet; -ECONNRESET at the end of the stream.
 * Never waits.
 */
ssize_t ssh_read(struct ssh *s, void *buf, size_t len);

/*
 * Bytes taken, at least 1; -EAGAIN: the next call must offer the same bytes again (it may offer
 * more after them). Never waits.
 */
ssize_t ssh_write(struct ssh *s, const void *buf, size_t len);

/* Waits until ssh_read or ssh_write may get further. 0, -ETIMEDOUT or -EINTR. */
int ssh_wait(struct ssh *s, const struct origin_call *c);

/* False once the peer has closed the connection or it broke. Never waits. */
bool ssh_is_alive(struct ssh *s);
