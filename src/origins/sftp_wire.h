// SPDX-License-Identifier: Apache-2.0
/*
 * Bytes of SFTP version 3 (draft-ietf-secsh-filexfer-02), encoded and decoded; big-endian, strings
 * with a 32-bit length. Pure functions over memory. A reader or writer that runs out of bytes turns
 * bad and stays so: callers check once, at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sftp_type {
    SFTP_INIT = 1,
    SFTP_VERSION = 2,
    SFTP_OPEN = 3,
    SFTP_CLOSE = 4,
    SFTP_READ = 5,
    SFTP_WRITE = 6,
    SFTP_LSTAT = 7,
    SFTP_FSTAT = 8,
    SFTP_SETSTAT = 9,
    SFTP_FSETSTAT = 10,
    SFTP_OPENDIR = 11,
    SFTP_READDIR = 12,
    SFTP_REMOVE = 13,
    SFTP_MKDIR = 14,
    SFTP_RMDIR = 15,
    SFTP_REALPATH = 16,
    SFTP_STAT = 17,
    SFTP_RENAME = 18,
    SFTP_READLINK = 19,
    SFTP_SYMLINK = 20,
    SFTP_STATUS = 101,
    SFTP_HANDLE = 102,
    SFTP_DATA = 103,
    SFTP_NAME = 104,
    SFTP_ATTRS = 105,
    SFTP_EXTENDED = 200,
    SFTP_EXTENDED_REPLY = 201,
};

enum sftp_status {
    SFTP_FX_OK = 0,
    SFTP_FX_EOF = 1,
    SFTP_FX_NO_SUCH_FILE = 2,
    SFTP_FX_PERMISSION_DENIED = 3,
    SFTP_FX_FAILURE = 4,
    SFTP_FX_BAD_MESSAGE = 5,
    SFTP_FX_NO_CONNECTION = 6,
    SFTP_FX_CONNECTION_LOST = 7,
    SFTP_FX_OP_UNSUPPORTED = 8,
};

enum sftp_open_flags {
    SFTP_FXF_READ = 0x01,
    SFTP_FXF_WRITE = 0x02,
    SFTP_FXF_APPEND = 0x04,
    SFTP_FXF_CREAT = 0x08,
    SFTP_FXF_TRUNC = 0x10,
    SFTP_FXF_EXCL = 0x20,
};

enum sftp_attr_flags {
    SFTP_ATTR_SIZE = 0x01,
    SFTP_ATTR_UIDGID = 0x02,
    SFTP_ATTR_PERMISSIONS = 0x04,
    SFTP_ATTR_ACMODTIME = 0x08,
};
#define SFTP_ATTR_EXTENDED 0x80000000u /* beyond what an enumerator may hold */

struct sftp_attrs {
    uint32_t flags; /* which of the others are valid: SFTP_ATTR_* */
    uint32_t uid;
    uint32_t gid;
    uint32_t permissions; /* with the file type's bits */
    uint32_t atime;       /* seconds since the epoch */
    uint32_t mtime;
    uint64_t size;
};

struct sftp_writer {
    uint8_t *buf;
    size_t cap;
    size_t len;
    bool overflow;
};

struct sftp_reader {
    const uint8_t *p;
    size_t left;
    bool bad;
};

void sftp_put_u8(struct sftp_writer *w, uint8_t v);
void sftp_put_u32(struct sftp_writer *w, uint32_t v);
void sftp_put_u64(struct sftp_writer *w, uint64_t v);
void sftp_put_string(struct sftp_writer *w, const void *data, size_t len);
void sftp_put_cstring(struct sftp_writer *w, const char *text);
/* SFTP_ATTR_EXTENDED is never sent. */
void sftp_put_attrs(struct sftp_writer *w, const struct sftp_attrs *a);

/* A packet's frame, at the start of the writer's buffer: begin leaves room for the length, which
 * end fills in. */
void sftp_packet_begin(struct sftp_writer *w, uint8_t type);
void sftp_packet_end(struct sftp_writer *w);

/* After the end of the bytes these return 0. */
uint8_t sftp_get_u8(struct sftp_reader *r);
uint32_t sftp_get_u32(struct sftp_reader *r);
uint64_t sftp_get_u64(struct sftp_reader *r);
/* A pointer into the reader's bytes, not NUL-terminated; NULL and *ret_len 0 if they end early. */
const uint8_t *sftp_get_string(struct sftp_reader *r, size_t *ret_len);
void sftp_get_attrs(struct sftp_reader *r, struct sftp_attrs *ret);

/* The errno for a status code: negative, 0 for OK; EOF is -ENODATA; FAILURE is -EIO, which the
 * caller has to look into. */
int sftp_status_errno(uint32_t status);
