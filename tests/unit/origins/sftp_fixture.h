// SPDX-License-Identifier: Apache-2.0
/* For tests of the SFTP driver: a real sshd and connections to it, made by the driver itself. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/sshd.h"
#include "origins/origin.h"

struct sftp_fixture {
    struct sshd *sshd;
    struct origin *o; /* connected to the sshd's tree */
};

/* A call without an end, and one that ends at the given time from now. */
extern const struct origin_call sftp_endless;
struct origin_call sftp_call_for(int64_t ns);

/* cmocka's group set-up: skips all (exit status 77) where no sshd can be started. */
int sftp_fixture_setup(void **state);
int sftp_fixture_teardown(void **state);
/* cmocka's test set-up: an empty tree. */
int sftp_fixture_empty(void **state);

/* The configuration that connects to `path` of `s`; valid until the next call. */
const struct origin_config *sftp_fixture_config(const struct sshd *s, const char *path);

/* One more connection to the tree. Aborts on failure. */
struct origin *sftp_fixture_connect(const struct sshd *s);

/* "tree/name" in a static buffer, good until the fourth next call. */
const char *sftp_tree_path(const struct sshd *s, const char *name);

/* Deterministic bytes of a file at `off`. */
void sftp_fill(void *buf, size_t len, uint64_t off);

/*
 * Runs `fn(arg, call)` in this thread with a cancel flag that another thread sets once this one
 * sleeps in the kernel. Returns what fn does; *ret_ns is the time from the flag to the return.
 */
int sftp_cancel_while(int (*fn)(void *arg, const struct origin_call *c), void *arg,
                      int64_t *ret_ns);
