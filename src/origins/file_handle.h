// SPDX-License-Identifier: Apache-2.0
/* Open files of the local directory driver, and its attributes as the interface wants them. */
#pragma once

#include <sys/stat.h>

#include "origins/origin.h"

/* Takes `fd`. Ends with file_close. NULL: no memory, `fd` is still the caller's. */
struct origin_file *file_new(struct origin *owner, int fd);

/* `root_dev` is the device of the root: inode numbers of others are mixed with theirs. */
void file_stat_from(struct origin_stat *ret, const struct stat *st, dev_t root_dev);

/* The device of the root of a file origin; in file.c. */
dev_t file_root_dev(struct origin *o);
/* True if the origin's filesystem shares extents (FICLONERANGE); in file.c. */
bool file_shares(struct origin *o);

/* The ops on open files, as in origin.h. */
void file_close(struct origin *o, struct origin_file *f);
ssize_t file_pread(struct origin *o, const struct origin_call *c, struct origin_file *f, void *buf,
                   size_t len, uint64_t off, struct origin_stat *ret_after);
int file_pwrite(struct origin *o, const struct origin_call *c, struct origin_file *f,
                const void *buf, size_t len, uint64_t off);
int file_fstat(struct origin *o, const struct origin_call *c, struct origin_file *f,
               struct origin_stat *ret);
int file_fsetattr(struct origin *o, const struct origin_call *c, struct origin_file *f,
                  const struct origin_attr *attr);
int file_fsync(struct origin *o, const struct origin_call *c, struct origin_file *f);
ssize_t file_copy_range(struct origin *o, const struct origin_call *c, struct origin_file *from,
                        uint64_t from_off, struct origin_file *to, uint64_t to_off, uint64_t len);
int64_t file_seek(struct origin *o, const struct origin_call *c, struct origin_file *f,
                  uint64_t off, int whence);
