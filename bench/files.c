// SPDX-License-Identifier: Apache-2.0
/*
 * files COMMAND DIR N: what many small files cost; prints operations per second. The files are
 * DIR/f000000 and so on. Built and run by peers.sh.
 *   make   creates them with 4 KiB each     stat   lstat of each
 *   read   open, read, close of each        list   readdir of DIR; entries per second
 *   seq    DIR is a file of N MiB: reads it whole; MB per second
 *   write  DIR is a file: writes N MiB, fsync, close; MB per second
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SMALL = 4096, LARGE = 1 << 20 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void one(const char *command, const char *path, char *buf)
{
    struct stat st;
    if (command[0] == 's') {
        if (lstat(path, &st) < 0)
            die(path);
        return;
    }
    bool make = command[0] == 'm';
    int fd = open(path, make ? O_WRONLY | O_CREAT | O_EXCL : O_RDONLY, 0644);
    if (fd < 0)
        die(path);
    if ((make ? write(fd, buf, SMALL) : read(fd, buf, SMALL)) != SMALL)
        die(path);
    if (close(fd) < 0)
        die(path);
}

static double each(const char *command, const char *dir, unsigned n, char *buf)
{
    for (unsigned i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/f%06u", dir, i);
        one(command, path, buf);
    }
    return n;
}

static double list(const char *dir)
{
    double n = 0;
    DIR *d = opendir(dir);
    if (!d)
        die(dir);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static double stream(const char *path, bool writing, unsigned mib, char *buf)
{
    double done = 0;
    int fd = open(path, writing ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY, 0644);
    if (fd < 0)
        die(path);
    for (unsigned i = 0; writing && i < mib; i++) {
        /* No two blocks alike: storing one for all would be no measure. */
        for (size_t k = 0; k < LARGE; k += SMALL)
            memcpy(buf + k, &(unsigned[]){i, (unsigned)k}, 2 * sizeof(unsigned));
        if (write(fd, buf, LARGE) != LARGE)
            die(path);
        done += LARGE;
    }
    for (ssize_t n = 1; !writing && n > 0;) {
        n = read(fd, buf, LARGE);
        if (n < 0)
            die(path);
        done += (double)n;
    }
    if (writing && fsync(fd) < 0)
        die(path);
    if (close(fd) < 0)
        die(path);
    return done / 1e6;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    unsigned n = (unsigned)strtoul(argv[3], NULL, 10);
    char *buf = malloc(LARGE);
    if (!buf)
        return 1;
    memset(buf, 'x', LARGE);
    double start = now(), done;
    if (strcmp(argv[1], "list") == 0)
        done = list(argv[2]);
    else if (strcmp(argv[1], "seq") == 0 || strcmp(argv[1], "write") == 0)
        done = stream(argv[2], argv[1][0] == 'w', n, buf);
    else
        done = each(argv[1], argv[2], n, buf);
    printf("%.1f\n", done / (now() - start));
    free(buf);
    return 0;
}
