// SPDX-License-Identifier: Apache-2.0
#include "cdc/fastcdc.h"

#include <errno.h>
#include <string.h>

#include "cdc/gear.h"

/* The first mask is for chunks of 32 bytes. */
#define MASK_LEAST_BITS 5

/*
 * By the number of bits in a mask: 6 to 18 are of the authors' program (destor), the others of
 * restic-FastCDC. The paper finds that bits which lie apart deduplicate a little better.
 */
static const uint64_t masks[] = {
    0x0000000001804110, 0x0000000001803110, 0x0000000018035100, 0x0000001800035300,
    0x0000019000353000, 0x0000590003530000, 0x0000d90003530000, 0x0000d90103530000,
    0x0000d90303530000, 0x0000d90313530000, 0x0000d90f03530000, 0x0000d90303537000,
    0x0000d90703537000, 0x0000d90707537000, 0x0000d91707537000, 0x0000d91747537000,
    0x0000d91767537000, 0x0000d93767537000, 0x0000d93777537000, 0x0000d93777577000,
    0x0000db3777577000,
};

static bool is_within(uint32_t v, uint32_t least, uint32_t most)
{
    return v >= least && v <= most;
}

int cairn_cdc_params_check(const struct cairn_cdc_params *p)
{
    if (!is_within(p->min_bytes, CAIRN_CDC_MIN_LEAST, CAIRN_CDC_MIN_MOST) ||
        !is_within(p->avg_bytes, CAIRN_CDC_AVG_LEAST, CAIRN_CDC_AVG_MOST) ||
        !is_within(p->max_bytes, CAIRN_CDC_MAX_LEAST, CAIRN_CDC_MAX_MOST))
        return -EINVAL;
    if (p->min_bytes > p->avg_bytes || p->avg_bytes > p->max_bytes)
        return -EINVAL;
    return (p->avg_bytes & (p->avg_bytes - 1)) == 0 ? 0 : -EINVAL;
}

int cairn_cdc_init(struct cairn_cdc *cdc, const struct cairn_cdc_params *p)
{
    int r = cairn_cdc_params_check(p);
    if (r < 0)
        return r;

    int bits = __builtin_ctz(p->avg_bytes);
    *cdc = (struct cairn_cdc){
        .params = *p,
        .mask_small = masks[bits + 1 - MASK_LEAST_BITS],
        .mask_large = masks[bits - 1 - MASK_LEAST_BITS],
    };
    return 0;
}

/*
 * Judges bytes [pos, end) of a chunk, an even number. Returns the position of the first whose hash
 * says cut: the chunk ends before it; or `end`. *hash goes on from call to call.
 *
 * The paper rolls two bytes a step to shorten the chain of operations that each hash has to wait
 * for; this rolls four: only one shift and one addition depend on the step before. No mask has a
 * bit above 47, so a hash shifted left by up to 3 loses none that matter.
 */
static inline size_t scan(const uint8_t *b, size_t pos, size_t end, uint64_t mask, uint64_t *hash)
{
    const uint64_t *gear = cairn_gear;
    uint64_t mask1 = mask << 1, mask2 = mask << 2, mask3 = mask << 3;
    uint64_t h = *hash;

    /* Two steps in a row: a tenth more with gcc, no less with clang. */
#pragma GCC unroll 2
    for (; end - pos >= 4; pos += 4) {
        uint64_t before = h << 4;
        uint64_t sum0 = gear[b[pos]] << 3;
        uint64_t sum1 = sum0 + (gear[b[pos + 1]] << 2);
        uint64_t sum2 = sum1 + (gear[b[pos + 2]] << 1);
        h = before + (sum2 + gear[b[pos + 3]]);
        if (__builtin_expect(((before + sum0) & mask3) == 0, 0))
            return pos;
        if (__builtin_expect(((before + sum1) & mask2) == 0, 0))
            return pos + 1;
        if (__builtin_expect(((before + sum2) & mask1) == 0, 0))
            return pos + 2;
        if (__builtin_expect((h & mask) == 0, 0))
            return pos + 3;
    }
    for (; pos < end; pos++) {
        h = (h << 1) + gear[b[pos]];
        if ((h & mask) == 0)
            return pos;
    }
    *hash = h;
    return end;
}

