// SPDX-License-Identifier: Apache-2.0
/*
 * model MOUNT TWIN ORIGIN OPS [RULE...]: a property test. Each of OPS random operations is done to
 * the mount and to a plain directory, and must have the same result, errno and data included. The
 * trees are compared at intervals, the origin's own tree too, once all files are closed. Names are
 * few, so that operations collide. The trees may hold anything, as long as they are equal.
 *
 * The seed (CAIRN_SEED, else a new one) is printed; the same seed on the same tree does the same.
 * Rules: nolinks, noexchange, coarse (whole seconds), nodirlinks: what the origin can't hold.
 */
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/pattern.h"

enum {
    SLOTS = 8,
    LOG_LINES = 40,
    LINE = 200,
    MAX_FILE = 1500000,
    MAX_IO = 300000,
    SIDES = 2, /* 0 the mount, 1 the twin */
};

struct slot {
    bool used;
    int fd[SIDES];
    int flags;
};

struct model {
    const char *root[SIDES];
    const char *origin;
    uint64_t rng;
    uint64_t seed;
    struct tree_rules rules;
    bool exchange, links, coarse;
    struct slot slots[SLOTS];
    char log[LOG_LINES][LINE]; /* what was done last, a ring */
    unsigned long op;
    uint8_t *buf[SIDES];
};

static uint64_t pick(struct model *m, uint64_t n)
{
    return rng_next(&m->rng) % n;
}

static bool chance(struct model *m, unsigned percent)
{
    return pick(m, 100) < percent;
}

__attribute__((format(printf, 2, 3))) static void note(struct model *m, const char *fmt, ...)
{
    va_list ap;
    char *line = m->log[m->op % LOG_LINES];
    int n = snprintf(line, LINE, "%lu: ", m->op);
    va_start(ap, fmt);
    vsnprintf(line + n, LINE - (size_t)n, fmt, ap);
    va_end(ap);
}

static void mismatch(struct model *m, const char *what)
{
    fprintf(stderr, "model: %s; the last operations were\n", what);
    for (unsigned long i = m->op < LOG_LINES ? 0 : m->op - LOG_LINES + 1; i <= m->op; i++)
        fprintf(stderr, "  %s\n", m->log[i % LOG_LINES]);
    fprintf(stderr, "replay with CAIRN_SEED=%llu\n", (unsigned long long)m->seed);
    exit(1);
}

/* Both results, as >= 0 or -errno, must be the same. */
static void same_result(struct model *m, const long r[SIDES])
{
    if (r[0] == r[1])
        return;
    char text[200];
    snprintf(text, sizeof(text), "result %ld (%s), not %ld (%s)", r[0],
             r[0] < 0 ? strerror((int)-r[0]) : "ok", r[1], r[1] < 0 ? strerror((int)-r[1]) : "ok");
    mismatch(m, text);
}

static long result(long r)
{
    return r < 0 ? -errno : r;
}

/* Does `call`, which uses `side`, on both sides and compares the results. */
#define ON_BOTH(m, r, call)                                                                        \
    long r[SIDES];                                                                                 \
    do {                                                                                           \
        for (int side = 0; side < SIDES; side++)                                                   \
            (r)[side] = result(call);                                                              \
        same_result(m, r);                                                                         \
    } while (0)

/* One to three components of few names. */
static void random_name(struct model *m, char out[64])
{
    static const char *const names[] = {"a", "b", "c", "dir", "e with space"};
    uint64_t depth = 1 + (chance(m, 60) ? 1 : 0) + (chance(m, 30) ? 1 : 0);
    out[0] = 0;
    for (uint64_t i = 0; i < depth; i++) {
        if (i)
            strcat(out, "/");
        strcat(out, i + 1 < depth && chance(m, 70) ? "dir" : names[pick(m, 5)]);
    }
}

static const char *at(struct model *m, int side, const char *name)
{
    /* Three names at most are in use at once. */
    static _Thread_local char paths[SIDES][3][PATH_MAX];
    static _Thread_local unsigned turn[SIDES];
    char *p = paths[side][turn[side]++ % 3];
    snprintf(p, PATH_MAX, "%s/%s", m->root[side], name);
    return p;
}

