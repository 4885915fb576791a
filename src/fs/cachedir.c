// SPDX-License-Identifier: Apache-2.0
#include "fs/cachedir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/util.h"

#define FORMAT       "cairnfs cache 1\n"
#define LOCK_WAIT_NS (2 * NSEC_PER_SEC)

static int make_path(const char *path)
{
    AUTO_FREE char *p = strdup(path);
    if (!p)
        return -ENOMEM;
    for (char *slash = p + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        if (mkdir(p, 0700) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return mkdir(p, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* The lock file also says whose cache this is, and in which format. */
static int check_format(int fd, const char *origin, char **ret_why, const char *dir)
{
    char text[8192] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    if (n < 0)
        return -errno;
    if (n > 0 && strncmp(text, FORMAT, strlen(FORMAT)) != 0) {
        if (asprintf(ret_why,
                     "the cache '%s' is of another version of cairnfs; remove it or name "
                     "another with --cache",
                     dir) < 0)
            *ret_why = NULL;
        return -EINVAL;
    }
    if (n > 0)
        return 0;
    int len = snprintf(text, sizeof text, FORMAT "%s\n", origin);
    return pwrite(fd, text, min_u64((size_t)len, sizeof text - 1), 0) < 0 ? -errno : 0;
}

/* Who has just unmounted holds the lock for a moment more, in which all is sent and committed. */
static int lock_soon(int fd)
{
    static const struct timespec pause = {.tv_nsec = 20 * NSEC_PER_MSEC};
    int64_t end = cairn_now_ns() + LOCK_WAIT_NS;
    int r;
    while ((r = flock(fd, LOCK_EX | LOCK_NB)) < 0 && errno == EWOULDBLOCK && cairn_now_ns() < end)
        nanosleep(&pause, NULL);
    return r;
}

int cairn_cachedir_open(const char *cache, const char *origin, int *ret_fd, char **ret_dir,
                        char **ret_why)
{
    AUTO_FREE char *dir = NULL;
    AUTO_FREE char *lock = NULL;
    *ret_why = NULL;
    if (asprintf(&dir, "%s/%016" PRIx64, cache, (uint64_t)XXH3_64bits(origin, strlen(origin))) <
            0 ||
        asprintf(&lock, "%s/lock", dir) < 0)
        return -ENOMEM;
    int err = make_path(dir);
    AUTO_CLOSE int fd = err ? -1 : open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (!err && fd < 0)
        err = -errno;
    if (err) {
        if (asprintf(ret_why, "cannot use the cache '%s': %s; name another with --cache", cache,
                     strerror(-err)) < 0)
            *ret_why = NULL;
        return err;
    }
    if (lock_soon(fd) < 0) {
        err = errno == EWOULDBLOCK ? -EBUSY : -errno;
        if (asprintf(ret_why,
                     "the cache '%s' is in use by another process that mounts %s; unmount "
                     "that first or name another with --cache",
                     cache, origin) < 0)
            *ret_why = NULL;
        return err;
    }
    err = check_format(fd, origin, ret_why, dir);
    if (err)
        return err;
    *ret_fd = steal_fd(&fd);
    *ret_dir = STEAL(dir);
    return 0;
}

int cairn_cachedir_load_info(const char *dir, struct origin_info *ret)
{
    AUTO_FREE char *path = NULL;
    struct origin_info i;
    if (asprintf(&path, "%s/origin", dir) < 0)
        return -ENOMEM;
    FILE *f = fopen(path, "re");
    if (!f)
        return -errno;
    int n =
        fscanf(f, "caps %" SCNx32 " granularity %" SCNd64 " name_max %" SCNu32 " io_size %" SCNu32,
               &i.caps, &i.time_granularity_ns, &i.name_max, &i.io_size);
    fclose(f);
    if (n != 4)
        return -ENOENT;
    *ret = i;
    return 0;
}

void cairn_cachedir_save_info(const char *dir, const struct origin_info *info)
{
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *temp = NULL;
    if (asprintf(&path, "%s/origin", dir) < 0 || asprintf(&temp, "%s/origin.new", dir) < 0)
        return;
    FILE *f = fopen(temp, "we");
    if (!f)
        return; /* missed only should the origin be away at the next mount */
    fprintf(
        f, "caps %" PRIx32 "\ngranularity %" PRId64 "\nname_max %" PRIu32 "\nio_size %" PRIu32 "\n",
        info->caps, info->time_granularity_ns, info->name_max, info->io_size);
    if (fclose(f) == 0)
        rename(temp, path);
}
