// SPDX-License-Identifier: Apache-2.0
/*
 * Forgetting manifests. A small one goes at once; a large one gets an X record, and a thread takes
 * its pages away in steps, each a unit of its own, so that nobody waits long for the write lock.
 * The X record goes with the last page: a crash in between is continued at the next opening.
 */
#include "meta/store.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "meta/kv_iter.h"
#include "meta/store_priv.h"

#define STEP_PAGES 64
#define RETRY_NS   (1 * NSEC_PER_SEC)

struct removal {
    struct kv_batch batch;
    int64_t chunks, bytes;
};

/* What is damaged goes, too; its entries were counted, so they are counted as far as they can be
 * read. */
static void remove_page(struct removal *rm, const struct kv_item *item)
{
    struct kv_key key;
    struct cairn_manifest_entry e;
    uint64_t content, page = 0;
    int count = page_count(item->val, item->val_len);
    if (parse_key_page(item->key, item->key_len, &content, &page) < 0)
        count = 0;
    for (int i = 0; i < count; i++) {
        if (page_entry(item->val, (unsigned)i, page, &e) == 0) {
            rm->chunks--;
            rm->bytes -= e.len;
        }
    }
    key.len = (uint16_t)item->key_len;
    memcpy(key.bytes, item->key, item->key_len);
    kv_batch_del(&rm->batch, &key);
}

/* Gathers up to STEP_PAGES pages; returns 1 if there are more, 0, -errno. */
static int gather_step(struct cairn_meta *m, uint64_t content, struct removal *rm)
{
    struct kv_iter it;
    struct kv_item item;
    struct kv_key key;
    unsigned pages = 0;
    int r;
    key_page(&key, content, 0);
    kv_iter_begin(&it, m->kv, &key, KEY_PREFIX_NUMBER, 8);
    while ((r = kv_iter_next(&it, &item)) > 0 && pages++ < STEP_PAGES)
        remove_page(rm, &item);
    kv_iter_end(&it);
    return r;
}

static int apply_removal(struct cairn_meta *m, struct removal *rm)
{
    int r = kv_apply(&rm->batch);
    if (r == 0)
        meta_count_chunks(m, rm->chunks, rm->bytes);
    return r;
}

static void begin_removal(struct cairn_meta *m, struct removal *rm)
{
    kv_batch_begin(&rm->batch, m->kv);
    rm->batch.removing = true;
    rm->chunks = 0;
    rm->bytes = 0;
}

int cairn_meta_drop_content(struct cairn_meta *m, uint64_t content)
{
    struct removal rm;
    if (!content)
        return 0;
    begin_removal(m, &rm);
    int r = gather_step(m, content, &rm);
    if (r < 0) {
        kv_batch_discard(&rm.batch);
        return r;
    }
    if (r > 0) {
        struct kv_key key;
        uint8_t val[MARK_BYTES];
        key_drop(&key, content);
        kv_batch_put(&rm.batch, &key, val, pack_mark(val));
    }
    int applied = apply_removal(m, &rm);
    if (applied < 0 || r == 0)
        return applied;
    pthread_mutex_lock(&m->drop_lock);
    m->drop_pending = true;
    pthread_cond_signal(&m->drop_due);
    pthread_mutex_unlock(&m->drop_lock);
    return 0;
}

/* [locked] One step for the first content that is to be dropped: 1 if there is more to do, 0. */
static int drop_step(struct cairn_meta *m)
{
    struct kv_iter it;
    struct kv_item item;
    struct kv_key key;
    uint64_t content = 0;
    key_drop(&key, 0);
    kv_iter_begin(&it, m->kv, &key, KEY_PREFIX_LETTER, 1);
    int r = kv_iter_next(&it, &item);
    if (r > 0) {
        int p = parse_key_drop(item.key, item.key_len, &content);
        r = p < 0 ? p : 1;
    }
    kv_iter_end(&it);
    if (r <= 0)
        return r;
    struct removal rm;
    begin_removal(m, &rm);
    r = gather_step(m, content, &rm);
    if (r == 0) {
        key_drop(&key, content);
        kv_batch_del(&rm.batch, &key);
    }
    if (r < 0) {
        kv_batch_discard(&rm.batch);
        return r;
    }
    r = apply_removal(m, &rm);
    return r < 0 ? r : 1;
}

static void *run_dropper(void *arg)
{
    struct cairn_meta *m = arg;
    bool logged = false;
    pthread_mutex_lock(&m->drop_lock);
    while (!m->stop) {
        if (!m->drop_pending) {
            pthread_cond_wait(&m->drop_due, &m->drop_lock);
            continue;
        }
        m->drop_pending = false;
        pthread_mutex_unlock(&m->drop_lock);
        kv_lock(m->kv, false);
        int r = drop_step(m);
        kv_unlock(m->kv);
        if (r < 0 && !logged)
            log_warn("metadata store: cannot drop a manifest yet: %s", strerror(-r));
        logged = r < 0;
        pthread_mutex_lock(&m->drop_lock);
        m->drop_pending = m->drop_pending || r != 0;
        if (r < 0 && !m->stop) {
            struct timespec t = ns_to_timespec(cairn_now_ns() + RETRY_NS);
            pthread_cond_timedwait(&m->drop_due, &m->drop_lock, &t);
        }
    }
    pthread_mutex_unlock(&m->drop_lock);
    return NULL;
}

int meta_dropper_start(struct cairn_meta *m)
{
    m->drop_pending = true; /* looks for what an earlier opening left over */
    int r = -pthread_create(&m->dropper, NULL, run_dropper, m);
    m->dropping = r == 0;
    return r;
}

void meta_dropper_stop(struct cairn_meta *m)
{
    if (!m->dropping)
        return;
    pthread_mutex_lock(&m->drop_lock);
    m->stop = true;
    pthread_cond_signal(&m->drop_due);
    pthread_mutex_unlock(&m->drop_lock);
    pthread_join(m->dropper, NULL);
    m->dropping = false;
}
