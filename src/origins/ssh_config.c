// SPDX-License-Identifier: Apache-2.0
/*
 * ssh_config(5): lines of "keyword arguments", '=' allowed between them, arguments may be quoted.
 * One pass over the texts keeps the first value of each option; tokens (%h, %d, ...) are expanded
 * at the end, when host name and user are known.
 */
#include "origins/ssh_config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/util.h"

#define MAX_FILE_BYTES    (1 * MIB)
#define MAX_INCLUDE_DEPTH 16 /* as ssh has it */
#define MAX_LIST          64

struct parse {
    const struct ssh_query *q;
    ssh_include_fn *include;
    void *arg;
    size_t text;           /* index of the text being read */
    struct ssh_config out; /* strings with their tokens still in them */
    size_t identities;     /* used of out.identities */
    bool only_seen;
    bool known_hosts_seen;
    bool proxy_seen;
    bool no_memory;
};

bool ssh_patterns_match(const char *text, const char *patterns)
{
    bool matched = false;
    for (const char *p = patterns; *p;) {
        size_t n = strcspn(p, ", \t");
        bool negated = *p == '!';
        if (n > negated) {
            /* Iterative wildcard match: on a mismatch go back to the last '*'. */
            const char *s = p + negated, *end = p + n, *star = NULL, *t = text, *back = NULL;
            bool fits = true;
            while (*t && fits) {
                if (s < end && *s == '*') {
                    star = ++s;
                    back = t;
                } else if (s < end && (*s == '?' || *s == *t)) {
                    s++;
                    t++;
                } else if (star) {
                    s = star;
                    t = ++back;
                } else {
                    fits = false;
                }
            }
            while (s < end && *s == '*')
                s++;
            fits = fits && s == end;
            if (fits && negated)
                return false;
            matched |= fits;
        }
        p += n;
        p += strspn(p, ", \t");
    }
    return matched;
}

static void free_list(char **list)
{
    for (char **p = list; p && *p; p++)
        free(*p);
    free(list);
}

/* Takes the next argument off *line into a malloc'ed string; NULL at the end of the line. */
static char *next_argument(struct parse *p, char **line)
{
    char *s = *line + strspn(*line, " \t");
    if (!*s || *s == '#') {
        *line = s + strlen(s);
        return NULL;
    }
    char *out = malloc(strlen(s) + 1);
    if (!out) {
        p->no_memory = true;
        return NULL;
    }
    size_t n = 0;
    bool quoted = false;
    for (; *s && (quoted || (*s != ' ' && *s != '\t')); s++) {
        if (*s == '"')
            quoted = !quoted;
        else if (*s == '\\' && (s[1] == '"' || s[1] == '\\' || (!quoted && s[1] == ' ')))
            out[n++] = *++s;
        else
            out[n++] = *s;
    }
    out[n] = '\0';
    *line = s;
    return out;
}

/* Splits the keyword off *line; false if there is none. */
static bool next_keyword(char **line, char *key, size_t size)
{
    char *s = *line + strspn(*line, " \t\r\f");
    size_t n = strcspn(s, " \t=\"");
    if (n == 0 || *s == '#' || n >= size)
        return false;
    memcpy(key, s, n);
    key[n] = '\0';
    s += n;
    s += strspn(s, " \t");
    if (*s == '=')
        s++;
    *line = s;
    return true;
}

static void set_string(struct parse *p, char **field, char **line)
{
    AUTO_FREE char *v = next_argument(p, line);
    if (v && *v && !*field)
        *field = STEAL(v);
}

static void add_identity(struct parse *p, char **line)
{
    AUTO_FREE char *v = next_argument(p, line);
    if (!v || p->identities >= MAX_LIST)
        return;
    for (size_t i = 0; i < p->identities; i++)
        if (!strcmp(p->out.identities[i], v))
            return;
    char **grown = realloc(p->out.identities, (p->identities + 2) * sizeof *grown);
    if (!grown) {
        p->no_memory = true;
        return;
    }
    p->out.identities = grown;
    grown[p->identities++] = STEAL(v);
    grown[p->identities] = NULL;
}

