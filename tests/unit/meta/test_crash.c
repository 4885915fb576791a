// SPDX-License-Identifier: Apache-2.0
/* kill -9 of a writer at any moment: the store opens, is whole, and shows whole units, at least
 * those that were synced. */
#include "check.h"
#include "fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SEEDS = 30, COMMIT_NS = 1000000, A = 1000000001, B = 1000000002 };

static void require(int r)
{
    if (r != 0)
        _exit(9);
}

static void put_unit(struct cairn_meta *m, uint64_t ino, uint64_t unit)
{
    struct cairn_inode in = {.ino = ino, .mode = S_IFREG, .size = unit};
    require(cairn_meta_put_inode(m, &in));
}

/* Unit n: A, B and the manifest say n; file n appears, every third one goes again, one is renamed,
 * a large manifest is dropped now and then. */
static void write_unit(struct cairn_meta *m, uint64_t n, uint64_t *seed)
{
    char name[32], other[32];
    struct cairn_inode in = {.ino = cairn_meta_new_ino(m), .mode = S_IFREG, .fileid = n};
    struct cairn_manifest_entry e[80];
    in.content = cairn_meta_new_content(m);
    unsigned pages = next_random(seed) % 8 == 0 ? 80 : 2;
    for (unsigned i = 0; i < pages; i++)
        e[i] = make_entry(i * (8ull << 20), 100, n);
    cairn_meta_lock(m);
    put_unit(m, A, n);
    require(cairn_meta_put_inode(m, &in));
    snprintf(name, sizeof(name), "n%llu", (unsigned long long)n);
    require(cairn_meta_link(m, CAIRN_ROOT_INO, name, in.ino));
    /* Now and then a unit is under way for longer than a commit waits. */
    if (next_random(seed) % 16 == 0)
        nanosleep(&(struct timespec){.tv_nsec = 3 * COMMIT_NS}, NULL);
    require(cairn_meta_put_chunks(m, in.content, 0, 1ull << 40, e, pages));
    snprintf(other, sizeof(other), "again%llu", (unsigned long long)n);
    require(cairn_meta_link(m, CAIRN_ROOT_INO, other, in.ino));
    if (n % 3 == 0) {
        uint64_t ino;
        uint32_t left;
        snprintf(name, sizeof(name), "n%llu", (unsigned long long)n - 2);
        snprintf(other, sizeof(other), "again%llu", (unsigned long long)n - 2);
        require(cairn_meta_unlink(m, CAIRN_ROOT_INO, name, &ino, &left));
        require(cairn_meta_unlink(m, CAIRN_ROOT_INO, other, &ino, &left));
        require(cairn_meta_del_inode(m, ino));
    }
    put_unit(m, B, n);
    cairn_meta_unlock(m);
}

static void run_writer(const char *dir, int fd, uint64_t seed)
{
    struct cairn_meta *m;
    struct cairn_meta_config cfg = {.dir = dir, .map_bytes = 1ull << 30, .commit_ns = COMMIT_NS};
    struct cairn_inode in;
    uint64_t n = 0;
    require(cairn_meta_open(&m, &cfg));
    if (cairn_meta_inode(m, A, &in) == 0)
        n = in.size;
    for (;;) {
        write_unit(m, ++n, &seed);
        if (next_random(&seed) % 32 == 0) {
            require(cairn_meta_sync(m));
            if (write(fd, &n, sizeof(n)) != sizeof(n))
                _exit(8);
        }
    }
}

/* Kills the writer after a number of syncs and a random number of spins more. */
static uint64_t kill_writer(const char *dir, uint64_t *seed)
{
    int fds[2], status;
    uint64_t synced = 0;
    assert_ok(pipe(fds));
    uint64_t child_seed = next_random(seed);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        run_writer(dir, fds[1], child_seed);
    }
    close(fds[1]);
    for (uint64_t left = 1 + next_random(seed) % 20; left; left--)
        assert_int_equal(read(fds[0], &synced, sizeof(synced)), sizeof(synced));
    for (uint64_t spins = next_random(seed) % 20000000; spins; spins--)
        __asm__ volatile("");
    kill(pid, SIGKILL);
    uint64_t more;
    while (read(fds[0], &more, sizeof(more)) == sizeof(more))
        synced = more;
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    return synced;
}

static void check_units(struct cairn_meta *m, uint64_t synced)
{
    struct cairn_inode a, b;
    char name[32];
    uint64_t ino;
    assert_ok(cairn_meta_inode(m, A, &a));
    assert_ok(cairn_meta_inode(m, B, &b));
    assert_int_equal(a.size, b.size);
    assert_true(a.size >= synced);
    for (uint64_t n = a.size > 200 ? a.size - 200 : 1; n <= a.size + 2; n++) {
        bool want = n <= a.size && !(n % 3 == 1 && n + 2 <= a.size);
        snprintf(name, sizeof(name), "n%llu", (unsigned long long)n);
        assert_int_equal(cairn_meta_lookup(m, CAIRN_ROOT_INO, name, &ino), want ? 0 : -ENOENT);
        assert_int_equal(cairn_meta_by_fileid(m, n, &ino), want ? 0 : -ENOENT);
        if (want) {
            struct cairn_manifest_entry e;
            struct cairn_inode in;
            assert_ok(cairn_meta_inode(m, ino, &in));
            assert_ok(cairn_meta_chunk_at(m, in.content, 0, &e, NULL));
            assert_memory_equal(e.id.bytes, &n, sizeof(n));
        }
    }
    assert_true(cairn_meta_new_ino(m) > ino);
}

static void test_killed_writer_leaves_whole_units(void **state)
{
    char dir[64];
    uint64_t seed = test_seed();
    make_dir(dir);
    for (int i = 0; i < SEEDS; i++) {
        uint64_t synced = kill_writer(dir, &seed);
        struct cairn_meta *m = open_store(dir);
        check_names(m);
        check_units(m, synced);
        cairn_meta_close(m);
    }
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_writer_leaves_whole_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
