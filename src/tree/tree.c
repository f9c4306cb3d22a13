/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: a directory's children are an array in byte order. Nearly all producers add names in order, which
 * is an append. Others go into a short sorted run at the end that is merged in when it is full or when somebody
 * looks at the order, so adding n names in any order costs O(n log n) compares and few moves.
 */
#include "tree/node.h"

#include <string.h>

enum { RUN_MAX = 512 }; /* unmerged children: bounds the memmove of an insertion */

int tree_compare_names(const char *a, const char *b)
{
    return strcmp(a, b); /* compares as unsigned bytes (C17 7.24.4) */
}

static TreeNode *node_new(Tree *tree, TreeNode *parent, const char *name, Inode *inode)
{
    TreeNode *node = arena_alloc(&tree->arena, sizeof *node);
    node->name = arena_string(&tree->arena, name, strlen(name));
    node->parent = parent;
    node->inode = &inode->pub;
    inode->names++;
    return node;
}

static Inode *inode_new(Tree *tree, uint32_t mode)
{
    Inode *inode = arena_alloc0(&tree->arena, sizeof *inode);
    inode->pub.mode = mode;
    inode->pub.nlink = 1;
    return inode;
}

Tree *tree_new(void)
{
    Tree *tree = g_new0(Tree, 1);
    arena_init(&tree->arena);
    xattr_tables_init(tree);
    tree->root = node_new(tree, NULL, "", inode_new(tree, S_IFDIR | 0755));
    return tree;
}

void tree_free(Tree *tree)
{
    if (!tree)
        return;
    xattr_tables_clear(tree);
    arena_clear(&tree->arena);
    g_free(tree);
}

TreeNode *tree_root(Tree *tree)
{
    return tree->root;
}

/* --- children ------------------------------------------------------------------------------------------- */

/* The position of `name` among the n pointers, or where it would be. */
static bool search(TreeNode *const *nodes, uint32_t n, const char *name, uint32_t *out_at)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = tree_compare_names(nodes[middle]->name, name);
        if (order == 0) {
            *out_at = middle;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *out_at = low;
    return false;
}

static bool find_child(const Inode *dir, const char *name, uint32_t *out_at)
{
    if (!dir->children) /* no arithmetic on a null pointer */
        return false;
    if (search(dir->children, dir->n_sorted, name, out_at))
        return true;
    uint32_t at;
    if (!search(dir->children + dir->n_sorted, dir->n_children - dir->n_sorted, name, &at))
        return false;
    *out_at = dir->n_sorted + at;
    return true;
}

/* Merges the run at the end: from the back, the run copied aside. */
static void dir_settle(Inode *dir)
{
    uint32_t run = dir->n_children - dir->n_sorted;
    if (run == 0)
        return;
    TreeNode *aside[RUN_MAX];
    memcpy(aside, dir->children + dir->n_sorted, run * sizeof *aside);
    uint32_t left = dir->n_sorted, to = dir->n_children;
    while (run > 0) {
        if (left > 0 && tree_compare_names(dir->children[left - 1]->name, aside[run - 1]->name) > 0)
            dir->children[--to] = dir->children[--left];
        else
            dir->children[--to] = aside[--run];
    }
    dir->n_sorted = dir->n_children;
}

static void insert_child(Tree *tree, Inode *dir, TreeNode *node)
{
    if (dir->n_children == dir->capacity) {
        uint32_t capacity = dir->capacity ? dir->capacity * 2 : 4;
        TreeNode **children = arena_alloc(&tree->arena, capacity * sizeof *children);
        if (dir->n_children)
            memcpy(children, dir->children, dir->n_children * sizeof *children);
        dir->children = children;
        dir->capacity = capacity;
    }
    uint32_t n = dir->n_children;
    if (n == dir->n_sorted &&
        (n == 0 || tree_compare_names(dir->children[n - 1]->name, node->name) < 0)) {
        dir->children[n] = node;
        dir->n_sorted++;
    } else {
        uint32_t at;
        search(dir->children + dir->n_sorted, n - dir->n_sorted, node->name, &at);
        at += dir->n_sorted;
        memmove(dir->children + at + 1, dir->children + at, (n - at) * sizeof *dir->children);
        dir->children[at] = node;
    }
    dir->n_children++;
    if (dir->n_children - dir->n_sorted == RUN_MAX)
        dir_settle(dir);
}

static void take_child(Inode *dir, TreeNode *node)
{
    uint32_t at;
    if (!find_child(dir, node->name, &at))
        return;
    memmove(dir->children + at, dir->children + at + 1,
            (dir->n_children - at - 1) * sizeof *dir->children);
    dir->n_children--;
    if (at < dir->n_sorted)
        dir->n_sorted--;
}

size_t tree_n_children(const TreeNode *dir)
{
    return inode_of(dir)->n_children;
}

TreeNode *tree_nth_child(const TreeNode *dir, size_t index)
{
    dir_settle(inode_of(dir));
    return inode_of(dir)->children[index];
}

TreeNode *tree_child(Tree *tree _unused, const TreeNode *dir, const char *name)
{
    uint32_t at;
    return find_child(inode_of(dir), name, &at) ? inode_of(dir)->children[at] : NULL;
}

/* --- paths ---------------------------------------------------------------------------------------------- */

char *tree_path(const TreeNode *node)
{
    if (!node->parent)
        return g_strdup("/");
    size_t size = 0;
    for (const TreeNode *n = node; n->parent; n = n->parent)
        size += strlen(n->name) + 1;
    char *path = g_malloc(size + 1), *end = path + size;
    *end = '\0';
    for (const TreeNode *n = node; n->parent; n = n->parent) {
        size_t length = strlen(n->name);
        end -= length;
        memcpy(end, n->name, length);
        *--end = '/';
    }
    return path;
}

