// SPDX-License-Identifier: Apache-2.0
/* The kernel's file handle is our struct cairn_handle. */
#pragma once

#include "fs/fs.h"
#include "sync/read.h"

static inline struct cairn_handle *cairn_handle_of(const struct fuse_file_info *fi)
{
    return (struct cairn_handle *)(uintptr_t)fi->fh;
}
