// SPDX-License-Identifier: Apache-2.0
/*
 * Requests wait in `out` until the channel takes them. Replies find their request by the slot
 * id % SLOTS. A slot outlives its request: a dropped one keeps the id until the reply has come, so
 * a late reply never touches memory that is no longer there. Receiving is a state machine that
 * can stop after any byte.
 */
#include "origins/sftp_link.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "origins/ssh.h"

#define SLOTS          256u
#define OUT_BYTES      (1 * MIB)
#define IN_BYTES       (32 * KIB)
#define FRAME_BYTES    80u /* length, type, id, and the fixed fields of any request */
#define CLOSE_BYTES    (FRAME_BYTES + 256u)
#define MAX_REPLY      (512 * KIB) /* OpenSSH's longest is 256 KiB */
#define DEFAULT_IO     (32 * KIB) /* every server takes as much (filexfer-02, section 3) */
#define MAX_IO         (255 * KIB)
#define VERSION_NUMBER 3u

enum slot_state {
    SLOT_FREE,
    SLOT_AWAITED,        /* .request gets the reply */
    SLOT_DROPPED,        /* nobody does */
    SLOT_DROPPED_HANDLE, /* nobody does; a handle in it has to be closed */
};

struct slot {
    enum slot_state state;
    uint32_t id;
    struct sftp_request *request;
};

enum rx_state { RX_HEADER, RX_DATA, RX_BODY, RX_SKIP };

/* A handle whose CLOSE waits for a place. */
struct closing {
    struct closing *next;
    struct sftp_handle handle;
};

struct sftp_link {
    struct ssh *ssh;
    bool broken;
    uint32_t extensions;
    uint32_t max_packet; /* length field included */
    uint32_t max_read;
    uint32_t max_write;
    uint32_t next_id;
    struct slot slot[SLOTS];
    struct closing *closes;

    uint8_t *out;
    size_t out_pos; /* sent up to here */
    size_t out_len;

    uint8_t in[IN_BYTES];
    size_t in_pos;
    size_t in_len;
    enum rx_state rx;
    struct slot *rx_slot; /* whose reply is being received; NULL while RX_HEADER */
    uint8_t rx_type;
    uint8_t *rx_to;  /* RX_DATA, RX_BODY: where the next byte goes */
    size_t rx_left;  /* bytes of this part */
    size_t rx_after; /* RX_DATA: bytes to skip after the data */
    uint8_t *rx_body;
    size_t rx_body_len;
};

static int break_link(struct sftp_link *l, int err, const char *why)
{
    if (!l->broken && why)
        log_warn("%s: %s", ssh_name(l->ssh), why);
    l->broken = true;
    return err;
}

static void close_soon(struct sftp_link *l, const struct sftp_handle *h);
static void send_closes(struct sftp_link *l);

static int flush(struct sftp_link *l)
{
    while (l->out_pos < l->out_len) {
        ssize_t n = ssh_write(l->ssh, l->out + l->out_pos, l->out_len - l->out_pos);
        if (n == -EAGAIN)
            return 0;
        if (n < 0)
            return break_link(l, (int)n, NULL);
        l->out_pos += (size_t)n;
    }
    l->out_pos = l->out_len = 0;
    return 0;
}

/* Room for n more bytes in `out`, without waiting. */
static bool has_room(struct sftp_link *l, size_t n)
{
    if (OUT_BYTES - l->out_len >= n)
        return true;
    /* The bytes move, their order doesn't: what is half sent stays in front. */
    memmove(l->out, l->out + l->out_pos, l->out_len - l->out_pos);
    l->out_len -= l->out_pos;
    l->out_pos = 0;
    return OUT_BYTES - l->out_len >= n;
}

static struct slot *free_slot(struct sftp_link *l)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *s = &l->slot[(l->next_id + i) % SLOTS];
        if (s->state == SLOT_FREE) {
            l->next_id += i;
            return s;
        }
    }
    return NULL;
}

/* --- receiving ------------------------------------------------------------------------------- */

/* At least n (<= IN_BYTES) bytes in `in`: 1, 0 if they are not there yet, or -errno. */
static int fill(struct sftp_link *l, size_t n)
{
    while (l->in_len - l->in_pos < n) {
        if (l->in_pos) {
            memmove(l->in, l->in + l->in_pos, l->in_len - l->in_pos);
            l->in_len -= l->in_pos;
            l->in_pos = 0;
        }
        ssize_t got = ssh_read(l->ssh, l->in + l->in_len, IN_BYTES - l->in_len);
        if (got == -EAGAIN)
            return 0;
        if (got < 0)
            return break_link(l, (int)got, NULL);
        l->in_len += (size_t)got;
    }
    return 1;
}

