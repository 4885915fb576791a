// SPDX-License-Identifier: Apache-2.0
/* Names and directories. */
#include "tool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* manyfiles DIR N: N empty files f000000... */
void tool_manyfiles(int argc, char **argv)
{
    unsigned n = (unsigned)number(argv[1]);
    CHECK(chdir(argv[0]) == 0);
    for (unsigned i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof(name), "f%06u", i);
        close(must_open(name, O_WRONLY | O_CREAT | O_EXCL, 0644));
    }
}

/* listing DIR: the names, one per line, bytes that are not plain written as \xNN; unsorted. */
void tool_listing(int argc, char **argv)
{
    DIR *d = opendir(argv[0]);
    if (!d)
        die_errno("opendir %s", argv[0]);
    struct dirent *e;
    errno = 0;
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        for (const unsigned char *p = (unsigned char *)e->d_name; *p; p++) {
            if (*p > ' ' && *p < 0x7f && *p != '\\')
                putchar(*p);
            else
                printf("\\x%02x", *p);
        }
        putchar('\n');
        errno = 0;
    }
    if (errno)
        die_errno("readdir %s", argv[0]);
    closedir(d);
}

/* The i-th of the names with every byte, or NULL after the last. */
static char *odd_name(unsigned i, char buf[NAME_MAX + 1])
{
    if (i < 255) {
        unsigned byte = i + 1;
        if (byte == '/')
            snprintf(buf, NAME_MAX + 1, "no slash");
        else
            snprintf(buf, NAME_MAX + 1, "b%cb", (char)byte);
    } else if (i < 510) {
        unsigned byte = i - 254;
        if (byte == '/' || byte == '.')
            snprintf(buf, NAME_MAX + 1, "single %u", byte);
        else
            snprintf(buf, NAME_MAX + 1, "%c", (char)byte);
    } else if (i < 514) {
        static const char fillers[] = "a\xff\n ";
        memset(buf, fillers[i - 510], NAME_MAX);
        buf[NAME_MAX] = 0;
    } else if (i == 514) {
        for (unsigned b = 1; b < 256; b++) /* nearly all bytes in one name */
            buf[b - 1] = b == '/' ? '_' : (char)b;
        buf[255] = 0;
    } else if (i < 520) {
        static const char *const more[] = {"...", "-rf", "%2e%2e", "caf\xc3\xa9", "cafe\xcc\x81"};
        snprintf(buf, NAME_MAX + 1, "%s", more[i - 515]);
    } else {
        return NULL;
    }
    return buf;
}

/* names make|check|remove DIR: files of all odd names, each holding its number. */
void tool_names(int argc, char **argv)
{
    char name[NAME_MAX + 1], text[32], got[32];
    CHECK(chdir(argv[1]) == 0);
    for (unsigned i = 0; odd_name(i, name); i++) {
        int len = snprintf(text, sizeof(text), "%u", i);
        if (strcmp(argv[0], "make") == 0) {
            int fd = must_open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
            must_pwrite(fd, text, (size_t)len, 0);
            CHECK(close(fd) == 0);
        } else if (strcmp(argv[0], "check") == 0) {
            int fd = must_open(name, O_RDONLY, 0);
            CHECK(read(fd, got, sizeof(got)) == len && memcmp(got, text, (size_t)len) == 0);
            close(fd);
        } else {
            CHECK(unlink(name) == 0);
        }
    }
    char longer[NAME_MAX + 2];
    memset(longer, 'x', NAME_MAX + 1);
    longer[NAME_MAX + 1] = 0;
    CHECK(open(longer, O_WRONLY | O_CREAT, 0644) < 0 && errno == ENAMETOOLONG);
    CHECK(access(longer, F_OK) < 0 && errno == ENAMETOOLONG);
    CHECK(mkdir(longer, 0755) < 0 && errno == ENAMETOOLONG);
}

/* deep DIR BYTES: directories in one another until the path below DIR has BYTES bytes; a file at
 * the bottom, reached by the whole path; then all is removed. */
