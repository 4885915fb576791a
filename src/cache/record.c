// SPDX-License-Identifier: Apache-2.0
/* Making and checking the headers of segment files; the format is described in record.h. */
#include "cache/record.h"

#include <string.h>
#include <xxhash.h>

#define HEADER_MAGIC  0x6e726163U /* "carn" */
#define TRAILER_MAGIC 0x6c696174U /* "tail" */
#define VERSION       1U

static uint32_t checksum(const void *data, size_t len)
{
    return (uint32_t)XXH3_64bits(data, len);
}

void record_header_make(struct record_header *ret, enum record_codec codec,
                        const struct cairn_chunk_id *id, uint32_t plain_len, uint32_t stored_len,
                        uint32_t segment)
{
    struct record_header h = {
        .magic = HEADER_MAGIC,
        .version = VERSION,
        .codec = (uint8_t)codec,
        .plain_len = plain_len,
        .stored_len = stored_len,
        .segment = segment,
        .id = *id,
    };
    h.check = checksum(&h, offsetof(struct record_header, check));
    *ret = h;
}

bool record_header_valid(const struct record_header *h, uint32_t segment)
{
    if (h->magic != HEADER_MAGIC || h->version != VERSION || h->segment != segment ||
        h->check != checksum(h, offsetof(struct record_header, check)))
        return false;
    switch (h->codec) {
    case RECORD_RAW:
        return h->plain_len > 0 && h->plain_len <= RECORD_MAX_PLAIN &&
               h->stored_len == h->plain_len;
    case RECORD_ZSTD:
        return h->stored_len > 0 && h->plain_len <= RECORD_MAX_PLAIN &&
               h->stored_len < h->plain_len;
    case RECORD_TOC:
        return h->stored_len == h->plain_len && h->stored_len < RECORD_MAX_FILE &&
               h->stored_len % sizeof(struct toc_entry) == 0;
    default:
        return false;
    }
}

void record_trailer_make(struct record_trailer *ret, uint32_t segment, uint32_t toc_offset)
{
    struct record_trailer t = {
        .magic = TRAILER_MAGIC,
        .segment = segment,
        .toc_offset = toc_offset,
    };
    t.check = checksum(&t, offsetof(struct record_trailer, check));
    *ret = t;
}

bool record_trailer_valid(const struct record_trailer *t, uint32_t segment)
{
    return t->magic == TRAILER_MAGIC && t->segment == segment &&
           t->toc_offset % RECORD_ALIGN == 0 && t->toc_offset < RECORD_MAX_FILE &&
           t->check == checksum(t, offsetof(struct record_trailer, check));
}
