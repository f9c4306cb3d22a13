/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What tree.h hides: the tree's own fields behind the public ones. Private to src/tree. */
#pragma once

#include "tree/arena.h"
#include "tree/tree.h"

typedef struct {
    TreeInode pub; /* first: a TreeInode * is an Inode * */
    uint32_t names;
    uint32_t number; /* scratch of the image writer */
    /* Directories: the first n_sorted children in byte order, behind them a short run in byte order of its own
     * that was added since (dir_settle merges). Lookups search both runs. */
    TreeNode **children;
    uint32_t n_children, n_sorted, capacity;
    /* files of several names: the name that a dump made the first; NULL: canonical */
    TreeNode *original;
} Inode;

struct Tree {
    Arena arena;
    TreeNode *root;
    GHashTable *xattr_pairs; /* TreeXattr *: set of interned names with values */
    GHashTable *xattr_sets;  /* XattrSet *: set of interned sets */
    bool overlay_xattrs;     /* trusted.overlay.* may be there: from a dump or an image */
};

static inline Inode *inode_of(const TreeNode *node)
{
    return (Inode *)node->inode;
}

/* Names in byte order, as the formats have them. */
int tree_compare_names(const char *a, const char *b);

/* What the inode is, all but its names: metadata, content, marks. `from` may be of another tree. */
void inode_copy(Tree *tree, TreeInode *to, const TreeInode *from);

/* tree/xattr.c */
void xattr_tables_init(Tree *tree);
void xattr_tables_clear(Tree *tree);
/* The tree's own copy of a name with a value: equal ones are one pointer. */
const TreeXattr *xattr_intern(Tree *tree, const char *name, const void *value, size_t size);
/* `pairs` are interned; sorted here, later ones of a name win. */
void xattr_set_interned(Tree *tree, TreeInode *inode, const TreeXattr **pairs, size_t n);
