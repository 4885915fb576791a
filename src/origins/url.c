// SPDX-License-Identifier: Apache-2.0
/*
 * Origin URLs after RFC 3986, narrowed to what names a tree of files: no query, no fragment, no
 * password. Each refusal says in one line what is wrong and what to write instead.
 */
#include "origins/url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

struct scheme {
    const char *name;
    bool has_host;
};

static const struct scheme schemes[] = {{"file", false}, {"sftp", true}};

#define KNOWN_SCHEMES "file://, sftp://"

__attribute__((format(printf, 2, 3))) static int refuse(char **ret_why, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *why;
    int n = vasprintf(&why, fmt, ap);
    va_end(ap);
    if (n < 0)
        return -ENOMEM;
    for (char *p = why; *p; p++) /* what the user typed may hold anything; one line stays one */
        if ((unsigned char)*p < ' ')
            *p = '?';
    *ret_why = why;
    return -EINVAL;
}

static const struct scheme *find_scheme(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (strlen(schemes[i].name) == len && !strncasecmp(schemes[i].name, name, len))
            return &schemes[i];
    return NULL;
}

/* Bytes of `text` that are a scheme by RFC 3986, if a ':' follows; else 0. */
static size_t scheme_len(const char *text)
{
    if (!isalpha((unsigned char)*text))
        return 0;
    size_t n = 1;
    while (isalnum((unsigned char)text[n]) || (text[n] && strchr("+-.", text[n])))
        n++;
    return text[n] == ':' ? n : 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX of text[0..len); `what` names the part in a refusal. */
static int decode(const char *text, size_t len, const char *what, char **ret, char **ret_why)
{
    AUTO_FREE char *out = malloc(len + 1);
    if (!out)
        return -ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%') {
            out[n++] = text[i];
            continue;
        }
        bool whole = i + 2 < len;
        int hi = whole ? hex_value(text[i + 1]) : -1;
        int lo = whole ? hex_value(text[i + 2]) : -1;
        if (hi < 0 || lo < 0)
            return refuse(ret_why,
                          "%s: '%%' must be followed by two hex digits in the %s; write %%25"
                          " for a plain '%%'",
                          text, what);
        int byte = hi * 16 + lo;
        if (byte == 0 || byte == '/')
            return refuse(ret_why, "%s: %%%02X can't stand in the %s", text, (unsigned)byte, what);
        out[n++] = (char)byte;
        i += 2;
    }
    out[n] = '\0';
    *ret = STEAL(out);
    return 0;
}

/* In place: one slash between components, no "." components, none at the end. */
static void tidy_path(char *path)
{
    char *out = path;
    for (const char *p = path; *p;) {
        while (*p == '/')
            p++;
        size_t n = strcspn(p, "/");
        if (n && !(n == 1 && *p == '.')) {
            *out++ = '/';
            memmove(out, p, n);
            out += n;
        }
        p += n;
    }
    if (out == path)
        *out++ = '/';
    *out = '\0';
}

static int parse_plain(const char *text, struct origin_url *u, char **ret_why)
{
    size_t colon = strcspn(text, ":/");
    if (text[colon] == ':' && colon > 0 && text[0] != '.') {
        size_t s = scheme_len(text);
        if (s && find_scheme(text, s))
            return refuse(ret_why, "%s: write %.*s:// and then %s", text, (int)s, text,
                          find_scheme(text, s)->has_host ? "host/path" : "an absolute path");
        return refuse(ret_why,
                      "%s: not a URL; write sftp://%.*s/path for a host, or ./%s for a"
                      " local directory",
                      text, (int)colon, text, text);
    }
    u->scheme = strdup("file");
    if (text[0] == '/') {
        u->path = strdup(text);
    } else {
        AUTO_FREE char *cwd = getcwd(NULL, 0);
        if (!cwd)
            return refuse(ret_why,
                          "%s: the current directory has no name (%s); give an absolute"
                          " path",
                          text, strerror(errno));
        if (asprintf(&u->path, "%s/%s", cwd, text) < 0)
            u->path = NULL;
    }
    return u->scheme && u->path ? 0 : -ENOMEM;
}

