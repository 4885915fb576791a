// SPDX-License-Identifier: Apache-2.0
/* What system calls on one file promise. Every file is made anew by the command. */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RECORD = 64, PAGE = 4096 };

/* append FILE PROCESSES RECORDS: records written with O_APPEND from several processes all arrive,
 * whole and without a gap. */
void tool_append(int argc, char **argv)
{
    unsigned procs = (unsigned)number(argv[1]), records = (unsigned)number(argv[2]);
    close(must_open(argv[0], O_WRONLY | O_CREAT | O_TRUNC, 0644));
    for (unsigned p = 0; p < procs; p++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid)
            continue;
        int fd = must_open(argv[0], O_WRONLY | O_APPEND, 0);
        for (unsigned r = 0; r < records; r++) {
            char text[RECORD + 8];
            snprintf(text, sizeof(text), "%8u %8u %44s\n", p, r, "record");
            CHECK(write(fd, text, RECORD) == RECORD);
        }
        CHECK(close(fd) == 0);
        exit(0);
    }
    for (unsigned p = 0; p < procs; p++) {
        int status;
        CHECK(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    int fd = must_open(argv[0], O_RDONLY, 0);
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    CHECK((uint64_t)st.st_size == (uint64_t)procs * records * RECORD);
    unsigned *next = must_alloc(sizeof(*next) * procs);
    memset(next, 0, sizeof(*next) * procs);
    for (off_t off = 0; off < st.st_size; off += RECORD) {
        char text[RECORD + 1];
        unsigned p, r;
        must_pread(fd, text, RECORD, off);
        text[RECORD] = 0;
        CHECK(sscanf(text, "%u %u record\n", &p, &r) == 2 && p < procs);
        CHECK(next[p] == r); /* each process's records are in its order */
        next[p]++;
    }
    free(next);
    close(fd);
}

/* copyrange FROM OFF TO OFF LEN: copies with copy_file_range alone. */
void tool_copyrange(int argc, char **argv)
{
    int from = must_open(argv[0], O_RDONLY, 0), to = must_open(argv[2], O_RDWR | O_CREAT, 0644);
    off_t from_off = (off_t)number(argv[1]), to_off = (off_t)number(argv[3]);
    uint64_t left = number(argv[4]);
    while (left) {
        ssize_t n = copy_file_range(from, &from_off, to, &to_off, left, 0);
        if (n < 0)
            die_errno("copy_file_range");
        if (n == 0)
            die("copy_file_range: nothing more with %llu to go", (unsigned long long)left);
        left -= (uint64_t)n;
    }
    close(from);
    if (close(to) < 0)
        die_errno("close %s", argv[2]);
}

/* direct FILE: O_DIRECT writes and reads, beside buffered ones. */
void tool_direct(int argc, char **argv)
{
    enum { PAGES = 300 };
    uint8_t *buf, *want = must_alloc(PAGES * PAGE);
    CHECK(posix_memalign((void **)&buf, PAGE, PAGES * PAGE) == 0);
    int fd = must_open(argv[0], O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0644);
    pattern_fill(1, 0, buf, PAGES * PAGE);
    memcpy(want, buf, PAGES * PAGE);
    must_pwrite(fd, buf, PAGES * PAGE, 0);
    int plain = must_open(argv[0], O_RDWR, 0);
    memset(buf, 0, PAGES * PAGE);
    must_pread(plain, buf, PAGES * PAGE, 0);
    CHECK(memcmp(buf, want, PAGES * PAGE) == 0);
    /* A buffered write is seen by a direct read, a direct write by a buffered read. */
    pattern_fill(2, 0, buf, 5 * PAGE);
    memcpy(want + 7 * PAGE, buf, 5 * PAGE);
    must_pwrite(plain, buf, 5 * PAGE, 7 * PAGE);
    must_pread(fd, buf, PAGES * PAGE, 0);
    CHECK(memcmp(buf, want, PAGES * PAGE) == 0);
    pattern_fill(3, 0, buf, 3 * PAGE);
    memcpy(want + 9 * PAGE, buf, 3 * PAGE);
    must_pwrite(fd, buf, 3 * PAGE, 9 * PAGE);
    must_pread(plain, buf, PAGES * PAGE, 0);
    CHECK(memcmp(buf, want, PAGES * PAGE) == 0);
    /* Past the end. */
    CHECK(pread(fd, buf, PAGE, PAGES * PAGE) == 0);
    CHECK(close(fd) == 0 && close(plain) == 0);
    fd = must_open(argv[0], O_RDONLY | O_DIRECT, 0);
    must_pread(fd, buf, PAGES * PAGE, 0);
    CHECK(memcmp(buf, want, PAGES * PAGE) == 0);
    close(fd);
    free(buf);
    free(want);
}

/* mmap FILE: shared writable mappings and write(2) see each other, also between processes; what
 * is stored after close of the descriptor arrives, too. The file becomes `pattern` 9, 1000000. */
void tool_mmap(int argc, char **argv)
{
    enum { SIZE = 1000000 };
    int fd = must_open(argv[0], O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(ftruncate(fd, SIZE) == 0);
    uint8_t *map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(map != MAP_FAILED);
    uint8_t *want = must_alloc(SIZE), *got = must_alloc(SIZE);
    memset(want, 0, SIZE);
    uint64_t state = 7;
    for (int i = 0; i < 200; i++) {
        size_t at = rng_next(&state) % (SIZE - 5000), len = rng_next(&state) % 5000;
        pattern_fill(rng_next(&state), 0, want + at, len);
        if (i % 2)
            memcpy(map + at, want + at, len);
        else
            must_pwrite(fd, want + at, len, (off_t)at);
        if (i % 20 == 0)
            CHECK(msync(map, SIZE, MS_SYNC) == 0);
    }
    must_pread(fd, got, SIZE, 0);
    CHECK(memcmp(got, want, SIZE) == 0 && memcmp(map, want, SIZE) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        int other = must_open(argv[0], O_RDWR, 0);
        uint8_t *m = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
        CHECK(m != MAP_FAILED && memcmp(m, want, SIZE) == 0);
        memset(m + SIZE / 2, 'c', 10000);
        CHECK(munmap(m, SIZE) == 0 && close(other) == 0);
        exit(0);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(map[SIZE / 2] == 'c' && map[SIZE / 2 + 9999] == 'c');
    CHECK(close(fd) == 0);
    pattern_fill(9, 0, map, SIZE);
    CHECK(msync(map, SIZE, MS_SYNC) == 0 && munmap(map, SIZE) == 0);
    free(want);
    free(got);
}

/* rename2 FLAG FROM TO: noreplace or exchange. */
void tool_rename2(int argc, char **argv)
{
    unsigned flag = strcmp(argv[0], "exchange") == 0 ? RENAME_EXCHANGE : RENAME_NOREPLACE;
    if (syscall(SYS_renameat2, AT_FDCWD, argv[1], AT_FDCWD, argv[2], flag) < 0)
        die_errno("renameat2");
}

/* seek FILE [holes]: data and holes as lseek tells them cover the file, alternate and are true; a
 * hole is all zero. With "holes", some hole must be told before the end. Prints the map. */
void tool_seek(int argc, char **argv)
{
    int fd = must_open(argv[0], O_RDONLY, 0);
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    bool found = false;
    uint8_t *buf = must_alloc(1 << 20);
    off_t at = 0;
    while (at < st.st_size) {
        off_t data = lseek(fd, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            data = st.st_size;
        CHECK(data >= at && data <= st.st_size);
        if (data > at) {
            printf("hole %lld %lld\n", (long long)at, (long long)data);
            found = true;
            for (off_t p = at; p < data && p < at + (64 << 20); p += 1 << 20) {
                size_t n = data - p < 1 << 20 ? (size_t)(data - p) : 1 << 20;
                must_pread(fd, buf, n, p);
                for (size_t i = 0; i < n; i++)
                    CHECK(buf[i] == 0);
            }
        }
        if (data == st.st_size)
            break;
        off_t hole = lseek(fd, data, SEEK_HOLE);
        CHECK(hole > data && hole <= st.st_size);
        printf("data %lld %lld\n", (long long)data, (long long)hole);
        at = hole;
    }
    CHECK(lseek(fd, st.st_size, SEEK_DATA) < 0 && errno == ENXIO);
    CHECK(lseek(fd, st.st_size + 1, SEEK_HOLE) < 0 && errno == ENXIO);
    if (argc > 1 && !found)
        die("no hole told in %s", argv[0]);
    free(buf);
    close(fd);
}

/* stamps FILE: utimensat in nanoseconds, UTIME_NOW, UTIME_OMIT. */
void tool_stamps(int argc, char **argv)
{
    struct stat st;
    struct timespec t[2] = {{1234567890, 123456789}, {1500000000, 987654321}};
    close(must_open(argv[0], O_WRONLY | O_CREAT, 0644));
    CHECK(utimensat(AT_FDCWD, argv[0], t, 0) == 0 && stat(argv[0], &st) == 0);
    bool coarse = argc > 1; /* an origin that keeps whole seconds */
    CHECK(st.st_atim.tv_sec == 1234567890 && st.st_mtim.tv_sec == 1500000000);
    CHECK(coarse || (st.st_atim.tv_nsec == 123456789 && st.st_mtim.tv_nsec == 987654321));
    struct timespec omit[2] = {{0, UTIME_OMIT}, {1600000000, 0}};
    CHECK(utimensat(AT_FDCWD, argv[0], omit, 0) == 0 && stat(argv[0], &st) == 0);
    CHECK(st.st_atim.tv_sec == 1234567890 && st.st_mtim.tv_sec == 1600000000);
    struct timespec now[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}}, wall;
    CHECK(utimensat(AT_FDCWD, argv[0], now, 0) == 0 && stat(argv[0], &st) == 0);
    CHECK(clock_gettime(CLOCK_REALTIME, &wall) == 0);
    CHECK(st.st_mtim.tv_sec <= wall.tv_sec && st.st_mtim.tv_sec + 60 > wall.tv_sec);
    /* Before the epoch and after 2038. */
    struct timespec far[2] = {{4102444800, 0}, {4102444800, 0}};
    CHECK(utimensat(AT_FDCWD, argv[0], far, 0) == 0 && stat(argv[0], &st) == 0);
    CHECK(st.st_mtim.tv_sec == 4102444800);
    /* Through the descriptor, and kept although the file is closed after a write. */
    int fd = must_open(argv[0], O_RDWR, 0);
    must_pwrite(fd, "data", 4, 0);
    CHECK(futimens(fd, t) == 0 && close(fd) == 0 && stat(argv[0], &st) == 0);
    CHECK(st.st_mtim.tv_sec == 1500000000);
}

/* truncopen FILE: O_TRUNC empties at once for everybody who has it open; truncation both ways. */
void tool_truncopen(int argc, char **argv)
{
    struct stat st;
    char buf[100];
    int fd = must_open(argv[0], O_RDWR | O_CREAT, 0644);
    must_pwrite(fd, "0123456789", 10, 0);
    int again = must_open(argv[0], O_RDWR | O_TRUNC, 0);
    CHECK(fstat(fd, &st) == 0 && st.st_size == 0 && pread(fd, buf, 10, 0) == 0);
    must_pwrite(again, "abc", 3, 0);
    CHECK(pread(fd, buf, 10, 0) == 3 && memcmp(buf, "abc", 3) == 0);
    /* Growing reads as zero, also where bytes had been before. */
    CHECK(ftruncate(fd, 2) == 0 && ftruncate(again, 6) == 0);
    CHECK(pread(fd, buf, 10, 0) == 6 && memcmp(buf, "ab\0\0\0\0", 6) == 0);
    must_pwrite(fd, "z", 1, 9);
    CHECK(pread(again, buf, 20, 0) == 10 && memcmp(buf, "ab\0\0\0\0\0\0\0z", 10) == 0);
    CHECK(close(again) == 0 && close(fd) == 0);
    CHECK(truncate(argv[0], 1) == 0 && stat(argv[0], &st) == 0 && st.st_size == 1);
    CHECK(truncate(argv[0], 100000) == 0 && stat(argv[0], &st) == 0 && st.st_size == 100000);
    fd = must_open(argv[0], O_RDONLY, 0);
    for (int i = 0; i < 1000; i++) {
        must_pread(fd, buf, 100, i * 100);
        for (int j = 0; j < 100; j++)
            CHECK(buf[j] == (i + j == 0 ? 'a' : 0));
    }
    close(fd);
    fd = must_open(argv[0], O_RDONLY, 0);
    CHECK(ftruncate(fd, 0) < 0 && (errno == EINVAL || errno == EBADF));
    close(fd);
}

/* unlinked DIR: a file lives on, writable, until its last descriptor is closed; also when another
 * one is renamed over it. */
void tool_unlinked(int argc, char **argv)
{
    struct stat st;
    char buf[20];
    CHECK(chdir(argv[0]) == 0 && mkdir("d", 0755) == 0);
    int fd = must_open("d/gone", O_RDWR | O_CREAT | O_EXCL, 0644);
    must_pwrite(fd, "before", 6, 0);
    CHECK(unlink("d/gone") == 0);
    CHECK(access("d/gone", F_OK) < 0 && errno == ENOENT);
    CHECK(rmdir("d") == 0); /* nothing hidden is left in it */
    CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 6);
    must_pwrite(fd, " after", 6, 6);
    CHECK(pread(fd, buf, 20, 0) == 12 && memcmp(buf, "before after", 12) == 0);
    CHECK(ftruncate(fd, 3) == 0 && fsync(fd) == 0 && fstat(fd, &st) == 0 && st.st_size == 3);
    CHECK(fchmod(fd, 0600) == 0 && fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0600);
    /* The name is free for a new file that has nothing to do with the old. */
    CHECK(mkdir("d", 0755) == 0);
    int other = must_open("d/gone", O_RDWR | O_CREAT | O_EXCL, 0644);
    must_pwrite(other, "new", 3, 0);
    CHECK(pread(fd, buf, 20, 0) == 3 && memcmp(buf, "bef", 3) == 0);
    CHECK(close(fd) == 0);
    /* Replaced by rename. */
    int third = must_open("d/third", O_RDWR | O_CREAT | O_EXCL, 0644);
    must_pwrite(third, "third", 5, 0);
    CHECK(rename("d/third", "d/gone") == 0);
    CHECK(pread(other, buf, 20, 0) == 3 && memcmp(buf, "new", 3) == 0);
    CHECK(fstat(other, &st) == 0 && st.st_nlink == 0);
    must_pwrite(other, "er", 2, 3);
    CHECK(close(other) == 0 && close(third) == 0);
    fd = must_open("d/gone", O_RDONLY, 0);
    CHECK(pread(fd, buf, 20, 0) == 5 && memcmp(buf, "third", 5) == 0);
    CHECK(close(fd) == 0);
    CHECK(unlink("d/gone") == 0 && rmdir("d") == 0);
    /* An old content that only the origin has is read after the name is gone. */
    if (argc > 1) {
        fd = must_open(argv[1], O_RDONLY, 0);
        CHECK(fstat(fd, &st) == 0 && unlink(argv[1]) == 0);
        uint8_t *got = must_alloc((size_t)st.st_size), *want = must_alloc((size_t)st.st_size);
        must_pread(fd, got, (size_t)st.st_size, 0);
        pattern_fill(number(argv[2]), 0, want, (size_t)st.st_size);
        CHECK(memcmp(got, want, (size_t)st.st_size) == 0);
        close(fd);
        free(got);
        free(want);
    }
}

/* punch FILE OFF LEN SIZE: punches a hole in `pattern` 5 of SIZE; keeps the size, reads as zero. */
void tool_punch(int argc, char **argv)
{
    off_t off = (off_t)number(argv[1]), len = (off_t)number(argv[2]);
    size_t size = number(argv[3]);
    int fd = must_open(argv[0], O_RDWR, 0);
    struct stat st;
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len) == 0);
    CHECK(fstat(fd, &st) == 0 && (size_t)st.st_size == size);
    uint8_t *got = must_alloc(size), *want = must_alloc(size);
    pattern_fill(5, 0, want, size);
    memset(want + off, 0, (size_t)len);
    must_pread(fd, got, size, 0);
    CHECK(memcmp(got, want, size) == 0);
    /* FALLOC_FL_KEEP_SIZE past the end keeps it; plain fallocate grows it with zeros. */
    CHECK(fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)size, 10000) == 0);
    CHECK(fstat(fd, &st) == 0 && (size_t)st.st_size == size);
    CHECK(fallocate(fd, 0, (off_t)size, 5000) == 0);
    CHECK(fstat(fd, &st) == 0 && (size_t)st.st_size == size + 5000);
    must_pread(fd, got, 5000, (off_t)size);
    for (int i = 0; i < 5000; i++)
        CHECK(got[i] == 0);
    CHECK(ftruncate(fd, (off_t)size) == 0);
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 1) < 0 && errno == EOPNOTSUPP);
    CHECK(close(fd) == 0);
    free(got);
    free(want);
}
