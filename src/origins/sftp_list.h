// SPDX-License-Identifier: Apache-2.0
/* Directory listings: the op list of origin.h. */
#pragma once

#include "origins/sftp.h"

int sftp_list(struct origin *o, const struct origin_call *c, const char *path, origin_list_fn *fn,
              void *arg);

/* 1 if the directory at a server's path has an entry, 0 if not. -errno. */
int sftp_has_entries(struct sftp *s, const struct origin_call *c, const char *full);
