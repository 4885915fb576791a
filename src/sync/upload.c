// SPDX-License-Identifier: Apache-2.0
#include "sync/upload.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "sync/absorb.h"
#include "sync/fresh.h"
#include "sync/path.h"
#include "sync/stage.h"

#define SEND_BYTES   (4 * MIB)  /* one write call: the driver pipelines inside */
#define REPLACE_MOST (16 * MIB) /* of server-side copying to make a small edit atomic */
#define INPLACE_MOST (1 * MIB)  /* of a new file: beyond, others would see it grow */

/* What is to be sent, as it was when the upload began. */
struct snapshot {
    uint64_t writes;
    uint64_t size;
    uint64_t base_limit;
    uint64_t sent; /* bytes of DATA */
    int64_t atime_ns, mtime_ns, ctime_ns;
    struct cairn_version base; /* what the content below base_limit is */
    struct cairn_extent *extent;
    size_t count;
    int fd; /* the staging file; stays as long as n->uploading */
};

struct upload {
    struct cairn_sync *s;
    struct cairn_node *n;
    const struct origin_call *call;
    struct cairn_inode in;
    struct snapshot snap;
    uint8_t *buf;
    bool durable, closing;
    bool moved;               /* what lay beneath was another version already */
    struct origin_stat after; /* the file at the origin when all was sent */
    struct cairn_edges edges;
};

static int take_snapshot(struct cairn_node *n, struct snapshot *ret)
{
    struct cairn_stage *st = n->stage;
    *ret = (struct snapshot){.writes = st->writes,
                             .size = st->size,
                             .base_limit = st->base_limit,
                             .atime_ns = st->atime_ns,
                             .mtime_ns = st->mtime_ns,
                             .ctime_ns = st->ctime_ns,
                             .base = n->version,
                             .fd = st->fd};
    ret->extent = malloc((cairn_extents_count(&st->map) + 1) * sizeof *ret->extent);
    if (!ret->extent)
        return -ENOMEM;
    uint64_t pos = 0;
    while (cairn_extents_next(&st->map, pos, &ret->extent[ret->count])) {
        const struct cairn_extent *e = &ret->extent[ret->count++];
        if (e->kind == CAIRN_EXTENT_DATA)
            ret->sent += e->end - e->start;
        pos = e->end;
    }
    return 0;
}

static int send_range(struct upload *u, struct origin_file *f, uint64_t start, uint64_t end,
                      bool zeros)
{
    if (!u->buf && !(u->buf = malloc(SEND_BYTES)))
        return -ENOMEM;
    if (zeros)
        memset(u->buf, 0, min_u64(SEND_BYTES, end - start));
    while (start < end) {
        size_t len = min_u64(SEND_BYTES, end - start);
        if (!zeros) {
            ssize_t got = pread(u->snap.fd, u->buf, len, (off_t)start);
            if (got < 0)
                return -errno;
            if (got == 0)
                return 0; /* cut short meanwhile: the next upload tells */
            len = (size_t)got;
        }
        struct origin_call c = *u->call;
        c.bulk = true;
        /* The deadline is for the origin to answer, not for a large file to be sent. */
        c.deadline_ns = cairn_now_ns() + u->s->timeout_ns;
        int err = origin_pwrite(f, &c, u->buf, len, start);
        if (err)
            return err;
        cairn_count(u->s->metrics, CAIRN_UPLOAD_BYTES, len);
        start += len;
    }
    return 0;
}

/* Sends what is staged. Zeros are sent only below `zero_limit`: beyond it the file has a hole. */
static int send_extents(struct upload *u, struct origin_file *f, uint64_t zero_limit)
{
    for (size_t i = 0; i < u->snap.count; i++) {
        struct cairn_extent e = u->snap.extent[i];
        bool zeros = e.kind == CAIRN_EXTENT_ZERO;
        if (zeros)
            e.end = min_u64(e.end, zero_limit);
        if (e.start < e.end) {
            int err = send_range(u, f, e.start, e.end, zeros);
            if (err)
                return err;
        }
    }
    return 0;
}

