// SPDX-License-Identifier: Apache-2.0
/*
 * Requests and replies over one SFTP channel: many requests on their way at once, replies in any
 * order, read data placed straight into its destination. One thread at a time.
 *
 * A request whose caller has no time left is dropped: its reply is thrown away when it comes, and
 * a handle in it is closed, so the connection stays usable. It becomes unusable when the server let
 * a deadline pass, broke the protocol, or went away.
 *
 *     AUTO_REQUEST struct sftp_request q = {0};
 *     struct sftp_writer w;
 *     err = sftp_begin(l, c, SFTP_LSTAT, strlen(path), &q, &w);
 *     sftp_put_cstring(&w, path);
 *     sftp_send(l, &q, &w);
 *     err = sftp_wait_attrs(l, c, &q, &attrs);
 */
#pragma once

#include "origins/origin.h"
#include "origins/sftp_wire.h"

struct sftp_link;

enum sftp_extensions {
    SFTP_HAS_POSIX_RENAME = 1 << 0,
    SFTP_HAS_STATVFS = 1 << 1,
    SFTP_HAS_FSTATVFS = 1 << 2,
    SFTP_HAS_HARDLINK = 1 << 3,
    SFTP_HAS_FSYNC = 1 << 4,
    SFTP_HAS_LSETSTAT = 1 << 5,
    SFTP_HAS_LIMITS = 1 << 6,
    SFTP_HAS_COPY_DATA = 1 << 7,
};

/* Handles are opaque strings of at most 256 bytes. */
struct sftp_handle {
    uint16_t len;
    uint8_t bytes[256];
};

/* One request, in its caller's frame; zero before use. */
struct sftp_request {
    struct sftp_link *link; /* while its reply is awaited */
    uint32_t id;
    bool done;     /* the reply is here */
    bool opens;    /* set before sending: the reply is a handle, which must not leak */
    uint8_t type;  /* of the reply */
    uint8_t *body; /* the reply after its id, owned; NULL for data with a destination */
    size_t body_len;
    uint8_t *data; /* set before sending a READ: where its data goes ... */
    size_t want;   /* ... and how much fits */
    size_t got;
};

/* Ends the interest in `q`: frees the reply, or drops the request. Repeatable. */
void sftp_request_end(struct sftp_request *q);
#define AUTO_REQUEST __attribute__((cleanup(sftp_request_end)))

/* Connects, and agrees on version 3, extensions and sizes. Errors and *ret_why as ssh_connect. */
int sftp_link_open(struct sftp_link **ret, const struct origin_config *cfg,
                   const struct origin_call *c, char **ret_why);
void sftp_link_close(struct sftp_link *l); /* NULL is allowed */

const char *sftp_link_name(const struct sftp_link *l); /* "user@host:port" */
uint32_t sftp_link_extensions(const struct sftp_link *l);
uint32_t sftp_link_max_read(const struct sftp_link *l);  /* bytes of data in one READ */
uint32_t sftp_link_max_write(const struct sftp_link *l); /* bytes of data in one WRITE */
bool sftp_link_usable(struct sftp_link *l);
/* Gives the connection up, when the server is known to be stuck. */
void sftp_link_abandon(struct sftp_link *l);

/*
 * Makes room for a request of `room` bytes besides its frame and 64 bytes of fixed fields, waiting
 * if need be. The caller puts the fields into *ret_w and calls sftp_send, without another call in
 * between. 0, -ETIMEDOUT, -EINTR, -ECONNRESET, or -EMSGSIZE if no server takes as much.
 */
int sftp_begin(struct sftp_link *l, const struct origin_call *c, uint8_t type, size_t room,
               struct sftp_request *q, struct sftp_writer *ret_w);
void sftp_send(struct sftp_link *l, struct sftp_request *q, struct sftp_writer *w);

/* As much as can be done without waiting: sends, receives until one reply is complete. 0 or more
 * is the number of replies that arrived. */
int sftp_progress(struct sftp_link *l);

/* Waits until sftp_progress may get further (then 0), or the call has to end. */
int sftp_wait_any(struct sftp_link *l, const struct origin_call *c);

/* Waits for the reply to `q`. */
int sftp_wait(struct sftp_link *l, const struct origin_call *c, struct sftp_request *q);

/* Waits for the reply and takes it apart. A status is answered with sftp_status_errno; a reply of
 * another type than the one asked for with -EBADMSG. */
int sftp_wait_status(struct sftp_link *l, const struct origin_call *c, struct sftp_request *q);
int sftp_wait_attrs(struct sftp_link *l, const struct origin_call *c, struct sftp_request *q,
                    struct sftp_attrs *ret);
int sftp_wait_handle(struct sftp_link *l, const struct origin_call *c, struct sftp_request *q,
                     struct sftp_handle *ret);
/* A reply of type `type`; *ret_body reads q->body. */
int sftp_wait_reply(struct sftp_link *l, const struct origin_call *c, struct sftp_request *q,
                    uint8_t type, struct sftp_reader *ret_body);

/* The errno of a reply that is here and is a STATUS; -EBADMSG if it isn't one. */
int sftp_reply_status(const struct sftp_request *q);

/* Closes a handle without waiting for the answer. */
void sftp_close_handle(struct sftp_link *l, const struct sftp_handle *h);

/* Sends a request that has one string or handle as its only field, such as LSTAT or FSTAT. */
int sftp_ask_path(struct sftp_link *l, const struct origin_call *c, uint8_t type, const char *path,
                  struct sftp_request *q);
int sftp_ask_handle(struct sftp_link *l, const struct origin_call *c, uint8_t type,
                    const struct sftp_handle *h, struct sftp_request *q);
