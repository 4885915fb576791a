// SPDX-License-Identifier: Apache-2.0
#include "fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void make_dir(char ret[64])
{
    const char *tmp = getenv("TMPDIR");
    snprintf(ret, 64, "%s/cairn-meta-XXXXXX", tmp && strlen(tmp) < 30 ? tmp : "/tmp");
    assert_non_null(mkdtemp(ret));
}

void remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    assert_non_null(d);
    struct dirent *e;
    while ((e = readdir(d)))
        unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    assert_ok(rmdir(dir));
}

struct cairn_meta *open_store(const char *dir)
{
    struct cairn_meta *m;
    struct cairn_meta_config cfg = {.dir = dir, .map_bytes = 4ULL << 30};
    assert_ok(cairn_meta_open(&m, &cfg));
    return m;
}

int fixture_open(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    make_dir(f->dir);
    f->m = open_store(f->dir);
    struct cairn_inode root = {.ino = CAIRN_ROOT_INO, .mode = S_IFDIR | 0755};
    cairn_meta_lock(f->m);
    assert_ok(cairn_meta_put_inode(f->m, &root));
    cairn_meta_unlock(f->m);
    *state = f;
    return 0;
}

int fixture_close(void **state)
{
    struct fixture *f = *state;
    cairn_meta_close(f->m);
    remove_dir(f->dir);
    free(f);
    return 0;
}

void fixture_reopen(struct fixture *f)
{
    cairn_meta_close(f->m);
    f->m = open_store(f->dir);
}

uint64_t make_node(struct cairn_meta *m, uint64_t parent, const char *name, uint32_t mode)
{
    struct cairn_inode in = {.ino = cairn_meta_new_ino(m), .mode = mode, .nlink = 1};
    cairn_meta_lock(m);
    assert_ok(cairn_meta_put_inode(m, &in));
    if (name)
        assert_ok(cairn_meta_link(m, parent, name, in.ino));
    cairn_meta_unlock(m);
    return in.ino;
}

struct cairn_manifest_entry make_entry(uint64_t off, uint32_t len, uint64_t tag)
{
    struct cairn_manifest_entry e = {.off = off, .len = len};
    memcpy(e.id.bytes, &tag, sizeof(tag));
    return e;
}

uint64_t test_seed(void)
{
    const char *given = getenv("CAIRN_SEED");
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t seed =
        given ? strtoull(given, NULL, 0) : (uint64_t)t.tv_sec * 1000003 + (uint64_t)t.tv_nsec;
    print_message("CAIRN_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* splitmix64 */
uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
