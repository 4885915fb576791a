// SPDX-License-Identifier: Apache-2.0
/* See store.h. The index is a hint; the record that it points to proves itself or is dropped. */
#include "cache/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"

#define AROUND_BYTES        (1 * MIB)  /* a 64th of a segment */
#define GAP_BYTES           (64 * KIB) /* sooner read along than left out */
#define SEGMENT_BYTES_MIN   (1 * MIB)
#define SEGMENT_BYTES_MAX   (64 * MIB)
#define FIRST_SLOTS_MAX     65536U /* 2 MiB; grows as needed */
#define INDEX_BYTES_ALWAYS  (64 * KIB)
#define CHUNK_BYTES_TYPICAL (64 * KIB)

uint64_t store_bytes(const struct disk_store *s)
{
    return atomic_load_explicit(&s->segments->bytes, memory_order_relaxed) +
           disk_index_file_bytes(s->index);
}

uint64_t store_index_limit(const struct disk_store *s)
{
    return max_u64(s->max_bytes / 4, INDEX_BYTES_ALWAYS);
}

/* ---- opening -------------------------------------------------------------------------------- */

static uint64_t first_slots(uint64_t bytes)
{
    return min_u64(bytes / CHUNK_BYTES_TYPICAL * 3 / 2, FIRST_SLOTS_MAX);
}

static int index_record(void *arg, const struct toc_entry *e)
{
    struct disk_store *s = arg;
    if (e->place.plain_len == 0 || e->place.plain_len > RECORD_MAX_PLAIN)
        return 0;
    if (!disk_index_has_room(s->index, 1)) {
        if (disk_index_file_bytes(s->index) * 2 > store_index_limit(s))
            return -E2BIG;
        int r = disk_index_grow(s->index);
        if (r < 0)
            return r;
    }
    /* Of two records of one id the newer wins, as segments are scanned in order of age. */
    return disk_index_put(s->index, &e->id, &e->place);
}

static bool points_somewhere(void *arg, const struct place *p)
{
    struct disk_store *s = arg;
    return (uint64_t)p->offset + record_size(p->stored_len) <=
           segment_set_size_of(s->segments, p->segment);
}

void store_audit(struct disk_store *s)
{
    disk_index_audit(s->index, points_somewhere, s);
}

/* Makes the index anew from the segments alone. */
static int rebuild(struct disk_store *s)
{
    uint64_t bytes = min_u64(s->max_bytes, s->segments->bytes);
    int r = disk_index_create(&s->index, s->dirfd,
                              max_u64(first_slots(s->max_bytes), first_slots(bytes)));
    if (r < 0)
        return r;
    uint32_t number;
    for (size_t i = 0; segment_set_number_at(s->segments, i, &number); i++) {
        struct segment *seg;
        int fd;
        r = segment_acquire(s->segments, number, &seg, &fd);
        if (r == 0) {
            r = segment_scan(seg, fd, index_record, s, NULL);
            if (r == -E2BIG) {
                /* More chunks than a tier of this size may index. */
                segment_remove(s->segments, seg);
                store_audit(s);
                i--;
                r = 0;
            }
            segment_release(s->segments, seg);
        }
        if (r == -ENOMEM || r == -ENOSPC || r == -EDQUOT)
            return r;
        if (r < 0)
            log_warn("segment unreadable: number=%08x error=%s", number, strerrordesc_np(-r));
    }
    disk_index_complete(s->index);
    struct disk_index_stats stats;
    disk_index_stats(s->index, &stats);
    if (stats.chunks)
        log_info("index rebuilt from the segments: chunks=%llu", (unsigned long long)stats.chunks);
    return 0;
}

/* Removes the oldest segments until what is left fits beside an index. */
static void remove_oldest(struct disk_store *s)
{
    uint32_t number;
    while (s->segments->bytes > s->max_bytes / 4 * 3 &&
           segment_set_number_at(s->segments, 0, &number)) {
        struct segment *seg;
        int fd;
        if (segment_acquire(s->segments, number, &seg, &fd) < 0)
            return;
        segment_remove(s->segments, seg);
        segment_release(s->segments, seg);
        cairn_count(s->metrics, CAIRN_DISK_EVICTED, 1);
    }
}

