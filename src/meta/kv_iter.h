// SPDX-License-Identifier: Apache-2.0
/*
 * An ordered walk over the keys with a common prefix, in batches.
 *
 * Each batch shows one instant of the store; no lock and no snapshot is held between batches, so
 * the caller may take its time and may change the store as it walks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "meta/kv.h"

struct kv_iter {
    struct kv *kv;
    struct kv_key pos; /* where the next batch begins */
    size_t prefix_len; /* keys that share so many bytes with the first one */
    bool after;        /* pos itself was there already */
    bool done;
    unsigned want;    /* pairs in the next batch */
    uint8_t *batch;   /* packed pairs of the current one */
    size_t batch_len; /* bytes */
    size_t batch_cap;
    size_t at;
};

struct kv_item {
    const uint8_t *key;
    size_t key_len;
    const uint8_t *val;
    size_t val_len;
};

/* Begins at the first key >= `from`; ends with the keys that begin with its first `prefix_len`
 * bytes. `first_batch` = pairs of the first batch; it doubles from there. */
void kv_iter_begin(struct kv_iter *it, struct kv *kv, const struct kv_key *from, size_t prefix_len,
                   unsigned first_batch);
/* 1: the next pair, valid until the next call; 0: the end; -errno. */
int kv_iter_next(struct kv_iter *it, struct kv_item *ret);
void kv_iter_end(struct kv_iter *it);
