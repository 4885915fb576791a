// SPDX-License-Identifier: Apache-2.0
/*
 * tool: what the mount tests do that a shell can't. `tool COMMAND ARGS...`; one function per
 * command, each gets its arguments from argv[0] on. They end with status 0, or say on stderr what
 * was not as it should be and end with 1. Single-threaded unless said otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/pattern.h"

typedef void tool_fn(int argc, char **argv);

/* data.c */
tool_fn tool_pattern, tool_verify, tool_dropcache, tool_flip, tool_mixreader, tool_writer,
    tool_reader, tool_fill;
/* files.c */
tool_fn tool_append, tool_copyrange, tool_direct, tool_mmap, tool_rename2, tool_seek, tool_stamps,
    tool_truncopen, tool_unlinked, tool_punch;
/* dirs.c */
tool_fn tool_deep, tool_listing, tool_manyfiles, tool_mkreg, tool_names, tool_readdir, tool_socket;
/* locks.c */
tool_fn tool_flock, tool_posixlock, tool_waiters;

/* Ends the program with a message; `die_errno` adds the errno's text. */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void die_errno(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Fails the test, saying the condition, unless it holds. */
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            die_errno("%s:%d: not so: %s", __FILE__, __LINE__, #cond);                             \
    } while (0)

/* A decimal number, or death. */
uint64_t number(const char *text);

/* open(2), or death. */
int must_open(const char *path, int flags, mode_t mode);
/* Exactly `len` bytes, or death. */
void must_pread(int fd, void *buf, size_t len, off_t off);
void must_pwrite(int fd, const void *buf, size_t len, off_t off);
void *must_alloc(size_t len);
