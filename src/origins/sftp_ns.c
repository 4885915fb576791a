// SPDX-License-Identifier: Apache-2.0
/*
 * Version 3 has one code, FAILURE, for most of what can go wrong with names. What it was is found
 * out afterwards, by looking at the names involved.
 */
#include "origins/sftp_ns.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>

#include "base/util.h"
#include "origins/sftp_attr.h"
#include "origins/sftp_list.h"
#include "origins/sftp_path.h"

/* One request of one path, answered by a status. */
static int ask_status(struct sftp *s, const struct origin_call *c, uint8_t type, const char *full)
{
    AUTO_REQUEST struct sftp_request q = {0};
    int err = sftp_ask_path(s->link, c, type, full, &q);
    return err ? err : sftp_wait_status(s->link, c, &q);
}

/* One request of two paths, answered by a status; `extension` may be NULL. */
static int ask_pair(struct sftp *s, const struct origin_call *c, uint8_t type,
                    const char *extension, const char *first, const char *second)
{
    AUTO_REQUEST struct sftp_request q = {0};
    struct sftp_writer w;
    int err = sftp_begin(s->link, c, type, strlen(first) + strlen(second) + 32, &q, &w);
    if (err)
        return err;
    if (extension)
        sftp_put_cstring(&w, extension);
    sftp_put_cstring(&w, first);
    sftp_put_cstring(&w, second);
    sftp_send(s->link, &q, &w);
    return sftp_wait_status(s->link, c, &q);
}

/* The mode of what is at `full`, 0 if nothing is. -errno if that could not be learned. */
static int mode_at(struct sftp *s, const struct origin_call *c, const char *full,
                   uint32_t *ret_mode)
{
    struct sftp_attrs a = {0};
    int err = sftp_lstat_full(s, c, full, &a);
    if (err && err != -ENOENT)
        return err;
    *ret_mode = err ? 0 : a.flags & SFTP_ATTR_PERMISSIONS ? a.permissions : S_IFREG;
    return 0;
}

static int explain_in_parent(struct sftp *s, const struct origin_call *c, const char *full)
{
    AUTO_FREE char *parent = sftp_parent_path(full);
    return parent ? sftp_explain(s, c, parent, NULL) : -ENOMEM;
}

/* Why a name could not be made. */
static int explain_make(struct sftp *s, const struct origin_call *c, const char *full)
{
    uint32_t mode;
    int err = mode_at(s, c, full, &mode);
    if (err)
        return err;
    return mode ? -EEXIST : explain_in_parent(s, c, full);
}

static bool on_two_filesystems(struct sftp *s, const struct origin_call *c, const char *a,
                               const char *b)
{
    AUTO_FREE char *dir_a = sftp_parent_path(a);
    AUTO_FREE char *dir_b = sftp_parent_path(b);
    struct statvfs st_a, st_b;
    return dir_a && dir_b && !sftp_statvfs(s, c, dir_a, NULL, &st_a) &&
           !sftp_statvfs(s, c, dir_b, NULL, &st_b) && st_a.f_fsid != st_b.f_fsid;
}

int sftp_mkdir(struct origin *o, const struct origin_call *c, const char *path, uint32_t mode)
{
    struct sftp *s = to_sftp(o);
    AUTO_FREE char *full = NULL;
    int err = sftp_resolve(s, c, path, &full);
    if (err)
        return err;
    struct sftp_attrs a = {.flags = SFTP_ATTR_PERMISSIONS, .permissions = mode & 07777}, now;
    AUTO_REQUEST struct sftp_request q = {0};
    AUTO_REQUEST struct sftp_request look = {0};
    struct sftp_writer w;
    err = sftp_begin(s->link, c, SFTP_MKDIR, strlen(full), &q, &w);
    if (err)
        return err;
    sftp_put_cstring(&w, full);
    sftp_put_attrs(&w, &a);
    sftp_send(s->link, &q, &w);
    err = sftp_ask_path(s->link, c, SFTP_LSTAT, full, &look);
    if (!err)
        err = sftp_wait_status(s->link, c, &q);
    if (err)
        return err == -EIO ? explain_make(s, c, full) : err;
    /* mkdir(2) of the server cuts by its umask and drops set-id bits, and the directory may have
     * inherited one, which stays. */
    err = sftp_wait_attrs(s->link, c, &look, &now);
    if (err)
        return err;
    a.permissions |= now.permissions & S_ISGID;
    if ((now.permissions & 07777) == a.permissions || !S_ISDIR(now.permissions))
        return 0;
    err = sftp_setstat_full(s, c, full, &a);
    return err == -EPERM || err == -EOPNOTSUPP ? 0 : err;
}

int sftp_symlink(struct origin *o, const struct origin_call *c, const char *target,
                 const char *path)
{
    struct sftp *s = to_sftp(o);
    AUTO_FREE char *full = NULL;
    if (!*target)
        return -ENOENT;
    int err = sftp_resolve(s, c, path, &full);
    if (err)
        return err;
    /* The draft has the link's path first; OpenSSH swapped them, and others follow it. */
    err = ask_pair(s, c, SFTP_SYMLINK, NULL, target, full);
    return err == -EIO ? explain_make(s, c, full) : err;
}