static int parse_port(const char *text, const char *port, size_t len, struct origin_url *u,
                      char **ret_why)
{
    unsigned long n = 0;
    bool good = len > 0 && len <= 5;
    for (size_t i = 0; good && i < len; i++) {
        good = port[i] >= '0' && port[i] <= '9';
        n = n * 10 + (unsigned long)(port[i] - '0');
    }
    if (!good || n == 0 || n > 65535)
        return refuse(ret_why, "%s: the port must be a number from 1 to 65535", text);
    u->port = (uint16_t)n;
    return 0;
}

static int parse_host(const char *text, const char *host, size_t len, struct origin_url *u,
                      char **ret_why)
{
    AUTO_FREE char *name = NULL;
    const char *port = NULL;
    if (len && host[0] == '[') {
        const char *end = memchr(host, ']', len);
        if (!end)
            return refuse(ret_why, "%s: ']' is missing after the IPv6 address", text);
        int err = decode(host + 1, (size_t)(end - host - 1), "host", &name, ret_why);
        if (err)
            return err;
        AUTO_FREE char *bare = strndup(name, strcspn(name, "%"));
        struct in6_addr addr;
        if (!bare)
            return -ENOMEM;
        if (inet_pton(AF_INET6, bare, &addr) != 1)
            return refuse(ret_why, "%s: %s is not an IPv6 address", text, name);
        size_t rest = len - (size_t)(end + 1 - host);
        if (rest && end[1] != ':')
            return refuse(ret_why, "%s: only ':' and a port may follow ']'", text);
        if (rest)
            port = end + 2;
    } else {
        const char *colon = memchr(host, ':', len);
        size_t n = colon ? (size_t)(colon - host) : len;
        if (colon && memchr(colon + 1, ':', len - n - 1))
            return refuse(ret_why, "%s: write an IPv6 address in brackets, as in sftp://[::1]/x",
                          text);
        int err = decode(host, n, "host", &name, ret_why);
        if (err)
            return err;
        if (!*name)
            return refuse(ret_why, "%s: the host is missing; write %s://host/path", text,
                          u->scheme);
        for (const char *p = name; *p; p++)
            if (!isalnum((unsigned char)*p) && !strchr("-._", *p))
                return refuse(ret_why, "%s: '%c' can't stand in a host name", text, *p);
        if (*name == '-') /* never let a host look like an option to a program that we run */
            return refuse(ret_why, "%s: a host name can't begin with '-'", text);
        if (colon)
            port = colon + 1;
    }
    for (char *p = name; *p && *p != '%'; p++)
        *p = (char)tolower((unsigned char)*p);
    if (port) {
        int err = parse_port(text, port, len - (size_t)(port - host), u, ret_why);
        if (err)
            return err;
    }
    u->host = STEAL(name);
    return 0;
}

static int parse_authority(const char *text, const char *auth, size_t len, bool has_host,
                           struct origin_url *u, char **ret_why)
{
    if (!has_host) {
        if (len == 0 || (len == 9 && !strncasecmp(auth, "localhost", 9)))
            return 0;
        return refuse(ret_why, "%s: three slashes come before a local path: file:///%s", text,
                      auth);
    }
    const char *at = memrchr(auth, '@', len);
    if (at) {
        size_t n = (size_t)(at - auth);
        const char *colon = memchr(auth, ':', n);
        if (colon) /* the text stays out of the message: it holds the password */
            return refuse(ret_why,
                          "a password can't stand in the URL; use a key or an agent, and"
                          " write %s://%.*s@%.*s",
                          u->scheme, (int)(colon - auth), auth, (int)(len - n - 1), at + 1);
        int err = decode(auth, n, "user", &u->user, ret_why);
        if (err)
            return err;
        if (!*u->user || *u->user == '-')
            return refuse(ret_why, "%s: a user name must stand before the '@'", text);
        len -= n + 1;
        auth = at + 1;
    }
    return parse_host(text, auth, len, u, ret_why);
}