static void set_known_hosts(struct parse *p, char **line)
{
    if (p->known_hosts_seen)
        return;
    p->known_hosts_seen = true;
    p->out.known_hosts = calloc(MAX_LIST + 1, sizeof(char *));
    if (!p->out.known_hosts) {
        p->no_memory = true;
        return;
    }
    for (size_t n = 0; n < MAX_LIST;) {
        char *v = next_argument(p, line);
        if (!v)
            break;
        if (strcasecmp(v, "none"))
            p->out.known_hosts[n++] = v;
        else
            free(v);
    }
}

static bool host_applies(struct parse *p, char **line)
{
    bool matched = false;
    for (;;) {
        AUTO_FREE char *pattern = next_argument(p, line);
        if (!pattern)
            return matched;
        if (pattern[0] == '!') {
            if (ssh_patterns_match(p->q->host, pattern + 1)) {
                /* A negation that matches settles it, whatever else stands on the line. */
                *line += strlen(*line);
                return false;
            }
        } else {
            matched |= ssh_patterns_match(p->q->host, pattern);
        }
    }
}

static void parse_text(struct parse *p, const char *text, bool active, int depth);

static void include_files(struct parse *p, char **line, int depth)
{
    for (;;) {
        AUTO_FREE char *pattern = next_argument(p, line);
        if (!pattern)
            return;
        if (!p->include || depth >= MAX_INCLUDE_DEPTH)
            continue;
        char **texts = p->include(p->arg, p->text, pattern);
        for (char **t = texts; t && *t; t++)
            parse_text(p, *t, true, depth + 1);
        free_list(texts);
    }
}

static void take_option(struct parse *p, const char *key, char **line, int depth)
{
    struct ssh_config *o = &p->out;
    if (!strcasecmp(key, "hostname")) {
        set_string(p, &o->hostname, line);
    } else if (!strcasecmp(key, "user")) {
        set_string(p, &o->user, line);
    } else if (!strcasecmp(key, "port")) {
        AUTO_FREE char *v = next_argument(p, line);
        char *end;
        unsigned long n = v && isdigit((unsigned char)*v) ? strtoul(v, &end, 10) : 0;
        if (!o->port && n > 0 && n <= 65535 && !*end)
            o->port = (uint16_t)n;
    } else if (!strcasecmp(key, "identityfile")) {
        add_identity(p, line);
    } else if (!strcasecmp(key, "identitiesonly")) {
        AUTO_FREE char *v = next_argument(p, line);
        if (v && !p->only_seen) {
            p->only_seen = true;
            o->identities_only = !strcasecmp(v, "yes") || !strcasecmp(v, "true");
        }
    } else if (!strcasecmp(key, "userknownhostsfile")) {
        set_known_hosts(p, line);
    } else if (!strcasecmp(key, "proxyjump") || !strcasecmp(key, "proxycommand")) {
        if (!p->proxy_seen) {
            p->proxy_seen = true;
            char *v = *line + strspn(*line, " \t");
            if (strcasecmp(v, "none") && !(o->proxy = strdup(v)))
                p->no_memory = true;
        }
    } else if (!strcasecmp(key, "include")) {
        include_files(p, line, depth);
    }
}

static void parse_text(struct parse *p, const char *text, bool active, int depth)
{
    while (*text && !p->no_memory) {
        size_t n = strcspn(text, "\n");
        AUTO_FREE char *copy = strndup(text, n);
        text += n + (text[n] == '\n');
        if (!copy) {
            p->no_memory = true;
            return;
        }
        size_t len = strlen(copy);
        while (len && strchr(" \t\r\f", copy[len - 1]))
            copy[--len] = '\0';
        char *line = copy;
        char key[64];
        if (!next_keyword(&line, key, sizeof key))
            continue;
        if (!strcasecmp(key, "host")) {
            active = host_applies(p, &line);
        } else if (!strcasecmp(key, "match")) {
            AUTO_FREE char *what = next_argument(p, &line);
            AUTO_FREE char *more = next_argument(p, &line);
            active = what && !more && !strcasecmp(what, "all");
        } else if (active) {
            take_option(p, key, &line, depth);
        }
    }
}

