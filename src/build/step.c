/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From one image to the next, and the cache that remembers it. */
#include "build/state.h"

#include "base/hash.h"
#include "base/timestamp.h"

#include <string.h>

/* What the key covers and how; a change makes old entries unfound. */
#define KEY_VERSION "step 1"

OciImage *step_open_image(Build *build, const char *name, GError **error)
{
    if (g_str_has_prefix(name, "tree:"))
        return oci_image_from_tree(build->store, name + strlen("tree:"), error);
    return oci_image_open(build->store, name, error);
}

Tree *step_tree(Build *build, Stage *stage, GError **error)
{
    if (!stage->tree)
        stage->tree =
            stage->image ? store_load_image(build->store, &stage->image->image, error) : tree_new();
    return stage->tree;
}

char *step_key(const Stage *stage, const char *const *parts)
{
    g_autoptr(HashSha256) hash = hash_sha256_new();
    hash_sha256_update(hash, KEY_VERSION, sizeof KEY_VERSION);
    const char *parent = stage->image ? stage->image->id : "scratch";
    hash_sha256_update(hash, parent, strlen(parent) + 1);
    for (; *parts; parts++)
        hash_sha256_update(hash, *parts, strlen(*parts) + 1);
    Digest key;
    hash_sha256_finish(hash, &key);
    return g_strdup(digest_hex(&key).text);
}

bool step_use(Stage *stage, OciImage *image, GError **error)
{
    OciConfig *config = oci_config_copy(image->config);
    if (!config) {
        oci_image_free(image);
        return error_throw(error, ERROR_CORRUPT, "bad image config");
    }
    oci_image_free(stage->image);
    oci_config_free(stage->config);
    stage->image = image;
    stage->config = config;
    return true;
}

static void forget_tree(Stage *stage)
{
    if (stage->tree)
        tree_free(stage->tree);
    stage->tree = NULL;
}

bool step_find(Build *build, Stage *stage, const char *key, bool *out_found, GError **error)
{
    *out_found = false;
    if (build->options->no_cache)
        return true;
    GError *why = NULL;
    OciImage *image = oci_cache_get(build->store, key, &why);
    if (!image) {
        /* an entry whose image is gone or damaged is as good as none: the step is done again */
        g_clear_error(&why);
        return true;
    }
    bool same_files = stage->image && digest_equal(&stage->image->image, &image->image);
    if (!same_files)
        forget_tree(stage);
    *out_found = true;
    return step_use(stage, image, error);
}

static bool clamp_node(TreeNode *node, void *data, GError **error)
{
    const Build *build = data;
    if (node->inode->mtime > (int64_t)build->timestamp) {
        node->inode->mtime = (int64_t)build->timestamp;
        node->inode->mtime_nsec = 0;
    }
    return true;
}

bool step_clamp(Build *build, Tree *layer, GError **error)
{
    return !build->clamp_times || tree_walk(layer, clamp_node, build, error);
}

static void add_history(OciConfig *config, const char *created_by, bool empty_layer)
{
    OciHistory *history = g_new0(OciHistory, 1);
    history->created = g_strdup(config->created);
    history->created_by = g_strdup(created_by);
    history->author = *config->author ? g_strdup(config->author) : NULL;
    history->empty_layer = empty_layer;
    g_ptr_array_add(config->history, history);
}

static void add_diff_id(OciConfig *config, const char *diff_id)
{
    unsigned n = g_strv_length(config->diff_ids);
    config->diff_ids = g_renew(char *, config->diff_ids, n + 2);
    config->diff_ids[n] = g_strdup(diff_id);
    config->diff_ids[n + 1] = NULL;
}

/* The image of the files with the layer on top. */
static bool commit_files(Build *build, Stage *stage, Tree *layer, Digest *out_image, GError **error)
{
    if (!layer && stage->image) {
        *out_image = stage->image->image;
        return true;
    }
    Tree *tree = step_tree(build, stage, error);
    if (!tree || (layer && !tree_apply(tree, layer, error)))
        return false;
    return store_commit_image(build->txn, tree, out_image, error);
}

bool step_commit(Build *build, Stage *stage, const char *key, const char *created_by, Tree *layer,
                 GError **error)
{
    g_autoptr(OciLayer) written = NULL;
    OciConfig *config = stage->config;
    g_free(config->created);
    config->created = timestamp_format(build->timestamp);
    if (layer) {
        written = oci_layer_write(build->txn, layer, error);
        if (!written)
            return false;
        add_diff_id(config, written->diff_id);
    }
    add_history(config, created_by, !layer);
    OciImageWrite what = {.config = config, .new_layer = written};
    Digest image;
    g_autofree char *id = NULL;
    if (!commit_files(build, stage, layer, &image, error))
        return false;
    what.image = &image;
    if (!oci_image_write(build->txn, &what, &id, error) ||
        !oci_cache_set(build->store, key, id, error))
        return false;
    OciImage *opened = oci_image_open(build->store, id, error);
    return opened && step_use(stage, opened, error);
}
