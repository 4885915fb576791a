// SPDX-License-Identifier: Apache-2.0
/*
 * See appender.h. Invariant: what the segments and the index occupy, the table of contents that the
 * open segment will get included, never exceeds the limit; room is made before a byte is written.
 *
 * Eviction takes the segment whose loss would be missed least. Of its chunks, those asked for more
 * than once lately are carried over, up to a quarter of its bytes: each eviction frees three
 * quarters of a segment at least, so it always gets on.
 */
#include "cache/appender.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"

#define TOC_MAX    16384U /* chunks in one segment */
#define CARRY_HEAT 2U
#define REGROW_NS  (60 * NSEC_PER_SEC)

struct pending_record {
    const struct cairn_chunk *chunk;
    const void *payload;
    uint32_t stored_len;
};

struct appender {
    struct disk_store *store;
    appender_carry_fn *carry;
    void *carry_arg;
    _Atomic uint64_t limit;
    int64_t shrunk_ns; /* when the limit last changed */

    struct segment *open; /* pinned; NULL if the next batch begins a new one */
    int open_fd;
    struct toc_entry *toc; /* TOC_MAX; of the open segment */
    uint32_t toc_count;
    unsigned sealed_since_aging;

    uint8_t *arena; /* APPENDER_BATCH_BYTES for compressed payloads; NULL if stored raw */
    struct pending_record records[APPENDER_BATCH_CHUNKS];
    struct {
        uint8_t padding[RECORD_ALIGN]; /* the last bytes of it end the record before */
        struct record_header header;
    } headers[APPENDER_BATCH_CHUNKS];
    struct iovec iov[2 * APPENDER_BATCH_CHUNKS + 1];
};

static uint64_t limit_of(const struct appender *a)
{
    return atomic_load_explicit(&((struct appender *)(uintptr_t)a)->limit, memory_order_relaxed);
}

static void set_limit(struct appender *a, uint64_t limit)
{
    atomic_store_explicit(&a->limit, limit, memory_order_relaxed);
    a->shrunk_ns = cairn_now_ns();
}

/* The open segment's future table of contents included. */
static uint64_t used_bytes(const struct appender *a)
{
    return store_bytes(a->store) + (a->open ? record_toc_size(a->toc_count) : 0);
}

/* ---- the open segment --------------------------------------------------------------------------
 */

static void leave_open(struct appender *a)
{
    struct segment *s = a->open;
    a->open = NULL;
    a->toc_count = 0;
    segment_release(a->store->segments, s);
}

/* After an error the segment may be damaged at its end: nothing more goes there. */
static void abandon_open(struct appender *a)
{
    struct segment *s = a->open;
    if (!s)
        return;
    if (atomic_load_explicit(&s->size, memory_order_relaxed) == 0)
        segment_remove(a->store->segments, s);
    leave_open(a);
}

/* Without its table of contents a segment is whole too, only slower to evict. */
static void write_toc(struct appender *a)
{
    uint32_t len = a->toc_count * (uint32_t)sizeof(struct toc_entry);
    uint32_t offset = atomic_load_explicit(&a->open->size, memory_order_relaxed);
    struct cairn_chunk_id id = cairn_chunk_id_of(a->toc, len);
    struct record_header h;
    struct record_trailer t;
    record_header_make(&h, RECORD_TOC, &id, len, len, a->open->number);
    record_trailer_make(&t, a->open->number, offset);
    struct iovec iov[] = {
        {.iov_base = &h, .iov_len = sizeof(h)},
        {.iov_base = a->toc, .iov_len = len},
        {.iov_base = &t, .iov_len = sizeof(t)},
    };
    (void)segment_append(a->store->segments, a->open, a->open_fd, iov, 3,
                         record_toc_size(a->toc_count));
}

static void seal(struct appender *a)
{
    struct segment_set *set = a->store->segments;
    write_toc(a);
    segment_mark_fresh(a->open);
    leave_open(a);
    if (++a->sealed_since_aging >= segment_set_count(set) / 4 + 1) {
        a->sealed_since_aging = 0;
        segment_set_age(set);
        heat_age(a->store->heat);
    }
}

static int begin_segment(struct appender *a)
{
    int r = segment_create(a->store->segments, &a->open, &a->open_fd);
    if (r < 0)
        return r;
    a->toc_count = 0;
    return 0;
}

static int load_toc_entry(void *arg, const struct toc_entry *e)
{
    struct appender *a = arg;
    if (a->toc_count == TOC_MAX)
        return -E2BIG;
    a->toc[a->toc_count++] = *e;
    return 0;
}

