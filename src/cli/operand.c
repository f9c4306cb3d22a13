/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/operand.h"

#include "base/cancel.h"
#include "base/file.h"
#include "engine/engine.h"
#include "oci/oci.h"
#include "ostree/ostree.h"

#include <string.h>

enum { PREFIX_LEAST = 8 };

/* --- images --------------------------------------------------------------------------------------------- */

/* The only image whose digest begins so. */
static bool find_digest(Store *store, const char *text, Digest *out_image, GError **error)
{
    size_t length = strlen(text);
    if (length < PREFIX_LEAST || strspn(text, "0123456789abcdef") != length)
        return error_throw(error, ERROR_NOT_FOUND, "there is no image '%s' in the store", text);
    g_autoptr(GPtrArray) names = file_list_at(store_dirfd(store), "images", error);
    const char *found = NULL;
    for (guint i = 0; names && i < names->len; i++) {
        const char *name = names->pdata[i];
        if (!g_str_has_prefix(name, text))
            continue;
        if (found)
            return error_throw(error, ERROR_INVALID,
                               "'%s' is ambiguous: it begins '%.16s' and '%.16s'", text, found,
                               name);
        found = name;
    }
    if (names && !(found && digest_parse(found, out_image)))
        error_throw(error, ERROR_NOT_FOUND, "there is no image '%s' in the store", text);
    return names && found;
}

static bool find_image(Store *store, const char *text, Digest *out_image, GError **error)
{
    g_autoptr(GError) failed = NULL;
    if (store_resolve_image(store, text, out_image, &failed))
        return true;
    if (error_is(failed, ERROR_NOT_FOUND) || error_is(failed, ERROR_INVALID))
        return find_digest(store, text, out_image, error);
    g_propagate_error(error, g_steal_pointer(&failed));
    return false;
}

static bool find_tree(Store *store, const char *text, Digest *out_image, GError **error)
{
    g_autofree char *checksum = NULL;
    return ostree_resolve(store, text, &checksum, error) &&
           ostree_commit_image(store, checksum, out_image, error);
}

static bool find_oci(Store *store, const char *text, Digest *out_image, GError **error)
{
    g_autoptr(OciImage) image = oci_image_open(store, text, error);
    if (image)
        *out_image = image->image;
    return image != NULL;
}

typedef bool (*Find)(Store *store, const char *text, Digest *out_image, GError **error);
static const struct {
    const char *prefix;
    Find find;
} kinds[] = {{"image:", find_image}, {"tree:", find_tree}, {"oci:", find_oci}};

/* A name that one kind can't have may be one of the next. */
static bool is_unknown(const GError *failed)
{
    return error_is(failed, ERROR_NOT_FOUND) || error_is(failed, ERROR_INVALID);
}

bool cli_operand_image(Store *store, const char *text, Digest *out_image, GError **error)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (g_str_has_prefix(text, kinds[i].prefix))
            return kinds[i].find(store, text + strlen(kinds[i].prefix), out_image, error);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        g_autoptr(GError) failed = NULL;
        if (kinds[i].find(store, text, out_image, &failed))
            return true;
        if (is_unknown(failed) && !strstr(failed->message, "ambiguous"))
            continue;
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    return error_throw(error, ERROR_NOT_FOUND,
                       "there is no image '%s' in the store\n"
                       "hint: 'atomic store ls' lists the images, 'atomic tree refs' the branches",
                       text);
}

/* --- what is no image ----------------------------------------------------------------------------------- */

static Tree *load_dir(const char *path, StoreImportFlags flags, GError **error)
{
    _autofd int fd = file_open_dir_at(AT_FDCWD, path, error);
    Tree *tree = fd < 0 ? NULL : store_measure_dir(fd, flags, error);
    if (!tree)
        error_prefix(error, "cannot read '%s'", path);
    return tree;
}

/* The image with the writable layer applied. */
static Tree *load_container(Store *store, const char *name, GError **error)
{
    g_autoptr(Engine) engine = engine_new(store_path(store));
    g_autoptr(EngineContainer) container = engine_find(engine, name, error);
    Digest image;
    if (!container)
        return NULL;
    if (!digest_parse(container->config.image_digest, &image))
        return error_throw_null(error, ERROR_CORRUPT, "container '%s' has no image", name);
    g_autofree char *upper = engine_container_upper(engine, container);
    g_autoptr(Tree) tree = store_load_image(store, &image, error);
    if (!tree || !g_file_test(upper, G_FILE_TEST_IS_DIR)) /* never started */
        return g_steal_pointer(&tree);
    g_autoptr(Tree) layer = load_dir(upper, STORE_IMPORT_UPPER, error);
    return layer && tree_apply(tree, layer, error) ? g_steal_pointer(&tree) : NULL;
}

Tree *cli_operand_tree(Store *store, const char *text, GError **error)
{
    if (g_str_has_prefix(text, "dir:"))
        return load_dir(text + strlen("dir:"), 0, error);
    if (*text == '/' || *text == '.')
        return load_dir(text, 0, error);
    if (g_str_has_prefix(text, "container:"))
        return load_container(store, text + strlen("container:"), error);
    Digest image;
    g_autoptr(GError) failed = NULL;
    if (cli_operand_image(store, text, &image, &failed))
        return store_load_image(store, &image, error);
    if (error_is(failed, ERROR_NOT_FOUND)) {
        g_autoptr(GError) unknown = NULL;
        Tree *tree = load_container(store, text, &unknown);
        if (tree || !is_unknown(unknown)) {
            if (!tree)
                g_propagate_error(error, g_steal_pointer(&unknown));
            return tree;
        }
    }
    g_propagate_error(error, g_steal_pointer(&failed));
    if (g_file_test(text, G_FILE_TEST_IS_DIR))
        g_prefix_error(error, "'%s' is a directory, which is written './%s': ", text, text);
    return NULL;
}
