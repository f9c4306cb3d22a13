/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding and reading images. */
#include "oci/image.h"

#include "base/sort.h"

#include <string.h>

void oci_image_free(OciImage *image)
{
    if (!image)
        return;
    g_free(image->id);
    g_strfreev(image->names);
    g_free(image->manifest);
    oci_config_free(image->config);
    g_free(image);
}

const char *oci_stream_digest(const char *stream, const char *kind)
{
    Digest digest;
    const char *text = g_str_has_prefix(stream, kind) ? stream + strlen(kind) : NULL;
    if (!text || !g_str_has_prefix(text, "sha256:") ||
        !digest_parse(text + strlen("sha256:"), &digest))
        return NULL;
    return text;
}

/* A new reference. */
static json_t *read_manifest(Store *store, const char *stream_id, GError **error)
{
    g_autoptr(StoreStream) stream = store_stream_open_id(store, stream_id, error);
    g_autoptr(GBytes) bytes = stream ? store_stream_read_all(stream, OCI_JSON_MAX, error) : NULL;
    if (!bytes)
        return NULL;
    json_error_t where;
    json_t *root = json_loadb(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes),
                              JSON_REJECT_DUPLICATES, &where);
    if (json_is_object(root))
        return root;
    json_decref(root);
    return error_throw_null(error, ERROR_CORRUPT, "bad image manifest '%s': %s", stream_id,
                            root ? "not an object" : where.text);
}

/* The id of the image whose manifest this is. */
static char *manifest_config(Store *store, const char *stream_id, GError **error)
{
    json_t *root = read_manifest(store, stream_id, error);
    if (!root)
        return NULL;
    const char *text =
        json_string_value(json_object_get(json_object_get(root, "config"), "digest"));
    Digest digest;
    bool good = text && g_str_has_prefix(text, "sha256:") &&
                digest_parse(text + strlen("sha256:"), &digest);
    char *id = good ? g_strdup(text) : NULL;
    json_decref(root);
    if (!id)
        error_throw(error, ERROR_CORRUPT, "bad image manifest '%s': no config digest", stream_id);
    return id;
}

/* The image of a config stream; names and manifest are the caller's to fill in. */
static OciImage *load(Store *store, const char *id, GError **error)
{
    g_autofree char *stream_id = g_strconcat(OCI_CONFIG_STREAM, id, NULL);
    g_autoptr(StoreStream) stream = store_stream_open_id(store, stream_id, error);
    g_autoptr(GBytes) bytes = stream ? store_stream_read_all(stream, OCI_JSON_MAX, error) : NULL;
    if (!bytes)
        return NULL;
    GError *why = NULL;
    const Digest *tree = store_stream_ref(stream, OCI_IMAGE_REF, &why);
    if (!tree) {
        if (why)
            g_propagate_error(error, why);
        else
            error_throw(error, ERROR_CORRUPT, "image '%s' has no file tree", id);
        return NULL;
    }
    g_autoptr(OciImage) image = g_new0(OciImage, 1);
    image->id = g_strdup(id);
    image->names = g_new0(char *, 1);
    image->image = *tree;
    image->config = oci_config_parse(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), error);
    if (!image->config) {
        error_prefix(error, "image '%s'", id);
        return NULL;
    }
    return g_steal_pointer(&image);
}

static OciImage *load_manifest(Store *store, const char *manifest_stream, GError **error)
{
    const char *manifest = oci_stream_digest(manifest_stream, OCI_MANIFEST_STREAM);
    if (!manifest)
        return error_throw_null(error, ERROR_CORRUPT, "'%s' is not an image manifest",
                                manifest_stream);
    g_autofree char *id = manifest_config(store, manifest_stream, error);
    OciImage *image = id ? load(store, id, error) : NULL;
    if (image)
        image->manifest = g_strdup(manifest);
    return image;
}

