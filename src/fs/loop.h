// SPDX-License-Identifier: Apache-2.0
/*
 * The threads that take the kernel's requests.
 *
 * A wakeup costs more than most answers. A thread that has just answered therefore looks for the
 * next request for a moment before it sleeps, as long as such looks keep finding one (the idea of
 * the kernel's halt polling). One thread at a time does, and it yields to all that wants to run.
 */
#pragma once

#include "fs/fs.h"

/* Serves until the filesystem is unmounted or a signal ends the session. 0 or -errno. */
int cairn_loop_run(struct cairn_fs *fs);
