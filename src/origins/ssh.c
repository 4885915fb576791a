// SPDX-License-Identifier: Apache-2.0
/*
 * libssh2 keeps one outgoing packet. While it is half sent, only the call that began it may be
 * repeated: any other call that sends (a read that enlarges the window, too) fails with BAD_USE.
 * `stuck` remembers which call that is. Waiting for it alone can't deadlock: requests that are not
 * data are small, and answers to data are small.
 *
 * Ciphers: libssh2 decrypts in 16-byte steps, so the cost per step decides; see the order below.
 */
#include "origins/ssh.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/util.h"
#include "origins/ssh_auth.h"
#include "origins/ssh_dial.h"
#include "origins/ssh_hosts.h"
#include "origins/ssh_session.h"
#include "origins/url.h"

/* Algorithms in the order we like them; those that libssh2 doesn't have are left out. */
#define KEX_METHODS                                                                                \
    "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,"        \
    "ecdh-sha2-nistp521,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,"              \
    "diffie-hellman-group-exchange-sha256,diffie-hellman-group14-sha256"
#define CIPHERS                                                                                    \
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,"              \
    "chacha20-poly1305@openssh.com"
#define MACS                                                                                       \
    "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512,"     \
    "hmac-sha1"

enum stuck { STUCK_NOT, STUCK_READING, STUCK_WRITING };

struct ssh {
    struct ssh_session session;
    LIBSSH2_CHANNEL *channel;
    enum stuck stuck;
    bool dead;
    char *name;
};

/* libssh2_init is the process's, not the connection's, and is not safe to race with itself. */
static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void library_init(void)
{
    libssh2_init(0);
}

int ssh_session_wait(struct ssh_session *s, const struct origin_call *c)
{
    int directions = libssh2_session_block_directions(s->lib);
    short events = 0;
    if (directions & LIBSSH2_SESSION_BLOCK_OUTBOUND)
        events |= POLLOUT;
    if (directions & LIBSSH2_SESSION_BLOCK_INBOUND || !events)
        events |= POLLIN;
    return ssh_wait_fd(s->fd, events, c);
}

int ssh_session_errno(int libssh2_error)
{
    switch (libssh2_error) {
    case LIBSSH2_ERROR_ALLOC:
        return -ENOMEM;
    case LIBSSH2_ERROR_KEX_FAILURE:
    case LIBSSH2_ERROR_METHOD_NONE:
    case LIBSSH2_ERROR_METHOD_NOT_SUPPORTED:
    case LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED:
    case LIBSSH2_ERROR_CHANNEL_FAILURE:
        return -EOPNOTSUPP;
    case LIBSSH2_ERROR_AUTHENTICATION_FAILED:
    case LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED:
    case LIBSSH2_ERROR_FILE:
        return -EACCES;
    default: /* the stream is out of step or gone: only a new connection helps */
        return -ECONNRESET;
    }
}

const char *ssh_session_message(struct ssh_session *s)
{
    char *text = NULL;
    libssh2_session_last_error(s->lib, &text, NULL, 0);
    return text && *text ? text : "no details";
}

static bool is_listed(const char *const *list, int count, const char *name, size_t len)
{
    for (int i = 0; i < count; i++)
        if (strlen(list[i]) == len && !memcmp(list[i], name, len))
            return true;
    return false;
}

int ssh_session_prefer(struct ssh_session *s, int type, const char *methods)
{
    const char **has = NULL;
    int count = libssh2_session_supported_algs(s->lib, type, &has);
    if (count <= 0)
        return count == LIBSSH2_ERROR_ALLOC ? -ENOMEM : -EOPNOTSUPP;
    AUTO_FREE char *list = calloc(1, strlen(methods) + 1);
    size_t n = 0;
    for (const char *p = methods; list && *p;) {
        size_t len = strcspn(p, ",");
        if (is_listed(has, count, p, len)) {
            if (n)
                list[n++] = ',';
            memcpy(list + n, p, len);
            n += len;
        }
        p += len + (p[len] == ',');
    }
    libssh2_free(s->lib, has);
    if (!list)
        return -ENOMEM;
    return n && libssh2_session_method_pref(s->lib, type, list) == 0 ? 0 : -EOPNOTSUPP;
}

