// SPDX-License-Identifier: Apache-2.0
/*
 * OPEN follows symlinks and waits for fifos, and can't be told not to. An existing file is
 * therefore looked at with LSTAT: in the same round trip if opening it has no effect, before it
 * if it is to be truncated. A new one is always made with EXCL, which follows nothing.
 */
#include "origins/sftp_open.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/util.h"
#include "origins/sftp_attr.h"
#include "origins/sftp_path.h"

#define CREATE_TRIES 3 /* the file may come and go between LSTAT and OPEN */

static uint32_t access_flags(int flags)
{
    switch (flags & O_ACCMODE) {
    case O_WRONLY:
        return SFTP_FXF_WRITE;
    case O_RDWR:
        return SFTP_FXF_READ | SFTP_FXF_WRITE;
    default:
        return SFTP_FXF_READ;
    }
}

static int ask_open(struct sftp *s, const struct origin_call *c, const char *full, uint32_t flags,
                    const uint32_t *mode, struct sftp_request *q)
{
    struct sftp_writer w;
    struct sftp_attrs a = {0};
    q->opens = true;
    int err = sftp_begin(s->link, c, SFTP_OPEN, strlen(full), q, &w);
    if (err)
        return err;
    if (mode) {
        a.flags = SFTP_ATTR_PERMISSIONS;
        a.permissions = *mode & 07777;
    }
    sftp_put_cstring(&w, full);
    sftp_put_u32(&w, flags);
    sftp_put_attrs(&w, &a);
    sftp_send(s->link, q, &w);
    return 0;
}

/* 0 if an open of such a node may go on. */
static int check_type(const struct sftp_attrs *a)
{
    if (!(a->flags & SFTP_ATTR_PERMISSIONS) || S_ISREG(a->permissions))
        return 0;
    if (S_ISLNK(a->permissions))
        return -ELOOP;
    return S_ISDIR(a->permissions) ? -EISDIR : -ENXIO;
}

int sftp_opening_ask(struct sftp *s, const struct origin_call *c, const char *full, int flags,
                     struct sftp_opening *q)
{
    int err = sftp_ask_path(s->link, c, SFTP_LSTAT, full, &q->look);
    return err ? err : ask_open(s, c, full, access_flags(flags), NULL, &q->open);
}

int sftp_opening_settle(struct sftp *s, const struct origin_call *c, struct sftp_opening *q,
                        struct sftp_handle *ret, struct sftp_attrs *ret_attrs)
{
    struct sftp_attrs a;
    int err = sftp_wait_attrs(s->link, c, &q->look, &a);
    if (!err)
        err = check_type(&a);
    if (err == -ENXIO && S_ISFIFO(a.permissions))
        sftp_link_abandon(s->link); /* the server waits in open(2) for the fifo's other end */
    if (!err)
        err = sftp_wait_handle(s->link, c, &q->open, ret);
    if (!err)
        *ret_attrs = a;
    return err;
}

void sftp_opening_end(struct sftp_opening *q)
{
    sftp_request_end(&q->look);
    sftp_request_end(&q->open);
}

#define AUTO_OPENING __attribute__((cleanup(sftp_opening_end)))

/* LSTAT of the file and of its directories, and OPEN, in one round trip. */
static int open_plain(struct sftp *s, const struct origin_call *c, const char *full, int flags,
                      struct sftp_handle *ret, struct sftp_attrs *ret_attrs)
{
    AUTO_WALK struct sftp_walk walk = {0};
    AUTO_OPENING struct sftp_opening q = {0};
    int err = sftp_walk_ask(s, c, full, &walk);
    if (!err)
        err = sftp_opening_ask(s, c, full, flags, &q);
    if (!err)
        err = sftp_walk_settle(c, &walk);
    if (!err)
        err = sftp_opening_settle(s, c, &q, ret, ret_attrs);
    /* The file is there: what else can be wrong? */
    bool explain = err == -EIO && q.open.done && (flags & O_ACCMODE) != O_RDONLY;
    return explain ? sftp_explain(s, c, full, NULL) : err;
}

/* Gives a file just made exactly `mode`, whatever the server's umask cut. */
static int fix_mode(struct sftp *s, const struct origin_call *c, const struct sftp_handle *h,
                    uint32_t mode, struct sftp_attrs *a)
{
    if (!(a->flags & SFTP_ATTR_PERMISSIONS))
        return 0;
    if ((a->permissions & 07777) == mode)
        return 0;
    struct sftp_attrs set = {.flags = SFTP_ATTR_PERMISSIONS, .permissions = mode};
    int err = sftp_fsetstat_handle(s, c, h, &set);
    if (err == -EPERM || err == -EOPNOTSUPP) /* a server whose policy is to set no modes */
        return 0;
    if (!err)
        a->permissions = (a->permissions & S_IFMT) | mode;
    return err;
}

