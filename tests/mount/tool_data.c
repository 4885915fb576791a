// SPDX-License-Identifier: Apache-2.0
/*
 * Contents: making and checking them, reading while they change, writing while the daemon dies.
 *
 * `writer` works against a witness directory outside the mount: before each operation the content
 * to be goes to WITNESS/N.pending, after it was acknowledged (close or fsync returned) that becomes
 * WITNESS/N. So whatever kills the daemon, the origin's N must equal one of the two.
 */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 1 << 17 };

/* pattern FILE SEED SIZE: (re)writes the file. */
void tool_pattern(int argc, char **argv)
{
    int fd = must_open(argv[0], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    uint64_t seed = number(argv[1]), size = number(argv[2]);
    uint8_t *buf = must_alloc(BLOCK);
    for (uint64_t off = 0; off < size; off += BLOCK) {
        size_t n = size - off < BLOCK ? (size_t)(size - off) : BLOCK;
        pattern_fill(seed, off, buf, n);
        must_pwrite(fd, buf, n, (off_t)off);
    }
    if (close(fd) < 0)
        die_errno("close %s", argv[0]);
    free(buf);
}

/* verify FILE SEED SIZE: the file is what `pattern` made. */
void tool_verify(int argc, char **argv)
{
    int fd = must_open(argv[0], O_RDONLY, 0);
    uint64_t seed = number(argv[1]), size = number(argv[2]);
    uint8_t *got = must_alloc(BLOCK), *want = must_alloc(BLOCK);
    for (uint64_t off = 0; off < size; off += BLOCK) {
        size_t n = size - off < BLOCK ? (size_t)(size - off) : BLOCK;
        pattern_fill(seed, off, want, n);
        must_pread(fd, got, n, (off_t)off);
        if (memcmp(got, want, n) != 0)
            die("%s: wrong bytes in the %d at %llu", argv[0], BLOCK, (unsigned long long)off);
    }
    if (pread(fd, got, 1, (off_t)size) != 0)
        die("%s: longer than %llu", argv[0], (unsigned long long)size);
    close(fd);
    free(got);
    free(want);
}

/* fill FILE BYTE SIZE: the same byte over and over; for `mixreader`. */
void tool_fill(int argc, char **argv)
{
    int fd = must_open(argv[0], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    uint64_t size = number(argv[2]);
    uint8_t *buf = must_alloc(BLOCK);
    memset(buf, argv[1][0], BLOCK);
    for (uint64_t off = 0; off < size; off += BLOCK)
        must_pwrite(fd, buf, size - off < BLOCK ? (size_t)(size - off) : BLOCK, (off_t)off);
    close(fd);
    free(buf);
}

/* dropcache FILE...: the kernel forgets the clean pages of these files. */
void tool_dropcache(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        int fd = must_open(argv[i], O_RDONLY, 0);
        int err = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        if (err)
            die("fadvise %s: %s", argv[i], strerror(err));
        close(fd);
    }
}

/* flip FILE SEED EVERY: turns one random bit in each EVERY bytes (at least one in the file). */
void tool_flip(int argc, char **argv)
{
    int fd = must_open(argv[0], O_RDWR, 0);
    uint64_t state = number(argv[1]), every = number(argv[2]);
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    for (uint64_t base = 0; base < (uint64_t)st.st_size; base += every) {
        uint64_t left = (uint64_t)st.st_size - base;
        off_t at = (off_t)(base + rng_next(&state) % (left < every ? left : every));
        uint8_t byte;
        must_pread(fd, &byte, 1, at);
        byte ^= (uint8_t)(1U << (rng_next(&state) % 8));
        must_pwrite(fd, &byte, 1, at);
    }
    close(fd);
}

/*
 * mixreader FILE SECONDS STOPFILE A=SIZE B=SIZE...: reads the whole file again and again, until
 * SECONDS are over or STOPFILE exists. All bytes of one pass must be the same letter, and their
 * number the size given for that letter. Prints how many passes it made of each, and how many
 * ended with ESTALE.
 */
void tool_mixreader(int argc, char **argv)
{
    time_t end = time(NULL) + (time_t)number(argv[1]);
    uint64_t size[256] = {0}, passes[256] = {0}, stale = 0;
    for (int i = 3; i < argc; i++)
        size[(uint8_t)argv[i][0]] = number(argv[i] + 2);
    uint8_t *buf = must_alloc(BLOCK);
    while (time(NULL) < end && access(argv[2], F_OK) != 0) {
        int fd = must_open(argv[0], O_RDONLY, 0);
        uint64_t total = 0;
        uint8_t first = 0;
        ssize_t n;
        while ((n = read(fd, buf, BLOCK)) > 0) {
            if (total == 0)
                first = buf[0];
            for (ssize_t i = 0; i < n; i++) {
                if (buf[i] != first)
                    die("a mix: '%c' at %llu in a file of '%c'", buf[i],
                        (unsigned long long)total + (unsigned long long)i, first);
            }
            total += (uint64_t)n;
        }
        int err = errno;
        close(fd);
        if (n < 0 && err == ESTALE) {
            stale++;
            continue;
        }
        if (n < 0)
            die("read: %s", strerror(err));
        if (total != size[first])
            die("a mix: %llu bytes of '%c', not %llu", (unsigned long long)total, first,
                (unsigned long long)size[first]);
        passes[first]++;
    }
    for (int c = 1; c < 256; c++) {
        if (size[c])
            printf("%c %llu\n", c, (unsigned long long)passes[c]);
    }
    printf("stale %llu\n", (unsigned long long)stale);
    free(buf);
}

/* reader DIR: reads every file of DIR over and over until the mount dies. */
void tool_reader(int argc, char **argv)
{
    uint64_t state = argc > 1 ? number(argv[1]) : 1;
    uint8_t *buf = must_alloc(BLOCK);
    for (;;) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%llu", argv[0],
                 (unsigned long long)(rng_next(&state) % 16));
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0)
            break;
        ssize_t n;
        while ((n = read(fd, buf, BLOCK)) > 0)
            ;
        int err = errno;
        close(fd);
        if (n < 0 && err != ESTALE && err != ENOENT)
            break;
    }
    free(buf);
}