/* NULL without an error when the text is no name or no image has it. */
static OciImage *open_name(Store *store, const char *text, GError **error)
{
    g_autofree char *name = oci_name_normalize(text, NULL);
    if (!name)
        return NULL;
    g_autofree char *ref = g_strconcat(OCI_NAMES, "/", name, NULL);
    GError *why = NULL;
    g_autofree char *target = store_get_ref(store, STORE_STREAMS, ref, &why);
    if (!target) {
        if (error_is(why, ERROR_NOT_FOUND))
            g_error_free(why);
        else
            g_propagate_error(error, why);
        return NULL;
    }
    OciImage *image = load_manifest(store, target, error);
    if (!image) {
        error_prefix(error, "image '%s'", text);
        return NULL;
    }
    g_strfreev(image->names);
    image->names = g_new0(char *, 2);
    image->names[0] = g_steal_pointer(&name);
    return image;
}

/* One more id that begins with the wanted text; false when it is the second one. */
static bool candidate(const char *hex, const char *prefix, char **found)
{
    if (!g_str_has_prefix(hex, prefix) || g_strcmp0(*found, hex) == 0)
        return true;
    if (*found)
        return false;
    *found = g_strdup(hex);
    return true;
}

/* The whole hex of the one id that begins with `prefix`: among the images, then in the build
 * cache. NULL without an error when there is none. */
static char *find_id(Store *store, const char *prefix, char **out_manifest, GError **error)
{
    g_autofree char *found = NULL;
    GHashTableIter iter;
    void *name, *target;
    bool unique = true;
    g_autoptr(GHashTable) ids = store_list_refs(store, STORE_STREAMS, OCI_IDS, error);
    if (!ids)
        return NULL;
    g_hash_table_iter_init(&iter, ids);
    while (unique && g_hash_table_iter_next(&iter, &name, &target))
        unique = candidate(name, prefix, &found);
    *out_manifest = found && unique ? g_strdup(g_hash_table_lookup(ids, found)) : NULL;
    if (!found || strlen(prefix) < DIGEST_HEX_SIZE - 1) {
        g_autoptr(GHashTable) cache = store_list_refs(store, STORE_STREAMS, OCI_CACHE, error);
        if (!cache)
            return NULL;
        g_hash_table_iter_init(&iter, cache);
        while (unique && g_hash_table_iter_next(&iter, &name, &target)) {
            const char *id = oci_stream_digest(target, OCI_CONFIG_STREAM);
            unique = !id || candidate(id + strlen("sha256:"), prefix, &found);
        }
    }
    if (!unique)
        return error_throw_null(error, ERROR_INVALID,
                                "more than one image has an id that begins with '%s'", prefix);
    return g_steal_pointer(&found);
}

static OciImage *open_id(Store *store, const char *text, GError **error)
{
    const char *prefix = g_str_has_prefix(text, "sha256:") ? text + strlen("sha256:") : text;
    size_t length = strlen(prefix);
    if (length == 0 || length >= DIGEST_HEX_SIZE || strspn(prefix, "0123456789abcdef") != length)
        return NULL;
    g_autofree char *manifest = NULL;
    g_autofree char *hex = find_id(store, prefix, &manifest, error);
    if (!hex)
        return NULL;
    if (manifest)
        return load_manifest(store, manifest, error);
    g_autofree char *id = g_strconcat("sha256:", hex, NULL);
    return load(store, id, error);
}

OciImage *oci_image_open(Store *store, const char *name_or_id, GError **error)
{
    GError *why = NULL;
    OciImage *image = open_name(store, name_or_id, &why);
    if (!image && !why)
        image = open_id(store, name_or_id, &why);
    if (image)
        return image;
    if (why) {
        g_propagate_error(error, why);
        return NULL;
    }
    return error_throw_null(error, ERROR_NOT_FOUND,
                            "no such image '%s'\n"
                            "hint: 'atomic images' lists what is here; 'atomic build' and 'atomic "
                            "image from-tree' make images",
                            name_or_id);
}

/* --- lists ------------------------------------------------------------------------------------ */

static void image_free(void *data)
{
    oci_image_free(data);
}

/* Newest first; equal times by id, so that the order is always the same. */
static int compare_images(const void *a, const void *b)
{
    const OciImage *x = *(OciImage *const *)a, *y = *(OciImage *const *)b;
    int order = strcmp(y->config->created, x->config->created);
    return order ? order : strcmp(x->id, y->id);
}

