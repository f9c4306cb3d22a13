/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: a tree holds each (name, value) once and each set of them once. A tree of 100,000 labelled files has
 * perhaps 200 sets, and comparing or counting them is comparing pointers (the image writer relies on that).
 */
#include "tree/node.h"

#include <string.h>

typedef struct {
    size_t n;
    TreeXattr
        xattrs[]; /* copies of interned pairs: names and values are equal when their pointers are */
} XattrSet;

static unsigned hash_bytes(unsigned hash, const void *data, size_t size)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ p[i]) * 16777619u; /* FNV-1a */
    return hash;
}

static unsigned pair_hash(const void *data)
{
    const TreeXattr *pair = data;
    return hash_bytes(hash_bytes(2166136261u, pair->name, strlen(pair->name)), pair->value,
                      MIN(pair->size, 256));
}

static int pair_equal(const void *a, const void *b)
{
    const TreeXattr *x = a, *y = b;
    return x->size == y->size && strcmp(x->name, y->name) == 0 &&
           (x->size == 0 || memcmp(x->value, y->value, x->size) == 0);
}

static unsigned set_hash(const void *data)
{
    const XattrSet *set = data;
    unsigned hash = 2166136261u;
    for (size_t i = 0; i < set->n; i++)
        hash = hash_bytes(hash, &set->xattrs[i].value, sizeof set->xattrs[i].value);
    return hash;
}

static int set_equal(const void *a, const void *b)
{
    const XattrSet *x = a, *y = b;
    if (x->n != y->n)
        return false;
    for (size_t i = 0; i < x->n; i++)
        if (x->xattrs[i].value != y->xattrs[i].value || x->xattrs[i].name != y->xattrs[i].name)
            return false;
    return true;
}

void xattr_tables_init(Tree *tree)
{
    tree->xattr_pairs = g_hash_table_new(pair_hash, pair_equal);
    tree->xattr_sets = g_hash_table_new(set_hash, set_equal);
}

void xattr_tables_clear(Tree *tree)
{
    g_hash_table_unref(tree->xattr_pairs);
    g_hash_table_unref(tree->xattr_sets);
}

const TreeXattr *xattr_intern(Tree *tree, const char *name, const void *value, size_t size)
{
    TreeXattr key = {.name = name, .value = value, .size = size};
    TreeXattr *pair = g_hash_table_lookup(tree->xattr_pairs, &key);
    if (pair)
        return pair;
    pair = arena_alloc(&tree->arena, sizeof *pair);
    pair->name = arena_string(&tree->arena, name, strlen(name));
    /* never NULL, so that empty values differ by pointer like all others */
    pair->value = (const uint8_t *)arena_string(&tree->arena, value, size);
    pair->size = size;
    g_hash_table_add(tree->xattr_pairs, pair);
    return pair;
}

static int compare_pairs(const void *a, const void *b, void *data _unused)
{
    return strcmp((*(const TreeXattr *const *)a)->name, (*(const TreeXattr *const *)b)->name);
}

void xattr_set_interned(Tree *tree, TreeInode *inode, const TreeXattr **pairs, size_t n)
{
    inode->n_xattrs = 0;
    inode->xattrs = NULL;
    if (n == 0)
        return;
    for (size_t i = 1; i < n; i++)
        if (strcmp(pairs[i - 1]->name, pairs[i]->name) > 0) {
            g_qsort_with_data(pairs, (int)n, sizeof *pairs, compare_pairs, NULL); /* stable */
            break;
        }
    union {
        XattrSet set;
        char room[sizeof(XattrSet) + 8 * sizeof(TreeXattr)];
    } few;
    g_autofree XattrSet *many = n > 8 ? g_malloc(sizeof *many + n * sizeof *many->xattrs) : NULL;
    XattrSet *set = many ? many : &few.set;
    set->n = 0;
    for (size_t i = 0; i < n; i++) {
        bool again = set->n > 0 && strcmp(set->xattrs[set->n - 1].name, pairs[i]->name) == 0;
        set->xattrs[again ? set->n - 1 : set->n++] = *pairs[i];
    }
    XattrSet *known = g_hash_table_lookup(tree->xattr_sets, set);
    if (!known) {
        known = arena_copy(&tree->arena, set, sizeof *set + set->n * sizeof *set->xattrs);
        g_hash_table_add(tree->xattr_sets, known);
    }
    inode->n_xattrs = (uint32_t)known->n;
    inode->xattrs = known->xattrs;
}

void tree_set_xattrs(Tree *tree, TreeInode *inode, const TreeXattr *xattrs, size_t n)
{
    const TreeXattr *few[16];
    g_autofree const TreeXattr **many = n > ARRAY_SIZE(few) ? g_new(const TreeXattr *, n) : NULL;
    const TreeXattr **pairs = many ? many : few;
    for (size_t i = 0; i < n; i++)
        pairs[i] = xattr_intern(tree, xattrs[i].name, xattrs[i].value, xattrs[i].size);
    xattr_set_interned(tree, inode, pairs, n);
}

void tree_set_xattr(Tree *tree, TreeInode *inode, const char *name, const void *value, size_t size)
{
    size_t n = inode->n_xattrs;
    g_autofree TreeXattr *xattrs = g_new(TreeXattr, n + 1);
    if (n)
        memcpy(xattrs, inode->xattrs, n * sizeof *xattrs);
    xattrs[n] = (TreeXattr){.name = name, .value = value, .size = size};
    tree_set_xattrs(tree, inode, xattrs, n + 1);
}

void tree_remove_xattr(Tree *tree, TreeInode *inode, const char *name)
{
    g_autofree TreeXattr *xattrs = g_new(TreeXattr, inode->n_xattrs + 1);
    size_t n = 0;
    for (size_t i = 0; i < inode->n_xattrs; i++)
        if (strcmp(inode->xattrs[i].name, name) != 0)
            xattrs[n++] = inode->xattrs[i];
    if (n < inode->n_xattrs)
        tree_set_xattrs(tree, inode, xattrs, n);
}

const TreeXattr *tree_xattr(const TreeInode *inode, const char *name)
{
    for (size_t i = 0; i < inode->n_xattrs; i++)
        if (strcmp(inode->xattrs[i].name, name) == 0)
            return &inode->xattrs[i];
    return NULL;
}
