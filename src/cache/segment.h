// SPDX-License-Identifier: Apache-2.0
/*
 * The segment files of the disk tier, DIR/segments/%08x.seg, numbered upwards for ever. One thread
 * (the writer's) creates, appends and removes; any thread reads. A segment that is removed while
 * it is being read lives on, unlinked, until its last reader lets go. Few descriptors stay open.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "cache/record.h"

#define SEGMENT_CARRY_SHARE 4U /* at most this part of an evicted segment is carried over */

struct segment {
    uint32_t number;
    _Atomic uint32_t size; /* bytes; the writer's thread stores it once they are written */
    _Atomic uint32_t hit_bytes; /* payload of distinct chunks read since the last ageing */
    _Atomic uint64_t around; /* bit: this 64th was read ahead since the last ageing */
    double score;               /* the writer's; see segment_set_age */
    bool unsynced;         /* the writer's: written to since it was opened */
    bool gone;             /* set lock: removed, freed by the last release */
    int fd;                /* set lock; -1 while closed; cannot close while pinned */
    unsigned pins;         /* set lock */
    uint64_t used_at;      /* set lock */
};

struct segment_set {
    int dirfd;
    unsigned max_fds;
    pthread_mutex_t lock;    /* held for a few instructions, never over a system call */
    struct segment **sorted; /* lock; by number */
    size_t count;            /* lock */
    size_t capacity;         /* lock */
    unsigned open_fds;       /* lock */
    uint64_t clock;          /* lock */
    uint32_t next_number;    /* the writer's */
    _Atomic uint64_t bytes;  /* sum of all sizes */
};

/* Lists what is there: one directory and one stat per segment. The set takes `dirfd` over. */
int segment_set_open(struct segment_set **ret, int dirfd);
void segment_set_close(struct segment_set *set); /* no segment is pinned; NULL is allowed */
/* Syncs every segment written to. The writer's thread, or when there is none. */
void segment_set_sync(struct segment_set *set);

/* Pins a segment and opens it. -ENOENT if it is gone; else an error of open(2). */
int segment_acquire(struct segment_set *set, uint32_t number, struct segment **ret, int *ret_fd);
void segment_release(struct segment_set *set, struct segment *s);
/* The size of a segment, 0 if it is gone. */
uint32_t segment_set_size_of(struct segment_set *set, uint32_t number);
size_t segment_set_count(struct segment_set *set);
/* The number of the i-th segment in order of age; false if there are fewer. */
bool segment_set_number_at(struct segment_set *set, size_t i, uint32_t *ret);

/* --- the writer's thread only --- */

/* A new empty segment, pinned. */
int segment_create(struct segment_set *set, struct segment **ret, int *ret_fd);
/* Appends all or nothing; clobbers `iov`. -ENOSPC, -EDQUOT, -EIO, ... */
int segment_append(struct segment_set *set, struct segment *s, int fd, struct iovec *iov, int n,
                   uint32_t bytes);
/* Cuts a segment back to `size`. */
int segment_truncate(struct segment_set *set, struct segment *s, int fd, uint32_t size);
/* Removes it from the set and the directory; frees it once nobody holds a pin. */
void segment_remove(struct segment_set *set, struct segment *s);
/* The segment whose eviction loses least, per byte, pinned; never `except`. NULL: none. Its
 * descriptor is in *ret_fd, -1 if it cannot be opened. */
struct segment *segment_coldest(struct segment_set *set, const struct segment *except,
                                int *ret_fd);
/* Gives a segment just filled its bonus. */
void segment_mark_fresh(struct segment *s);
/*
 * Ends a period of counting. A segment's score is what its eviction would lose: the bytes of
 * distinct chunks that were read in a period beyond those that could be carried over
 * (SEGMENT_CARRY_SHARE of it), a period ago for 3/5, and so on; a fresh one has a bonus.
 */
void segment_set_age(struct segment_set *set);

/* --- reading --- */

/* Reads all of it or fails: -EBADMSG at the end of the file, else an error of read(2). Clobbers
 * `iov`. */
int segment_read(int fd, struct iovec *iov, int n, uint32_t offset);

typedef int segment_scan_fn(void *arg, const struct toc_entry *e);
/*
 * Calls `fn` for each record of the segment: from its table of contents (*ret_toc_offset, if not
 * NULL, says where that begins), else from the headers, up to the first that is damaged
 * (*ret_toc_offset is then UINT32_MAX). A value other than 0 from `fn` ends the scan with it.
 */
int segment_scan(const struct segment *s, int fd, segment_scan_fn *fn, void *arg,
                 uint32_t *ret_toc_offset);
