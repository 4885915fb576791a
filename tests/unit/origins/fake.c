// SPDX-License-Identifier: Apache-2.0
#include "unit/origins/fake.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "origins/pool.h"
#include "origins/url.h"
#include "unit/origins/fault.h"
#include "unit/origins/tempdir.h"

struct fake fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void fake_hook(void *arg, const char *op, const struct origin_call *c)
{
    struct origin *o = arg;
    pthread_mutex_lock(&fake.lock);
    if (fake.gate_op && !strcmp(op, fake.gate_op) && !fake.gate_passed) {
        fake.gate_in++;
        pthread_cond_broadcast(&fake.changed);
        while (fake.gate_in < fake.gate_want && !fake.gate_passed)
            pthread_cond_wait(&fake.changed, &fake.lock);
        fake.gate_passed = true;
        pthread_cond_broadcast(&fake.changed);
    }
    bool fails = c && fake.fault_one_in && (unsigned)rand_r(&fake.seed) % fake.fault_one_in == 0;
    bool after = rand_r(&fake.seed) & 1;
    pthread_mutex_unlock(&fake.lock);
    if (fails && after)
        fault_after(o, op, 1, -ECONNRESET);
    else if (fails)
        fault_before(o, op, 1, -ECONNRESET);
}

static int fake_connect(struct origin **ret, const struct origin_config *cfg,
                        const struct origin_call *c, char **ret_why)
{
    pthread_mutex_lock(&fake.lock);
    if (fake.refuse) {
        fake.refuse--;
        pthread_mutex_unlock(&fake.lock);
        *ret_why = strdup("not today");
        return -ECONNREFUSED;
    }
    struct origin *o = fault_new(tempdir_connect(cfg->url->path));
    fault_set_hook(o, fake_hook, o);
    fault_set_usable(o, fake.usable);
    if (fake.hide_ids)
        fault_hide_ids(o);
    assert_true(fake.count < MAX_MADE);
    fake.made[fake.count++] = o;
    pthread_mutex_unlock(&fake.lock);
    *ret = o;
    return 0;
}

const struct origin_driver fake_driver = {
    .scheme = "fake", .pooled = true, .connect = fake_connect};

void fake_set_gate(const char *op, unsigned want)
{
    pthread_mutex_lock(&fake.lock);
    fake.gate_op = op;
    fake.gate_in = 0;
    fake.gate_want = want;
    fake.gate_passed = false;
    pthread_mutex_unlock(&fake.lock);
}

void fake_wait_for_in(unsigned n)
{
    pthread_mutex_lock(&fake.lock);
    while (fake.gate_in < n)
        pthread_cond_wait(&fake.changed, &fake.lock);
    pthread_mutex_unlock(&fake.lock);
}

void fake_open_gate(void)
{
    pthread_mutex_lock(&fake.lock);
    fake.gate_passed = true;
    fake.gate_op = NULL;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
}

unsigned fake_made(void)
{
    pthread_mutex_lock(&fake.lock);
    unsigned n = fake.count;
    pthread_mutex_unlock(&fake.lock);
    return n;
}

/* --- fixture --- */

static const struct origin_call *const call = &endless;

int fake_start(void **state, unsigned connections)
{
    struct fake_pool *f = calloc(1, sizeof *f);
    f->dir = tempdir_new();
    fake.count = fake.refuse = 0;
    fake.usable = fake.hide_ids = false;
    fake.gate_op = NULL;
    fake.fault_one_in = 0;
    struct origin_url *u;
    char *why = NULL;
    assert_int_equal(origin_url_parse(f->dir, &u, &why), 0);
    struct origin_config cfg = {.url = u, .connections = connections, .metrics = &f->metrics};
    assert_int_equal(origin_pool_new(&f->o, &fake_driver, &cfg, call, &why), 0);
    origin_url_free(u);
    *state = f;
    return 0;
}

int fake_teardown(void **state)
{
    struct fake_pool *f = *state;
    fake_open_gate();
    origin_close(f->o);
    tempdir_remove(f->dir);
    free(f);
    return 0;
}

static void *run_job(void *arg)
{
    struct fake_job *j = arg;
    struct origin_stat st;
    j->result = j->file ? origin_pread(j->file, &j->call, j->buf, sizeof j->buf, 0, NULL)
                        : origin_stat(j->o, &j->call, "", &st);
    return NULL;
}

void fake_begin(struct fake_job *j, struct fake_pool *f, struct origin_file *file,
                const struct origin_call *c)
{
    *j = (struct fake_job){.o = f->o, .file = file, .call = *c};
    assert_int_equal(pthread_create(&j->thread, NULL, run_job, j), 0);
}

int64_t fake_end(struct fake_job *j)
{
    pthread_join(j->thread, NULL);
    return j->result;
}

struct origin_file *fake_open_file(struct fake_pool *f, const char *path, int flags)
{
    struct origin_file *file = NULL;
    assert_int_equal(origin_open(f->o, call, path, flags, 0644, &file, NULL), 0);
    return file;
}

void fake_check_read(struct origin_file *file, const char *want)
{
    char buf[32];
    assert_int_equal(origin_pread(file, call, buf, sizeof buf, 0, NULL), strlen(want));
    assert_memory_equal(buf, want, strlen(want));
}

void fake_do_stat(struct fake_pool *f, int want)
{
    struct origin_stat st;
    assert_int_equal(origin_stat(f->o, call, "", &st), want);
}

void fake_grow_to(struct fake_pool *f, unsigned n)
{
    struct fake_job jobs[8];
    fake_set_gate("stat", n);
    for (unsigned i = 0; i < n; i++)
        fake_begin(&jobs[i], f, NULL, call);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(fake_end(&jobs[i]), 0);
    fake_open_gate();
    assert_int_equal(fake_made(), n);
}