static int parse_url(const char *text, size_t scheme, struct origin_url *u, char **ret_why)
{
    const struct scheme *s = find_scheme(text, scheme);
    if (!s)
        return refuse(ret_why,
                      "%.*s://: unknown kind of origin; known are " KNOWN_SCHEMES
                      " and a plain path",
                      (int)scheme, text);
    u->scheme = strdup(s->name);
    if (!u->scheme)
        return -ENOMEM;
    const char *auth = text + scheme + 3;
    size_t len = strcspn(auth, "/");
    int err = parse_authority(text, auth, len, s->has_host, u, ret_why);
    if (err)
        return err;
    const char *path = auth + len;
    if (!*path && !s->has_host)
        return refuse(ret_why, "%s: the path is missing; write file:///path", text);
    size_t reserved = strcspn(path, "?#");
    if (path[reserved])
        return refuse(ret_why, "%s: write %%%02X for '%c' in the path", text,
                      (unsigned)path[reserved], path[reserved]);
    if (!*path)
        path = "/";
    return decode(path, strlen(path), "path", &u->path, ret_why);
}

int origin_url_parse(const char *text, struct origin_url **ret, char **ret_why)
{
    if (!*text)
        return refuse(ret_why, "the origin is empty; give " KNOWN_SCHEMES " or a path");
    struct origin_url *u = calloc(1, sizeof *u);
    if (!u)
        return -ENOMEM;
    size_t s = scheme_len(text);
    int err = s && !strncmp(text + s, "://", 3) ? parse_url(text, s, u, ret_why)
                                                : parse_plain(text, u, ret_why);
    if (err) {
        origin_url_free(u);
        return err;
    }
    tidy_path(u->path);
    *ret = u;
    return 0;
}

struct origin_url *origin_url_copy(const struct origin_url *u)
{
    struct origin_url *copy = calloc(1, sizeof *copy);
    if (!copy)
        return NULL;
    copy->port = u->port;
    copy->scheme = strdup(u->scheme);
    copy->path = strdup(u->path);
    copy->user = u->user ? strdup(u->user) : NULL;
    copy->host = u->host ? strdup(u->host) : NULL;
    if (copy->scheme && copy->path && !copy->user == !u->user && !copy->host == !u->host)
        return copy;
    origin_url_free(copy);
    return NULL;
}

void origin_url_free(struct origin_url *u)
{
    if (!u)
        return;
    free(u->scheme);
    free(u->user);
    free(u->host);
    free(u->path);
    free(u);
}

static char *encode(char *out, const char *text, const char *keep)
{
    for (; *text; text++) {
        unsigned char b = (unsigned char)*text;
        if ((b < 0x80 && isalnum(b)) || strchr(keep, b))
            *out++ = (char)b;
        else
            out += sprintf(out, "%%%02X", (unsigned)b);
    }
    *out = '\0';
    return out;
}

char *origin_url_format(const struct origin_url *u)
{
    size_t size = strlen(u->scheme) + 3 * strlen(u->path) + 16;
    if (u->user)
        size += 3 * strlen(u->user) + 1;
    if (u->host)
        size += 3 * strlen(u->host) + 2;
    char *text = malloc(size);
    if (!text)
        return NULL;
    char *out = text + sprintf(text, "%s://", u->scheme);
    if (u->user) {
        out = encode(out, u->user, "-._~");
        *out++ = '@';
    }
    if (u->host) {
        bool v6 = strchr(u->host, ':');
        if (v6)
            *out++ = '[';
        out = encode(out, u->host, v6 ? "-._:" : "-._");
        if (v6)
            *out++ = ']';
    }
    if (u->port)
        out += sprintf(out, ":%u", (unsigned)u->port);
    out = encode(out, u->path, "/-._~+,=@:");
    return text;
}
