// SPDX-License-Identifier: Apache-2.0
/*
 * See index.h. All words of a slot are atomics. A writer makes `sequence` odd, changes slots, and
 * makes it even again; each slot's check bits tell a reader whether the words that it saw belong
 * together. So a hit needs no sequence at all, and a miss counts only if the sequence stood still;
 * else it is looked up again under the lock.
 *
 * Growing copies into a new file beside the old one, publishes it, and replaces the old mapping
 * by empty anonymous memory at the same address: readers still in it find nothing, see that the
 * table changed, and look again. Its addresses are given back at close.
 */
#include "cache/index.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/util.h"

#define MAGIC        0x7865646e69637263ULL /* "crcindex" */
#define VERSION      1U
#define HEADER_BYTES 4096U
#define SLOTS_MIN    1024U
#define SLOTS_MAX    (1ULL << 36)
#define FILE_NAME    "index"
#define NEW_NAME     "index.new"

/* Words of a slot: `where` = segment 32 | offset / 8 24 | 0 8, `lens` = stored 24 | plain 24 |
 * check 16. Both are zero in an empty slot only. */
struct slot {
    _Atomic uint64_t id[2];
    _Atomic uint64_t where;
    _Atomic uint64_t lens;
};
_Static_assert(sizeof(struct slot) == 32, "on-disk format");

enum index_state { IN_USE = 0, CLEAN = 1, BUILDING = 2 };

/* The counters are exact after a clean close and within one change of it after a kill -9. */
struct index_header {
    uint64_t magic;
    uint32_t version;
    uint32_t slot_size;
    uint64_t slots;
    uint64_t check;         /* XXH3-64 of all before */
    _Atomic uint64_t state; /* enum index_state */
    _Atomic uint64_t used;  /* slots that are not empty */
    _Atomic uint64_t chunks;
    _Atomic uint64_t plain_bytes;
    _Atomic uint64_t record_bytes;
};

struct table {
    struct index_header *header;
    struct slot *slots;
    uint64_t mask;
    size_t map_bytes;
    struct table *older; /* replaced by this one, kept for readers that are still in it */
};

struct disk_index {
    int dirfd;
    pthread_mutex_t lock; /* held by whoever changes slots, counters or the table */
    _Atomic(struct table *) table;
    _Atomic uint64_t sequence;
};

/* A slot's words, read one by one. */
struct words {
    uint64_t id[2];
    uint64_t where;
    uint64_t lens;
};

static uint64_t check_bits(const struct words *w)
{
    struct words plain = *w;
    plain.lens &= ~0xffffULL;
    /* Never zero: no slot in use looks empty. */
    return (XXH3_64bits(&plain, sizeof(plain)) & 0xffff) | 1;
}

static struct words pack(const struct cairn_chunk_id *id, const struct place *p)
{
    struct words w;
    memcpy(w.id, id->bytes, sizeof(w.id));
    w.where = (uint64_t)p->segment << 32 | (uint64_t)(p->offset / RECORD_ALIGN) << 8;
    w.lens = (uint64_t)p->stored_len << 40 | (uint64_t)p->plain_len << 16;
    w.lens |= check_bits(&w);
    return w;
}

static struct place unpack(const struct words *w)
{
    return (struct place){
        .segment = (uint32_t)(w->where >> 32),
        .offset = (uint32_t)(w->where >> 8 & 0xffffff) * RECORD_ALIGN,
        .stored_len = (uint32_t)(w->lens >> 40),
        .plain_len = (uint32_t)(w->lens >> 16 & 0xffffff),
    };
}

static bool is_empty(const struct words *w)
{
    return !w->where && !w->lens;
}

static bool is_torn(const struct words *w)
{
    return (w->lens & 0xffff) != check_bits(w);
}

static bool has_id(const struct words *w, const struct cairn_chunk_id *id)
{
    return !memcmp(w->id, id->bytes, sizeof(w->id));
}

static struct words load(const struct slot *s_const)
{
    struct slot *s = (struct slot *)(uintptr_t)s_const;
    struct words w;
    w.id[0] = atomic_load_explicit(&s->id[0], memory_order_acquire);
    w.id[1] = atomic_load_explicit(&s->id[1], memory_order_acquire);
    w.where = atomic_load_explicit(&s->where, memory_order_acquire);
    w.lens = atomic_load_explicit(&s->lens, memory_order_acquire);
    return w;
}

