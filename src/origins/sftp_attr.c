// SPDX-License-Identifier: Apache-2.0
/*
 * Version 3 has whole seconds, and sets both times or none, both ids or none: the missing half is
 * asked for first. SETSTAT follows symlinks, lsetstat@openssh.com doesn't.
 */
#include "origins/sftp_attr.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "origins/sftp_path.h"

#define STATVFS_RDONLY 1u /* SSH2_FXE_STATVFS_ST_RDONLY */
#define STATVFS_NOSUID 2u

void sftp_to_stat(const struct sftp *s, const struct sftp_attrs *a, struct origin_stat *ret)
{
    *ret = (struct origin_stat){
        .mode = a->flags & SFTP_ATTR_PERMISSIONS ? a->permissions : S_IFREG | 0644,
        .nlink = 1,
        .uid = s->idmap && a->uid == s->remote_uid ? s->local_uid : a->uid,
        .gid = s->idmap && a->gid == s->remote_gid ? s->local_gid : a->gid,
        .size = a->size,
        .blocks = a->size / 512 + (a->size % 512 != 0),
        .atime_ns = (int64_t)a->atime * NSEC_PER_SEC,
        .mtime_ns = (int64_t)a->mtime * NSEC_PER_SEC,
        .ctime_ns = (int64_t)a->mtime * NSEC_PER_SEC,
    };
    if (a->size > INT64_MAX) { /* no file is as large; keeps sums of offsets safe */
        ret->size = INT64_MAX;
        ret->blocks = INT64_MAX / 512;
    }
}

int sftp_lstat_full(struct sftp *s, const struct origin_call *c, const char *full,
                    struct sftp_attrs *ret)
{
    AUTO_REQUEST struct sftp_request q = {0};
    int err = sftp_ask_path(s->link, c, SFTP_LSTAT, full, &q);
    return err ? err : sftp_wait_attrs(s->link, c, &q, ret);
}

int sftp_stat(struct origin *o, const struct origin_call *c, const char *path,
              struct origin_stat *ret)
{
    struct sftp *s = to_sftp(o);
    AUTO_FREE char *full = NULL;
    AUTO_WALK struct sftp_walk walk = {0};
    AUTO_REQUEST struct sftp_request q = {0};
    struct sftp_attrs a;
    int err = sftp_full_path(s, path, &full);
    if (!err)
        err = sftp_walk_ask(s, c, full, &walk);
    if (!err)
        err = sftp_ask_path(s->link, c, SFTP_LSTAT, full, &q);
    if (!err)
        err = sftp_walk_settle(c, &walk);
    if (!err)
        err = sftp_wait_attrs(s->link, c, &q, &a);
    if (!err)
        sftp_to_stat(s, &a, ret);
    return err;
}

int sftp_fstat_handle(struct sftp *s, const struct origin_call *c, const struct sftp_handle *h,
                      struct sftp_attrs *ret)
{
    AUTO_REQUEST struct sftp_request q = {0};
    int err = sftp_ask_handle(s->link, c, SFTP_FSTAT, h, &q);
    return err ? err : sftp_wait_attrs(s->link, c, &q, ret);
}

int sftp_fstat(struct origin *o, const struct origin_call *c, struct origin_file *f,
               struct origin_stat *ret)
{
    struct sftp_attrs a;
    int err = sftp_fstat_handle(to_sftp(o), c, &to_sftp_file(f)->handle, &a);
    if (!err)
        sftp_to_stat(to_sftp(o), &a, ret);
    return err;
}

/* SETSTAT or lsetstat of a path, FSETSTAT of a handle. */
static int set_attrs(struct sftp *s, const struct origin_call *c, const char *full, bool nofollow,
                     const struct sftp_handle *h, const struct sftp_attrs *a)
{
    AUTO_REQUEST struct sftp_request q = {0};
    struct sftp_writer w;
    size_t room = (full ? strlen(full) : h->len) + 64;
    uint8_t type = !full ? SFTP_FSETSTAT : nofollow ? SFTP_EXTENDED : SFTP_SETSTAT;
    int err = sftp_begin(s->link, c, type, room, &q, &w);
    if (err)
        return err;
    if (full && nofollow)
        sftp_put_cstring(&w, "lsetstat@openssh.com");
    if (full)
        sftp_put_cstring(&w, full);
    else
        sftp_put_string(&w, h->bytes, h->len);
    sftp_put_attrs(&w, a);
    sftp_send(s->link, &q, &w);
    err = sftp_wait_status(s->link, c, &q);
    /* Who may read a file but not own it: chmod, chown and utimes say EPERM. */
    return err == -EACCES && !(a->flags & SFTP_ATTR_SIZE) ? -EPERM : err;
}

