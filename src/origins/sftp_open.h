// SPDX-License-Identifier: Apache-2.0
/* Opening and creating files: the ops open, close_file, mknod of origin.h. */
#pragma once

#include "origins/sftp.h"

int sftp_open(struct origin *o, const struct origin_call *c, const char *path, int flags,
              uint32_t mode, struct origin_file **ret, struct origin_stat *ret_stat);
void sftp_close_file(struct origin *o, struct origin_file *f);
int sftp_mknod(struct origin *o, const struct origin_call *c, const char *path, uint32_t mode,
               uint64_t rdev);
