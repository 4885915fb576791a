// SPDX-License-Identifier: Apache-2.0
#include "origins/file_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

#include "base/clock.h"
#include "base/util.h"

/* Filesystems whose calls never wait for a network. Not all of these are in <linux/magic.h>. */
static const uint64_t disk_types[] = {
    0xEF53,     /* ext2, ext3, ext4 */
    0x58465342, /* xfs */
    BTRFS_SUPER_MAGIC,
    TMPFS_MAGIC,
    F2FS_SUPER_MAGIC,
    OVERLAYFS_SUPER_MAGIC,
    0x2FC12FC1, /* zfs */
    0xCA451A4E, /* bcachefs */
};

static bool is_disk(uint64_t type)
{
    for (size_t i = 0; i < ARRAY_LEN(disk_types); i++)
        if (disk_types[i] == type)
            return true;
    return false;
}

/* A file without a name in the root, opened for both; -errno if there can't be one. */
static int open_scratch(const char *root)
{
    return sys_result(open(root, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

static bool keeps_modes(int fd)
{
    struct stat st;
    return fchmod(fd, 0640) == 0 && fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0640;
}

/* One step of the timestamps. */
static int64_t time_granularity(int fd)
{
    struct timespec t[2] = {{.tv_sec = 1000000001, .tv_nsec = 123456789},
                            {.tv_sec = 1000000001, .tv_nsec = 123456789}};
    struct stat st;
    if (futimens(fd, t) < 0 || fstat(fd, &st) < 0)
        return 1;
    if (st.st_mtim.tv_sec != t[1].tv_sec)
        return 2 * NSEC_PER_SEC;
    if (st.st_mtim.tv_nsec == 0)
        return NSEC_PER_SEC;
    int64_t step = 1;
    while (step < NSEC_PER_SEC && st.st_mtim.tv_nsec % (step * 10) == 0)
        step *= 10;
    return step;
}

static bool finds_holes(int fd)
{
    const off_t far = 4 * (off_t)MIB;
    return pwrite(fd, "x", 1, far) == 1 && lseek(fd, 0, SEEK_DATA) > 0;
}

static bool shares_extents(const char *root, int from)
{
    char block[4096] = {1};
    struct stat st;
    if (fstat(from, &st) < 0 || pwrite(from, block, sizeof block, 0) != sizeof block)
        return false;
    AUTO_CLOSE int to = open_scratch(root);
    return to >= 0 && ioctl(to, FICLONE, from) == 0;
}

int file_probe(int root_fd, struct origin_info *ret)
{
    struct statfs fs;
    if (fstatfs(root_fd, &fs) < 0)
        return -errno;
    bool disk = is_disk((uint64_t)fs.f_type);
    uint32_t caps = ORIGIN_ATOMIC_RENAME | ORIGIN_WRITE_RANGES | ORIGIN_COPY_RANGE |
                    ORIGIN_HARD_LINKS | ORIGIN_SYMLINKS | ORIGIN_MODES | ORIGIN_OWNERS |
                    ORIGIN_SPECIAL | ORIGIN_FSYNC | ORIGIN_FILE_IDS;
    if (disk)
        caps |= ORIGIN_LOCAL | ORIGIN_WATCH | ORIGIN_RENAME_NOREPLACE | ORIGIN_RENAME_EXCHANGE |
                ORIGIN_SEEK_HOLES;
    int64_t granularity = 1;

    char root[64];
    snprintf(root, sizeof root, "/proc/self/fd/%d", root_fd);
    if (getxattr(root, "user.cairnfs.probe", NULL, 0) >= 0 || errno == ENODATA)
        caps |= ORIGIN_XATTRS;

    AUTO_CLOSE int fd = open_scratch(root);
    if (fd >= 0) {
        if (!keeps_modes(fd))
            caps &= ~(uint32_t)(ORIGIN_MODES | ORIGIN_OWNERS | ORIGIN_SYMLINKS | ORIGIN_HARD_LINKS |
                                ORIGIN_SPECIAL);
        granularity = time_granularity(fd);
        caps = finds_holes(fd) ? caps | ORIGIN_SEEK_HOLES : caps & ~(uint32_t)ORIGIN_SEEK_HOLES;
        if (shares_extents(root, fd))
            caps |= ORIGIN_COPY_SHARES;
    } else if (fs.f_type == MSDOS_SUPER_MAGIC || fs.f_type == 0x2011BAB0 /* exfat */) {
        caps &= ~(uint32_t)(ORIGIN_MODES | ORIGIN_OWNERS | ORIGIN_SYMLINKS | ORIGIN_HARD_LINKS |
                            ORIGIN_SPECIAL);
        granularity = 2 * NSEC_PER_SEC;
    }
    *ret = (struct origin_info){
        .caps = caps,
        .time_granularity_ns = granularity,
        .name_max = fs.f_namelen > 0 ? (uint32_t)fs.f_namelen : 255,
        .io_size = 1 * MIB,
    };
    return 0;
}
