// SPDX-License-Identifier: Apache-2.0
/* Events of a local directory: what is told, under which path, after renames of all kinds. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "unit/origins/tempdir.h"

#define MAX_EVENTS 8192

struct fixture {
    char *dir;
    struct origin *o;
    pthread_mutex_t lock;   /* protects what follows */
    pthread_cond_t changed; /* `count`, `overflows` or `held` changed */
    bool hold;              /* the thread of the watch stays in its callback */
    bool held;              /* ... and is there */
    size_t count, overflows;
    char events[MAX_EVENTS][64]; /* "dir|name" */
};

static void note(void *arg, const struct origin_event *ev)
{
    struct fixture *f = arg;
    pthread_mutex_lock(&f->lock);
    if (ev->overflow)
        f->overflows++;
    else if (f->count < MAX_EVENTS)
        snprintf(f->events[f->count++], sizeof f->events[0], "%.31s|%.31s", ev->dir, ev->name);
    f->held = f->hold;
    pthread_cond_broadcast(&f->changed);
    while (f->hold)
        pthread_cond_wait(&f->changed, &f->lock);
    f->held = false;
    pthread_mutex_unlock(&f->lock);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->dir = tempdir_new();
    f->o = tempdir_connect(f->dir);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    assert_true(origin_can(f->o, ORIGIN_WATCH));
    assert_int_equal(origin_watch(f->o, note, f), 0);
    assert_int_equal(origin_watch_dir(f->o, ""), 0);
    *state = f;
    return 0;
}

static void set_hold(struct fixture *f, bool hold)
{
    pthread_mutex_lock(&f->lock);
    f->hold = hold;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    set_hold(f, false);
    origin_close(f->o);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    tempdir_remove(f->dir);
    free(f);
    return 0;
}

static size_t seen_locked(struct fixture *f, const char *event)
{
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        n += !strcmp(f->events[i], event);
    return n;
}

static size_t seen(struct fixture *f, const char *event)
{
    pthread_mutex_lock(&f->lock);
    size_t n = seen_locked(f, event);
    pthread_mutex_unlock(&f->lock);
    return n;
}

/* Until the event came; ten seconds are never needed. */
static void wait_for(struct fixture *f, const char *event)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 10;
    pthread_mutex_lock(&f->lock);
    while (event ? !seen_locked(f, event) : !f->overflows) {
        if (pthread_cond_timedwait(&f->changed, &f->lock, &end) == ETIMEDOUT) {
            for (size_t i = 0; i < f->count; i++)
                print_message("  %s\n", f->events[i]);
            fail_msg("no event %s", event ? event : "(overflow)");
        }
    }
    pthread_mutex_unlock(&f->lock);
}

static void forget(struct fixture *f)
{
    pthread_mutex_lock(&f->lock);
    f->count = 0;
    pthread_mutex_unlock(&f->lock);
}

static void touch(struct fixture *f, const char *name)
{
    tempdir_write(f->dir, name, "x");
}

static void make_dir(struct fixture *f, const char *name)
{
    assert_int_equal(mkdir(tempdir_path(f->dir, name), 0755), 0);
}

static void watch(struct fixture *f, const char *name)
{
    assert_int_equal(origin_watch_dir(f->o, name), 0);
}

static void move(struct fixture *f, const char *from, const char *to)
{
    assert_int_equal(rename(tempdir_path(f->dir, from), tempdir_path(f->dir, to)), 0);
}

/* All that happened before is told once this returns. */
static void drain(struct fixture *f)
{
    static unsigned n;
    char name[32], event[40];
    snprintf(name, sizeof name, "marker%u", n++);
    snprintf(event, sizeof event, "|%s", name);
    touch(f, name);
    wait_for(f, event);
}

