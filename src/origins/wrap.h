// SPDX-License-Identifier: Apache-2.0
/* What wrappers have in common: a file of theirs is a file of the next origin, and they hand the
 * next one's information and events through. */
#pragma once

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"
#include "origins/origin.h"

/* Wrappers embed this as their first member. */
struct wrap {
    struct origin base;
    struct origin *next; /* owned */
};

struct wrap_file {
    struct origin_file base;
    struct origin_file *next; /* owned */
};

static inline struct origin *wrap_next(struct origin *o)
{
    return container_of(o, struct wrap, base)->next;
}

static inline struct origin_file *wrap_next_file(struct origin_file *f)
{
    return container_of(f, struct wrap_file, base)->next;
}

/* The ops that every wrapper passes on as they are. */
static inline const struct origin_info *wrap_info(struct origin *o)
{
    return origin_info(wrap_next(o));
}

static inline bool wrap_usable(struct origin *o)
{
    return origin_usable(wrap_next(o));
}

static inline int wrap_watch(struct origin *o, origin_event_fn *fn, void *arg)
{
    return origin_watch(wrap_next(o), fn, arg);
}

static inline int wrap_watch_dir(struct origin *o, const char *path)
{
    return origin_watch_dir(wrap_next(o), path);
}

static inline void wrap_watch_renamed(struct origin *o, const char *from, const char *to)
{
    origin_watch_renamed(wrap_next(o), from, to);
}

static inline void wrap_close_file(struct origin *o, struct origin_file *f)
{
    origin_close_file(wrap_next_file(f));
    free(container_of(f, struct wrap_file, base));
}