static char **names_of(GHashTable *names, const char *manifest_stream)
{
    GPtrArray *found = g_ptr_array_new();
    GHashTableIter iter;
    void *name, *target;
    g_hash_table_iter_init(&iter, names);
    while (g_hash_table_iter_next(&iter, &name, &target))
        if (strcmp(target, manifest_stream) == 0)
            g_ptr_array_add(found, g_strdup(name));
    sort_texts(found);
    g_ptr_array_add(found, NULL);
    return (char **)g_ptr_array_free(found, FALSE);
}

static bool add_intermediate(Store *store, GPtrArray *images, GError **error)
{
    g_autoptr(GHashTable) cache = store_list_refs(store, STORE_STREAMS, OCI_CACHE, error);
    if (!cache)
        return false;
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    for (unsigned i = 0; i < images->len; i++)
        g_hash_table_add(seen, ((OciImage *)images->pdata[i])->id);
    GHashTableIter iter;
    void *key, *target;
    g_hash_table_iter_init(&iter, cache);
    while (g_hash_table_iter_next(&iter, &key, &target)) {
        const char *id = oci_stream_digest(target, OCI_CONFIG_STREAM);
        if (!id || g_hash_table_contains(seen, id))
            continue;
        OciImage *image = load(store, id, error);
        if (!image)
            return false;
        g_ptr_array_add(images, image);
        g_hash_table_add(seen, image->id);
    }
    return true;
}

GPtrArray *oci_image_list(Store *store, bool intermediate, GError **error)
{
    g_autoptr(GHashTable) names = store_list_refs(store, STORE_STREAMS, OCI_NAMES, error);
    g_autoptr(GHashTable) ids =
        names ? store_list_refs(store, STORE_STREAMS, OCI_IDS, error) : NULL;
    if (!ids)
        return NULL;
    g_autoptr(GPtrArray) images = g_ptr_array_new_with_free_func(image_free);
    GHashTableIter iter;
    void *hex, *target;
    g_hash_table_iter_init(&iter, ids);
    while (g_hash_table_iter_next(&iter, &hex, &target)) {
        OciImage *image = load_manifest(store, target, error);
        if (!image)
            return NULL;
        g_strfreev(image->names);
        image->names = names_of(names, target);
        g_ptr_array_add(images, image);
    }
    if (intermediate && !add_intermediate(store, images, error))
        return NULL;
    g_ptr_array_sort(images, compare_images);
    return g_steal_pointer(&images);
}

bool oci_image_size(Store *store, const OciImage *image, uint64_t *out_size, GError **error)
{
    uint64_t size = 0;
    for (char **id = image->config->diff_ids; *id; id++) {
        g_autofree char *stream_id = g_strconcat(OCI_LAYER_STREAM, *id, NULL);
        g_autoptr(StoreStream) stream = store_stream_open_id(store, stream_id, error);
        if (!stream)
            return false;
        size += store_stream_size(stream);
    }
    *out_size = size;
    return true;
}

/* --- the build cache -------------------------------------------------------------------------- */

OciImage *oci_cache_get(Store *store, const char *key, GError **error)
{
    g_autofree char *ref = g_strconcat(OCI_CACHE, "/", key, NULL);
    g_autoptr(GError) why = NULL;
    g_autofree char *target = store_get_ref(store, STORE_STREAMS, ref, &why);
    const char *id = target ? oci_stream_digest(target, OCI_CONFIG_STREAM) : NULL;
    if (id)
        return oci_image_open(store, id, error);
    if (why && !error_is(why, ERROR_NOT_FOUND))
        g_propagate_error(error, g_steal_pointer(&why));
    return NULL;
}

bool oci_cache_set(Store *store, const char *key, const char *id, GError **error)
{
    g_autofree char *ref = g_strconcat(OCI_CACHE, "/", key, NULL);
    g_autofree char *target = g_strconcat(OCI_CONFIG_STREAM, id, NULL);
    return store_set_ref(store, STORE_STREAMS, ref, target, error);
}