static int handshake(struct ssh *s, const struct origin_call *c, char **ret_why)
{
    LIBSSH2_SESSION *lib = s->session.lib;
    for (;;) {
        int rc = libssh2_session_handshake(lib, s->session.fd);
        if (rc == 0)
            return 0;
        if (rc != LIBSSH2_ERROR_EAGAIN) {
            int err = ssh_session_errno(rc);
            const char *advice = err == -EOPNOTSUPP ? "; it offers no algorithm that we have" : "";
            return ssh_fail(ret_why, err, "%s: the SSH handshake failed (%s)%s", s->name,
                            ssh_session_message(&s->session), advice);
        }
        int err = ssh_session_wait(&s->session, c);
        if (err)
            return ssh_fail(ret_why, err, "%s: the server did not finish the SSH handshake in time",
                            s->name);
    }
}

static int open_channel(struct ssh *s, const char *subsystem, uint32_t window,
                        const struct origin_call *c, char **ret_why)
{
    LIBSSH2_SESSION *lib = s->session.lib;
    while (!s->channel) {
        s->channel = libssh2_channel_open_ex(lib, "session", sizeof "session" - 1, window,
                                             LIBSSH2_CHANNEL_PACKET_DEFAULT, NULL, 0);
        if (s->channel)
            break;
        int rc = libssh2_session_last_errno(lib);
        int err =
            rc == LIBSSH2_ERROR_EAGAIN ? ssh_session_wait(&s->session, c) : ssh_session_errno(rc);
        if (err)
            return ssh_fail(ret_why, err, "%s: the server opened no channel (%s)", s->name,
                            ssh_session_message(&s->session));
    }
    for (;;) {
        int rc = libssh2_channel_subsystem(s->channel, subsystem);
        if (rc == 0)
            break;
        int err =
            rc == LIBSSH2_ERROR_EAGAIN ? ssh_session_wait(&s->session, c) : ssh_session_errno(rc);
        if (err)
            return ssh_fail(ret_why, err, "%s: the server did not start its %s subsystem (%s)",
                            s->name, subsystem, ssh_session_message(&s->session));
    }
    /* What a login script prints to stderr would fill the window and is of no use here. */
    libssh2_channel_handle_extended_data2(s->channel, LIBSSH2_CHANNEL_EXTENDED_DATA_IGNORE);
    return 0;
}

static int prepare_session(struct ssh *s)
{
    pthread_once(&library_once, library_init);
    LIBSSH2_SESSION *lib = libssh2_session_init_ex(NULL, NULL, NULL, NULL);
    if (!lib)
        return -ENOMEM;
    s->session.lib = lib;
    libssh2_session_set_blocking(lib, 0);
    static const struct {
        int type;
        const char *methods;
    } prefs[] = {
        {LIBSSH2_METHOD_KEX, KEX_METHODS},  {LIBSSH2_METHOD_CRYPT_CS, CIPHERS},
        {LIBSSH2_METHOD_CRYPT_SC, CIPHERS}, {LIBSSH2_METHOD_MAC_CS, MACS},
        {LIBSSH2_METHOD_MAC_SC, MACS},
    };
    int err = 0;
    for (size_t i = 0; !err && i < ARRAY_LEN(prefs); i++)
        err = ssh_session_prefer(&s->session, prefs[i].type, prefs[i].methods);
    return err;
}

/* The mounting user's name and home directory; HOME wins, as with other programs. */
static int load_config(const struct origin_config *cfg, struct ssh_config *ret, char **ret_why)
{
    struct passwd pw, *found = NULL;
    char buf[4096];
    getpwuid_r(getuid(), &pw, buf, sizeof buf, &found);
    const char *home = getenv("HOME");
    if (!home || !*home)
        home = found ? found->pw_dir : "/";
    struct ssh_query q = {
        .host = cfg->url->host,
        .user = cfg->url->user,
        .port = cfg->url->port,
        .local_user = found ? found->pw_name : "nobody",
        .home = home,
        .identity = cfg->ssh_identity,
        .known_hosts = cfg->ssh_known_hosts,
    };
    int err = ssh_config_load(cfg->ssh_config, &q, ret);
    if (err && cfg->ssh_config)
        ssh_fail(ret_why, err, "%s: can't be read (%s)", cfg->ssh_config, strerror(-err));
    return err;
}

