// SPDX-License-Identifier: Apache-2.0
#include "sync/extents.h"

#include <errno.h>
#include <stdlib.h>

/* A search tree by e.start and a heap by priority; random priorities keep it O(log n) deep. */
struct extent_node {
    struct cairn_extent e;
    uint64_t priority;
    struct extent_node *left;
    struct extent_node *right;
};

void cairn_extents_init(struct cairn_extents *map)
{
    *map = (struct cairn_extents){0};
}

/* Recursion here and below is as deep as the tree: tens of frames for millions of extents. */
static void free_tree(struct extent_node *n)
{
    while (n) {
        struct extent_node *right = n->right;
        free_tree(n->left);
        free(n);
        n = right;
    }
}

void cairn_extents_free(struct cairn_extents *map)
{
    free_tree(map->root);
    cairn_extents_init(map);
}

void cairn_extents_clear(struct cairn_extents *map)
{
    cairn_extents_free(map);
}

/* splitmix64: any state will do, so a zeroed map is a good one. */
static uint64_t next_random(struct cairn_extents *map)
{
    uint64_t z = map->random += 0x9e3779b97f4a7c15ULL;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

static uint64_t length(const struct cairn_extent *e)
{
    return e->end - e->start;
}

/* Splits into what starts before `at` and what starts at or behind it. */
static void split(struct extent_node *n, uint64_t at, struct extent_node **ret_before,
                  struct extent_node **ret_behind)
{
    while (n) {
        if (n->e.start < at) {
            *ret_before = n;
            ret_before = &n->right;
            n = n->right;
        } else {
            *ret_behind = n;
            ret_behind = &n->left;
            n = n->left;
        }
    }
    *ret_before = NULL;
    *ret_behind = NULL;
}

/* The reverse: all of `a` lies before all of `b`. */
static struct extent_node *join(struct extent_node *a, struct extent_node *b)
{
    struct extent_node *root = NULL;
    struct extent_node **at = &root;

    while (a && b) {
        if (a->priority > b->priority) {
            *at = a;
            at = &a->right;
            a = a->right;
        } else {
            *at = b;
            at = &b->left;
            b = b->left;
        }
    }
    *at = a ? a : b;
    return root;
}

static struct extent_node *first_of(struct extent_node *n)
{
    while (n && n->left)
        n = n->left;
    return n;
}

static struct extent_node *last_of(struct extent_node *n)
{
    while (n && n->right)
        n = n->right;
    return n;
}

/* These take a node out of a tree that has one. */
static struct extent_node *take_first(struct extent_node **tree)
{
    while ((*tree)->left)
        tree = &(*tree)->left;
    struct extent_node *n = *tree;
    *tree = n->right;
    n->right = NULL;
    return n;
}

static struct extent_node *take_last(struct extent_node **tree)
{
    while ((*tree)->right)
        tree = &(*tree)->right;
    struct extent_node *n = *tree;
    *tree = n->left;
    n->left = NULL;
    return n;
}

/* The last extent that starts at or before `off`, NULL if there is none. */
static struct extent_node *at_or_before(const struct cairn_extents *map, uint64_t off)
{
    struct extent_node *best = NULL;

    for (struct extent_node *n = map->root; n;) {
        if (n->e.start <= off) {
            best = n;
            n = n->right;
        } else {
            n = n->left;
        }
    }
    return best;
}

/* The first extent that ends behind `off`, NULL if there is none. */
static struct extent_node *ending_behind(const struct cairn_extents *map, uint64_t off)
{
    struct extent_node *best = NULL;

    for (struct extent_node *n = map->root; n;) {
        if (n->e.end > off) {
            best = n;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}

/* Gives `e` new bounds; what stays shows the same bytes as before. */
static void reshape(struct cairn_extents *map, struct cairn_extent *e, uint64_t start, uint64_t end)
{
    map->bytes[e->kind] += (end - start) - length(e);
    if (e->kind == CAIRN_EXTENT_CLONE)
        e->content_off += start - e->start;
    e->start = start;
    e->end = end;
}

/* Would `a`, made longer, say what `b` says? `b` starts in `a` or where it ends. */
static bool agrees(const struct cairn_extent *a, const struct cairn_extent *b)
{
    if (a->kind != b->kind || b->start > a->end)
        return false;
    return a->kind != CAIRN_EXTENT_CLONE ||
           (a->content == b->content && a->content_off + (b->start - a->start) == b->content_off);
}

static bool is_valid(const struct cairn_extent *e)
{
    if (e->start >= e->end)
        return false;
    if (e->kind == CAIRN_EXTENT_CLONE)
        return e->content_off <= UINT64_MAX - length(e);
    return e->kind == CAIRN_EXTENT_DATA || e->kind == CAIRN_EXTENT_ZERO;
}

static struct extent_node *new_node(struct cairn_extents *map)
{
    struct extent_node *n = malloc(sizeof(*n));
    if (n)
        *n = (struct extent_node){.priority = next_random(map)};
    return n;
}

static void account(struct cairn_extents *map, const struct cairn_extent *e)
{
    map->count++;
    map->bytes[e->kind] += length(e);
}

static void drop_node(struct cairn_extents *map, struct extent_node *n)
{
    map->count--;
    map->bytes[n->e.kind] -= length(&n->e);
    free(n);
}

static void drop_tree(struct cairn_extents *map, struct extent_node *n)
{
    while (n) {
        struct extent_node *right = n->right;
        drop_tree(map, n->left);
        drop_node(map, n);
        n = right;
    }
}

/*
 * The writes that files see most, on and on or again at the same place, need no memory and leave
 * the tree its shape: `e` agrees with the extent where it starts and reaches no other.
 */
static bool set_in_place(struct cairn_extents *map, const struct cairn_extent *e)
{
    struct extent_node *n = at_or_before(map, e->start);

    if (!n || !agrees(&n->e, e))
        return false;
    if (e->end <= n->e.end)
        return true;
    const struct extent_node *next = ending_behind(map, n->e.end);
    if (next && next->e.start <= e->end)
        return false;
    reshape(map, &n->e, n->e.start, e->end);
    return true;
}

int cairn_extents_set(struct cairn_extents *map, const struct cairn_extent *e)
{
    if (!is_valid(e))
        return -EINVAL;
    if (set_in_place(map, e))
        return 0;

    /* All memory first: from here on nothing fails. */
    struct extent_node *n = at_or_before(map, e->start);
    bool divides = n && n->e.start < e->start && n->e.end > e->end;
    struct extent_node *node = new_node(map);
    struct extent_node *rest = divides ? new_node(map) : NULL;
    if (!node || (divides && !rest)) {
        free(node);
        free(rest);
        return -ENOMEM;
    }

    struct extent_node *before, *covered, *behind;
    split(map->root, e->start, &before, &behind);
    split(behind, e->end, &covered, &behind);

    struct extent_node *prev = last_of(before);
    if (divides) {
        rest->e = prev->e;
        account(map, &rest->e);
    } else if (covered && last_of(covered)->e.end > e->end) {
        rest = take_last(&covered);
    }
    if (rest) {
        reshape(map, &rest->e, e->end, rest->e.end);
        behind = join(rest, behind);
    }
    drop_tree(map, covered);
    if (prev && prev->e.end > e->start)
        reshape(map, &prev->e, prev->e.start, e->start);

    if (prev && agrees(&prev->e, e)) {
        free(node);
        node = prev;
        reshape(map, &prev->e, prev->e.start, e->end);
    } else {
        node->e = *e;
        if (e->kind != CAIRN_EXTENT_CLONE)
            node->e.content = node->e.content_off = 0;
        account(map, &node->e);
        before = join(before, node);
    }
    const struct extent_node *next = first_of(behind);
    if (next && agrees(&node->e, &next->e)) {
        reshape(map, &node->e, node->e.start, next->e.end);
        drop_node(map, take_first(&behind));
    }
    map->root = join(before, behind);
    return 0;
}

bool cairn_extents_find(const struct cairn_extents *map, uint64_t off, struct cairn_extent *ret)
{
    const struct extent_node *n = at_or_before(map, off);

    if (n && n->e.end > off) {
        *ret = n->e;
        return true;
    }
    const struct extent_node *next = ending_behind(map, off);
    *ret = (struct cairn_extent){
        .start = n ? n->e.end : 0,
        .end = next ? next->e.start : UINT64_MAX,
        .kind = CAIRN_EXTENT_BASE,
    };
    return false;
}

bool cairn_extents_next(const struct cairn_extents *map, uint64_t off, struct cairn_extent *ret)
{
    const struct extent_node *n = ending_behind(map, off);

    if (!n)
        return false;
    *ret = n->e;
    return true;
}

void cairn_extents_truncate(struct cairn_extents *map, uint64_t size)
{
    struct extent_node *behind;

    split(map->root, size, &map->root, &behind);
    drop_tree(map, behind);
    struct extent_node *last = last_of(map->root);
    if (last && last->e.end > size)
        reshape(map, &last->e, last->e.start, size);
}
