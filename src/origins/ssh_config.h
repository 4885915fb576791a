// SPDX-License-Identifier: Apache-2.0
/*
 * What ssh_config(5) says about one host, narrowed to what a connection needs: HostName, User,
 * Port, IdentityFile, IdentitiesOnly, UserKnownHostsFile, below Host patterns, with Include.
 * Host keys are always checked strictly, whatever StrictHostKeyChecking says. Match blocks other
 * than "Match all" never apply.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ssh_config {
    char *hostname; /* where to connect to */
    char *user;
    uint16_t port;
    char **identities;     /* paths, tokens expanded, in order; NULL-terminated */
    bool identities_given; /* not the usual defaults */
    bool identities_only;
    char **known_hosts; /* paths, in order; NULL-terminated */
    char *proxy;        /* ProxyJump or ProxyCommand as written, NULL if none */
};

/* Who asks. All strings stay the caller's. */
struct ssh_query {
    const char *host;        /* as the user named it */
    const char *user;        /* NULL if the user named none */
    uint16_t port;           /* 0 if the user named none */
    const char *local_user;  /* login name of the one who mounts */
    const char *home;        /* home directory of the one who mounts */
    const char *identity;    /* NULL, or a file that replaces all IdentityFile */
    const char *known_hosts; /* NULL, or a file that replaces UserKnownHostsFile */
};

/* Gets the texts that an Include pattern of texts[text] names: a malloc'ed NULL-terminated list of
 * malloc'ed strings, or NULL. */
typedef char **ssh_include_fn(void *arg, size_t text, const char *pattern);

/*
 * Reads `texts` (the user's file, then the system's; the first value of an option wins) and fills
 * *ret. Pure, except for what `include` (may be NULL) does. 0 or -ENOMEM; lines that make no sense
 * are skipped, as their options may be of a newer ssh. Free with ssh_config_clear.
 */
int ssh_config_parse(const char *const *texts, size_t count, const struct ssh_query *q,
                     ssh_include_fn *include, void *arg, struct ssh_config *ret);

/*
 * The same from files: `path`, or if NULL ~/.ssh/config and /etc/ssh/ssh_config. Files that do not
 * exist count as empty, except a `path` that was given (-errno).
 */
int ssh_config_load(const char *path, const struct ssh_query *q, struct ssh_config *ret);

/* Frees what the fields hold; a zeroed struct is allowed. */
void ssh_config_clear(struct ssh_config *c);

/* True if `text` matches the comma- or blank-separated `patterns` of '*', '?' and '!'. */
bool ssh_patterns_match(const char *text, const char *patterns);

/* The whole of a plain file of at most `max_bytes`, NUL-terminated, in the one allocation *ret
 * (free it; ret_len may be NULL). 0 or -errno, -EFBIG if it is longer. */
int ssh_read_file(const char *path, size_t max_bytes, char **ret, size_t *ret_len);
