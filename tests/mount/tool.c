// SPDX-License-Identifier: Apache-2.0
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    tool_fn *run;
    int args; /* fewest arguments */
} commands[] = {
    {"append", tool_append, 3},       {"copyrange", tool_copyrange, 5},
    {"deep", tool_deep, 2},           {"direct", tool_direct, 1},
    {"dropcache", tool_dropcache, 1}, {"fill", tool_fill, 3},
    {"flip", tool_flip, 3},           {"flock", tool_flock, 1},
    {"listing", tool_listing, 1},     {"manyfiles", tool_manyfiles, 2},
    {"mkreg", tool_mkreg, 1},         {"mixreader", tool_mixreader, 3},
    {"mmap", tool_mmap, 1},           {"names", tool_names, 2},
    {"pattern", tool_pattern, 3},     {"posixlock", tool_posixlock, 1},
    {"punch", tool_punch, 4},         {"readdir", tool_readdir, 1},
    {"reader", tool_reader, 1},       {"rename2", tool_rename2, 3},
    {"seek", tool_seek, 1},           {"socket", tool_socket, 1},
    {"stamps", tool_stamps, 1},       {"truncopen", tool_truncopen, 1},
    {"unlinked", tool_unlinked, 1},   {"verify", tool_verify, 3},
    {"waiters", tool_waiters, 2},     {"writer", tool_writer, 3},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        if (argc - 2 < commands[i].args)
            die("%s: too few arguments", argv[1]);
        commands[i].run(argc - 2, argv + 2);
        return 0;
    }
    die("no such command");
}

__attribute__((format(printf, 1, 0))) static void complain(const char *fmt, va_list ap, int err)
{
    fputs("tool: ", stderr);
    vfprintf(stderr, fmt, ap);
    if (err)
        fprintf(stderr, ": %s", strerror(err));
    fputc('\n', stderr);
}

void die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    complain(fmt, ap, 0);
    va_end(ap);
    exit(1);
}

void die_errno(const char *fmt, ...)
{
    int err = errno;
    va_list ap;
    va_start(ap, fmt);
    complain(fmt, ap, err);
    va_end(ap);
    exit(1);
}

uint64_t number(const char *text)
{
    char *end;
    errno = 0;
    uint64_t n = strtoull(text, &end, 10);
    if (errno || *end || end == text)
        die("not a number: %s", text);
    return n;
}

int must_open(const char *path, int flags, mode_t mode)
{
    int fd = open(path, flags | O_CLOEXEC, mode);
    if (fd < 0)
        die_errno("open %s", path);
    return fd;
}

void must_pread(int fd, void *buf, size_t len, off_t off)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, (char *)buf + done, len - done, off + (off_t)done);
        if (n < 0)
            die_errno("read at %lld", (long long)off);
        if (n == 0)
            die("end of file %lld bytes early", (long long)(len - done));
        done += (size_t)n;
    }
}

void must_pwrite(int fd, const void *buf, size_t len, off_t off)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(fd, (const char *)buf + done, len - done, off + (off_t)done);
        if (n < 0)
            die_errno("write at %lld", (long long)off);
        done += (size_t)n;
    }
}

void *must_alloc(size_t len)
{
    void *p = malloc(len ? len : 1);
    if (!p)
        die("out of memory");
    return p;
}
