// SPDX-License-Identifier: Apache-2.0
#include "lib/sshd.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define SSHD          "/usr/sbin/sshd"
#define START_TRIES   10
#define READY_NS      10000000000LL
#define MAX_PROCESSES 1024

int sshd_run(const char *fmt, ...)
{
    char line[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static char *below(const struct sshd *s, const char *name)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", s->dir, name) < 0)
        abort();
    return path;
}

static uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint16_t port = 0;
    if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
        getsockname(fd, (struct sockaddr *)&a, &len) == 0)
        port = ntohs(a.sin_port);
    close(fd);
    return port;
}

static bool speaks_ssh(uint16_t port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {.tv_sec = 2};
    char banner[8] = "";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    bool yes = connect(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
               recv(fd, banner, 7, MSG_WAITALL) == 7 && !strcmp(banner, "SSH-2.0");
    close(fd);
    return yes;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

/* Starts it on a port that was free a moment ago; false if it ended at once. */
static bool launch(struct sshd *s, const char *subsystem, const char *extra)
{
    char *config = below(s, "sshd_config");
    char *log = below(s, "log");
    s->port = free_port();
    FILE *f = fopen(config, "w");
    if (!f)
        abort();
    fprintf(f,
            "Port %u\nListenAddress 127.0.0.1\nHostKey %s/host\nPidFile none\n"
            "AuthorizedKeysFile %s/authorized_keys\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin prohibit-password\nMaxStartups 100\nMaxSessions 64\nUseDNS no\n"
            "LogLevel ERROR\nSubsystem sftp %s\n%s\n",
            (unsigned)s->port, s->dir, s->dir, subsystem ? subsystem : "internal-sftp",
            extra ? extra : "");
    fclose(f);
    s->pid = fork();
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes leaves none behind */
        if (!freopen("/dev/null", "r", stdin) || !freopen(log, "a", stderr))
            _exit(126);
        execl(SSHD, SSHD, "-D", "-e", "-f", config, (char *)NULL);
        _exit(127);
    }
    free(config);
    free(log);
    int64_t until = cairn_now_ns() + READY_NS;
    while (s->pid > 0 && cairn_now_ns() < until) {
        if (waitpid(s->pid, NULL, WNOHANG) == s->pid)
            break;
        if (speaks_ssh(s->port))
            return true;
        nap();
    }
    s->pid = 0;
    return false;
}

struct sshd *sshd_start(const char *host_key, const char *subsystem, const char *extra)
{
    if (access(SSHD, X_OK) < 0) {
        fprintf(stderr, "%s: %s\n", SSHD, strerror(errno));
        return NULL;
    }
    struct sshd *s = calloc(1, sizeof *s);
    char name[] = "/tmp/cairn-sshd-XXXXXX";
    if (!s || !mkdtemp(name) || chmod(name, 0755) < 0)
        abort();
    s->dir = strdup(name);
    s->tree = below(s, "tree");
    s->known_hosts = below(s, "known_hosts");
    s->identity = below(s, "user");
    s->stranger = below(s, "stranger");
    mkdir("/run/sshd", 0755); /* sshd wants it, whoever starts it */
    if (mkdir(s->tree, 0755) < 0 ||
        sshd_run("ssh-keygen -q -t %s -N '' -f %s/host && ssh-keygen -q -t ed25519 -N '' -f %s &&"
                 " ssh-keygen -q -t ed25519 -N '' -f %s && cp %s.pub %s/authorized_keys",
                 host_key, s->dir, s->identity, s->stranger, s->identity, s->dir))
        goto fail;
    for (int i = 0; i < START_TRIES; i++) {
        if (!launch(s, subsystem, extra))
            continue;
        if (sshd_run("echo \"[127.0.0.1]:%u $(cut -d' ' -f1,2 %s/host.pub)\" >%s",
                     (unsigned)s->port, s->dir, s->known_hosts) == 0)
            return s;
    }
fail:
    sshd_run("cat %s/log >&2", s->dir);
    sshd_stop(s);
    return NULL;
}

/* The parents of all processes; *ret_pids and *ret_parents hold the count that is returned. */
static size_t read_processes(pid_t *ret_pids, pid_t *ret_parents)
{
    size_t n = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *e; d && n < MAX_PROCESSES && (e = readdir(d));) {
        char path[300], text[512];
        int pid = atoi(e->d_name);
        if (pid <= 0)
            continue;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *f = fopen(path, "r");
        size_t len = f ? fread(text, 1, sizeof text - 1, f) : 0;
        if (f)
            fclose(f);
        text[len] = '\0';
        char *end = strrchr(text, ')'); /* the name before it may hold anything */
        int parent;
        if (!end || sscanf(end + 1, " %*c %d", &parent) != 1)
            continue;
        ret_pids[n] = pid;
        ret_parents[n++] = parent;
    }
    if (d)
        closedir(d);
    return n;
}

/* The server and its descendants, parents first. */
static size_t family(const struct sshd *s, pid_t *ret)
{
    pid_t pids[MAX_PROCESSES], parents[MAX_PROCESSES];
    size_t all = read_processes(pids, parents), n = 0;
    ret[n++] = s->pid;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < all && n < MAX_PROCESSES; k++)
            if (parents[k] == ret[i])
                ret[n++] = pids[k];
    return n;
}

void sshd_signal(const struct sshd *s, int sig)
{
    pid_t pids[MAX_PROCESSES];
    if (s->pid <= 0)
        return;
    size_t n = family(s, pids);
    for (size_t i = 0; i < n; i++)
        kill(pids[i], sig);
}

void sshd_stop(struct sshd *s)
{
    if (!s)
        return;
    if (s->pid > 0) {
        sshd_signal(s, SIGKILL);
        waitpid(s->pid, NULL, 0);
    }
    sshd_run("rm -rf %s", s->dir);
    free(s->dir);
    free(s->tree);
    free(s->known_hosts);
    free(s->identity);
    free(s->stranger);
    free(s);
}
