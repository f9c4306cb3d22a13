/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* .deb files: an ar archive of debian-binary, control.tar.* and data.tar.*, read by libarchive in
 * one pass.
 *
 * Two readers are stacked: one for the ar, one that inflates the member at hand; the tar inside
 * goes to the store's own reader, so file bytes become objects as they stream by.
 */
#include "package/package.h"

#include <archive.h>
#include <archive_entry.h>
#include <string.h>

#define BLOCK_SIZE (256u << 10)
#define SUM_NAME   ".sha256" /* no control member is named so */

typedef struct {
    struct archive *outer; /* the ar, at a member */
    struct archive *inner; /* the member, inflated */
    char buffer[BLOCK_SIZE];
} Member;

char *package_ref(const Package *package)
{
    return g_strdup_printf("pkg/deb/%s/%s_%s", package->name, package->version, package->arch);
}

static ssize_t read_outer(struct archive *inner, void *data, const void **out_block)
{
    Member *member = data;
    *out_block = member->buffer;
    ssize_t n = archive_read_data(member->outer, member->buffer, sizeof member->buffer);
    if (n < 0)
        archive_set_error(inner, archive_errno(member->outer), "%s",
                          archive_error_string(member->outer));
    return n;
}

static ssize_t read_inner(void *data, void *buffer, size_t size, GError **error)
{
    Member *member = data;
    ssize_t n = archive_read_data(member->inner, buffer, size);
    if (n < 0)
        error_throw(error, ERROR_CORRUPT, "cannot inflate: %s",
                    archive_error_string(member->inner));
    return n;
}

static Tree *import_member(StoreTxn *txn, struct archive *outer, GError **error)
{
    g_autofree Member *member = g_malloc(sizeof *member);
    member->outer = outer;
    member->inner = archive_read_new();
    archive_read_support_filter_all(member->inner);
    archive_read_support_format_raw(member->inner);
    struct archive_entry *entry;
    Tree *tree = NULL;
    if (archive_read_open(member->inner, member, NULL, read_outer, NULL) != ARCHIVE_OK ||
        archive_read_next_header(member->inner, &entry) != ARCHIVE_OK)
        error_throw(error, ERROR_CORRUPT, "cannot inflate: %s",
                    archive_error_string(member->inner));
    else
        tree = store_import_tar(txn, read_inner, member, false, NULL, error);
    archive_read_free(member->inner);
    return tree;
}

/* --- the package's tree ----------------------------------------------------------------------- */

/* Control members are plain files in one directory; anything else in there is no business of
 * ours. */
static bool add_control(Tree *tree, Tree *control, GError **error)
{
    TreeNode *dir = tree_add(tree, tree_root(tree), PACKAGE_CONTROL_DIR, S_IFDIR | 0755, error);
    if (!dir)
        return false;
    TreeNode *member;
    TREE_EACH_CHILD (tree_root(control), member) {
        const TreeInode *from = member->inode;
        if (!S_ISREG(from->mode))
            continue;
        TreeNode *node = tree_add(tree, dir, member->name, from->mode, error);
        if (!node)
            return false;
        if (from->has_object)
            tree_set_object(tree, node->inode, &from->object, from->size);
        else
            tree_set_inline(tree, node->inode, from->content, from->size);
        tree_copy_metadata(tree, node->inode, from);
    }
    return true;
}

static bool add_sum(Tree *tree, const Package *package, GError **error)
{
    TreeNode *dir = tree_lookup(tree, PACKAGE_CONTROL_DIR);
    TreeNode *node = tree_add(tree, dir, SUM_NAME, S_IFREG | 0644, error);
    if (!node)
        return false;
    tree_set_inline(tree, node->inode, digest_hex(&package->sha256).text, DIGEST_HEX_SIZE - 1);
    return true;
}

static bool read_members(StoreTxn *txn, struct archive *outer, Tree **out_control, Tree **out_data,
                         GError **error)
{
    struct archive_entry *entry;
    int status;
    while ((status = archive_read_next_header(outer, &entry)) == ARCHIVE_OK) {
        const char *name = archive_entry_pathname(entry);
        Tree **out = g_str_has_prefix(name, "control.tar") ? out_control
                     : g_str_has_prefix(name, "data.tar")  ? out_data
                                                           : NULL;
        if (!out || *out)
            continue;
        *out = import_member(txn, outer, error);
        if (!*out)
            return error_prefix(error, "%s", name);
    }
    if (status != ARCHIVE_EOF)
        return error_throw(error, ERROR_CORRUPT, "%s", archive_error_string(outer));
    if (!*out_control || !*out_data)
        return error_throw(error, ERROR_CORRUPT, "it has no %s",
                           *out_control ? "data.tar" : "control.tar");
    return true;
}

Tree *package_import(StoreTxn *txn, const Package *package, const char *path, GError **error)
{
    struct archive *outer = archive_read_new();
    archive_read_support_format_ar(outer);
    g_autoptr(Tree) control = NULL;
    g_autoptr(Tree) data = NULL;
    bool ok = archive_read_open_filename(outer, path, BLOCK_SIZE) == ARCHIVE_OK ||
              error_throw(error, ERROR_CORRUPT, "%s", archive_error_string(outer));
    ok = ok && read_members(txn, outer, &control, &data, error) &&
         add_control(data, control, error) && add_sum(data, package, error);
    archive_read_free(outer);
    if (!ok) {
        error_prefix(error, "cannot unpack the package '%s' %s", package->name, package->version);
        return NULL;
    }
    return g_steal_pointer(&data);
}

Tree *package_load(Store *store, const Package *package)
{
    g_autofree char *ref = package_ref(package);
    Digest image;
    if (!store_resolve_image(store, ref, &image, NULL))
        return NULL;
    g_autoptr(Tree) tree = store_load_image(store, &image, NULL);
    TreeNode *node = tree ? tree_lookup(tree, PACKAGE_CONTROL_DIR "/" SUM_NAME) : NULL;
    if (!node || node->inode->size != DIGEST_HEX_SIZE - 1 || !node->inode->content ||
        memcmp(node->inode->content, digest_hex(&package->sha256).text, DIGEST_HEX_SIZE - 1) != 0)
        return NULL;
    return g_steal_pointer(&tree);
}
