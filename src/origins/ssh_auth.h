// SPDX-License-Identifier: Apache-2.0
/* Proving to a server who we are: keys of ssh-agent first, then key files. */
#pragma once

#include "origins/ssh_session.h"

/*
 * After the host's key was checked. 0; -EACCES if no key was accepted, and *ret_why lists what
 * was tried; -ECONNRESET, -ETIMEDOUT, -EINTR, -ENOMEM.
 */
int ssh_authenticate(struct ssh_session *s, const struct origin_call *c, char **ret_why);
