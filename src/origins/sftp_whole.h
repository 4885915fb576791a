// SPDX-License-Identifier: Apache-2.0
/* Small files, many at once: the op read_whole of origin.h. */
#pragma once

#include "origins/sftp.h"

int sftp_read_whole(struct origin *o, const struct origin_call *c, struct origin_whole *files,
                    size_t count);
