/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A composed host tree as a container image. */
#include "base/hash.h"
#include "base/timestamp.h"
#include "oci/image.h"
#include "oci/var.h"
#include "ostree/ostree.h"

#include <string.h>

#define VAR_CONF     "usr/lib/tmpfiles.d/atomic-var.conf"
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Of the mapping below; part of the cache key. */
#define MAPPING_VERSION 2

/* On a host these are links into /var; in a container they are real, with what /var has for
 * them. */
static const struct {
    const char *path;
    uint32_t mode;
} real_dirs[] = {
    {"home", 0755}, {"root", 0700},  {"srv", 0755},       {"opt", 0755},
    {"mnt", 0755},  {"media", 0755}, {"usr/local", 0755},
};

/* What a container has mounts on, or every program expects. */
static const struct {
    const char *path;
    uint32_t mode;
} empty_dirs[] = {
    {"dev", 0755}, {"proc", 0755}, {"sys", 0755},       {"run", 0755}, {"tmp", 01777},
    {"etc", 0755}, {"var", 0755},  {"run/lock", 01777}, /* /var/lock is a link to it */
};

/* Only of use for booting. */
static const char *const boot_dirs[] = {"boot", "sysroot", "ostree"};

static bool ensure_dir(Tree *tree, const char *path, uint32_t mode, GError **error)
{
    TreeNode *node = tree_lookup(tree, path);
    if (node && !S_ISDIR(node->inode->mode)) {
        tree_remove(tree, node);
        node = NULL;
    }
    if (node)
        return true;
    node = tree_ensure_dir(tree, path, error);
    if (!node)
        return false;
    node->inode->mode = S_IFDIR | mode;
    return true;
}

/* The defaults in /usr/etc are what a host's /etc starts from. */
static bool move_etc(Tree *tree, GError **error)
{
    TreeNode *defaults = tree_lookup(tree, "usr/etc");
    if (!defaults || !S_ISDIR(defaults->inode->mode))
        return true;
    TreeNode *etc = tree_lookup(tree, "etc");
    if (etc)
        tree_remove(tree, etc);
    return tree_move(tree, defaults, tree_root(tree), "etc", error);
}

static bool populate_var(Store *store, Tree *tree, GError **error)
{
    const TreeNode *node = tree_lookup(tree, VAR_CONF);
    if (!node || !S_ISREG(node->inode->mode))
        return true;
    if (!node->inode->has_object)
        return var_populate(tree, (const char *)node->inode->content,
                            node->inode->content ? node->inode->size : 0, error);
    g_autoptr(GBytes) bytes = store_read_object(store, &node->inode->object, 16u << 20, error);
    return bytes &&
           var_populate(tree, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
}

static bool make_real(Tree *tree, const char *path, uint32_t mode, GError **error)
{
    TreeNode *node = tree_lookup(tree, path);
    if (!node || !S_ISLNK(node->inode->mode))
        return ensure_dir(tree, path, mode, error);
    TreeNode *target = tree_resolve(tree, path);
    tree_remove(tree, node);
    if (!target || target == tree_root(tree) || !S_ISDIR(target->inode->mode))
        return ensure_dir(tree, path, mode, error);
    g_autofree char *parent = g_path_get_dirname(path);
    g_autofree char *name = g_path_get_basename(path);
    TreeNode *dir = strcmp(parent, ".") == 0 ? tree_root(tree) : tree_lookup(tree, parent);
    return tree_move(tree, target, dir, name, error);
}

/* Metadata only: the bytes stay shared with whoever else refers to them. */
static void drop_kernels(Tree *tree)
{
    static const char *const names[] = {"vmlinuz", "initramfs.img"};
    TreeNode *modules = tree_lookup(tree, "usr/lib/modules"), *version;
    if (!modules)
        return;
    TREE_EACH_CHILD (modules, version) {
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
            TreeNode *kernel = tree_child(tree, version, names[i]);
            if (kernel)
                tree_remove(tree, kernel);
        }
    }
}

/* OSTree makes files of equal metadata and content one inode. In a container they are files of
 * their own again: writing to one must not be seen in the other when the image is unpacked
 * elsewhere. */
static bool separate(Tree *tree, TreeNode *dir, GError **error)
{
    for (size_t i = 0; i < tree_n_children(dir); i++) {
        TreeNode *node = tree_nth_child(dir, i);
        const TreeInode *inode = node->inode;
        if (S_ISDIR(inode->mode)) {
            if (!separate(tree, node, error))
                return false;
            continue;
        }
        if (inode->nlink < 2)
            continue;
        const char *name = node->name;
        tree_remove(tree, node); /* the inode has other names, so it stays */
        node = tree_add(tree, dir, name, inode->mode, error);
        if (!node)
            return false;
        tree_copy_metadata(tree, node->inode, inode);
        if (S_ISLNK(inode->mode))
            tree_set_target(tree, node->inode, inode->target);
        else if (inode->has_object)
            tree_set_object(tree, node->inode, &inode->object, inode->size);
        else if (inode->size)
            tree_set_inline(tree, node->inode, inode->content, inode->size);
    }
    return true;
}

