// SPDX-License-Identifier: Apache-2.0
#include "cli/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "base/clock.h"
#include "base/options.h"
#include "base/util.h"
#include "fs/session.h"

/* XATTR_SIZE_MAX of the kernel: no answer can be longer. */
enum { ANSWER_MAX = 65536 };

/* What the asking process hands back: this, then the bytes. */
struct answer {
    int32_t result; /* their number or -errno */
};

static void write_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno != EINTR)
            return;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
}

_Noreturn static void ask(const char *mountpoint, int fd)
{
    static char text[ANSWER_MAX];
    ssize_t n = getxattr(mountpoint, CAIRN_STATUS_XATTR, text, sizeof text);
    struct answer a = {.result = n < 0 ? -errno : (int32_t)n};

    write_all(fd, &a, sizeof a);
    if (n > 0)
        write_all(fd, text, (size_t)n);
    _exit(0);
}

/* Reads until the end or the deadline. Bytes read, -ETIMEDOUT or -errno. */
static ssize_t read_until(int fd, char *buf, size_t len, int64_t deadline_ns)
{
    size_t have = 0;

    while (have < len) {
        int64_t left = deadline_ns - cairn_now_ns();
        struct timespec t = ns_to_timespec(left > 0 ? left : 0);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int r = ppoll(&p, 1, &t, NULL);
        ssize_t n = r > 0 ? read(fd, buf + have, len - have) : r;
        if (r == 0)
            return -ETIMEDOUT;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (r > 0 && n == 0)
            break;
        if (n > 0)
            have += (size_t)n;
    }
    return (ssize_t)have;
}

/* The bytes that the process occupies, or 0. */
static uint64_t resident_bytes(long pid)
{
    AUTO_FREE char *path = cairn_text("/proc/%ld/statm", pid);
    FILE *f = path ? fopen(path, "re") : NULL;
    unsigned long long total, resident = 0;

    if (!f)
        return 0;
    if (fscanf(f, "%llu %llu", &total, &resident) != 2)
        resident = 0;
    fclose(f);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int parse_answer(const char *text, size_t len, json_t **ret)
{
    json_t *status = json_loadb(text, len, 0, NULL);

    if (!json_is_object(status)) {
        json_decref(status);
        return -EBADMSG;
    }
    json_int_t pid = json_integer_value(json_object_get(status, "pid"));
    uint64_t rss = pid > 0 ? resident_bytes((long)pid) : 0;
    if (rss && !json_object_get(status, "rss_bytes"))
        json_object_set_new(status, "rss_bytes", json_integer((json_int_t)rss));
    *ret = status;
    return 0;
}

/*
 * A process of its own asks: a silent daemon would keep a thread of ours, and with it the mount
 * busy, until the end of this process; a process can be killed.
 */
int cairn_daemon_status(const char *mountpoint, int64_t timeout_ns, json_t **ret)
{
    size_t size = sizeof(struct answer) + ANSWER_MAX + 1;
    AUTO_FREE char *buf = malloc(size);
    struct answer a;
    int p[2];

    if (!buf)
        return -ENOMEM;
    if (pipe2(p, O_CLOEXEC))
        return -errno;
    AUTO_CLOSE int from = p[0];
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        ask(mountpoint, p[1]);
    close(p[1]);
    if (pid < 0)
        return -errno;
    ssize_t n = read_until(from, buf, size, cairn_now_ns() + timeout_ns);
    if (n < 0)
        kill(pid, SIGKILL);
    /* One whose question the daemon has read and keeps cannot even be killed: not waited for. */
    for (int i = 0; waitpid(pid, NULL, n < 0 ? WNOHANG : 0) == 0 && i < 100; i++)
        poll(NULL, 0, 10);
    if (n < 0)
        return (int)n;
    if ((size_t)n < sizeof a)
        return -EIO;
    memcpy(&a, buf, sizeof a);
    if (a.result < 0)
        return a.result == -ENODATA ? -EOPNOTSUPP : a.result;
    return parse_answer(buf + sizeof a, (size_t)n - sizeof a, ret);
}

char *cairn_daemon_error(const char *mountpoint, int err)
{
    switch (err) {
    case -ENOTCONN:
        return cairn_text("the daemon of '%s' is dead; free the mountpoint with: cairnfs umount %s",
                          mountpoint, mountpoint);
    case -ETIMEDOUT:
        return cairn_text("the daemon of '%s' does not answer", mountpoint);
    case -EOPNOTSUPP:
        return cairn_text("'%s' is not a cairnfs mount", mountpoint);
    case -EBADMSG:
        return cairn_text("the daemon of '%s' gave an answer that is not understood", mountpoint);
    case -EACCES:
        return cairn_text("'%s' was mounted by another user, who alone may use it (see the option"
                          " allow-other)",
                          mountpoint);
    default:
        return cairn_text("'%s': %s", mountpoint, strerror(-err));
    }
}
