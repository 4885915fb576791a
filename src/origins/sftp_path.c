// SPDX-License-Identifier: Apache-2.0
/* The answers of a walk live in a small ring of directories, each good for a second: a race that
 * is a second wide at most, where LSTAT and the call after it always leave a small one. */
#include "origins/sftp_path.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"

#define KNOWN_FOR_NS NSEC_PER_SEC

int sftp_full_path(struct sftp *s, const char *path, char **ret_full)
{
    for (const char *p = path; *p; p += strspn(p, "/")) {
        size_t n = strcspn(p, "/");
        if (n > s->info.name_max)
            return -ENAMETOOLONG;
        p += n;
    }
    if (strlen(s->root) + strlen(path) + 2 > PATH_MAX)
        return -ENAMETOOLONG;
    char *full;
    if (asprintf(&full, *path || !*s->root ? "%s/%s" : "%s%s", s->root, path) < 0)
        return -ENOMEM;
    *ret_full = full;
    return 0;
}

char *sftp_parent_path(const char *full)
{
    const char *slash = strrchr(full, '/');
    return slash && slash > full ? strndup(full, (size_t)(slash - full)) : strdup("/");
}

static bool is_known(struct sftp *s, const char *dir, size_t len)
{
    int64_t now = cairn_now_ns();
    for (size_t i = 0; i < SFTP_GUARD_ENTRIES; i++)
        if (s->guard[i].path && now < s->guard[i].until_ns &&
            !strncmp(s->guard[i].path, dir, len) && !s->guard[i].path[len])
            return true;
    return false;
}

/* Takes the path over. */
static void make_known(struct sftp *s, char *dir)
{
    unsigned at = s->guard_next++ % SFTP_GUARD_ENTRIES;
    free(s->guard[at].path);
    s->guard[at].path = dir;
    s->guard[at].until_ns = cairn_now_ns() + KNOWN_FOR_NS;
}

void sftp_forget_directories(struct sftp *s)
{
    for (size_t i = 0; i < SFTP_GUARD_ENTRIES; i++) {
        free(s->guard[i].path);
        s->guard[i].path = NULL;
    }
}

int sftp_walk_ask(struct sftp *s, const struct origin_call *c, const char *full,
                  struct sftp_walk *w)
{
    size_t root = strlen(s->root);
    size_t depth = 0;
    for (const char *p = full + root; *p; p++) /* from the slash behind the root on */
        depth += p > full + root && *p == '/';
    w->s = s;
    if (depth == 0)
        return 0;
    w->request = calloc(depth, sizeof *w->request);
    w->dir = calloc(depth, sizeof *w->dir);
    if (!w->request || !w->dir)
        return -ENOMEM;
    /* From the deepest up: the first that is known vouches for those above it. */
    for (const char *end = strrchr(full, '/'); end && end > full + root;
         end = memrchr(full, '/', (size_t)(end - full))) {
        if (is_known(s, full, (size_t)(end - full)))
            break;
        w->dir[w->count] = strndup(full, (size_t)(end - full));
        if (!w->dir[w->count])
            return -ENOMEM;
        w->count++;
    }
    for (size_t i = w->count; i-- > 0;) {
        int err = sftp_ask_path(s->link, c, SFTP_LSTAT, w->dir[i], &w->request[i]);
        if (err)
            return err;
    }
    return 0;
}

int sftp_walk_settle(const struct origin_call *c, struct sftp_walk *w)
{
    for (size_t i = w->count; i-- > 0;) {
        struct sftp_attrs a;
        int err = sftp_wait_attrs(w->s->link, c, &w->request[i], &a);
        if (err)
            return err;
        if (S_ISLNK(a.permissions))
            return -ELOOP;
        if ((a.flags & SFTP_ATTR_PERMISSIONS) && !S_ISDIR(a.permissions))
            return -ENOTDIR;
        make_known(w->s, STEAL(w->dir[i]));
    }
    return 0;
}

void sftp_walk_end(struct sftp_walk *w)
{
    for (size_t i = 0; i < w->count; i++) {
        sftp_request_end(&w->request[i]);
        free(w->dir[i]);
    }
    free(w->request);
    free(w->dir);
    *w = (struct sftp_walk){0};
}

int sftp_resolve(struct sftp *s, const struct origin_call *c, const char *path, char **ret_full)
{
    AUTO_FREE char *full = NULL;
    AUTO_WALK struct sftp_walk walk = {0};
    int err = sftp_full_path(s, path, &full);
    if (!err)
        err = sftp_walk_ask(s, c, full, &walk);
    if (!err)
        err = sftp_walk_settle(c, &walk);
    if (!err)
        *ret_full = STEAL(full);
    return err;
}