/* Moves bytes to rx_to (NULL: away) until rx_left is 0: 1, 0 if more have to come, or -errno. */
static int move_bytes(struct sftp_link *l)
{
    while (l->rx_left) {
        size_t n = min_u64(l->in_len - l->in_pos, l->rx_left);
        if (n) {
            if (l->rx_to)
                memcpy(l->rx_to, l->in + l->in_pos, n);
            l->in_pos += n;
        } else if (l->rx_to && l->rx_left >= IN_BYTES / 4) {
            ssize_t got = ssh_read(l->ssh, l->rx_to, l->rx_left);
            if (got == -EAGAIN)
                return 0;
            if (got < 0)
                return break_link(l, (int)got, NULL);
            n = (size_t)got;
        } else {
            int rc = fill(l, 1);
            if (rc <= 0)
                return rc;
            continue;
        }
        if (l->rx_to)
            l->rx_to += n;
        l->rx_left -= n;
    }
    return 1;
}

static int begin_reply(struct sftp_link *l)
{
    int rc = fill(l, 9);
    if (rc <= 0)
        return rc;
    struct sftp_reader r = {.p = l->in + l->in_pos, .left = l->in_len - l->in_pos};
    uint32_t len = sftp_get_u32(&r);
    uint8_t type = sftp_get_u8(&r);
    uint32_t id = sftp_get_u32(&r);
    struct slot *s = &l->slot[id % SLOTS];
    if (len < 5 || len > MAX_REPLY)
        return break_link(l, -EBADMSG, "the server sent an SFTP packet of impossible length");
    if (s->state == SLOT_FREE || s->id != id)
        return break_link(l, -EBADMSG, "the server answered an SFTP request that was not asked");
    bool direct = type == SFTP_DATA && s->state == SLOT_AWAITED && s->request->data;
    if (direct) {
        rc = fill(l, 13);
        if (rc <= 0)
            return rc;
        r = (struct sftp_reader){.p = l->in + l->in_pos + 9, .left = 4};
        uint32_t data_len = sftp_get_u32(&r);
        if (len < 9 || data_len > len - 9 || data_len > s->request->want)
            return break_link(l, -EBADMSG, "the server sent more data than was asked for");
        l->in_pos += 13;
        l->rx = RX_DATA;
        l->rx_to = s->request->data;
        l->rx_left = data_len;
        l->rx_after = len - 9 - data_len;
        s->request->got = data_len;
    } else if (s->state == SLOT_AWAITED ||
               (s->state == SLOT_DROPPED_HANDLE && type == SFTP_HANDLE)) {
        l->rx_body_len = len - 5;
        l->rx_body = malloc(l->rx_body_len ? l->rx_body_len : 1);
        if (!l->rx_body)
            return break_link(l, -ENOMEM, NULL);
        l->in_pos += 9;
        l->rx = RX_BODY;
        l->rx_to = l->rx_body;
        l->rx_left = l->rx_body_len;
    } else {
        l->in_pos += 9;
        l->rx = RX_SKIP;
        l->rx_to = NULL;
        l->rx_left = len - 5;
    }
    l->rx_type = type;
    l->rx_slot = s;
    return 1;
}

static void finish_reply(struct sftp_link *l)
{
    struct slot *s = l->rx_slot;
    struct sftp_request *q = s->state == SLOT_AWAITED ? s->request : NULL;
    enum slot_state state = s->state;
    s->state = SLOT_FREE;
    s->request = NULL;
    l->rx = RX_HEADER;
    l->rx_slot = NULL;
    uint8_t *body = STEAL(l->rx_body);
    if (q) {
        q->link = NULL;
        q->done = true;
        q->type = l->rx_type;
        q->body = body;
        q->body_len = body ? l->rx_body_len : 0;
        send_closes(l);
        return;
    }
    if (state == SLOT_DROPPED_HANDLE && body && l->rx_type == SFTP_HANDLE) {
        struct sftp_reader r = {.p = body, .left = l->rx_body_len};
        struct sftp_handle h;
        size_t n;
        const uint8_t *p = sftp_get_string(&r, &n);
        if (p && n <= sizeof h.bytes) {
            h.len = (uint16_t)n;
            memcpy(h.bytes, p, n);
            close_soon(l, &h);
        }
    }
    free(body);
    send_closes(l);
}

