// SPDX-License-Identifier: Apache-2.0
/*
 * The driver for sftp:// origins: SFTP version 3 with OpenSSH's extensions over one SSH connection.
 * The transport is OpenSSH's client (ssh*.c), the protocol ours (sftp_*.c), with many requests on
 * their way. This file connects, finds the root and says what the server can do.
 */
#include "origins/sftp.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "origins/sftp_attr.h"
#include "origins/sftp_io.h"
#include "origins/sftp_list.h"
#include "origins/sftp_ns.h"
#include "origins/sftp_open.h"
#include "origins/sftp_path.h"
#include "origins/sftp_whole.h"
#include "origins/ssh.h"
#include "origins/url.h"

#define IO_SIZE_BYTES  (16 * MIB) /* what one call keeps on its way */
#define NAME_MAX_BYTES 255u

/* The server's absolute name of `path`. */
static int real_path(struct sftp *s, const struct origin_call *c, const char *path, char **ret)
{
    AUTO_REQUEST struct sftp_request q = {0};
    struct sftp_reader r;
    int err = sftp_ask_path(s->link, c, SFTP_REALPATH, path, &q);
    if (!err)
        err = sftp_wait_reply(s->link, c, &q, SFTP_NAME, &r);
    if (err)
        return err;
    uint32_t count = sftp_get_u32(&r);
    size_t len;
    const uint8_t *name = sftp_get_string(&r, &len);
    if (r.bad || count != 1 || len == 0 || name[0] != '/' || memchr(name, '\0', len))
        return -EBADMSG;
    char *copy = strndup((const char *)name, len);
    if (!copy)
        return -ENOMEM;
    *ret = copy;
    return 0;
}

/* STAT, which follows symlinks. */
static int stat_followed(struct sftp *s, const struct origin_call *c, const char *path,
                         struct sftp_attrs *ret)
{
    AUTO_REQUEST struct sftp_request q = {0};
    int err = sftp_ask_path(s->link, c, SFTP_STAT, path, &q);
    return err ? err : sftp_wait_attrs(s->link, c, &q, ret);
}

static int find_root(struct sftp *s, const struct origin_config *cfg, const struct origin_call *c,
                     char **ret_why)
{
    const char *path = cfg->url->path ? cfg->url->path : "";
    const char *asked = path;
    if (!*path)
        asked = ".";
    else if (!strncmp(path, "/~", 2) && (path[2] == '/' || !path[2]))
        asked = path[2] && path[3] ? path + 3 : ".";
    struct sftp_attrs a = {0};
    /* STAT first: REALPATH answers for names that don't exist, too. */
    int err = stat_followed(s, c, asked, &a);
    if (!err && (a.flags & SFTP_ATTR_PERMISSIONS) && !S_ISDIR(a.permissions))
        err = -ENOTDIR;
    if (!err)
        err = real_path(s, c, asked, &s->root);
    if (err)
        return ssh_fail(ret_why, err, "%s: %s: %s", sftp_link_name(s->link), path,
                        err == -ENOENT    ? "no such directory on the server"
                        : err == -ENOTDIR ? "not a directory; name the one that holds it"
                        : err == -EACCES  ? "the server denies access to this directory"
                                          : strerror(-err));
    size_t n = strlen(s->root);
    while (n && s->root[n - 1] == '/')
        s->root[--n] = '\0';
    return 0;
}

