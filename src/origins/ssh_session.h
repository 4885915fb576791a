// SPDX-License-Identifier: Apache-2.0
/* What the parts of an SSH connection share while it is being made; only ssh*.c include this. */
#pragma once

#include <libssh2.h>

#include "origins/origin.h"
#include "origins/ssh_config.h"

struct ssh_session {
    LIBSSH2_SESSION *lib;
    int fd;
    const char *name;                /* "user@host:port", for messages */
    const struct ssh_config *config; /* while connecting */
};

/* Waits for what libssh2 waits for. 0, -ETIMEDOUT or -EINTR. */
int ssh_session_wait(struct ssh_session *s, const struct origin_call *c);

/* The errno for an error code of libssh2 (negative, not LIBSSH2_ERROR_EAGAIN). */
int ssh_session_errno(int libssh2_error);

/* libssh2's own words about its last error; valid until the next call to it. */
const char *ssh_session_message(struct ssh_session *s);

/*
 * Asks for the methods of a comma-separated list, in its order, that libssh2 has. (It would leave
 * out the others by itself, but with a memcpy of overlapping bytes in 1.10.) `type` is a
 * LIBSSH2_METHOD_*. 0, -EOPNOTSUPP if it has none of them, -ENOMEM.
 */
int ssh_session_prefer(struct ssh_session *s, int type, const char *methods);
