// SPDX-License-Identifier: Apache-2.0
/*
 * The records of the metadata store as bytes. Keys are big-endian, so that memcmp order is number
 * order; values are little-endian and begin with a version byte. An on-disk format: see
 * docs/formats.md, "Metadata store".
 *
 *   I ino                 inode                   D parent name    ino, cookie
 *   L ino parent name     one more name           C parent cookie  ino, name
 *   F fileid              ino                     S ino            symlink target
 *   M content page        entries of 8 MiB        X content        to be dropped
 *   G                     numbers and counters
 * Pure functions. What is read is checked: lengths, order, ranges; -EIO = damaged.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "meta/kv.h"
#include "meta/store.h"

/* --- keys --- */
void key_globals(struct kv_key *ret);
void key_inode(struct kv_key *ret, uint64_t ino);
void key_target(struct kv_key *ret, uint64_t ino);
void key_fileid(struct kv_key *ret, uint64_t fileid);
void key_drop(struct kv_key *ret, uint64_t content);
/* `name` is 1 to CAIRN_NAME_MAX bytes. */
void key_dirent(struct kv_key *ret, uint64_t parent, const char *name);
void key_link(struct kv_key *ret, uint64_t ino, uint64_t parent, const char *name);
void key_cookie(struct kv_key *ret, uint64_t parent, uint64_t cookie);
void key_page(struct kv_key *ret, uint64_t content, uint64_t page);

/* Common beginnings, for walks: bytes of letter and first number, or of the letter alone. */
#define KEY_PREFIX_NUMBER 9
#define KEY_PREFIX_LETTER 1

int parse_key_cookie(const uint8_t *key, size_t len, uint64_t *ret_parent, uint64_t *ret_cookie);
int parse_key_page(const uint8_t *key, size_t len, uint64_t *ret_content, uint64_t *ret_page);
int parse_key_drop(const uint8_t *key, size_t len, uint64_t *ret_content);
/* `ret_name` has room for CAIRN_NAME_MAX + 1 bytes. */
int parse_key_link(const uint8_t *key, size_t len, uint64_t *ret_ino, uint64_t *ret_parent,
                   char *ret_name);
int parse_key_dirent(const uint8_t *key, size_t len, uint64_t *ret_parent, char *ret_name);

/* --- values; pack_* return the length --- */
struct inode_record {
    struct cairn_inode in;
    uint32_t names; /* how many, with the primary one */
};
#define INODE_FIXED_BYTES 168
#define INODE_BYTES_MAX   (INODE_FIXED_BYTES + CAIRN_NAME_MAX)
size_t pack_inode(uint8_t ret[INODE_BYTES_MAX], const struct inode_record *rec);
int unpack_inode(const uint8_t *val, size_t len, uint64_t ino, struct cairn_inode *ret,
                 uint32_t *ret_names);

#define DIRENT_BYTES 17
size_t pack_dirent(uint8_t ret[DIRENT_BYTES], uint64_t ino, uint64_t cookie);
int unpack_dirent(const uint8_t *val, size_t len, uint64_t *ret_ino, uint64_t *ret_cookie);

#define COOKIE_BYTES_MAX (9 + CAIRN_NAME_MAX)
size_t pack_cookie(uint8_t ret[COOKIE_BYTES_MAX], uint64_t ino, const char *name);
int unpack_cookie(const uint8_t *val, size_t len, uint64_t *ret_ino, char *ret_name);

#define NUMBER_BYTES 9
size_t pack_number(uint8_t ret[NUMBER_BYTES], uint64_t n);
int unpack_number(const uint8_t *val, size_t len, uint64_t *ret);

#define MARK_BYTES 1 /* a record that says all with its key */
size_t pack_mark(uint8_t ret[MARK_BYTES]);

/* A target may have any length below 64 KiB; no NUL inside. `ret` has room for 1 + strlen. */
#define TARGET_MAX 65535
size_t pack_target(uint8_t *ret, const char *target);
int unpack_target(const uint8_t *val, size_t len, char **ret_target); /* caller frees */

struct globals {
    uint64_t epoch;
    uint64_t next_ino, next_content, next_cookie;
    uint64_t inodes, logical_bytes, manifest_chunks;
};
#define GLOBALS_BYTES 57
size_t pack_globals(uint8_t ret[GLOBALS_BYTES], const struct globals *g);
/* -EBADMSG: of another version. */
int unpack_globals(const uint8_t *val, size_t len, struct globals *ret);

/* --- pages of manifests: the entries that begin in 8 MiB of the file, in order --- */
#define PAGE_BYTES       (8ULL << 20)
#define PAGE_NUMBER_MAX  (UINT64_MAX / PAGE_BYTES)
#define PAGE_HEAD_BYTES  4
#define PAGE_ENTRY_BYTES 24

/* How many entries the page has; -EIO. */
int page_count(const uint8_t *val, size_t len);
/* The entry `i` < page_count of page number `page`; -EIO. */
int page_entry(const uint8_t *val, unsigned i, uint64_t page, struct cairn_manifest_entry *ret);
/* The index of the last entry that begins at or before `off` (of the file), or -1. */
int page_find(const uint8_t *val, unsigned count, uint64_t page, uint64_t off);
void pack_page_head(uint8_t ret[PAGE_HEAD_BYTES]);
/* Of the page in which it begins. */
void pack_page_entry(uint8_t ret[PAGE_ENTRY_BYTES], const struct cairn_manifest_entry *e);