struct victim {
    char path[512];    /* in the mount */
    char temp[520];    /* beside it */
    char acked[512];   /* in the witness directory */
    char pending[520]; /* beside it */
    uint8_t *data;     /* acknowledged content */
    size_t len;
    bool exists;
};

enum { VICTIMS = 12, VICTIM_MAX = 600000 };

/* Writes a plain file outside the mount, whole or not at all. */
static void witness(const char *path, const uint8_t *data, size_t len)
{
    int fd = must_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    must_pwrite(fd, data, len, 0);
    close(fd);
}

/* One acknowledged change of the file's content; false: the mount is dead. */
static bool change(struct victim *v, const uint8_t *data, size_t len, size_t from, unsigned how)
{
    const char *path = how == 1 ? v->temp : v->path;
    int flags = O_WRONLY | O_CREAT | (how <= 1 ? O_TRUNC : 0);
    int fd = open(path, flags | O_CLOEXEC, 0644);
    if (fd < 0)
        return false;
    size_t at = how <= 1 ? 0 : from;
    while (at < len) {
        ssize_t n = pwrite(fd, data + at, len - at < 50000 ? len - at : 50000, (off_t)at);
        if (n < 0) {
            close(fd);
            return false;
        }
        at += (size_t)n;
    }
    bool ok = how == 2 ? fsync(fd) == 0 : true;
    /* What fsync acknowledged counts before close is asked. */
    if (ok && how == 2) {
        CHECK(rename(v->pending, v->acked) == 0);
        close(fd);
        return true;
    }
    ok = close(fd) == 0 && ok;
    if (ok && how == 1)
        ok = rename(v->temp, v->path) == 0;
    if (ok)
        CHECK(rename(v->pending, v->acked) == 0);
    return ok;
}

/* writer DIR WITNESS SEED: until the mount dies; see the head of this file. */
void tool_writer(int argc, char **argv)
{
    uint64_t state = number(argv[2]);
    struct victim *all = must_alloc(sizeof(*all) * VICTIMS);
    memset(all, 0, sizeof(*all) * VICTIMS);
    for (int i = 0; i < VICTIMS; i++) {
        struct victim *v = &all[i];
        snprintf(v->path, sizeof(v->path), "%s/w%d", argv[0], i);
        snprintf(v->temp, sizeof(v->temp), "%s.tmp", v->path);
        snprintf(v->acked, sizeof(v->acked), "%s/w%d", argv[1], i);
        snprintf(v->pending, sizeof(v->pending), "%s.pending", v->acked);
        v->data = must_alloc(VICTIM_MAX);
        int fd = open(v->acked, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            ssize_t n = read(fd, v->data, VICTIM_MAX);
            CHECK(n >= 0);
            v->len = (size_t)n;
            v->exists = true;
            close(fd);
        }
    }
    uint8_t *next = must_alloc(VICTIM_MAX);
    for (;;) {
        struct victim *v = &all[rng_next(&state) % VICTIMS];
        unsigned how = (unsigned)(rng_next(&state) % 4); /* 0 rewrite, 1 save, 2 and 3 edit */
        size_t len, from = 0;
        if (how <= 1 || !v->exists) {
            len = rng_next(&state) % VICTIM_MAX;
            if (how > 1)
                how = 0;
            pattern_fill(rng_next(&state), 0, next, len);
        } else {
            from = v->len ? rng_next(&state) % v->len : 0;
            size_t n = rng_next(&state) % 100000;
            memcpy(next, v->data, v->len);
            n = from + n > VICTIM_MAX ? VICTIM_MAX - from : n;
            pattern_fill(rng_next(&state), 0, next + from, n);
            len = v->len > from + n ? v->len : from + n;
        }
        witness(v->pending, next, len);
        if (!change(v, next, len, from, how))
            break;
        memcpy(v->data, next, len);
        v->len = len;
        v->exists = true;
    }
    for (int i = 0; i < VICTIMS; i++)
        free(all[i].data);
    free(all);
    free(next);
}