/* One reply further: 1 when one is complete, 0 if bytes are missing, or -errno. */
static int receive(struct sftp_link *l)
{
    for (;;) {
        if (l->rx == RX_HEADER) {
            int rc = begin_reply(l);
            if (rc <= 0)
                return rc;
        }
        int rc = move_bytes(l);
        if (rc <= 0)
            return rc;
        if (l->rx == RX_DATA && l->rx_after) {
            l->rx = RX_SKIP;
            l->rx_to = NULL;
            l->rx_left = l->rx_after;
            continue;
        }
        finish_reply(l);
        return 1;
    }
}

int sftp_progress(struct sftp_link *l)
{
    if (l->broken)
        return -ECONNRESET;
    int err = flush(l);
    return err ? err : receive(l);
}

/* A call ends with its requests under way. A server that is silent beyond a deadline is not worth
 * another one; and a request that is still unsent must not go out later, when nobody expects it. */
static int end_call(struct sftp_link *l, int err)
{
    if (err == -ETIMEDOUT || l->out_pos < l->out_len)
        break_link(l, err, NULL);
    return err;
}

int sftp_wait_any(struct sftp_link *l, const struct origin_call *c)
{
    int err;
    if (origin_call_ended(c, &err))
        return end_call(l, err);
    err = ssh_wait(l->ssh, c);
    return err ? end_call(l, err) : 0;
}

void sftp_link_abandon(struct sftp_link *l)
{
    break_link(l, 0, NULL);
}

int sftp_wait(struct sftp_link *l, const struct origin_call *c, struct sftp_request *q)
{
    while (!q->done) {
        int err = sftp_progress(l);
        if (err > 0) {
            /* Replies may come without end; the call still has one. */
            if (!q->done && origin_call_ended(c, &err))
                return end_call(l, err);
            continue;
        }
        if (!err)
            err = sftp_wait_any(l, c);
        if (err)
            return err;
    }
    return 0;
}

/* --- sending --------------------------------------------------------------------------------- */

int sftp_begin(struct sftp_link *l, const struct origin_call *c, uint8_t type, size_t room,
               struct sftp_request *q, struct sftp_writer *ret_w)
{
    if (room > l->max_packet - FRAME_BYTES)
        return -EMSGSIZE;
    struct slot *s;
    int err;
    if (origin_call_ended(c, &err))
        return err;
    for (;;) {
        if (l->broken)
            return -ECONNRESET;
        s = free_slot(l);
        if (s && has_room(l, FRAME_BYTES + room))
            break;
        err = sftp_progress(l);
        if (!err)
            err = sftp_wait_any(l, c);
        if (err < 0)
            return err;
    }
    q->id = l->next_id;
    *ret_w = (struct sftp_writer){.buf = l->out + l->out_len, .cap = FRAME_BYTES + room};
    sftp_packet_begin(ret_w, type);
    sftp_put_u32(ret_w, q->id);
    return 0;
}

static void commit(struct sftp_link *l, const struct sftp_writer *w, enum slot_state state,
                   struct sftp_request *q)
{
    struct slot *s = &l->slot[l->next_id % SLOTS];
    *s = (struct slot){.state = state, .id = l->next_id++, .request = q};
    l->out_len += w->len;
}

void sftp_send(struct sftp_link *l, struct sftp_request *q, struct sftp_writer *w)
{
    sftp_packet_end(w);
    q->done = false;
    q->got = 0;
    q->link = l;
    commit(l, w, SLOT_AWAITED, q);
    if (w->overflow) /* a bug of ours: the bytes must not go out */
        break_link(l, -EMSGSIZE, "an SFTP request did not fit its buffer");
    else
        flush(l); /* an error shows at the next wait */
}

void sftp_request_end(struct sftp_request *q)
{
    if (q->link) {
        struct slot *s = &q->link->slot[q->id % SLOTS];
        s->state = q->opens ? SLOT_DROPPED_HANDLE : SLOT_DROPPED;
        s->request = NULL;
        struct sftp_link *l = q->link;
        if (l->rx_slot == s && l->rx == RX_DATA) {
            l->rx = RX_SKIP;
            l->rx_to = NULL;
            l->rx_left += l->rx_after;
        }
        q->link = NULL;
    }
    free(q->body);
    q->body = NULL;
    q->done = false;
}

/* False if there is no place for it now. */
static bool send_close(struct sftp_link *l, const struct sftp_handle *h)
{
    if (!free_slot(l) || !has_room(l, CLOSE_BYTES))
        return false;
    struct sftp_writer w = {.buf = l->out + l->out_len, .cap = CLOSE_BYTES};
    sftp_packet_begin(&w, SFTP_CLOSE);
    sftp_put_u32(&w, l->next_id);
    sftp_put_string(&w, h->bytes, h->len);
    sftp_packet_end(&w);
    commit(l, &w, SLOT_DROPPED, NULL);
    flush(l);
    return true;
}