void tool_deep(int argc, char **argv)
{
    size_t want = number(argv[1]);
    char path[PATH_MAX] = "", text[4];
    CHECK(want < PATH_MAX && chdir(argv[0]) == 0);
    int base = must_open(".", O_RDONLY | O_DIRECTORY, 0), at = dup(base);
    size_t len = 0;
    while (len + 2 < want - 2) {
        char name[NAME_MAX + 1];
        size_t n = want - 2 - len - 1 < 201 ? want - 2 - len - 1 : 200;
        memset(name, 'a' + (int)(len % 26), n);
        name[n] = 0;
        CHECK(mkdirat(at, name, 0755) == 0);
        int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK(next >= 0);
        close(at);
        at = next;
        memcpy(path + len, name, n);
        path[len + n] = '/';
        len += n + 1;
    }
    memset(path + len, 'f', want - len);
    path[want] = 0;
    int fd = must_open(path, O_RDWR | O_CREAT | O_EXCL, 0644);
    must_pwrite(fd, "deep", 4, 0);
    CHECK(close(fd) == 0);
    fd = must_open(path, O_RDONLY, 0);
    must_pread(fd, text, 4, 0);
    CHECK(memcmp(text, "deep", 4) == 0 && close(fd) == 0);
    struct stat st;
    CHECK(fstatat(at, path + len, &st, 0) == 0 && st.st_size == 4);
    close(at);
    if (argc > 2)
        return; /* keep it */
    CHECK(unlink(path) == 0);
    for (path[len - 1] = 0;;) {
        CHECK(rmdir(path) == 0);
        char *slash = strrchr(path, '/');
        if (!slash)
            break;
        *slash = 0;
    }
    close(base);
}

/*
 * readdir DIR: DIR holds f000000 to f001999 and nothing else. While it is being read, entries come
 * and go: each that stays is told once, and a remembered position leads to the same entry.
 */
void tool_readdir(int argc, char **argv)
{
    enum { N = 2000 };
    uint8_t *seen = must_alloc(N);
    memset(seen, 0, N);
    CHECK(chdir(argv[0]) == 0);
    DIR *d = opendir(".");
    CHECK(d);
    long marks[N / 100 + 2];
    char marked[N / 100 + 2][NAME_MAX + 1];
    unsigned count = 0, nmarks = 0;
    for (;;) {
        long pos = telldir(d);
        errno = 0;
        struct dirent *e = readdir(d);
        if (!e)
            break;
        unsigned i;
        if (sscanf(e->d_name, "f%06u", &i) != 1)
            continue;
        CHECK(i < N && !seen[i]);
        seen[i] = 1;
        if (count % 100 == 0 && nmarks < N / 100) {
            marks[nmarks] = pos;
            snprintf(marked[nmarks], sizeof(marked[nmarks]), "%s", e->d_name);
            nmarks++;
        }
        count++;
        /* Every 7th of the first half goes, whether it was told or not; new ones come. */
        if (count == N / 4) {
            for (unsigned k = 0; k < N; k += 7) {
                char name[32];
                snprintf(name, sizeof(name), "f%06u", k);
                CHECK(unlink(name) == 0);
                snprintf(name, sizeof(name), "new%06u", k);
                close(must_open(name, O_WRONLY | O_CREAT | O_EXCL, 0644));
            }
        }
    }
    CHECK(errno == 0);
    for (unsigned i = 0; i < N; i++) {
        if (i % 7 && !seen[i])
            die("f%06u was never told", i);
    }
    for (unsigned m = 0; m < nmarks; m++) {
        unsigned i;
        CHECK(sscanf(marked[m], "f%06u", &i) == 1);
        if (i % 7 == 0)
            continue;
        seekdir(d, marks[m]);
        /* Entries made meanwhile may stand between. */
        struct dirent *e;
        do
            e = readdir(d);
        while (e && e->d_name[0] != 'f');
        if (!e || strcmp(e->d_name, marked[m]) != 0)
            die("position of %s leads to %s", marked[m], e ? e->d_name : "the end");
    }
    rewinddir(d);
    count = 0;
    while (readdir(d))
        count++;
    CHECK(count == N + 2);
    closedir(d);
    free(seen);
}

/* socket PATH: a listening UNIX socket is made there, connected to, and stays as a node. */
void tool_socket(int argc, char **argv)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", argv[0]);
    int s = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(s, (struct sockaddr *)&sa, sizeof(sa)) < 0)
        die_errno("bind");
    CHECK(listen(s, 1) == 0 && connect(c, (struct sockaddr *)&sa, sizeof(sa)) == 0);
    close(s);
    close(c);
}

/* mkreg PATH: a regular file by mknod(2). */
void tool_mkreg(int argc, char **argv)
{
    struct stat st;
    CHECK(mknod(argv[0], S_IFREG | 0640, 0) == 0);
    CHECK(stat(argv[0], &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0640);
    CHECK(mknod(argv[0], S_IFREG | 0640, 0) < 0 && errno == EEXIST);
}
