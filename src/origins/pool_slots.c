// SPDX-License-Identifier: Apache-2.0
#include "origins/pool_slots.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"

#define CANCELLED_SEEN_NS (20 * NSEC_PER_MSEC) /* a wait looks that often whether it is over */
#define PING_AFTER_NS     (60 * NSEC_PER_SEC)  /* idle for longer, it is asked before it is used */
#define PING_TIMEOUT_NS   (3 * NSEC_PER_SEC)
#define GROW_PAUSE_NS     (5 * NSEC_PER_SEC)

static struct pool_handle *push(struct pool_handle *list, struct pool_handle *h)
{
    h->next = list;
    return h;
}

static void close_handles(struct pool_handle *list)
{
    while (list) {
        struct pool_handle *h = list;
        list = h->next;
        origin_close_file(h->file);
        free(h);
    }
}

struct pool_handle *pool_unlink_handle_locked(struct pool *p, struct pool_file *f, unsigned i)
{
    struct pool_handle *h = f->handle[i];
    if (!h)
        return NULL;
    f->handle[i] = NULL;
    if (h->written > f->synced)
        f->lost_writes = true;
    for (unsigned k = 0; k < p->max && f->home == i; k++)
        if (f->handle[k])
            f->home = k;
    return h;
}

/* Closes a connection that the caller holds, with all that is open on it, and lets go. */
static void discard(struct pool *p, struct pool_slot *s)
{
    unsigned i = pool_index(p, s);
    pthread_mutex_lock(&p->lock);
    struct pool_handle *list = s->doomed;
    s->doomed = NULL;
    for (struct pool_file *f = p->files; f; f = f->next) {
        struct pool_handle *h = pool_unlink_handle_locked(p, f, i);
        if (h)
            list = push(list, h);
    }
    for (unsigned k = 0; k < p->max; k++)
        if (p->slots[k].state == SLOT_IDLE)
            p->slots[k].suspect = true;
    pthread_mutex_unlock(&p->lock);

    close_handles(list);
    origin_close(s->origin);
    s->origin = NULL;

    pthread_mutex_lock(&p->lock);
    s->state = SLOT_EMPTY;
    p->bulk_busy -= s->bulk;
    p->lost++;
    pthread_cond_broadcast(&p->released);
    pthread_mutex_unlock(&p->lock);
}

static void let_go(struct pool *p, struct pool_slot *s)
{
    pthread_mutex_lock(&p->lock);
    while (s->doomed) {
        struct pool_handle *list = s->doomed;
        s->doomed = NULL;
        pthread_mutex_unlock(&p->lock);
        close_handles(list);
        pthread_mutex_lock(&p->lock);
    }
    s->state = SLOT_IDLE;
    s->idle_since_ns = cairn_now_ns();
    p->bulk_busy -= s->bulk;
    pthread_cond_broadcast(&p->released);
    pthread_mutex_unlock(&p->lock);
}

static bool is_broken(struct pool_slot *s, int64_t result)
{
    if (result >= 0)
        return false;
    enum origin_error_class c = origin_error_class((int)result);
    return (c == ORIGIN_ERR_TRANSIENT || c == ORIGIN_ERR_STALE || c == ORIGIN_ERR_ENDED) &&
           !origin_usable(s->origin);
}

void pool_release(struct pool *p, struct pool_slot *s, int64_t result)
{
    if (is_broken(s, result))
        discard(p, s);
    else
        let_go(p, s);
}

/* True if slot `i` may serve `f`. */
static bool may_serve(const struct pool_file *f, unsigned i)
{
    return !f || !f->pinned || f->home == i || !f->handle[f->home];
}

static struct pool_slot *choose_idle(struct pool *p, const struct pool_file *f,
                                     const struct pool_file *g)
{
    struct pool_slot *best = NULL;
    int best_open = -1;
    for (unsigned i = 0; i < p->max; i++) {
        if (p->slots[i].state != SLOT_IDLE || !may_serve(f, i) || !may_serve(g, i))
            continue;
        int open = (f && f->handle[i]) + (g && g->handle[i]);
        if (open > best_open) {
            best = &p->slots[i];
            best_open = open;
        }
    }
    return best;
}

/* An empty slot for a new connection, if it is time for one. */
static struct pool_slot *choose_empty(struct pool *p, const struct pool_file *f,
                                      const struct pool_file *g)
{
    struct pool_slot *found = NULL;
    bool any_alive = false;
    for (unsigned i = 0; i < p->max; i++) {
        if (p->slots[i].state != SLOT_EMPTY)
            any_alive = true;
        else if (!found && may_serve(f, i) && may_serve(g, i))
            found = &p->slots[i];
    }
    return any_alive && cairn_now_ns() < p->grow_after_ns ? NULL : found;
}

