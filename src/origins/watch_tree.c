// SPDX-License-Identifier: Apache-2.0
#include "origins/watch_tree.h"

#include <errno.h>
#include <search.h>
#include <string.h>

#include "base/util.h"

struct watch_node {
    int wd; /* -1: only a step on the way to others */
    struct watch_node *parent;
    char *name;
    void *children; /* by name, of tsearch(3); without those that were displaced */
    size_t refs;    /* nodes whose parent this is, displaced ones too */
    bool attached;  /* among the children of its parent */
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct watch_node *)a)->name, ((const struct watch_node *)b)->name);
}

static int by_wd(const void *a, const void *b)
{
    int x = ((const struct watch_node *)a)->wd, y = ((const struct watch_node *)b)->wd;
    return (x > y) - (x < y);
}

static struct watch_node *new_node(const char *name, size_t len)
{
    struct watch_node *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->wd = -1;
    n->name = strndup(name, len);
    if (!n->name) {
        free(n);
        return NULL;
    }
    return n;
}

static void free_node(struct watch_node *n)
{
    free(n->name);
    free(n);
}

static void detach(struct watch_node *n)
{
    if (n->attached)
        tdelete(n, &n->parent->children, by_name);
    n->attached = false;
}

/* Frees `n` and then its ancestors, as far as they are of no use any more. */
static void prune(struct watch_node *n)
{
    while (n->parent && n->wd < 0 && n->refs == 0) {
        struct watch_node *parent = n->parent;
        detach(n);
        parent->refs--;
        free_node(n);
        n = parent;
    }
}

/* Puts `n`, which is nowhere, among the children of `parent`; the name has to be free. */
static int attach(struct watch_node *n, struct watch_node *parent)
{
    n->parent = parent;
    if (!tsearch(n, &parent->children, by_name)) {
        n->parent = NULL;
        return -ENOMEM;
    }
    n->attached = true;
    parent->refs++;
    return 0;
}

static struct watch_node *child(struct watch_node *dir, const char *name, size_t len)
{
    AUTO_FREE char *copy = strndup(name, len);
    if (!copy)
        return NULL;
    struct watch_node key = {.name = copy};
    struct watch_node **found = tfind(&key, &dir->children, by_name);
    return found ? *found : NULL;
}

/* The node at `path`, or NULL; with `make` it is made, and NULL means no memory. */
static struct watch_node *walk(struct watch_tree *t, const char *path, bool make)
{
    struct watch_node *n = t->root;
    while (*path) {
        size_t len = strcspn(path, "/");
        struct watch_node *next = child(n, path, len);
        if (!next) {
            next = make ? new_node(path, len) : NULL;
            if (next && attach(next, n) < 0) {
                free_node(next);
                next = NULL;
            }
            if (!next) {
                prune(n);
                return NULL;
            }
        }
        n = next;
        path += len + (path[len] == '/');
    }
    return n;
}

int watch_tree_init(struct watch_tree *t)
{
    struct watch_node *root = new_node("", 0);
    if (!root)
        return -ENOMEM;
    *t = (struct watch_tree){.root = root};
    return 0;
}

void watch_tree_free(struct watch_tree *t)
{
    while (t->by_wd) /* the root of a tsearch tree points to its datum */
        watch_tree_drop(t, (**(struct watch_node **)t->by_wd).wd);
    if (t->root)
        free_node(t->root);
    t->root = NULL;
}

struct watch_node *watch_tree_find(struct watch_tree *t, int wd)
{
    struct watch_node key = {.wd = wd};
    struct watch_node **found = tfind(&key, &t->by_wd, by_wd);
    return found ? *found : NULL;
}

static bool is_below(const struct watch_node *n, const struct watch_node *top)
{
    for (; n; n = n->parent)
        if (n == top)
            return true;
    return false;
}

