// SPDX-License-Identifier: Apache-2.0
#include "cli/start.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/util.h"
#include "cli/command.h"
#include "fs/session.h"

/* How long a daemon that has to end may take before it is killed. */
#define END_TIMEOUT_NS (10 * NSEC_PER_SEC)

/* What the daemon tells the one who waits: one write, atomic below PIPE_BUF. */
struct verdict {
    int32_t err; /* 0 or -errno */
    char why[1000];
};

/* The daemon's end of the pipe; -1 once it has told its verdict, and in the foreground. */
struct reporter {
    int fd;
};

/* Keys of the origin pass through memory: no core file may keep them. Files and connections need
 * descriptors: all that the system grants. */
static void set_limits(void)
{
    struct rlimit core = {0, 0}, files;

    setrlimit(RLIMIT_CORE, &core);
    if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
}

static void ready_in_foreground(void *arg, int err, const char *why)
{
    if (err)
        cairn_complain("%s", why ? why : strerror(-err));
}

static void leave_stdio(void)
{
    AUTO_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int fd = 0; fd <= 2; fd++)
        if (null >= 0)
            dup2(null, fd);
}

static void ready_in_daemon(void *arg, int err, const char *why)
{
    struct reporter *rep = arg;
    struct verdict v = {.err = err};

    if (rep->fd < 0)
        return;
    if (err)
        snprintf(v.why, sizeof v.why, "%s", why ? why : strerror(-err));
    while (write(rep->fd, &v, sizeof v) < 0 && errno == EINTR)
        ;
    close(rep->fd);
    rep->fd = -1;
    leave_stdio();
}

static void run_daemon(const struct cairn_config *cfg, int fd)
{
    struct reporter rep = {.fd = fd};

    setsid();
    prctl(PR_SET_NAME, "cairnfs"); /* whatever name mount(8) called us by */
    if (chdir("/"))
        cairn_complain("cannot change to /: %s", strerror(errno));
    cairn_log_to_syslog();
    set_limits();
    int r = cairn_session_run(cfg, ready_in_daemon, &rep);
    if (rep.fd >= 0)
        close(rep.fd);
    exit(r ? CAIRN_EXIT_FAILED : CAIRN_EXIT_OK);
}

/* Waits until the daemon has gone, kills it if that takes too long. */
static void see_off(pid_t pid)
{
    int64_t deadline = cairn_now_ns() + END_TIMEOUT_NS;

    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (cairn_now_ns() > deadline) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            return;
        }
        poll(NULL, 0, 10);
    }
}

static int complain_died(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return cairn_complain("the daemon is lost: %s", strerror(errno));
    if (WIFSIGNALED(status))
        return cairn_complain("the daemon died at its start: %s (signal %d)",
                              strsignal(WTERMSIG(status)), WTERMSIG(status));
    return cairn_complain("the daemon ended at its start without a reason (exit status %d)",
                          WEXITSTATUS(status));
}

/* Reads the verdict. 0, -EINTR if a signal of `signals` came first, -EPIPE if there is none. */
static int await_verdict(int fd, int signals, struct verdict *ret)
{
    struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};

    for (;;) {
        if (poll(p, ARRAY_LEN(p), -1) < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        if (p[0].revents) {
            ssize_t n = read(fd, ret, sizeof *ret);
            if (n < 0 && errno == EINTR)
                continue;
            return n == (ssize_t)sizeof *ret ? 0 : -EPIPE;
        }
        if (p[1].revents)
            return -EINTR;
    }
}

static int wait_daemon(pid_t pid, int fd, int signals)
{
    struct verdict v;
    struct signalfd_siginfo sig;
    int r = await_verdict(fd, signals, &v);

    if (r == -EINTR) {
        kill(pid, SIGTERM);
        see_off(pid);
        bool known = read(signals, &sig, sizeof sig) == (ssize_t)sizeof sig;
        return cairn_complain("interrupted%s%s", known ? ": " : "",
                              known ? strsignal((int)sig.ssi_signo) : "");
    }
    if (r)
        return complain_died(pid);
    if (v.err) {
        v.why[sizeof v.why - 1] = '\0';
        cairn_complain("%s", v.why);
        /* Its cache is free again when this returns. */
        see_off(pid);
        return CAIRN_EXIT_FAILED;
    }
    return CAIRN_EXIT_OK;
}

static int start_detached(const struct cairn_config *cfg)
{
    sigset_t ours, before;
    int p[2];

    /* The daemon's 0, 1 and 2 must not become its pipe or its cache. */
    for (int fd = open("/dev/null", O_RDWR); fd >= 0; fd = open("/dev/null", O_RDWR)) {
        if (fd > 2) {
            close(fd);
            break;
        }
    }
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGHUP);
    sigprocmask(SIG_BLOCK, &ours, &before);
    AUTO_CLOSE int signals = signalfd(-1, &ours, SFD_CLOEXEC);
    if (signals < 0 || pipe2(p, O_CLOEXEC))
        return cairn_complain("cannot start the daemon: %s", strerror(errno));
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        close(p[0]);
        close(p[1]);
        return cairn_complain("cannot start the daemon: %s", strerror(errno));
    }
    if (pid == 0) {
        close(p[0]);
        close(signals);
        sigprocmask(SIG_SETMASK, &before, NULL);
        run_daemon(cfg, p[1]);
    }
    close(p[1]);
    int status = wait_daemon(pid, p[0], signals);
    close(p[0]);
    return status;
}

int cairn_start(const struct cairn_config *cfg)
{
    cairn_log_set_level(cfg->log_level);
    if (!cfg->foreground)
        return start_detached(cfg);
    set_limits();
    return cairn_session_run(cfg, ready_in_foreground, NULL) ? CAIRN_EXIT_FAILED : CAIRN_EXIT_OK;
}
