/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tree/node.h"

#include <string.h>

static bool walk(TreeNode *node, TreeVisit visit, void *data, GError **error)
{
    if (!visit(node, data, error))
        return false;
    TreeNode *child;
    TREE_EACH_CHILD (node, child)
        if (!walk(child, visit, data, error))
            return false;
    return true;
}

bool tree_walk(Tree *tree, TreeVisit visit, void *data, GError **error)
{
    return walk(tree_root(tree), visit, data, error);
}

/* --- differences ---------------------------------------------------------------------------------------- */

typedef struct {
    bool with_times;
    TreeDiffVisit visit;
    void *data;
    GError **error;
} Diff;

static bool same_xattrs(const TreeInode *a, const TreeInode *b)
{
    if (a->n_xattrs != b->n_xattrs)
        return false;
    for (size_t i = 0; i < a->n_xattrs; i++) {
        const TreeXattr *x = &a->xattrs[i], *y = &b->xattrs[i];
        if (strcmp(x->name, y->name) != 0 || x->size != y->size ||
            (x->size && memcmp(x->value, y->value, x->size) != 0))
            return false;
    }
    return true;
}

static bool same_content(const TreeInode *a, const TreeInode *b)
{
    switch (a->mode & S_IFMT) {
    case S_IFREG:
        if (a->size != b->size || a->has_object != b->has_object || !a->content != !b->content)
            return false;
        if (a->content)
            return memcmp(a->content, b->content, a->size) == 0;
        return !a->has_object || digest_equal(&a->object, &b->object);
    case S_IFLNK:
        return strcmp(a->target, b->target) == 0;
    case S_IFCHR:
    case S_IFBLK:
        return a->rdev == b->rdev;
    default:
        return true;
    }
}

unsigned tree_compare(const TreeInode *a, const TreeInode *b)
{
    if ((a->mode ^ b->mode) & S_IFMT)
        return TREE_DIFFERS_TYPE;
    unsigned differs = 0;
    if (a->mode != b->mode)
        differs |= TREE_DIFFERS_MODE;
    if (a->uid != b->uid || a->gid != b->gid)
        differs |= TREE_DIFFERS_OWNER;
    if (!same_content(a, b) || a->whiteout != b->whiteout || a->opaque != b->opaque)
        differs |= TREE_DIFFERS_CONTENT;
    if (!same_xattrs(a, b))
        differs |= TREE_DIFFERS_XATTRS;
    if (a->mtime != b->mtime || a->mtime_nsec != b->mtime_nsec)
        differs |= TREE_DIFFERS_MTIME;
    return differs;
}

static bool report_added(const Diff *diff, TreeNode *node)
{
    if (!diff->visit(TREE_ADDED, NULL, node, diff->data, diff->error))
        return false;
    TreeNode *child;
    TREE_EACH_CHILD (node, child)
        if (!report_added(diff, child))
            return false;
    return true;
}

static bool report_removed(const Diff *diff, TreeNode *node)
{
    return diff->visit(TREE_REMOVED, node, NULL, diff->data, diff->error);
}

static bool diff_nodes(const Diff *diff, TreeNode *old, TreeNode *new)
{
    if (S_ISDIR(old->inode->mode) != S_ISDIR(new->inode->mode))
        return report_removed(diff, old) && report_added(diff, new);
    unsigned ignored = diff->with_times ? 0 : TREE_DIFFERS_MTIME;
    if ((tree_compare(old->inode, new->inode) & ~ignored) != 0 &&
        !diff->visit(TREE_MODIFIED, old, new, diff->data, diff->error))
        return false;
    size_t i = 0, j = 0;
    while (i < tree_n_children(old) || j < tree_n_children(new)) {
        TreeNode *a = i < tree_n_children(old) ? tree_nth_child(old, i) : NULL;
        TreeNode *b = j < tree_n_children(new) ? tree_nth_child(new, j) : NULL;
        int order = !a ? 1 : !b ? -1 : tree_compare_names(a->name, b->name);
        bool more = order < 0   ? report_removed(diff, a)
                    : order > 0 ? report_added(diff, b)
                                : diff_nodes(diff, a, b);
        if (!more)
            return false;
        i += order <= 0;
        j += order >= 0;
    }
    return true;
}

bool tree_diff(Tree *old, Tree *new, bool with_times, TreeDiffVisit visit, void *data,
               GError **error)
{
    Diff diff = {.with_times = with_times, .visit = visit, .data = data, .error = error};
    return diff_nodes(&diff, tree_root(old), tree_root(new));
}
