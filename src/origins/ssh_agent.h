// SPDX-License-Identifier: Apache-2.0
/* A client of ssh-agent whose waits obey the call (libssh2's own would block). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "origins/origin.h"

struct ssh_agent;

struct ssh_agent_key {
    uint8_t *blob; /* public key as in SSH */
    size_t blob_len;
    char *comment;
};

/* Flags of ssh_agent_sign: which hash an RSA key signs with. */
#define SSH_AGENT_RSA_SHA2_512 4u

/* Connects to the agent's socket `path` and asks for its keys. 0 or -errno. */
int ssh_agent_open(struct ssh_agent **ret, const char *path, const struct origin_call *c);

/* Its keys, owned by the agent object. */
const struct ssh_agent_key *ssh_agent_keys(const struct ssh_agent *a, size_t *ret_count);

/* Lets the agent sign `data`. *ret_sig (free it) is the bare signature without its type's name.
 * 0; -EACCES if the agent refuses; -errno. */
int ssh_agent_sign(struct ssh_agent *a, const struct origin_call *c,
                   const struct ssh_agent_key *key, const void *data, size_t len, uint32_t flags,
                   uint8_t **ret_sig, size_t *ret_sig_len);

void ssh_agent_close(struct ssh_agent *a); /* NULL is allowed */
