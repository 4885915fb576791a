// SPDX-License-Identifier: Apache-2.0
/*
 * What does an operation of the metadata store cost?
 *
 *     bench-meta [DIR [FILES]]
 * DIR: where the store is made (a fresh directory below it); FILES: of one directory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/util.h"
#include "meta/store.h"

static char dir[200];
static unsigned files = 100000;

static void check(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(-r));
        exit(1);
    }
}

static void tell(const char *what, int64_t start, uint64_t count)
{
    double ns = (double)(cairn_now_ns() - start);
    printf("%-44s %9.0f ns each %9.3f s\n", what, ns / (double)count, ns / 1e9);
}

static void make_name(char name[32], unsigned i)
{
    snprintf(name, 32, "file-%08x.dat", i * 2654435761u);
}

static void insert(struct cairn_meta *m, const uint64_t *ino)
{
    int64_t start = cairn_now_ns();
    for (unsigned i = 0; i < files; i++) {
        struct cairn_inode in = {
            .ino = ino[i], .mode = S_IFREG | 0644, .fileid = i + 1, .size = 4096};
        char name[32];
        make_name(name, i);
        if (i % 1000 == 0)
            cairn_meta_lock(m);
        check(cairn_meta_put_inode(m, &in), "put");
        check(cairn_meta_link(m, CAIRN_ROOT_INO, name, in.ino), "link");
        if (i % 1000 == 999 || i == files - 1)
            cairn_meta_unlock(m);
    }
    tell("insert inode + link", start, files);
    start = cairn_now_ns();
    check(cairn_meta_sync(m), "sync");
    tell("  rest of it durable", start, 1);
}

static void get(struct cairn_meta *m, const uint64_t *ino, const char *what)
{
    char label[64];
    struct cairn_inode in;
    uint64_t at = 0;
    unsigned count = 1000000;
    int64_t start = cairn_now_ns();
    for (unsigned i = 0; i < count; i++)
        check(cairn_meta_inode(m, ino[(i * 2654435761u) % files], &in), "inode");
    snprintf(label, sizeof(label), "inode, random%s", what);
    tell(label, start, count);
    start = cairn_now_ns();
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        make_name(name, (i * 40503u) % files);
        check(cairn_meta_lookup(m, CAIRN_ROOT_INO, name, &at), "lookup");
    }
    snprintf(label, sizeof(label), "lookup, random%s", what);
    tell(label, start, count);
}

struct piece {
    uint64_t last;
    unsigned left, seen;
};

static int take(void *arg, const struct cairn_dirent *e)
{
    struct piece *p = arg;
    if (!p->left)
        return 1;
    p->left--;
    p->seen++;
    p->last = e->cookie;
    return 0;
}

static void list(struct cairn_meta *m, unsigned piece)
{
    struct piece p = {0};
    char label[64];
    int64_t start = cairn_now_ns();
    int r;
    do {
        p.left = piece;
        r = cairn_meta_readdir(m, CAIRN_ROOT_INO, p.last, take, &p);
    } while (r > 0);
    check(r, "readdir");
    snprintf(label, sizeof(label), "readdir, %u names a piece", piece);
    tell(label, start, p.seen);
}

static void manifests(struct cairn_meta *m)
{
    enum { CHUNKS = 160000 }; /* 10 GB of 64 KiB */
    uint64_t content = cairn_meta_new_content(m), copy = cairn_meta_new_content(m);
    struct cairn_manifest_entry e[16] = {0};
    int64_t start = cairn_now_ns();
    for (uint64_t i = 0; i < CHUNKS; i += 16) {
        for (uint64_t k = 0; k < 16; k++)
            e[k] = (struct cairn_manifest_entry){.off = (i + k) * 65536, .len = 65536};
        cairn_meta_lock(m);
        check(cairn_meta_put_chunks(m, content, i * 65536, (i + 16) * 65536, e, 16), "put_chunks");
        cairn_meta_unlock(m);
    }
    tell("put_chunks, 16 a call", start, CHUNKS / 16);
    check(cairn_meta_sync(m), "sync");
    unsigned count = 1000000;
    start = cairn_now_ns();
    for (uint64_t i = 0; i < count; i++)
        check(cairn_meta_chunk_at(m, content, i * 2654435761u % (CHUNKS * 65536ull), e, NULL),
              "chunk_at");
    tell("chunk_at, random", start, count);
    start = cairn_now_ns();
    cairn_meta_lock(m);
    check(cairn_meta_clone_content(m, content, copy, UINT64_MAX), "clone");
    cairn_meta_unlock(m);
    tell("clone_content, an entry", start, CHUNKS);
    start = cairn_now_ns();
    cairn_meta_lock(m);
    check(cairn_meta_drop_content(m, content), "drop");
    cairn_meta_unlock(m);
    tell("drop_content, the call", start, 1);
}

int main(int argc, char **argv)
{
    snprintf(dir, sizeof(dir), "%s/cairn-bench-XXXXXX", argc > 1 ? argv[1] : "/tmp");
    if (argc > 2)
        files = (unsigned)strtoul(argv[2], NULL, 10);
    if (!files || !mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    struct cairn_meta *m;
    struct cairn_meta_config cfg = {.dir = dir};
    check(cairn_meta_open(&m, &cfg), "open");
    struct cairn_inode root = {.ino = CAIRN_ROOT_INO, .mode = S_IFDIR | 0755};
    cairn_meta_lock(m);
    check(cairn_meta_put_inode(m, &root), "root");
    cairn_meta_unlock(m);
    uint64_t *ino = malloc(files * sizeof(*ino));
    if (!ino)
        return 1;
    for (unsigned i = 0; i < files; i++)
        ino[i] = cairn_meta_new_ino(m);

    insert(m, ino);
    get(m, ino, "");
    cairn_meta_lock(m);
    for (unsigned i = 0; i < files && i < 20000; i++) {
        struct cairn_inode in;
        check(cairn_meta_inode(m, ino[i], &in), "inode");
        check(cairn_meta_put_inode(m, &in), "put");
    }
    get(m, ino, ", 20,000 writes pending");
    cairn_meta_unlock(m);
    list(m, 30);
    list(m, files);
    manifests(m);

    int64_t start = cairn_now_ns();
    cairn_meta_close(m);
    tell("close", start, 1);
    start = cairn_now_ns();
    check(cairn_meta_open(&m, &cfg), "open");
    tell("open", start, 1);
    cairn_meta_close(m);
    free(ino);
    const char *names[] = {"data.mdb", "lock.mdb", "owner.lock"};
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        char path[300];
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
    return 0;
}
