// SPDX-License-Identifier: Apache-2.0
/*
 * One SSH connection with one channel: a child process of OpenSSH's client, and a socket to its
 * standard input and output. So it reads the user's ssh_config, knows the hosts, keys, agents,
 * certificates and jump hosts that `ssh` knows, and decrypts beside us on another core. It is never
 * allowed to ask the user, nor to believe an unknown host. One thread at a time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "origins/origin.h"

struct ssh;

/*
 * Starts the client for `subsystem`. Whether it gets anywhere is known when the first bytes come:
 * if none do, ssh_explain tells why. Errors: -ENOENT (no ssh is installed, no such ssh_config),
 * -EMFILE, -EAGAIN, -ENOMEM; then *ret_why (free it) is one line for the user. Free with ssh_close.
 */
int ssh_connect(struct ssh **ret, const struct origin_config *cfg, const char *subsystem,
                char **ret_why);

/*
 * After the first exchange failed with `err`: what went wrong, from what the client has said.
 *   -ECONNREFUSED, -EHOSTUNREACH, -ENETUNREACH, -ETIMEDOUT   unreachable
 *   -EKEYREJECTED   the host's key is unknown, has changed or is revoked
 *   -EACCES         none of our keys was accepted
 *   -EOPNOTSUPP     no common algorithm, or no such subsystem
 *   -EINVAL         the ssh_config is wrong
 * With a line for the user in *ret_why. `err` itself, and *ret_why left alone, if it has said
 * nothing: then something else is wrong.
 */
int ssh_explain(struct ssh *s, int err, char **ret_why);

/* Ends the client, whatever it does, and frees. NULL is allowed. */
void ssh_close(struct ssh *s);

/* "user@host:port" as far as the URL has it, valid until ssh_close. */
const char *ssh_name(const struct ssh *s);

/*
 * Bytes read, at least 1; -EAGAIN if none are there yet; -ECONNRESET at the end of the stream.
 * Never waits.
 */
ssize_t ssh_read(struct ssh *s, void *buf, size_t len);

/* Bytes taken, at least 1; -EAGAIN: none now. -ECONNRESET. Never waits. */
ssize_t ssh_write(struct ssh *s, const void *buf, size_t len);

/* Waits until ssh_read, or ssh_write if it has said -EAGAIN, may get further. 0, -ETIMEDOUT or
 * -EINTR. */
int ssh_wait(struct ssh *s, const struct origin_call *c);

/* False once the peer has closed the connection or it broke. Never waits. */
bool ssh_is_alive(struct ssh *s);

/* Sets *ret_why, freeing what it held, and returns `err`; control characters become '?'. */
int ssh_fail(char **ret_why, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