int sftp_setstat_full(struct sftp *s, const struct origin_call *c, const char *full,
                      const struct sftp_attrs *a)
{
    return set_attrs(s, c, full, false, NULL, a);
}

int sftp_fsetstat_handle(struct sftp *s, const struct origin_call *c, const struct sftp_handle *h,
                         const struct sftp_attrs *a)
{
    return set_attrs(s, c, NULL, false, h, a);
}

static bool needs_current(const struct origin_attr *attr)
{
    bool one_id = !(attr->mask & ORIGIN_SET_UID) != !(attr->mask & ORIGIN_SET_GID);
    bool one_time = !(attr->mask & ORIGIN_SET_ATIME) != !(attr->mask & ORIGIN_SET_MTIME);
    return one_id || one_time;
}

static uint32_t to_seconds(int64_t ns)
{
    int64_t sec = ns / NSEC_PER_SEC - (ns % NSEC_PER_SEC < 0);
    return sec < 0 ? 0 : sec > UINT32_MAX ? UINT32_MAX : (uint32_t)sec;
}

/* The attributes to send, in order: the size, then ids, as a change of owner cuts set-id bits, then
 * mode and times. *ret_count of them. `now` holds the current ones if needs_current said so. */
static void plan(const struct sftp *s, const struct origin_attr *attr, const struct sftp_attrs *now,
                 struct sftp_attrs steps[3], size_t *ret_count)
{
    size_t n = 0;
    memset(steps, 0, 3 * sizeof *steps);
    if (attr->mask & ORIGIN_SET_SIZE) {
        steps[n].flags = SFTP_ATTR_SIZE;
        steps[n++].size = attr->size;
    }
    if (attr->mask & (ORIGIN_SET_UID | ORIGIN_SET_GID)) {
        uint32_t uid = s->idmap && attr->uid == s->local_uid ? s->remote_uid : attr->uid;
        uint32_t gid = s->idmap && attr->gid == s->local_gid ? s->remote_gid : attr->gid;
        steps[n].flags = SFTP_ATTR_UIDGID;
        steps[n].uid = attr->mask & ORIGIN_SET_UID ? uid : now->uid;
        steps[n++].gid = attr->mask & ORIGIN_SET_GID ? gid : now->gid;
    }
    if (attr->mask & (ORIGIN_SET_MODE | ORIGIN_SET_ATIME | ORIGIN_SET_MTIME)) {
        struct sftp_attrs *last = &steps[n++];
        if (attr->mask & ORIGIN_SET_MODE) {
            last->flags |= SFTP_ATTR_PERMISSIONS;
            last->permissions = attr->mode & 07777;
        }
        if (attr->mask & (ORIGIN_SET_ATIME | ORIGIN_SET_MTIME)) {
            bool atime = attr->mask & ORIGIN_SET_ATIME, mtime = attr->mask & ORIGIN_SET_MTIME;
            last->flags |= SFTP_ATTR_ACMODTIME;
            last->atime = atime ? to_seconds(attr->atime_ns) : now->atime;
            last->mtime = mtime ? to_seconds(attr->mtime_ns) : now->mtime;
        }
    }
    *ret_count = n;
}