/* The next component of *path into `name`; false at the end. A component that is too long for a name gives "/",
 * which no child has. */
static bool next_component(const char **path, char name[256])
{
    *path += strspn(*path, "/");
    size_t length = strcspn(*path, "/");
    if (length == 0)
        return false;
    if (length > 255) {
        strcpy(name, "/");
    } else {
        memcpy(name, *path, length);
        name[length] = '\0';
    }
    *path += length;
    return true;
}

TreeNode *tree_lookup(Tree *tree, const char *path)
{
    char name[256];
    TreeNode *node = tree->root;
    while (node && next_component(&path, name)) {
        if (strcmp(name, ".") == 0)
            continue;
        node = strcmp(name, "..") == 0 ? (node->parent ? node->parent : node)
                                       : tree_child(tree, node, name);
    }
    return node;
}

TreeNode *tree_resolve(Tree *tree, const char *path)
{
    g_autofree char *rest = g_strdup(path);
    const char *at = rest;
    char name[256];
    TreeNode *node = tree->root;
    int links = 0;
    while (next_component(&at, name)) {
        if (strcmp(name, ".") == 0)
            continue;
        if (strcmp(name, "..") == 0) {
            node = node->parent ? node->parent : node;
            continue;
        }
        TreeNode *child = tree_child(tree, node, name);
        if (!child)
            return NULL;
        if (!S_ISLNK(child->inode->mode)) {
            node = child;
            continue;
        }
        if (++links > 40 || !child->inode->target) /* as MAXSYMLINKS */
            return NULL;
        if (*child->inode->target == '/')
            node = tree->root;
        char *joined = g_strconcat(child->inode->target, "/", at, NULL);
        g_free(rest);
        at = rest = joined;
    }
    return node;
}

/* --- changes -------------------------------------------------------------------------------------------- */

static bool check_new_name(Tree *tree, TreeNode *dir, const char *name, GError **error)
{
    size_t length = strlen(name);
    if (length == 0 || length > 255 || strchr(name, '/') || strcmp(name, ".") == 0 ||
        strcmp(name, "..") == 0)
        return error_throw(error, ERROR_INVALID, "'%s' can't be the name of a file", name);
    int depth = 1;
    for (const TreeNode *n = dir; n->parent; n = n->parent)
        depth++;
    if (depth > TREE_DEPTH_MAX)
        return error_throw(error, ERROR_INVALID, "'%s' is nested too deeply", name);
    g_autofree char *path = NULL;
    if (!S_ISDIR(dir->inode->mode)) {
        path = tree_path(dir);
        return error_throw(error, ERROR_INVALID, "'%s' is not a directory", path);
    }
    if (tree_child(tree, dir, name)) {
        path = tree_path(dir);
        return error_throw(error, ERROR_EXISTS, "'%s%s%s' exists", path, dir->parent ? "/" : "",
                           name);
    }
    return true;
}

TreeNode *tree_add(Tree *tree, TreeNode *dir, const char *name, uint32_t mode, GError **error)
{
    if (!check_new_name(tree, dir, name, error))
        return NULL;
    TreeNode *node = node_new(tree, dir, name, inode_new(tree, mode));
    insert_child(tree, inode_of(dir), node);
    return node;
}

TreeNode *tree_link(Tree *tree, TreeNode *dir, const char *name, TreeNode *target, GError **error)
{
    if (S_ISDIR(target->inode->mode)) {
        g_autofree char *path = tree_path(target);
        return error_throw_null(error, ERROR_INVALID, "cannot link '%s': it is a directory", path);
    }
    if (!check_new_name(tree, dir, name, error))
        return NULL;
    TreeNode *node = node_new(tree, dir, name, inode_of(target));
    node->inode->nlink++;
    insert_child(tree, inode_of(dir), node);
    return node;
}

TreeNode *tree_ensure_dir(Tree *tree, const char *path, GError **error)
{
    char name[256];
    TreeNode *node = tree->root;
    while (next_component(&path, name)) {
        TreeNode *child = tree_child(tree, node, name);
        if (!child)
            child = tree_add(tree, node, name, S_IFDIR | 0755, error);
        if (!child)
            return NULL;
        if (!S_ISDIR(child->inode->mode)) {
            g_autofree char *taken = tree_path(child);
            return error_throw_null(error, ERROR_EXISTS, "'%s' exists and is not a directory",
                                    taken);
        }
        node = child;
    }
    return node;
}

/* One name less for the inode and for all those below. */
static void drop_names(TreeNode *node)
{
    Inode *inode = inode_of(node);
    for (uint32_t i = 0; i < inode->n_children; i++)
        drop_names(inode->children[i]);
    inode->n_children = inode->n_sorted = 0;
    inode->names--;
    if (inode->pub.nlink > 0)
        inode->pub.nlink--;
    if (inode->original == node)
        inode->original = NULL;
}

void tree_remove(Tree *tree _unused, TreeNode *node)
{
    if (!node->parent)
        return;
    take_child(inode_of(node->parent), node);
    drop_names(node);
    node->parent = NULL;
}

bool tree_move(Tree *tree, TreeNode *node, TreeNode *new_dir, const char *new_name, GError **error)
{
    for (const TreeNode *n = new_dir; n; n = n->parent)
        if (n == node)
            return error_throw(error, ERROR_INVALID, "cannot move a directory into itself");
    if (!check_new_name(tree, new_dir, new_name, error))
        return false;
    take_child(inode_of(node->parent), node);
    node->name = arena_string(&tree->arena, new_name, strlen(new_name));
    node->parent = new_dir;
    insert_child(tree, inode_of(new_dir), node);
    return true;
}
