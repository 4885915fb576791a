// SPDX-License-Identifier: Apache-2.0
#include "unit/origins/tempdir.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/util.h"
#include "origins/url.h"

const struct origin_call endless = {.deadline_ns = CAIRN_NEVER};

static void die(const char *what)
{
    perror(what);
    abort();
}

char *tempdir_new(void)
{
    const char *base = getenv("TMPDIR");
    char *dir;
    if (asprintf(&dir, "%s/cairn-test-XXXXXX", base ? base : "/tmp") < 0 || !mkdtemp(dir))
        die("mkdtemp");
    return dir;
}

static int remove_node(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void tempdir_remove(char *dir)
{
    nftw(dir, remove_node, 16, FTW_DEPTH | FTW_PHYS);
    free(dir);
}

const char *tempdir_path(const char *dir, const char *name)
{
    static _Thread_local char text[4][8192];
    static _Thread_local unsigned next;
    char *t = text[next++ % 4];
    snprintf(t, sizeof text[0], "%s/%s", dir, name);
    return t;
}

void tempdir_write(const char *dir, const char *name, const char *text)
{
    AUTO_CLOSE int fd = open(tempdir_path(dir, name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        die(name);
}

struct origin *tempdir_connect(const char *dir)
{
    struct origin_url *url;
    char *why = NULL;
    struct origin *o;
    if (origin_url_parse(dir, &url, &why) == 0) {
        struct origin_config cfg = {.url = url, .timeout_ns = 10 * NSEC_PER_SEC};
        int err = origin_connect(&o, &cfg, &why);
        origin_url_free(url);
        if (err == 0)
            return o;
    }
    fprintf(stderr, "%s: %s\n", dir, why ? why : "?");
    abort();
}
