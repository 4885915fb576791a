// SPDX-License-Identifier: Apache-2.0
/*
 * Public key authentication (RFC 4252). The agent signs through libssh2's signing callback, so its
 * waits are ours. With IdentitiesOnly, or if a key file was named, agent keys that belong to the
 * named files (by their .pub) come first; IdentitiesOnly drops the others.
 *
 * libssh2 before 1.11 signs with SHA-1 for RSA keys, which servers refuse since OpenSSH 8.8. For
 * agent keys the algorithm's name is put in front of the key instead (see sign_name), which sends
 * rsa-sha2-512; an RSA key file has to be loaded into an agent.
 */
#include "origins/ssh_auth.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "origins/sftp_wire.h"
#include "origins/ssh_agent.h"
#include "origins/ssh_dial.h"
#include "origins/ssh_hosts.h"

#define MAX_KEY_FILE_BYTES (256 * KIB)

struct auth {
    struct ssh_session *s;
    const struct origin_call *c;
    struct ssh_agent *agent;
    FILE *tried; /* what was tried and how it ended, for the user */
    unsigned attempts;
    /* while a key of the agent signs: */
    const struct ssh_agent_key *key;
    uint32_t flags;
    int sign_err;
};

__attribute__((format(printf, 2, 3))) static void note(struct auth *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (ftell(a->tried) > 0)
        fputs(", ", a->tried);
    vfprintf(a->tried, fmt, ap);
    va_end(ap);
}

static int sign_with_agent(LIBSSH2_SESSION *session, unsigned char **sig, size_t *sig_len,
                           const unsigned char *data, size_t data_len, void **abstract)
{
    struct auth *a = *abstract;
    a->sign_err = ssh_agent_sign(a->agent, a->c, a->key, data, data_len, a->flags, sig, sig_len);
    return a->sign_err ? LIBSSH2_ERROR_AUTHENTICATION_FAILED : 0;
}

/* What a failed attempt means: 0 = try the next key. */
static int next_or_fail(struct auth *a, int rc)
{
    switch (rc) {
    case LIBSSH2_ERROR_AUTHENTICATION_FAILED:
    case LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED:
    case LIBSSH2_ERROR_FILE:
    case LIBSSH2_ERROR_METHOD_NONE:
    case LIBSSH2_ERROR_METHOD_NOT_SUPPORTED:
        return 0;
    default:
        return ssh_session_errno(rc);
    }
}

static bool blob_type_is(const struct ssh_agent_key *k, const char *type)
{
    struct sftp_reader r = {.p = k->blob, .left = k->blob_len};
    size_t n;
    const uint8_t *name = sftp_get_string(&r, &n);
    return !r.bad && n == strlen(type) && !memcmp(name, type, n);
}

/* The key as libssh2 is to send it: an RSA key gets its signature algorithm as its name. */
static int sign_name(const struct ssh_agent_key *k, uint8_t **ret, size_t *ret_len)
{
    static const char rsa[] = "ssh-rsa", sha2[] = "rsa-sha2-512";
    size_t extra = sizeof sha2 - sizeof rsa;
    uint8_t *p = malloc(k->blob_len + extra);
    if (!p)
        return -ENOMEM;
    struct sftp_writer w = {.buf = p, .cap = k->blob_len + extra};
    sftp_put_string(&w, sha2, sizeof sha2 - 1);
    size_t rest = k->blob_len - 4 - (sizeof rsa - 1);
    memcpy(p + w.len, k->blob + 4 + sizeof rsa - 1, rest);
    *ret = p;
    *ret_len = w.len + rest;
    return 0;
}

