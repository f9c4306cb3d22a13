/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ostree/stream_write.h"

#include "ostree/object.h"
#include "ostree/ostree.h"

static uint32_t add_object(void *data, const Digest *object)
{
    return store_stream_add_object(data, object);
}

/* A host tree is mounted as a root, and the deployment's etc and var, the boot and the physical root on it. In the
 * commit there must be no /etc beside /usr/etc (OSTree's deploy refuses even an empty one before 2023.6), so the image
 * gets what the commit lacks, as libostree's own images do. */
bool stream_add_mount_points(Tree *tree, GError **error)
{
    static const char *const names[] = {"boot", "etc", "sysroot", "var"};
    TreeNode *defaults = tree_lookup(tree, "usr/etc");
    if (!defaults || !S_ISDIR(defaults->inode->mode))
        return true;
    TreeNode *root = tree_root(tree);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (!tree_child(tree, root, names[i]) &&
            !tree_add(tree, root, names[i], S_IFDIR | 0755, error))
            return false;
    return true;
}

static bool write_image(StoreTxn *txn, const ObjectSet *set, const Digest *commit,
                        Digest *out_image, GError **error)
{
    CommitObject object;
    if (!object_set_find(set, commit, &object))
        return error_throw(error, ERROR_FAILED, "the commit object is missing");
    g_autoptr(GVariant) variant = object_parse(OBJECT_COMMIT_TYPE, object.data, object.size, error);
    Digest root, meta;
    if (!variant || !commit_root(variant, &root, &meta, error))
        return false;
    g_autoptr(Tree) tree = commit_data_tree(object_set_find, set, &root, &meta, error);
    return tree && stream_add_mount_points(tree, error) &&
           store_commit_image(txn, tree, out_image, error);
}

static bool write_stream(StoreTxn *txn, const ObjectSet *set, const Digest *commit,
                         const Digest *image, Digest *out_stream, GError **error)
{
    StoreStreamWriter *writer = store_stream_writer_new(txn, COMMIT_STREAM_TYPE, error);
    if (!writer)
        return false;
    g_autoptr(GBytes) body = object_set_format(set, commit, add_object, writer, error);
    size_t size;
    if (!body || !store_stream_write_inline(writer, g_bytes_get_data(body, &size),
                                            g_bytes_get_size(body), error)) {
        store_stream_abort(writer);
        return false;
    }
    store_stream_add_ref(writer, "composefs.image", image);
    return store_stream_finish(writer, out_stream, error);
}

bool stream_write_commit(StoreTxn *txn, const ObjectSet *set, const Digest *commit, const char *ref,
                         GError **error)
{
    DigestHex checksum = digest_hex(commit);
    Store *store = store_txn_store(txn);
    g_autofree char *id = g_strconcat("ostree-commit-", checksum.text, NULL);
    Digest image, stream;
    /* the image flushes; the stream names objects that are durable by then, so it is flushed alone */
    if (!write_image(txn, set, commit, &image, error) ||
        !write_stream(txn, set, commit, &image, &stream, error) || !store_txn_flush(txn, error) ||
        !store_link_stream(store, id, &stream, error))
        return error_prefix(error, "cannot store commit '%s'", checksum.text);
    return !ref || ostree_set_ref(store, ref, checksum.text, error);
}