int sftp_readlink(struct origin *o, const struct origin_call *c, const char *path,
                  char **ret_target)
{
    struct sftp *s = to_sftp(o);
    AUTO_FREE char *full = NULL;
    AUTO_WALK struct sftp_walk walk = {0};
    AUTO_REQUEST struct sftp_request q = {0};
    struct sftp_reader r;
    int err = sftp_full_path(s, path, &full);
    if (!err)
        err = sftp_walk_ask(s, c, full, &walk);
    if (!err)
        err = sftp_ask_path(s->link, c, SFTP_READLINK, full, &q);
    if (!err)
        err = sftp_walk_settle(c, &walk);
    if (!err)
        err = sftp_wait_reply(s->link, c, &q, SFTP_NAME, &r);
    if (err)
        return err;
    uint32_t count = sftp_get_u32(&r);
    size_t len;
    const uint8_t *target = sftp_get_string(&r, &len);
    if (r.bad || count != 1 || len == 0 || memchr(target, '\0', len))
        return -EBADMSG;
    char *copy = strndup((const char *)target, len);
    if (!copy)
        return -ENOMEM;
    *ret_target = copy;
    return 0;
}

int sftp_link_node(struct origin *o, const struct origin_call *c, const char *from, const char *to)
{
    struct sftp *s = to_sftp(o);
    AUTO_FREE char *full_from = NULL;
    AUTO_FREE char *full_to = NULL;
    if (!(sftp_link_extensions(s->link) & SFTP_HAS_HARDLINK))
        return -EOPNOTSUPP;
    int err = sftp_resolve(s, c, from, &full_from);
    if (!err)
        err = sftp_resolve(s, c, to, &full_to);
    if (err)
        return err;
    err = ask_pair(s, c, SFTP_EXTENDED, "hardlink@openssh.com", full_from, full_to);
    if (err == -EACCES) {
        uint32_t mode;
        return mode_at(s, c, full_from, &mode) == 0 && S_ISDIR(mode) ? -EPERM : -EACCES;
    }
    if (err != -EIO)
        return err;
    err = explain_make(s, c, full_to);
    return err == -EIO && on_two_filesystems(s, c, full_from, full_to) ? -EXDEV : err;
}

int sftp_unlink(struct origin *o, const struct origin_call *c, const char *path)
{
    struct sftp *s = to_sftp(o);
    AUTO_FREE char *full = NULL;
    int err = sftp_resolve(s, c, path, &full);
    if (!err)
        err = ask_status(s, c, SFTP_REMOVE, full);
    if (err != -EIO && err != -EACCES)
        return err;
    uint32_t mode;
    if (mode_at(s, c, full, &mode) == 0 && S_ISDIR(mode))
        return -EISDIR;
    return err == -EIO ? explain_in_parent(s, c, full) : err;
}

int sftp_rmdir(struct origin *o, const struct origin_call *c, const char *path)
{
    struct sftp *s = to_sftp(o);
    AUTO_FREE char *full = NULL;
    int err = sftp_resolve(s, c, path, &full);
    if (err)
        return err;
    err = ask_status(s, c, SFTP_RMDIR, full);
    sftp_forget_directories(s);
    if (err != -EIO && err != -ENOENT)
        return err;
    uint32_t mode;
    if (mode_at(s, c, full, &mode) || mode == 0)
        return err;
    if (!S_ISDIR(mode))
        return -ENOTDIR;
    if (err == -EIO && sftp_has_entries(s, c, full) == 1)
        return -ENOTEMPTY;
    return err == -EIO ? explain_in_parent(s, c, full) : err;
}

/* Why `from` could not take the place of `to`. */
static int explain_rename(struct sftp *s, const struct origin_call *c, const char *from,
                          const char *to, bool replace, int err)
{
    uint32_t mode_from, mode_to;
    int failed = mode_at(s, c, from, &mode_from);
    if (!failed)
        failed = mode_at(s, c, to, &mode_to);
    if (failed)
        return failed;
    if (!mode_from)
        return -ENOENT;
    if (mode_to && !replace)
        return -EEXIST;
    if (mode_to && S_ISDIR(mode_to) && !S_ISDIR(mode_from))
        return -EISDIR;
    if (mode_to && !S_ISDIR(mode_to) && S_ISDIR(mode_from))
        return -ENOTDIR;
    if (err == -ENOENT)
        return err;
    if (S_ISDIR(mode_to) && sftp_has_entries(s, c, to) == 1)
        return -ENOTEMPTY;
    if (on_two_filesystems(s, c, from, to))
        return -EXDEV;
    return explain_in_parent(s, c, to);
}

int sftp_rename(struct origin *o, const struct origin_call *c, const char *from, const char *to,
                unsigned flags)
{
    struct sftp *s = to_sftp(o);
    AUTO_FREE char *full_from = NULL;
    AUTO_FREE char *full_to = NULL;
    if (flags & ~(unsigned)RENAME_NOREPLACE)
        return -EOPNOTSUPP;
    int err = sftp_resolve(s, c, from, &full_from);
    if (!err)
        err = sftp_resolve(s, c, to, &full_to);
    if (err)
        return err;
    bool posix = sftp_link_extensions(s->link) & SFTP_HAS_POSIX_RENAME;
    bool replace = !(flags & RENAME_NOREPLACE) && posix;
    if (flags & RENAME_NOREPLACE) {
        /* OpenSSH refuses an existing target by link(2), but for what isn't a plain file it only
         * looks, and through symlinks at that. */
        uint32_t mode;
        err = mode_at(s, c, full_to, &mode);
        if (err || mode)
            return err ? err : -EEXIST;
    }
    err = replace ? ask_pair(s, c, SFTP_EXTENDED, "posix-rename@openssh.com", full_from, full_to)
                  : ask_pair(s, c, SFTP_RENAME, NULL, full_from, full_to);
    sftp_forget_directories(s);
    if (err == -EIO || err == -ENOENT)
        return explain_rename(s, c, full_from, full_to, replace, err);
    return err;
}
