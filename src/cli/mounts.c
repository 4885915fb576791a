// SPDX-License-Identifier: Apache-2.0
#include "cli/mounts.h"

#include <errno.h>
#include <libgen.h>
#include <string.h>

#include "base/options.h"
#include "base/util.h"

/* Undoes the kernel's \ooo for blank, tab, newline and backslash, in place. */
static void unescape(char *s)
{
    char *to = s;

    while (*s) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
            s[3] >= '0' && s[3] <= '7') {
            *to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 4;
        } else {
            *to++ = *s++;
        }
    }
    *to = '\0';
}

/* id parent major:minor root MOUNTPOINT options [tags...] - FSTYPE SOURCE superoptions */
static int parse_line(char *line, struct cairn_mount *ret)
{
    char *save = NULL, *mountpoint = NULL;
    char *word = strtok_r(line, " \n", &save);

    for (int i = 0; word && strcmp(word, "-") != 0; i++) {
        if (i == 4)
            mountpoint = word;
        word = strtok_r(NULL, " \n", &save);
    }
    char *fstype = strtok_r(NULL, " \n", &save);
    char *source = strtok_r(NULL, " \n", &save);
    if (!word || !mountpoint || !fstype || !source)
        return -EINVAL;
    unescape(mountpoint);
    unescape(source);
    struct cairn_mount m = {strdup(mountpoint), strdup(source), strdup(fstype)};
    if (!m.mountpoint || !m.source || !m.fstype) {
        free(m.mountpoint);
        free(m.source);
        free(m.fstype);
        return -ENOMEM;
    }
    *ret = m;
    return 0;
}

int cairn_mounts_parse(FILE *f, struct cairn_mounts *ret)
{
    struct cairn_mounts m = {0};
    AUTO_FREE char *line = NULL;
    size_t size = 0;

    while (getline(&line, &size, f) >= 0) {
        struct cairn_mount one;
        int r = parse_line(line, &one);
        if (r == -EINVAL)
            continue;
        struct cairn_mount *list = r ? NULL : reallocarray(m.list, m.count + 1, sizeof *list);
        if (!list) {
            cairn_mounts_clear(&m);
            return -ENOMEM;
        }
        m.list = list;
        m.list[m.count++] = one;
    }
    if (ferror(f)) {
        cairn_mounts_clear(&m);
        return -EIO;
    }
    *ret = m;
    return 0;
}

int cairn_mounts_read(struct cairn_mounts *ret)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");

    if (!f)
        return -errno;
    int r = cairn_mounts_parse(f, ret);
    fclose(f);
    return r;
}

void cairn_mounts_clear(struct cairn_mounts *m)
{
    for (size_t i = 0; i < m->count; i++) {
        free(m->list[i].mountpoint);
        free(m->list[i].source);
        free(m->list[i].fstype);
    }
    free(m->list);
    memset(m, 0, sizeof *m);
}

const struct cairn_mount *cairn_mounts_at(const struct cairn_mounts *m, const char *path)
{
    for (size_t i = m->count; i-- > 0;)
        if (!strcmp(m->list[i].mountpoint, path))
            return &m->list[i];
    return NULL;
}

bool cairn_mount_is_ours(const struct cairn_mount *m)
{
    return m && !strcmp(m->fstype, CAIRN_FSTYPE);
}

char *cairn_mountpoint_path(const char *path)
{
    char *full = realpath(path, NULL);

    /* A dead mount at the end of the path answers nothing: resolve what leads to it. */
    if (full || (errno != ENOTCONN && errno != EACCES && errno != EIO && errno != ETIMEDOUT))
        return full;
    int saved = errno;
    AUTO_FREE char *a = strdup(path), *b = strdup(path);
    if (!a || !b)
        return NULL;
    AUTO_FREE char *parent = realpath(dirname(a), NULL);
    const char *name = basename(b);
    if (!parent || !strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, "/")) {
        errno = saved;
        return NULL;
    }
    return cairn_text("%s/%s", strcmp(parent, "/") ? parent : "", name);
}

bool cairn_path_within(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    if (n == 1) /* "/" */
        return true;
    return !strncmp(path, dir, n) && (path[n] == '/' || !path[n]);
}
