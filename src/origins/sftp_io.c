// SPDX-License-Identifier: Apache-2.0
/*
 * A call's range goes out as pieces of the server's largest size, up to DEPTH at once, so that
 * bandwidth times delay stays filled; replies come in any order. FSTAT travels right behind the
 * last READ: servers work on one file's requests in order, so it tells the state after the last
 * byte was read without a round trip of its own. It also settles a short reply at the end of the
 * file, which otherwise takes one more READ to tell from a server that gives less than was asked.
 */
#include "origins/sftp_io.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "origins/sftp_attr.h"

#define DEPTH     64u        /* requests on their way; 16 MiB at 255 KiB each */
#define COPY_MOST (64 * MIB) /* per request: the server answers nothing else meanwhile */

enum piece_state { PIECE_IDLE, PIECE_SENT, PIECE_SHORT };

struct piece {
    struct sftp_request request;
    enum piece_state state;
    size_t at; /* in the caller's buffer */
    size_t len;
};

struct reading {
    struct sftp *s;
    const struct origin_call *c;
    const struct sftp_handle *h;
    uint8_t *buf;
    uint64_t off;
    size_t next; /* not asked for yet, from here on */
    size_t end;  /* of what can be had: lowered where the file ends */
    struct piece piece[DEPTH];
    struct sftp_request stat;
    bool stat_sent;
    bool read_after_stat;
};

static int send_read(struct reading *r, struct piece *p)
{
    struct sftp_writer w;
    sftp_request_end(&p->request);
    p->request = (struct sftp_request){.data = r->buf + p->at, .want = p->len};
    int err = sftp_begin(r->s->link, r->c, SFTP_READ, r->h->len, &p->request, &w);
    if (err)
        return err;
    sftp_put_string(&w, r->h->bytes, r->h->len);
    sftp_put_u64(&w, r->off + p->at);
    sftp_put_u32(&w, (uint32_t)p->len);
    p->state = PIECE_SENT;
    sftp_send(r->s->link, &p->request, &w);
    r->read_after_stat |= r->stat_sent;
    return 0;
}

/* The reply to `p` is here. */
static int take_read(struct reading *r, struct piece *p)
{
    const struct sftp_request *q = &p->request;
    if (q->type == SFTP_DATA && !q->body) {
        if (q->got == 0)
            return -EBADMSG;
        p->at += q->got;
        p->len -= q->got;
        p->state = p->len ? PIECE_SHORT : PIECE_IDLE;
        return 0;
    }
    int err = sftp_reply_status(q);
    if (err != -ENODATA)
        return err ? err : -EBADMSG;
    p->state = PIECE_IDLE;
    r->end = min_u64(r->end, p->at);
    return 0;
}

/* A piece came back short: the file ends there, or the rest is to be asked for. */
static int settle_short(struct reading *r, struct piece *p)
{
    if (p->at >= r->end) {
        p->state = PIECE_IDLE;
        return 0;
    }
    if (r->stat_sent && !r->stat.done)
        return 0;
    if (r->stat_sent && r->stat.type == SFTP_ATTRS) {
        struct sftp_reader body = {.p = r->stat.body, .left = r->stat.body_len};
        struct sftp_attrs a = {0};
        sftp_get_attrs(&body, &a);
        if ((a.flags & SFTP_ATTR_SIZE) && a.size == r->off + p->at) {
            r->end = p->at;
            p->state = PIECE_IDLE;
            return 0;
        }
    }
    return send_read(r, p);
}

/* Sends what may be sent, takes what has come. *ret_open is how much is still to come. */
static int advance_reading(struct reading *r, unsigned *ret_open)
{
    size_t most = sftp_link_max_read(r->s->link);
    unsigned open = 0;
    int err = 0;
    for (size_t i = 0; !err && i < DEPTH; i++) {
        struct piece *p = &r->piece[i];
        if (p->state == PIECE_SENT && p->request.done)
            err = take_read(r, p);
        if (!err && p->state == PIECE_SHORT)
            err = settle_short(r, p);
        if (!err && p->state == PIECE_IDLE && r->next < r->end) {
            p->at = r->next;
            p->len = min_u64(most, r->end - r->next);
            r->next += p->len;
            err = send_read(r, p);
        }
        open += p->state != PIECE_IDLE;
    }
    if (!err && !r->stat_sent && r->next >= r->end) {
        err = sftp_ask_handle(r->s->link, r->c, SFTP_FSTAT, r->h, &r->stat);
        r->stat_sent = !err;
    }
    *ret_open = open + (r->stat_sent && !r->stat.done);
    return err;
}

static int read_all(struct reading *r)
{
    for (;;) {
        unsigned open;
        int err = advance_reading(r, &open);
        if (err || !open)
            return err;
        err = sftp_progress(r->s->link);
        if (err > 0)
            err = origin_call_ended(r->c, &err) ? sftp_wait_any(r->s->link, r->c) : 0;
        else if (!err)
            err = sftp_wait_any(r->s->link, r->c);
        if (err)
            return err;
    }
}

ssize_t sftp_pread(struct origin *o, const struct origin_call *c, struct origin_file *f, void *buf,
                   size_t len, uint64_t off, struct origin_stat *ret_after)
{
    struct sftp *s = to_sftp(o);
    struct reading *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->s = s;
    r->c = c;
    r->h = &to_sftp_file(f)->handle;
    r->buf = buf;
    r->off = off;
    r->end = len;
    int err = read_all(r);
    struct sftp_attrs after = {0};
    if (!err && ret_after)
        err = r->read_after_stat ? sftp_fstat_handle(s, c, r->h, &after)
                                 : sftp_wait_attrs(s->link, c, &r->stat, &after);
    ssize_t got = (ssize_t)r->end;
    for (size_t i = 0; i < DEPTH; i++)
        sftp_request_end(&r->piece[i].request);
    sftp_request_end(&r->stat);
    free(r);
    if (err)
        return err;
    if (ret_after)
        sftp_to_stat(s, &after, ret_after);
    return got;
}

