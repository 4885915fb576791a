// SPDX-License-Identifier: Apache-2.0
/* See segment.h. */
#include "cache/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"

#define FDS_MAX    256U
#define FDS_MIN    8U
#define NAME_BYTES 16
#define NUMBER_MAX 0x7fffffffU /* never reached; what is above is not ours */

#define SCORE_KEPT  0.6 /* of a score, when a quarter of the tier has been written since */
#define FRESH_SCORE 0.5 /* per byte of a segment just written */

static void name_of(uint32_t number, char out[NAME_BYTES])
{
    snprintf(out, NAME_BYTES, "%08x.seg", number);
}

/* Exactly the names that name_of makes. */
static bool parse_name(const char *name, uint32_t *ret)
{
    char back[NAME_BYTES];
    char *end;
    unsigned long v = strtoul(name, &end, 16);
    if (strcmp(end, ".seg") != 0 || v > NUMBER_MAX)
        return false;
    name_of((uint32_t)v, back);
    if (strcmp(back, name) != 0)
        return false;
    *ret = (uint32_t)v;
    return true;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* ---- the set ------------------------------------------------------------------------------- */

static struct segment *new_segment(uint32_t number, uint32_t size)
{
    struct segment *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->number = number;
    s->fd = -1;
    atomic_init(&s->size, size);
    atomic_init(&s->hit_bytes, 0);
    atomic_init(&s->around, 0);
    return s;
}

/* Room for one more, so that adding later cannot fail. */
static int reserve_locked(struct segment_set *set)
{
    if (set->count < set->capacity)
        return 0;
    size_t capacity = set->capacity ? set->capacity * 2 : 64;
    struct segment **sorted = realloc(set->sorted, capacity * sizeof(struct segment *));
    if (!sorted)
        return -ENOMEM;
    set->sorted = sorted;
    set->capacity = capacity;
    return 0;
}

/* The first position whose number is not less. */
static size_t position_locked(const struct segment_set *set, uint32_t number)
{
    size_t lo = 0;
    size_t hi = set->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (set->sorted[mid]->number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct segment *find_locked(const struct segment_set *set, uint32_t number)
{
    size_t i = position_locked(set, number);
    return i < set->count && set->sorted[i]->number == number ? set->sorted[i] : NULL;
}

static int by_number(const void *a, const void *b)
{
    const struct segment *const *x = a;
    const struct segment *const *y = b;
    return ((*x)->number > (*y)->number) - ((*x)->number < (*y)->number);
}

/* The set is not shared yet: no lock. */
static int list_segments(struct segment_set *set)
{
    int copy = openat(set->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0)
        return -errno;
    DIR *dir = fdopendir(copy);
    if (!dir) {
        int r = -errno;
        close(copy);
        return r;
    }
    int r = 0;
    while (r == 0) {
        errno = 0;
        struct dirent *e = readdir(dir);
        if (!e) {
            r = -errno;
            break;
        }
        uint32_t number;
        struct stat st;
        if (!parse_name(e->d_name, &number) ||
            fstatat(set->dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
            continue;
        r = reserve_locked(set);
        if (r < 0)
            break;
        /* A file that is too long is not ours beyond the format's bound, but it is charged. */
        uint32_t size = (uint32_t)min_u64((uint64_t)st.st_size, UINT32_MAX);
        struct segment *s = new_segment(number, size);
        if (!s) {
            r = -ENOMEM;
            break;
        }
        set->sorted[set->count++] = s;
        set->bytes += size;
    }
    closedir(dir);
    if (r < 0)
        return r;
    if (set->count)
        qsort(set->sorted, set->count, sizeof(struct segment *), by_number);
    for (size_t i = 0; i < set->count; i++) {
        struct segment *s = set->sorted[i];
        /* Until hits say more, the older is the colder. */
        s->score = (double)(i + 1) / (double)set->count * (double)s->size * FRESH_SCORE;
        set->next_number = s->number + 1;
    }
    return 0;
}

int segment_set_open(struct segment_set **ret, int dirfd)
{
    struct segment_set *set = calloc(1, sizeof(*set));
    if (!set)
        return -ENOMEM;
    struct rlimit limit;
    set->max_fds = FDS_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 8 < FDS_MAX)
        set->max_fds = (unsigned)max_u64(limit.rlim_cur / 8, FDS_MIN);
    set->dirfd = dirfd;
    set->next_number = 1;
    pthread_mutex_init(&set->lock, NULL);
    int r = list_segments(set);
    if (r < 0) {
        set->dirfd = -1;
        segment_set_close(set);
        return r;
    }
    *ret = set;
    return 0;
}

void segment_set_close(struct segment_set *set)
{
    if (!set)
        return;
    for (size_t i = 0; i < set->count; i++) {
        close_fd(set->sorted[i]->fd);
        free(set->sorted[i]);
    }
    close_fd(set->dirfd);
    free(set->sorted);
    pthread_mutex_destroy(&set->lock);
    free(set);
}

void segment_set_sync(struct segment_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        struct segment *s = set->sorted[i];
        char name[NAME_BYTES];
        if (!s->unsynced)
            continue;
        name_of(s->number, name);
        AUTO_CLOSE int fd = openat(set->dirfd, name, O_RDWR | O_CLOEXEC);
        if (fd >= 0 && fdatasync(fd) == 0)
            s->unsynced = false;
    }
    (void)fsync(set->dirfd);
}

/* Takes the descriptor of the least recently used idle segment; -1 if there is none. */
static int take_idle_fd_locked(struct segment_set *set)
{
    struct segment *oldest = NULL;
    for (size_t i = 0; i < set->count; i++) {
        struct segment *s = set->sorted[i];
        if (s->fd >= 0 && s->pins == 0 && (!oldest || s->used_at < oldest->used_at))
            oldest = s;
    }
    if (!oldest)
        return -1;
    set->open_fds--;
    return steal_fd(&oldest->fd);
}

static int open_segment(struct segment_set *set, uint32_t number, int flags, int *ret_fd)
{
    char name[NAME_BYTES];
    name_of(number, name);
    for (;;) {
        int fd = openat(set->dirfd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
        if (fd >= 0) {
            /* A chunk is read whole, and who reads on says so (store_will_need). */
            posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
            *ret_fd = fd;
            return 0;
        }
        int r = -errno;
        if (r != -EMFILE && r != -ENFILE)
            return r;
        pthread_mutex_lock(&set->lock);
        int idle = take_idle_fd_locked(set);
        pthread_mutex_unlock(&set->lock);
        if (idle < 0)
            return r;
        close(idle);
    }
}

/* Gives a pinned segment its descriptor, or learns that another thread was faster. */
static int install_fd(struct segment_set *set, struct segment *s, int fd)
{
    int spare = -1;
    pthread_mutex_lock(&set->lock);
    if (s->fd >= 0) {
        spare = fd;
    } else {
        s->fd = fd;
        if (!s->gone && ++set->open_fds > set->max_fds)
            spare = take_idle_fd_locked(set);
    }
    fd = s->fd;
    pthread_mutex_unlock(&set->lock);
    close_fd(spare);
    return fd;
}

static void pin_locked(struct segment_set *set, struct segment *s)
{
    s->pins++;
    s->used_at = ++set->clock;
}

int segment_acquire(struct segment_set *set, uint32_t number, struct segment **ret, int *ret_fd)
{
    int fd = -1;
    pthread_mutex_lock(&set->lock);
    struct segment *s = find_locked(set, number);
    if (s) {
        pin_locked(set, s);
        fd = s->fd;
    }
    pthread_mutex_unlock(&set->lock);
    if (!s)
        return -ENOENT;
    if (fd < 0) {
        int r = open_segment(set, number, 0, &fd);
        if (r < 0) {
            segment_release(set, s);
            return r;
        }
        fd = install_fd(set, s, fd);
    }
    *ret = s;
    *ret_fd = fd;
    return 0;
}

void segment_release(struct segment_set *set, struct segment *s)
{
    pthread_mutex_lock(&set->lock);
    bool last = --s->pins == 0 && s->gone;
    pthread_mutex_unlock(&set->lock);
    if (last) {
        close_fd(s->fd);
        free(s);
    }
}

uint32_t segment_set_size_of(struct segment_set *set, uint32_t number)
{
    pthread_mutex_lock(&set->lock);
    struct segment *s = find_locked(set, number);
    uint32_t size = s ? atomic_load_explicit(&s->size, memory_order_acquire) : 0;
    pthread_mutex_unlock(&set->lock);
    return size;
}

size_t segment_set_count(struct segment_set *set)
{
    pthread_mutex_lock(&set->lock);
    size_t n = set->count;
    pthread_mutex_unlock(&set->lock);
    return n;
}

bool segment_set_number_at(struct segment_set *set, size_t i, uint32_t *ret)
{
    pthread_mutex_lock(&set->lock);
    bool there = i < set->count;
    if (there)
        *ret = set->sorted[i]->number;
    pthread_mutex_unlock(&set->lock);
    return there;
}

/* ---- writing ------------------------------------------------------------------------------- */

int segment_create(struct segment_set *set, struct segment **ret, int *ret_fd)
{
    pthread_mutex_lock(&set->lock);
    int r = reserve_locked(set);
    pthread_mutex_unlock(&set->lock);
    if (r < 0)
        return r;
    struct segment *s = new_segment(set->next_number, 0);
    if (!s)
        return -ENOMEM;
    int fd = -1;
    /* Something else may have the name. */
    while ((r = open_segment(set, s->number, O_CREAT | O_EXCL, &fd)) == -EEXIST)
        s->number = ++set->next_number;
    if (r < 0) {
        free(s);
        return r;
    }
    set->next_number++;
    pthread_mutex_lock(&set->lock);
    set->sorted[set->count++] = s;
    pin_locked(set, s);
    pthread_mutex_unlock(&set->lock);
    *ret_fd = install_fd(set, s, fd);
    *ret = s;
    return 0;
}

static void advance(struct iovec **iov, int *n, size_t done)
{
    while (*n && done >= (*iov)->iov_len) {
        done -= (*iov)->iov_len;
        ++*iov;
        --*n;
    }
    if (*n) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + done;
        (*iov)->iov_len -= done;
    }
}

int segment_append(struct segment_set *set, struct segment *s, int fd, struct iovec *iov, int n,
                   uint32_t bytes)
{
    uint32_t start = atomic_load_explicit(&s->size, memory_order_relaxed);
    uint32_t done = 0;
    s->unsynced = true;
    while (done < bytes) {
        ssize_t w = pwritev(fd, iov, n < IOV_MAX ? n : IOV_MAX, (off_t)start + done);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0) {
            int r = w < 0 ? -errno : -EIO;
            /* What was written of it would be charged to nobody. */
            if (ftruncate(fd, start) < 0) {
                atomic_store_explicit(&s->size, start + done, memory_order_release);
                set->bytes += done;
            }
            return r;
        }
        done += (uint32_t)w;
        advance(&iov, &n, (size_t)w);
    }
    atomic_store_explicit(&s->size, start + bytes, memory_order_release);
    set->bytes += bytes;
    return 0;
}

int segment_truncate(struct segment_set *set, struct segment *s, int fd, uint32_t size)
{
    uint32_t old = atomic_load_explicit(&s->size, memory_order_relaxed);
    if (ftruncate(fd, size) < 0)
        return -errno;
    s->unsynced = true;
    atomic_store_explicit(&s->size, size, memory_order_release);
    set->bytes -= old - size;
    return 0;
}

void segment_remove(struct segment_set *set, struct segment *s)
{
    char name[NAME_BYTES];
    uint32_t size = atomic_load_explicit(&s->size, memory_order_relaxed);

    name_of(s->number, name);
    pthread_mutex_lock(&set->lock);
    size_t i = position_locked(set, s->number);
    set->count--;
    memmove(&set->sorted[i], &set->sorted[i + 1], (set->count - i) * sizeof(struct segment *));
    s->gone = true;
    if (s->fd >= 0)
        set->open_fds--;
    bool last = s->pins == 0;
    pthread_mutex_unlock(&set->lock);
    if (unlinkat(set->dirfd, name, 0) < 0 && errno != ENOENT)
        log_warn("cannot remove segment: file=%s error=%s", name, strerrordesc_np(errno));
    set->bytes -= size;
    if (last) {
        close_fd(s->fd);
        free(s);
    }
}

static double loss_of(const struct segment *s, uint32_t hit_bytes)
{
    uint32_t size =
        atomic_load_explicit(&((struct segment *)(uintptr_t)s)->size, memory_order_relaxed);
    uint32_t carried = size / SEGMENT_CARRY_SHARE;
    return hit_bytes > carried ? (double)(hit_bytes - carried) : 0;
}

struct segment *segment_coldest(struct segment_set *set, const struct segment *except, int *ret_fd)
{
    struct segment *coldest = NULL;
    double lowest = 0;
    pthread_mutex_lock(&set->lock);
    for (size_t i = 0; i < set->count; i++) {
        struct segment *s = set->sorted[i];
        if (s == except)
            continue;
        double loss = loss_of(s, atomic_load_explicit(&s->hit_bytes, memory_order_relaxed));
        double size = (double)atomic_load_explicit(&s->size, memory_order_relaxed);
        double density = (s->score + loss) / (size + 1);
        if (!coldest || density < lowest) {
            coldest = s;
            lowest = density;
        }
    }
    int fd = -1;
    if (coldest) {
        pin_locked(set, coldest);
        fd = coldest->fd;
    }
    pthread_mutex_unlock(&set->lock);
    if (coldest && fd < 0 && open_segment(set, coldest->number, 0, &fd) == 0)
        fd = install_fd(set, coldest, fd);
    *ret_fd = fd;
    return coldest;
}

void segment_mark_fresh(struct segment *s)
{
    s->score += (double)atomic_load_explicit(&s->size, memory_order_relaxed) * FRESH_SCORE;
}

void segment_set_age(struct segment_set *set)
{
    pthread_mutex_lock(&set->lock);
    for (size_t i = 0; i < set->count; i++) {
        struct segment *s = set->sorted[i];
        uint32_t hit_bytes = atomic_exchange_explicit(&s->hit_bytes, 0, memory_order_relaxed);
        atomic_store_explicit(&s->around, 0,
                              memory_order_relaxed); /* the kernel may have dropped it */
        s->score = s->score * SCORE_KEPT + loss_of(s, hit_bytes);
    }
    pthread_mutex_unlock(&set->lock);
}

/* ---- reading ------------------------------------------------------------------------------- */

int segment_read(int fd, struct iovec *iov, int n, uint32_t offset)
{
    uint64_t done = 0;
    while (n) {
        ssize_t r = preadv(fd, iov, n, (off_t)(offset + done));
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? -errno : -EBADMSG;
        done += (uint64_t)r;
        advance(&iov, &n, (size_t)r);
    }
    return 0;
}

static int read_at(int fd, void *buf, size_t len, uint32_t offset)
{
    struct iovec iov = {.iov_base = buf, .iov_len = len};
    return segment_read(fd, &iov, 1, offset);
}

/* The table of contents, malloced, or -EBADMSG. */
static int read_toc(const struct segment *s, int fd, struct toc_entry **ret, uint32_t *ret_count,
                    uint32_t *ret_offset)
{
    uint32_t size =
        atomic_load_explicit(&((struct segment *)(uintptr_t)s)->size, memory_order_acquire);
    struct record_trailer trailer;
    struct record_header h;
    if (size < record_toc_size(0) || size > RECORD_MAX_FILE)
        return -EBADMSG;
    int r = read_at(fd, &trailer, sizeof(trailer), size - (uint32_t)sizeof(trailer));
    if (r < 0)
        return r;
    if (!record_trailer_valid(&trailer, s->number) ||
        trailer.toc_offset > size - record_toc_size(0))
        return -EBADMSG;
    r = read_at(fd, &h, sizeof(h), trailer.toc_offset);
    if (r < 0)
        return r;
    if (!record_header_valid(&h, s->number) || h.codec != RECORD_TOC ||
        (uint64_t)trailer.toc_offset + record_size(h.stored_len) + sizeof(trailer) != size)
        return -EBADMSG;

    AUTO_FREE struct toc_entry *entries = malloc(h.stored_len + 1);
    if (!entries)
        return -ENOMEM;
    r = read_at(fd, entries, h.stored_len, trailer.toc_offset + (uint32_t)sizeof(h));
    if (r < 0)
        return r;
    struct cairn_chunk_id id = cairn_chunk_id_of(entries, h.stored_len);
    if (!cairn_chunk_id_equal(&id, &h.id))
        return -EBADMSG;
    *ret_count = h.stored_len / (uint32_t)sizeof(*entries);
    *ret_offset = trailer.toc_offset;
    *ret = STEAL(entries);
    return 0;
}

static int scan_headers(const struct segment *s, int fd, segment_scan_fn *fn, void *arg)
{
    uint64_t size =
        atomic_load_explicit(&((struct segment *)(uintptr_t)s)->size, memory_order_acquire);
    uint64_t offset = 0;
    struct record_header h;
    size = min_u64(size, RECORD_MAX_FILE);
    while (offset + sizeof(h) <= size) {
        int r = read_at(fd, &h, sizeof(h), (uint32_t)offset);
        if (r < 0)
            return r == -EBADMSG ? 0 : r;
        uint64_t end = offset + record_size(h.stored_len);
        if (!record_header_valid(&h, s->number) || h.codec == RECORD_TOC || end > size)
            return 0;
        struct toc_entry e = {
            .id = h.id,
            .place = {.segment = s->number,
                      .offset = (uint32_t)offset,
                      .stored_len = h.stored_len,
                      .plain_len = h.plain_len},
        };
        r = fn(arg, &e);
        if (r != 0)
            return r;
        offset = end;
    }
    return 0;
}

int segment_scan(const struct segment *s, int fd, segment_scan_fn *fn, void *arg,
                 uint32_t *ret_toc_offset)
{
    AUTO_FREE struct toc_entry *entries = NULL;
    uint32_t count = 0;
    uint32_t offset = UINT32_MAX;
    int r = read_toc(s, fd, &entries, &count, &offset);
    if (r < 0 && r != -EBADMSG)
        return r;
    if (ret_toc_offset)
        *ret_toc_offset = offset;
    if (r < 0)
        return scan_headers(s, fd, fn, arg);
    for (uint32_t i = 0; i < count; i++) {
        r = fn(arg, &entries[i]);
        if (r != 0)
            return r;
    }
    return 0;
}
