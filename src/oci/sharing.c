/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How much of the images' bytes the host's own trees have too. Reads EROFS metadata only. */
#include "oci/image.h"

/* Digest -> size; the keys belong to the table. */
static void add_inode(GHashTable *objects, const TreeInode *inode)
{
    if (!inode->has_object || g_hash_table_contains(objects, &inode->object))
        return;
    g_hash_table_insert(objects, g_memdup2(&inode->object, sizeof inode->object),
                        g_memdup2(&inode->size, sizeof inode->size));
}

static bool add_node(TreeNode *node, void *data, GError **error)
{
    add_inode(data, node->inode);
    return true;
}

static GHashTable *objects_new(void)
{
    return g_hash_table_new_full(digest_hash, digest_equal_void, g_free, g_free);
}

static bool add_tree(Store *store, const Digest *image, GHashTable *objects, GError **error)
{
    g_autoptr(Tree) tree = store_load_image(store, image, error);
    return tree && tree_walk(tree, add_node, objects, error);
}

/* The objects of every deployed tree. */
static GHashTable *deployed_objects(Store *store, GError **error)
{
    g_autoptr(GHashTable) refs = store_list_refs(store, STORE_IMAGES, "deploy", error);
    if (!refs)
        return NULL;
    g_autoptr(GHashTable) objects = objects_new();
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    GHashTableIter iter;
    void *target;
    g_hash_table_iter_init(&iter, refs);
    while (g_hash_table_iter_next(&iter, NULL, &target)) {
        Digest image;
        if (!g_hash_table_add(seen, target) || !digest_parse(target, &image))
            continue;
        if (!add_tree(store, &image, objects, error))
            return NULL;
    }
    return g_steal_pointer(&objects);
}

static OciSharing compare(GHashTable *objects, GHashTable *deployed, uint64_t images)
{
    OciSharing sharing = {.images = images};
    GHashTableIter iter;
    void *object, *size;
    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, &object, &size)) {
        sharing.bytes += *(uint64_t *)size;
        if (g_hash_table_contains(deployed, object))
            sharing.shared_bytes += *(uint64_t *)size;
    }
    return sharing;
}

bool oci_image_sharing(Store *store, const OciImage *image, OciSharing *out_sharing, GError **error)
{
    g_autoptr(GHashTable) deployed = deployed_objects(store, error);
    g_autoptr(GHashTable) objects = objects_new();
    if (!deployed || !add_tree(store, &image->image, objects, error))
        return false;
    *out_sharing = compare(objects, deployed, 1);
    return true;
}

bool oci_sharing(Store *store, OciSharing *out_sharing, GError **error)
{
    g_autoptr(GHashTable) deployed = deployed_objects(store, error);
    g_autoptr(GPtrArray) images = deployed ? oci_image_list(store, false, error) : NULL;
    if (!images)
        return false;
    g_autoptr(GHashTable) objects = objects_new();
    for (unsigned i = 0; i < images->len; i++)
        if (!add_tree(store, &((OciImage *)images->pdata[i])->image, objects, error))
            return false;
    *out_sharing = compare(objects, deployed, images->len);
    return true;
}
