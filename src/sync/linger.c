// SPDX-License-Identifier: Apache-2.0
#include "sync/linger.h"

#include "base/clock.h"
#include "base/util.h"

#define LINGER_NS (1 * NSEC_PER_SEC)

bool cairn_linger(struct cairn_node *n)
{
    struct cairn_sync *s = n->sync;
    if (!n->replaced || atomic_load(&s->stopping))
        return false;
    pthread_mutex_lock(&s->linger_lock);
    n->linger_until_ns = cairn_now_ns() + LINGER_NS;
    if (!n->lingers) {
        n->lingers = true;
        n->next_lingering = s->lingering;
        s->lingering = cairn_node_ref(n);
        atomic_fetch_add(&s->lingering_count, 1);
    }
    pthread_mutex_unlock(&s->linger_lock);
    return true;
}

/* Takes one off the list whose time has come; NULL if there is none. */
static struct cairn_node *take_ended(struct cairn_sync *s, int64_t now, bool all)
{
    pthread_mutex_lock(&s->linger_lock);
    struct cairn_node **p = &s->lingering, *n;
    while ((n = *p) && !all && n->linger_until_ns > now)
        p = &n->next_lingering;
    if (n) {
        *p = n->next_lingering;
        n->lingers = false;
        atomic_fetch_sub(&s->lingering_count, 1);
    }
    pthread_mutex_unlock(&s->linger_lock);
    return n;
}

void cairn_linger_end(struct cairn_sync *s, bool all)
{
    if (!atomic_load_explicit(&s->lingering_count, memory_order_relaxed))
        return;
    int64_t now = cairn_now_ns();
    struct cairn_node *n;
    /* One by one: what is off the list may be put on it again meanwhile. */
    while ((n = take_ended(s, now, all))) {
        cairn_node_gone(n);
        cairn_node_unref(n);
    }
}

void cairn_node_gone(struct cairn_node *n)
{
    struct cairn_sync *s = n->sync;
    struct cairn_inode in;
    pthread_mutex_lock(&n->lock);
    if (n->opens) { /* opened again: its close decides anew */
        pthread_mutex_unlock(&n->lock);
        return;
    }
    n->gone = true;
    struct cairn_source *source = STEAL(n->source);
    pthread_mutex_unlock(&n->lock);
    cairn_source_unref(source);
    cairn_meta_lock(s->meta);
    if (cairn_meta_inode(s->meta, n->ino, &in) == 0 && !in.parent)
        cairn_meta_del_inode(s->meta, n->ino);
    cairn_meta_unlock(s->meta);
}