/* Goes on with the newest segment if it was left half full, so that many short mounts do not leave
 * as many small segments. Only after a clean close: a torn tail is never appended to. */
static void reopen_newest(struct appender *a)
{
    struct segment_set *set = a->store->segments;
    size_t count = segment_set_count(set);
    uint32_t number;
    struct segment *s;
    int fd;
    if (!count || !segment_set_number_at(set, count - 1, &number) ||
        segment_set_size_of(set, number) > a->store->segment_bytes / 2 ||
        segment_acquire(set, number, &s, &fd) < 0)
        return;
    uint32_t toc_offset;
    int r = segment_scan(s, fd, load_toc_entry, a, &toc_offset);
    if (r < 0 || toc_offset == UINT32_MAX || a->toc_count > TOC_MAX / 2 ||
        segment_truncate(set, s, fd, toc_offset) < 0) {
        a->toc_count = 0;
        segment_release(set, s);
        return;
    }
    a->open = s;
    a->open_fd = fd;
}

/* ---- eviction ----------------------------------------------------------------------------------
 */

struct contents {
    struct toc_entry *entries;
    size_t count;
    size_t capacity;
};

static int collect(void *arg, const struct toc_entry *e)
{
    struct contents *c = arg;
    if (c->count == c->capacity) {
        size_t capacity = c->capacity ? c->capacity * 2 : 1024;
        struct toc_entry *entries = realloc(c->entries, capacity * sizeof(*entries));
        if (!entries)
            return -ENOMEM;
        c->entries = entries;
        c->capacity = capacity;
    }
    c->entries[c->count++] = *e;
    return 0;
}

static bool is_live(const struct appender *a, const struct toc_entry *e)
{
    struct place p;
    return disk_index_find(a->store->index, &e->id, &p) && !memcmp(&p, &e->place, sizeof(p));
}

/* Hands the hottest chunks to the carrier, a quarter of the segment at most. */
static void carry_hot(struct appender *a, const struct segment *s, int fd,
                      const struct contents *contents)
{
    uint64_t bytes_at[HEAT_MAX + 1] = {0};
    uint64_t budget =
        atomic_load_explicit(&((struct segment *)(uintptr_t)s)->size, memory_order_relaxed) /
        SEGMENT_CARRY_SHARE;
    for (size_t i = 0; i < contents->count; i++) {
        const struct toc_entry *e = &contents->entries[i];
        unsigned heat = heat_of(a->store->heat, &e->id);
        if (heat >= CARRY_HEAT && is_live(a, e))
            bytes_at[heat] += e->place.stored_len;
    }
    /* The lowest heat of which all chunks fit; of the next one, what still does. */
    unsigned least = HEAT_MAX;
    uint64_t sum = 0;
    while (least > CARRY_HEAT && sum + bytes_at[least] <= budget)
        sum += bytes_at[least--];

    for (size_t i = 0; i < contents->count; i++) {
        const struct toc_entry *e = &contents->entries[i];
        struct cairn_chunk *c;
        if (heat_of(a->store->heat, &e->id) < least || e->place.stored_len > budget ||
            !is_live(a, e) || store_read(a->store, &e->id, &e->place, s, fd, &c) < 0)
            continue;
        budget -= e->place.stored_len;
        bool taken = a->carry(a->carry_arg, c);
        cairn_chunk_unref(c);
        if (!taken)
            return;
        cairn_count(a->store->metrics, CAIRN_DISK_CARRIED, 1);
    }
}

/* -ENOENT: nothing is left to evict. */
static int evict_coldest(struct appender *a)
{
    struct segment_set *set = a->store->segments;
    int fd;
    struct segment *s = segment_coldest(set, a->open, &fd);
    if (!s && a->open) {
        /* A tier of one segment: the open one has to go. */
        leave_open(a);
        s = segment_coldest(set, NULL, &fd);
    }
    if (!s)
        return -ENOENT;

    struct contents contents = {0};
    if (fd >= 0) {
        /* If that fails halfway, entries stay behind that point nowhere: found out by the next
         * get or audit. */
        (void)segment_scan(s, fd, collect, &contents, NULL);
        carry_hot(a, s, fd, &contents);
    }
    for (size_t i = 0; i < contents.count; i++)
        disk_index_remove(a->store->index, &contents.entries[i].id, &contents.entries[i].place);
    free(contents.entries);
    segment_remove(set, s);
    segment_release(set, s);
    cairn_count(a->store->metrics, CAIRN_DISK_EVICTED, 1);
    return 0;
}

