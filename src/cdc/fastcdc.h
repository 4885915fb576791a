// SPDX-License-Identifier: Apache-2.0
/*
 * FastCDC 2020: where the bytes of a stream say that a chunk ends.
 *
 * Wen Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based
 * Storage Systems", IEEE TPDS 31(9), 2020; normalised chunking of level 1. The cuts are those of
 * the fastcdc crate (module v2020), quirks included: two caches agree only if their cuts do.
 * A chunk's end depends on the bytes of this chunk alone, so chunking may begin at any cut.
 * Pure functions over memory: no I/O, no allocation; an object belongs to one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bounds of each parameter, bytes. */
#define CAIRN_CDC_MIN_LEAST 64U
#define CAIRN_CDC_MIN_MOST  1048576U
#define CAIRN_CDC_AVG_LEAST 256U
#define CAIRN_CDC_AVG_MOST  4194304U
#define CAIRN_CDC_MAX_LEAST 1024U
#define CAIRN_CDC_MAX_MOST  16777216U

struct cairn_cdc_params {
    uint32_t min_bytes;
    uint32_t avg_bytes; /* a power of two; real chunks are a quarter longer in the mean */
    uint32_t max_bytes;
};

/* Initialiser: what cairnfs uses, 16 KiB / 64 KiB / 256 KiB. */
#define CAIRN_CDC_DEFAULT {.min_bytes = 16384, .avg_bytes = 65536, .max_bytes = 262144}

/* 0, or -EINVAL: out of the bounds above, not min <= avg <= max, or avg is no power of two. */
int cairn_cdc_params_check(const struct cairn_cdc_params *p);

/* Parameters made ready. Read-only once initialised: any number of threads may share it. */
struct cairn_cdc {
    struct cairn_cdc_params params;
    uint64_t mask_small; /* before avg_bytes: one bit more, cuts are rarer */
    uint64_t mask_large; /* after it: one bit less */
};

/* 0, or -EINVAL as cairn_cdc_params_check. */
int cairn_cdc_init(struct cairn_cdc *cdc, const struct cairn_cdc_params *p);

/*
 * The length of the first chunk in `buf`, which begins at a cut and holds at least max_bytes or
 * reaches to the end of the stream. 0 only if len is 0.
 */
size_t cairn_cdc_cut(const struct cairn_cdc *cdc, const uint8_t *buf, size_t len);

/*
 * The same for a stream that arrives in pieces: one pass, nothing buffered.
 *
 *     cairn_chunker_init(&c, &cdc, start);
 *     for each piece (p, n)
 *         while (cairn_chunker_feed(&c, &p, &n, &end))
 *             ... a chunk ends before stream offset `end`
 *     if (cairn_chunker_finish(&c, &end))
 *         ... the last one does
 *
 * The cuts do not depend on how the stream was split. A cut can lie one byte before the piece that
 * decided it: the caller keeps the bytes of the chunk under way anyway.
 */
struct cairn_chunker {
    const struct cairn_cdc *cdc; /* outlives the chunker */
    uint64_t start;              /* stream offset where the chunk under way began */
    uint64_t hash;               /* gear hash of its bytes from min_bytes on */
    uint32_t pos;                /* its bytes so far, below max_bytes between calls */
    uint8_t odd;                 /* its last byte, if pos is odd: bytes are judged in pairs */
};

/* `start`: stream offset of the first byte that will be fed, a cut (0 is one). */
void cairn_chunker_init(struct cairn_chunker *c, const struct cairn_cdc *cdc, uint64_t start);

/*
 * Reads from *buf up to the next cut and moves *buf and *len past what it took. True: a chunk ends
 * at stream offset *ret_end, call again with what is left. False: all was taken, no cut.
 */
bool cairn_chunker_feed(struct cairn_chunker *c, const uint8_t **buf, size_t *len,
                        uint64_t *ret_end);

/*
 * The stream has ended: true and its length in *ret_end if a chunk was under way. The chunker then
 * stands at that offset as after init.
 */
bool cairn_chunker_finish(struct cairn_chunker *c, uint64_t *ret_end);
