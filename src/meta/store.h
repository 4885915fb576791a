// SPDX-License-Identifier: Apache-2.0
/*
 * The metadata store of one mount: inodes, names, symlink targets and manifests, kept in LMDB.
 *
 * Writers hold the store's write lock (cairn_meta_lock .. cairn_meta_unlock) around each
 * read-modify-write; what happens between the two becomes visible to readers as it is made and
 * durable as one unit: a crash keeps all of it or nothing. Durability comes in batches (group
 * commit, about once a second or when much has gathered); cairn_meta_sync waits for it. The store
 * survives kill -9 and power cuts at any moment: it then shows an earlier whole state.
 *
 * Functions marked [locked] need the write lock, all others may be called by any thread at any
 * time, with or without it. 0 or -errno; -EIO means that the store itself is broken.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cdc/chunkid.h"

#define CAIRN_ROOT_INO 1
#define CAIRN_NAME_MAX 255

struct cairn_meta;

/* What tells two contents of one path apart, as the origin told it. */
struct cairn_version {
    uint64_t size;
    int64_t mtime_ns;
    uint64_t token[2];
};

enum cairn_inode_flags {
    CAIRN_INODE_KNOWN = 1 << 0,  /* attributes have been told by the origin at least once */
    CAIRN_INODE_LISTED = 1 << 1, /* directory: all of its names were in the store at listed_ns */
};

struct cairn_inode {
    uint64_t ino;
    uint64_t parent;         /* of the primary name; 0 = has no name (unlinked) */
    char name[CAIRN_NAME_MAX + 1]; /* the primary name; "" for the root */
    uint32_t mode;
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    uint32_t flags;          /* enum cairn_inode_flags */
    uint64_t rdev;
    uint64_t size;           /* bytes */
    uint64_t blocks;         /* 512-byte units */
    int64_t atime_ns;
    int64_t mtime_ns;
    int64_t ctime_ns;
    struct cairn_version version; /* of the origin's file that `content` and the attributes show */
    uint64_t fileid;         /* the origin's identity of the node; 0 = not told */
    uint64_t content;        /* manifest of `version`; 0 = none yet */
    int64_t checked_ns;      /* attributes were asked for at this CLOCK_MONOTONIC instant ... */
    uint64_t checked_epoch;  /* ... of the mount with this epoch */
    int64_t listed_ns;       /* directory: the same for its listing */
    uint64_t listed_epoch;
};

struct cairn_meta_config {
    const char *dir;         /* exists, is ours alone */
    uint64_t map_bytes;      /* most bytes the store may grow to; 0 = default (64 GiB) */
    int64_t commit_ns;       /* longest time until a change is durable; 0 = default (1 s) */
};

/* Opens or creates, in constant time. Each opening has an epoch of its own, larger than before.
 * -EBUSY: open elsewhere, or twice here; -EBADMSG: damaged, not a store, or of another version.
 * Has threads: a process that forks opens it afterwards. */
int cairn_meta_open(struct cairn_meta **ret, const struct cairn_meta_config *cfg);
/* Commits and closes. NULL is allowed. */
void cairn_meta_close(struct cairn_meta *m);
uint64_t cairn_meta_epoch(struct cairn_meta *m);

void cairn_meta_lock(struct cairn_meta *m);
void cairn_meta_unlock(struct cairn_meta *m);
/* Waits until everything unlocked before the call is durable; not with the lock held. -ENOSPC, -EIO:
 * not yet; it stays in memory, readable, and is tried again each second. While that goes on and too
 * much (64 MiB) has gathered, the [locked] functions fail with the same error. */
int cairn_meta_sync(struct cairn_meta *m);

/* Fresh numbers, never given out twice in the life of the store (a crash skips some). */
uint64_t cairn_meta_new_ino(struct cairn_meta *m);     /* > CAIRN_ROOT_INO */
uint64_t cairn_meta_new_content(struct cairn_meta *m); /* > 0 */

/* --- inodes --- */
int cairn_meta_inode(struct cairn_meta *m, uint64_t ino, struct cairn_inode *ret); /* -ENOENT */
/* [locked] Inserts or replaces, but keeps the stored parent and name (link/unlink set those). */
int cairn_meta_put_inode(struct cairn_meta *m, const struct cairn_inode *in);
/* [locked] Forgets the inode, its symlink target and its manifest. Its names must be gone: else
 * -EBUSY; a directory's entries, too: else -ENOTEMPTY. */
int cairn_meta_del_inode(struct cairn_meta *m, uint64_t ino);
/* The inode that the origin's node `fileid` has here; -ENOENT. */
int cairn_meta_by_fileid(struct cairn_meta *m, uint64_t fileid, uint64_t *ret_ino);

