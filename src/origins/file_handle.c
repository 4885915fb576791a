// SPDX-License-Identifier: Apache-2.0
#include "origins/file_handle.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"

/* One system call moves at most this much, so that a call notices its end in time. */
#define STEP_BYTES (8 * MIB)

struct open_file {
    struct origin_file base;
    int fd;
};

static int fd_of(struct origin_file *f)
{
    return container_of(f, struct open_file, base)->fd;
}

struct origin_file *file_new(struct origin *owner, int fd)
{
    struct open_file *h = malloc(sizeof *h);
    if (!h)
        return NULL;
    *h = (struct open_file){.base.owner = owner, .fd = fd};
    return &h->base;
}

void file_close(struct origin *o, struct origin_file *f)
{
    struct open_file *h = container_of(f, struct open_file, base);
    close(h->fd);
    free(h);
}

void file_stat_from(struct origin_stat *ret, const struct stat *st, dev_t root_dev)
{
    uint64_t id = st->st_ino;
    if (st->st_dev != root_dev) /* below a mount point: the same numbers mean other nodes there */
        id ^= ((uint64_t)st->st_dev + 1) * 0x9e3779b97f4a7c15ULL;
    *ret = (struct origin_stat){
        .mode = st->st_mode,
        .nlink = (uint32_t)min_u64(st->st_nlink, UINT32_MAX),
        .uid = st->st_uid,
        .gid = st->st_gid,
        .rdev = st->st_rdev,
        .size = (uint64_t)st->st_size,
        .blocks = (uint64_t)st->st_blocks,
        .atime_ns = timespec_to_ns(st->st_atim),
        .mtime_ns = timespec_to_ns(st->st_mtim),
        .ctime_ns = timespec_to_ns(st->st_ctim),
        .fileid = id ? id : 1,
        .token = {id, (uint64_t)timespec_to_ns(st->st_ctim)},
    };
}

int file_fstat(struct origin *o, const struct origin_call *c, struct origin_file *f,
               struct origin_stat *ret)
{
    struct stat st;
    if (fstat(fd_of(f), &st) < 0)
        return -errno;
    file_stat_from(ret, &st, file_root_dev(o));
    return 0;
}

ssize_t file_pread(struct origin *o, const struct origin_call *c, struct origin_file *f, void *buf,
                   size_t len, uint64_t off, struct origin_stat *ret_after)
{
    size_t done = 0;
    while (done < len) {
        int err;
        if (origin_call_ended(c, &err))
            return err;
        ssize_t n = pread(fd_of(f), (char *)buf + done, min_u64(len - done, STEP_BYTES),
                          (off_t)(off + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    if (ret_after) {
        int err = file_fstat(o, c, f, ret_after);
        if (err)
            return err;
    }
    return (ssize_t)done;
}

int file_pwrite(struct origin *o, const struct origin_call *c, struct origin_file *f,
                const void *buf, size_t len, uint64_t off)
{
    size_t done = 0;
    while (done < len) {
        int err;
        if (origin_call_ended(c, &err))
            return err;
        ssize_t n = pwrite(fd_of(f), (const char *)buf + done, min_u64(len - done, STEP_BYTES),
                           (off_t)(off + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO; /* write(2) never does this; if it did, going on would not end */
        done += (size_t)n;
    }
    return 0;
}

int file_fsetattr(struct origin *o, const struct origin_call *c, struct origin_file *f,
                  const struct origin_attr *attr)
{
    int fd = fd_of(f);
    /* In this order: truncation moves mtime, chown clears set-id bits. */
    if (attr->mask & ORIGIN_SET_SIZE) {
        if (attr->size > INT64_MAX)
            return -EFBIG;
        if (ftruncate(fd, (off_t)attr->size) < 0)
            return -errno;
    }
    if (attr->mask & (ORIGIN_SET_UID | ORIGIN_SET_GID) &&
        fchown(fd, attr->mask & ORIGIN_SET_UID ? attr->uid : (uid_t)-1,
               attr->mask & ORIGIN_SET_GID ? attr->gid : (gid_t)-1) < 0)
        return -errno;
    if (attr->mask & ORIGIN_SET_MODE && fchmod(fd, attr->mode & 07777) < 0)
        return -errno;
    if (attr->mask & (ORIGIN_SET_ATIME | ORIGIN_SET_MTIME)) {
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};
        if (attr->mask & ORIGIN_SET_ATIME)
            times[0] = ns_to_timespec(attr->atime_ns);
        if (attr->mask & ORIGIN_SET_MTIME)
            times[1] = ns_to_timespec(attr->mtime_ns);
        if (futimens(fd, times) < 0)
            return -errno;
    }
    return 0;
}

int file_fsync(struct origin *o, const struct origin_call *c, struct origin_file *f)
{
    return sys_result(fsync(fd_of(f)));
}

/* Shares what lies on whole blocks; bytes shared, or 0 if that can't be done here. */
static uint64_t clone_range(int from, uint64_t from_off, int to, uint64_t to_off, uint64_t len)
{
    struct stat st;
    if (fstat(from, &st) < 0 || st.st_blksize <= 0)
        return 0;
    uint64_t block = (uint64_t)st.st_blksize;
    if (from_off % block || to_off % block || from_off >= (uint64_t)st.st_size)
        return 0;
    len = min_u64(len, (uint64_t)st.st_size - from_off);
    /* The last block of the source may be cut, where it becomes the last one of the target too. */
    struct stat target;
    bool is_end = from_off + len == (uint64_t)st.st_size && fstat(to, &target) == 0 &&
                  to_off + len >= (uint64_t)target.st_size;
    if (!is_end)
        len -= len % block;
    struct file_clone_range r = {
        .src_fd = from, .src_offset = from_off, .src_length = len, .dest_offset = to_off};
    return len && ioctl(to, FICLONERANGE, &r) == 0 ? len : 0;
}

ssize_t file_copy_range(struct origin *o, const struct origin_call *c, struct origin_file *from,
                        uint64_t from_off, struct origin_file *to, uint64_t to_off, uint64_t len)
{
    if (len == 0)
        return 0;
    if (file_shares(o)) {
        uint64_t cloned = clone_range(fd_of(from), from_off, fd_of(to), to_off, len);
        if (cloned)
            return (ssize_t)cloned;
    }
    off_t in = (off_t)from_off, out = (off_t)to_off;
    ssize_t n;
    int err;
    do {
        if (origin_call_ended(c, &err))
            return err;
        n = copy_file_range(fd_of(from), &in, fd_of(to), &out, min_u64(len, 8 * STEP_BYTES), 0);
    } while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    /* Two filesystems, or one that can't: the caller moves the bytes itself. */
    return errno == EXDEV || errno == ENOSYS ? -EOPNOTSUPP : -errno;
}

int64_t file_seek(struct origin *o, const struct origin_call *c, struct origin_file *f,
                  uint64_t off, int whence)
{
    off_t at = lseek(fd_of(f), (off_t)off, whence);
    return at < 0 ? -errno : at;
}