/* The thread is in its callback, so that events pile up until set_hold(false). */
static void hold(struct fixture *f)
{
    set_hold(f, true);
    touch(f, "hold");
    pthread_mutex_lock(&f->lock);
    while (!f->held)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static void test_each_kind_of_change_is_told(void **state)
{
    struct fixture *f = *state;
    touch(f, "a");
    wait_for(f, "|a");
    forget(f);
    assert_int_equal(chmod(tempdir_path(f->dir, "a"), 0600), 0);
    wait_for(f, "|a");
    move(f, "a", "b");
    wait_for(f, "|b");
    forget(f);
    assert_int_equal(unlink(tempdir_path(f->dir, "b")), 0);
    wait_for(f, "|b");
    make_dir(f, "d");
    wait_for(f, "|d");
    watch(f, "d");
    touch(f, "d/x");
    wait_for(f, "d|x");
}

static void test_what_is_not_watched_is_silent(void **state)
{
    struct fixture *f = *state;
    make_dir(f, "d");
    touch(f, "d/x");
    drain(f);
    assert_int_equal(seen(f, "d|x"), 0);
}

static void test_only_directories_are_watched(void **state)
{
    struct fixture *f = *state;
    touch(f, "a");
    assert_int_equal(symlink("/etc", tempdir_path(f->dir, "l")), 0);
    assert_int_equal(origin_watch_dir(f->o, "a"), -ENOTDIR);
    assert_int_equal(origin_watch_dir(f->o, "l"), -ELOOP);
    assert_int_equal(origin_watch_dir(f->o, "none"), -ENOENT);
    assert_int_equal(origin_watch(f->o, note, f), -EBUSY);
}

static void test_bursts_become_one_event(void **state)
{
    struct fixture *f = *state;
    touch(f, "a");
    touch(f, "b");
    drain(f);
    hold(f);
    forget(f);
    AUTO_CLOSE int a = open(tempdir_path(f->dir, "a"), O_WRONLY);
    AUTO_CLOSE int b = open(tempdir_path(f->dir, "b"), O_WRONLY);
    for (int i = 0; i < 500; i++) { /* in turn: the kernel joins only neighbours */
        assert_int_equal(pwrite(a, "x", 1, i), 1);
        assert_int_equal(pwrite(b, "x", 1, i), 1);
    }
    set_hold(f, false);
    drain(f);
    assert_in_range(seen(f, "|a"), 1, 2);
    assert_in_range(seen(f, "|b"), 1, 2);
}

static void test_a_renamed_directory_tells_its_new_path(void **state)
{
    struct fixture *f = *state;
    make_dir(f, "d");
    make_dir(f, "d/s");
    make_dir(f, "other");
    watch(f, "d");
    watch(f, "d/s");
    watch(f, "other");
    move(f, "d", "other/e");
    drain(f);
    touch(f, "other/e/x");
    touch(f, "other/e/s/y");
    wait_for(f, "other/e|x");
    wait_for(f, "other/e/s|y");
    assert_int_equal(f->overflows, 0);
}

static void test_a_rename_told_by_its_maker(void **state)
{
    struct fixture *f = *state;
    make_dir(f, "d");
    make_dir(f, "d/s");
    watch(f, "d/s"); /* the kernel tells nothing of d's rename, whose inside is not watched */
    move(f, "d", "e");
    origin_watch_renamed(f->o, "d", "e");
    touch(f, "e/s/y");
    wait_for(f, "e/s|y");
}

static void test_a_rename_told_by_both(void **state)
{
    struct fixture *f = *state;
    make_dir(f, "d");
    watch(f, "d");
    hold(f);
    move(f, "d", "e");
    origin_watch_renamed(f->o, "d", "e");
    make_dir(f, "d");
    watch(f, "d");
    set_hold(f, false);
    drain(f);
    touch(f, "e/x");
    touch(f, "d/y");
    wait_for(f, "e|x");
    wait_for(f, "d|y");
    assert_int_equal(f->overflows, 0);
}

static void test_a_new_directory_under_the_old_name(void **state)
{
    struct fixture *f = *state;
    make_dir(f, "d");
    watch(f, "d");
    hold(f);
    move(f, "d", "e");
    make_dir(f, "d");
    watch(f, "d");
    set_hold(f, false);
    drain(f);
    forget(f);
    touch(f, "e/x");
    touch(f, "d/y");
    wait_for(f, "e|x");
    wait_for(f, "d|y");
    assert_int_equal(seen(f, "d|x"), 0);
}

static void test_exchanged_directories(void **state)
{
    struct fixture *f = *state;
    make_dir(f, "d");
    make_dir(f, "e");
    watch(f, "d");
    watch(f, "e");
    assert_int_equal(renameat2(AT_FDCWD, tempdir_path(f->dir, "d"), AT_FDCWD,
                               tempdir_path(f->dir, "e"), RENAME_EXCHANGE),
                     0);
    drain(f);
    forget(f);
    touch(f, "e/x");
    touch(f, "d/y");
    wait_for(f, "e|x");
    wait_for(f, "d|y");
    assert_int_equal(f->overflows, 0);
}

static void test_a_directory_moved_away_is_silent(void **state)
{
    struct fixture *f = *state;
    char *outside = tempdir_new();
    make_dir(f, "d");
    watch(f, "d");
    assert_int_equal(rename(tempdir_path(f->dir, "d"), tempdir_path(outside, "d")), 0);
    wait_for(f, "|d");
    drain(f);
    forget(f);
    tempdir_write(outside, "d/x", "x");
    make_dir(f, "d");
    watch(f, "d");
    touch(f, "d/y");
    wait_for(f, "d|y");
    assert_int_equal(seen(f, "d|x"), 0);
    tempdir_remove(outside);
}

static void test_a_directory_lost_from_sight_is_an_overflow(void **state)
{
    struct fixture *f = *state;
    char *outside = tempdir_new();
    make_dir(f, "d");
    make_dir(f, "d/s");
    watch(f, "d/s");
    assert_int_equal(rename(tempdir_path(f->dir, "d/s"), tempdir_path(outside, "s")), 0);
    wait_for(f, NULL);
    tempdir_remove(outside);
}

static void test_a_deleted_directory_can_be_watched_again(void **state)
{
    struct fixture *f = *state;
    make_dir(f, "d");
    watch(f, "d");
    assert_int_equal(rmdir(tempdir_path(f->dir, "d")), 0);
    wait_for(f, "d|");
    make_dir(f, "d");
    watch(f, "d");
    touch(f, "d/x");
    wait_for(f, "d|x");
}

static void test_lost_events_are_an_overflow(void **state)
{
    struct fixture *f = *state;
    AUTO_FREE char *text = NULL;
    size_t size = 0;
    FILE *limit = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
    assert_true(limit && getline(&text, &size, limit) > 0);
    fclose(limit);
    long max = atol(text);
    if (max > 100000) {
        print_message("skipped: the kernel's queue takes %ld events\n", max);
        skip();
    }
    hold(f);
    for (long i = 0; i <= max / 2 + 1; i++) { /* two events each */
        assert_int_equal(mkdir(tempdir_path(f->dir, "t"), 0755), 0);
        assert_int_equal(rmdir(tempdir_path(f->dir, "t")), 0);
    }
    set_hold(f, false);
    wait_for(f, NULL);
}

/* In a user namespace of its own, where the limit is ours to set. Exit: 0 good, 77 can't. */
static int watch_to_the_limit(const char *dir)
{
    if (unshare(CLONE_NEWUSER) < 0)
        return 77;
    AUTO_CLOSE int limit = open("/proc/sys/user/max_inotify_watches", O_WRONLY);
    if (limit < 0 || write(limit, "1\n", 2) != 2)
        return 77;
    struct origin *o = tempdir_connect(dir);
    static struct fixture f = {.lock = PTHREAD_MUTEX_INITIALIZER,
                               .changed = PTHREAD_COND_INITIALIZER};
    if (origin_watch(o, note, &f) < 0 || origin_watch_dir(o, "") < 0)
        return 1;
    int err = origin_watch_dir(o, "d");
    if (err != -ENOSPC)
        return 2;
    tempdir_write(dir, "x", "x"); /* the first one goes on */
    wait_for(&f, "|x");
    origin_close(o);
    return 0;
}

static void test_the_kernels_limit_is_told(void **state)
{
    struct fixture *f = *state;
    make_dir(f, "d");
    assert_int_equal(chmod(f->dir, 0777), 0);
    pid_t pid = fork();
    if (pid == 0) { /* a new image: no thread of ours comes along */
        execl("/proc/self/exe", "limit", f->dir, NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("skipped: no user namespace with a limit of its own\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[0], "limit"))
        return watch_to_the_limit(argv[1]);
    const struct CMUnitTest tests[] = {
        T(test_each_kind_of_change_is_told),
        T(test_what_is_not_watched_is_silent),
        T(test_only_directories_are_watched),
        T(test_bursts_become_one_event),
        T(test_a_renamed_directory_tells_its_new_path),
        T(test_a_rename_told_by_its_maker),
        T(test_a_rename_told_by_both),
        T(test_a_new_directory_under_the_old_name),
        T(test_exchanged_directories),
        T(test_a_directory_moved_away_is_silent),
        T(test_a_directory_lost_from_sight_is_an_overflow),
        T(test_a_deleted_directory_can_be_watched_again),
        T(test_lost_events_are_an_overflow),
        T(test_the_kernels_limit_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