int watch_tree_move_node(struct watch_tree *t, struct watch_node *n, const char *to)
{
    const char *slash = strrchr(to, '/');
    const char *name = slash ? slash + 1 : to;
    AUTO_FREE char *dir = strndup(to, slash ? (size_t)(slash - to) : 0);
    char *new_name = strdup(name);
    struct watch_node *parent = dir && new_name ? walk(t, dir, true) : NULL;
    if (!parent || !n->parent || !*name || is_below(parent, n)) {
        int err = !dir || !new_name || !parent ? -ENOMEM : -EINVAL;
        if (parent)
            prune(parent);
        free(new_name);
        return err;
    }
    struct watch_node *occupant = child(parent, name, strlen(name));
    if (occupant == n) {
        free(new_name);
        return 0;
    }
    if (occupant)
        detach(occupant);
    struct watch_node *old_parent = n->parent;
    char *old_name = n->name;
    detach(n);
    n->name = new_name;
    int err = attach(n, parent);
    if (err) { /* it stays where it was, displaced */
        n->name = old_name;
        n->parent = old_parent;
        free(new_name);
        prune(parent);
        return err;
    }
    free(old_name);
    old_parent->refs--;
    prune(old_parent);
    if (occupant)
        prune(occupant);
    return 0;
}

int watch_tree_move(struct watch_tree *t, const char *from, const char *to)
{
    struct watch_node *n = walk(t, from, false);
    return n ? watch_tree_move_node(t, n, to) : 0;
}

int watch_tree_set(struct watch_tree *t, const char *path, int wd)
{
    struct watch_node *held = watch_tree_find(t, wd);
    if (held)
        return held == t->root && !*path ? 0 : watch_tree_move_node(t, held, path);
    struct watch_node *n = walk(t, path, true);
    if (!n)
        return -ENOMEM;
    if (n->wd >= 0 && n->parent) { /* another directory had this path: it went elsewhere */
        struct watch_node *fresh = new_node(n->name, strlen(n->name));
        if (!fresh)
            return -ENOMEM;
        detach(n);
        int err = attach(fresh, n->parent);
        if (err) {
            free_node(fresh);
            return err;
        }
        n = fresh;
    } else if (n->wd >= 0) {
        tdelete(n, &t->by_wd, by_wd);
    }
    n->wd = wd;
    if (!tsearch(n, &t->by_wd, by_wd)) {
        n->wd = -1;
        prune(n);
        return -ENOMEM;
    }
    return 0;
}

char *watch_tree_path(const struct watch_node *n)
{
    size_t len = 0;
    for (const struct watch_node *p = n; p->parent; p = p->parent)
        len += strlen(p->name) + 1;
    char *path = malloc(len + 1);
    if (!path)
        return NULL;
    char *end = path + len;
    *end = '\0';
    for (; n->parent; n = n->parent) {
        size_t name = strlen(n->name);
        *--end = '/';
        end -= name;
        memcpy(end, n->name, name);
    }
    if (len)
        path[len - 1] = '\0'; /* the slash behind the last name */
    return path;
}

void watch_tree_drop(struct watch_tree *t, int wd)
{
    struct watch_node *n = watch_tree_find(t, wd);
    if (!n)
        return;
    tdelete(n, &t->by_wd, by_wd);
    n->wd = -1;
    prune(n);
}

struct collection {
    const struct watch_node *top;
    int *wds; /* NULL: only count */
    size_t count;
};

static void collect(const void *node, VISIT when, void *arg)
{
    struct collection *c = arg;
    const struct watch_node *n = *(struct watch_node *const *)node;
    if ((when != postorder && when != leaf) || !is_below(n, c->top))
        return;
    if (c->wds)
        c->wds[c->count] = n->wd;
    c->count++;
}

int *watch_tree_drop_all(struct watch_tree *t, struct watch_node *n, size_t *ret_count)
{
    struct collection c = {.top = n};
    twalk_r(t->by_wd, collect, &c);
    c.wds = malloc((c.count + 1) * sizeof *c.wds);
    if (!c.wds)
        return NULL;
    c.count = 0;
    twalk_r(t->by_wd, collect, &c);
    for (size_t i = 0; i < c.count; i++)
        watch_tree_drop(t, c.wds[i]);
    *ret_count = c.count;
    return c.wds;
}
