// SPDX-License-Identifier: Apache-2.0
/*
 * For tests: an origin that fails on script. It wraps another one, and asserts what the pool has
 * to see to: that a driver which is not `concurrent` gets one call at a time.
 */
#pragma once

#include "origins/origin.h"

/* Takes `next`. */
struct origin *fault_new(struct origin *next);

/* The next `times` calls of `op` ("stat", ...; "*" is any) answer `err`, without doing anything;
 * or after having done their work. The first rule that fits counts. */
void fault_before(struct origin *o, const char *op, unsigned times, int err);
void fault_after(struct origin *o, const char *op, unsigned times, int err);

/* Called inside each call, before anything else. `c` is NULL for closing. Set it before use. */
typedef void fault_hook(void *arg, const char *op, const struct origin_call *c);
void fault_set_hook(struct origin *o, fault_hook *hook, void *arg);

/* What the op `usable` answers; false at first. */
void fault_set_usable(struct origin *o, bool usable);

/* From now on, attributes come without fileid and token, as from SFTP. */
void fault_hide_ids(struct origin *o);

unsigned fault_calls(struct origin *o, const char *op);