int cairn_meta_target(struct cairn_meta *m, uint64_t ino, char **ret_target); /* caller frees */
int cairn_meta_put_target(struct cairn_meta *m, uint64_t ino, const char *target); /* [locked] */

/* --- names --- */
int cairn_meta_lookup(struct cairn_meta *m, uint64_t parent, const char *name, uint64_t *ret_ino);
/* The name's cookie: its place in the directory's order, see cairn_meta_readdir. -ENOENT. */
int cairn_meta_place(struct cairn_meta *m, uint64_t parent, const char *name, uint64_t *ret_cookie);
/* [locked] Gives `ino` (whose record exists) one more name. -EEXIST if the name is taken. */
int cairn_meta_link(struct cairn_meta *m, uint64_t parent, const char *name, uint64_t ino);
/* [locked] Takes the name away. If it was the primary one another becomes primary; without any,
 * the record stays with parent 0 until cairn_meta_del_inode. ret_* may be NULL. */
int cairn_meta_unlink(struct cairn_meta *m, uint64_t parent, const char *name, uint64_t *ret_ino,
                      uint32_t *ret_names_left);
/* [locked] Moves a name; the new one must be free. Cost does not depend on what is below. */
int cairn_meta_rename(struct cairn_meta *m, uint64_t parent, const char *name, uint64_t new_parent,
                      const char *new_name);
/* [locked] Swaps what two names mean. */
int cairn_meta_exchange(struct cairn_meta *m, uint64_t a_parent, const char *a_name,
                        uint64_t b_parent, const char *b_name);
/* The path of the primary name from the root ("" for the root, "a/b" below); caller frees.
 * -ESTALE if it or an ancestor has no name. */
int cairn_meta_path(struct cairn_meta *m, uint64_t ino, char **ret_path);

/*
 * The names of a directory in the order of their cookies: those > `after`. Cookies are > 2, unique
 * within the directory, stay with the name as long as it exists, and grow with its creation.
 * `fn` gets a copy of the inode's record with it (have_inode false if there is none); it may call
 * any function here that is not [locked]. It returns 0 to go on; anything else ends the call with
 * that value.
 */
struct cairn_dirent {
    uint64_t cookie;
    uint64_t ino;
    const char *name;
    bool have_inode;
    const struct cairn_inode *inode;
};
typedef int cairn_dirent_fn(void *arg, const struct cairn_dirent *e);
int cairn_meta_readdir(struct cairn_meta *m, uint64_t dir, uint64_t after, cairn_dirent_fn *fn,
                       void *arg);
/* The same in the order of the names' bytes: those behind `after` ("": all). */
int cairn_meta_readdir_by_name(struct cairn_meta *m, uint64_t dir, const char *after,
                               cairn_dirent_fn *fn, void *arg);

/* --- manifests: by content number; chunks by file offset; holes were never fetched --- */
struct cairn_manifest_entry {
    uint64_t off; /* bytes */
    uint32_t len;
    struct cairn_chunk_id id;
};

/* The entry that covers `off`. -ENOENT if it lies in a hole; then ret->off = where the hole
 * begins (or any point in it at most 1 MiB before `off`) and *ret_hole_end (may be NULL) = where
 * the next entry begins, or any point in the hole >= off + 16 MiB, or UINT64_MAX. */
int cairn_meta_chunk_at(struct cairn_meta *m, uint64_t content, uint64_t off,
                        struct cairn_manifest_entry *ret, uint64_t *ret_hole_end);
/* All entries that overlap [start, end), in order, up to `max`; returns how many, or -errno. */
int cairn_meta_chunks(struct cairn_meta *m, uint64_t content, uint64_t start, uint64_t end,
                      struct cairn_manifest_entry *ret, unsigned max);
/* [locked] Takes out every entry that overlaps [start, end) and puts these in, which are in order,
 * do not overlap, and lie inside. */
int cairn_meta_put_chunks(struct cairn_meta *m, uint64_t content, uint64_t start, uint64_t end,
                          const struct cairn_manifest_entry *e, unsigned count);
/* [locked] Makes `to` (new, empty) a copy of `from`'s entries that end at or before `size`. */
int cairn_meta_clone_content(struct cairn_meta *m, uint64_t from, uint64_t to, uint64_t size);
/* [locked] Forgets a manifest, however large, in the background. 0 is ignored. Nothing may be put
 * into it afterwards: it would stay for ever. */
int cairn_meta_drop_content(struct cairn_meta *m, uint64_t content);

struct cairn_meta_stats {
    uint64_t inodes;
    uint64_t logical_bytes; /* sum of the lengths of all manifest entries */
    uint64_t manifest_chunks; /* their number */
    uint64_t file_bytes;    /* of the store on disk */
    uint64_t pending_bytes; /* not yet durable */
};
void cairn_meta_stats(struct cairn_meta *m, struct cairn_meta_stats *ret);
