// SPDX-License-Identifier: Apache-2.0
/* What the tests of the cache share: chunks made from a number, directories that clean up. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/util.h"
#include "cache/chunk.h"
#include "unit/seed.h"

/* Chunk number `n` of this length; noise, or text that compresses. */
static inline struct cairn_chunk *make_chunk(uint64_t n, uint32_t len, bool text)
{
    struct cairn_chunk *c = cairn_chunk_new(len);
    if (!c)
        return NULL;
    uint64_t state = n * 0x1234567 + len;
    for (uint32_t i = 0; i < len; i += 8) {
        uint64_t v = splitmix64(&state);
        if (text)
            v = 0x6161616161616161ULL + (v & 0x0303);
        memcpy(c->data + i, &v, len - i < 8 ? len - i : 8);
    }
    c->id = cairn_chunk_id_of(c->data, len);
    return c;
}

static inline void assert_same_chunk(const struct cairn_chunk *got, const struct cairn_chunk *want)
{
    assert_int_equal(got->len, want->len);
    assert_memory_equal(got->data, want->data, want->len);
    assert_memory_equal(&got->id, &want->id, sizeof(want->id));
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* A new directory for one test, in `out` (64 bytes). */
static inline const char *make_dir(char *out)
{
    const char *base = getenv("TMPDIR");
    snprintf(out, 64, "%.40s/cairn-cache-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(out)) {
        perror(out);
        abort();
    }
    return out;
}

static inline void remove_dir(const char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* For nftw, which has no argument of its own: test programs have one such walk at a time. */
static uint64_t walked_bytes;
static unsigned walked_segments;

static inline int add_size(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    if (type == FTW_F) {
        walked_bytes += (uint64_t)st->st_size;
        walked_segments += strstr(path, ".seg") != NULL;
    }
    return 0;
}

/* The sum of the sizes of all files below a directory. */
static inline uint64_t dir_bytes(const char *dir)
{
    walked_bytes = 0;
    walked_segments = 0;
    nftw(dir, add_size, 16, FTW_PHYS);
    return walked_bytes;
}