static struct origin_call short_call(struct upload *u)
{
    struct origin_call c = *u->call;
    c.deadline_ns = cairn_now_ns() + u->s->timeout_ns;
    return c;
}

/* Size (if it is not that already), times, sync, and what the origin then says. */
static int finish_file(struct upload *u, struct origin_file *f, uint64_t size_now,
                       uint32_t more_mask)
{
    struct origin_attr attr = {.mask = ORIGIN_SET_MTIME | ORIGIN_SET_ATIME | more_mask,
                               .mode = u->in.mode & 07777,
                               .uid = u->in.uid,
                               .gid = u->in.gid,
                               .size = u->snap.size,
                               .atime_ns = u->snap.atime_ns,
                               .mtime_ns = u->snap.mtime_ns};
    if (size_now != u->snap.size)
        attr.mask |= ORIGIN_SET_SIZE;
    struct origin_call c = short_call(u);
    int err = origin_fsetattr(f, &c, &attr);
    if ((err == -EPERM || err == -EACCES || err == -EOPNOTSUPP) && !more_mask) {
        /* Times may be set by the owner alone; the content arrived all the same. */
        attr.mask &= ORIGIN_SET_SIZE;
        err = attr.mask ? origin_fsetattr(f, &c, &attr) : 0;
    }
    if (!err && u->durable && origin_can(u->s->origin, ORIGIN_FSYNC))
        err = origin_fsync(f, &c);
    return err;
}

static int upload_in_place(struct upload *u)
{
    struct cairn_sync *s = u->s;
    AUTO_FREE char *path = NULL;
    struct origin_file *f = NULL;
    struct cairn_source *sink = NULL;
    struct origin_stat st;
    struct origin_call c = short_call(u);

    int err = 0;
    pthread_mutex_lock(&u->n->lock);
    if (u->n->sink)
        sink = cairn_source_ref(u->n->sink);
    pthread_mutex_unlock(&u->n->lock);
    if (sink) {
        /* Only if it is still what the name leads to: somebody may have renamed another over it. */
        struct cairn_version now;
        err = origin_fstat(sink->file, &c, &st);
        now = cairn_version_of(&st);
        if (err || !cairn_version_equal(&now, &u->snap.base))
            cairn_source_unref(STEAL(sink));
        else
            f = sink->file;
    }
    if (!sink) {
        cairn_paths_begin(s);
        err = cairn_meta_path(s->meta, u->n->ino, &path);
        if (!err)
            err = origin_open(s->origin, &c, path, O_RDWR, 0, &f, &st);
        cairn_paths_end(s);
    }
    if (err)
        goto out;
    struct cairn_version found = cairn_version_of(&st);
    u->moved = !cairn_version_equal(&found, &u->snap.base);
    uint64_t size = st.size;
    if (u->snap.base_limit < u->snap.base.size && u->snap.base_limit < size) {
        /* What was cut off must not come back when the file grows again. */
        struct origin_attr attr = {.mask = ORIGIN_SET_SIZE, .size = u->snap.base_limit};
        err = origin_fsetattr(f, &c, &attr);
        if (err)
            goto out;
        size = u->snap.base_limit;
    }
    err = send_extents(u, f, size);
    for (size_t i = 0; i < u->snap.count; i++)
        if (u->snap.extent[i].kind == CAIRN_EXTENT_DATA)
            size = max_u64(size, u->snap.extent[i].end);
    /* A size that we did not change is the origin's own affair. */
    bool resized = u->snap.size != u->snap.base.size || u->snap.base_limit < u->snap.base.size;
    if (!err)
        err = finish_file(u, f, resized ? size : u->snap.size, 0);
    if (!err) {
        c = short_call(u);
        err = origin_fstat(f, &c, &u->after);
    }
out:
    if (sink)
        cairn_source_unref(sink);
    else
        origin_close_file(f);
    return err;
}

/* --- replacing --- */

