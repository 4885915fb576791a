// SPDX-License-Identifier: Apache-2.0
/* Attributes of nodes and filesystems: the ops stat, setattr, fstat, fsetattr, statfs of
 * origin.h, and what the other parts of the driver need of them. */
#pragma once

#include "origins/sftp.h"

int sftp_stat(struct origin *o, const struct origin_call *c, const char *path,
              struct origin_stat *ret);
int sftp_setattr(struct origin *o, const struct origin_call *c, const char *path,
                 const struct origin_attr *attr);
int sftp_fstat(struct origin *o, const struct origin_call *c, struct origin_file *f,
               struct origin_stat *ret);
int sftp_fsetattr(struct origin *o, const struct origin_call *c, struct origin_file *f,
                  const struct origin_attr *attr);
int sftp_statfs(struct origin *o, const struct origin_call *c, struct statvfs *ret);

/* A node's attributes as origin.h tells them, ids mapped. */
void sftp_to_stat(const struct sftp *s, const struct sftp_attrs *a, struct origin_stat *ret);

/* LSTAT of a server's path. */
int sftp_lstat_full(struct sftp *s, const struct origin_call *c, const char *full,
                    struct sftp_attrs *ret);

/* Sets attributes of a server's path that is known not to be a symlink. */
int sftp_setstat_full(struct sftp *s, const struct origin_call *c, const char *full,
                      const struct sftp_attrs *a);

/* FSETSTAT, FSTAT. */
int sftp_fsetstat_handle(struct sftp *s, const struct origin_call *c, const struct sftp_handle *h,
                         const struct sftp_attrs *a);
int sftp_fstat_handle(struct sftp *s, const struct origin_call *c, const struct sftp_handle *h,
                      struct sftp_attrs *ret);

/* statvfs of a server's path, or of `h` if `full` is NULL. -EOPNOTSUPP if the server can't. */
int sftp_statvfs(struct sftp *s, const struct origin_call *c, const char *full,
                 const struct sftp_handle *h, struct statvfs *ret);

/* What a bare FAILURE of a change near `full` (or of `h`) was about: -EROFS, -ENOSPC, or -EIO if
 * nothing explains it; -ECONNRESET, -ETIMEDOUT, -EINTR if asking failed so. */
int sftp_explain(struct sftp *s, const struct origin_call *c, const char *full,
                 const struct sftp_handle *h);
