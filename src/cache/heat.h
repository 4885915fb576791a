// SPDX-License-Identifier: Apache-2.0
/*
 * How often chunks were asked for lately, approximately and in a fixed 256 KiB: one small
 * saturating counter per id, shared by ids that collide, all halved now and then. Any thread may
 * call anything; counts may get lost between threads, which does no harm.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cdc/chunkid.h"

#define HEAT_MAX 15U

struct heat;

int heat_new(struct heat **ret); /* -ENOMEM */
void heat_free(struct heat *h);  /* NULL is allowed */

void heat_touch(struct heat *h, const struct cairn_chunk_id *id);
/* The same; true for the first time since the last ageing. */
bool heat_touch_first(struct heat *h, const struct cairn_chunk_id *id);
/* 0 .. HEAT_MAX */
unsigned heat_of(const struct heat *h, const struct cairn_chunk_id *id);
/* Halves all counters. The writer's thread. */
void heat_age(struct heat *h);
