// SPDX-License-Identifier: Apache-2.0
/*
 * sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". libssh2 matches plain and hashed names; lines are fed
 * to it one by one, so that one which it doesn't understand spoils no other. Patterns and the
 * @revoked marker, which it lacks, are resolved here: a pattern that fits our host is added under
 * the host's plain name. Certificates (@cert-authority) are not used.
 */
#include "origins/ssh_hosts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "origins/ssh_dial.h"

#define MAX_KNOWN_HOSTS_BYTES (64 * MIB)
#define SYSTEM_KNOWN_HOSTS    "/etc/ssh/ssh_known_hosts"

struct ssh_hosts {
    struct ssh_session *session;
    LIBSSH2_KNOWNHOSTS *known;
    char *bracketed; /* "[host]:port" */
    char **revoked;  /* base64 of revoked keys that fit this host */
    size_t revoked_count;
};

static const struct key_type {
    int hostkey; /* LIBSSH2_HOSTKEY_TYPE_* */
    int known;   /* LIBSSH2_KNOWNHOST_KEY_* */
    const char *name;
    const char *methods; /* signature algorithms that use such a key, best first */
} key_types[] = {
    {LIBSSH2_HOSTKEY_TYPE_ED25519, LIBSSH2_KNOWNHOST_KEY_ED25519, "ssh-ed25519", "ssh-ed25519"},
    {LIBSSH2_HOSTKEY_TYPE_ECDSA_256, LIBSSH2_KNOWNHOST_KEY_ECDSA_256, "ecdsa-sha2-nistp256",
     "ecdsa-sha2-nistp256"},
    {LIBSSH2_HOSTKEY_TYPE_ECDSA_384, LIBSSH2_KNOWNHOST_KEY_ECDSA_384, "ecdsa-sha2-nistp384",
     "ecdsa-sha2-nistp384"},
    {LIBSSH2_HOSTKEY_TYPE_ECDSA_521, LIBSSH2_KNOWNHOST_KEY_ECDSA_521, "ecdsa-sha2-nistp521",
     "ecdsa-sha2-nistp521"},
    {LIBSSH2_HOSTKEY_TYPE_RSA, LIBSSH2_KNOWNHOST_KEY_SSHRSA, "ssh-rsa",
     "rsa-sha2-512,rsa-sha2-256,ssh-rsa"},
};

static bool host_fits(const struct ssh_hosts *h, const char *patterns)
{
    const struct ssh_session *s = h->session;
    if (ssh_patterns_match(h->bracketed, patterns))
        return true;
    return ssh_patterns_match(s->config->hostname, patterns);
}

