// SPDX-License-Identifier: Apache-2.0
/* Opening and creating files: the ops open, close_file, mknod of origin.h. */
#pragma once

#include "origins/sftp.h"

int sftp_open(struct origin *o, const struct origin_call *c, const char *path, int flags,
              uint32_t mode, struct origin_file **ret, struct origin_stat *ret_stat);
void sftp_close_file(struct origin *o, struct origin_file *f);
int sftp_mknod(struct origin *o, const struct origin_call *c, const char *path, uint32_t mode,
               uint64_t rdev);

/* Opening an existing file for an access that has no effect on it, in two halves: what is asked
 * between them costs no round trip more. Zero before use; the link's requests end with it. */
struct sftp_opening {
    struct sftp_request look;
    struct sftp_request open;
};

/* `full` is the server's path; its directories are looked at by the caller. */
int sftp_opening_ask(struct sftp *s, const struct origin_call *c, const char *full, int flags,
                     struct sftp_opening *q);
/* -ELOOP, -EISDIR, -ENXIO for what is no regular file. */
int sftp_opening_settle(struct sftp *s, const struct origin_call *c, struct sftp_opening *q,
                        struct sftp_handle *ret, struct sftp_attrs *ret_attrs);
/* Frees, and drops what is still under way. Repeatable. */
void sftp_opening_end(struct sftp_opening *q);