/* 1 = accepted, 0 = refused. */
static int try_agent_key(struct auth *a, const struct ssh_agent_key *k)
{
    struct ssh_session *s = a->s;
    uint8_t *blob = k->blob;
    size_t len = k->blob_len;
    AUTO_FREE uint8_t *renamed = NULL;
    a->key = k;
    a->flags = 0;
    a->sign_err = 0;
    if (blob_type_is(k, "ssh-rsa")) {
        a->flags = SSH_AGENT_RSA_SHA2_512;
        if (!libssh2_version(0x010b00)) {
            int err = sign_name(k, &renamed, &len);
            if (err)
                return err;
            blob = renamed;
        }
    }
    a->attempts++;
    void *self = a;
    for (;;) {
        int rc =
            libssh2_userauth_publickey(s->lib, s->config->user, blob, len, sign_with_agent, &self);
        if (rc == 0)
            return 1;
        if (rc != LIBSSH2_ERROR_EAGAIN) {
            bool agents_fault = a->sign_err != 0;
            note(a, "agent key %s%s", k->comment, agents_fault ? " (the agent did not sign)" : "");
            if (a->sign_err == -ETIMEDOUT || a->sign_err == -EINTR)
                return a->sign_err;
            return next_or_fail(a, rc);
        }
        int err = ssh_session_wait(s, a->c);
        if (err)
            return err;
    }
}

/* True if `k` is the key of one of the named files, by the .pub beside it. */
static bool key_of_named_file(struct auth *a, const struct ssh_agent_key *k)
{
    AUTO_FREE char *text = ssh_base64(k->blob, k->blob_len, true);
    for (char **f = a->s->config->identities; text && *f; f++) {
        AUTO_FREE char *pub = NULL;
        if (asprintf(&pub, "%s.pub", *f) < 0) {
            pub = NULL;
            return false;
        }
        AUTO_FREE char *line = NULL;
        if (ssh_read_file(pub, MAX_KEY_FILE_BYTES, &line, NULL))
            continue;
        char *save, *type = strtok_r(line, " \t\r\n", &save);
        char *key = type ? strtok_r(NULL, " \t\r\n", &save) : NULL;
        if (key && !strcmp(key, text))
            return true;
    }
    return false;
}

static int try_agent(struct auth *a)
{
    const char *path = getenv("SSH_AUTH_SOCK");
    if (!path || !*path)
        return 0;
    int err = ssh_agent_open(&a->agent, path, a->c);
    if (err == -ETIMEDOUT || err == -EINTR || err == -ENOMEM)
        return err;
    if (err) {
        note(a, "ssh-agent (%s)", strerror(-err));
        return 0;
    }
    size_t count;
    const struct ssh_agent_key *keys = ssh_agent_keys(a->agent, &count);
    /* A server hangs up after a few refused keys: the likeliest first. */
    for (int named = 1; named >= 0; named--) {
        if (!named && a->s->config->identities_only)
            break;
        for (size_t i = 0; i < count; i++) {
            if (key_of_named_file(a, &keys[i]) != (named == 1))
                continue;
            int rc = try_agent_key(a, &keys[i]);
            if (rc)
                return rc;
        }
    }
    return 0;
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = c ? strchr(digits, c) : NULL;
    return p ? (int)(p - digits) : -1;
}

/* True if the private key in `text` needs a passphrase: PEM says so in words, OpenSSH's format in
 * its cipher's name, which lies within the first bytes and is not secret. */
static bool key_is_encrypted(const char *text)
{
    static const char begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
    if (strstr(text, "BEGIN ENCRYPTED PRIVATE KEY") || strstr(text, "Proc-Type: 4,ENCRYPTED"))
        return true;
    const char *p = strstr(text, begin);
    if (!p)
        return false;
    uint8_t head[48];
    size_t n = 0;
    uint32_t bits = 0;
    int have = 0;
    for (p += sizeof begin - 1; *p && n < sizeof head; p++) {
        int v = base64_value(*p);
        if (v < 0)
            continue;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            head[n++] = (uint8_t)(bits >> have);
        }
    }
    static const char magic[] = "openssh-key-v1";
    if (n < sizeof magic || memcmp(head, magic, sizeof magic) != 0)
        return false;
    struct sftp_reader r = {.p = head + sizeof magic, .left = n - sizeof magic};
    size_t len;
    const uint8_t *cipher = sftp_get_string(&r, &len);
    return !r.bad && !(len == 4 && !memcmp(cipher, "none", 4));
}

