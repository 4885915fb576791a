// SPDX-License-Identifier: Apache-2.0
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool stat_equal(const char *name, const struct stat *a, const struct stat *b,
                const struct tree_rules *rules)
{
    bool dir = S_ISDIR(a->st_mode);
    if (a->st_mode != b->st_mode)
        fprintf(stderr, "%s: mode %o, not %o\n", name, a->st_mode, b->st_mode);
    else if (a->st_uid != b->st_uid || a->st_gid != b->st_gid)
        fprintf(stderr, "%s: owner %u:%u, not %u:%u\n", name, a->st_uid, a->st_gid, b->st_uid,
                b->st_gid);
    else if (!dir && a->st_size != b->st_size)
        fprintf(stderr, "%s: size %lld, not %lld\n", name, (long long)a->st_size,
                (long long)b->st_size);
    else if ((dir ? rules->dir_links : rules->links) && a->st_nlink != b->st_nlink)
        fprintf(stderr, "%s: %lu links, not %lu\n", name, (unsigned long)a->st_nlink,
                (unsigned long)b->st_nlink);
    else
        return true;
    return false;
}

bool content_equal(const char *name, int a, int b)
{
    enum { BLOCK = 1 << 16 };
    static const char what[] = "content differs";
    char x[BLOCK], y[BLOCK];
    for (off_t off = 0;; off += BLOCK) {
        ssize_t n = pread(a, x, BLOCK, off), m = pread(b, y, BLOCK, off);
        if (n < 0 || m < 0) {
            fprintf(stderr, "%s: read at %lld: %s\n", name, (long long)off, strerror(errno));
            return false;
        }
        if (n != m) {
            fprintf(stderr, "%s: %s: %zd bytes at %lld, not %zd\n", name, what, n, (long long)off,
                    m);
            return false;
        }
        for (ssize_t i = 0; i < n; i++) {
            if (x[i] != y[i]) {
                fprintf(stderr, "%s: %s at %lld: %02x, not %02x\n", name, what,
                        (long long)(off + i), (unsigned char)x[i], (unsigned char)y[i]);
                return false;
            }
        }
        if (n < BLOCK)
            return true;
    }
}

static int listed(const struct dirent *e)
{
    return strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
           strcmp(e->d_name, ".cairnfs") != 0;
}

static bool files_equal(const char *a, const char *b)
{
    int fa = open(a, O_RDONLY | O_CLOEXEC), fb = open(b, O_RDONLY | O_CLOEXEC);
    bool same = fa >= 0 && fb >= 0;
    if (!same)
        fprintf(stderr, "%s: open: %s\n", a, strerror(errno));
    same = same && content_equal(a, fa, fb);
    close(fa);
    close(fb);
    return same;
}

static bool targets_equal(const char *a, const char *b)
{
    char x[PATH_MAX], y[PATH_MAX];
    ssize_t n = readlink(a, x, sizeof(x)), m = readlink(b, y, sizeof(y));
    if (n >= 0 && n == m && memcmp(x, y, (size_t)n) == 0)
        return true;
    fprintf(stderr, "%s: leads to %.*s, not %.*s\n", a, (int)n, x, (int)m, y);
    return false;
}

static bool node_equal(const char *a, const char *b, const struct tree_rules *rules)
{
    struct stat sa, sb;
    if (lstat(a, &sa) < 0 || lstat(b, &sb) < 0) {
        fprintf(stderr, "%s: stat: %s\n", a, strerror(errno));
        return false;
    }
    if (!stat_equal(a, &sa, &sb, rules))
        return false;
    if (S_ISDIR(sa.st_mode))
        return tree_equal(a, b, rules);
    if (S_ISREG(sa.st_mode))
        return files_equal(a, b);
    return !S_ISLNK(sa.st_mode) || targets_equal(a, b);
}

static void free_names(struct dirent **names, int n)
{
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

bool tree_equal(const char *a, const char *b, const struct tree_rules *rules)
{
    struct dirent **in_a = NULL, **in_b = NULL;
    int na = scandir(a, &in_a, listed, alphasort), nb = scandir(b, &in_b, listed, alphasort);
    bool same = na >= 0 && nb >= 0;
    if (!same)
        fprintf(stderr, "%s: listing: %s\n", a, strerror(errno));
    for (int i = 0, j = 0; i < na || j < nb;) {
        int order = i == na ? 1 : j == nb ? -1 : strcmp(in_a[i]->d_name, in_b[j]->d_name);
        if (order != 0) {
            fprintf(stderr, "%s/%s: %s\n", a, order < 0 ? in_a[i]->d_name : in_b[j]->d_name,
                    order < 0 ? "should not be there" : "missing");
            same = false;
            order < 0 ? i++ : j++;
            continue;
        }
        char pa[PATH_MAX], pb[PATH_MAX];
        snprintf(pa, sizeof(pa), "%s/%s", a, in_a[i]->d_name);
        snprintf(pb, sizeof(pb), "%s/%s", b, in_b[j]->d_name);
        same &= node_equal(pa, pb, rules);
        i++;
        j++;
    }
    free_names(in_a, na);
    free_names(in_b, nb);
    return same;
}
