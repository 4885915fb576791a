// SPDX-License-Identifier: Apache-2.0
/* What OpenSSH's client says when a connection fails, as an errno and one line for the user. */
#pragma once

#include <stdint.h>

/* What was asked of it. */
struct ssh_question {
    const char *name; /* for the line */
    const char *host;
    uint16_t port;           /* 0 = its default */
    const char *known_hosts; /* as named by the user, or NULL */
    const char *identity;    /* the same */
};

/*
 * `said` is the text of its standard error, `err` what the connection failed with. Returns the
 * error it tells of, with the line in *ret_why (free it; what it held is freed); or `err`, with
 * *ret_why left alone, if it says nothing.
 */
int ssh_said(const char *said, const struct ssh_question *q, int err, char **ret_why);
