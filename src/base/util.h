// SPDX-License-Identifier: Apache-2.0
/* Small helpers that every layer may use: scope-bound resources, sizes, arithmetic. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#define KIB (1024ULL)
#define MIB (1024ULL * KIB)
#define GIB (1024ULL * MIB)

#define NSEC_PER_SEC  1000000000LL
#define NSEC_PER_MSEC 1000000LL

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline void cleanup_freep(void *p)
{
    free(*(void **)p);
}

/* Closes and keeps errno; -1 is allowed. */
static inline void cleanup_closep(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
    }
}

/* Scope-bound resources: freed / closed when the variable leaves its scope. */
#define AUTO_FREE  __attribute__((cleanup(cleanup_freep)))
#define AUTO_CLOSE __attribute__((cleanup(cleanup_closep)))

/* Hands ownership out of a scope: returns the pointer and leaves NULL behind. */
static inline void *steal_ptr_(void *pp)
{
    void *p = *(void **)pp;
    *(void **)pp = NULL;
    return p;
}
#define STEAL(p) ((__typeof__(p))steal_ptr_(&(p)))

static inline int steal_fd(int *fd)
{
    int f = *fd;
    *fd = -1;
    return f;
}

/* The result of a system call as 0 / >= 0, or -errno. */
static inline int sys_result(long r)
{
    return r < 0 ? -errno : (int)r;
}