static int add_revoked(struct ssh_hosts *h, const char *key)
{
    char **grown = realloc(h->revoked, (h->revoked_count + 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    h->revoked = grown;
    char *copy = strdup(key);
    if (!copy)
        return -ENOMEM;
    grown[h->revoked_count++] = copy;
    return 0;
}

/* Cuts the next blank-separated field off *line. */
static char *next_field(char **line)
{
    char *s = *line + strspn(*line, " \t");
    size_t n = strcspn(s, " \t\r");
    *line = s + n + (s[n] != '\0');
    s[n] = '\0';
    return s;
}

static int add_line(struct ssh_hosts *h, char *line)
{
    line += strspn(line, " \t");
    if (!*line || *line == '#' || *line == '\r')
        return 0;
    if (*line == '@') {
        char *marker = next_field(&line);
        char *names = next_field(&line);
        next_field(&line);
        char *key = next_field(&line);
        return !strcmp(marker, "@revoked") && *key && host_fits(h, names) ? add_revoked(h, key) : 0;
    }
    size_t names = strcspn(line, " \t");
    if (line[names] && line[0] != '|' && strcspn(line, "*?!") < names) {
        line[names] = '\0';
        if (!host_fits(h, line))
            return 0;
        AUTO_FREE char *plain = NULL;
        int n = asprintf(&plain, "%s %s", h->bracketed, line + names + 1);
        if (n < 0) {
            plain = NULL;
            return -ENOMEM;
        }
        libssh2_knownhost_readline(h->known, plain, (size_t)n, LIBSSH2_KNOWNHOST_FILE_OPENSSH);
        return 0;
    }
    /* A line that it doesn't understand is one that can't vouch for a key. */
    libssh2_knownhost_readline(h->known, line, strlen(line), LIBSSH2_KNOWNHOST_FILE_OPENSSH);
    return 0;
}

static int add_file(struct ssh_hosts *h, const char *path)
{
    AUTO_FREE char *text = NULL;
    int err = ssh_read_file(path, MAX_KNOWN_HOSTS_BYTES, &text, NULL);
    if (err)
        return err == -ENOMEM ? err : 0;
    for (char *line = text; *line;) {
        size_t n = strcspn(line, "\n");
        char *next = line + n + (line[n] == '\n');
        line[n] = '\0';
        err = add_line(h, line);
        if (err)
            return err;
        line = next;
    }
    return 0;
}

int ssh_hosts_load(struct ssh_hosts **ret, struct ssh_session *s)
{
    struct ssh_hosts *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    h->session = s;
    h->known = libssh2_knownhost_init(s->lib);
    int n = asprintf(&h->bracketed, "[%s]:%u", s->config->hostname, (unsigned)s->config->port);
    if (n < 0)
        h->bracketed = NULL;
    int err = h->known && h->bracketed ? 0 : -ENOMEM;
    for (char **f = s->config->known_hosts; !err && *f; f++)
        err = add_file(h, *f);
    if (!err)
        err = add_file(h, SYSTEM_KNOWN_HOSTS);
    if (err) {
        ssh_hosts_free(h);
        return err;
    }
    *ret = h;
    return 0;
}

static int look_up(struct ssh_hosts *h, const char *key, size_t len, int known_type)
{
    return libssh2_knownhost_checkp(
        h->known, h->session->config->hostname, h->session->config->port, key, len,
        LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_RAW | known_type, NULL);
}

/* Any key of this type would be answered with "mismatch" if the host has one on record. */
static bool knows_type(struct ssh_hosts *h, const struct key_type *t)
{
    int rc = look_up(h, "?", 1, t->known);
    return rc == LIBSSH2_KNOWNHOST_CHECK_MISMATCH || rc == LIBSSH2_KNOWNHOST_CHECK_MATCH;
}

int ssh_hosts_prefer(struct ssh_hosts *h)
{
    char list[512];
    size_t n = 0;
    for (int known = 1; known >= 0; known--)
        for (size_t i = 0; i < ARRAY_LEN(key_types); i++)
            if (knows_type(h, &key_types[i]) == (known == 1))
                n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? "," : "",
                                      key_types[i].methods);
    return ssh_session_prefer(h->session, LIBSSH2_METHOD_HOSTKEY, list);
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *ssh_base64(const void *data, size_t len, bool pad)
{
    const unsigned char *p = data;
    char *out = malloc((len + 2) / 3 * 4 + 1), *o = out;
    if (!out)
        return NULL;
    for (; len >= 3; len -= 3, p += 3) {
        *o++ = base64_digits[p[0] >> 2];
        *o++ = base64_digits[(p[0] & 3) << 4 | p[1] >> 4];
        *o++ = base64_digits[(p[1] & 15) << 2 | p[2] >> 6];
        *o++ = base64_digits[p[2] & 63];
    }
    if (len) {
        unsigned char second = len > 1 ? p[1] : 0;
        *o++ = base64_digits[p[0] >> 2];
        *o++ = base64_digits[(p[0] & 3) << 4 | second >> 4];
        if (len > 1)
            *o++ = base64_digits[(second & 15) << 2];
        for (size_t i = len; pad && i < 3; i++)
            *o++ = '=';
    }
    *o = '\0';
    return out;
}

int ssh_hosts_check(struct ssh_hosts *h, char **ret_why)
{
    struct ssh_session *s = h->session;
    size_t len;
    int hostkey;
    const char *key = libssh2_session_hostkey(s->lib, &len, &hostkey);
    const char *hash = libssh2_hostkey_hash(s->lib, LIBSSH2_HOSTKEY_HASH_SHA256);
    if (!key || !hash)
        return ssh_fail(ret_why, -EKEYREJECTED, "%s: the server sent no host key", s->name);
    AUTO_FREE char *print = ssh_base64(hash, 32, false);
    AUTO_FREE char *text = ssh_base64(key, len, true);
    if (!print || !text)
        return -ENOMEM;
    const struct key_type *type = NULL;
    for (size_t i = 0; i < ARRAY_LEN(key_types); i++)
        if (key_types[i].hostkey == hostkey)
            type = &key_types[i];
    if (!type)
        return ssh_fail(ret_why, -EKEYREJECTED,
                        "%s: the host key SHA256:%s is of a kind that can't be checked", s->name,
                        print);
    for (size_t i = 0; i < h->revoked_count; i++)
        if (!strcmp(h->revoked[i], text))
            return ssh_fail(ret_why, -EKEYREJECTED,
                            "%s: the host key (%s SHA256:%s) is marked @revoked in known_hosts:"
                            " do not trust this server",
                            s->name, type->name, print);
    bool other = false;
    for (size_t i = 0; i < ARRAY_LEN(key_types); i++)
        other |= knows_type(h, &key_types[i]);
    const char *first = s->config->known_hosts[0] ? s->config->known_hosts[0] : SYSTEM_KNOWN_HOSTS;
    unsigned port = s->config->port;
    int rc = look_up(h, key, len, type->known);
    if (rc == LIBSSH2_KNOWNHOST_CHECK_MATCH)
        return 0;
    if (rc == LIBSSH2_KNOWNHOST_CHECK_MISMATCH || other)
        return ssh_fail(ret_why, -EKEYREJECTED,
                        "%s: the host key HAS CHANGED: it is now %s SHA256:%s, %s has another one;"
                        " someone may be listening in; if the change is genuine, remove the old key"
                        " with: ssh-keygen -f %s -R '%s'",
                        s->name, type->name, print, first, first,
                        port == 22 ? s->config->hostname : h->bracketed);
    return ssh_fail(ret_why, -EKEYREJECTED,
                    "%s: the host key is unknown: %s SHA256:%s; compare this fingerprint with the"
                    " server's, then: ssh-keyscan -p %u %s >> %s",
                    s->name, type->name, print, port, s->config->hostname, first);
}

void ssh_hosts_free(struct ssh_hosts *h)
{
    if (!h)
        return;
    if (h->known)
        libssh2_knownhost_free(h->known);
    for (size_t i = 0; i < h->revoked_count; i++)
        free(h->revoked[i]);
    free(h->revoked);
    free(h->bracketed);
    free(h);
}