struct writing {
    struct sftp *s;
    const struct origin_call *c;
    const struct sftp_handle *h;
    struct sftp_request request[DEPTH];
    bool sent[DEPTH];
    int err; /* the first that the server told */
};

/* Takes the answers that have come; *ret_open is how many are still to come, *ret_idle a free
 * place or DEPTH. */
static void take_writes(struct writing *w, unsigned *ret_open, size_t *ret_idle)
{
    unsigned open = 0;
    size_t idle = DEPTH;
    for (size_t i = 0; i < DEPTH; i++) {
        struct sftp_request *q = &w->request[i];
        if (w->sent[i] && q->done) {
            int err = sftp_reply_status(q);
            if (!w->err)
                w->err = err;
            sftp_request_end(q);
            w->sent[i] = false;
        }
        if (!w->sent[i])
            idle = i;
        open += w->sent[i];
    }
    *ret_open = open;
    *ret_idle = idle;
}

static int write_all(struct writing *w, const uint8_t *buf, size_t len, uint64_t off)
{
    struct sftp_link *l = w->s->link;
    size_t most = sftp_link_max_write(l);
    size_t next = 0;
    for (;;) {
        unsigned open;
        size_t idle;
        int err = sftp_progress(l);
        if (err < 0)
            return err;
        bool moved = err > 0;
        take_writes(w, &open, &idle);
        bool more = next < len && !w->err;
        if (!more && !open)
            return 0;
        if (more && idle < DEPTH) {
            size_t n = min_u64(most, len - next);
            struct sftp_request *q = &w->request[idle];
            struct sftp_writer out;
            *q = (struct sftp_request){0};
            err = sftp_begin(l, w->c, SFTP_WRITE, w->h->len + n, q, &out);
            if (err)
                return err;
            sftp_put_string(&out, w->h->bytes, w->h->len);
            sftp_put_u64(&out, off + next);
            sftp_put_string(&out, buf + next, n);
            sftp_send(l, q, &out);
            w->sent[idle] = true;
            next += n;
        } else if (!moved) {
            err = sftp_wait_any(l, w->c);
            if (err)
                return err;
        }
    }
}

int sftp_pwrite(struct origin *o, const struct origin_call *c, struct origin_file *f,
                const void *buf, size_t len, uint64_t off)
{
    struct writing *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->s = to_sftp(o);
    w->c = c;
    w->h = &to_sftp_file(f)->handle;
    int err = write_all(w, buf, len, off);
    if (!err && w->err)
        err = w->err == -EIO ? sftp_explain(w->s, c, NULL, w->h) : w->err;
    for (size_t i = 0; i < DEPTH; i++)
        sftp_request_end(&w->request[i]);
    free(w);
    return err;
}

int sftp_fsync(struct origin *o, const struct origin_call *c, struct origin_file *f)
{
    struct sftp *s = to_sftp(o);
    const struct sftp_handle *h = &to_sftp_file(f)->handle;
    if (!(sftp_link_extensions(s->link) & SFTP_HAS_FSYNC))
        return -EOPNOTSUPP;
    AUTO_REQUEST struct sftp_request q = {0};
    struct sftp_writer w;
    int err = sftp_begin(s->link, c, SFTP_EXTENDED, h->len + 32u, &q, &w);
    if (err)
        return err;
    sftp_put_cstring(&w, "fsync@openssh.com");
    sftp_put_string(&w, h->bytes, h->len);
    sftp_send(s->link, &q, &w);
    err = sftp_wait_status(s->link, c, &q);
    return err == -EIO ? sftp_explain(s, c, NULL, h) : err;
}

ssize_t sftp_copy_range(struct origin *o, const struct origin_call *c, struct origin_file *from,
                        uint64_t from_off, struct origin_file *to, uint64_t to_off, uint64_t len)
{
    struct sftp *s = to_sftp(o);
    const struct sftp_handle *source = &to_sftp_file(from)->handle;
    const struct sftp_handle *target = &to_sftp_file(to)->handle;
    if (to->owner != o)
        return -EXDEV;
    if (!(sftp_link_extensions(s->link) & SFTP_HAS_COPY_DATA))
        return -EOPNOTSUPP;
    /* The reply doesn't tell how much was copied: ask for no more than there is. A length of 0
     * would mean "all of it". */
    struct sftp_attrs a = {0};
    int err = sftp_fstat_handle(s, c, source, &a);
    if (err)
        return err;
    if (from_off >= a.size || len == 0)
        return 0;
    len = min_u64(min_u64(len, a.size - from_off), COPY_MOST);
    AUTO_REQUEST struct sftp_request q = {0};
    struct sftp_writer w;
    err = sftp_begin(s->link, c, SFTP_EXTENDED, source->len + target->len + 64u, &q, &w);
    if (err)
        return err;
    sftp_put_cstring(&w, "copy-data");
    sftp_put_string(&w, source->bytes, source->len);
    sftp_put_u64(&w, from_off);
    sftp_put_u64(&w, len);
    sftp_put_string(&w, target->bytes, target->len);
    sftp_put_u64(&w, to_off);
    sftp_send(s->link, &q, &w);
    err = sftp_wait_status(s->link, c, &q);
    if (err)
        return err == -EIO ? sftp_explain(s, c, NULL, target) : err;
    return (ssize_t)len;
}