/* Bytes are judged in pairs: a last one without partner, at the end of the stream or of the
 * longest chunk, never is. */
static size_t even(size_t n)
{
    return n & ~(size_t)1;
}

size_t cairn_cdc_cut(const struct cairn_cdc *cdc, const uint8_t *buf, size_t len)
{
    const struct cairn_cdc_params *p = &cdc->params;
    uint64_t hash = 0;

    if (len <= p->min_bytes)
        return len;
    if (len > p->max_bytes)
        len = p->max_bytes;

    size_t end = even(len);
    size_t center = p->avg_bytes < end ? p->avg_bytes : end;
    size_t pos = scan(buf, even(p->min_bytes), center, cdc->mask_small, &hash);
    if (pos < center)
        return pos;
    pos = scan(buf, center, end, cdc->mask_large, &hash);
    return pos < end ? pos : len;
}

void cairn_chunker_init(struct cairn_chunker *c, const struct cairn_cdc *cdc, uint64_t start)
{
    *c = (struct cairn_chunker){.cdc = cdc, .start = start};
}

/* The chunk under way ends at its byte `end`; the next one has `pos` bytes already. */
static bool end_chunk(struct cairn_chunker *c, size_t end, uint32_t pos, uint64_t *ret_end)
{
    c->start += end;
    c->hash = 0;
    c->pos = pos;
    *ret_end = c->start;
    return true;
}

static void take(struct cairn_chunker *c, const uint8_t **buf, size_t *len, size_t n)
{
    *buf += n;
    *len -= n;
    c->pos += (uint32_t)n;
}

bool cairn_chunker_feed(struct cairn_chunker *c, const uint8_t **buf, size_t *len,
                        uint64_t *ret_end)
{
    const struct cairn_cdc_params *p = &c->cdc->params;
    size_t first = even(p->min_bytes);
    size_t last = even(p->max_bytes);

    if (c->pos < first)
        take(c, buf, len, *len < first - c->pos ? *len : first - c->pos);

    if (c->pos > first && (c->pos & 1) && *len > 0) {
        uint8_t pair[2] = {c->odd, (*buf)[0]};
        uint64_t mask = c->pos < p->avg_bytes ? c->cdc->mask_small : c->cdc->mask_large;
        size_t judged = scan(pair, 0, 2, mask, &c->hash);
        /* A cut before the odd byte leaves it as the first of the next chunk. */
        if (judged < 2)
            return end_chunk(c, c->pos - 1 + judged, judged == 0 ? 1 : 0, ret_end);
        take(c, buf, len, 1);
    }

    while (c->pos >= first && *len >= 2 && c->pos < last) {
        bool small = c->pos < p->avg_bytes;
        size_t region = (small ? p->avg_bytes : last) - c->pos;
        size_t n = even(*len < region ? *len : region);
        size_t judged = scan(*buf, 0, n, small ? c->cdc->mask_small : c->cdc->mask_large, &c->hash);
        take(c, buf, len, judged);
        if (judged < n)
            return end_chunk(c, c->pos, 0, ret_end);
    }

    if (c->pos >= first && *len > 0 && c->pos < p->max_bytes) {
        c->odd = (*buf)[0];
        take(c, buf, len, 1);
    }
    if (c->pos == p->max_bytes)
        return end_chunk(c, c->pos, 0, ret_end);
    return false;
}

bool cairn_chunker_finish(struct cairn_chunker *c, uint64_t *ret_end)
{
    return c->pos > 0 && end_chunk(c, c->pos, 0, ret_end);
}
