// SPDX-License-Identifier: Apache-2.0
#include "sync/marks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

void cairn_marks_init(struct cairn_marks *m)
{
    memset(m, 0, sizeof *m);
    pthread_mutex_init(&m->lock, NULL);
}

void cairn_marks_destroy(struct cairn_marks *m)
{
    pthread_mutex_destroy(&m->lock);
}

uint64_t cairn_name_hash(uint64_t dir, const char *name)
{
    uint64_t h = XXH3_64bits_withSeed(name, strlen(name), dir);
    return h ? h : 1; /* 0 marks a free slot of a set */
}

static atomic_uint_fast64_t *slot_of(struct cairn_marks *m, uint64_t hash)
{
    return &m->slot[hash & (CAIRN_MARK_SLOTS - 1)];
}

static uint64_t hash_of_inode(uint64_t ino)
{
    return (ino * 0x9E3779B97F4A7C15ULL) >> 32;
}

void cairn_mark_name(struct cairn_marks *m, uint64_t dir, const char *name)
{
    uint64_t h = cairn_name_hash(dir, name);
    atomic_fetch_add(slot_of(m, h), 1);
    pthread_mutex_lock(&m->lock);
    for (struct cairn_marked *l = m->listings; l; l = l->next)
        if (l->dir == dir && cairn_name_set_add(&l->names, h) < 0)
            l->all = true;
    pthread_mutex_unlock(&m->lock);
}

void cairn_mark_inode(struct cairn_marks *m, uint64_t ino)
{
    atomic_fetch_add(slot_of(m, hash_of_inode(ino)), 1);
}

static atomic_uint *changing_of(struct cairn_marks *m, uint64_t dir, const char *name)
{
    return &m->changing[cairn_name_hash(dir, name) & (CAIRN_MARK_SLOTS - 1)];
}

void cairn_marks_change_begin(struct cairn_marks *m, uint64_t dir, const char *name)
{
    atomic_fetch_add(changing_of(m, dir, name), 1);
}

void cairn_marks_change_end(struct cairn_marks *m, uint64_t dir, const char *name)
{
    cairn_mark_name(m, dir, name);
    atomic_fetch_sub(changing_of(m, dir, name), 1);
}

bool cairn_marks_changing(struct cairn_marks *m, uint64_t dir, const char *name)
{
    return atomic_load(changing_of(m, dir, name));
}

uint64_t cairn_marks_of_name(struct cairn_marks *m, uint64_t dir, const char *name)
{
    return atomic_load(slot_of(m, cairn_name_hash(dir, name)));
}

uint64_t cairn_marks_of_inode(struct cairn_marks *m, uint64_t ino)
{
    return atomic_load(slot_of(m, hash_of_inode(ino)));
}

void cairn_marks_listing_begin(struct cairn_marks *m, struct cairn_marked *set, uint64_t dir)
{
    memset(set, 0, sizeof *set);
    set->dir = dir;
    pthread_mutex_lock(&m->lock);
    set->next = m->listings;
    m->listings = set;
    pthread_mutex_unlock(&m->lock);
}

void cairn_marks_listing_end(struct cairn_marks *m, struct cairn_marked *set)
{
    pthread_mutex_lock(&m->lock);
    struct cairn_marked **p = &m->listings;
    while (*p != set)
        p = &(*p)->next;
    *p = set->next;
    pthread_mutex_unlock(&m->lock);
    cairn_name_set_free(&set->names);
}

bool cairn_marks_listing_has(struct cairn_marks *m, struct cairn_marked *set, const char *name)
{
    pthread_mutex_lock(&m->lock);
    bool has = set->all || cairn_name_set_has(&set->names, cairn_name_hash(set->dir, name));
    pthread_mutex_unlock(&m->lock);
    return has;
}

static void insert(uint64_t *slot, uint64_t size, uint64_t hash)
{
    uint64_t i = hash & (size - 1);
    while (slot[i] && slot[i] != hash)
        i = (i + 1) & (size - 1);
    slot[i] = hash;
}

int cairn_name_set_add(struct cairn_name_set *s, uint64_t hash)
{
    if (s->used * 2 >= s->size) {
        uint64_t size = s->size ? s->size * 2 : 64;
        uint64_t *slot = calloc(size, sizeof *slot);
        if (!slot)
            return -ENOMEM;
        for (uint64_t i = 0; i < s->size; i++)
            if (s->slot[i])
                insert(slot, size, s->slot[i]);
        free(s->slot);
        s->slot = slot;
        s->size = size;
    }
    insert(s->slot, s->size, hash);
    s->used++; /* an upper bound: a hash that was there counts twice */
    return 0;
}

bool cairn_name_set_has(const struct cairn_name_set *s, uint64_t hash)
{
    if (!s->size)
        return false;
    for (uint64_t i = hash & (s->size - 1); s->slot[i]; i = (i + 1) & (s->size - 1))
        if (s->slot[i] == hash)
            return true;
    return false;
}

void cairn_name_set_free(struct cairn_name_set *s)
{
    free(s->slot);
    memset(s, 0, sizeof *s);
}
