/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "compose/rootfs.h"

#include <string.h>

#define FILE_LIMIT (256u << 20) /* of files that are read whole */

char *rootfs_read(const Rootfs *rootfs, const TreeNode *node, size_t *out_size, GError **error)
{
    const TreeInode *inode = node->inode;
    *out_size = inode->size;
    if (!inode->has_object) {
        char *copy = g_malloc(inode->size + 1);
        if (inode->size)
            memcpy(copy, inode->content, inode->size);
        copy[inode->size] = '\0';
        return copy;
    }
    g_autoptr(GBytes) bytes =
        store_read_object(store_txn_store(rootfs->txn), &inode->object, FILE_LIMIT, error);
    if (!bytes)
        return NULL;
    const char *data = g_bytes_get_data(bytes, out_size);
    char *copy = g_malloc(*out_size + 1);
    memcpy(copy, data, *out_size);
    copy[*out_size] = '\0';
    return copy;
}

/* The directory that a path is in, with links inside the tree followed. */
static TreeNode *parent_dir(Rootfs *rootfs, const char *path, char **out_name, GError **error)
{
    g_autofree char *dir = g_path_get_dirname(path);
    *out_name = g_path_get_basename(path);
    TreeNode *node =
        strcmp(dir, ".") == 0 ? tree_root(rootfs->tree) : tree_resolve(rootfs->tree, dir);
    return node ? node : tree_ensure_dir(rootfs->tree, dir, error);
}

/* The directory with nothing of that name in it. */
static TreeNode *cleared(Rootfs *rootfs, const char *path, char **out_name, GError **error)
{
    TreeNode *dir = parent_dir(rootfs, path, out_name, error);
    TreeNode *old = dir ? tree_child(rootfs->tree, dir, *out_name) : NULL;
    if (old)
        tree_remove(rootfs->tree, old);
    return dir;
}

bool rootfs_write(Rootfs *rootfs, const char *path, uint32_t mode, const void *data, size_t size,
                  GError **error)
{
    g_autofree char *name = NULL;
    TreeNode *dir = cleared(rootfs, path, &name, error);
    TreeNode *node = dir ? tree_add(rootfs->tree, dir, name, S_IFREG | mode, error) : NULL;
    if (!node)
        return false;
    if (size <= TREE_INLINE_MAX) {
        tree_set_inline(rootfs->tree, node->inode, data, size);
        return true;
    }
    Digest object;
    if (!store_txn_put(rootfs->txn, data, size, &object, error))
        return error_prefix(error, "cannot store '%s'", path);
    tree_set_object(rootfs->tree, node->inode, &object, size);
    return true;
}

bool rootfs_write_text(Rootfs *rootfs, const char *path, uint32_t mode, const char *text,
                       GError **error)
{
    return rootfs_write(rootfs, path, mode, text, strlen(text), error);
}

bool rootfs_symlink(Rootfs *rootfs, const char *path, const char *target, GError **error)
{
    g_autofree char *name = NULL;
    TreeNode *dir = cleared(rootfs, path, &name, error);
    TreeNode *node = dir ? tree_add(rootfs->tree, dir, name, S_IFLNK | 0777, error) : NULL;
    if (!node)
        return false;
    tree_set_target(rootfs->tree, node->inode, target);
    return true;
}

bool rootfs_empty_dir(Rootfs *rootfs, const char *path, uint32_t mode, GError **error)
{
    g_autofree char *name = NULL;
    TreeNode *dir = cleared(rootfs, path, &name, error);
    return dir && tree_add(rootfs->tree, dir, name, S_IFDIR | mode, error) != NULL;
}

bool rootfs_move(Rootfs *rootfs, TreeNode *node, const char *path, GError **error)
{
    g_autofree char *name = NULL;
    TreeNode *dir = cleared(rootfs, path, &name, error);
    return dir && tree_move(rootfs->tree, node, dir, name, error);
}

void rootfs_copy_inode(Tree *tree, TreeInode *to, const TreeInode *from)
{
    to->rdev = from->rdev;
    if (S_ISLNK(from->mode))
        tree_set_target(tree, to, from->target);
    else if (S_ISREG(from->mode) && from->has_object)
        tree_set_object(tree, to, &from->object, from->size);
    else if (S_ISREG(from->mode))
        tree_set_inline(tree, to, from->content, from->size);
    tree_copy_metadata(tree, to, from);
}
