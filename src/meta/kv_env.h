// SPDX-License-Identifier: Apache-2.0
/*
 * The LMDB file under the key-value store: opening, snapshots for reading, durable writes, growth.
 *
 * A snapshot is a pooled read transaction (MDB_NOTLS: bound to no thread); taking one up again
 * costs tens of nanoseconds. Every value carries a checksum over key and value, so what a get
 * returns is what was put. The map is as large as the address space allows and grows when it is
 * full; while it moves, no snapshot is out.
 * Reference: lmdb.h 0.9.24. A process that has opened one must not fork and go on using it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct kv_env;
struct kv_snapshot;
struct overlay;

struct kv_slice {
    const uint8_t *data;
    size_t len;
};

/* `dir` exists; `map_max` = most bytes of the file, `map_first` = what is mapped before it has to
 * grow (less, if there is no room). -EBUSY: open elsewhere; -EBADMSG: not a store or damaged. */
int kv_env_open(struct kv_env **ret, const char *dir, uint64_t map_first, uint64_t map_max);
void kv_env_close(struct kv_env *env); /* NULL is allowed; no snapshot is out */

/* Any thread. Takes a snapshot out of the pool, not begun; may wait while the map grows. */
int kv_env_take(struct kv_env *env, struct kv_snapshot **ret);
void kv_env_give(struct kv_env *env, struct kv_snapshot *s); /* begun or not */

/* Makes `s` show what is durable now. Does no I/O. */
int kv_snapshot_begin(struct kv_snapshot *s);
/* The value, valid until `s` is given back; -ENOENT. -EIO: damaged. */
int kv_snapshot_get(struct kv_snapshot *s, struct kv_slice key, struct kv_slice *ret_val);
/* The first pair with a key >= `from`; then the one after that. -ENOENT at the end. */
int kv_snapshot_seek(struct kv_snapshot *s, struct kv_slice from, struct kv_slice *ret_key,
                     struct kv_slice *ret_val);
int kv_snapshot_step(struct kv_snapshot *s, struct kv_slice *ret_key, struct kv_slice *ret_val);

/* Makes all of `o` and the pair durable, or nothing. One thread at a time; nobody changes `o`
 * meanwhile. -ENOSPC: disk or map full; may be repeated after any error. */
int kv_env_write(struct kv_env *env, const struct overlay *o, struct kv_slice key,
                 struct kv_slice val);

uint64_t kv_env_file_bytes(struct kv_env *env); /* that the file takes on its disk */
uint64_t kv_env_map_bytes(struct kv_env *env);  /* of address space now */
