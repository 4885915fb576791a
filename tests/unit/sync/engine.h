// SPDX-License-Identifier: Apache-2.0
/*
 * For tests: the engine of one mount over a local directory, without the kernel. Opening, reading
 * and closing a file are what src/fs does for the kernel. Any failure ends the test.
 */
#pragma once

#include "base/metrics.h"
#include "base/util.h"
#include "sync/node.h"
#include "sync/read.h"
#include "sync/sync.h"

struct engine;

/* Called inside a call to the origin, "stat", "list" or "pread", after it was answered and before
 * the engine has the answer. From whatever thread makes the call. */
typedef void engine_hook(struct engine *e, const char *op, void *arg);

struct engine {
    struct origin_ops ops; /* the origin's, with ours in front of some */
    const struct origin_ops *real;
    char *root;  /* the origin's directory */
    char *cache; /* the cache's */
    struct cairn_sync *s;
    struct cairn_metrics metrics;
    int64_t fresh_ns; /* for the next start; CAIRN_NEVER at first */
    engine_hook *hook; /* set while nothing is under way */
    void *hook_arg;
    atomic_int write_error; /* what the origin says to each write; 0: it takes them */
    atomic_uint data_told, attr_told, names_told; /* what the listener heard */
};

/* For cmocka: *state is a struct engine, started. */
int engine_setup(void **state);
int engine_teardown(void **state);
void engine_start(struct engine *e);
void engine_stop(struct engine *e);
/* Waits until nothing is fetched, cut or absorbed any more. */
void engine_settle(struct engine *e);
uint64_t engine_counted(struct engine *e, enum cairn_counter c);

/* --- at the origin --- */
/* The file's path, good until the fourth next call in this thread. */
const char *engine_path(struct engine *e, const char *name);
void engine_put(struct engine *e, const char *name, const uint8_t *data, size_t len);
/* Another file under this name, as editors save. */
void engine_replace(struct engine *e, const char *name, const uint8_t *data, size_t len);
/* Changes bytes in place, so that size and the rest stay but the change time moves. */
void engine_poke(struct engine *e, const char *name, uint64_t off, const uint8_t *data, size_t len);
void engine_assert_origin(struct engine *e, const char *name, const uint8_t *data, size_t len);
/* How many names of ours lie in the root. */
unsigned engine_temp_names(struct engine *e);

/* --- through the engine --- */
uint64_t engine_ino(struct engine *e, const char *name); /* asks the origin */
struct cairn_handle *engine_open(struct engine *e, const char *name, bool writer);
struct cairn_handle *engine_create(struct engine *e, const char *name, uint32_t mode);
/* Sends what was written, as close(2) does, and closes. */
void engine_close(struct cairn_handle *h);
/* Only the end of the handle: what was written stays unsent. */
void engine_drop(struct cairn_handle *h);
/* As close(2) or fsync(2) send it; 0 or -errno. */
int engine_flush(struct cairn_handle *h, bool durable, bool closing);
/* Returns how many bytes, or -errno. */
ssize_t engine_read(struct cairn_handle *h, void *buf, uint64_t off, size_t len);
/* Several reads that are under way at once; in the order given. */
struct engine_range {
    uint64_t off;
    size_t len;
    uint8_t *buf;
};
void engine_read_many(struct cairn_handle *h, const struct engine_range *ranges, size_t count);
void engine_write(struct cairn_handle *h, uint64_t off, const void *data, size_t len);
void engine_truncate(struct cairn_handle *h, uint64_t size);
void engine_punch(struct cairn_handle *h, uint64_t off, uint64_t len);

/* Opens, reads all in steps of `step` bytes, compares, closes. */
void engine_assert_file(struct engine *e, const char *name, const uint8_t *data, size_t len,
                        size_t step);
/* The manifest is that of a file cut from its start. */
void engine_assert_canonical(struct engine *e, uint64_t ino, const uint8_t *data, size_t len);

/* Random bytes; free them. */
uint8_t *engine_bytes(uint64_t *rng, size_t len);
