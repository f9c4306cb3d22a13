/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The packages' trees become one, as if dpkg had unpacked them one after the other.
 *
 * The links of a merged /usr (/bin -> usr/bin) are there first, and a path is followed through
 * them, so a package that ships /bin/sh and one that ships /usr/bin/sh meet at one node.
 * inode->user is the Part that a file came from: when two packages have the same path, Replaces
 * decides, as it does for dpkg; else composing fails (maintainer scripts that divert files haven't
 * run yet).
 */
#include "compose/rootfs.h"

#include <string.h>

static const char *const merged_dirs[] = {"bin",   "sbin",   "lib",   "lib32",
                                          "lib64", "libo32", "libx32"};

typedef struct {
    Rootfs *rootfs;
    Part *part;
    GHashTable *links; /* the part's inodes with several names -> the node made first */
    GString *path;     /* of the file at hand, as the package names it */
    bool documentation;
} Merger;

static bool merge_children(Merger *merger, const TreeNode *from, TreeNode *to, GError **error);

/* dpkg's path-exclude for the directories that hold nothing but documentation; licences stay. */
static bool is_documentation(const char *path)
{
    static const char *const dirs[] = {"/usr/share/doc/", "/usr/share/man/", "/usr/share/info/",
                                       "/usr/share/lintian/", "/usr/share/doc-base/"};
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        if (g_str_has_prefix(path, dirs[i]))
            return !g_str_has_suffix(path, "/copyright");
    return false;
}

static bool add_file(Merger *merger, const TreeNode *from, TreeNode *to_dir, GError **error)
{
    Tree *tree = merger->rootfs->tree;
    TreeNode *first = g_hash_table_lookup(merger->links, from->inode);
    if (first)
        return tree_link(tree, to_dir, from->name, first, error) != NULL;
    TreeNode *node = tree_add(tree, to_dir, from->name, from->inode->mode, error);
    if (!node)
        return false;
    rootfs_copy_inode(tree, node->inode, from->inode);
    node->inode->user = merger->part;
    if (from->inode->nlink > 1)
        g_hash_table_insert(merger->links, from->inode, node);
    return true;
}

/* Two packages have the path. True: the new one takes it. */
static bool settle(Merger *merger, TreeNode *old, bool *out_take, GError **error)
{
    Part *owner = old->inode->user;
    if (!owner || part_replaces(merger->part, owner)) {
        if (owner)
            g_hash_table_add(owner->lost, g_strdup(merger->path->str));
        *out_take = true;
        return true;
    }
    if (part_replaces(owner, merger->part)) {
        g_hash_table_add(merger->part->lost, g_strdup(merger->path->str));
        *out_take = false;
        return true;
    }
    return error_throw(error, ERROR_INVALID,
                       "the packages '%s' and '%s' both have '%s', and neither replaces the other",
                       owner->package->name, merger->part->package->name, merger->path->str);
}

static bool merge_file(Merger *merger, const TreeNode *from, TreeNode *to_dir, GError **error)
{
    if (!merger->documentation && is_documentation(merger->path->str))
        return true;
    TreeNode *old = tree_child(merger->rootfs->tree, to_dir, from->name);
    if (!old)
        return add_file(merger, from, to_dir, error);
    /* a link where another package has a directory: dpkg keeps the directory */
    if (S_ISDIR(old->inode->mode))
        return S_ISLNK(from->inode->mode) ||
               error_throw(error, ERROR_INVALID,
                           "the package '%s' has a file where a directory is: '%s'",
                           merger->part->package->name, merger->path->str);
    /* our own links (/bin) and links that several packages share */
    if (S_ISLNK(old->inode->mode) && S_ISLNK(from->inode->mode) &&
        strcmp(old->inode->target, from->inode->target) == 0)
        return true;
    bool take = false;
    if (!settle(merger, old, &take, error))
        return false;
    if (!take)
        return true;
    tree_remove(merger->rootfs->tree, old);
    return add_file(merger, from, to_dir, error);
}

static bool merge_dir(Merger *merger, const TreeNode *from, TreeNode *to_dir, GError **error)
{
    Tree *tree = merger->rootfs->tree;
    TreeNode *to = tree_child(tree, to_dir, from->name);
    if (to && S_ISLNK(to->inode->mode)) {
        g_autofree char *path = tree_path(to);
        to = tree_resolve(tree, path);
        if (!to)
            return error_throw(error, ERROR_INVALID,
                               "the package '%s' has a directory where a dangling link is: '%s'",
                               merger->part->package->name, path);
    }
    if (!to) {
        to = tree_add(tree, to_dir, from->name, from->inode->mode, error);
        if (!to)
            return false;
        tree_copy_metadata(tree, to->inode, from->inode);
    }
    if (!S_ISDIR(to->inode->mode))
        return error_throw(error, ERROR_INVALID,
                           "the package '%s' has a directory where a file is: '%s'",
                           merger->part->package->name, merger->path->str);
    return merge_children(merger, from, to, error);
}

static bool merge_children(Merger *merger, const TreeNode *from, TreeNode *to, GError **error)
{
    TreeNode *child;
    TREE_EACH_CHILD (from, child) {
        if (!from->parent && strcmp(child->name, PACKAGE_CONTROL_DIR) == 0)
            continue;
        size_t length = merger->path->len;
        g_string_append_printf(merger->path, "/%s", child->name);
        bool ok = S_ISDIR(child->inode->mode) ? merge_dir(merger, child, to, error)
                                              : merge_file(merger, child, to, error);
        g_string_truncate(merger->path, length);
        if (!ok)
            return false;
    }
    return true;
}

/* lib64 and its kind only when a package has them. */
static bool add_merged_dirs(Rootfs *rootfs, GPtrArray *parts, GError **error)
{
    for (size_t i = 0; i < ARRAY_SIZE(merged_dirs); i++) {
        bool needed = i < 3;
        g_autofree char *inside = g_build_filename("usr", merged_dirs[i], NULL);
        for (unsigned p = 0; p < parts->len && !needed; p++) {
            Tree *tree = ((Part *)parts->pdata[p])->tree;
            needed = tree_lookup(tree, merged_dirs[i]) || tree_lookup(tree, inside);
        }
        if (needed && (!tree_ensure_dir(rootfs->tree, inside, error) ||
                       !rootfs_symlink(rootfs, merged_dirs[i], inside, error)))
            return false;
    }
    return true;
}

static bool merge_part(Rootfs *rootfs, Part *part, bool documentation, GError **error)
{
    g_autoptr(GHashTable) links = g_hash_table_new(NULL, NULL);
    g_autoptr(GString) path = g_string_new(NULL);
    Merger merger = {.rootfs = rootfs,
                     .part = part,
                     .links = links,
                     .path = path,
                     .documentation = documentation};
    return merge_children(&merger, tree_root(part->tree), tree_root(rootfs->tree), error);
}

bool merge_parts(Rootfs *rootfs, GPtrArray *parts, bool documentation, GError **error)
{
    if (!add_merged_dirs(rootfs, parts, error))
        return false;
    /* who makes a directory first decides on its mode and owner: base-files has the right ones */
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned i = 0; i < parts->len; i++) {
            Part *part = parts->pdata[i];
            bool base = strcmp(part->package->name, "base-files") == 0;
            if (base == (pass == 0) && !merge_part(rootfs, part, documentation, error))
                return false;
        }
    return true;
}
