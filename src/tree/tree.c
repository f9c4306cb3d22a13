/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tree/node.h"

#include <string.h>

Inode *inode_new(Tree *tree, uint32_t mode)
{
    Inode *inode = arena_alloc0(&tree->arena, sizeof *inode);
    inode->pub.mode = mode;
    inode->pub.nlink = 1;
    return inode;
}

static TreeNode *node_new(Tree *tree, TreeNode *parent, const char *name, size_t length,
                          Inode *inode)
{
    TreeNode *node = arena_alloc(&tree->arena, sizeof *node);
    node->name = arena_string(&tree->arena, name, length);
    node->parent = parent;
    node->inode = &inode->pub;
    inode->names++;
    tree->has_links |= inode->names > 1;
    return node;
}

Tree *tree_new(void)
{
    Tree *tree = g_new0(Tree, 1);
    arena_init(&tree->arena);
    xattr_tables_init(tree);
    tree->root = node_new(tree, NULL, "", 0, inode_new(tree, S_IFDIR | 0755));
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

size_t tree_n_children(const TreeNode *node)
{
    const Dir *dir = dir_of(node);
    return dir ? dir->n - dir->n_dead : 0;
}

TreeNode *tree_nth_child(const TreeNode *node, size_t index)
{
    Dir *dir = dir_of(node);
    if (dir->n_runs > 1 || dir->n_dead > 0)
        dir_settle(dir);
    return dir->nodes[index];
}

TreeNode *node_child(const TreeNode *node, const char *name, size_t length)
{
    const Dir *dir = dir_of(node);
    uint32_t at;
    if (!dir || !dir_find(dir, name, length, &at) || !dir->nodes[at]->parent)
        return NULL;
    return dir->nodes[at];
}

TreeNode *tree_child(Tree *tree _unused, const TreeNode *dir, const char *name)
{
    return node_child(dir, name, strlen(name));
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

static Dir *make_dir(Tree *tree, TreeNode *node)
{
    Inode *inode = inode_of(node);
    if (!inode->dir) {
        inode->dir = arena_alloc0(&tree->arena, sizeof *inode->dir);
        inode->dir->n_runs = 1;
        inode->dir->depth = node->parent ? inode_of(node->parent)->dir->depth + 1 : 0;
    }
    return inode->dir;
}

static bool check_name(const char *name, size_t length, GError **error)
{
    if (length == 0 || length > 255 || memchr(name, '/', length) || memchr(name, '\0', length) ||
        (name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'))))
        return error_throw(error, ERROR_INVALID, "'%.*s' can't be the name of a file",
                           (int)MIN(length, 300), name);
    return true;
}

static bool check_dir(const TreeNode *dir, GError **error)
{
    if (S_ISDIR(dir->inode->mode))
        return true;
    g_autofree char *path = tree_path(dir);
    return error_throw(error, ERROR_INVALID, "'%s' is not a directory", path);
}

static bool throw_exists(const TreeNode *dir, const char *name, GError **error)
{
    g_autofree char *path = tree_path(dir);
    return error_throw(error, ERROR_EXISTS, "'%s%s%s' exists", path, dir->parent ? "/" : "", name);
}

/* Makes the node a child; its name is a good one. */
static bool attach(Tree *tree, TreeNode *node, TreeNode *parent, GError **error)
{
    Dir *dir = make_dir(tree, parent);
    if (dir->depth >= TREE_DEPTH_MAX)
        return error_throw(error, ERROR_INVALID, "'%s' is nested too deeply", node->name);
    uint32_t at;
    if (!dir_find(dir, node->name, strlen(node->name), &at)) {
        dir_insert(tree, dir, node);
    } else if (!dir->nodes[at]->parent) {
        dir->nodes[at] = node;
        dir->n_dead--;
    } else {
        return throw_exists(parent, node->name, error);
    }
    node->parent = parent;
    return true;
}

TreeNode *node_add(Tree *tree, TreeNode *dir, const char *name, size_t length, Inode *inode,
                   GError **error)
{
    if (!check_name(name, length, error) || !check_dir(dir, error))
        return NULL;
    TreeNode *node = node_new(tree, dir, name, length, inode);
    if (attach(tree, node, dir, error))
        return node;
    inode->names--;
    return NULL;
}

TreeNode *tree_add(Tree *tree, TreeNode *dir, const char *name, uint32_t mode, GError **error)
{
    return node_add(tree, dir, name, strlen(name), inode_new(tree, mode), error);
}

TreeNode *tree_link(Tree *tree, TreeNode *dir, const char *name, TreeNode *target, GError **error)
{
    if (S_ISDIR(target->inode->mode)) {
        g_autofree char *path = tree_path(target);
        return error_throw_null(error, ERROR_INVALID, "cannot link '%s': it is a directory", path);
    }
    TreeNode *node = node_add(tree, dir, name, strlen(name), inode_of(target), error);
    if (node)
        node->inode->nlink++;
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
    Dir *dir = dir_of(node);
    for (uint32_t i = 0; dir && i < dir->n; i++)
        if (dir->nodes[i]->parent)
            drop_names(dir->nodes[i]);
    if (dir) {
        dir->n = dir->n_dead = 0;
        dir->n_runs = 1;
    } else if (inode->original == node) {
        inode->original = NULL;
    }
    inode->names--;
    if (inode->pub.nlink > 0)
        inode->pub.nlink--;
}

static bool place_of(const TreeNode *node, Dir **out_dir, uint32_t *out_at)
{
    *out_dir = dir_of(node->parent);
    return dir_find(*out_dir, node->name, strlen(node->name), out_at);
}

void tree_remove(Tree *tree _unused, TreeNode *node)
{
    Dir *dir;
    uint32_t at;
    if (!node->parent)
        return;
    if (place_of(node, &dir, &at))
        dir_kill(dir, at);
    drop_names(node);
    node->parent = NULL;
}

/* The deepest directory with children below `node`, counted from it; sets nothing. */
static unsigned height(const TreeNode *node)
{
    const Dir *dir = dir_of(node);
    unsigned most = 0;
    for (uint32_t i = 0; dir && i < dir->n; i++) {
        unsigned below = dir->nodes[i]->parent ? 1 + height(dir->nodes[i]) : 0;
        most = MAX(most, below);
    }
    return most;
}

static void set_depth(TreeNode *node, uint16_t depth)
{
    Dir *dir = dir_of(node);
    if (!dir)
        return;
    dir->depth = depth;
    for (uint32_t i = 0; i < dir->n; i++)
        if (dir->nodes[i]->parent)
            set_depth(dir->nodes[i], (uint16_t)(depth + 1));
}

bool tree_move(Tree *tree, TreeNode *node, TreeNode *new_dir, const char *new_name, GError **error)
{
    size_t length = strlen(new_name);
    for (const TreeNode *n = new_dir; n; n = n->parent)
        if (n == node)
            return error_throw(error, ERROR_INVALID, "cannot move a directory into itself");
    if (!check_name(new_name, length, error) || !check_dir(new_dir, error))
        return false;
    if (make_dir(tree, new_dir)->depth + 1u + height(node) > TREE_DEPTH_MAX)
        return error_throw(error, ERROR_INVALID, "'%s' would be nested too deeply", new_name);
    if (node_child(new_dir, new_name, length))
        return throw_exists(new_dir, new_name, error);
    Dir *dir;
    uint32_t at;
    bool there = place_of(node, &dir, &at);
    g_assert(there);
    dir_take(dir, at);
    node->name = arena_string(&tree->arena, new_name, length);
    attach(tree, node, new_dir, NULL);
    set_depth(node, (uint16_t)(inode_of(new_dir)->dir->depth + 1));
    return true;
}
