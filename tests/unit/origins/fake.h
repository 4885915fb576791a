// SPDX-License-Identifier: Apache-2.0
/*
 * For tests of the pool: a driver whose connections the tests know, hold up at a gate, and break;
 * and calls from threads of their own. Expectations fail the test by themselves.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "origins/origin.h"

#define MAX_MADE 4096

extern struct fake {
    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t changed;
    struct origin *made[MAX_MADE]; /* some of them closed by now */
    unsigned count;
    unsigned refuse; /* that many connects fail */
    bool usable, hide_ids;
    /* The gate: calls of `gate_op` wait until `gate_want` of them are in. */
    const char *gate_op;
    unsigned gate_in, gate_want;
    bool gate_passed;
    unsigned fault_one_in; /* stress: so often a call fails; 0 never */
    unsigned seed;
} fake;

extern const struct origin_driver fake_driver;

/* The pool under test, of the fake driver's connections to a directory of its own. */
struct fake_pool {
    char *dir;
    struct origin *o;
    struct cairn_metrics metrics;
};

/* One call from a thread of its own. */
struct fake_job {
    pthread_t thread;
    struct origin *o;
    struct origin_file *file; /* NULL: stat the root */
    struct origin_call call;
    char buf[16];
    int64_t result;
};

/* Calls of `op` wait until `want` of them are in. */
void fake_set_gate(const char *op, unsigned want);
/* Until `n` calls are in. */
void fake_wait_for_in(unsigned n);
/* Lets all in. */
void fake_open_gate(void);
/* Connections made so far. */
unsigned fake_made(void);
/* A pool of at most so many connections in *state, as a set-up function of cmocka. */
int fake_start(void **state, unsigned connections);
int fake_teardown(void **state);
/* Starts a read of the file, or a stat of the root if it is NULL. */
void fake_begin(struct fake_job *j, struct fake_pool *f, struct origin_file *file,
                const struct origin_call *c);
/* Waits for it; its result. */
int64_t fake_end(struct fake_job *j);
struct origin_file *fake_open_file(struct fake_pool *f, const char *path, int flags);
void fake_check_read(struct origin_file *file, const char *want);
/* A stat of the root that has to answer `want`. */
void fake_do_stat(struct fake_pool *f, int want);
/* As many connections as calls at once. */
void fake_grow_to(struct fake_pool *f, unsigned n);