/* Release stores: whoever sees one of them also sees the sequence that was made odd before. */
static void store(struct slot *s, const struct words *w)
{
    atomic_store_explicit(&s->id[0], w->id[0], memory_order_release);
    atomic_store_explicit(&s->id[1], w->id[1], memory_order_release);
    atomic_store_explicit(&s->where, w->where, memory_order_release);
    atomic_store_explicit(&s->lens, w->lens, memory_order_release);
}

static uint64_t home_of(const struct table *t, const uint64_t id[2])
{
    return id[0] & t->mask;
}

static struct table *table_of(struct disk_index *ix)
{
    return atomic_load_explicit(&ix->table, memory_order_acquire);
}

static void begin_change_locked(struct disk_index *ix)
{
    atomic_fetch_add_explicit(&ix->sequence, 1, memory_order_acq_rel);
}

static void end_change_locked(struct disk_index *ix)
{
    atomic_fetch_add_explicit(&ix->sequence, 1, memory_order_acq_rel);
}

static void adjust(_Atomic uint64_t *counter, int64_t by)
{
    uint64_t v = atomic_load_explicit(counter, memory_order_relaxed);
    /* A crash may have left it too low: never below zero. */
    v = by < 0 && v < (uint64_t)-by ? 0 : v + (uint64_t)by;
    atomic_store_explicit(counter, v, memory_order_relaxed);
}

static void count_entry(struct table *t, const struct place *p, int sign)
{
    adjust(&t->header->chunks, sign);
    adjust(&t->header->plain_bytes, sign * (int64_t)p->plain_len);
    adjust(&t->header->record_bytes, sign * (int64_t)record_size(p->stored_len));
}

/* ---- the file ---------------------------------------------------------------------------- */

static void free_table(struct table *t)
{
    if (!t)
        return;
    munmap(t->header, t->map_bytes);
    free(t);
}

static int map_table(struct table **ret, int fd, uint64_t slots)
{
    struct table *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->map_bytes = HEADER_BYTES + slots * sizeof(struct slot);
    void *map = mmap(NULL, t->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        int r = -errno;
        free(t);
        return r;
    }
    t->header = map;
    t->slots = (struct slot *)((char *)map + HEADER_BYTES);
    t->mask = slots - 1;
    *ret = t;
    return 0;
}

static uint64_t header_check(const struct index_header *h)
{
    return XXH3_64bits(h, offsetof(struct index_header, check));
}

/* Gives the file all its blocks now: a store into a hole of a full disk would be a SIGBUS. */
static int allocate(int fd, uint64_t bytes)
{
    int r = posix_fallocate(fd, 0, (off_t)bytes);
    return r == EINTR ? allocate(fd, bytes) : -r;
}

