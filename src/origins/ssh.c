// SPDX-License-Identifier: Apache-2.0
#include "origins/ssh.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "origins/ssh_said.h"
#include "origins/url.h"

#define ARGS_MOST      32
#define SOCKET_BYTES   (4 * MIB) /* as much as the kernel lets us have */
#define SAID_BYTES     4096
#define CANCEL_POLL_NS (20 * NSEC_PER_MSEC) /* a cancel flag can't wake poll(2) */
#define LAST_WORDS_MS  1000                 /* between the end of its output and its own */
#define TERM_MS        200                  /* from SIGTERM to SIGKILL */

struct ssh {
    pid_t pid;
    int fd;     /* its standard input and output */
    int err_fd; /* its standard error */
    bool dead;
    bool unsent; /* ssh_write waits for room */
    char *name;
    char *known_hosts, *identity; /* as named, or NULL */
    char *host;
    uint16_t port;
    size_t said_len;
    char said[SAID_BYTES]; /* the end of what it wrote to standard error */
};

extern char **environ;

int ssh_fail(char **ret_why, int err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *why;
    int n = vasprintf(&why, fmt, ap);
    va_end(ap);
    if (n < 0)
        return err;
    for (char *p = why; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    free(*ret_why);
    *ret_why = why;
    return err;
}

/* --- starting -------------------------------------------------------------------------------- */

struct args {
    char *arg[ARGS_MOST];
    size_t count;
    bool failed; /* out of memory */
};

static void add_arg(struct args *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add_arg(struct args *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text;
    if (a->count + 1 == ARGS_MOST || vasprintf(&text, fmt, ap) < 0)
        a->failed = true;
    else
        a->arg[a->count++] = text;
    va_end(ap);
}

/* A file name as an option's value: ssh expands %, and splits at blanks that are not quoted. */
static void add_file(struct args *a, const char *option, const char *path)
{
    AUTO_FREE char *quoted = malloc(2 * strlen(path) + 1);
    char *q = quoted;
    if (!quoted) {
        a->failed = true;
        return;
    }
    for (const char *p = path; *p; p++) {
        if (*p == '%')
            *q++ = '%';
        if (*p == '"' || *p == '\\')
            *q++ = '\\';
        *q++ = *p;
    }
    *q = '\0';
    add_arg(a, "-o%s=\"%s\"", option, quoted);
}

/* With AES in hardware GCM is the cheapest by far; else the client's own order is right. */
static bool has_aes(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
    return getauxval(AT_HWCAP) & (1UL << 3); /* HWCAP_AES */
#else
    return false;
#endif
}

static void make_args(struct args *a, const struct origin_config *cfg, const char *subsystem)
{
    const struct origin_url *url = cfg->url;
    add_arg(a, "ssh");
    if (cfg->ssh_config) {
        add_arg(a, "-F");
        add_arg(a, "%s", cfg->ssh_config);
    }
    add_arg(a, "-oBatchMode=yes");
    add_arg(a, "-oStrictHostKeyChecking=yes");
    add_arg(a, "-oClearAllForwardings=yes");
    add_arg(a, "-oForwardAgent=no");
    add_arg(a, "-oForwardX11=no");
    add_arg(a, "-oPermitLocalCommand=no");
    add_arg(a, "-oRequestTTY=no");
    add_arg(a, "-oRemoteCommand=none");
    /* Several connections, each with a stream and a core of its own, are what we want. */
    add_arg(a, "-oControlMaster=no");
    add_arg(a, "-oControlPath=none");
    add_arg(a, "-oLogLevel=ERROR");
    if (has_aes())
        add_arg(a, "-oCiphers=^aes128-gcm@openssh.com,aes256-gcm@openssh.com");
    if (cfg->ssh_identity)
        add_file(a, "IdentityFile", cfg->ssh_identity);
    if (cfg->ssh_known_hosts) {
        add_file(a, "UserKnownHostsFile", cfg->ssh_known_hosts);
        add_arg(a, "-oGlobalKnownHostsFile=none");
    }
    if (url->port)
        add_arg(a, "-p%u", (unsigned)url->port);
    if (url->user)
        add_arg(a, "-l%s", url->user);
    add_arg(a, "-s");
    add_arg(a, "--");
    add_arg(a, "%s", url->host);
    add_arg(a, "%s", subsystem);
    a->arg[a->count] = NULL;
}

static int spawn(pid_t *ret, char **argv, int stdio, int err)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_adddup2(&files, stdio, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, stdio, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    /* A session of its own: no terminal to ask at, and no Ctrl-C that is meant for us. */
    posix_spawnattr_setflags(&attr,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    int rc = posix_spawnp(ret, argv[0], &files, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return -rc;
}

static void enlarge(int fd)
{
    int bytes = SOCKET_BYTES;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

static int start(struct ssh *s, char **argv)
{
    int io[2], err[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, io) < 0)
        return -errno;
    if (pipe2(err, O_CLOEXEC) < 0) {
        int failed = -errno;
        close(io[0]);
        close(io[1]);
        return failed;
    }
    s->fd = io[0];
    s->err_fd = err[0];
    enlarge(io[0]);
    enlarge(io[1]);
    int rc = fcntl(io[0], F_SETFL, O_NONBLOCK) < 0 || fcntl(err[0], F_SETFL, O_NONBLOCK) < 0
                 ? -errno
                 : spawn(&s->pid, argv, io[1], err[1]);
    close(io[1]);
    close(err[1]);
    return rc;
}

static int name_it(struct ssh *s, const struct origin_config *cfg)
{
    const struct origin_url *url = cfg->url;
    bool v6 = strchr(url->host, ':');
    char port[8] = "";
    if (url->port)
        snprintf(port, sizeof port, ":%u", (unsigned)url->port);
    if (asprintf(&s->name, v6 ? "%s%s[%s]%s" : "%s%s%s%s", url->user ? url->user : "",
                 url->user ? "@" : "", url->host, port) < 0) {
        s->name = NULL;
        return -ENOMEM;
    }
    s->host = strdup(url->host);
    s->port = url->port;
    if (cfg->ssh_identity)
        s->identity = strdup(cfg->ssh_identity);
    if (cfg->ssh_known_hosts)
        s->known_hosts = strdup(cfg->ssh_known_hosts);
    return s->host && !s->identity == !cfg->ssh_identity && !s->known_hosts == !cfg->ssh_known_hosts
               ? 0
               : -ENOMEM;
}

int ssh_connect(struct ssh **ret, const struct origin_config *cfg, const char *subsystem,
                char **ret_why)
{
    struct ssh *s = calloc(1, sizeof *s);
    struct args a = {0};
    if (!s)
        return -ENOMEM;
    s->fd = s->err_fd = -1;
    int err = name_it(s, cfg);
    if (!err && cfg->ssh_config && access(cfg->ssh_config, R_OK) < 0) {
        err = -errno;
        ssh_fail(ret_why, err, "%s: can't be read (%s)", cfg->ssh_config, strerror(-err));
    }
    if (!err) {
        make_args(&a, cfg, subsystem);
        err = a.failed ? -ENOMEM : start(s, a.arg);
        if (err == -ENOENT)
            ssh_fail(ret_why, err, "no 'ssh' is found: install the OpenSSH client");
    }
    for (size_t i = 0; i < a.count; i++)
        free(a.arg[i]);
    if (err) {
        ssh_close(s);
        return err;
    }
    *ret = s;
    return 0;
}

/* --- what it says ---------------------------------------------------------------------------- */

/* Keeps the end of what is there; false at its end. */
static bool listen_to(struct ssh *s)
{
    for (;;) {
        char more[1024];
        ssize_t n = read(s->err_fd, more, sizeof more);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        size_t room = sizeof s->said - 1, len = (size_t)n;
        if (s->said_len + len > room) {
            size_t drop = s->said_len + len - room;
            memmove(s->said, s->said + drop, s->said_len - drop);
            s->said_len -= drop;
        }
        memcpy(s->said + s->said_len, more, len);
        s->said_len += len;
    }
}

int ssh_explain(struct ssh *s, int err, char **ret_why)
{
    /* It closes its output a moment before it has said everything. */
    struct pollfd p = {.fd = s->err_fd, .events = POLLIN};
    while (listen_to(s) && err == -ECONNRESET && poll(&p, 1, LAST_WORDS_MS) > 0)
        ;
    s->said[s->said_len] = '\0';
    struct ssh_question q = {.name = s->name,
                             .host = s->host,
                             .port = s->port,
                             .known_hosts = s->known_hosts,
                             .identity = s->identity};
    return ssh_said(s->said, &q, err, ret_why);
}

/* --- ending ---------------------------------------------------------------------------------- */

/* True once it has ended; waits that long at most. */
static bool reap(struct ssh *s, int ms)
{
    for (int i = 0;; i++) {
        pid_t p = waitpid(s->pid, NULL, WNOHANG);
        if (p == s->pid || (p < 0 && errno == ECHILD))
            return true;
        if (i >= ms)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = NSEC_PER_MSEC}, NULL);
    }
}

void ssh_close(struct ssh *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    if (s->pid > 0) {
        kill(s->pid, SIGTERM);
        if (!reap(s, TERM_MS)) {
            kill(s->pid, SIGKILL);
            while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        }
    }
    if (s->err_fd >= 0)
        close(s->err_fd);
    free(s->known_hosts);
    free(s->identity);
    free(s->host);
    free(s->name);
    free(s);
}

const char *ssh_name(const struct ssh *s)
{
    return s->name;
}

/* --- the stream ------------------------------------------------------------------------------ */

static ssize_t gone(struct ssh *s)
{
    if (!s->dead) {
        listen_to(s);
        s->said[s->said_len] = '\0';
        log_debug("%s: connection lost: %s", s->name, s->said);
    }
    s->dead = true;
    return -ECONNRESET;
}

ssize_t ssh_read(struct ssh *s, void *buf, size_t len)
{
    if (s->dead)
        return -ECONNRESET;
    ssize_t n = recv(s->fd, buf, len, 0);
    if (n > 0)
        return n;
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? -EAGAIN : gone(s);
}

ssize_t ssh_write(struct ssh *s, const void *buf, size_t len)
{
    if (s->dead)
        return -ECONNRESET;
    ssize_t n = send(s->fd, buf, len, MSG_NOSIGNAL);
    s->unsent = n < 0 && (errno == EAGAIN || errno == EINTR);
    if (n > 0)
        return n;
    return s->unsent || n == 0 ? -EAGAIN : gone(s);
}

int ssh_wait(struct ssh *s, const struct origin_call *c)
{
    struct pollfd p[2] = {{.fd = s->fd, .events = s->unsent ? POLLIN | POLLOUT : POLLIN},
                          {.fd = s->err_fd, .events = POLLIN}};
    for (;;) {
        int64_t wait_ns = CAIRN_NEVER;
        int err;
        if (origin_call_ended(c, &err))
            return err;
        if (c->deadline_ns != CAIRN_NEVER)
            wait_ns = c->deadline_ns - cairn_now_ns();
        if (c->cancelled && wait_ns > CANCEL_POLL_NS)
            wait_ns = CANCEL_POLL_NS;
        if (wait_ns < 0)
            wait_ns = 0;
        struct timespec t = ns_to_timespec(wait_ns);
        int n = ppoll(p, 2, wait_ns == CAIRN_NEVER ? NULL : &t, NULL);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0 && p[0].revents)
            return 0;
        if (n > 0 && !listen_to(s))
            p[1].fd = -1; /* it says nothing more */
    }
}

bool ssh_is_alive(struct ssh *s)
{
    if (s->dead)
        return false;
    char byte;
    ssize_t n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}