/* Expands ~ and %-tokens of `text`; `user` and `host` may be NULL (then kept as written). */
static char *expand(const struct ssh_query *q, const char *text, const char *host, const char *user)
{
    char *out = NULL;
    size_t size;
    FILE *f = open_memstream(&out, &size);
    if (!f)
        return NULL;
    if (text[0] == '~' && (text[1] == '/' || !text[1])) {
        fputs(q->home, f);
        text++;
    }
    for (; *text; text++) {
        const char *v = NULL;
        if (*text == '%' && text[1]) {
            switch (text[1]) {
            case 'd':
                v = q->home;
                break;
            case 'h':
                v = host;
                break;
            case 'n':
                v = q->host;
                break;
            case 'r':
                v = user;
                break;
            case 'u':
                v = q->local_user;
                break;
            case '%':
                v = "%";
                break;
            default:
                break;
            }
        }
        if (v) {
            fputs(v, f);
            text++;
        } else {
            fputc(*text, f);
        }
    }
    if (fclose(f) != 0) {
        free(out);
        return NULL;
    }
    return out;
}

static bool expand_list(const struct ssh_query *q, char **list, const struct ssh_config *c)
{
    for (; list && *list; list++) {
        char *v = expand(q, *list, c->hostname, c->user);
        if (!v)
            return false;
        free(*list);
        *list = v;
    }
    return true;
}

static char **copy_list(const char *const *from, size_t n)
{
    char **list = calloc(n + 1, sizeof *list);
    for (size_t i = 0; list && i < n; i++) {
        list[i] = strdup(from[i]);
        if (!list[i]) {
            free_list(list);
            return NULL;
        }
    }
    return list;
}

/* The URL's values first, then the file's, then the defaults. */
static int settle(struct parse *p)
{
    static const char *const usual_keys[] = {"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa",
                                             "~/.ssh/id_rsa"};
    static const char *const usual_hosts[] = {"~/.ssh/known_hosts", "~/.ssh/known_hosts2"};
    const struct ssh_query *q = p->q;
    struct ssh_config *o = &p->out;

    char *host = expand(q, o->hostname ? o->hostname : q->host, q->host, NULL);
    char *user = strdup(q->user ? q->user : o->user ? o->user : q->local_user);
    free(o->hostname);
    free(o->user);
    o->hostname = host;
    o->user = user;
    if (q->port)
        o->port = q->port;
    else if (!o->port)
        o->port = 22;
    if (q->identity) {
        free_list(o->identities);
        o->identities = copy_list(&q->identity, 1);
    }
    o->identities_given = o->identities != NULL;
    if (!o->identities)
        o->identities = copy_list(usual_keys, ARRAY_LEN(usual_keys));
    if (q->known_hosts) {
        free_list(o->known_hosts);
        o->known_hosts = copy_list(&q->known_hosts, 1);
    }
    if (!o->known_hosts)
        o->known_hosts = copy_list(usual_hosts, ARRAY_LEN(usual_hosts));
    if (!host || !user || !o->identities || !o->known_hosts)
        return -ENOMEM;
    /* "IdentityFile none" stands for: no files. */
    size_t kept = 0;
    for (size_t i = 0; o->identities[i]; i++) {
        if (strcasecmp(o->identities[i], "none"))
            o->identities[kept++] = o->identities[i];
        else
            free(o->identities[i]);
    }
    o->identities[kept] = NULL;
    return expand_list(q, o->identities, o) && expand_list(q, o->known_hosts, o) ? 0 : -ENOMEM;
}