static void send_closes(struct sftp_link *l)
{
    while (l->closes && !l->broken && send_close(l, &l->closes->handle)) {
        struct closing *done = l->closes;
        l->closes = done->next;
        free(done);
    }
}

/* Sends a CLOSE now or, if there is no place for it, as soon as replies have made one. */
static void close_soon(struct sftp_link *l, const struct sftp_handle *h)
{
    if (l->broken || (!l->closes && send_close(l, h)))
        return;
    struct closing *x = malloc(sizeof *x);
    if (!x) {
        break_link(l, -ENOMEM, "out of memory");
        return;
    }
    x->handle = *h;
    x->next = l->closes;
    l->closes = x;
}

void sftp_close_handle(struct sftp_link *l, const struct sftp_handle *h)
{
    while (!l->broken && !free_slot(l) && receive(l) == 1)
        ;
    close_soon(l, h);
}

int sftp_ask_path(struct sftp_link *l, const struct origin_call *c, uint8_t type, const char *path,
                  struct sftp_request *q)
{
    struct sftp_writer w;
    int err = sftp_begin(l, c, type, strlen(path), q, &w);
    if (err)
        return err;
    sftp_put_cstring(&w, path);
    sftp_send(l, q, &w);
    return 0;
}

int sftp_ask_handle(struct sftp_link *l, const struct origin_call *c, uint8_t type,
                    const struct sftp_handle *h, struct sftp_request *q)
{
    struct sftp_writer w;
    int err = sftp_begin(l, c, type, h->len, q, &w);
    if (err)
        return err;
    sftp_put_string(&w, h->bytes, h->len);
    sftp_send(l, q, &w);
    return 0;
}

/* --- replies --------------------------------------------------------------------------------- */

int sftp_reply_status(const struct sftp_request *q)
{
    if (q->type != SFTP_STATUS)
        return -EBADMSG;
    struct sftp_reader r = {.p = q->body, .left = q->body_len};
    uint32_t status = sftp_get_u32(&r);
    return r.bad ? -EBADMSG : sftp_status_errno(status);
}

int sftp_wait_status(struct sftp_link *l, const struct origin_call *c, struct sftp_request *q)
{
    int err = sftp_wait(l, c, q);
    return err ? err : sftp_reply_status(q);
}

int sftp_wait_reply(struct sftp_link *l, const struct origin_call *c, struct sftp_request *q,
                    uint8_t type, struct sftp_reader *ret_body)
{
    int err = sftp_wait(l, c, q);
    if (err)
        return err;
    if (q->type != type) {
        err = sftp_reply_status(q);
        return err ? err : -EBADMSG; /* OK where an answer was due */
    }
    *ret_body = (struct sftp_reader){.p = q->body, .left = q->body_len};
    return 0;
}

int sftp_wait_attrs(struct sftp_link *l, const struct origin_call *c, struct sftp_request *q,
                    struct sftp_attrs *ret)
{
    struct sftp_reader r;
    int err = sftp_wait_reply(l, c, q, SFTP_ATTRS, &r);
    if (err)
        return err;
    sftp_get_attrs(&r, ret);
    return r.bad ? -EBADMSG : 0;
}

int sftp_wait_handle(struct sftp_link *l, const struct origin_call *c, struct sftp_request *q,
                     struct sftp_handle *ret)
{
    struct sftp_reader r;
    int err = sftp_wait_reply(l, c, q, SFTP_HANDLE, &r);
    if (err)
        return err;
    size_t n;
    const uint8_t *p = sftp_get_string(&r, &n);
    if (r.bad || n > sizeof ret->bytes)
        return -EBADMSG;
    ret->len = (uint16_t)n;
    memcpy(ret->bytes, p, n);
    return 0;
}

/* --- opening --------------------------------------------------------------------------------- */

static bool is(const uint8_t *p, size_t n, const char *text)
{
    return n == strlen(text) && !memcmp(p, text, n);
}

static void read_extensions(struct sftp_link *l, struct sftp_reader *r)
{
    static const struct {
        const char *name, *version;
        uint32_t bit;
    } known[] = {
        {"posix-rename@openssh.com", "1", SFTP_HAS_POSIX_RENAME},
        {"statvfs@openssh.com", "2", SFTP_HAS_STATVFS},
        {"fstatvfs@openssh.com", "2", SFTP_HAS_FSTATVFS},
        {"hardlink@openssh.com", "1", SFTP_HAS_HARDLINK},
        {"fsync@openssh.com", "1", SFTP_HAS_FSYNC},
        {"lsetstat@openssh.com", "1", SFTP_HAS_LSETSTAT},
        {"limits@openssh.com", "1", SFTP_HAS_LIMITS},
        {"copy-data", "1", SFTP_HAS_COPY_DATA},
    };
    while (r->left && !r->bad) {
        size_t name_len, data_len;
        const uint8_t *name = sftp_get_string(r, &name_len);
        const uint8_t *data = sftp_get_string(r, &data_len);
        for (size_t i = 0; !r->bad && i < ARRAY_LEN(known); i++)
            if (is(name, name_len, known[i].name) && is(data, data_len, known[i].version))
                l->extensions |= known[i].bit;
    }
}