/* One that is used, or NULL if none is. */
static struct slot *random_slot(struct model *m)
{
    uint64_t first = pick(m, SLOTS);
    for (uint64_t i = 0; i < SLOTS; i++) {
        struct slot *s = &m->slots[(first + i) % SLOTS];
        if (s->used)
            return s;
    }
    return NULL;
}

static void slot_close(struct model *m, struct slot *s)
{
    if (!s->used)
        return;
    s->used = false;
    ON_BOTH(m, r, close(s->fd[side]));
}

static void op_open(struct model *m)
{
    char name[64];
    struct slot *s = &m->slots[pick(m, SLOTS)];
    random_name(m, name);
    static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR, O_RDWR};
    int flags = modes[pick(m, 5)] | O_CLOEXEC;
    flags |= chance(m, 60) ? O_CREAT : 0;
    flags |= chance(m, 10) ? O_EXCL | O_CREAT : 0;
    flags |= chance(m, 15) ? O_TRUNC : 0;
    flags |= chance(m, 15) ? O_APPEND : 0;
    flags |= chance(m, 5) ? O_NOFOLLOW : 0;
    mode_t mode = chance(m, 80) ? 0644 : 0600;
    slot_close(m, s);
    note(m, "open %s flags %#o", name, flags);
    long r[SIDES];
    for (int side = 0; side < SIDES; side++) {
        s->fd[side] = open(at(m, side, name), flags, mode);
        r[side] = s->fd[side] < 0 ? -errno : 0;
    }
    same_result(m, r);
    s->used = r[0] == 0;
    s->flags = flags;
}

static void op_close(struct model *m)
{
    size_t i = pick(m, SLOTS);
    note(m, "close slot %zu", i);
    slot_close(m, &m->slots[i]);
}

/* Mostly small and anywhere, sometimes large. */
static size_t random_len(struct model *m)
{
    return chance(m, 80) ? pick(m, 9000) : pick(m, MAX_IO);
}

static off_t random_off(struct model *m)
{
    return (off_t)(chance(m, 50) ? pick(m, 20000) : pick(m, MAX_FILE - MAX_IO));
}

static void op_write(struct model *m)
{
    struct slot *s = random_slot(m);
    if (!s)
        return;
    size_t len = random_len(m);
    off_t off = random_off(m);
    pattern_fill(m->rng, 0, m->buf[0], len);
    struct stat st;
    bool append = s->flags & O_APPEND;
    /* Appending must not let a file grow without end. */
    if (append && fstat(s->fd[1], &st) == 0 && st.st_size > MAX_FILE)
        return;
    note(m, "write slot %td at %lld%s, %zu bytes", s - m->slots, (long long)off,
         append ? " (append)" : "", len);
    ON_BOTH(m, r,
            append ? write(s->fd[side], m->buf[0], len) : pwrite(s->fd[side], m->buf[0], len, off));
}

static void op_read(struct model *m)
{
    struct slot *s = random_slot(m);
    if (!s)
        return;
    size_t len = random_len(m);
    off_t off = random_off(m);
    note(m, "read slot %td at %lld, %zu bytes", s - m->slots, (long long)off, len);
    ON_BOTH(m, r, pread(s->fd[side], m->buf[side], len, off));
    for (long i = 0; i < r[0]; i++) {
        if (m->buf[0][i] != m->buf[1][i]) {
            fprintf(stderr, "byte %lld is %02x, not %02x\n", (long long)off + i, m->buf[0][i],
                    m->buf[1][i]);
            mismatch(m, "read other bytes");
        }
    }
}

