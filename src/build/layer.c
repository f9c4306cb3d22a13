/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Paths in a layer that is being made over a base. */
#include "build/state.h"

#include <string.h>

#define LINKS_MAX 40 /* as the kernel's limit */

/* The components still to walk; a link's target is put in front. */
static void push_front(GQueue *queue, const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    for (unsigned i = g_strv_length(parts); i-- > 0;)
        g_queue_push_head(queue, g_strdup(parts[i]));
}

static TreeNode *base_node(const LayerDirs *dirs, const TreeNode *dir, const char *name)
{
    g_autofree char *parent = tree_path(dir);
    g_autofree char *path = g_build_filename(parent, name, NULL);
    return tree_lookup(dirs->base, path);
}

static TreeNode *add_dir(const LayerDirs *dirs, TreeNode *parent, const char *name,
                         const TreeNode *base, GError **error)
{
    TreeNode *node = tree_add(dirs->layer, parent, name, S_IFDIR | 0755, error);
    if (node && base) {
        tree_copy_metadata(dirs->layer, node->inode, base->inode);
    } else if (node) {
        node->inode->uid = dirs->uid;
        node->inode->gid = dirs->gid;
        node->inode->mtime = (int64_t)dirs->mtime;
    }
    return node;
}

/* One component down; links put their target into the queue and stay where they are, or go to
 * the root. */
static TreeNode *descend(const LayerDirs *dirs, TreeNode *dir, const char *name, GQueue *queue,
                         unsigned *links, GError **error)
{
    TreeNode *in_layer = tree_child(dirs->layer, dir, name);
    TreeNode *in_base = in_layer ? NULL : base_node(dirs, dir, name);
    TreeNode *node = in_layer ? in_layer : in_base;
    if (!node || S_ISDIR(node->inode->mode))
        return in_layer ? in_layer : add_dir(dirs, dir, name, in_base, error);
    g_autofree char *parent = tree_path(dir);
    if (!S_ISLNK(node->inode->mode))
        return error_throw_null(error, ERROR_INVALID, "'%s%s%s' is not a directory", parent,
                                strcmp(parent, "/") == 0 ? "" : "/", name);
    if (++*links > LINKS_MAX)
        return error_throw_null(error, ERROR_INVALID, "too many links at '%s'", name);
    push_front(queue, node->inode->target);
    return *node->inode->target == '/' ? tree_root(dirs->layer) : dir;
}

TreeNode *layer_dir(const LayerDirs *dirs, const char *path, GError **error)
{
    GQueue queue = G_QUEUE_INIT;
    push_front(&queue, path);
    TreeNode *dir = tree_root(dirs->layer);
    unsigned links = 0;
    while (dir && !g_queue_is_empty(&queue)) {
        g_autofree char *name = g_queue_pop_head(&queue);
        if (strcmp(name, "..") == 0)
            dir = dir->parent ? dir->parent : dir;
        else if (*name && strcmp(name, ".") != 0)
            dir = descend(dirs, dir, name, &queue, &links, error);
    }
    g_queue_clear_full(&queue, g_free);
    return dir;
}

char *layer_read_text(Store *store, Tree *tree, const char *path)
{
    const TreeNode *node = tree_resolve(tree, path);
    if (!node || !S_ISREG(node->inode->mode))
        return NULL;
    if (!node->inode->has_object)
        return g_strndup((const char *)node->inode->content,
                         node->inode->content ? node->inode->size : 0);
    g_autoptr(GBytes) bytes = store_read_object(store, &node->inode->object, 8u << 20, NULL);
    return bytes ? g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)) : NULL;
}

char *layer_path(const Stage *stage, const char *path)
{
    const char *working = *stage->config->working_dir ? stage->config->working_dir : "/";
    return *path == '/' ? g_strdup(path) : g_build_filename(working, path, NULL);
}
