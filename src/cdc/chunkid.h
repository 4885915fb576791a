// SPDX-License-Identifier: Apache-2.0
/*
 * The name of a chunk: XXH3-128 of its plain bytes, in the canonical (big-endian) form that the
 * xxHash specification prints.
 *
 * xxHash finds accidents (bad disks, torn writes, software errors); it is no defence against an
 * attacker, who can make two chunks of one id at will. Never let ids from one who is not trusted
 * stand for bytes that others read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CAIRN_CHUNK_ID_BYTES 16
/* 32 hex digits and the NUL. */
#define CAIRN_CHUNK_ID_TEXT 33

struct cairn_chunk_id {
    uint8_t bytes[CAIRN_CHUNK_ID_BYTES];
};

/* The id of `len` plain bytes; `data` may be NULL if len is 0. Pure, any thread. */
struct cairn_chunk_id cairn_chunk_id_of(const void *data, size_t len);

/* Writes 32 lower-case hex digits and a NUL. Returns `out`. */
char *cairn_chunk_id_format(const struct cairn_chunk_id *id, char out[CAIRN_CHUNK_ID_TEXT]);

/* Reads exactly 32 lower-case hex digits, so that an id has one spelling. -EINVAL for all else. */
int cairn_chunk_id_parse(const char *text, struct cairn_chunk_id *ret);

static inline bool cairn_chunk_id_equal(const struct cairn_chunk_id *a,
                                        const struct cairn_chunk_id *b)
{
    return memcmp(a->bytes, b->bytes, CAIRN_CHUNK_ID_BYTES) == 0;
}

/* All bytes zero: no id was set. Taken as such although 2^-128 of all chunks have this id. */
static inline bool cairn_chunk_id_is_null(const struct cairn_chunk_id *id)
{
    static const struct cairn_chunk_id null;
    return cairn_chunk_id_equal(id, &null);
}

/* For hash tables in memory: differs between byte orders. All 64 bits are well mixed. */
static inline uint64_t cairn_chunk_id_hash(const struct cairn_chunk_id *id)
{
    uint64_t h;
    memcpy(&h, id->bytes, sizeof(h));
    return h;
}