/* 1 = accepted, 0 = refused or not usable. */
static int try_key_text(struct auth *a, const char *path, const char *text, size_t len)
{
    struct ssh_session *s = a->s;
    if (key_is_encrypted(text)) {
        note(a, "%s (has a passphrase: load it into ssh-agent with ssh-add)", path);
        return 0;
    }
    a->attempts++;
    for (;;) {
        int rc = libssh2_userauth_publickey_frommemory(
            s->lib, s->config->user, strlen(s->config->user), NULL, 0, text, len, NULL);
        if (rc == 0)
            return 1;
        if (rc != LIBSSH2_ERROR_EAGAIN) {
            bool rsa = strstr(path, "rsa") && !libssh2_version(0x010b00);
            bool bad = rc == LIBSSH2_ERROR_FILE;
            note(a, "%s%s", path,
                 bad   ? " (not a private key that can be read)"
                 : rsa ? " (this libssh2 signs with SHA-1 for RSA: load the key into ssh-agent)"
                       : "");
            return next_or_fail(a, rc);
        }
        int err = ssh_session_wait(s, a->c);
        if (err)
            return err;
    }
}

static int try_files(struct auth *a)
{
    for (char **f = a->s->config->identities; *f; f++) {
        char *text;
        size_t len;
        int rc = ssh_read_file(*f, MAX_KEY_FILE_BYTES, &text, &len);
        if (rc == -ENOMEM)
            return rc;
        if (rc) {
            if (a->s->config->identities_given)
                note(a, "%s (%s)", *f, strerror(-rc));
            continue;
        }
        rc = try_key_text(a, *f, text, len);
        explicit_bzero(text, len);
        free(text);
        if (rc)
            return rc;
    }
    return 0;
}

/* Asks what the server accepts, which also tells it our name. 1 = it lets us in without a proof,
 * 0 = it wants one of *ret_methods (owned by libssh2). */
static int ask_methods(struct auth *a, const char **ret_methods)
{
    struct ssh_session *s = a->s;
    for (;;) {
        const char *methods =
            libssh2_userauth_list(s->lib, s->config->user, (unsigned)strlen(s->config->user));
        if (methods) {
            *ret_methods = methods;
            return 0;
        }
        if (libssh2_userauth_authenticated(s->lib))
            return 1;
        int rc = libssh2_session_last_errno(s->lib);
        int err = rc == LIBSSH2_ERROR_EAGAIN ? ssh_session_wait(s, a->c) : ssh_session_errno(rc);
        if (err)
            return err;
    }
}

int ssh_authenticate(struct ssh_session *s, const struct origin_call *c, char **ret_why)
{
    char *tried = NULL;
    size_t tried_len = 0;
    struct auth a = {.s = s, .c = c, .tried = open_memstream(&tried, &tried_len)};
    if (!a.tried)
        return -ENOMEM;
    const char *methods = "";
    int rc = ask_methods(&a, &methods);
    bool possible = rc == 0 && strstr(methods, "publickey");
    AUTO_FREE char *offered = strdup(methods);
    if (possible)
        rc = try_agent(&a);
    if (possible && rc == 0)
        rc = try_files(&a);
    ssh_agent_close(a.agent);
    fclose(a.tried);
    if (rc == 1) {
        rc = 0;
    } else if (rc == 0 && !possible) {
        rc = ssh_fail(ret_why, -EACCES, "%s: the server accepts no keys, only: %s", s->name,
                      offered ? offered : "");
    } else if (rc == 0) {
        rc = ssh_fail(ret_why, -EACCES,
                      "%s: permission denied: %s%s; add a key of yours to"
                      " ~/.ssh/authorized_keys there",
                      s->name,
                      tried && *tried ? "no key was accepted, tried "
                                      : "there is no key to try:"
                                        " none in ssh-agent and none in ~/.ssh",
                      tried ? tried : "");
    } else if (rc == -ECONNRESET && a.attempts) {
        rc = ssh_fail(ret_why, -EACCES,
                      "%s: the server hung up after %u keys (%s); name the right"
                      " one with -o ssh_identity or set IdentitiesOnly",
                      s->name, a.attempts, tried ? tried : "");
    } else if (rc != -ENOMEM) {
        ssh_fail(ret_why, rc, "%s: %s while proving who we are", s->name, strerror(-rc));
    }
    free(tried);
    return rc;
}
