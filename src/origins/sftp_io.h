// SPDX-License-Identifier: Apache-2.0
/* Data of open files: the ops pread, pwrite, fsync, copy_range of origin.h. */
#pragma once

#include "origins/sftp.h"

ssize_t sftp_pread(struct origin *o, const struct origin_call *c, struct origin_file *f, void *buf,
                   size_t len, uint64_t off, struct origin_stat *ret_after);
int sftp_pwrite(struct origin *o, const struct origin_call *c, struct origin_file *f,
                const void *buf, size_t len, uint64_t off);
int sftp_fsync(struct origin *o, const struct origin_call *c, struct origin_file *f);
ssize_t sftp_copy_range(struct origin *o, const struct origin_call *c, struct origin_file *from,
                        uint64_t from_off, struct origin_file *to, uint64_t to_off, uint64_t len);
