// SPDX-License-Identifier: Apache-2.0
/*
 * Two round trips for a batch of files, whatever their number: all are opened at once, and behind
 * each handle that comes READ, FSTAT and CLOSE are sent, which the server works on in order.
 */
#include "origins/sftp_whole.h"

#include <errno.h>
#include <fcntl.h>

#include "base/util.h"
#include "origins/sftp_attr.h"
#include "origins/sftp_open.h"
#include "origins/sftp_path.h"

#define BATCH 32u /* three requests each fit into the link's slots */

struct whole {
    struct origin_whole *file;
    struct sftp_opening opening;
    bool opened;
    struct sftp_request read;
    struct sftp_request stat;
};

/* An answer about this file alone, or one that ends the batch? */
static bool ends_batch(int err)
{
    return err && origin_error_class(err) != ORIGIN_ERR_PERMANENT;
}

/* Notes the file's result; returns what ends the batch. */
static int finish(struct origin_whole *f, ssize_t got)
{
    if (got < 0 && ends_batch((int)got))
        return (int)got;
    f->ret_got = got;
    f->finished = true;
    f->done(f);
    return 0;
}

static int ask_open(struct sftp *s, const struct origin_call *c, struct whole *w)
{
    AUTO_FREE char *full = NULL;
    int err = sftp_resolve(s, c, w->file->path, &full);
    return err ? err : sftp_opening_ask(s, c, full, O_RDONLY, &w->opening);
}

static int ask_data(struct sftp *s, const struct origin_call *c, struct whole *w)
{
    struct sftp_handle h;
    struct sftp_attrs unused;
    struct sftp_writer out;
    int err = sftp_opening_settle(s, c, &w->opening, &h, &unused);
    if (err)
        return err;
    w->read = (struct sftp_request){.data = w->file->buf, .want = w->file->len};
    err = sftp_begin(s->link, c, SFTP_READ, h.len, &w->read, &out);
    if (!err) {
        sftp_put_string(&out, h.bytes, h.len);
        sftp_put_u64(&out, 0);
        sftp_put_u32(&out, (uint32_t)min_u64(w->file->len, sftp_link_max_read(s->link)));
        sftp_send(s->link, &w->read, &out);
        err = sftp_ask_handle(s->link, c, SFTP_FSTAT, &h, &w->stat);
    }
    sftp_close_handle(s->link, &h);
    w->opened = !err;
    return err;
}

/* Bytes read, or -errno. */
static ssize_t take_data(struct sftp *s, const struct origin_call *c, struct whole *w)
{
    struct sftp_attrs a = {0};
    size_t got = 0;
    int err = sftp_wait(s->link, c, &w->read);
    if (!err) {
        if (w->read.type == SFTP_DATA && !w->read.body)
            got = w->read.got;
        else if ((err = sftp_reply_status(&w->read)) == -ENODATA)
            err = 0; /* the end of the file */
        else if (!err)
            err = -EBADMSG;
    }
    if (!err)
        err = sftp_wait_attrs(s->link, c, &w->stat, &a);
    if (err)
        return err;
    sftp_to_stat(s, &a, &w->file->ret_after);
    return (ssize_t)got;
}

static int read_batch(struct sftp *s, const struct origin_call *c, struct whole *batch,
                      size_t count)
{
    int err = 0;
    for (size_t i = 0; !err && i < count; i++) {
        err = ask_open(s, c, &batch[i]);
        if (err && !ends_batch(err))
            err = finish(batch[i].file, err);
    }
    for (size_t i = 0; !err && i < count; i++) {
        if (batch[i].file->finished)
            continue;
        err = ask_data(s, c, &batch[i]);
        if (err && !ends_batch(err))
            err = finish(batch[i].file, err);
    }
    for (size_t i = 0; !err && i < count; i++)
        if (batch[i].opened)
            err = finish(batch[i].file, take_data(s, c, &batch[i]));
    for (size_t i = 0; i < count; i++) {
        sftp_opening_end(&batch[i].opening);
        sftp_request_end(&batch[i].read);
        sftp_request_end(&batch[i].stat);
    }
    return err;
}

int sftp_read_whole(struct origin *o, const struct origin_call *c, struct origin_whole *files,
                    size_t count)
{
    AUTO_FREE struct whole *batch = malloc(BATCH * sizeof *batch);
    if (!batch)
        return -ENOMEM;
    int err = 0;
    for (size_t i = 0; !err && i < count;) {
        size_t n = 0;
        for (; i < count && n < BATCH; i++)
            if (!files[i].finished)
                batch[n++] = (struct whole){.file = &files[i]};
        err = read_batch(to_sftp(o), c, batch, n);
    }
    return err;
}