/* OPEN with LSTAT behind it: the handle, and what is there after the open. Not 0 if OPEN failed;
 * *ret_there then tells if the look found something all the same. */
static int open_and_look(struct sftp *s, const struct origin_call *c, const char *full,
                         uint32_t flags, const uint32_t *mode, struct sftp_handle *ret,
                         struct sftp_attrs *ret_attrs, bool *ret_there)
{
    AUTO_REQUEST struct sftp_request q = {0};
    AUTO_REQUEST struct sftp_request look = {0};
    struct sftp_handle h;
    int err = ask_open(s, c, full, flags, mode, &q);
    if (!err)
        err = sftp_ask_path(s->link, c, SFTP_LSTAT, full, &look);
    if (err)
        return err;
    err = sftp_wait_handle(s->link, c, &q, &h);
    int looked = sftp_wait_attrs(s->link, c, &look, ret_attrs);
    *ret_there = looked == 0;
    if (err)
        return err;
    if (looked) {
        sftp_close_handle(s->link, &h);
        return looked;
    }
    *ret = h;
    return 0;
}

static int create(struct sftp *s, const struct origin_call *c, const char *full, int flags,
                  uint32_t mode, struct sftp_handle *ret, struct sftp_attrs *ret_attrs)
{
    struct sftp_handle h;
    struct sftp_attrs a;
    bool there = false;
    int err = open_and_look(s, c, full, access_flags(flags) | SFTP_FXF_CREAT | SFTP_FXF_EXCL, &mode,
                            &h, &a, &there);
    if (err == -EIO && there)
        return -EEXIST;
    if (err == -EIO) {
        AUTO_FREE char *parent = sftp_parent_path(full);
        return parent ? sftp_explain(s, c, parent, NULL) : -ENOMEM;
    }
    if (err)
        return err;
    err = fix_mode(s, c, &h, mode, &a);
    if (err) {
        sftp_close_handle(s->link, &h);
        return err;
    }
    *ret = h;
    *ret_attrs = a;
    return 0;
}

static int open_existing(struct sftp *s, const struct origin_call *c, const char *full, int flags,
                         struct sftp_handle *ret, struct sftp_attrs *ret_attrs)
{
    struct sftp_attrs a;
    bool there;
    int err = sftp_lstat_full(s, c, full, &a);
    if (!err)
        err = check_type(&a);
    if (err)
        return err;
    uint32_t truncate = flags & O_TRUNC ? SFTP_FXF_TRUNC : 0u;
    err = open_and_look(s, c, full, access_flags(flags) | truncate, NULL, ret, ret_attrs, &there);
    return err == -EIO ? sftp_explain(s, c, full, NULL) : err;
}

static int open_any(struct sftp *s, const struct origin_call *c, const char *path, int flags,
                    uint32_t mode, struct sftp_handle *ret, struct sftp_attrs *ret_attrs)
{
    AUTO_FREE char *full = NULL;
    if (!(flags & (O_CREAT | O_TRUNC))) {
        int err = sftp_full_path(s, path, &full);
        return err ? err : open_plain(s, c, full, flags, ret, ret_attrs);
    }
    int err = sftp_resolve(s, c, path, &full);
    if (err)
        return err;
    if ((flags & O_CREAT) && (flags & O_EXCL))
        return create(s, c, full, flags, mode, ret, ret_attrs);
    for (int i = 0; i < CREATE_TRIES; i++) {
        err = open_existing(s, c, full, flags, ret, ret_attrs);
        if (err != -ENOENT || !(flags & O_CREAT))
            return err;
        err = create(s, c, full, flags, mode, ret, ret_attrs);
        if (err != -EEXIST)
            return err;
    }
    return err;
}

int sftp_open(struct origin *o, const struct origin_call *c, const char *path, int flags,
              uint32_t mode, struct origin_file **ret, struct origin_stat *ret_stat)
{
    struct sftp *s = to_sftp(o);
    struct sftp_attrs a = {0};
    struct sftp_file *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    int err = open_any(s, c, path, flags, mode & 07777, &f->handle, &a);
    if (err) {
        free(f);
        return err;
    }
    f->base.owner = o;
    if (ret_stat)
        sftp_to_stat(s, &a, ret_stat);
    *ret = &f->base;
    return 0;
}

void sftp_close_file(struct origin *o, struct origin_file *f)
{
    sftp_close_handle(to_sftp(o)->link, &to_sftp_file(f)->handle);
    free(to_sftp_file(f));
}

int sftp_mknod(struct origin *o, const struct origin_call *c, const char *path, uint32_t mode,
               uint64_t rdev)
{
    struct origin_file *f;
    if ((mode & S_IFMT) != S_IFREG && (mode & S_IFMT) != 0)
        return -EOPNOTSUPP;
    int err = sftp_open(o, c, path, O_WRONLY | O_CREAT | O_EXCL, mode, &f, NULL);
    if (!err)
        sftp_close_file(o, f);
    return err;
}
