// SPDX-License-Identifier: Apache-2.0
/* cairnfs umount: takes a mount away and returns when its daemon has let go of the cache. */
#include "cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/util.h"
#include "cli/daemon.h"
#include "cli/mounts.h"
#include "cli/users.h"

#define ANSWER_TIMEOUT_NS (2 * NSEC_PER_SEC)
/* How long the daemon may take to send what the origin does not have yet and close the cache. */
#define END_TIMEOUT_NS (120 * NSEC_PER_SEC)

struct umount_options {
    bool lazy;
};

static const struct cairn_option rows[] = {
    {"lazy", 'l', NULL,
     "Detach the mount at once, even a busy one; it ends when its last user does.",
     .set = cairn_option_set_flag, .offset = offsetof(struct umount_options, lazy)},
};
static const struct cairn_option_table options = {rows, ARRAY_LEN(rows)};

/* A handle of the daemon's process, or -errno if it cannot be had. Taken before unmounting:
 * afterwards its number could belong to another. */
static int open_daemon(const char *mountpoint, long *ret_pid)
{
    json_t *status;
    int r = cairn_daemon_status(mountpoint, ANSWER_TIMEOUT_NS, &status);

    if (r)
        return r;
    long pid = (long)json_integer_value(json_object_get(status, "pid"));
    json_decref(status);
    if (pid <= 1 || pid == getpid())
        return -ESRCH;
    *ret_pid = pid;
    return sys_result(pidfd_open((pid_t)pid, 0));
}

/* -ETIMEDOUT if the process has not ended in time. */
static int wait_end(int pidfd, int64_t timeout_ns)
{
    int64_t deadline = cairn_now_ns() + timeout_ns;

    for (;;) {
        int64_t left = deadline - cairn_now_ns();
        struct timespec t = ns_to_timespec(left > 0 ? left : 0);
        struct pollfd p = {.fd = pidfd, .events = POLLIN};
        int r = ppoll(&p, 1, &t, NULL);
        if (r > 0)
            return 0;
        if (r == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

/* The setuid helper may unmount what its caller mounted. What it says is kept, not shown. */
static int unmount_with_helper(const char *mountpoint, bool lazy)
{
    int p[2];
    char said[512];
    size_t len = 0;

    if (pipe2(p, O_CLOEXEC))
        return -errno;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(p[1], 2);
        setenv("LC_ALL", "C", 1);
        execlp("fusermount3", "fusermount3", lazy ? "-uz" : "-u", "--", mountpoint, (char *)NULL);
        _exit(127);
    }
    close(p[1]);
    if (pid < 0) {
        int r = -errno;
        close(p[0]);
        return r;
    }
    for (;;) {
        ssize_t n = read(p[0], said + len, sizeof said - 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || len + (size_t)n >= sizeof said - 1)
            break;
        len += (size_t)n;
    }
    said[len] = '\0';
    close(p[0]);
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return -ENOENT;
    return strstr(said, "busy") ? -EBUSY : -EPERM;
}

static int unmount(const char *mountpoint, bool lazy)
{
    if (!umount2(mountpoint, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)))
        return 0;
    return errno == EPERM ? unmount_with_helper(mountpoint, lazy) : -errno;
}

static int complain(const char *mountpoint, int err)
{
    if (err == -EBUSY) {
        AUTO_FREE char *users = cairn_users_of(mountpoint);
        return cairn_complain("'%s' is busy%s%s; or detach it with: cairnfs umount -l %s",
                              mountpoint, users ? ": used by " : "", users ? users : "",
                              mountpoint);
    }
    if (err == -EPERM)
        return cairn_complain(
            "'%s' was mounted by another user, who alone (or root) may unmount it", mountpoint);
    if (err == -ENOENT)
        return cairn_complain("cannot unmount '%s': fusermount3 is not installed", mountpoint);
    return cairn_complain("cannot unmount '%s': %s", mountpoint, strerror(-err));
}

static int run(const struct cairn_command *self, int argc, char **argv)
{
    struct umount_options o = {0};
    struct cairn_mounts mounts;
    int n;
    long pid = 0;
    int status = cairn_command_parse(self, &o, argc, argv, 1, 1, &n);

    if (status >= 0)
        return status;
    AUTO_FREE char *mountpoint = cairn_mountpoint_path(argv[0]);
    if (!mountpoint)
        return cairn_complain("'%s': %s", argv[0], strerror(errno));
    int r = cairn_mounts_read(&mounts);
    if (r)
        return cairn_complain("cannot list the mounts: %s", strerror(-r));
    bool ours = cairn_mount_is_ours(cairn_mounts_at(&mounts, mountpoint));
    cairn_mounts_clear(&mounts);
    if (!ours)
        return cairn_complain("'%s' is not a cairnfs mount", mountpoint);

    /* Called from inside the mount, this very process would keep it busy. */
    if (chdir("/"))
        return cairn_complain("cannot change to /: %s", strerror(errno));
    AUTO_CLOSE int daemon = o.lazy ? -1 : open_daemon(mountpoint, &pid);
    r = unmount(mountpoint, o.lazy);
    if (r)
        return complain(mountpoint, r);
    if (daemon >= 0 && wait_end(daemon, END_TIMEOUT_NS))
        return cairn_complain("'%s' is unmounted, but its daemon (pid %ld) still sends changes to"
                              " the origin",
                              mountpoint, pid);
    if (daemon == -ETIMEDOUT)
        cairn_complain("'%s' is unmounted; its daemon does not answer and may still hold the cache",
                       mountpoint);
    return CAIRN_EXIT_OK;
}

const struct cairn_command cairn_command_umount = {
    "umount", "MOUNTPOINT", "Unmount and wait until the daemon has ended.", &options, run,
};
