// SPDX-License-Identifier: Apache-2.0
/* A process is killed while it writes and evicts; the next one finds what is there or nothing. */
#include "cache/disk.h"

#include <signal.h>
#include <sys/wait.h>

#include "unit/cache/support.h"

#define ROUNDS 50
#define CHUNKS 1200U

static uint32_t length_of(uint64_t n)
{
    uint64_t state = n;
    /* Now and then many tiny ones, so that the index grows, too. */
    return 16 + (uint32_t)(n % 2 ? splitmix64(&state) % 60000 : n % 50);
}

/* Puts and gets random chunks until it is killed; tells each 16 puts. */
_Noreturn static void work(const char *dir, uint64_t seed, int tell)
{
    struct cairn_disk_config cfg = {
        .dir = dir, .max_bytes = (2 + seed % 4) * MIB, .zstd_level = (int)(seed / 7 % 2)};
    struct cairn_disk *d;
    if (cairn_disk_open(&d, &cfg, NULL) < 0)
        _exit(1);
    for (unsigned i = 0;; i++) {
        uint64_t n = splitmix64(&seed) % CHUNKS;
        struct cairn_chunk *c = make_chunk(n, length_of(n), false);
        struct cairn_chunk *got = NULL;
        if (cairn_disk_get(d, &c->id, &got) == 0 && memcmp(got->data, c->data, c->len) != 0)
            _exit(2);
        cairn_chunk_unref(got);
        cairn_disk_put(d, c, true);
        cairn_chunk_unref(c);
        if (i % 16 == 15 && write(tell, "", 1) != 1)
            _exit(3);
    }
}

static unsigned check(const char *dir, struct cairn_disk *d)
{
    unsigned there = 0;
    for (uint64_t n = 0; n < CHUNKS; n++) {
        struct cairn_chunk *want = make_chunk(n, length_of(n), false);
        struct cairn_chunk *got;
        int r = cairn_disk_get(d, &want->id, &got);
        if (r == 0) {
            assert_same_chunk(got, want);
            cairn_chunk_unref(got);
            there++;
        } else {
            assert_int_equal(r, -ENOENT);
        }
        cairn_chunk_unref(want);
    }
    assert_true(dir_bytes(dir) <= 8 * MIB);
    return there;
}

static void a_killed_process_leaves_nothing_wrong(void **state)
{
    (void)state;
    uint64_t seed = test_seed();
    unsigned found = 0;
    char dir[64];
    make_dir(dir);
    for (unsigned round = 0; round < ROUNDS; round++) {
        int pipes[2];
        uint64_t child_seed = splitmix64(&seed);
        assert_int_equal(pipe(pipes), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            work(dir, child_seed, pipes[1]);
        close(pipes[1]);
        for (uint64_t n = 1 + splitmix64(&seed) % 60; n; n--) {
            char c;
            assert_int_equal(read(pipes[0], &c, 1), 1);
        }
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        close(pipes[0]);

        struct cairn_disk_config cfg = {.dir = dir, .max_bytes = 8 * MIB};
        struct cairn_metrics metrics = {0};
        struct cairn_disk *d;
        struct cairn_disk_stats stats;
        assert_int_equal(cairn_disk_open(&d, &cfg, &metrics), 0);
        /* Usable at once, before the audit may be through ... */
        check(dir, d);
        cairn_disk_drain(d);
        /* ... and exact after it. The kernel lives on, so nothing that was indexed is lost. */
        unsigned there = check(dir, d);
        cairn_disk_stats(d, &stats);
        assert_int_equal(stats.chunks, there);
        assert_int_equal(cairn_counted(&metrics, CAIRN_DISK_CORRUPT), 0);
        found += there;
        cairn_disk_close(d);
    }
    assert_true(found > ROUNDS * 10);
    remove_dir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_process_leaves_nothing_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
