// SPDX-License-Identifier: Apache-2.0
/*
 * Marks of change: which names and inodes changed while a question to the origin was under way.
 * Single questions compare counters, hashed: a collision costs a second question, never a wrong
 * answer. A listing, too long to ask again, keeps the exact set of the names marked meanwhile.
 * Any thread may mark; a comparison counts only under the lock that also covers the marking
 * change (the metadata store's write lock).
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CAIRN_MARK_SLOTS 4096 /* power of two */

struct cairn_marks {
    atomic_uint_fast64_t slot[CAIRN_MARK_SLOTS];
    atomic_uint changing[CAIRN_MARK_SLOTS]; /* names between a change at the origin and in the store */
    pthread_mutex_t lock;
    struct cairn_marked *listings; /* under lock */
};

/* A set of name hashes. */
struct cairn_name_set {
    uint64_t *slot;
    uint64_t size, used;
};

struct cairn_marked {
    uint64_t dir;
    struct cairn_name_set names; /* under the marks' lock */
    bool all;                    /* the same: memory ran out, so any name may have been marked */
    struct cairn_marked *next;
};

void cairn_marks_init(struct cairn_marks *m);
void cairn_marks_destroy(struct cairn_marks *m);

uint64_t cairn_name_hash(uint64_t dir, const char *name);

void cairn_mark_name(struct cairn_marks *m, uint64_t dir, const char *name);
void cairn_mark_inode(struct cairn_marks *m, uint64_t ino);

/* From begin to end no answer about the name counts: whether the origin gave it before or after the
 * change cannot be told. `end` marks. */
void cairn_marks_change_begin(struct cairn_marks *m, uint64_t dir, const char *name);
void cairn_marks_change_end(struct cairn_marks *m, uint64_t dir, const char *name);
bool cairn_marks_changing(struct cairn_marks *m, uint64_t dir, const char *name);
uint64_t cairn_marks_of_name(struct cairn_marks *m, uint64_t dir, const char *name);
uint64_t cairn_marks_of_inode(struct cairn_marks *m, uint64_t ino);

/* From begin to end the names of `dir` that get marked are collected in `set`. */
void cairn_marks_listing_begin(struct cairn_marks *m, struct cairn_marked *set, uint64_t dir);
void cairn_marks_listing_end(struct cairn_marks *m, struct cairn_marked *set);
bool cairn_marks_listing_has(struct cairn_marks *m, struct cairn_marked *set, const char *name);

int cairn_name_set_add(struct cairn_name_set *s, uint64_t hash); /* -ENOMEM */
bool cairn_name_set_has(const struct cairn_name_set *s, uint64_t hash);
void cairn_name_set_free(struct cairn_name_set *s);