int ssh_config_parse(const char *const *texts, size_t count, const struct ssh_query *q,
                     ssh_include_fn *include, void *arg, struct ssh_config *ret)
{
    struct parse p = {.q = q, .include = include, .arg = arg};
    for (p.text = 0; p.text < count; p.text++)
        parse_text(&p, texts[p.text], true, 0);
    int err = p.no_memory ? -ENOMEM : settle(&p);
    if (err) {
        ssh_config_clear(&p.out);
        return err;
    }
    *ret = p.out;
    return 0;
}

int ssh_read_file(const char *path, size_t max_bytes, char **ret, size_t *ret_len)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode)) /* /dev/null stands for an empty file */
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    if (st.st_size < 0 || (uint64_t)st.st_size > max_bytes)
        return -EFBIG;
    size_t size = (size_t)st.st_size, len = 0;
    char *buf = malloc(size + 1);
    if (!buf)
        return -ENOMEM;
    while (len < size) {
        ssize_t n = read(fd, buf + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int err = -errno;
            explicit_bzero(buf, len);
            free(buf);
            return err;
        }
        if (n == 0)
            break;
        len += (size_t)n;
    }
    buf[len] = '\0';
    *ret = buf;
    if (ret_len)
        *ret_len = len;
    return 0;
}

struct include_base {
    const char *home;
    const char *dir[2]; /* relative patterns are below it: of the user's file, of the system's */
};

static char **include_from_files(void *arg, size_t text, const char *pattern)
{
    const struct include_base *base = arg;
    AUTO_FREE char *full = NULL;
    int n;
    if (pattern[0] == '/')
        n = asprintf(&full, "%s", pattern);
    else if (pattern[0] == '~' && pattern[1] == '/')
        n = asprintf(&full, "%s%s", base->home, pattern + 1);
    else
        n = asprintf(&full, "%s/%s", base->dir[text], pattern);
    if (n < 0) {
        full = NULL;
        return NULL;
    }
    glob_t g = {0};
    char **texts = NULL;
    if (glob(full, 0, NULL, &g) == 0 && (texts = calloc(g.gl_pathc + 1, sizeof *texts))) {
        size_t used = 0;
        for (size_t i = 0; i < g.gl_pathc; i++)
            if (ssh_read_file(g.gl_pathv[i], MAX_FILE_BYTES, &texts[used], NULL) == 0)
                used++;
    }
    globfree(&g);
    return texts;
}

int ssh_config_load(const char *path, const struct ssh_query *q, struct ssh_config *ret)
{
    AUTO_FREE char *user_dir = NULL;
    AUTO_FREE char *user_file = NULL;
    if (asprintf(&user_dir, "%s/.ssh", q->home) < 0) {
        user_dir = NULL;
        return -ENOMEM;
    }
    if (asprintf(&user_file, "%s/config", user_dir) < 0) {
        user_file = NULL;
        return -ENOMEM;
    }
    AUTO_FREE char *first = NULL;
    AUTO_FREE char *second = NULL;
    int err = ssh_read_file(path ? path : user_file, MAX_FILE_BYTES, &first, NULL);
    if (err && path)
        return err;
    if (!path)
        ssh_read_file("/etc/ssh/ssh_config", MAX_FILE_BYTES, &second, NULL);
    struct include_base base = {.home = q->home, .dir = {user_dir, "/etc/ssh"}};
    const char *texts[] = {first ? first : "", second ? second : ""};
    return ssh_config_parse(texts, ARRAY_LEN(texts), q, include_from_files, &base, ret);
}

void ssh_config_clear(struct ssh_config *c)
{
    free(c->hostname);
    free(c->user);
    free(c->proxy);
    free_list(c->identities);
    free_list(c->known_hosts);
    *c = (struct ssh_config){0};
}