int ssh_connect(struct ssh **ret, const struct origin_config *cfg, const char *subsystem,
                uint32_t receive_window, const struct origin_call *c, char **ret_why)
{
    struct ssh_config config = {0};
    int err = load_config(cfg, &config, ret_why);
    if (err)
        return err;
    struct ssh *s = calloc(1, sizeof *s);
    if (!s) {
        ssh_config_clear(&config);
        return -ENOMEM;
    }
    s->session.fd = -1;
    s->session.config = &config;
    bool v6 = strchr(config.hostname, ':');
    if (asprintf(&s->name, v6 ? "%s@[%s]:%u" : "%s@%s:%u", config.user, config.hostname,
                 (unsigned)config.port) < 0) {
        s->name = NULL;
        err = -ENOMEM;
        goto fail;
    }
    s->session.name = s->name;
    if (config.proxy)
        log_warn(
            "%s: ssh_config asks for a proxy (%s), which is not supported: connecting directly",
            s->name, config.proxy);
    err = ssh_dial(config.hostname, config.port, c, &s->session.fd, ret_why);
    if (err)
        goto fail;
    err = prepare_session(s);
    if (err)
        goto fail;
    struct ssh_hosts *hosts = NULL;
    err = ssh_hosts_load(&hosts, &s->session);
    if (!err)
        err = ssh_hosts_prefer(hosts);
    if (!err)
        err = handshake(s, c, ret_why);
    if (!err)
        err = ssh_hosts_check(hosts, ret_why);
    ssh_hosts_free(hosts);
    if (!err)
        err = ssh_authenticate(&s->session, c, ret_why);
    if (!err)
        err = open_channel(s, subsystem, receive_window, c, ret_why);
    if (err)
        goto fail;
    s->session.config = NULL;
    ssh_config_clear(&config);
    *ret = s;
    return 0;
fail:
    s->session.config = NULL;
    ssh_close(s);
    ssh_config_clear(&config);
    return err;
}

void ssh_close(struct ssh *s)
{
    if (!s)
        return;
    if (s->session.lib) {
        if (s->stuck == STUCK_NOT && !s->dead)
            libssh2_session_disconnect(s->session.lib, "closing");
        /* On a shut socket libssh2 finds an error instead of a reason to wait: it frees all. */
        if (s->session.fd >= 0)
            shutdown(s->session.fd, SHUT_RDWR);
        for (int i = 0; i < 8 && libssh2_session_free(s->session.lib) == LIBSSH2_ERROR_EAGAIN; i++)
            ;
    }
    if (s->session.fd >= 0)
        close(s->session.fd);
    free(s->name);
    free(s);
}

const char *ssh_name(const struct ssh *s)
{
    return s->name;
}

/* What is left to do after libssh2 said `rc` to the call `who`. */
static int settle(struct ssh *s, ssize_t rc, enum stuck who)
{
    if (rc == LIBSSH2_ERROR_EAGAIN) {
        bool half_sent =
            libssh2_session_block_directions(s->session.lib) & LIBSSH2_SESSION_BLOCK_OUTBOUND;
        s->stuck = half_sent ? who : STUCK_NOT;
        return -EAGAIN;
    }
    s->dead = true;
    log_debug("%s: connection lost: %s", s->name, ssh_session_message(&s->session));
    return ssh_session_errno((int)rc) == -ENOMEM ? -ENOMEM : -ECONNRESET;
}

ssize_t ssh_read(struct ssh *s, void *buf, size_t len)
{
    if (s->dead)
        return -ECONNRESET;
    if (s->stuck == STUCK_WRITING)
        return -EAGAIN;
    ssize_t n = libssh2_channel_read_ex(s->channel, 0, buf, len);
    if (n > 0) {
        s->stuck = STUCK_NOT;
        return n;
    }
    if (n == 0) {
        if (libssh2_channel_eof(s->channel)) {
            s->dead = true;
            return -ECONNRESET;
        }
        n = LIBSSH2_ERROR_EAGAIN;
    }
    return settle(s, n, STUCK_READING);
}

ssize_t ssh_write(struct ssh *s, const void *buf, size_t len)
{
    if (s->dead)
        return -ECONNRESET;
    if (s->stuck == STUCK_READING)
        return -EAGAIN;
    ssize_t n = libssh2_channel_write_ex(s->channel, 0, buf, len);
    if (n > 0) {
        s->stuck = STUCK_NOT;
        return n;
    }
    return settle(s, n == 0 ? LIBSSH2_ERROR_EAGAIN : n, STUCK_WRITING);
}

int ssh_wait(struct ssh *s, const struct origin_call *c)
{
    return ssh_session_wait(&s->session, c);
}

bool ssh_is_alive(struct ssh *s)
{
    if (s->dead)
        return false;
    char byte;
    ssize_t n = recv(s->session.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}