int sftp_setattr(struct origin *o, const struct origin_call *c, const char *path,
                 const struct origin_attr *attr)
{
    struct sftp *s = to_sftp(o);
    bool has_lsetstat = sftp_link_extensions(s->link) & SFTP_HAS_LSETSTAT;
    bool size = attr->mask & ORIGIN_SET_SIZE;
    AUTO_FREE char *full = NULL;
    struct sftp_attrs now = {0}, steps[3];
    size_t count;
    int err = sftp_resolve(s, c, path, &full);
    if (err)
        return err;
    bool looked = size || !has_lsetstat || needs_current(attr);
    if (looked)
        err = sftp_lstat_full(s, c, full, &now);
    if (err)
        return err;
    bool symlink = S_ISLNK(now.permissions);
    if (symlink && size)
        return -EINVAL;
    if (symlink && (!has_lsetstat || (attr->mask & ORIGIN_SET_MODE)))
        return -EOPNOTSUPP;
    plan(s, attr, &now, steps, &count);
    for (size_t i = 0; !err && i < count; i++) {
        bool nofollow = has_lsetstat && !(steps[i].flags & SFTP_ATTR_SIZE);
        err = set_attrs(s, c, full, nofollow, NULL, &steps[i]);
        if (nofollow && (err == -EIO || err == -EOPNOTSUPP)) {
            /* chmod without following needs more of the server's system than plain chmod. */
            if (!looked)
                err = sftp_lstat_full(s, c, full, &now);
            looked = true;
            if (S_ISLNK(now.permissions))
                return -EOPNOTSUPP;
            err = set_attrs(s, c, full, false, NULL, &steps[i]);
        }
    }
    return err == -EIO ? sftp_explain(s, c, full, NULL) : err;
}

int sftp_fsetattr(struct origin *o, const struct origin_call *c, struct origin_file *f,
                  const struct origin_attr *attr)
{
    struct sftp *s = to_sftp(o);
    const struct sftp_handle *h = &to_sftp_file(f)->handle;
    struct sftp_attrs now = {0}, steps[3];
    size_t count;
    int err = needs_current(attr) ? sftp_fstat_handle(s, c, h, &now) : 0;
    if (err)
        return err;
    plan(s, attr, &now, steps, &count);
    for (size_t i = 0; !err && i < count; i++)
        err = sftp_fsetstat_handle(s, c, h, &steps[i]);
    return err == -EIO ? sftp_explain(s, c, NULL, h) : err;
}

int sftp_statvfs(struct sftp *s, const struct origin_call *c, const char *full,
                 const struct sftp_handle *h, struct statvfs *ret)
{
    uint32_t needs = full ? SFTP_HAS_STATVFS : SFTP_HAS_FSTATVFS;
    if (!(sftp_link_extensions(s->link) & needs))
        return -EOPNOTSUPP;
    AUTO_REQUEST struct sftp_request q = {0};
    struct sftp_writer w;
    struct sftp_reader r;
    int err = sftp_begin(s->link, c, SFTP_EXTENDED, (full ? strlen(full) : h->len) + 32, &q, &w);
    if (err)
        return err;
    sftp_put_cstring(&w, full ? "statvfs@openssh.com" : "fstatvfs@openssh.com");
    if (full)
        sftp_put_cstring(&w, full);
    else
        sftp_put_string(&w, h->bytes, h->len);
    sftp_send(s->link, &q, &w);
    err = sftp_wait_reply(s->link, c, &q, SFTP_EXTENDED_REPLY, &r);
    if (err)
        return err;
    struct statvfs st = {0};
    st.f_bsize = sftp_get_u64(&r);
    st.f_frsize = sftp_get_u64(&r);
    st.f_blocks = sftp_get_u64(&r);
    st.f_bfree = sftp_get_u64(&r);
    st.f_bavail = sftp_get_u64(&r);
    st.f_files = sftp_get_u64(&r);
    st.f_ffree = sftp_get_u64(&r);
    st.f_favail = sftp_get_u64(&r);
    st.f_fsid = sftp_get_u64(&r);
    uint64_t flags = sftp_get_u64(&r);
    st.f_flag = (flags & STATVFS_RDONLY ? ST_RDONLY : 0) | (flags & STATVFS_NOSUID ? ST_NOSUID : 0);
    st.f_namemax = sftp_get_u64(&r);
    if (r.bad)
        return -EBADMSG;
    *ret = st;
    return 0;
}

int sftp_statfs(struct origin *o, const struct origin_call *c, struct statvfs *ret)
{
    struct sftp *s = to_sftp(o);
    return sftp_statvfs(s, c, *s->root ? s->root : "/", NULL, ret);
}

int sftp_explain(struct sftp *s, const struct origin_call *c, const char *full,
                 const struct sftp_handle *h)
{
    struct statvfs st;
    int err = sftp_statvfs(s, c, full, h, &st);
    if (err)
        return origin_error_class(err) == ORIGIN_ERR_PERMANENT ? -EIO : err;
    if (st.f_flag & ST_RDONLY)
        return -EROFS;
    if (st.f_bavail == 0 || (st.f_files && st.f_favail == 0))
        return -ENOSPC;
    return -EIO;
}