static void op_mmap(struct model *m)
{
    struct slot *s = random_slot(m);
    struct stat st;
    if (!s || (s->flags & O_ACCMODE) != O_RDWR || fstat(s->fd[1], &st) < 0 || st.st_size == 0)
        return;
    size_t size = (size_t)st.st_size, from = pick(m, size), len = random_len(m);
    len = len < size - from ? len : size - from;
    bool sync = chance(m, 30), store = chance(m, 60);
    note(m, "mmap slot %td: %s %zu bytes at %zu%s", s - m->slots, store ? "store" : "load", len,
         from, sync ? ", msync" : "");
    pattern_fill(m->rng, 0, m->buf[0], len);
    uint8_t *map[SIDES];
    for (int side = 0; side < SIDES; side++) {
        map[side] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd[side], 0);
        if (map[side] == MAP_FAILED)
            mismatch(m, strerror(errno));
        if (store)
            memcpy(map[side] + from, m->buf[0], len);
        if (sync && msync(map[side], size, MS_SYNC) < 0)
            mismatch(m, "msync failed");
    }
    if (memcmp(map[0] + from, map[1] + from, len) != 0)
        mismatch(m, "mapped bytes differ");
    for (int side = 0; side < SIDES; side++)
        munmap(map[side], size);
}

static void op_truncate(struct model *m)
{
    char name[64];
    off_t size = random_off(m);
    struct slot *s = random_slot(m);
    if (s && chance(m, 50)) {
        note(m, "ftruncate slot %td to %lld", s - m->slots, (long long)size);
        ON_BOTH(m, r, ftruncate(s->fd[side], size));
        return;
    }
    random_name(m, name);
    note(m, "truncate %s to %lld", name, (long long)size);
    ON_BOTH(m, r, truncate(at(m, side, name), size));
}

static void op_fallocate(struct model *m)
{
    static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};
    struct slot *s = random_slot(m);
    if (!s)
        return;
    int mode = modes[pick(m, 3)];
    off_t off = random_off(m), len = (off_t)random_len(m);
    note(m, "fallocate slot %td mode %d at %lld, %lld bytes", s - m->slots, mode, (long long)off,
         (long long)len);
    ON_BOTH(m, r, fallocate(s->fd[side], mode, off, len));
}

/* Until all is copied; how much that was, or the error. */
static long copy_all(int from, off_t from_off, int to, off_t to_off, size_t len)
{
    long done = 0;
    while (len) {
        ssize_t n = copy_file_range(from, &from_off, to, &to_off, len, 0);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len -= (size_t)n;
        done += n;
    }
    return done;
}

static void op_copy(struct model *m)
{
    struct slot *a = random_slot(m), *b = random_slot(m);
    if (!a || !b)
        return;
    off_t from = random_off(m), to = random_off(m);
    size_t len = random_len(m);
    note(m, "copy_file_range slot %td at %lld to slot %td at %lld, %zu bytes", a - m->slots,
         (long long)from, b - m->slots, (long long)to, len);
    ON_BOTH(m, r, copy_all(a->fd[side], from, b->fd[side], to, len));
}

static void op_fsync(struct model *m)
{
    struct slot *s = random_slot(m);
    if (!s)
        return;
    note(m, "fsync slot %td", s - m->slots);
    ON_BOTH(m, r, fsync(s->fd[side]));
}

static void op_fstat(struct model *m)
{
    struct slot *s = random_slot(m);
    if (!s)
        return;
    struct stat st[SIDES];
    note(m, "fstat slot %td", s - m->slots);
    ON_BOTH(m, r, fstat(s->fd[side], &st[side]));
    if (!stat_equal("open file", &st[0], &st[1], &m->rules))
        mismatch(m, "fstat differs");
}

static void op_mkdir(struct model *m)
{
    char name[64];
    random_name(m, name);
    mode_t mode = chance(m, 90) ? 0755 : 0700;
    note(m, "mkdir %s", name);
    ON_BOTH(m, r, mkdir(at(m, side, name), mode));
}

static void op_rmdir(struct model *m)
{
    char name[64];
    random_name(m, name);
    note(m, "rmdir %s", name);
    ON_BOTH(m, r, rmdir(at(m, side, name)));
}

static void op_unlink(struct model *m)
{
    char name[64];
    random_name(m, name);
    note(m, "unlink %s", name);
    ON_BOTH(m, r, unlink(at(m, side, name)));
}

