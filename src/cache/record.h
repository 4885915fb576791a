// SPDX-License-Identifier: Apache-2.0
/*
 * The format of segment files. A segment is a row of records, each 8-byte aligned:
 *
 *     header (40 bytes, with its own checksum) | payload | zeros up to the next multiple of 8
 *
 * A sealed segment ends with a table of contents, itself a record, and a trailer that says where
 * it is. Integers are in host order: a cache is not moved between machines of different order (its
 * magic numbers then do not match, and it starts empty). All functions are pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cdc/chunkid.h"

#define RECORD_ALIGN     8U
#define RECORD_MAX_PLAIN ((1U << 24) - 1) /* sanity bound of lengths; the index has 24 bits too */
#define RECORD_MAX_FILE  (1U << 27)       /* offsets have 24 bits of 8 bytes in the index */

enum record_codec {
    RECORD_RAW = 0,
    RECORD_ZSTD = 1,
    RECORD_TOC = 2, /* the payload is an array of struct toc_entry, id is its XXH3-128 */
};

struct record_header {
    uint32_t magic;
    uint8_t version;
    uint8_t codec;
    uint16_t zero;
    uint32_t plain_len;  /* bytes of the chunk */
    uint32_t stored_len; /* bytes of the payload */
    uint32_t segment;    /* the number of the file it was written to */
    struct cairn_chunk_id id;
    uint32_t check; /* low half of the XXH3-64 of all before */
};
_Static_assert(sizeof(struct record_header) == 40, "on-disk format");

/* Where a chunk's record is. */
struct place {
    uint32_t segment;
    uint32_t offset;     /* of the header, bytes from the start of the file */
    uint32_t stored_len; /* of the payload */
    uint32_t plain_len;  /* larger than stored_len if and only if the payload is compressed */
};

struct toc_entry {
    struct cairn_chunk_id id;
    struct place place;
};
_Static_assert(sizeof(struct toc_entry) == 32, "on-disk format");

struct record_trailer {
    uint32_t magic;
    uint32_t segment;
    uint32_t toc_offset; /* of the record that holds the table */
    uint32_t check;
};
_Static_assert(sizeof(struct record_trailer) == 16, "on-disk format");

/* What a record with such a payload occupies in its file. */
static inline uint32_t record_size(uint32_t stored_len)
{
    return ((uint32_t)sizeof(struct record_header) + stored_len + RECORD_ALIGN - 1) &
           ~(RECORD_ALIGN - 1);
}

/* What the table of contents of `n` chunks and the trailer occupy. */
static inline uint32_t record_toc_size(uint32_t n)
{
    return record_size(n * (uint32_t)sizeof(struct toc_entry)) +
           (uint32_t)sizeof(struct record_trailer);
}

void record_header_make(struct record_header *ret, enum record_codec codec,
                        const struct cairn_chunk_id *id, uint32_t plain_len, uint32_t stored_len,
                        uint32_t segment);
/* True if the checksum holds and every field is sane for this segment. */
bool record_header_valid(const struct record_header *h, uint32_t segment);

void record_trailer_make(struct record_trailer *ret, uint32_t segment, uint32_t toc_offset);
bool record_trailer_valid(const struct record_trailer *t, uint32_t segment);
