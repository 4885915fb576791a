// SPDX-License-Identifier: Apache-2.0
/*
 * Counters of one mount. Each has a name and a description, said once in the table below; any
 * thread may add; readers see each counter whole but not one instant of all.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define CAIRN_COUNTERS(X)                                                                          \
    X(MEMORY_HIT, "memory.hits", "chunks found in the memory tier")                                \
    X(DISK_HIT, "disk.hits", "chunks found in the disk tier and verified")                         \
    X(CHUNK_MISS, "chunks.misses", "reads that had to go to the origin")                           \
    X(DISK_CORRUPT, "disk.corrupt", "chunks of the disk tier that failed verification")            \
    X(DISK_WRITTEN, "disk.written_bytes", "bytes appended to segments")                            \
    X(DISK_EVICTED, "disk.evicted_segments", "segments evicted")                                   \
    X(DISK_CARRIED, "disk.carried_chunks", "hot chunks carried over from an evicted segment")      \
    X(DISK_ERRORS, "disk.errors", "failed writes or reads of the disk tier")                       \
    X(MEMORY_EVICTED, "memory.evicted_chunks", "chunks evicted from the memory tier")              \
    X(CHUNK_DEDUP, "chunks.deduplicated", "chunks that were already in the disk tier")             \
    X(FETCHES, "fetch.windows", "windows fetched from the origin")                                 \
    X(FETCH_BYTES, "fetch.bytes", "bytes fetched from the origin")                                 \
    X(FETCH_JOINED, "fetch.joined", "reads that joined a fetch already under way")                 \
    X(FETCH_RESTARTED, "fetch.restarted", "fetches begun anew because the file had changed")       \
    X(READAHEAD, "fetch.readahead", "windows fetched ahead of the reader")                         \
    X(UPLOADS, "upload.files", "files sent to the origin")                                         \
    X(UPLOAD_BYTES, "upload.bytes", "bytes of files sent to the origin")                           \
    X(UPLOAD_COPIED, "upload.copied_bytes", "bytes that the origin copied by itself")              \
    X(ORIGIN_CALLS, "origin.calls", "calls to the origin")                                         \
    X(ORIGIN_ERRORS, "origin.errors", "calls to the origin that failed")                           \
    X(ORIGIN_RETRIES, "origin.retries", "calls to the origin that were repeated")                  \
    X(ORIGIN_RECONNECTS, "origin.reconnects", "connections to the origin made anew")               \
    X(ORIGIN_READ_BYTES, "origin.read_bytes", "bytes read from the origin")                        \
    X(ORIGIN_WRITTEN_BYTES, "origin.written_bytes", "bytes written to the origin")                 \
    X(ORIGIN_TIMEOUTS, "origin.timeouts", "operations that ran into their deadline")               \
    X(INTERRUPTED, "fs.interrupted", "operations ended by a signal to their caller")               \
    X(INVALIDATED, "fs.invalidated", "changes at the origin told to the kernel")                   \
    X(STALE_SERVED, "fs.stale_served", "answers from the cache because the origin was silent")     \
    X(JOBS, "fs.jobs", "operations handed to a worker thread")                                     \
    X(FS_OPS, "fs.operations", "operations asked by the kernel")

enum cairn_counter {
#define X(id, name, help) CAIRN_##id,
    CAIRN_COUNTERS(X)
#undef X
        CAIRN_COUNTER_COUNT
};

struct cairn_metrics {
    _Atomic uint64_t value[CAIRN_COUNTER_COUNT];
};

struct cairn_counter_info {
    const char *name;
    const char *help;
};

extern const struct cairn_counter_info cairn_counter_info[CAIRN_COUNTER_COUNT];

/* `m` may be NULL: then nothing is counted. */
static inline void cairn_count(struct cairn_metrics *m, enum cairn_counter c, uint64_t n)
{
    if (m)
        atomic_fetch_add_explicit(&m->value[c], n, memory_order_relaxed);
}

static inline uint64_t cairn_counted(const struct cairn_metrics *m, enum cairn_counter c)
{
    return atomic_load_explicit(&((struct cairn_metrics *)(uintptr_t)m)->value[c],
                                memory_order_relaxed);
}
