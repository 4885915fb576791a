// SPDX-License-Identifier: Apache-2.0
/* What the tests of the metadata store share: a directory of their own, seeds, small makers. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "meta/store.h"

struct fixture {
    char dir[64];
    struct cairn_meta *m;
};

/* cmocka setup and teardown: an open, empty store with a root inode. */
int fixture_open(void **state);
int fixture_close(void **state);
void fixture_reopen(struct fixture *f);

/* A fresh directory under $TMPDIR, and its removal with what is in it. */
void make_dir(char ret[64]);
void remove_dir(const char *dir);
struct cairn_meta *open_store(const char *dir);

/* Makes a node with one name (or none: NULL); takes the lock itself. */
uint64_t make_node(struct cairn_meta *m, uint64_t parent, const char *name, uint32_t mode);
struct cairn_manifest_entry make_entry(uint64_t off, uint32_t len, uint64_t tag);

/* CAIRN_SEED, or a new one; printed. */
uint64_t test_seed(void);
uint64_t next_random(uint64_t *state);

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif
#ifndef UNDER_SANITIZER
#define UNDER_SANITIZER 0
#endif

#define assert_ok(call) assert_int_equal((call), 0)
