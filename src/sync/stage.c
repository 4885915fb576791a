// SPDX-License-Identifier: Apache-2.0
#include "sync/stage.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"

/* For filesystems without O_TMPFILE. */
static int open_named(struct cairn_sync *s)
{
    char name[24];
    snprintf(name, sizeof name, "%016" PRIx64, (uint64_t)atomic_fetch_add(&s->sequence, 1));
    int fd = openat(s->staging_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0)
        unlinkat(s->staging_fd, name, 0);
    return fd;
}

/* An empty file without a name, used before if possible: a filesystem takes its time to find an
 * inode where many have just been freed. -errno. */
static int take_file(struct cairn_sync *s)
{
    struct cairn_spares *sp = &s->spares;
    pthread_mutex_lock(&sp->lock);
    int fd = sp->count ? sp->fd[--sp->count] : -1;
    pthread_mutex_unlock(&sp->lock);
    if (fd < 0)
        fd = openat(s->staging_fd, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
        fd = open_named(s);
    return fd < 0 ? -errno : fd;
}

static void give_file(struct cairn_sync *s, int fd)
{
    struct cairn_spares *sp = &s->spares;
    if (ftruncate(fd, 0) == 0) {
        pthread_mutex_lock(&sp->lock);
        if (sp->count < ARRAY_LEN(sp->fd)) {
            sp->fd[sp->count++] = fd;
            fd = -1;
        }
        pthread_mutex_unlock(&sp->lock);
    }
    if (fd >= 0)
        close(fd);
}

void cairn_spares_init(struct cairn_spares *sp)
{
    sp->count = 0;
    pthread_mutex_init(&sp->lock, NULL);
}

void cairn_spares_destroy(struct cairn_spares *sp)
{
    while (sp->count)
        close(sp->fd[--sp->count]);
    pthread_mutex_destroy(&sp->lock);
}

int cairn_stage_begin(struct cairn_node *n)
{
    if (n->stage)
        return 0;
    int err = cairn_node_load_locked(n);
    if (err)
        return err;
    struct cairn_inode in;
    err = cairn_meta_inode(n->sync->meta, n->ino, &in);
    if (err)
        return err;
    struct cairn_stage *st = calloc(1, sizeof *st);
    if (!st)
        return -ENOMEM;
    /* The descriptor alone keeps the file: what was not acknowledged need not outlive us. */
    st->sync = n->sync;
    st->fd = take_file(n->sync);
    if (st->fd < 0) {
        err = st->fd;
        free(st);
        return err;
    }
    cairn_extents_init(&st->map);
    cairn_extents_init(&st->kept);
    st->size = st->base_limit = in.size;
    st->atime_ns = in.atime_ns;
    st->mtime_ns = in.mtime_ns;
    st->ctime_ns = in.ctime_ns;
    n->stage = st;
    return 0;
}

void cairn_stage_free(struct cairn_stage *st)
{
    if (!st)
        return;
    give_file(st->sync, st->fd);
    cairn_extents_free(&st->map);
    cairn_extents_free(&st->kept);
    free(st);
}

static void changed(struct cairn_stage *st)
{
    st->writes++;
    st->dirty = true;
    st->mtime_ns = st->ctime_ns = cairn_wall_ns();
}

int cairn_stage_wrote(struct cairn_stage *st, uint64_t off, uint64_t len)
{
    if (!len)
        return 0;
    struct cairn_extent e = {.start = off, .end = off + len, .kind = CAIRN_EXTENT_DATA};
    int err = cairn_extents_set(&st->map, &e);
    if (err)
        return err;
    st->size = max_u64(st->size, e.end);
    changed(st);
    return 0;
}

int cairn_stage_truncate(struct cairn_stage *st, uint64_t size)
{
    if (size < st->size && ftruncate(st->fd, (off_t)size) < 0)
        return -errno;
    cairn_extents_truncate(&st->map, size);
    cairn_extents_truncate(&st->kept, size);
    st->base_limit = min_u64(st->base_limit, size);
    st->size = size;
    changed(st);
    return 0;
}

int cairn_stage_zero(struct cairn_stage *st, uint64_t off, uint64_t len, bool extend)
{
    uint64_t end = off + len;
    if (!extend)
        end = min_u64(end, st->size);
    if (off < end) {
        struct cairn_extent e = {.start = off, .end = end, .kind = CAIRN_EXTENT_ZERO};
        int err = cairn_extents_set(&st->map, &e);
        if (err)
            return err;
        /* Gives the space back; a filesystem that can't keeps bytes that nobody reads. */
        (void)fallocate(st->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
                        (off_t)(end - off));
    }
    st->size = max_u64(st->size, end);
    changed(st);
    return 0;
}

int cairn_stage_sent(struct cairn_stage *st)
{
    struct cairn_extent e;
    for (uint64_t pos = 0; cairn_extents_next(&st->map, pos, &e); pos = e.end) {
        int err = cairn_extents_set(&st->kept, &e);
        if (err) {
            cairn_extents_clear(&st->kept); /* a cache may forget; the origin has it */
            break;
        }
    }
    cairn_extents_clear(&st->map);
    st->base_limit = st->size;
    st->dirty = false;
    return cairn_extents_count(&st->kept) ? 0 : -ENODATA;
}

void cairn_stage_rebase(struct cairn_stage *st, uint64_t old_size, const struct cairn_inode *in)
{
    cairn_extents_clear(&st->kept); /* of the content that was */
    if (!st->dirty) {
        st->size = st->base_limit = in->size;
        st->atime_ns = in->atime_ns;
        st->mtime_ns = in->mtime_ns;
        st->ctime_ns = in->ctime_ns;
        return;
    }
    if (st->base_limit < old_size) { /* it was cut here */
        st->base_limit = min_u64(st->base_limit, in->size);
        return;
    }
    if (st->size == old_size) {
        struct cairn_extent e = {0};
        for (uint64_t pos = 0; cairn_extents_next(&st->map, pos, &e); pos = e.end)
            ;
        st->size = max_u64(in->size, e.end);
    } else {
        st->size = max_u64(in->size, st->size);
    }
    st->base_limit = in->size;
}

void cairn_stage_settle(struct cairn_stage *st)
{
    cairn_extents_clear(&st->kept);
    if (!cairn_extents_count(&st->map))
        (void)!ftruncate(st->fd, 0);
}

bool cairn_stage_find(const struct cairn_stage *st, uint64_t off, struct cairn_extent *ret)
{
    struct cairn_extent under;
    if (cairn_extents_find(&st->map, off, ret))
        return true;
    bool kept = cairn_extents_find(&st->kept, off, &under);
    under.end = min_u64(under.end, ret->end);
    *ret = under;
    return kept;
}

void cairn_stage_attr(const struct cairn_stage *st, struct cairn_inode *in)
{
    in->size = st->size;
    in->atime_ns = st->atime_ns;
    in->mtime_ns = st->mtime_ns;
    in->ctime_ns = st->ctime_ns;
    in->blocks = (st->size + 511) / 512;
}
