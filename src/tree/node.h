/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What tree.h hides: the tree's own fields behind the public ones. Private to src/tree.
 *
 * A tree of 10^6 files is 10^6 of these structures, so they are kept small: what only a directory needs is in a Dir of its
 * own, made with the first child. */
#pragma once

#include "tree/arena.h"
#include "tree/tree.h"

/* A directory's children: runs in byte order one after the other (tree/children.c); nearly always there is one. */
typedef struct {
    TreeNode **nodes;
    uint32_t n, capacity;
    uint32_t n_dead; /* removed ones (parent NULL) whose place is not taken out yet */
    uint16_t depth;  /* of the directory; the root: 0 */
    uint16_t n_runs;
    uint32_t *ends; /* of all runs but the last; NULL when there never was a second */
} Dir;

typedef struct {
    TreeInode pub; /* first: a TreeInode * is an Inode * */
    uint32_t names;
    uint32_t number; /* scratch of the image and dump writers */
    union {
        Dir *dir; /* directories: NULL while there are no children */
        TreeNode *
            original; /* other files of several names: the one that a dump made the first; NULL: canonical */
    };
} Inode;

struct Tree {
    Arena arena;
    TreeNode *root;
    GHashTable *xattr_pairs; /* TreeXattr *: set of interned names with values */
    GHashTable *xattr_sets;  /* XattrSet *: set of interned sets */
    bool has_links;          /* some file has, or had, several names */
    bool overlay_xattrs;     /* trusted.overlay.* may be there: from a dump or an image */
};

static inline Inode *inode_of(const TreeNode *node)
{
    return (Inode *)node->inode;
}

/* NULL: not a directory, or one without children. */
static inline Dir *dir_of(const TreeNode *node)
{
    return S_ISDIR(node->inode->mode) ? inode_of(node)->dir : NULL;
}

/* Names in byte order, as the formats have them. */
int tree_compare_names(const char *a, const char *b);

/* --- tree/tree.c: names that are not NUL-terminated ------------------------------------------------------ */

TreeNode *node_child(const TreeNode *dir, const char *name, size_t length);
/* As tree_add, and as tree_link for an inode that is there already (whose nlink stays); errors name the file. */
TreeNode *node_add(Tree *tree, TreeNode *dir, const char *name, size_t length, Inode *inode,
                   GError **error);
Inode *inode_new(Tree *tree, uint32_t mode);
/* What the inode is, all but its names: metadata, content, marks. `from` may be of another tree. */
void inode_copy(Tree *tree, TreeInode *to, const TreeInode *from);

/* --- tree/children.c ------------------------------------------------------------------------------------- */

/* The place of a child of this name, perhaps a dead one. */
bool dir_find(const Dir *dir, const char *name, size_t length, uint32_t *out_at);
/* The name must not be there, dead or alive. */
void dir_insert(Tree *tree, Dir *dir, TreeNode *node);
void dir_take(Dir *dir, uint32_t at);
/* Takes it out later: removing any number costs no more than looking at the rest once. */
void dir_kill(Dir *dir, uint32_t at);
/* One run, nobody dead. */
void dir_settle(Dir *dir);
/* Room for `n` children in all, when it is known beforehand. */
void dir_reserve(Tree *tree, Dir *dir, uint32_t n);

/* --- tree/xattr.c ---------------------------------------------------------------------------------------- */

void xattr_tables_init(Tree *tree);
void xattr_tables_clear(Tree *tree);
/* The tree's own copy of a name with a value: equal ones are one pointer. */
const TreeXattr *xattr_intern(Tree *tree, const char *name, const void *value, size_t size);
/* `pairs` are interned; sorted in place, later ones of a name win. */
void xattr_set_interned(Tree *tree, TreeInode *inode, const TreeXattr **pairs, size_t n);
