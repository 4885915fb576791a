// SPDX-License-Identifier: Apache-2.0
/*
 * The agent protocol (draft-miller-ssh-agent): packets of a 32-bit length, a type and fields, over
 * a UNIX socket, one answer per question.
 */
#include "origins/ssh_agent.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/util.h"
#include "origins/sftp_wire.h"
#include "origins/ssh_dial.h"

enum {
    AGENT_REQUEST_IDENTITIES = 11,
    AGENT_IDENTITIES_ANSWER = 12,
    AGENT_SIGN_REQUEST = 13,
    AGENT_SIGN_RESPONSE = 14,
};

#define MAX_ANSWER_BYTES (256 * KIB)
#define MAX_KEYS         2048u

struct ssh_agent {
    int fd;
    struct ssh_agent_key *keys;
    size_t count;
};

static int transfer(int fd, const struct origin_call *c, uint8_t *buf, size_t len, bool out)
{
    while (len) {
        ssize_t n = out ? send(fd, buf, len, MSG_NOSIGNAL) : recv(fd, buf, len, 0);
        if (n > 0) {
            buf += n;
            len -= (size_t)n;
            continue;
        }
        if (n == 0)
            return -ECONNRESET;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return -errno;
        int err = ssh_wait_fd(fd, out ? POLLOUT : POLLIN, c);
        if (err)
            return err;
    }
    return 0;
}

/* Sends the packet in `w` and gets the answer, of type `expect`; *ret_body is without the type. */
static int ask(struct ssh_agent *a, const struct origin_call *c, struct sftp_writer *w,
               uint8_t expect, uint8_t **ret_body, size_t *ret_len)
{
    sftp_packet_end(w);
    if (w->overflow)
        return -E2BIG;
    int err = transfer(a->fd, c, w->buf, w->len, true);
    uint8_t head[5];
    if (!err)
        err = transfer(a->fd, c, head, sizeof head, false);
    if (err)
        return err;
    struct sftp_reader r = {.p = head, .left = sizeof head};
    uint32_t len = sftp_get_u32(&r);
    if (len < 1 || len > MAX_ANSWER_BYTES)
        return -EBADMSG;
    len--;
    uint8_t *body = malloc(len + 1);
    if (!body)
        return -ENOMEM;
    err = transfer(a->fd, c, body, len, false);
    if (!err && head[4] != expect)
        err = -EACCES;
    if (err) {
        free(body);
        return err;
    }
    *ret_body = body;
    *ret_len = len;
    return 0;
}

static int read_keys(struct ssh_agent *a, const struct origin_call *c)
{
    uint8_t packet[8];
    struct sftp_writer w = {.buf = packet, .cap = sizeof packet};
    sftp_packet_begin(&w, AGENT_REQUEST_IDENTITIES);
    AUTO_FREE uint8_t *body = NULL;
    size_t len;
    int err = ask(a, c, &w, AGENT_IDENTITIES_ANSWER, &body, &len);
    if (err)
        return err;
    struct sftp_reader r = {.p = body, .left = len};
    uint32_t count = sftp_get_u32(&r);
    if (count > MAX_KEYS)
        return -EBADMSG;
    a->keys = calloc(count ? count : 1, sizeof *a->keys);
    if (!a->keys)
        return -ENOMEM;
    for (uint32_t i = 0; i < count && !r.bad; i++) {
        size_t blob_len, comment_len;
        const uint8_t *blob = sftp_get_string(&r, &blob_len);
        const uint8_t *comment = sftp_get_string(&r, &comment_len);
        if (r.bad)
            break;
        struct ssh_agent_key *k = &a->keys[a->count++];
        k->blob = malloc(blob_len ? blob_len : 1);
        k->comment = strndup((const char *)comment, comment_len);
        if (!k->blob || !k->comment)
            return -ENOMEM;
        memcpy(k->blob, blob, blob_len);
        k->blob_len = blob_len;
    }
    return r.bad ? -EBADMSG : 0;
}

int ssh_agent_open(struct ssh_agent **ret, const char *path, const struct origin_call *c)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof addr.sun_path)
        return -ENAMETOOLONG;
    strcpy(addr.sun_path, path);
    struct ssh_agent *a = calloc(1, sizeof *a);
    if (!a)
        return -ENOMEM;
    a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int err = a->fd < 0 ? -errno : 0;
    if (!err && connect(a->fd, (const struct sockaddr *)&addr, sizeof addr) < 0)
        err = -errno;
    if (!err)
        err = read_keys(a, c);
    if (err) {
        ssh_agent_close(a);
        return err;
    }
    *ret = a;
    return 0;
}

const struct ssh_agent_key *ssh_agent_keys(const struct ssh_agent *a, size_t *ret_count)
{
    *ret_count = a->count;
    return a->keys;
}

int ssh_agent_sign(struct ssh_agent *a, const struct origin_call *c,
                   const struct ssh_agent_key *key, const void *data, size_t len, uint32_t flags,
                   uint8_t **ret_sig, size_t *ret_sig_len)
{
    size_t cap = key->blob_len + len + 32;
    AUTO_FREE uint8_t *packet = malloc(cap);
    if (!packet)
        return -ENOMEM;
    struct sftp_writer w = {.buf = packet, .cap = cap};
    sftp_packet_begin(&w, AGENT_SIGN_REQUEST);
    sftp_put_string(&w, key->blob, key->blob_len);
    sftp_put_string(&w, data, len);
    sftp_put_u32(&w, flags);
    AUTO_FREE uint8_t *body = NULL;
    size_t body_len;
    int err = ask(a, c, &w, AGENT_SIGN_RESPONSE, &body, &body_len);
    if (err)
        return err;
    struct sftp_reader r = {.p = body, .left = body_len};
    size_t n;
    const uint8_t *p = sftp_get_string(&r, &n);
    struct sftp_reader inner = {.p = p, .left = n};
    size_t sig_len;
    sftp_get_string(&inner, &sig_len); /* the signature's type */
    const uint8_t *sig = sftp_get_string(&inner, &sig_len);
    if (r.bad || inner.bad)
        return -EBADMSG;
    uint8_t *copy = malloc(sig_len ? sig_len : 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, sig, sig_len);
    *ret_sig = copy;
    *ret_sig_len = sig_len;
    return 0;
}

void ssh_agent_close(struct ssh_agent *a)
{
    if (!a)
        return;
    if (a->fd >= 0)
        close(a->fd);
    for (size_t i = 0; i < a->count; i++) {
        free(a->keys[i].blob);
        free(a->keys[i].comment);
    }
    free(a->keys);
    free(a);
}