/* A note on local disk of a temporary name at the origin, so that a crash does not leave it. */
static int note_temp(struct cairn_sync *s, const char *id, const char *temp)
{
    AUTO_CLOSE int fd = openat(s->uploads_fd, id, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    size_t len = strlen(temp);
    if (write(fd, temp, len) == (ssize_t)len)
        return 0;
    int err = errno ? -errno : -EIO;
    unlinkat(s->uploads_fd, id, 0);
    return err;
}

/* The unchanged ranges, copied on the server. */
static int copy_gaps(struct upload *u, struct origin_file *from, struct origin_file *to)
{
    uint64_t pos = 0;
    for (size_t i = 0; i <= u->snap.count; i++) {
        uint64_t end = i < u->snap.count ? u->snap.extent[i].start : u->snap.base_limit;
        end = min_u64(end, u->snap.base_limit);
        while (pos < end) {
            struct origin_call c = short_call(u);
            c.bulk = true;
            ssize_t n = origin_copy_range(from, &c, pos, to, pos, end - pos);
            if (n < 0)
                return (int)n;
            if (n == 0)
                return -ESTALE; /* shorter than it was */
            cairn_count(u->s->metrics, CAIRN_UPLOAD_COPIED, (uint64_t)n);
            pos += (uint64_t)n;
        }
        if (i < u->snap.count)
            pos = u->snap.extent[i].end;
    }
    return 0;
}

static int compose(struct upload *u, const char *path, struct origin_file *to)
{
    int err = 0;
    if (u->snap.base_limit) {
        struct origin_file *from;
        struct origin_stat st;
        struct origin_call c = short_call(u);
        err = origin_open(u->s->origin, &c, path, O_RDONLY, 0, &from, &st);
        if (err)
            return err;
        struct cairn_version now = cairn_version_of(&st);
        err = cairn_version_equal(&now, &u->snap.base) ? copy_gaps(u, from, to) : -ESTALE;
        origin_close_file(from);
    }
    return err ? err : send_extents(u, to, 0);
}

static uint64_t composed_size(const struct upload *u)
{
    uint64_t size = u->snap.base_limit;
    for (size_t i = 0; i < u->snap.count; i++) {
        const struct cairn_extent *e = &u->snap.extent[i];
        if (e->kind == CAIRN_EXTENT_DATA)
            size = max_u64(size, e->end);
        else if (e->end >= size)
            size = min_u64(size, e->start); /* zeros at the end were not sent */
    }
    return size;
}

/* What its writers had open at the origin is the old file now. */
static void take_sink(struct cairn_node *n, struct origin_file *f)
{
    struct cairn_source *sink = cairn_source_new(n->sync, f);
    pthread_mutex_lock(&n->lock);
    struct cairn_source *old = STEAL(n->sink);
    if (n->writers)
        n->sink = STEAL(sink);
    pthread_mutex_unlock(&n->lock);
    cairn_source_unref(old);
    cairn_source_unref(sink);
}

/* After a power cut the name must lead to the new file if that was synced: the old one is all that
 * is left otherwise. Where a directory can't be synced the server sees to it. */
static int sync_name(struct upload *u, const char *path)
{
    const char *slash = strrchr(path, '/');
    AUTO_FREE char *dir = strndup(path, slash ? (size_t)(slash - path) : 0);
    struct origin_file *f;
    struct origin_call c = short_call(u);
    if (!dir)
        return -ENOMEM;
    int err = origin_open(u->s->origin, &c, dir, O_RDONLY | O_DIRECTORY, 0, &f, NULL);
    if (err)
        return err == -EACCES || err == -ENOENT ? 0 : err;
    err = origin_fsync(f, &c);
    origin_close_file(f);
    return err == -EINVAL || err == -EOPNOTSUPP ? 0 : err;
}

/* -EXDEV, and nothing done: this file has to be written in place. */
static int upload_by_replacing(struct upload *u)
{
    struct cairn_sync *s = u->s;
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *temp = NULL;
    char id[40];
    struct origin_file *f = NULL;
    struct origin_stat st;

    snprintf(id, sizeof id, "%08x%016" PRIx64, (unsigned)getpid(),
             (uint64_t)cairn_wall_ns() + atomic_fetch_add(&s->sequence, 1));
    cairn_paths_begin(s);
    int err = cairn_meta_path(s->meta, u->n->ino, &path);
    cairn_paths_end(s);
    if (err)
        return err;
    const char *slash = strrchr(path, '/');
    if (asprintf(&temp, "%.*s" CAIRN_TEMP_PREFIX "%s", slash ? (int)(slash - path) + 1 : 0, path,
                 id) < 0)
        return -ENOMEM;
    err = note_temp(s, id, temp);
    if (err)
        return err;
    struct origin_call c = short_call(u);
    err = origin_open(s->origin, &c, temp, O_RDWR | O_CREAT | O_EXCL, 0600, &f, &st);
    if (err) {
        unlinkat(s->uploads_fd, id, 0);
        /* A directory or a name that leaves no room for a second file; the file itself may do. */
        return err == -EACCES || err == -EPERM || err == -ENAMETOOLONG ? -EXDEV : err;
    }
    err = compose(u, path, f);
    if (!err) {
        uint32_t more = ORIGIN_SET_MODE;
        if (st.uid != u->in.uid)
            more |= ORIGIN_SET_UID;
        if (st.gid != u->in.gid)
            more |= ORIGIN_SET_GID;
        err = finish_file(u, f, composed_size(u), more);
        if (err == -EPERM || err == -EACCES)
            err = -EXDEV;
    }
    if (!err) {
        /* The path may have changed since; from here on it can't. */
        free(STEAL(path));
        c = short_call(u);
        cairn_paths_begin(s);
        err = cairn_meta_path(s->meta, u->n->ino, &path);
        if (!err)
            err = origin_rename(s->origin, &c, temp, path, 0);
        cairn_paths_end(s);
    }
    if (!err)
        err = origin_fstat(f, &c, &u->after);
    else if (origin_unlink(s->origin, &c, temp) < 0)
        id[0] = 0; /* the note stays, for the next mount */
    if (!err && u->durable && origin_can(s->origin, ORIGIN_LOCAL))
        err = sync_name(u, path);
    if (id[0])
        unlinkat(s->uploads_fd, id, 0);
    if (err)
        origin_close_file(f);
    else
        take_sink(u->n, f);
    return err;
}

/* What hangs on the old file and would be lost with it. */
static bool has_xattrs(struct upload *u)
{
    if (!origin_can(u->s->origin, ORIGIN_XATTRS))
        return false;
    AUTO_FREE char *path = NULL;
    struct origin_call c = short_call(u);
    cairn_paths_begin(u->s);
    ssize_t len = cairn_meta_path(u->s->meta, u->n->ino, &path);
    char names[4096];
    if (!len)
        len = origin_listxattr(u->s->origin, &c, path, names, sizeof names);
    cairn_paths_end(u->s);
    for (ssize_t i = 0; i < len; i += (ssize_t)strlen(names + i) + 1)
        if (strcmp(names + i, "security.selinux") != 0)
            return true;
    return len < 0 && len != -EOPNOTSUPP;
}

/* A name that another gave it since we last looked would go on leading to the old file. */
static bool has_more_names(struct upload *u)
{
    if (u->in.nlink > 1 || !origin_can(u->s->origin, ORIGIN_FILE_IDS))
        return u->in.nlink > 1;
    AUTO_FREE char *path = NULL;
    struct origin_stat st;
    struct origin_call c = short_call(u);
    cairn_paths_begin(u->s);
    int err = cairn_meta_path(u->s->meta, u->n->ino, &path);
    if (!err)
        err = origin_stat(u->s->origin, &c, path, &st);
    cairn_paths_end(u->s);
    return !err && st.nlink > 1;
}

static bool should_replace(struct upload *u)
{
    const struct snapshot *sn = &u->snap;
    bool whole = sn->base_limit == 0;
    if (!origin_can(u->s->origin, ORIGIN_ATOMIC_RENAME))
        return false;
    if (whole) {
        if (!sn->base.size && sn->sent <= INPLACE_MOST)
            return false; /* it was empty, and arrives in one piece */
    } else {
        uint64_t copied = sn->base_limit;
        if (!u->closing || !origin_can(u->s->origin, ORIGIN_COPY_RANGE) ||
            (copied > REPLACE_MOST && !origin_can(u->s->origin, ORIGIN_COPY_SHARES)))
            return false;
    }
    return !has_more_names(u) && !has_xattrs(u);
}

/* --- the whole --- */

/* The old chunks in which a change begins or ends: the bytes around it are still at hand there. */
static void keep_edges(struct upload *u)
{
    struct cairn_meta *m = u->s->meta;
    struct cairn_manifest_entry e;
    u->edges.entry = malloc(2 * (u->snap.count + 1) * sizeof *u->edges.entry);
    u->edges.limit = u->snap.base_limit;
    for (size_t i = 0; u->edges.entry && i < u->snap.count; i++) {
        const struct cairn_extent *x = &u->snap.extent[i];
        if (cairn_meta_chunk_at(m, u->n->content, x->start, &e, NULL) == 0 && e.off < x->start)
            u->edges.entry[u->edges.count++] = e;
        if (cairn_meta_chunk_at(m, u->n->content, x->end, &e, NULL) == 0 && e.off < x->end)
            u->edges.entry[u->edges.count++] = e;
    }
}

/* The store learns what the origin has now. Needs n->lock. */
static int record(struct upload *u)
{
    struct cairn_sync *s = u->s;
    struct cairn_node *n = u->n;
    struct cairn_version version = cairn_version_of(&u->after);
    cairn_meta_lock(s->meta);
    cairn_fresh_mark_inode(s, n->ino);
    struct cairn_inode in;
    int err = cairn_meta_inode(s->meta, n->ino, &in);
    if (!err) {
        if (u->snap.base_limit == 0 || !n->content || u->moved) {
            if (n->content)
                cairn_meta_drop_content(s->meta, n->content);
            in.content = cairn_meta_new_content(s->meta);
        } else {
            in.content = n->content;
            keep_edges(u);
            if (u->snap.size < u->snap.base.size)
                cairn_meta_put_chunks(s->meta, in.content, u->snap.base_limit, UINT64_MAX, NULL, 0);
            else if (u->snap.base_limit < u->snap.size)
                cairn_meta_put_chunks(s->meta, in.content, u->snap.base_limit, u->snap.size, NULL,
                                      0);
            for (size_t i = 0; i < u->snap.count; i++)
                cairn_meta_put_chunks(s->meta, in.content, u->snap.extent[i].start,
                                      u->snap.extent[i].end, NULL, 0);
        }
        uint32_t mode = in.mode, uid = in.uid, gid = in.gid;
        cairn_fresh_own_stat(s, &in, &u->after);
        in.mode = mode; /* a chmod of ours may be newer than the answer */
        in.uid = uid;
        in.gid = gid;
        in.size = u->moved ? u->after.size : u->snap.size;
        in.mtime_ns = u->snap.mtime_ns;
        in.ctime_ns = max_u64((uint64_t)u->snap.ctime_ns, (uint64_t)in.ctime_ns);
        in.atime_ns = u->snap.atime_ns;
        err = cairn_meta_put_inode(s->meta, &in);
        if (u->moved)
            cairn_stage_rebase(n->stage, u->snap.base.size, &in);
        cairn_node_switch_locked(n, in.content, &version);
    }
    cairn_meta_unlock(s->meta);
    return err;
}

static int run(struct upload *u)
{
    int err = -EXDEV;
    if (should_replace(u)) {
        err = upload_by_replacing(u);
        if (err == -ESTALE && u->snap.base_limit)
            err = -EXDEV; /* the base changed under us: the changed ranges alone are ours */
    }
    if (err == -EXDEV)
        err = upload_in_place(u);
    return cairn_sync_answered(u->s, err);
}

static int sync_only(struct upload *u)
{
    AUTO_FREE char *path = NULL;
    struct origin_file *f;
    struct cairn_sync *s = u->s;
    if (!origin_can(s->origin, ORIGIN_FSYNC))
        return 0;
    cairn_paths_begin(s);
    int err = cairn_meta_path(s->meta, u->n->ino, &path);
    if (!err)
        err = origin_open(s->origin, u->call, path, O_RDONLY, 0, &f, NULL);
    cairn_paths_end(s);
    if (err)
        return err == -ESTALE || err == -ENOENT || err == -EACCES ? 0 : err;
    err = origin_fsync(f, u->call);
    origin_close_file(f);
    return cairn_sync_answered(s, err);
}

int cairn_upload(struct cairn_node *n, const struct origin_call *c, bool durable, bool closing)
{
    struct upload u = {.s = n->sync, .n = n, .call = c, .durable = durable, .closing = closing};
    int err = 0;

    pthread_mutex_lock(&n->lock);
    while (n->uploading) /* each of its calls has a deadline, so it ends */
        pthread_cond_wait(&n->cond, &n->lock);
    if (!err && (!n->stage || !n->stage->dirty || n->unlinked)) {
        bool sync = durable && !n->unlinked, given_up = n->unsent;
        n->unsent = false;
        pthread_mutex_unlock(&n->lock);
        if (given_up)
            cairn_node_unref(n); /* its name went before it could be sent */
        return sync ? sync_only(&u) : 0;
    }
    if (!err)
        err = cairn_meta_inode(n->sync->meta, n->ino, &u.in);
    if (!err)
        err = take_snapshot(n, &u.snap);
    if (err) {
        pthread_mutex_unlock(&n->lock);
        return err;
    }
    n->uploading = true;
    pthread_mutex_unlock(&n->lock);

    err = run(&u);

    pthread_mutex_lock(&n->lock);
    struct cairn_stage *st = n->stage;
    n->uploading = false;
    if (!err) {
        cairn_count(n->sync->metrics, CAIRN_UPLOADS, 1);
        err = record(&u);
    }
    if (!err) {
        if (st->writes == u.snap.writes) {
            if (cairn_stage_sent(st) == 0)
                cairn_absorb_start(n, &u.edges);
            else
                cairn_absorb_release_locked(n);
        }
    } else if (n->unlinked) {
        err = 0; /* it lost its last name meanwhile: there is nothing to send it to */
    } else {
        if (!n->unsent)
            cairn_node_ref(n);
        n->unsent = true;
        log_error("not sent: ino=%" PRIu64 " name=%s error=%s", n->ino, u.in.name, strerror(-err));
    }
    bool sent = !err && n->unsent;
    if (sent)
        n->unsent = false;
    pthread_cond_broadcast(&n->cond);
    if (!err && u.moved && u.snap.base_limit) /* the kernel's pages are of the old one */
        n->sync->listener.inode_changed(n->sync->listener.arg, n->ino, true);
    pthread_mutex_unlock(&n->lock);
    if (sent)
        cairn_node_unref(n); /* the caller has its own */
    free(u.edges.entry);
    free(u.snap.extent);
    free(u.buf);
    return err;
}

void cairn_upload_clean(struct cairn_sync *s)
{
    int fd = openat(s->uploads_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        char temp[8192];
        AUTO_CLOSE int note = openat(s->uploads_fd, e->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        ssize_t len = note < 0 ? -1 : read(note, temp, sizeof temp - 1);
        if (len < 0)
            continue;
        temp[len] = 0;
        const char *slash = strrchr(temp, '/');
        struct origin_call c = cairn_sync_call(s);
        int err = 0;
        if (strncmp(slash ? slash + 1 : temp, CAIRN_TEMP_PREFIX, sizeof CAIRN_TEMP_PREFIX - 1) == 0)
            err = origin_unlink(s->origin, &c, temp);
        if (!err || err == -ENOENT || err == -ENOTDIR)
            unlinkat(s->uploads_fd, e->d_name, 0);
    }
    if (d)
        closedir(d);
}
