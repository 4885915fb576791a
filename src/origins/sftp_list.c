// SPDX-License-Identifier: Apache-2.0
/*
 * READDIR gives a page of names with attributes; a few are kept on their way. Names come from a
 * server that may be hostile: those that are no single name are left out.
 */
#include "origins/sftp_list.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "origins/sftp_attr.h"
#include "origins/sftp_path.h"

#define READDIRS_AHEAD 4u
/* The shortest entry on the wire: two empty strings and no attributes. */
#define ENTRY_MIN_BYTES 12u

/* What an entry has to tell to be as good as a stat. */
static const uint32_t stat_flags =
    SFTP_ATTR_SIZE | SFTP_ATTR_UIDGID | SFTP_ATTR_PERMISSIONS | SFTP_ATTR_ACMODTIME;

static bool is_name(const uint8_t *p, size_t n)
{
    if (n == 0 || memchr(p, '/', n) || memchr(p, '\0', n))
        return false;
    return !(p[0] == '.' && (n == 1 || (n == 2 && p[1] == '.')));
}

/* Hands a NAME reply's entries to `fn`. Names are ended with a NUL in place, over the length field
 * of the long name behind them, once that has been read. */
static int hand_over(struct sftp *s, struct sftp_request *q, origin_list_fn *fn, void *arg)
{
    struct sftp_reader r = {.p = q->body, .left = q->body_len};
    uint32_t count = sftp_get_u32(&r);
    if (r.bad || count > r.left / ENTRY_MIN_BYTES)
        return -EBADMSG;
    AUTO_FREE struct origin_entry *entries = calloc(count ? count : 1, sizeof *entries);
    if (!entries)
        return -ENOMEM;
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t len, long_len;
        struct sftp_attrs a = {0};
        const uint8_t *name = sftp_get_string(&r, &len);
        sftp_get_string(&r, &long_len);
        sftp_get_attrs(&r, &a);
        if (r.bad)
            return -EBADMSG;
        if (!is_name(name, len)) {
            if (len == 0 || name[0] != '.' || len > 2)
                log_warn("%s: the server lists an impossible name, left out",
                         sftp_link_name(s->link));
            continue;
        }
        q->body[name - q->body + (ptrdiff_t)len] = '\0';
        struct origin_entry *e = &entries[used++];
        e->name = (const char *)name;
        e->has_stat = (a.flags & stat_flags) == stat_flags;
        if (e->has_stat)
            sftp_to_stat(s, &a, &e->stat);
        else
            e->stat.mode = a.permissions & S_IFMT;
    }
    return used ? fn(arg, entries, used) : 0;
}

static int list_handle(struct sftp *s, const struct origin_call *c, const struct sftp_handle *h,
                       struct sftp_request q[READDIRS_AHEAD], origin_list_fn *fn, void *arg)
{
    for (unsigned i = 0; i < READDIRS_AHEAD; i++) {
        int err = sftp_ask_handle(s->link, c, SFTP_READDIR, h, &q[i]);
        if (err)
            return err;
    }
    for (unsigned i = 0;; i = (i + 1) % READDIRS_AHEAD) {
        struct sftp_reader body;
        int err = sftp_wait_reply(s->link, c, &q[i], SFTP_NAME, &body);
        if (err)
            return err == -ENODATA ? 0 : err;
        /* The next one travels while the caller looks at this page. */
        struct sftp_request page = q[i];
        q[i] = (struct sftp_request){0};
        err = sftp_ask_handle(s->link, c, SFTP_READDIR, h, &q[i]);
        if (!err)
            err = hand_over(s, &page, fn, arg);
        sftp_request_end(&page);
        if (err)
            return err;
    }
}

static int open_dir(struct sftp *s, const struct origin_call *c, const char *full,
                    struct sftp_handle *ret)
{
    AUTO_WALK struct sftp_walk walk = {0};
    AUTO_REQUEST struct sftp_request look = {0};
    AUTO_REQUEST struct sftp_request q = {.opens = true};
    struct sftp_attrs a;
    int err = sftp_walk_ask(s, c, full, &walk);
    if (!err)
        err = sftp_ask_path(s->link, c, SFTP_LSTAT, full, &look);
    if (!err)
        err = sftp_ask_path(s->link, c, SFTP_OPENDIR, full, &q);
    if (!err)
        err = sftp_walk_settle(c, &walk);
    if (!err)
        err = sftp_wait_attrs(s->link, c, &look, &a);
    if (!err && (a.flags & SFTP_ATTR_PERMISSIONS) && !S_ISDIR(a.permissions))
        err = -ENOTDIR;
    return err ? err : sftp_wait_handle(s->link, c, &q, ret);
}

static int list_full(struct sftp *s, const struct origin_call *c, const char *full,
                     origin_list_fn *fn, void *arg)
{
    struct sftp_handle h;
    int err = open_dir(s, c, full, &h);
    if (err)
        return err;
    struct sftp_request q[READDIRS_AHEAD] = {0};
    err = list_handle(s, c, &h, q, fn, arg);
    for (unsigned i = 0; i < READDIRS_AHEAD; i++)
        sftp_request_end(&q[i]);
    sftp_close_handle(s->link, &h);
    return err;
}

int sftp_list(struct origin *o, const struct origin_call *c, const char *path, origin_list_fn *fn,
              void *arg)
{
    AUTO_FREE char *full = NULL;
    int err = sftp_full_path(to_sftp(o), path, &full);
    return err ? err : list_full(to_sftp(o), c, full, fn, arg);
}

static int stop_at_first(void *arg, const struct origin_entry *entries, size_t count)
{
    return 1;
}

int sftp_has_entries(struct sftp *s, const struct origin_call *c, const char *full)
{
    return list_full(s, c, full, stop_at_first, NULL);
}
