// SPDX-License-Identifier: Apache-2.0
/* Locks between processes. A child tells its parent over a pipe what it has come to. */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct child {
    pid_t pid;
    int tells; /* we read what it tells */
    int goes;  /* we write to let it go on */
    int self_tells, self_goes;
};

/* True in the child, which ends with leave(). */
static bool child_start(struct child *c)
{
    int up[2], down[2];
    CHECK(pipe(up) == 0 && pipe(down) == 0);
    c->pid = fork();
    CHECK(c->pid >= 0);
    c->tells = up[0];
    c->self_tells = up[1];
    c->goes = down[1];
    c->self_goes = down[0];
    close(c->pid ? up[1] : up[0]);
    close(c->pid ? down[0] : down[1]);
    return c->pid == 0;
}

static void child_tell(struct child *c)
{
    CHECK(write(c->self_tells, "x", 1) == 1);
}

static void child_wait_go(struct child *c)
{
    char b;
    CHECK(read(c->self_goes, &b, 1) == 1);
}

static void wait_told(struct child *c)
{
    char b;
    CHECK(read(c->tells, &b, 1) == 1);
}

static void let_go(struct child *c)
{
    CHECK(write(c->goes, "x", 1) == 1);
}

static void child_join(struct child *c)
{
    int status;
    CHECK(waitpid(c->pid, &status, 0) == c->pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(c->tells);
    close(c->goes);
}

static int set_lock(int fd, int cmd, short type, off_t start, off_t len)
{
    struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return fcntl(fd, cmd, &fl);
}

/* Waits until the kernel shows the process asleep in a system call. */
static void wait_asleep(pid_t pid)
{
    for (int i = 0; i < 2000; i++) {
        char path[64], text[512];
        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        int fd = must_open(path, O_RDONLY, 0);
        ssize_t n = read(fd, text, sizeof(text) - 1);
        close(fd);
        CHECK(n > 0);
        text[n] = 0;
        const char *state = strrchr(text, ')');
        if (state && (state[2] == 'S' || state[2] == 'D'))
            return;
        struct timespec ms = {.tv_nsec = 5000000};
        nanosleep(&ms, NULL);
    }
    die("process %d never waits", (int)pid);
}

/* flock FILE: exclusive and shared locks between processes, blocking ones, freed by the end. */
void tool_flock(int argc, char **argv)
{
    struct child c;
    close(must_open(argv[0], O_RDWR | O_CREAT, 0644));
    if (child_start(&c)) {
        int fd = must_open(argv[0], O_RDWR, 0);
        CHECK(flock(fd, LOCK_EX) == 0);
        child_tell(&c);
        child_wait_go(&c);
        CHECK(flock(fd, LOCK_SH) == 0);
        child_tell(&c);
        child_wait_go(&c);
        CHECK(flock(fd, LOCK_UN) == 0 && flock(fd, LOCK_EX) == 0);
        child_tell(&c);
        child_wait_go(&c);
        exit(0);
    }
    int fd = must_open(argv[0], O_RDWR, 0), other = must_open(argv[0], O_RDONLY, 0);
    wait_told(&c);
    CHECK(flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
    CHECK(flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK);
    let_go(&c);
    wait_told(&c);
    CHECK(flock(fd, LOCK_SH | LOCK_NB) == 0);
    CHECK(flock(other, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
    CHECK(flock(fd, LOCK_UN) == 0);
    let_go(&c);
    wait_told(&c);
    CHECK(flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK);
    let_go(&c); /* it ends, holding the lock: this blocks until then and no longer */
    CHECK(flock(fd, LOCK_EX) == 0);
    child_join(&c);
    /* Two open files of one process exclude each other, too. */
    CHECK(flock(other, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
    close(fd);
    CHECK(flock(other, LOCK_EX) == 0);
    close(other);
}

static void on_alarm(int sig)
{
}

/* posixlock FILE: ranges, the tester's answer, waiting, waiting interrupted, freed by any close. */
void tool_posixlock(int argc, char **argv)
{
    struct child c;
    close(must_open(argv[0], O_RDWR | O_CREAT, 0644));
    if (child_start(&c)) {
        int fd = must_open(argv[0], O_RDWR, 0);
        CHECK(set_lock(fd, F_SETLK, F_WRLCK, 0, 100) == 0);
        CHECK(set_lock(fd, F_SETLK, F_RDLCK, 200, 100) == 0);
        child_tell(&c);
        child_wait_go(&c);
        CHECK(set_lock(fd, F_SETLK, F_UNLCK, 50, 50) == 0);
        child_tell(&c);
        child_wait_go(&c);
        /* POSIX: closing any descriptor of the file frees all locks of the process. */
        close(must_open(argv[0], O_RDONLY, 0));
        child_tell(&c);
        child_wait_go(&c);
        exit(0);
    }
    int fd = must_open(argv[0], O_RDWR, 0);
    wait_told(&c);
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    CHECK(fcntl(fd, F_GETLK, &fl) == 0);
    CHECK(fl.l_type == F_WRLCK && fl.l_pid == c.pid && fl.l_start == 0 && fl.l_len == 100);
    CHECK(set_lock(fd, F_SETLK, F_RDLCK, 99, 1) < 0 && (errno == EAGAIN || errno == EACCES));
    CHECK(set_lock(fd, F_SETLK, F_WRLCK, 100, 100) == 0);
    CHECK(set_lock(fd, F_SETLK, F_RDLCK, 200, 10) == 0);
    CHECK(set_lock(fd, F_SETLK, F_WRLCK, 250, 1) < 0 && (errno == EAGAIN || errno == EACCES));
    let_go(&c);
    wait_told(&c);
    CHECK(set_lock(fd, F_SETLK, F_WRLCK, 50, 50) == 0);
    struct sigaction sa = {.sa_handler = on_alarm}; /* no SA_RESTART */
    CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
    alarm(1);
    CHECK(set_lock(fd, F_SETLKW, F_WRLCK, 0, 10) < 0 && errno == EINTR);
    alarm(0);
    let_go(&c);
    CHECK(set_lock(fd, F_SETLKW, F_WRLCK, 0, 10) == 0);
    wait_told(&c);
    let_go(&c);
    child_join(&c);
    close(fd);
}

/* waiters FILE N: N processes wait for a lock, half flock, half fcntl; meanwhile the mount serves
 * others at once; then each gets the lock in its turn. */
void tool_waiters(int argc, char **argv)
{
    int n = (int)number(argv[1]);
    char posix[4096], probe[4096];
    snprintf(posix, sizeof(posix), "%s.posix", argv[0]);
    snprintf(probe, sizeof(probe), "%s.probe", argv[0]);
    int ffd = must_open(argv[0], O_RDWR | O_CREAT, 0644);
    int pfd = must_open(posix, O_RDWR | O_CREAT, 0644);
    CHECK(flock(ffd, LOCK_EX) == 0 && set_lock(pfd, F_SETLK, F_WRLCK, 0, 0) == 0);
    pid_t *pids = must_alloc(sizeof(*pids) * (size_t)n);
    for (int i = 0; i < n; i++) {
        pids[i] = fork();
        CHECK(pids[i] >= 0);
        if (pids[i] == 0) {
            close(ffd); /* the parent's flock is shared through this; its own open file is not */
            int fd = must_open(i % 2 ? argv[0] : posix, O_RDWR, 0);
            CHECK((i % 2 ? flock(fd, LOCK_EX) : set_lock(fd, F_SETLKW, F_WRLCK, 0, 0)) == 0);
            exit(0);
        }
    }
    for (int i = 0; i < n; i++)
        wait_asleep(pids[i]);
    for (int i = 0; i < 20; i++) {
        int fd = must_open(probe, O_RDWR | O_CREAT | O_TRUNC, 0644);
        char text[] = "served";
        must_pwrite(fd, text, sizeof(text), 0);
        CHECK(fsync(fd) == 0);
        CHECK(close(fd) == 0 && unlink(probe) == 0);
    }
    for (int i = 0; i < n; i++)
        CHECK(waitpid(pids[i], NULL, WNOHANG) == 0);
    CHECK(flock(ffd, LOCK_UN) == 0 && set_lock(pfd, F_SETLK, F_UNLCK, 0, 0) == 0);
    for (int i = 0; i < n; i++) {
        int status;
        CHECK(waitpid(pids[i], &status, 0) == pids[i]);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    free(pids);
    close(ffd);
    close(pfd);
}