static void op_rename(struct model *m)
{
    char from[64], to[64];
    random_name(m, from);
    random_name(m, to);
    unsigned flags = chance(m, 15) ? RENAME_NOREPLACE : 0;
    if (m->exchange && chance(m, 10))
        flags = RENAME_EXCHANGE;
    note(m, "rename %s to %s flags %u", from, to, flags);
    ON_BOTH(m, r,
            syscall(SYS_renameat2, AT_FDCWD, at(m, side, from), AT_FDCWD, at(m, side, to), flags));
}

static void op_link(struct model *m)
{
    char from[64], to[64];
    random_name(m, from);
    random_name(m, to);
    if (!m->links)
        return;
    note(m, "link %s to %s", from, to);
    ON_BOTH(m, r, link(at(m, side, from), at(m, side, to)));
}

static void op_symlink(struct model *m)
{
    char target[64], name[64];
    random_name(m, target);
    random_name(m, name);
    note(m, "symlink %s to %s", name, target);
    ON_BOTH(m, r, symlink(target, at(m, side, name)));
}

static void op_readlink(struct model *m)
{
    char name[64];
    random_name(m, name);
    note(m, "readlink %s", name);
    ON_BOTH(m, r, readlink(at(m, side, name), (char *)m->buf[side], PATH_MAX));
    if (r[0] > 0 && memcmp(m->buf[0], m->buf[1], (size_t)r[0]) != 0)
        mismatch(m, "targets differ");
}

static void op_chmod(struct model *m)
{
    static const mode_t modes[] = {0644, 0600, 0755, 0444, 0700, 04755, 02711};
    char name[64];
    random_name(m, name);
    mode_t mode = modes[pick(m, 7)];
    note(m, "chmod %s %o", name, mode);
    ON_BOTH(m, r, chmod(at(m, side, name), mode));
}

static void op_chown(struct model *m)
{
    char name[64];
    random_name(m, name);
    uid_t uid = (uid_t)pick(m, 3);
    note(m, "lchown %s %u", name, uid);
    ON_BOTH(m, r, lchown(at(m, side, name), uid, uid));
}

static void op_utimens(struct model *m)
{
    char name[64];
    random_name(m, name);
    struct timespec t[2] = {
        {(time_t)pick(m, 2000000000), m->coarse ? 0 : (long)pick(m, 1000000000)},
        {(time_t)pick(m, 2000000000), m->coarse ? 0 : (long)pick(m, 1000000000)},
    };
    note(m, "utimens %s mtime %lld.%09ld", name, (long long)t[1].tv_sec, t[1].tv_nsec);
    ON_BOTH(m, r, utimensat(AT_FDCWD, at(m, side, name), t, 0));
    if (r[0] < 0)
        return;
    struct stat st;
    if (stat(at(m, 0, name), &st) < 0)
        mismatch(m, "stat failed");
    if (st.st_mtim.tv_sec != t[1].tv_sec || st.st_mtim.tv_nsec != t[1].tv_nsec ||
        st.st_atim.tv_sec != t[0].tv_sec || st.st_atim.tv_nsec != t[0].tv_nsec)
        mismatch(m, "the times set are not the times told");
}

static void op_stat(struct model *m)
{
    char name[64];
    struct stat st[SIDES];
    random_name(m, name);
    note(m, "lstat %s", name);
    ON_BOTH(m, r, lstat(at(m, side, name), &st[side]));
    if (r[0] == 0 && !stat_equal(name, &st[0], &st[1], &m->rules))
        mismatch(m, "lstat differs");
}

static void op_readdir(struct model *m)
{
    char name[64];
    struct dirent **list[SIDES];
    random_name(m, name);
    note(m, "readdir %s", name);
    ON_BOTH(m, r, scandir(at(m, side, name), &list[side], NULL, alphasort));
    bool same = true;
    for (long i = 0; i < r[0]; i++) {
        const struct dirent *x = list[0][i], *y = list[1][i];
        if (strcmp(x->d_name, y->d_name) != 0 || (x->d_type != y->d_type && x->d_type)) {
            fprintf(stderr, "entry %s type %d, not %s type %d\n", x->d_name, x->d_type, y->d_name,
                    y->d_type);
            same = false;
        }
    }
    for (int side = 0; side < SIDES && r[0] >= 0; side++) {
        for (long i = 0; i < r[0]; i++)
            free(list[side][i]);
        free(list[side]);
    }
    if (!same)
        mismatch(m, "listings differ");
}

