// SPDX-License-Identifier: Apache-2.0
#include "fs/loop.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/util.h"

#define THREADS    10
#define LOOK_LEAST (5 * NSEC_PER_SEC / 1000000)  /* a shorter look is none */
#define LOOK_MOST  (50 * NSEC_PER_SEC / 1000000) /* about what two wakeups take */

struct loop {
    struct cairn_fs *fs;
    sem_t ended;                 /* posted by each thread that ends */
    atomic_flag looking;         /* one thread is */
    _Atomic int64_t look_ns;     /* how long a look takes: 0, or LOOK_LEAST to LOOK_MOST */
    _Atomic int64_t answered_ns; /* when the last request was done */
};

/* Until a request is there or the time is over. */
static void look(struct loop *l)
{
    int64_t budget = atomic_load_explicit(&l->look_ns, memory_order_relaxed);
    if (!budget || atomic_flag_test_and_set(&l->looking))
        return;
    struct pollfd p = {.fd = fuse_session_fd(l->fs->se), .events = POLLIN};
    int64_t end = cairn_now_ns() + budget;
    while (poll(&p, 1, 0) == 0 && cairn_now_ns() < end)
        sched_yield();
    atomic_flag_clear(&l->looking);
}

/* A request came: would a look have found it? */
static void learn(struct loop *l)
{
    int64_t gap = cairn_now_ns() - atomic_load_explicit(&l->answered_ns, memory_order_relaxed);
    int64_t look_ns = atomic_load_explicit(&l->look_ns, memory_order_relaxed), before = look_ns;
    if (gap > LOOK_MOST)
        look_ns = look_ns / 2 < LOOK_LEAST ? 0 : look_ns / 2;
    else if (gap > look_ns)
        look_ns = look_ns ? (int64_t)min_u64((uint64_t)look_ns * 2, LOOK_MOST) : 2 * LOOK_LEAST;
    if (look_ns != before)
        atomic_store_explicit(&l->look_ns, look_ns, memory_order_relaxed);
}

static void free_buffer(void *arg)
{
    free(((struct fuse_buf *)arg)->mem);
}

static void *run(void *arg)
{
    struct loop *l = arg;
    struct fuse_session *se = l->fs->se;
    struct fuse_buf buf = {0};
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    pthread_cleanup_push(free_buffer, &buf);
    while (!fuse_session_exited(se)) {
        look(l);
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
        int n = fuse_session_receive_buf(se, &buf);
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            break;
        learn(l);
        fuse_session_process_buf(se, &buf);
        atomic_store_explicit(&l->answered_ns, cairn_now_ns(), memory_order_relaxed);
    }
    fuse_session_exit(se);
    sem_post(&l->ended);
    pthread_cleanup_pop(1);
    return NULL;
}

int cairn_loop_run(struct cairn_fs *fs)
{
    struct loop l = {.fs = fs};
    pthread_t thread[THREADS];
    sigset_t all, old;
    size_t count = 0;
    int err = 0;
    sem_init(&l.ended, 0, 0);
    /* Signals are for the thread that waits here. */
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    while (count < THREADS && !err) {
        err = -pthread_create(&thread[count], NULL, run, &l);
        if (!err)
            pthread_setname_np(thread[count++], "cairn-fuse");
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (count)
        err = 0;
    while (!err && !fuse_session_exited(fs->se))
        sem_wait(&l.ended);
    fuse_session_exit(fs->se);
    for (size_t i = 0; i < count; i++)
        pthread_cancel(thread[i]); /* those that wait for the kernel */
    for (size_t i = 0; i < count; i++)
        pthread_join(thread[i], NULL);
    sem_destroy(&l.ended);
    return err;
}