/* 0, or the error of a connection that broke. */
static int describe(struct sftp *s, const struct origin_call *c)
{
    uint32_t has = sftp_link_extensions(s->link);
    uint32_t caps = ORIGIN_RENAME_NOREPLACE | ORIGIN_WRITE_RANGES | ORIGIN_SYMLINKS | ORIGIN_MODES |
                    ORIGIN_OWNERS;
    if (has & SFTP_HAS_POSIX_RENAME)
        caps |= ORIGIN_ATOMIC_RENAME;
    if (has & SFTP_HAS_COPY_DATA)
        caps |= ORIGIN_COPY_RANGE;
    if (has & SFTP_HAS_HARDLINK)
        caps |= ORIGIN_HARD_LINKS;
    if (has & SFTP_HAS_FSYNC)
        caps |= ORIGIN_FSYNC;
    s->info = (struct origin_info){
        .caps = caps,
        .time_granularity_ns = NSEC_PER_SEC,
        .name_max = NAME_MAX_BYTES,
        .io_size = IO_SIZE_BYTES,
    };
    struct statvfs st;
    int err = sftp_statvfs(s, c, *s->root ? s->root : "/", NULL, &st);
    if (err)
        return origin_error_class(err) == ORIGIN_ERR_PERMANENT ? 0 : err;
    if (st.f_namemax && st.f_namemax <= UINT32_MAX)
        s->info.name_max = (uint32_t)st.f_namemax;
    return 0;
}

static void sftp_free(struct origin *o)
{
    struct sftp *s = to_sftp(o);
    sftp_forget_directories(s);
    sftp_link_close(s->link);
    free(s->root);
    free(s);
}

static const struct origin_info *sftp_info(struct origin *o)
{
    return &to_sftp(o)->info;
}

static int sftp_health(struct origin *o, const struct origin_call *c)
{
    AUTO_FREE char *unused = NULL;
    return real_path(to_sftp(o), c, ".", &unused);
}

static bool sftp_usable(struct origin *o)
{
    return sftp_link_usable(to_sftp(o)->link);
}

static const struct origin_ops sftp_ops = {
    .scheme = "sftp",
    .close = sftp_free,
    .info = sftp_info,
    .stat = sftp_stat,
    .list = sftp_list,
    .readlink = sftp_readlink,
    .statfs = sftp_statfs,
    .open = sftp_open,
    .mkdir = sftp_mkdir,
    .mknod = sftp_mknod,
    .symlink = sftp_symlink,
    .link = sftp_link_node,
    .unlink = sftp_unlink,
    .rmdir = sftp_rmdir,
    .rename = sftp_rename,
    .setattr = sftp_setattr,
    .health = sftp_health,
    .usable = sftp_usable,
    .close_file = sftp_close_file,
    .read_whole = sftp_read_whole,
    .pread = sftp_pread,
    .pwrite = sftp_pwrite,
    .fstat = sftp_fstat,
    .fsetattr = sftp_fsetattr,
    .fsync = sftp_fsync,
    .copy_range = sftp_copy_range,
};

static int sftp_connect(struct origin **ret, const struct origin_config *cfg,
                        const struct origin_call *c, char **ret_why)
{
    struct sftp *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->origin.ops = &sftp_ops;
    char *why = NULL;
    int err = sftp_link_open(&s->link, cfg, c, &why);
    if (!err)
        err = find_root(s, cfg, c, &why);
    struct sftp_attrs home = {0};
    if (!err && cfg->idmap_user) {
        err = stat_followed(s, c, ".", &home);
        if (err)
            ssh_fail(&why, err,
                     "%s: the login directory can't be looked at, which idmap=user"
                     " needs (%s)",
                     sftp_link_name(s->link), strerror(-err));
    }
    if (!err)
        err = describe(s, c);
    if (err) {
        sftp_free(&s->origin);
        if (!why)
            ssh_fail(&why, err, "%s: %s", cfg->url->host, strerror(-err));
        *ret_why = why;
        return err;
    }
    s->idmap = cfg->idmap_user && (home.flags & SFTP_ATTR_UIDGID);
    s->remote_uid = home.uid;
    s->remote_gid = home.gid;
    s->local_uid = getuid();
    s->local_gid = getgid();
    *ret = &s->origin;
    return 0;
}

const struct origin_driver origin_driver_sftp = {
    .scheme = "sftp",
    .pooled = true,
    .connect = sftp_connect,
};
