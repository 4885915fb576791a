// SPDX-License-Identifier: Apache-2.0
/* draft-ietf-secsh-filexfer-02, sections 3 to 7. Lengths are compared before they are added. */
#include "origins/sftp_wire.h"

#include <errno.h>
#include <string.h>

static uint8_t *reserve(struct sftp_writer *w, size_t n)
{
    if (w->overflow || n > w->cap - w->len) {
        w->overflow = true;
        return NULL;
    }
    uint8_t *p = w->buf + w->len;
    w->len += n;
    return p;
}

static void store_u32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

void sftp_put_u8(struct sftp_writer *w, uint8_t v)
{
    uint8_t *p = reserve(w, 1);
    if (p)
        *p = v;
}

void sftp_put_u32(struct sftp_writer *w, uint32_t v)
{
    uint8_t *p = reserve(w, 4);
    if (p)
        store_u32(p, v);
}

void sftp_put_u64(struct sftp_writer *w, uint64_t v)
{
    sftp_put_u32(w, (uint32_t)(v >> 32));
    sftp_put_u32(w, (uint32_t)v);
}

void sftp_put_string(struct sftp_writer *w, const void *data, size_t len)
{
    if (len > UINT32_MAX) {
        w->overflow = true;
        return;
    }
    sftp_put_u32(w, (uint32_t)len);
    uint8_t *p = reserve(w, len);
    if (p && len)
        memcpy(p, data, len);
}

void sftp_put_cstring(struct sftp_writer *w, const char *text)
{
    sftp_put_string(w, text, strlen(text));
}

void sftp_put_attrs(struct sftp_writer *w, const struct sftp_attrs *a)
{
    sftp_put_u32(w, a->flags & ~SFTP_ATTR_EXTENDED);
    if (a->flags & SFTP_ATTR_SIZE)
        sftp_put_u64(w, a->size);
    if (a->flags & SFTP_ATTR_UIDGID) {
        sftp_put_u32(w, a->uid);
        sftp_put_u32(w, a->gid);
    }
    if (a->flags & SFTP_ATTR_PERMISSIONS)
        sftp_put_u32(w, a->permissions);
    if (a->flags & SFTP_ATTR_ACMODTIME) {
        sftp_put_u32(w, a->atime);
        sftp_put_u32(w, a->mtime);
    }
}

void sftp_packet_begin(struct sftp_writer *w, uint8_t type)
{
    sftp_put_u32(w, 0);
    sftp_put_u8(w, type);
}

void sftp_packet_end(struct sftp_writer *w)
{
    if (!w->overflow)
        store_u32(w->buf, (uint32_t)(w->len - 4));
}

static const uint8_t *take(struct sftp_reader *r, size_t n)
{
    if (r->bad || n > r->left) {
        r->bad = true;
        r->left = 0;
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += n;
    r->left -= n;
    return p;
}

uint8_t sftp_get_u8(struct sftp_reader *r)
{
    const uint8_t *p = take(r, 1);
    return p ? *p : 0;
}

uint32_t sftp_get_u32(struct sftp_reader *r)
{
    const uint8_t *p = take(r, 4);
    if (!p)
        return 0;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint64_t sftp_get_u64(struct sftp_reader *r)
{
    uint64_t high = sftp_get_u32(r);
    return high << 32 | sftp_get_u32(r);
}

const uint8_t *sftp_get_string(struct sftp_reader *r, size_t *ret_len)
{
    uint32_t n = sftp_get_u32(r);
    const uint8_t *p = take(r, n);
    *ret_len = p ? n : 0;
    return p;
}

void sftp_get_attrs(struct sftp_reader *r, struct sftp_attrs *ret)
{
    struct sftp_attrs a = {.flags = sftp_get_u32(r)};
    if (a.flags & SFTP_ATTR_SIZE)
        a.size = sftp_get_u64(r);
    if (a.flags & SFTP_ATTR_UIDGID) {
        a.uid = sftp_get_u32(r);
        a.gid = sftp_get_u32(r);
    }
    if (a.flags & SFTP_ATTR_PERMISSIONS)
        a.permissions = sftp_get_u32(r);
    if (a.flags & SFTP_ATTR_ACMODTIME) {
        a.atime = sftp_get_u32(r);
        a.mtime = sftp_get_u32(r);
    }
    if (a.flags & SFTP_ATTR_EXTENDED) {
        uint32_t pairs = sftp_get_u32(r);
        for (uint32_t i = 0; i < pairs && !r->bad; i++) {
            size_t len;
            sftp_get_string(r, &len);
            sftp_get_string(r, &len);
        }
    }
    if (!r->bad)
        *ret = a;
}

int sftp_status_errno(uint32_t status)
{
    switch (status) {
    case SFTP_FX_OK:
        return 0;
    case SFTP_FX_EOF:
        return -ENODATA;
    case SFTP_FX_NO_SUCH_FILE:
        return -ENOENT;
    case SFTP_FX_PERMISSION_DENIED:
        return -EACCES;
    case SFTP_FX_BAD_MESSAGE:
        return -EINVAL;
    case SFTP_FX_NO_CONNECTION:
    case SFTP_FX_CONNECTION_LOST:
        return -ECONNRESET;
    case SFTP_FX_OP_UNSUPPORTED:
        return -EOPNOTSUPP;
    default:
        return -EIO;
    }
}
