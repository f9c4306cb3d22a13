/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One tree onto another: layers, and the special case of a copy (onto an empty tree). */
#include "tree/node.h"

typedef struct {
    Tree *base;
    GHashTable *linked; /* layer's inode of several names -> base's node of it */
    bool keep_marks;    /* a copy: whiteouts and opaque marks are content like any other */
    GError **error;
} Apply;

static bool apply_dir(Apply *apply, TreeNode *to, TreeNode *from);

static bool apply_file(Apply *apply, TreeNode *to_dir, TreeNode *from)
{
    TreeNode *old = tree_child(apply->base, to_dir, from->name);
    if (old)
        tree_remove(apply->base, old);
    if (from->inode->whiteout && !apply->keep_marks)
        return true;
    TreeNode *first = NULL;
    if (inode_of(from)->names > 1)
        first = g_hash_table_lookup(apply->linked, from->inode);
    TreeNode *node =
        first ? tree_link(apply->base, to_dir, from->name, first, apply->error)
              : tree_add(apply->base, to_dir, from->name, from->inode->mode, apply->error);
    if (!node)
        return false;
    if (!first) {
        inode_copy(apply->base, node->inode, from->inode);
        if (inode_of(from)->names > 1)
            g_hash_table_insert(apply->linked, from->inode, node);
    }
    if (inode_of(from)->original == from)
        inode_of(node)->original = node;
    return true;
}

static bool apply_child(Apply *apply, TreeNode *to_dir, TreeNode *from)
{
    if (!S_ISDIR(from->inode->mode))
        return apply_file(apply, to_dir, from);
    TreeNode *to = tree_child(apply->base, to_dir, from->name);
    if (to && !S_ISDIR(to->inode->mode)) {
        tree_remove(apply->base, to);
        to = NULL;
    }
    if (!to) {
        to = tree_add(apply->base, to_dir, from->name, from->inode->mode, apply->error);
        if (!to)
            return false;
        to->inode->implicit = true; /* there is no metadata yet that could be kept */
        tree_copy_metadata(apply->base, to->inode, from->inode);
    }
    return apply_dir(apply, to, from);
}

static bool apply_dir(Apply *apply, TreeNode *to, TreeNode *from)
{
    if (from->inode->opaque && !apply->keep_marks)
        while (tree_n_children(to) > 0)
            tree_remove(apply->base, tree_nth_child(to, tree_n_children(to) - 1));
    if (!from->inode->implicit) {
        tree_copy_metadata(apply->base, to->inode, from->inode);
        to->inode->implicit = false;
    }
    to->inode->opaque = apply->keep_marks && from->inode->opaque;
    TreeNode *child;
    TREE_EACH_CHILD (from, child)
        if (!apply_child(apply, to, child))
            return false;
    return true;
}

static bool apply_tree(Tree *base, Tree *layer, bool keep_marks, GError **error)
{
    g_autoptr(GHashTable) linked = g_hash_table_new(NULL, NULL);
    Apply apply = {.base = base, .linked = linked, .keep_marks = keep_marks, .error = error};
    base->overlay_xattrs |= layer->overlay_xattrs;
    return apply_dir(&apply, base->root, layer->root);
}

bool tree_apply(Tree *base, Tree *layer, GError **error)
{
    return apply_tree(base, layer, false, error);
}

static void restore_nlink(Tree *copy, TreeNode *to, TreeNode *from)
{
    to->inode->nlink = from->inode->nlink; /* a dump's counts need not be the number of names */
    TreeNode *child;
    TREE_EACH_CHILD (from, child)
        restore_nlink(copy, tree_child(copy, to, child->name), child);
}

Tree *tree_copy(Tree *tree)
{
    Tree *copy = tree_new();
    copy->root->inode->implicit = true;
    /* can't fail: the names were good and free in the tree */
    bool copied = apply_tree(copy, tree, true, NULL);
    g_assert(copied);
    copy->root->inode->implicit = tree->root->inode->implicit;
    restore_nlink(copy, copy->root, tree->root);
    return copy;
}