static int open_index(struct disk_store *s)
{
    bool clean = false;
    int r = disk_index_open(&s->index, s->dirfd, &clean);
    if (r == -ENOENT || r == -EBADMSG)
        return rebuild(s);
    if (r < 0)
        return r;
    s->audit_needed = !clean;
    if (disk_index_file_bytes(s->index) <= store_index_limit(s))
        return 0;
    /* The tier became much smaller than it was: its index alone could exceed the new bound. */
    disk_index_close(s->index);
    s->index = NULL;
    s->audit_needed = false;
    remove_oldest(s);
    return rebuild(s);
}

static int open_segments(struct disk_store *s)
{
    if (mkdirat(s->dirfd, "segments", 0700) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(s->dirfd, "segments", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = segment_set_open(&s->segments, fd);
    if (r < 0)
        close(fd);
    return r;
}

static void free_store(struct disk_store *s)
{
    segment_set_close(s->segments);
    heat_free(s->heat);
    codec_free(s->codec);
    if (s->dirfd >= 0)
        close(s->dirfd);
    free(s);
}

int store_open(struct disk_store **ret, const char *dir, uint64_t max_bytes, int level,
               struct cairn_metrics *metrics)
{
    struct disk_store *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->max_bytes = max_bytes;
    s->compress = level != 0;
    s->metrics = metrics;
    /* Sixteen of them at least, but none absurdly small; a tiny tier has four. */
    uint64_t least = min_u64(SEGMENT_BYTES_MIN, max_bytes / 4);
    s->segment_bytes = (uint32_t)max_u64(min_u64(max_bytes / 16, SEGMENT_BYTES_MAX), least);
    s->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = sys_result(s->dirfd);
    if (r >= 0)
        r = heat_new(&s->heat);
    if (r == 0)
        r = codec_new(&s->codec, level);
    if (r == 0)
        r = open_segments(s);
    if (r == 0)
        r = open_index(s);
    if (r < 0) {
        disk_index_close(s->index);
        free_store(s);
        return r;
    }
    *ret = s;
    return 0;
}

void store_close(struct disk_store *s)
{
    if (!s)
        return;
    /* The segments first: a clean index must not know of more than they hold. */
    segment_set_sync(s->segments);
    disk_index_close(s->index);
    free_store(s);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool matches(const struct record_header *h, const struct cairn_chunk_id *id,
                    const struct place *p)
{
    return record_header_valid(h, p->segment) && h->codec != RECORD_TOC &&
           h->plain_len == p->plain_len && h->stored_len == p->stored_len &&
           cairn_chunk_id_equal(&h->id, id);
}

/* Header and payload in one system call; a raw payload goes directly to where it is wanted. */
static int read_record(int fd, const struct cairn_chunk_id *id, const struct place *p,
                       void *payload)
{
    struct record_header h;
    struct iovec iov[] = {
        {.iov_base = &h, .iov_len = sizeof(h)},
        {.iov_base = payload, .iov_len = p->stored_len},
    };
    int r = segment_read(fd, iov, 2, p->offset);
    if (r < 0)
        return r;
    return matches(&h, id, p) ? 0 : -EBADMSG;
}

static int read_compressed(struct disk_store *s, int fd, const struct cairn_chunk_id *id,
                           const struct place *p, struct cairn_chunk *c)
{
    struct decoder *d;
    int r = codec_borrow(s->codec, p->stored_len, &d);
    if (r < 0)
        return r;
    r = read_record(fd, id, p, d->buf);
    if (r == 0)
        r = decoder_decode(d, p->stored_len, c->data, c->len);
    codec_return(s->codec, d);
    return r;
}

static int read_chunk(struct disk_store *s, const struct cairn_chunk_id *id, const struct place *p,
                      const struct segment *seg, int fd, struct cairn_chunk **ret)
{
    uint32_t size =
        atomic_load_explicit(&((struct segment *)(uintptr_t)seg)->size, memory_order_acquire);
    if ((uint64_t)p->offset + record_size(p->stored_len) > size || p->stored_len > p->plain_len ||
        p->plain_len > RECORD_MAX_PLAIN)
        return -EBADMSG;
    struct cairn_chunk *c = cairn_chunk_new(p->plain_len);
    if (!c)
        return -ENOMEM;
    int r = p->stored_len == p->plain_len ? read_record(fd, id, p, c->data)
                                          : read_compressed(s, fd, id, p, c);
    if (r == 0) {
        c->id = cairn_chunk_id_of(c->data, c->len);
        if (!cairn_chunk_id_equal(&c->id, id))
            r = -EBADMSG;
    }
    if (r < 0) {
        cairn_chunk_unref(c);
        return r;
    }
    *ret = c;
    return 0;
}

/* Drops what could not be read, so that it can be stored anew. */
static int drop(struct disk_store *s, const struct cairn_chunk_id *id, const struct place *p,
                int error)
{
    if (error == -ENOMEM)
        return error;
    if (!disk_index_remove(s->index, id, p))
        return -ENOENT;
    if (error == -EBADMSG) {
        char text[CAIRN_CHUNK_ID_TEXT];
        cairn_count(s->metrics, CAIRN_DISK_CORRUPT, 1);
        log_warn("damaged chunk dropped: chunk=%s segment=%08x offset=%u",
                 cairn_chunk_id_format(id, text), p->segment, p->offset);
    } else if (error != -EOPNOTSUPP) {
        cairn_count(s->metrics, CAIRN_DISK_ERRORS, 1);
        log_warn("cannot read segment: number=%08x error=%s", p->segment, strerrordesc_np(-error));
    }
    return -ENOENT;
}

int store_read(struct disk_store *s, const struct cairn_chunk_id *id, const struct place *place,
               const struct segment *segment, int fd, struct cairn_chunk **ret)
{
    int r = read_chunk(s, id, place, segment, fd, ret);
    return r < 0 ? drop(s, id, place, r) : 0;
}

int store_get(struct disk_store *s, const struct cairn_chunk_id *id, bool final,
              struct cairn_chunk **ret)
{
    struct place p;
    if (!disk_index_find(s->index, id, &p))
        return -ENOENT;
    struct segment *seg;
    int fd;
    int r = segment_acquire(s->segments, p.segment, &seg, &fd);
    if (r == -ENOENT)
        return final ? drop(s, id, &p, -EBADMSG) : -EAGAIN;
    if (r < 0) {
        /* Out of descriptors, say: nothing is wrong with the chunk. */
        cairn_count(s->metrics, CAIRN_DISK_ERRORS, 1);
        return r == -ENOMEM ? r : -ENOENT;
    }
    r = store_read(s, id, &p, seg, fd, ret);
    if (r == 0 && heat_touch_first(s->heat, id))
        atomic_fetch_add_explicit(&seg->hit_bytes, p.stored_len, memory_order_relaxed);
    segment_release(s->segments, seg);
    if (r == 0)
        cairn_count(s->metrics, CAIRN_DISK_HIT, 1);
    return r;
}

static void read_ahead(struct disk_store *s, uint32_t segment, uint64_t start, uint64_t end)
{
    struct segment *seg;
    int fd;
    if (start == end || segment_acquire(s->segments, segment, &seg, &fd) < 0)
        return;
    posix_fadvise(fd, (off_t)start, (off_t)(end - start), POSIX_FADV_WILLNEED);
    segment_release(s->segments, seg);
}

void store_will_need(struct disk_store *s, const struct cairn_chunk_id *ids, size_t count)
{
    struct place p;
    uint32_t segment = 0;
    uint64_t start = 0, end = 0; /* of the piece so far */
    for (size_t i = 0; i < count; i++) {
        if (!disk_index_find(s->index, &ids[i], &p))
            continue;
        uint64_t p_end = p.offset + (uint64_t)record_size(p.stored_len);
        if (start == end || p.segment != segment || p.offset < start ||
            p.offset > end + GAP_BYTES) {
            read_ahead(s, segment, start, end);
            segment = p.segment;
            start = p.offset;
            end = p_end;
        }
        end = max_u64(end, p_end);
    }
    read_ahead(s, segment, start, end);
}

void store_will_need_around(struct disk_store *s, const struct cairn_chunk_id *id)
{
    struct place p;
    struct segment *seg;
    int fd;
    if (!disk_index_find(s->index, id, &p) ||
        segment_acquire(s->segments, p.segment, &seg, &fd) < 0)
        return;
    unsigned block = p.offset / AROUND_BYTES;
    uint64_t bit = (uint64_t)1 << (block % 64);
    if (!(atomic_fetch_or_explicit(&seg->around, bit, memory_order_relaxed) & bit))
        posix_fadvise(fd, (off_t)(block * AROUND_BYTES), (off_t)AROUND_BYTES, POSIX_FADV_WILLNEED);
    segment_release(s->segments, seg);
}

bool store_has(struct disk_store *s, const struct cairn_chunk_id *id)
{
    struct place p;
    return disk_index_find(s->index, id, &p);
}