/* -EFBIG: it does not fit below the limit, whatever is evicted. */
static int make_room(struct appender *a, uint64_t bytes)
{
    if (disk_index_file_bytes(a->store->index) + bytes > limit_of(a))
        return -EFBIG;
    while (used_bytes(a) + bytes > limit_of(a)) {
        if (evict_coldest(a) < 0)
            return -EFBIG;
    }
    return 0;
}

/* The disk is fuller than we were promised: live with less for a while. */
static void shrink(struct appender *a, uint64_t bytes)
{
    uint64_t target = max_u64(bytes, a->store->segment_bytes);
    uint64_t before = used_bytes(a);
    while (used_bytes(a) + target > before && evict_coldest(a) == 0)
        ;
    set_limit(a, min_u64(limit_of(a), used_bytes(a) + bytes));
    log_warn("disk full, the cache shrinks: limit_bytes=%llu", (unsigned long long)limit_of(a));
}

static void regrow(struct appender *a)
{
    uint64_t limit = limit_of(a);
    if (limit < a->store->max_bytes && cairn_now_ns() - a->shrunk_ns > REGROW_NS)
        set_limit(a, min_u64(limit + a->store->segment_bytes, a->store->max_bytes));
}

/* Makes room for `n` more entries: in a larger index, or by forgetting what the index knows. */
static int make_index_room(struct appender *a, uint32_t n)
{
    struct disk_index *ix = a->store->index;
    while (!disk_index_has_room(ix, n)) {
        uint64_t grown = disk_index_file_bytes(ix) * 2;
        int r = -ENOSPC;
        if (grown <= store_index_limit(a->store)) {
            /* The old one goes only once the new one is there. */
            r = make_room(a, grown);
            if (r == 0)
                r = disk_index_grow(ix);
        }
        if (r < 0 && evict_coldest(a) < 0)
            return r;
    }
    return 0;
}

/* ---- writing ------------------------------------------------------------------------------------
 */

/* How many of the records go to the open segment (or to a new one); what they and their entries of
 * the table of contents will take. */
static uint32_t plan_run(const struct appender *a, const struct pending_record *records, uint32_t n,
                         uint32_t *ret_bytes, uint64_t *ret_charge)
{
    uint32_t start = a->open ? a->open->size : 0;
    uint32_t listed = a->open ? a->toc_count : 0;
    uint32_t bytes = 0;
    uint32_t k = 0;
    /* Below a very low limit no run may need all of it. */
    uint64_t index_bytes = disk_index_file_bytes(a->store->index);
    uint64_t most = limit_of(a) > index_bytes ? (limit_of(a) - index_bytes) / 2 : 0;
    most = min_u64(most, a->store->segment_bytes);
    for (; k < n && listed + k < TOC_MAX; k++) {
        uint32_t size = record_size(records[k].stored_len);
        if ((uint64_t)start + bytes + size + record_toc_size(listed + k + 1) > most &&
            (a->open || k > 0))
            break;
        bytes += size;
    }
    *ret_bytes = bytes;
    *ret_charge = bytes + record_toc_size(listed + k) - (a->open ? record_toc_size(listed) : 0);
    return k;
}

static int append_run(struct appender *a, const struct pending_record *records, uint32_t n,
                      uint32_t bytes)
{
    static const uint8_t zeros[RECORD_ALIGN];
    int iovs = 0;
    uint32_t padding = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct pending_record *rec = &records[i];
        record_header_make(&a->headers[i].header,
                           rec->stored_len < rec->chunk->len ? RECORD_ZSTD : RECORD_RAW,
                           &rec->chunk->id, rec->chunk->len, rec->stored_len, a->open->number);
        a->iov[iovs++] = (struct iovec){
            .iov_base = (uint8_t *)&a->headers[i].header - padding,
            .iov_len = padding + sizeof(struct record_header),
        };
        a->iov[iovs++] = (struct iovec){
            .iov_base = (void *)(uintptr_t)rec->payload,
            .iov_len = rec->stored_len,
        };
        padding =
            record_size(rec->stored_len) - (uint32_t)sizeof(struct record_header) - rec->stored_len;
    }
    a->iov[iovs++] = (struct iovec){.iov_base = (void *)(uintptr_t)zeros, .iov_len = padding};

    uint32_t offset = atomic_load_explicit(&a->open->size, memory_order_relaxed);
    int r = segment_append(a->store->segments, a->open, a->open_fd, a->iov, iovs, bytes);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < n; i++) {
        const struct pending_record *rec = &records[i];
        struct toc_entry *e = &a->toc[a->toc_count++];
        *e = (struct toc_entry){
            .id = rec->chunk->id,
            .place = {.segment = a->open->number,
                      .offset = offset,
                      .stored_len = rec->stored_len,
                      .plain_len = rec->chunk->len},
        };
        offset += record_size(rec->stored_len);
        if (disk_index_put(a->store->index, &e->id, &e->place) < 0)
            cairn_count(a->store->metrics, CAIRN_DISK_ERRORS, 1);
    }
    cairn_count(a->store->metrics, CAIRN_DISK_WRITTEN, bytes);
    return 0;
}

