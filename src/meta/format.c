// SPDX-License-Identifier: Apache-2.0
#include "meta/format.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1

static void put_be64(uint8_t *p, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (56 - 8 * i));
}

static uint64_t get_be64(const uint8_t *p)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

static void put_le32(uint8_t *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_le64(uint8_t *p, uint64_t v)
{
    put_le32(p, (uint32_t)v);
    put_le32(p + 4, (uint32_t)(v >> 32));
}

static uint64_t get_le64(const uint8_t *p)
{
    return get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
}

/* --- keys --- */

static void key_number(struct kv_key *ret, char letter, uint64_t n)
{
    ret->bytes[0] = (uint8_t)letter;
    put_be64(ret->bytes + 1, n);
    ret->len = 9;
}

static void add_number(struct kv_key *ret, uint64_t n)
{
    put_be64(ret->bytes + ret->len, n);
    ret->len = (uint16_t)(ret->len + 8);
}

static void add_name(struct kv_key *ret, const char *name)
{
    size_t len = strnlen(name, CAIRN_NAME_MAX);
    memcpy(ret->bytes + ret->len, name, len);
    ret->len = (uint16_t)(ret->len + len);
}

void key_globals(struct kv_key *ret)
{
    ret->bytes[0] = 'G';
    ret->len = 1;
}

void key_inode(struct kv_key *ret, uint64_t ino)
{
    key_number(ret, 'I', ino);
}

void key_target(struct kv_key *ret, uint64_t ino)
{
    key_number(ret, 'S', ino);
}

void key_fileid(struct kv_key *ret, uint64_t fileid)
{
    key_number(ret, 'F', fileid);
}

void key_drop(struct kv_key *ret, uint64_t content)
{
    key_number(ret, 'X', content);
}

void key_dirent(struct kv_key *ret, uint64_t parent, const char *name)
{
    key_number(ret, 'D', parent);
    add_name(ret, name);
}

void key_link(struct kv_key *ret, uint64_t ino, uint64_t parent, const char *name)
{
    key_number(ret, 'L', ino);
    add_number(ret, parent);
    add_name(ret, name);
}

void key_cookie(struct kv_key *ret, uint64_t parent, uint64_t cookie)
{
    key_number(ret, 'C', parent);
    add_number(ret, cookie);
}

void key_page(struct kv_key *ret, uint64_t content, uint64_t page)
{
    key_number(ret, 'M', content);
    add_number(ret, page);
}

static bool is_name(const uint8_t *name, size_t len)
{
    return len > 0 && len <= CAIRN_NAME_MAX && !memchr(name, 0, len) && !memchr(name, '/', len);
}

static int copy_name(const uint8_t *name, size_t len, char *ret)
{
    if (!is_name(name, len))
        return -EIO;
    memcpy(ret, name, len);
    ret[len] = 0;
    return 0;
}

static int parse_two(const uint8_t *key, size_t len, char letter, uint64_t *ret_a, uint64_t *ret_b)
{
    if (len != 17 || key[0] != (uint8_t)letter)
        return -EIO;
    *ret_a = get_be64(key + 1);
    *ret_b = get_be64(key + 9);
    return 0;
}

int parse_key_cookie(const uint8_t *key, size_t len, uint64_t *ret_parent, uint64_t *ret_cookie)
{
    return parse_two(key, len, 'C', ret_parent, ret_cookie);
}

int parse_key_page(const uint8_t *key, size_t len, uint64_t *ret_content, uint64_t *ret_page)
{
    uint64_t content, page;
    int r = parse_two(key, len, 'M', &content, &page);
    if (r < 0)
        return r;
    if (page > PAGE_NUMBER_MAX)
        return -EIO;
    *ret_content = content;
    *ret_page = page;
    return 0;
}

int parse_key_drop(const uint8_t *key, size_t len, uint64_t *ret_content)
{
    if (len != 9 || key[0] != 'X')
        return -EIO;
    *ret_content = get_be64(key + 1);
    return 0;
}

int parse_key_link(const uint8_t *key, size_t len, uint64_t *ret_ino, uint64_t *ret_parent,
                   char *ret_name)
{
    if (len <= 17 || key[0] != 'L')
        return -EIO;
    int r = copy_name(key + 17, len - 17, ret_name);
    if (r < 0)
        return r;
    *ret_ino = get_be64(key + 1);
    *ret_parent = get_be64(key + 9);
    return 0;
}

int parse_key_dirent(const uint8_t *key, size_t len, uint64_t *ret_parent, char *ret_name)
{
    if (len <= 9 || key[0] != 'D')
        return -EIO;
    int r = copy_name(key + 9, len - 9, ret_name);
    if (r < 0)
        return r;
    *ret_parent = get_be64(key + 1);
    return 0;
}

/* --- values --- */

size_t pack_inode(uint8_t ret[INODE_BYTES_MAX], const struct inode_record *rec)
{
    const struct cairn_inode *in = &rec->in;
    size_t name_len = strnlen(in->name, CAIRN_NAME_MAX);
    memset(ret, 0, INODE_FIXED_BYTES);
    ret[0] = VERSION;
    ret[1] = (uint8_t)name_len;
    put_le32(ret + 4, in->mode);
    put_le32(ret + 8, in->nlink);
    put_le32(ret + 12, in->uid);
    put_le32(ret + 16, in->gid);
    put_le32(ret + 20, in->flags);
    put_le32(ret + 24, rec->names);
    put_le64(ret + 32, in->parent);
    put_le64(ret + 40, in->rdev);
    put_le64(ret + 48, in->size);
    put_le64(ret + 56, in->blocks);
    put_le64(ret + 64, (uint64_t)in->atime_ns);
    put_le64(ret + 72, (uint64_t)in->mtime_ns);
    put_le64(ret + 80, (uint64_t)in->ctime_ns);
    put_le64(ret + 88, in->version.size);
    put_le64(ret + 96, (uint64_t)in->version.mtime_ns);
    put_le64(ret + 104, in->version.token[0]);
    put_le64(ret + 112, in->version.token[1]);
    put_le64(ret + 120, in->fileid);
    put_le64(ret + 128, in->content);
    put_le64(ret + 136, (uint64_t)in->checked_ns);
    put_le64(ret + 144, in->checked_epoch);
    put_le64(ret + 152, (uint64_t)in->listed_ns);
    put_le64(ret + 160, in->listed_epoch);
    memcpy(ret + INODE_FIXED_BYTES, in->name, name_len);
    return INODE_FIXED_BYTES + name_len;
}

int unpack_inode(const uint8_t *val, size_t len, uint64_t ino, struct cairn_inode *in,
                 uint32_t *ret_names)
{
    if (len < INODE_FIXED_BYTES || val[0] != VERSION || len != INODE_FIXED_BYTES + (size_t)val[1])
        return -EIO;
    if (val[1] && !is_name(val + INODE_FIXED_BYTES, val[1]))
        return -EIO;
    *ret_names = get_le32(val + 24);
    in->ino = ino;
    in->parent = get_le64(val + 32);
    memcpy(in->name, val + INODE_FIXED_BYTES, val[1]);
    in->name[val[1]] = 0;
    in->mode = get_le32(val + 4);
    in->nlink = get_le32(val + 8);
    in->uid = get_le32(val + 12);
    in->gid = get_le32(val + 16);
    in->flags = get_le32(val + 20);
    in->rdev = get_le64(val + 40);
    in->size = get_le64(val + 48);
    in->blocks = get_le64(val + 56);
    in->atime_ns = (int64_t)get_le64(val + 64);
    in->mtime_ns = (int64_t)get_le64(val + 72);
    in->ctime_ns = (int64_t)get_le64(val + 80);
    in->version.size = get_le64(val + 88);
    in->version.mtime_ns = (int64_t)get_le64(val + 96);
    in->version.token[0] = get_le64(val + 104);
    in->version.token[1] = get_le64(val + 112);
    in->fileid = get_le64(val + 120);
    in->content = get_le64(val + 128);
    in->checked_ns = (int64_t)get_le64(val + 136);
    in->checked_epoch = get_le64(val + 144);
    in->listed_ns = (int64_t)get_le64(val + 152);
    in->listed_epoch = get_le64(val + 160);
    return 0;
}

size_t pack_dirent(uint8_t ret[DIRENT_BYTES], uint64_t ino, uint64_t cookie)
{
    ret[0] = VERSION;
    put_le64(ret + 1, ino);
    put_le64(ret + 9, cookie);
    return DIRENT_BYTES;
}

int unpack_dirent(const uint8_t *val, size_t len, uint64_t *ret_ino, uint64_t *ret_cookie)
{
    if (len != DIRENT_BYTES || val[0] != VERSION)
        return -EIO;
    *ret_ino = get_le64(val + 1);
    *ret_cookie = get_le64(val + 9);
    return 0;
}

size_t pack_cookie(uint8_t ret[COOKIE_BYTES_MAX], uint64_t ino, const char *name)
{
    size_t len = strnlen(name, CAIRN_NAME_MAX);
    ret[0] = VERSION;
    put_le64(ret + 1, ino);
    memcpy(ret + 9, name, len);
    return 9 + len;
}

int unpack_cookie(const uint8_t *val, size_t len, uint64_t *ret_ino, char *ret_name)
{
    if (len <= 9 || val[0] != VERSION)
        return -EIO;
    int r = copy_name(val + 9, len - 9, ret_name);
    if (r < 0)
        return r;
    *ret_ino = get_le64(val + 1);
    return 0;
}

size_t pack_number(uint8_t ret[NUMBER_BYTES], uint64_t n)
{
    ret[0] = VERSION;
    put_le64(ret + 1, n);
    return NUMBER_BYTES;
}

int unpack_number(const uint8_t *val, size_t len, uint64_t *ret)
{
    if (len != NUMBER_BYTES || val[0] != VERSION)
        return -EIO;
    *ret = get_le64(val + 1);
    return 0;
}

size_t pack_mark(uint8_t ret[MARK_BYTES])
{
    ret[0] = VERSION;
    return MARK_BYTES;
}

size_t pack_target(uint8_t *ret, const char *target)
{
    size_t len = strlen(target);
    ret[0] = VERSION;
    memcpy(ret + 1, target, len);
    return 1 + len;
}

int unpack_target(const uint8_t *val, size_t len, char **ret_target)
{
    if (len < 1 || len > 1 + TARGET_MAX || val[0] != VERSION || memchr(val + 1, 0, len - 1))
        return -EIO;
    char *target = malloc(len);
    if (!target)
        return -ENOMEM;
    memcpy(target, val + 1, len - 1);
    target[len - 1] = 0;
    *ret_target = target;
    return 0;
}

size_t pack_globals(uint8_t ret[GLOBALS_BYTES], const struct globals *g)
{
    ret[0] = VERSION;
    put_le64(ret + 1, g->epoch);
    put_le64(ret + 9, g->next_ino);
    put_le64(ret + 17, g->next_content);
    put_le64(ret + 25, g->next_cookie);
    put_le64(ret + 33, g->inodes);
    put_le64(ret + 41, g->logical_bytes);
    put_le64(ret + 49, g->manifest_chunks);
    return GLOBALS_BYTES;
}

int unpack_globals(const uint8_t *val, size_t len, struct globals *ret)
{
    if (len < 1 || val[0] != VERSION)
        return -EBADMSG;
    if (len != GLOBALS_BYTES)
        return -EIO;
    ret->epoch = get_le64(val + 1);
    ret->next_ino = get_le64(val + 9);
    ret->next_content = get_le64(val + 17);
    ret->next_cookie = get_le64(val + 25);
    ret->inodes = get_le64(val + 33);
    ret->logical_bytes = get_le64(val + 41);
    ret->manifest_chunks = get_le64(val + 49);
    return 0;
}

/* --- pages of manifests --- */

int page_count(const uint8_t *val, size_t len)
{
    if (len < PAGE_HEAD_BYTES || val[0] != VERSION || (len - PAGE_HEAD_BYTES) % PAGE_ENTRY_BYTES)
        return -EIO;
    size_t count = (len - PAGE_HEAD_BYTES) / PAGE_ENTRY_BYTES;
    return count <= PAGE_BYTES ? (int)count : -EIO;
}

static const uint8_t *entry_bytes(const uint8_t *val, unsigned i)
{
    return val + PAGE_HEAD_BYTES + (size_t)i * PAGE_ENTRY_BYTES;
}

int page_entry(const uint8_t *val, unsigned i, uint64_t page, struct cairn_manifest_entry *ret)
{
    const uint8_t *p = entry_bytes(val, i);
    uint32_t off = get_le32(p), len = get_le32(p + 4);
    if (page > PAGE_NUMBER_MAX || off >= PAGE_BYTES || len == 0 || len >= PAGE_BYTES)
        return -EIO;
    uint64_t at = page * PAGE_BYTES + off;
    if (at > (uint64_t)INT64_MAX - len)
        return -EIO;
    ret->off = at;
    ret->len = len;
    memcpy(ret->id.bytes, p + 8, sizeof(ret->id.bytes));
    return 0;
}

int page_find(const uint8_t *val, unsigned count, uint64_t page, uint64_t off)
{
    uint64_t start = page * PAGE_BYTES;
    if (off < start)
        return -1;
    /* The first entry that begins behind `off` is in [lo, hi]. */
    unsigned lo = 0, hi = count;
    while (lo < hi) {
        unsigned mid = lo + (hi - lo) / 2;
        if (get_le32(entry_bytes(val, mid)) <= off - start)
            lo = mid + 1;
        else
            hi = mid;
    }
    return (int)lo - 1;
}

void pack_page_head(uint8_t ret[PAGE_HEAD_BYTES])
{
    memset(ret, 0, PAGE_HEAD_BYTES);
    ret[0] = VERSION;
}

void pack_page_entry(uint8_t ret[PAGE_ENTRY_BYTES], const struct cairn_manifest_entry *e)
{
    put_le32(ret, (uint32_t)(e->off % PAGE_BYTES));
    put_le32(ret + 4, e->len);
    memcpy(ret + 8, e->id.bytes, sizeof(e->id.bytes));
}
