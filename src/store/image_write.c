/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/txn.h"

static bool keep_object(TreeNode *node, void *data, GError **error _unused)
{
    if (node->inode->has_object)
        store_txn_keep(data, &node->inode->object);
    return true;
}

bool store_commit_image(StoreTxn *txn, Tree *tree, Digest *out_image, GError **error)
{
    g_autoptr(GBytes) image = tree_write_image(tree, error);
    if (!image)
        return false;
    size_t size;
    const void *data = g_bytes_get_data(image, &size);
    Digest digest;
    if (!tree_walk(tree, keep_object, txn, error) ||
        !store_txn_put(txn, data, size, &digest, error) || !store_txn_flush(txn, error) ||
        !store_link_image(store_txn_store(txn), &digest, error))
        return false;
    *out_image = digest;
    return true;
}
