// SPDX-License-Identifier: Apache-2.0
/*
 * Compression of the disk tier (zstd, when it was built in). One thread encodes; any number of
 * threads decode, each with a context borrowed from a pool.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct codec;

/* `level` 0 never compresses, but what was compressed earlier can be decoded. -ENOMEM. */
int codec_new(struct codec **ret, int level);
void codec_free(struct codec *c); /* NULL is allowed */

/* Compressed size in `dst`, or 0 if that would not save a sixteenth: store it raw. The writer
 * thread only. `dst` has room for `len` bytes. */
uint32_t codec_encode(struct codec *c, const void *src, uint32_t len, void *dst);

/* What decoding one chunk needs; used by one thread while borrowed. */
struct decoder {
    struct decoder *next;
    void *context;
    uint8_t *buf; /* for the stored bytes */
    size_t cap;
};

/* A decoder whose buf holds at least `stored_len` bytes. -ENOMEM; -EOPNOTSUPP without zstd. */
int codec_borrow(struct codec *c, uint32_t stored_len, struct decoder **ret);
void codec_return(struct codec *c, struct decoder *d);
/* Decodes the first `stored_len` bytes of d->buf to exactly `plain_len` bytes; else -EBADMSG. */
int decoder_decode(struct decoder *d, uint32_t stored_len, void *dst, uint32_t plain_len);
