// SPDX-License-Identifier: Apache-2.0
#include "cli/users.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli/mounts.h"

enum { NAMED_MOST = 5 };

static bool link_within(int dirfd, const char *name, const char *dir)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(dirfd, name, target, sizeof target - 1);

    if (n <= 0 || target[0] != '/')
        return false;
    target[n] = '\0';
    return cairn_path_within(target, dir);
}

static bool process_uses(int proc, const char *dir)
{
    static const char *const links[] = {"cwd", "root", "exe"};

    for (size_t i = 0; i < ARRAY_LEN(links); i++)
        if (link_within(proc, links[i], dir))
            return true;

    int fd = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool uses = false;
    for (struct dirent *e; !uses && (e = readdir(d));)
        uses = e->d_name[0] != '.' && link_within(dirfd(d), e->d_name, dir);
    closedir(d);
    return uses;
}

static void print_name(int proc, const char *pid, unsigned nth, FILE *out)
{
    char comm[64] = "?";
    AUTO_CLOSE int fd = openat(proc, "comm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, comm, sizeof comm - 1);

    if (n > 0) {
        comm[n] = '\0';
        comm[strcspn(comm, "\n")] = '\0';
    }
    fprintf(out, "%s%s (pid %s)", nth ? ", " : "", comm, pid);
}

char *cairn_users_of(const char *dir)
{
    char *text = NULL;
    size_t len;
    unsigned found = 0;
    DIR *d = opendir("/proc");
    FILE *out = d ? open_memstream(&text, &len) : NULL;

    if (!out) {
        if (d)
            closedir(d);
        return NULL;
    }
    for (struct dirent *e; (e = readdir(d));) {
        if (!isdigit((unsigned char)e->d_name[0]))
            continue;
        AUTO_CLOSE int proc = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (proc < 0 || !process_uses(proc, dir))
            continue;
        if (found < NAMED_MOST)
            print_name(proc, e->d_name, found, out);
        found++;
    }
    closedir(d);
    if (found > NAMED_MOST)
        fprintf(out, " and %u more", found - NAMED_MOST);
    if (fclose(out) || !found) {
        free(text);
        return NULL;
    }
    return text;
}
