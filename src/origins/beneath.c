// SPDX-License-Identifier: Apache-2.0
#include "origins/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/util.h"

static int open2(int root_fd, const char *path, int flags, uint32_t mode)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags,
        .mode = flags & O_CREAT ? mode & 07777 : 0, /* the kernel refuses a mode otherwise */
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    return sys_result(syscall(SYS_openat2, root_fd, path, &how, sizeof how));
}

void beneath_init(struct beneath *b, int root_fd)
{
    b->root_fd = root_fd;
    /* Any failure counts: filters of system calls answer EPERM for what they don't know. */
    AUTO_CLOSE int fd = open2(root_fd, ".", O_PATH | O_CLOEXEC, 0);
    b->has_openat2 = fd >= 0;
}

/* O_DIRECTORY | O_NOFOLLOW says ENOTDIR for a symlink; our answer is ELOOP. */
static int open_at(int dir, const char *name, int flags, uint32_t mode)
{
    int fd = sys_result(openat(dir, name, flags | O_NOFOLLOW | O_CLOEXEC, mode & 07777));
    struct stat st;
    if (fd == -ENOTDIR && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        return -ELOOP;
    return fd;
}

static int open_by_walk(int root_fd, const char *path, int flags, uint32_t mode)
{
    AUTO_CLOSE int dir = -1;
    const char *slash;
    for (; (slash = strchr(path, '/')); path = slash + 1) {
        char name[NAME_MAX + 1];
        size_t n = (size_t)(slash - path);
        if (n > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, path, n);
        name[n] = '\0';
        int next = open_at(dir < 0 ? root_fd : dir, name, O_PATH | O_DIRECTORY, 0);
        if (next < 0)
            return next;
        cleanup_closep(&dir);
        dir = next;
    }
    return open_at(dir < 0 ? root_fd : dir, path, flags, mode);
}

int beneath_open(const struct beneath *b, const char *path, int flags, uint32_t mode)
{
    if (!*path)
        path = ".";
    if (b->has_openat2 && strlen(path) < PATH_MAX) {
        /* Without O_NOFOLLOW it is RESOLVE_NO_SYMLINKS that answers, with ELOOP. */
        int nofollow = flags & O_DIRECTORY ? 0 : O_NOFOLLOW;
        return open2(b->root_fd, path, flags | nofollow | O_CLOEXEC, mode);
    }
    return open_by_walk(b->root_fd, path, flags, mode);
}

int beneath_parent(const struct beneath *b, const char *path, struct beneath_parent *ret)
{
    if (!*path)
        return -EBUSY;
    const char *slash = strrchr(path, '/');
    if (!slash) {
        *ret = (struct beneath_parent){.fd = b->root_fd, .name = path};
        return 0;
    }
    AUTO_FREE char *dir = strndup(path, (size_t)(slash - path));
    if (!dir)
        return -ENOMEM;
    int fd = beneath_open(b, dir, O_PATH | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    *ret = (struct beneath_parent){.fd = fd, .owned = true, .name = slash + 1};
    return 0;
}

void beneath_parent_done(struct beneath_parent *p)
{
    if (p->owned)
        close(p->fd);
    p->owned = false;
}