/* INIT carries the version where others carry their id, so it travels as request number 3. */
static int agree_on_version(struct sftp_link *l, const struct origin_call *c)
{
    AUTO_REQUEST struct sftp_request q = {0};
    struct sftp_writer w;
    l->next_id = VERSION_NUMBER;
    int err = sftp_begin(l, c, SFTP_INIT, 0, &q, &w);
    if (err)
        return err;
    sftp_send(l, &q, &w);
    struct sftp_reader r;
    err = sftp_wait_reply(l, c, &q, SFTP_VERSION, &r);
    if (!err)
        read_extensions(l, &r);
    return err;
}

static int learn_limits(struct sftp_link *l, const struct origin_call *c)
{
    if (!(l->extensions & SFTP_HAS_LIMITS))
        return 0;
    AUTO_REQUEST struct sftp_request q = {0};
    struct sftp_writer w;
    int err = sftp_begin(l, c, SFTP_EXTENDED, 32, &q, &w);
    if (err)
        return err;
    sftp_put_cstring(&w, "limits@openssh.com");
    sftp_send(l, &q, &w);
    struct sftp_reader r;
    err = sftp_wait_reply(l, c, &q, SFTP_EXTENDED_REPLY, &r);
    if (err)
        return err;
    uint64_t packet = sftp_get_u64(&r), read = sftp_get_u64(&r), write = sftp_get_u64(&r);
    if (r.bad)
        return -EBADMSG;
    /* 0 stands for "no limit told". The packet has to hold the fields around the data, too. */
    if (packet > l->max_packet)
        l->max_packet =
            (uint32_t)min_u64(packet, MAX_IO + FRAME_BYTES + sizeof(struct sftp_handle));
    if (read)
        l->max_read = (uint32_t)min_u64(max_u64(read, 1024), MAX_IO);
    size_t fields = FRAME_BYTES + sizeof(struct sftp_handle);
    if (write)
        l->max_write = (uint32_t)min_u64(write, min_u64(l->max_packet - fields, MAX_IO));
    return 0;
}

int sftp_link_open(struct sftp_link **ret, const struct origin_config *cfg,
                   const struct origin_call *c, char **ret_why)
{
    struct sftp_link *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->max_packet = DEFAULT_IO + 1024;
    l->max_read = l->max_write = DEFAULT_IO;
    l->out = malloc(OUT_BYTES);
    int err = l->out ? 0 : -ENOMEM;
    if (!err)
        err = ssh_connect(&l->ssh, cfg, "sftp", ret_why);
    if (!err) {
        err = agree_on_version(l, c);
        if (!err)
            err = learn_limits(l, c);
        if (err)
            err = ssh_explain(l->ssh, err, ret_why);
        if (err && !*ret_why)
            ssh_fail(ret_why, err,
                     err == -ETIMEDOUT ? "%s: the server did not answer in time (%s)"
                                       : "%s: the server does not speak SFTP version 3 (%s)",
                     ssh_name(l->ssh), strerror(-err));
    }
    if (err) {
        sftp_link_close(l);
        return err;
    }
    *ret = l;
    return 0;
}

void sftp_link_close(struct sftp_link *l)
{
    if (!l)
        return;
    if (l->ssh && !l->broken)
        flush(l);
    ssh_close(l->ssh);
    while (l->closes) {
        struct closing *next = l->closes->next;
        free(l->closes);
        l->closes = next;
    }
    free(l->rx_body);
    free(l->out);
    free(l);
}

const char *sftp_link_name(const struct sftp_link *l)
{
    return ssh_name(l->ssh);
}

uint32_t sftp_link_extensions(const struct sftp_link *l)
{
    return l->extensions;
}

uint32_t sftp_link_max_read(const struct sftp_link *l)
{
    return l->max_read;
}

uint32_t sftp_link_max_write(const struct sftp_link *l)
{
    return l->max_write;
}

bool sftp_link_usable(struct sftp_link *l)
{
    return !l->broken && ssh_is_alive(l->ssh);
}
