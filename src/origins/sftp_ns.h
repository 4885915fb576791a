// SPDX-License-Identifier: Apache-2.0
/* The namespace: the ops mkdir, symlink, readlink, link, unlink, rmdir, rename of origin.h. */
#pragma once

#include "origins/sftp.h"

int sftp_mkdir(struct origin *o, const struct origin_call *c, const char *path, uint32_t mode);
int sftp_symlink(struct origin *o, const struct origin_call *c, const char *target,
                 const char *path);
int sftp_readlink(struct origin *o, const struct origin_call *c, const char *path,
                  char **ret_target);
int sftp_link_node(struct origin *o, const struct origin_call *c, const char *from, const char *to);
int sftp_unlink(struct origin *o, const struct origin_call *c, const char *path);
int sftp_rmdir(struct origin *o, const struct origin_call *c, const char *path);
int sftp_rename(struct origin *o, const struct origin_call *c, const char *from, const char *to,
                unsigned flags);
