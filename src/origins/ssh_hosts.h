// SPDX-License-Identifier: Apache-2.0
/* The host keys that the user trusts (known_hosts files), and the check of a server's key. */
#pragma once

#include "origins/ssh_session.h"

struct ssh_hosts;

/* Reads the files of s->config and /etc/ssh/ssh_known_hosts, for the host of `s`; missing files
 * are empty. `s` must outlive the result. 0 or -ENOMEM. */
int ssh_hosts_load(struct ssh_hosts **ret, struct ssh_session *s);

/* Before the handshake: asks for key types that are known for this host first. 0 or -errno. */
int ssh_hosts_prefer(struct ssh_hosts *h);

/* After the handshake: 0 if the key is the known one; else -EKEYREJECTED and *ret_why. */
int ssh_hosts_check(struct ssh_hosts *h, char **ret_why);

void ssh_hosts_free(struct ssh_hosts *h); /* NULL is allowed */

/* malloc'ed base64 of len bytes, with or without the final '='s; NULL if memory is short. */
char *ssh_base64(const void *data, size_t len, bool pad);
