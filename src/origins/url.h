// SPDX-License-Identifier: Apache-2.0
/* Origin URLs: scheme://[user@]host[:port]/path, or a plain local path (then scheme "file"). */
#pragma once

#include <stdint.h>

struct origin_url {
    char *scheme;
    char *user; /* NULL if not given; percent-decoded, as all of these */
    char *host; /* NULL for file; without brackets for IPv6 */
    uint16_t port; /* 0 if not given */
    char *path; /* absolute; for sftp "/" + path, "/~/x" is relative to the login directory */
};

/*
 * Parses `text`. A password in the URL is refused. On failure -EINVAL and *ret_why (free it) says
 * what is wrong in one line. A path without scheme becomes absolute relative to the current
 * directory. Pure except for that.
 */
int origin_url_parse(const char *text, struct origin_url **ret, char **ret_why);
/* A copy, or NULL without memory. */
struct origin_url *origin_url_copy(const struct origin_url *u);
void origin_url_free(struct origin_url *u); /* NULL is allowed */

/* The canonical text (percent-encoded, no trailing slash); the same origin gives the same text. */
char *origin_url_format(const struct origin_url *u);
