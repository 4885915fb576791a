// SPDX-License-Identifier: Apache-2.0
/* The state of one SFTP origin, shared by the sftp_*.c files of the driver; nobody else includes
 * this. One thread at a time. */
#pragma once

#include "origins/origin.h"
#include "origins/sftp_link.h"

#define SFTP_GUARD_ENTRIES 64

struct sftp {
    struct origin origin; /* first */
    struct origin_info info;
    struct sftp_link *link;
    char *root; /* the server's absolute path without a final slash: "" for its "/" */

    /* idmap=user: the remote login's ids stand for ours. */
    bool idmap;
    uint32_t remote_uid, remote_gid;
    uint32_t local_uid, local_gid;

    /* Directories that were seen to be real ones, not symlinks, a moment ago. */
    struct {
        char *path; /* of the server; NULL = unused */
        int64_t until_ns;
    } guard[SFTP_GUARD_ENTRIES];
    unsigned guard_next;
};

struct sftp_file {
    struct origin_file base; /* first */
    struct sftp_handle handle;
};

static inline struct sftp *to_sftp(struct origin *o)
{
    return (struct sftp *)o;
}

static inline struct sftp_file *to_sftp_file(struct origin_file *f)
{
    return (struct sftp_file *)f;
}