/* Makes NEW_NAME and maps it; the caller renames it. *ret_fd is the caller's. */
static int create_table(struct table **ret, int *ret_fd, int dirfd, uint64_t slots)
{
    AUTO_CLOSE int fd = openat(dirfd, NEW_NAME, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    /* On a copy-on-write filesystem even an allocated block may lack room when it changes. */
    int flags = 0;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && !(flags & FS_NOCOW_FL)) {
        flags |= FS_NOCOW_FL;
        (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
    struct table *t = NULL;
    int r = allocate(fd, HEADER_BYTES + slots * sizeof(struct slot));
    if (r == 0)
        r = map_table(&t, fd, slots);
    if (r < 0) {
        unlinkat(dirfd, NEW_NAME, 0);
        return r;
    }
    t->header->magic = MAGIC;
    t->header->version = VERSION;
    t->header->slot_size = sizeof(struct slot);
    t->header->slots = slots;
    t->header->check = header_check(t->header);
    *ret = t;
    *ret_fd = steal_fd(&fd);
    return 0;
}

static int new_index(struct disk_index **ret, int dirfd, struct table *t)
{
    struct disk_index *ix = calloc(1, sizeof(*ix));
    if (!ix)
        return -ENOMEM;
    ix->dirfd = dirfd;
    pthread_mutex_init(&ix->lock, NULL);
    atomic_init(&ix->table, t);
    *ret = ix;
    return 0;
}

int disk_index_create(struct disk_index **ret, int dirfd, uint64_t slots)
{
    uint64_t n = SLOTS_MIN;
    while (n < slots)
        n *= 2;
    AUTO_CLOSE int fd = -1;
    struct table *t = NULL;
    int r = create_table(&t, &fd, dirfd, n);
    if (r < 0)
        return r;
    r = sys_result(renameat(dirfd, NEW_NAME, dirfd, FILE_NAME));
    if (r == 0) {
        atomic_store(&t->header->state, BUILDING);
        r = new_index(ret, dirfd, t);
    }
    if (r < 0) {
        unlinkat(dirfd, NEW_NAME, 0);
        free_table(t);
    }
    return r;
}

void disk_index_complete(struct disk_index *ix)
{
    atomic_store(&table_of(ix)->header->state, IN_USE);
}

static int read_header(int fd, struct index_header *h)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    ssize_t n = pread(fd, h, sizeof(*h), 0);
    if (n < 0)
        return -errno;
    if ((size_t)n != sizeof(*h) || h->magic != MAGIC || h->version != VERSION ||
        h->slot_size != sizeof(struct slot) || h->check != header_check(h) ||
        atomic_load(&h->state) >= BUILDING || h->slots < SLOTS_MIN || h->slots > SLOTS_MAX ||
        (h->slots & (h->slots - 1)) ||
        (uint64_t)st.st_size != HEADER_BYTES + h->slots * sizeof(struct slot))
        return -EBADMSG;
    /* A hole in it (a copy made sparse, say) could not be filled later. */
    if ((uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size)
        return 0;
    return allocate(fd, (uint64_t)st.st_size);
}

int disk_index_open(struct disk_index **ret, int dirfd, bool *ret_clean)
{
    unlinkat(dirfd, NEW_NAME, 0);
    AUTO_CLOSE int fd = openat(dirfd, FILE_NAME, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct index_header h;
    int r = read_header(fd, &h);
    if (r < 0)
        return r;
    struct table *t = NULL;
    r = map_table(&t, fd, h.slots);
    if (r < 0)
        return r;
    r = new_index(ret, dirfd, t);
    if (r < 0) {
        free_table(t);
        return r;
    }
    *ret_clean = atomic_exchange(&t->header->state, IN_USE) == CLEAN;
    /* Else a power cut could leave a clean mark on what has changed since. */
    (void)msync(t->header, HEADER_BYTES, MS_SYNC);
    return 0;
}

void disk_index_close(struct disk_index *ix)
{
    if (!ix)
        return;
    struct table *t = table_of(ix);
    /* In this order: clean must not reach the disk before what it vouches for. */
    if (msync(t->header, t->map_bytes, MS_SYNC) == 0) {
        atomic_store(&t->header->state, CLEAN);
        msync(t->header, HEADER_BYTES, MS_SYNC);
    }
    while (t) {
        struct table *older = t->older;
        free_table(t);
        t = older;
    }
    pthread_mutex_destroy(&ix->lock);
    free(ix);
}

/* ---- finding ------------------------------------------------------------------------------ */

static bool probe(const struct table *t, const struct cairn_chunk_id *id, struct place *ret)
{
    uint64_t words[2];
    memcpy(words, id->bytes, sizeof(words));
    uint64_t i = home_of(t, words);
    for (uint64_t n = 0; n <= t->mask; n++, i = (i + 1) & t->mask) {
        struct words w = load(&t->slots[i]);
        if (is_empty(&w))
            return false;
        if (has_id(&w, id) && !is_torn(&w)) {
            *ret = unpack(&w);
            return true;
        }
    }
    return false;
}

bool disk_index_find(struct disk_index *ix, const struct cairn_chunk_id *id, struct place *ret)
{
    uint64_t before = atomic_load_explicit(&ix->sequence, memory_order_acquire);
    if (probe(table_of(ix), id, ret))
        return true;
    if (!(before & 1) && atomic_load_explicit(&ix->sequence, memory_order_acquire) == before)
        return false;
    pthread_mutex_lock(&ix->lock);
    bool found = probe(table_of(ix), id, ret);
    pthread_mutex_unlock(&ix->lock);
    return found;
}

/* ---- changing ------------------------------------------------------------------------------ */

/* Finds the slot of an id. False: *ret is where it can be put (t->mask + 1 if nowhere). */
static bool locate_locked(const struct table *t, const struct cairn_chunk_id *id, uint64_t *ret)
{
    uint64_t words[2];
    memcpy(words, id->bytes, sizeof(words));
    uint64_t i = home_of(t, words);
    uint64_t spot = t->mask + 1;
    for (uint64_t n = 0; n <= t->mask; n++, i = (i + 1) & t->mask) {
        struct words w = load(&t->slots[i]);
        bool empty = is_empty(&w);
        if (empty || is_torn(&w)) {
            if (spot > t->mask)
                spot = i;
            if (empty)
                break;
        } else if (has_id(&w, id)) {
            *ret = i;
            return true;
        }
    }
    *ret = spot;
    return false;
}

/* Inserts into a table, counting it. */
static int insert_locked(struct table *t, const struct cairn_chunk_id *id, const struct place *p)
{
    uint64_t i;
    bool found = locate_locked(t, id, &i);
    if (i > t->mask)
        return -ENOSPC;
    struct words old = load(&t->slots[i]);
    struct words new = pack(id, p);
    if (found) {
        struct place q = unpack(&old);
        count_entry(t, &q, -1);
    } else if (is_empty(&old)) {
        /* Probing must end somewhere, whatever happens: keep an eighth empty. */
        uint64_t used = atomic_load_explicit(&t->header->used, memory_order_relaxed);
        if (used >= t->mask - t->mask / 8)
            return -ENOSPC;
        adjust(&t->header->used, 1);
    }
    count_entry(t, p, 1);
    store(&t->slots[i], &new);
    return 0;
}

int disk_index_put(struct disk_index *ix, const struct cairn_chunk_id *id, const struct place *p)
{
    pthread_mutex_lock(&ix->lock);
    begin_change_locked(ix);
    int r = insert_locked(table_of(ix), id, p);
    end_change_locked(ix);
    pthread_mutex_unlock(&ix->lock);
    return r;
}

/* Empties slot `hole`, moving later entries of its run back so that probing still finds them. An
 * entry is written to its new slot before it leaves the old: a crash doubles, never loses. */
static void clear_locked(struct table *t, uint64_t hole)
{
    static const struct words none;
    uint64_t j = hole;
    for (uint64_t n = 0; n < t->mask; n++) {
        j = (j + 1) & t->mask;
        struct words w = load(&t->slots[j]);
        if (is_empty(&w))
            break;
        if (is_torn(&w))
            continue;
        if (((j - home_of(t, w.id)) & t->mask) >= ((j - hole) & t->mask)) {
            store(&t->slots[hole], &w);
            hole = j;
        }
    }
    store(&t->slots[hole], &none);
    adjust(&t->header->used, -1);
}

bool disk_index_remove(struct disk_index *ix, const struct cairn_chunk_id *id,
                       const struct place *only)
{
    pthread_mutex_lock(&ix->lock);
    struct table *t = table_of(ix);
    uint64_t i;
    bool found = locate_locked(t, id, &i);
    if (found) {
        struct words w = load(&t->slots[i]);
        struct place p = unpack(&w);
        found = !memcmp(&p, only, sizeof(p));
        if (found) {
            begin_change_locked(ix);
            clear_locked(t, i);
            count_entry(t, &p, -1);
            end_change_locked(ix);
        }
    }
    pthread_mutex_unlock(&ix->lock);
    return found;
}

/* ---- the whole table ----------------------------------------------------------------------- */

bool disk_index_has_room(struct disk_index *ix, uint64_t n)
{
    struct table *t = table_of(ix);
    uint64_t used = atomic_load_explicit(&t->header->used, memory_order_relaxed);
    return (used + n) * 10 <= (t->mask + 1) * 7;
}

static int copy_locked(const struct table *from, struct table *to)
{
    for (uint64_t i = 0; i <= from->mask; i++) {
        struct words w = load(&from->slots[i]);
        if (is_empty(&w) || is_torn(&w))
            continue;
        struct cairn_chunk_id id;
        memcpy(id.bytes, w.id, sizeof(w.id));
        struct place p = unpack(&w);
        int r = insert_locked(to, &id, &p);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Puts empty memory in the place of a mapping that readers may still be in, so that its file is
 * let go. If that fails, its blocks stay in use until close, no more. */
static void empty_table(struct table *t)
{
    void *none = mmap(NULL, t->map_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (none != MAP_FAILED && mremap(none, t->map_bytes, t->map_bytes,
                                     MREMAP_MAYMOVE | MREMAP_FIXED, t->header) == MAP_FAILED)
        munmap(none, t->map_bytes);
}

/* Copies to a file of twice the slots and puts that in place of the old one. */
static int grow_locked(struct disk_index *ix)
{
    struct table *old = table_of(ix);
    AUTO_CLOSE int fd = -1;
    struct table *t = NULL;
    int r = create_table(&t, &fd, ix->dirfd, (old->mask + 1) * 2);
    if (r < 0)
        return r;
    atomic_store(&t->header->state, atomic_load(&old->header->state));
    r = copy_locked(old, t);
    /* Else a power cut could leave the new name on pages that were never written. */
    if (r == 0)
        r = sys_result(fdatasync(fd));
    if (r == 0)
        r = sys_result(renameat(ix->dirfd, NEW_NAME, ix->dirfd, FILE_NAME));
    if (r < 0) {
        unlinkat(ix->dirfd, NEW_NAME, 0);
        free_table(t);
        return r;
    }
    t->older = old;
    begin_change_locked(ix);
    atomic_store_explicit(&ix->table, t, memory_order_release);
    end_change_locked(ix);
    empty_table(old);
    return 0;
}

int disk_index_grow(struct disk_index *ix)
{
    pthread_mutex_lock(&ix->lock);
    int r = grow_locked(ix);
    pthread_mutex_unlock(&ix->lock);
    return r;
}

uint64_t disk_index_file_bytes(struct disk_index *ix)
{
    return table_of(ix)->map_bytes;
}

void disk_index_audit(struct disk_index *ix, bool (*alive)(void *arg, const struct place *p),
                      void *arg)
{
    pthread_mutex_lock(&ix->lock);
    struct table *t = table_of(ix);
    struct index_header *h = t->header;
    for (uint64_t i = 0; i <= t->mask; i++) {
        struct words w = load(&t->slots[i]);
        /* Clearing may move another entry into the same slot. */
        while (!is_empty(&w)) {
            struct place p = unpack(&w);
            if (!is_torn(&w) && alive(arg, &p))
                break;
            begin_change_locked(ix);
            clear_locked(t, i);
            end_change_locked(ix);
            w = load(&t->slots[i]);
        }
    }
    uint64_t used = 0;
    struct disk_index_stats stats = {0};
    for (uint64_t i = 0; i <= t->mask; i++) {
        struct words w = load(&t->slots[i]);
        if (is_empty(&w))
            continue;
        used++;
        if (is_torn(&w))
            continue;
        struct place p = unpack(&w);
        stats.chunks++;
        stats.plain_bytes += p.plain_len;
        stats.record_bytes += record_size(p.stored_len);
    }
    atomic_store_explicit(&h->used, used, memory_order_relaxed);
    atomic_store_explicit(&h->chunks, stats.chunks, memory_order_relaxed);
    atomic_store_explicit(&h->plain_bytes, stats.plain_bytes, memory_order_relaxed);
    atomic_store_explicit(&h->record_bytes, stats.record_bytes, memory_order_relaxed);
    pthread_mutex_unlock(&ix->lock);
}

void disk_index_stats(struct disk_index *ix, struct disk_index_stats *ret)
{
    pthread_mutex_lock(&ix->lock);
    const struct index_header *h = table_of(ix)->header;
    *ret = (struct disk_index_stats){
        .chunks = atomic_load_explicit(&((struct index_header *)(uintptr_t)h)->chunks,
                                       memory_order_relaxed),
        .plain_bytes = atomic_load_explicit(&((struct index_header *)(uintptr_t)h)->plain_bytes,
                                            memory_order_relaxed),
        .record_bytes = atomic_load_explicit(&((struct index_header *)(uintptr_t)h)->record_bytes,
                                             memory_order_relaxed),
    };
    pthread_mutex_unlock(&ix->lock);
}
