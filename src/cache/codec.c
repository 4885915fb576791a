// SPDX-License-Identifier: Apache-2.0
/* See codec.h. A context of zstd costs some 100 KiB and is worth keeping; a few are kept idle. */
#include "cache/codec.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#ifdef CAIRNFS_HAVE_ZSTD
#include <zstd.h>
#endif

#define IDLE_MAX 8U

struct codec {
    int level;
    void *encoder; /* the writer thread's; NULL at level 0 */
    pthread_mutex_t lock;
    struct decoder *idle; /* under lock */
    unsigned idle_count;  /* under lock */
};

int codec_new(struct codec **ret, int level)
{
    struct codec *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
#ifdef CAIRNFS_HAVE_ZSTD
    if (level) {
        c->encoder = ZSTD_createCCtx();
        if (!c->encoder) {
            free(c);
            return -ENOMEM;
        }
    }
#endif
    c->level = level;
    pthread_mutex_init(&c->lock, NULL);
    *ret = c;
    return 0;
}

static void free_decoder(struct decoder *d)
{
#ifdef CAIRNFS_HAVE_ZSTD
    ZSTD_freeDCtx(d->context);
#endif
    free(d->buf);
    free(d);
}

void codec_free(struct codec *c)
{
    if (!c)
        return;
    struct decoder *next;
    for (struct decoder *d = c->idle; d; d = next) {
        next = d->next;
        free_decoder(d);
    }
#ifdef CAIRNFS_HAVE_ZSTD
    ZSTD_freeCCtx(c->encoder);
#endif
    pthread_mutex_destroy(&c->lock);
    free(c);
}

uint32_t codec_encode(struct codec *c, const void *src, uint32_t len, void *dst)
{
#ifdef CAIRNFS_HAVE_ZSTD
    if (c->encoder && len >= 64) {
        /* Too little room makes zstd give up early on what does not compress. */
        size_t n = ZSTD_compressCCtx(c->encoder, dst, len - len / 16, src, len, c->level);
        if (!ZSTD_isError(n))
            return (uint32_t)n;
    }
#endif
    return 0;
}

int codec_borrow(struct codec *c, uint32_t stored_len, struct decoder **ret)
{
#ifdef CAIRNFS_HAVE_ZSTD
    pthread_mutex_lock(&c->lock);
    struct decoder *d = c->idle;
    if (d) {
        c->idle = d->next;
        c->idle_count--;
    }
    pthread_mutex_unlock(&c->lock);

    if (!d) {
        d = calloc(1, sizeof(*d));
        if (!d)
            return -ENOMEM;
        d->context = ZSTD_createDCtx();
        if (!d->context) {
            free(d);
            return -ENOMEM;
        }
    }
    if (d->cap < stored_len) {
        uint8_t *buf = malloc(stored_len);
        if (!buf) {
            codec_return(c, d);
            return -ENOMEM;
        }
        free(d->buf);
        d->buf = buf;
        d->cap = stored_len;
    }
    *ret = d;
    return 0;
#else
    return -EOPNOTSUPP;
#endif
}

void codec_return(struct codec *c, struct decoder *d)
{
    pthread_mutex_lock(&c->lock);
    if (c->idle_count < IDLE_MAX) {
        d->next = c->idle;
        c->idle = d;
        c->idle_count++;
        d = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    if (d)
        free_decoder(d);
}

int decoder_decode(struct decoder *d, uint32_t stored_len, void *dst, uint32_t plain_len)
{
#ifdef CAIRNFS_HAVE_ZSTD
    size_t n = ZSTD_decompressDCtx(d->context, dst, plain_len, d->buf, stored_len);
    return !ZSTD_isError(n) && n == plain_len ? 0 : -EBADMSG;
#else
    return -EBADMSG;
#endif
}