static void op_read_whole(struct model *m)
{
    char name[64];
    int fd[SIDES];
    random_name(m, name);
    note(m, "read all of %s", name);
    ON_BOTH(m, r, (fd[side] = open(at(m, side, name), O_RDONLY | O_CLOEXEC)) < 0 ? -1 : 0);
    if (r[0] < 0)
        return;
    struct stat st;
    if (fstat(fd[1], &st) == 0 && S_ISREG(st.st_mode) && !content_equal(name, fd[0], fd[1]))
        mismatch(m, "contents differ");
    close(fd[0]);
    close(fd[1]);
}

static const struct {
    void (*run)(struct model *m);
    unsigned weight;
} ops[] = {
    {op_open, 14},    {op_close, 8},    {op_write, 16},     {op_read, 10},   {op_mmap, 5},
    {op_truncate, 5}, {op_copy, 4},     {op_fallocate, 3},  {op_fsync, 3},   {op_fstat, 4},
    {op_mkdir, 4},    {op_rmdir, 2},    {op_unlink, 5},     {op_rename, 6},  {op_link, 3},
    {op_symlink, 2},  {op_chmod, 3},    {op_chown, 2},      {op_utimens, 3}, {op_stat, 5},
    {op_readdir, 3},  {op_readlink, 2}, {op_read_whole, 5},
};

static void compare_all(struct model *m)
{
    note(m, "close all and compare the trees");
    for (int i = 0; i < SLOTS; i++)
        slot_close(m, &m->slots[i]);
    if (!tree_equal(m->root[0], m->root[1], &m->rules))
        mismatch(m, "the mount's tree is not the plain one");
    /* At the origin itself link counts of directories are the filesystem's own. */
    struct tree_rules origin = {.links = m->links, .dir_links = true};
    if (!tree_equal(m->origin, m->root[1], &origin))
        mismatch(m, "the origin's tree is not the plain one");
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: model MOUNT TWIN ORIGIN OPS [nolinks] [noexchange] [coarse]"
                        " [nodirlinks]\n");
        return 2;
    }
    struct model *m = calloc(1, sizeof(*m));
    if (!m)
        return 2;
    m->root[0] = argv[1];
    m->root[1] = argv[2];
    m->origin = argv[3];
    unsigned long count = strtoul(argv[4], NULL, 10);
    m->rules = (struct tree_rules){.links = true, .dir_links = true};
    m->exchange = m->links = true;
    for (int i = 5; i < argc; i++) {
        if (strcmp(argv[i], "nolinks") == 0)
            m->links = m->rules.links = false;
        else if (strcmp(argv[i], "nodirlinks") == 0)
            m->rules.dir_links = false;
        else if (strcmp(argv[i], "noexchange") == 0)
            m->exchange = false;
        else if (strcmp(argv[i], "coarse") == 0)
            m->coarse = true;
    }
    const char *seed = getenv("CAIRN_SEED");
    m->seed = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    m->rng = m->seed;
    fprintf(stderr, "CAIRN_SEED=%llu\n", (unsigned long long)m->seed);
    for (int side = 0; side < SIDES; side++)
        m->buf[side] = malloc(MAX_IO + PATH_MAX);
    if (!m->buf[0] || !m->buf[1])
        return 2;
    umask(022);

    unsigned total = 0;
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        total += ops[i].weight;
    for (m->op = 0; m->op < count; m->op++) {
        uint64_t w = pick(m, total);
        size_t i = 0;
        while (w >= ops[i].weight)
            w -= ops[i++].weight;
        snprintf(m->log[m->op % LOG_LINES], LINE, "%lu: nothing to do", m->op);
        ops[i].run(m);
        if (m->op % 500 == 499)
            compare_all(m);
    }
    compare_all(m);
    for (int side = 0; side < SIDES; side++)
        free(m->buf[side]);
    free(m);
    return 0;
}