static void take_locked(struct pool *p, struct pool_slot *s, bool bulk)
{
    s->state = SLOT_BUSY;
    s->bulk = bulk;
    p->bulk_busy += bulk;
}

bool pool_try_take_locked(struct pool *p, unsigned i)
{
    if (p->slots[i].state != SLOT_IDLE)
        return false;
    take_locked(p, &p->slots[i], false);
    return true;
}

static void wait_locked(struct pool *p, const struct origin_call *c)
{
    int64_t until = c->deadline_ns;
    if (c->cancelled || until == CAIRN_NEVER || p->grow_after_ns)
        until = (int64_t)min_u64((uint64_t)until, (uint64_t)(cairn_now_ns() + CANCELLED_SEEN_NS));
    struct timespec t = ns_to_timespec(until);
    pthread_cond_timedwait(&p->released, &p->lock, &t);
}

/* Makes the connection of a slot that the caller holds; on failure it is empty again. True if
 * the call should wait for another connection instead of failing with *ret_err. */
static bool connect_slot(struct pool *p, struct pool_slot *s, const struct origin_call *c,
                         int *ret_err)
{
    AUTO_FREE char *why = NULL;
    struct origin *o;
    struct origin_call call = *c;
    if (p->cfg.timeout_ns)
        call.deadline_ns = (int64_t)min_u64((uint64_t)c->deadline_ns,
                                            (uint64_t)(cairn_now_ns() + p->cfg.timeout_ns));
    int err = p->driver->connect(&o, &p->cfg, &call, &why);
    if (!err)
        s->origin = o;
    pthread_mutex_lock(&p->lock);
    bool replaced = !err && p->lost > 0;
    bool complain = err && err != -EINTR && !p->complained;
    bool others = false;
    if (!err) {
        s->suspect = false;
        p->lost -= replaced;
        p->complained = false;
        p->grow_after_ns = 0;
    } else {
        s->state = SLOT_EMPTY;
        p->bulk_busy -= s->bulk;
        p->complained |= complain;
        for (unsigned i = 0; i < p->max; i++)
            others |= p->slots[i].state != SLOT_EMPTY;
        p->grow_after_ns = cairn_now_ns() + GROW_PAUSE_NS;
        pthread_cond_broadcast(&p->released);
    }
    pthread_mutex_unlock(&p->lock);
    if (replaced)
        cairn_count(p->cfg.metrics, CAIRN_ORIGIN_RECONNECTS, 1);
    if (complain)
        log_warn("origin=%s error=\"%s\" connections_left=%s: %s", p->name, strerror(-err),
                 others ? "yes" : "no", why ? why : "connecting failed");
    *ret_err = err;
    return err && others;
}

/* Asks a connection that the caller holds for a sign of life. */
static bool is_alive(struct pool_slot *s, const struct origin_call *c)
{
    struct origin_call ping = *c;
    ping.deadline_ns =
        (int64_t)min_u64((uint64_t)c->deadline_ns, (uint64_t)(cairn_now_ns() + PING_TIMEOUT_NS));
    int err = origin_health(s->origin, &ping);
    enum origin_error_class class = origin_error_class(err);
    return err == 0 || class == ORIGIN_ERR_PERMANENT || class == ORIGIN_ERR_FULL;
}

int pool_acquire(struct pool *p, const struct origin_call *c, struct pool_file *f,
                 struct pool_file *g, struct pool_slot **ret)
{
    bool bulk = c->bulk && p->max >= 2;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        int err = 0;
        if ((f && f->stale) || (g && g->stale))
            err = -ESTALE;
        else if (f && g && f->pinned && g->pinned && f->home != g->home && f->handle[f->home] &&
                 g->handle[g->home])
            err = -EOPNOTSUPP;
        if (err || origin_call_ended(c, &err)) {
            pthread_mutex_unlock(&p->lock);
            return err;
        }
        bool in_turn = !bulk || p->bulk_busy < p->max - 1;
        struct pool_slot *s = in_turn ? choose_idle(p, f, g) : NULL;
        if (s) {
            take_locked(p, s, bulk);
            bool ping = s->suspect || cairn_now_ns() - s->idle_since_ns > PING_AFTER_NS;
            s->suspect = false;
            pthread_mutex_unlock(&p->lock);
            if (!ping || is_alive(s, c)) {
                *ret = s;
                return 0;
            }
            discard(p, s);
            pthread_mutex_lock(&p->lock);
            continue;
        }
        s = in_turn ? choose_empty(p, f, g) : NULL;
        if (!s) {
            wait_locked(p, c);
            continue;
        }
        take_locked(p, s, bulk);
        pthread_mutex_unlock(&p->lock);
        bool wait_for_others = connect_slot(p, s, c, &err);
        if (!err)
            *ret = s;
        if (!wait_for_others)
            return err;
        pthread_mutex_lock(&p->lock);
    }
}
