// SPDX-License-Identifier: Apache-2.0
/*
 * getaddrinfo(3) can't be interrupted, so it runs in a thread of its own that shares a counted
 * record with the caller: whoever is last frees it, and a caller whose time is over just leaves.
 * Addresses are tried one after the other, each with a fair share of the time that is left.
 */
#include "origins/ssh_dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/util.h"

/* A cancel flag can't wake poll(2): it is looked at this often. */
#define CANCEL_POLL_NS (20 * NSEC_PER_MSEC)
/* The least time that one address gets while others remain. */
#define ADDRESS_MIN_NS NSEC_PER_SEC

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

int ssh_wait_fd(int fd, short events, const struct origin_call *c)
{
    struct pollfd p = {.fd = fd, .events = events};
    for (;;) {
        int64_t wait_ns = CAIRN_NEVER;
        int err;
        if (c) {
            if (origin_call_ended(c, &err))
                return err;
            if (c->deadline_ns != CAIRN_NEVER)
                wait_ns = c->deadline_ns - cairn_now_ns();
            if (c->cancelled && wait_ns > CANCEL_POLL_NS)
                wait_ns = CANCEL_POLL_NS;
            if (wait_ns < 0)
                wait_ns = 0;
        }
        struct timespec t = ns_to_timespec(wait_ns);
        int n = ppoll(&p, 1, wait_ns == CAIRN_NEVER ? NULL : &t, NULL);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

struct lookup {
    _Atomic int refs; /* the thread and the caller */
    int done_fd;      /* eventfd: becomes readable when the answer below is there */
    int rc;           /* of getaddrinfo */
    int sys_errno;    /* for EAI_SYSTEM */
    struct addrinfo *list;
    char port[8];
    char host[];
};

static void lookup_unref(struct lookup *l)
{
    if (atomic_fetch_sub(&l->refs, 1) != 1)
        return;
    close(l->done_fd);
    if (l->list)
        freeaddrinfo(l->list);
    free(l);
}

static void *lookup_thread(void *arg)
{
    struct lookup *l = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    /* AI_ADDRCONFIG doesn't count loopback addresses: a numeric one must work without others. */
    struct in6_addr numeric;
    if (inet_pton(AF_INET, l->host, &numeric) == 1 || strchr(l->host, ':'))
        hints.ai_flags = AI_NUMERICHOST;
    l->rc = getaddrinfo(l->host, l->port, &hints, &l->list);
    l->sys_errno = errno;
    eventfd_write(l->done_fd, 1);
    lookup_unref(l);
    return NULL;
}

static int look_up(const char *host, uint16_t port, const struct origin_call *c,
                   struct lookup **ret, char **ret_why)
{
    size_t n = strlen(host) + 1;
    struct lookup *l = calloc(1, sizeof *l + n);
    if (!l)
        return -ENOMEM;
    memcpy(l->host, host, n);
    snprintf(l->port, sizeof l->port, "%u", (unsigned)port);
    atomic_init(&l->refs, 2);
    l->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->done_fd < 0) {
        int err = -errno;
        free(l);
        return err;
    }
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    int err = -pthread_create(&thread, &attr, lookup_thread, l);
    pthread_attr_destroy(&attr);
    if (err) {
        lookup_unref(l);
        lookup_unref(l);
        return err;
    }
    err = ssh_wait_fd(l->done_fd, POLLIN, c);
    if (err) {
        lookup_unref(l);
        return ssh_fail(ret_why, err,
                        "%s:%u: the name service did not answer in time; is the"
                        " network up?",
                        host, (unsigned)port);
    }
    eventfd_t unused;
    eventfd_read(l->done_fd, &unused);
    if (l->rc) {
        const char *what = l->rc == EAI_SYSTEM ? strerror(l->sys_errno) : gai_strerror(l->rc);
        ssh_fail(ret_why, 0, "%s:%u: the host has no address (%s); check its name", host,
                 (unsigned)port, what);
        lookup_unref(l);
        return -EHOSTUNREACH;
    }
    *ret = l;
    return 0;
}

static int connect_one(const struct addrinfo *a, const struct origin_call *c, int *ret_fd)
{
    AUTO_CLOSE int fd =
        socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0)
        return -errno;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
        if (errno != EINPROGRESS)
            return -errno;
        int err = ssh_wait_fd(fd, POLLOUT, c);
        if (err)
            return err;
        socklen_t len = sizeof err;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
            return -errno;
        if (err)
            return -err;
    }
    *ret_fd = steal_fd(&fd);
    return 0;
}

int ssh_dial(const char *host, uint16_t port, const struct origin_call *c, int *ret_fd,
             char **ret_why)
{
    struct lookup *l = NULL;
    int err = look_up(host, port, c, &l, ret_why);
    if (err)
        return err;
    int left = 0;
    for (struct addrinfo *a = l->list; a; a = a->ai_next)
        left++;
    err = -EHOSTUNREACH;
    for (struct addrinfo *a = l->list; a; a = a->ai_next, left--) {
        struct origin_call share = *c;
        if (left > 1 && c->deadline_ns != CAIRN_NEVER) {
            int64_t now = cairn_now_ns();
            int64_t part = (c->deadline_ns - now) / left;
            share.deadline_ns = now + (part < ADDRESS_MIN_NS ? ADDRESS_MIN_NS : part);
            if (share.deadline_ns > c->deadline_ns)
                share.deadline_ns = c->deadline_ns;
        }
        err = connect_one(a, &share, ret_fd);
        int ended;
        if (!err || origin_call_ended(c, &ended))
            break;
    }
    lookup_unref(l);
    switch (err) {
    case 0:
        return 0;
    case -ECONNREFUSED:
        return ssh_fail(ret_why, err,
                        "%s:%u: connection refused; does sshd run there, on this"
                        " port?",
                        host, (unsigned)port);
    case -ETIMEDOUT:
        return ssh_fail(ret_why, err,
                        "%s:%u: no answer in time; check the host, the network and"
                        " firewalls",
                        host, (unsigned)port);
    case -ENETUNREACH:
    case -EINTR:
        break;
    default:
        if (err != -ENOMEM && err != -EMFILE && err != -ENFILE)
            return ssh_fail(ret_why, -EHOSTUNREACH, "%s:%u: can't be reached (%s)", host,
                            (unsigned)port, strerror(-err));
    }
    return ssh_fail(ret_why, err, "%s:%u: %s", host, (unsigned)port, strerror(-err));
}