static bool make_container_tree(Store *store, Tree *tree, GError **error)
{
    if (!separate(tree, tree_root(tree), error) || !move_etc(tree, error))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(boot_dirs); i++) {
        TreeNode *node = tree_lookup(tree, boot_dirs[i]);
        if (node)
            tree_remove(tree, node);
    }
    for (size_t i = 0; i < ARRAY_SIZE(empty_dirs); i++) {
        if (!ensure_dir(tree, empty_dirs[i].path, empty_dirs[i].mode, error))
            return false;
        tree_lookup(tree, empty_dirs[i].path)->inode->mode = S_IFDIR | empty_dirs[i].mode;
    }
    if (!populate_var(store, tree, error))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(real_dirs); i++)
        if (!make_real(tree, real_dirs[i].path, real_dirs[i].mode, error))
            return false;
    drop_kernels(tree);
    return true;
}

static char **list_of_one(const char *text)
{
    char **list = g_new0(char *, 2);
    list[0] = g_strdup(text);
    return list;
}

static OciConfig *make_config(Tree *tree, const char *checksum, GVariant *commit,
                              const char *diff_id)
{
    OciConfig *config = oci_config_new();
    g_free(config->created);
    config->created = timestamp_format(ostree_commit_timestamp(commit));
    oci_config_set_env(config, "PATH", DEFAULT_PATH);
    const char *shell = tree_resolve(tree, "bin/bash") ? "/bin/bash"
                        : tree_resolve(tree, "bin/sh") ? "/bin/sh"
                                                       : NULL;
    if (shell) {
        g_strfreev(config->cmd);
        config->cmd = list_of_one(shell);
    }
    g_hash_table_insert(config->labels, g_strdup("ostree.commit"), g_strdup(checksum));
    char *version = ostree_commit_version(commit);
    if (version)
        g_hash_table_insert(config->labels, g_strdup("org.opencontainers.image.version"), version);
    g_strfreev(config->diff_ids);
    config->diff_ids = list_of_one(diff_id);
    OciHistory *history = g_new0(OciHistory, 1);
    history->created = g_strdup(config->created);
    history->created_by = g_strdup_printf("tree:%s", checksum);
    g_ptr_array_add(config->history, history);
    return config;
}

static bool write_image(StoreTxn *txn, const char *checksum, char **out_id, GError **error)
{
    Store *store = store_txn_store(txn);
    g_autoptr(GVariant) commit = ostree_load_commit(store, checksum, error);
    g_autoptr(Tree) tree = commit ? ostree_load_tree(store, checksum, error) : NULL;
    if (!tree || !make_container_tree(store, tree, error))
        return false;
    g_autoptr(OciLayer) layer = oci_layer_write(txn, tree, error);
    Digest image;
    if (!layer || !store_commit_image(txn, tree, &image, error))
        return false;
    g_autoptr(OciConfig) config = make_config(tree, checksum, commit, layer->diff_id);
    const OciImageWrite what = {.config = config, .image = &image, .new_layer = layer};
    return oci_image_write(txn, &what, out_id, error);
}

/* The cache remembers which image a commit gave: hashing its layer reads all files. */
static char *cache_key(const char *checksum)
{
    g_autofree char *text = g_strdup_printf("tree %d %s", MAPPING_VERSION, checksum);
    Digest key;
    hash_sha256(text, strlen(text), &key);
    return g_strdup(digest_hex(&key).text);
}

OciImage *oci_image_from_tree(Store *store, const char *ref, GError **error)
{
    g_autofree char *checksum = NULL, *id = NULL;
    if (!ostree_resolve(store, ref, &checksum, error))
        return NULL;
    g_autofree char *key = cache_key(checksum);
    GError *why = NULL;
    g_autoptr(OciImage) image = oci_cache_get(store, key, &why);
    if (why) {
        g_propagate_error(error, why);
        return NULL;
    }
    g_autoptr(StoreTxn) txn = store_txn_begin(store, NULL, error);
    if (!txn)
        return NULL;
    if (!image) {
        if (!write_image(txn, checksum, &id, error)) {
            error_prefix(error, "cannot make an image of tree '%s'", ref);
            return NULL;
        }
        if (!oci_cache_set(store, key, id, error))
            return NULL;
        image = oci_image_open(store, id, error);
    }
    if (!image || !oci_image_keep(txn, image, error))
        return NULL;
    return g_steal_pointer(&image);
}
