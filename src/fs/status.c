// SPDX-License-Identifier: Apache-2.0
/* What `cairnfs status` shows: one JSON object with all that the mount knows about itself. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/util.h"
#include "fs/fs.h"
#include "origins/metrics.h"

struct bit {
    uint32_t bit;
    const char *name;
};

static const struct bit origin_bits[] = {
    {ORIGIN_ATOMIC_RENAME, "atomic-rename"},
    {ORIGIN_RENAME_NOREPLACE, "rename-noreplace"},
    {ORIGIN_RENAME_EXCHANGE, "rename-exchange"},
    {ORIGIN_WRITE_RANGES, "write-ranges"},
    {ORIGIN_COPY_RANGE, "copy-range"},
    {ORIGIN_COPY_SHARES, "copy-shares"},
    {ORIGIN_HARD_LINKS, "hard-links"},
    {ORIGIN_SYMLINKS, "symlinks"},
    {ORIGIN_MODES, "modes"},
    {ORIGIN_OWNERS, "owners"},
    {ORIGIN_SPECIAL, "special-files"},
    {ORIGIN_XATTRS, "xattrs"},
    {ORIGIN_FSYNC, "fsync"},
    {ORIGIN_FILE_IDS, "file-ids"},
    {ORIGIN_WATCH, "watch"},
    {ORIGIN_SEEK_HOLES, "seek-holes"},
    {ORIGIN_LOCAL, "local"},
};

static const struct bit fuse_bits[] = {
    {FUSE_CAP_ASYNC_READ, "async-read"},
    {FUSE_CAP_ATOMIC_O_TRUNC, "atomic-o-trunc"},
    {FUSE_CAP_SPLICE_WRITE, "splice-write"},
    {FUSE_CAP_SPLICE_MOVE, "splice-move"},
    {FUSE_CAP_SPLICE_READ, "splice-read"},
    {FUSE_CAP_READDIRPLUS, "readdirplus"},
    {FUSE_CAP_READDIRPLUS_AUTO, "readdirplus-auto"},
    {FUSE_CAP_ASYNC_DIO, "async-dio"},
    {FUSE_CAP_PARALLEL_DIROPS, "parallel-dirops"},
    {FUSE_CAP_CACHE_SYMLINKS, "cache-symlinks"},
    {FUSE_CAP_EXPLICIT_INVAL_DATA, "explicit-inval-data"},
};

static json_t *names_of(const struct bit *bits, size_t count, uint32_t set)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        if (set & bits[i].bit)
            json_array_append_new(list, json_string(bits[i].name));
    return list;
}

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 1.0;
}

static json_t *cache_status(struct cairn_fs *fs, const struct cairn_meta_stats *meta)
{
    struct cairn_disk_stats disk;
    struct cairn_memory_stats memory;
    cairn_disk_stats(cairn_cache_disk(fs->sync->cache), &disk);
    cairn_memory_stats(cairn_cache_memory(fs->sync->cache), &memory);
    return json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:I}", "dir", fs->cfg->cache_dir,
        "size_limit", (json_int_t)disk.max_bytes, "stored_bytes", (json_int_t)disk.stored_bytes,
        "segments", (json_int_t)disk.segments, "chunks", (json_int_t)disk.chunks, "unique_bytes",
        (json_int_t)disk.plain_bytes, "logical_bytes", (json_int_t)meta->logical_bytes,
        "dedup_ratio", ratio(meta->logical_bytes, disk.plain_bytes), "compression_ratio",
        ratio(disk.plain_bytes, disk.record_bytes), "memory_limit", (json_int_t)memory.max_bytes,
        "memory_bytes", (json_int_t)memory.bytes, "memory_chunks", (json_int_t)memory.chunks);
}

static json_t *counters_status(struct cairn_fs *fs)
{
    json_t *o = json_object();
    for (unsigned i = 0; i < CAIRN_COUNTER_COUNT; i++)
        json_object_set_new(o, cairn_counter_info[i].name,
                            json_integer((json_int_t)cairn_counted(&fs->metrics, i)));
    return o;
}

static json_t *ops_status(struct cairn_fs *fs)
{
    json_t *o = json_object();
    struct origin_op_metrics m;
    for (size_t i = 0; origin_metrics_get(fs->sync->origin, i, &m); i++)
        if (m.calls)
            json_object_set_new(
                o, m.name,
                json_pack("{s:I, s:I, s:I, s:I, s:I}", "calls", (json_int_t)m.calls, "errors",
                          (json_int_t)m.errors, "bytes", (json_int_t)m.bytes, "p50_us",
                          (json_int_t)origin_metrics_percentile_us(&m, 0.5), "p99_us",
                          (json_int_t)origin_metrics_percentile_us(&m, 0.99)));
    return o;
}

char *cairn_fs_status(struct cairn_fs *fs)
{
    struct cairn_sync *s = fs->sync;
    struct cairn_meta_stats meta;
    cairn_meta_stats(s->meta, &meta);
    char protocol[16];
    snprintf(protocol, sizeof protocol, "%u.%u", fs->conn.proto_major, fs->conn.proto_minor);
    json_t *o = json_pack(
        "{s:s, s:I, s:I, s:s, s:{s:s, s:s, s:o}, s:{s:b, s:b, s:I, s:I, s:b}, "
        "s:{s:s, s:s, s:I, s:I, s:o}, s:o, s:{s:I, s:I, s:I, s:I}, s:o, s:o}",
        "version", CAIRNFS_VERSION, "pid", (json_int_t)getpid(), "uptime_s",
        (json_int_t)((cairn_now_ns() - fs->started_ns) / NSEC_PER_SEC), "mountpoint",
        fs->cfg->mountpoint, "origin", "url", fs->cfg->origin, "state",
        atomic_load(&s->stalled) ? "stalled" : "ok", "caps",
        names_of(origin_bits, ARRAY_LEN(origin_bits), s->info->caps), "options", "read_only",
        fs->cfg->read_only, "allow_other", fs->cfg->allow_other, "fresh_ms",
        (json_int_t)(s->fresh_ns == CAIRN_NEVER ? -1 : s->fresh_ns / NSEC_PER_MSEC), "timeout_ms",
        (json_int_t)(s->timeout_ns / NSEC_PER_MSEC), "events", s->watching, "fuse", "protocol",
        protocol, "library", fuse_pkgversion(), "max_write", (json_int_t)fs->conn.max_write,
        "readahead_kb", (json_int_t)fs->readahead_kb, "capabilities",
        names_of(fuse_bits, ARRAY_LEN(fuse_bits), fs->conn.want), "cache", cache_status(fs, &meta),
        "meta", "inodes", (json_int_t)meta.inodes, "manifest_chunks",
        (json_int_t)meta.manifest_chunks, "file_bytes", (json_int_t)meta.file_bytes,
        "pending_bytes", (json_int_t)meta.pending_bytes, "counters", counters_status(fs), "ops",
        ops_status(fs));
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}