/* Writes one run; *ret_done of the records are then behind us. -EAGAIN: eviction took the open
 * segment, plan again. */
static int write_run(struct appender *a, const struct pending_record *records, uint32_t n,
                     uint32_t *ret_done, uint64_t *ret_charge)
{
    uint32_t bytes;
    uint32_t k = plan_run(a, records, n, &bytes, ret_charge);
    if (k == 0) {
        seal(a);
        return -EAGAIN;
    }
    const struct segment *planned = a->open;
    int r = make_index_room(a, k);
    if (r == 0)
        r = make_room(a, *ret_charge);
    if (r < 0)
        return r;
    if (a->open != planned)
        return -EAGAIN;
    if (!a->open)
        r = begin_segment(a);
    if (r == 0)
        r = append_run(a, records, k, bytes);
    if (r == 0)
        *ret_done = k;
    return r;
}

static void write_records(struct appender *a, const struct pending_record *records, uint32_t n)
{
    bool shrunk = false;
    while (n) {
        uint32_t done = 0;
        uint64_t charge = 0;
        int r = write_run(a, records, n, &done, &charge);
        if (r == 0) {
            records += done;
            n -= done;
        } else if ((r == -ENOSPC || r == -EDQUOT) && !shrunk) {
            shrunk = true;
            cairn_count(a->store->metrics, CAIRN_DISK_ERRORS, 1);
            shrink(a, charge);
        } else if (r == -EFBIG) {
            records++;
            n--;
        } else if (r != -EAGAIN) {
            abandon_open(a);
            cairn_count(a->store->metrics, CAIRN_DISK_ERRORS, 1);
            log_warn("cannot write to the cache, chunks forgotten: count=%u error=%s", n,
                     strerrordesc_np(-r));
            return;
        }
    }
}

void appender_write(struct appender *a, struct cairn_chunk *const *chunks, unsigned n)
{
    uint32_t records = 0;
    size_t filled = 0;
    regrow(a);
    for (unsigned i = 0; i < n; i++) {
        const struct cairn_chunk *c = chunks[i];
        /* It may have been stored since it was queued. */
        if (c->len == 0 || c->len > RECORD_MAX_PLAIN || store_has(a->store, &c->id))
            continue;
        struct pending_record *rec = &a->records[records++];
        *rec = (struct pending_record){.chunk = c, .payload = c->data, .stored_len = c->len};
        if (!a->arena || filled + c->len > APPENDER_BATCH_BYTES)
            continue;
        uint32_t len = codec_encode(a->store->codec, c->data, c->len, a->arena + filled);
        if (len) {
            rec->payload = a->arena + filled;
            rec->stored_len = len;
            filled += len;
        }
    }
    write_records(a, a->records, records);
}

/* ---- life
 * ---------------------------------------------------------------------------------------- */

int appender_new(struct appender **ret, struct disk_store *store, appender_carry_fn *carry,
                 void *arg)
{
    struct appender *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    a->store = store;
    a->carry = carry;
    a->carry_arg = arg;
    a->open_fd = -1;
    atomic_init(&a->limit, store->max_bytes);
    a->toc = malloc(TOC_MAX * sizeof(*a->toc));
    if (a->toc && store->compress)
        a->arena = malloc(APPENDER_BATCH_BYTES);
    if (!a->toc || (store->compress && !a->arena)) {
        appender_free(a);
        return -ENOMEM;
    }
    *ret = a;
    return 0;
}

void appender_free(struct appender *a)
{
    if (!a)
        return;
    if (a->open)
        seal(a);
    free(a->toc);
    free(a->arena);
    free(a);
}

void appender_start(struct appender *a)
{
    if (a->store->audit_needed)
        store_audit(a->store);
    else
        reopen_newest(a);
    a->store->audit_needed = false;
    while (used_bytes(a) > limit_of(a) && evict_coldest(a) == 0)
        ;
}

uint64_t appender_limit(const struct appender *a)
{
    return limit_of(a);
}
