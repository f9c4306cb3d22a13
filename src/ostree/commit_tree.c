/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A tree from a commit's objects (formats/composefs.md 4.2): times are zero, names with the same file object are hard
 * links. Equal subtrees make a small commit expand without bound, so depth and number of names are limited. */
#include "ostree/commit_data.h"
#include "ostree/object.h"

#include <string.h>

#define DEPTH_MAX 2000 /* PATH_MAX allows 2048 levels */
#define NAMES_MAX 20000000u

typedef struct {
    CommitFind find;
    const void *from;
    Tree *tree;
    GHashTable *files; /* Digest (owned copy) -> TreeNode * */
    unsigned depth, names;
} Builder;

typedef struct {
    Builder *builder;
    TreeNode *dir;
} Level;

static bool build_dir(Builder *builder, TreeNode *dir, const Digest *id, const Digest *meta,
                      GError **error);

static bool find(Builder *builder, const Digest *id, CommitObject *out_object, GError **error)
{
    return builder->find(builder->from, id, out_object) ||
           error_throw(error, ERROR_CORRUPT, "the commit lacks the object '%s'",
                       digest_hex(id).text);
}

static bool set_content(Tree *tree, TreeInode *inode, const ObjectFile *file,
                        const CommitObject *object, GError **error)
{
    size_t inside = object->size - file->header_size;
    if (S_ISLNK(file->mode)) {
        if (inside || object->object)
            return error_throw(error, ERROR_CORRUPT, "a symbolic link has content");
        tree_set_target(tree, inode, file->target);
    } else if (object->object) {
        if (inside || !file->size)
            return error_throw(error, ERROR_CORRUPT, "a file has content at two places");
        tree_set_object(tree, inode, object->object, file->size);
    } else {
        if (inside != file->size)
            return error_throw(error, ERROR_CORRUPT, "a file is not as long as its header says");
        if (inside)
            tree_set_inline(tree, inode, object->data + file->header_size, inside);
    }
    return true;
}

static bool build_file(Builder *builder, TreeNode *dir, const char *name, const Digest *id,
                       GError **error)
{
    TreeNode *same = g_hash_table_lookup(builder->files, id);
    if (same)
        return tree_link(builder->tree, dir, name, same, error) != NULL;
    CommitObject object;
    g_auto(ObjectFile) file = {0};
    if (!find(builder, id, &object, error) ||
        !object_parse_file(object.data, object.size, &file, error))
        return false;
    TreeNode *node = tree_add(builder->tree, dir, name, file.mode, error);
    if (!node)
        return false;
    node->inode->uid = file.uid;
    node->inode->gid = file.gid;
    g_hash_table_insert(builder->files, g_memdup2(id, sizeof *id), node);
    return set_content(builder->tree, node->inode, &file, &object, error) &&
           object_apply_xattrs(file.xattrs, builder->tree, node->inode, error);
}

static bool build_entry(const char *name, const Digest *id, const Digest *meta, void *data,
                        GError **error)
{
    Level *level = data;
    Builder *builder = level->builder;
    if (++builder->names > NAMES_MAX)
        return error_throw(error, ERROR_INVALID, "the commit has more than %u names", NAMES_MAX);
    bool ok;
    if (meta) {
        TreeNode *child = tree_add(builder->tree, level->dir, name, S_IFDIR | 0755, error);
        ok = child && build_dir(builder, child, id, meta, error);
    } else {
        ok = build_file(builder, level->dir, name, id, error);
    }
    return ok || error_prefix(error, "'%s'", name);
}

static bool build_dir(Builder *builder, TreeNode *dir, const Digest *id, const Digest *meta,
                      GError **error)
{
    CommitObject object;
    if (++builder->depth > DEPTH_MAX)
        return error_throw(error, ERROR_INVALID, "the commit's directories are nested too deep");
    if (!find(builder, meta, &object, error))
        return false;
    g_autoptr(GVariant) dirmeta =
        object_parse(OBJECT_DIRMETA_TYPE, object.data, object.size, error);
    if (!dirmeta || !object_apply_dirmeta(dirmeta, builder->tree, dir->inode, error) ||
        !find(builder, id, &object, error))
        return false;
    g_autoptr(GVariant) dirtree =
        object_parse(OBJECT_DIRTREE_TYPE, object.data, object.size, error);
    Level level = {.builder = builder, .dir = dir};
    if (!dirtree || !object_each_entry(dirtree, build_entry, &level, error))
        return false;
    builder->depth--;
    return true;
}

Tree *commit_data_tree(CommitFind find_object, const void *from, const Digest *root,
                       const Digest *meta, GError **error)
{
    g_autoptr(Tree) tree = tree_new();
    g_autoptr(GHashTable) files =
        g_hash_table_new_full(digest_hash, digest_equal_void, g_free, NULL);
    Builder builder = {.find = find_object, .from = from, .tree = tree, .files = files};
    if (!build_dir(&builder, tree_root(tree), root, meta, error))
        return NULL;
    return g_steal_pointer(&tree);
}

bool commit_root(GVariant *commit, Digest *out_root, Digest *out_meta, GError **error)
{
    g_autoptr(GVariant) root = g_variant_get_child_value(commit, 6);
    g_autoptr(GVariant) meta = g_variant_get_child_value(commit, 7);
    Digest a, b;
    if (!object_get_digest(root, &a) || !object_get_digest(meta, &b))
        return error_throw(error, ERROR_CORRUPT, "the commit object is malformed");
    *out_root = a;
    *out_meta = b;
    return true;
}
