// SPDX-License-Identifier: Apache-2.0
/* For tests: a directory of their own, removed with all that is in it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "origins/origin.h"

/* A new empty directory ("$TMPDIR/..."); free with tempdir_remove. Aborts on failure. */
char *tempdir_new(void);
void tempdir_remove(char *dir);

/* "dir/name" in a static buffer of the thread, good until the fourth next call. */
const char *tempdir_path(const char *dir, const char *name);

/* Writes a small file. Aborts on failure. */
void tempdir_write(const char *dir, const char *name, const char *text);

/* The file origin of a directory, through origin_connect. Aborts on failure. */
struct origin *tempdir_connect(const char *dir);

/* A call without an end. */
extern const struct origin_call endless;
