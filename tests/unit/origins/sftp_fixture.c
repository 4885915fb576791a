// SPDX-License-Identifier: Apache-2.0
#include "unit/origins/sftp_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "origins/url.h"

const struct origin_call sftp_endless = {.deadline_ns = CAIRN_NEVER};

struct origin_call sftp_call_for(int64_t ns)
{
    return (struct origin_call){.deadline_ns = cairn_now_ns() + ns};
}

const struct origin_config *sftp_fixture_config(const struct sshd *s, const char *path)
{
    static struct origin_url url;
    static struct origin_config cfg;
    static char scheme[] = "sftp", host[] = "127.0.0.1", copy[4096];
    snprintf(copy, sizeof copy, "%s", path);
    url = (struct origin_url){.scheme = scheme, .host = host, .port = s->port, .path = copy};
    cfg = (struct origin_config){
        .url = &url,
        .timeout_ns = 30 * NSEC_PER_SEC,
        .ssh_config = "/dev/null",
        .ssh_known_hosts = s->known_hosts,
        .ssh_identity = s->identity,
    };
    return &cfg;
}

struct origin *sftp_fixture_connect(const struct sshd *s)
{
    struct origin *o = NULL;
    char *why = NULL;
    struct origin_call c = sftp_call_for(30 * NSEC_PER_SEC);
    if (origin_driver_sftp.connect(&o, sftp_fixture_config(s, s->tree), &c, &why) == 0)
        return o;
    fprintf(stderr, "%s\n", why ? why : "?");
    abort();
}

int sftp_fixture_setup(void **state)
{
    unsetenv("SSH_AUTH_SOCK");
    struct sftp_fixture *f = calloc(1, sizeof *f);
    f->sshd = sshd_start("ed25519", NULL, NULL);
    if (!f->sshd) {
        fprintf(stderr, "skipped: no sshd could be started\n");
        exit(77);
    }
    f->o = sftp_fixture_connect(f->sshd);
    *state = f;
    return 0;
}

int sftp_fixture_teardown(void **state)
{
    struct sftp_fixture *f = *state;
    origin_close(f->o);
    sshd_stop(f->sshd);
    free(f);
    return 0;
}

int sftp_fixture_empty(void **state)
{
    struct sftp_fixture *f = *state;
    return sshd_run("rm -rf '%s' && mkdir -m 755 '%s'", f->sshd->tree, f->sshd->tree);
}

const char *sftp_tree_path(const struct sshd *s, const char *name)
{
    static char text[4][8192];
    static unsigned next;
    char *t = text[next++ % 4];
    snprintf(t, sizeof text[0], "%s/%s", s->tree, name);
    return t;
}

void sftp_fill(void *buf, size_t len, uint64_t off)
{
    uint8_t *p = buf;
    for (size_t i = 0; i < len; i++) {
        uint64_t at = off + i;
        p[i] = (uint8_t)((at / 8 * 0x9e3779b97f4a7c15u) >> (8 * (at % 8)));
    }
}

struct canceller {
    char stat_path[64]; /* of the thread to watch */
    atomic_bool running;
    atomic_bool flag;
    int64_t set_ns;
};

static bool sleeps(const char *stat_path)
{
    char text[256] = "";
    int fd = open(stat_path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, text, sizeof text - 1);
        text[n > 0 ? n : 0] = '\0';
        close(fd);
    }
    char *end = strrchr(text, ')');
    return end && end[1] == ' ' && end[2] == 'S';
}

static void *cancel_thread(void *arg)
{
    struct canceller *x = arg;
    while (!atomic_load(&x->running) || !sleeps(x->stat_path))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    x->set_ns = cairn_now_ns();
    atomic_store(&x->flag, true);
    return NULL;
}

int sftp_cancel_while(int (*fn)(void *arg, const struct origin_call *c), void *arg, int64_t *ret_ns)
{
    struct canceller x = {0};
    pthread_t thread;
    snprintf(x.stat_path, sizeof x.stat_path, "/proc/self/task/%d/stat", (int)gettid());
    if (pthread_create(&thread, NULL, cancel_thread, &x))
        abort();
    struct origin_call c = {.deadline_ns = CAIRN_NEVER, .cancelled = &x.flag};
    atomic_store(&x.running, true);
    int rc = fn(arg, &c);
    int64_t now = cairn_now_ns();
    pthread_join(thread, NULL);
    *ret_ns = now - x.set_ns;
    return rc;
}
