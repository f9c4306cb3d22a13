/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Giving names to images, and taking names and images away: refs only.
 *
 * A name is two refs: the manifest's stream and the EROFS image. The stream's is the one that is
 * read, so it is set last and removed first: whoever finds the name finds a whole image. Power
 * lost in between leaves an image ref without a name, which the next tagging or untagging of
 * that name puts right.
 */
#include "oci/image.h"

#include <string.h>

/* ref names of the two kinds are equal: oci/NAME:TAG */
static char *name_ref(const char *name, GError **error)
{
    g_autofree char *normalized = oci_name_normalize(name, error);
    return normalized ? g_strconcat(OCI_NAMES, "/", normalized, NULL) : NULL;
}

bool oci_image_tag(Store *store, const OciImage *image, const char *name, GError **error)
{
    if (!image->manifest)
        return error_throw(error, ERROR_INVALID, "cannot name '%s': it is an intermediate image",
                           image->id);
    g_autofree char *ref = name_ref(name, error);
    if (!ref)
        return false;
    g_autofree char *stream = g_strconcat(OCI_MANIFEST_STREAM, image->manifest, NULL);
    return (store_set_ref(store, STORE_IMAGES, ref, digest_hex(&image->image).text, error) &&
            store_set_ref(store, STORE_STREAMS, ref, stream, error)) ||
           error_prefix(error, "cannot name image '%s'", name);
}

/* Absent is fine. */
static bool remove_ref(Store *store, StoreKind kind, const char *ref, GError **error)
{
    g_autoptr(GError) why = NULL;
    if (store_remove_ref(store, kind, ref, &why) || error_is(why, ERROR_NOT_FOUND))
        return true;
    g_propagate_error(error, g_steal_pointer(&why));
    return false;
}

bool oci_image_untag(Store *store, const char *name, GError **error)
{
    g_autofree char *ref = name_ref(name, error);
    if (!ref)
        return false;
    g_autofree char *target = store_get_ref(store, STORE_STREAMS, ref, NULL);
    if (!target)
        return error_throw(error, ERROR_NOT_FOUND, "no such image '%s'", name);
    return remove_ref(store, STORE_STREAMS, ref, error) &&
           remove_ref(store, STORE_IMAGES, ref, error);
}

static bool same_history(const OciHistory *a, const OciHistory *b)
{
    return a->empty_layer == b->empty_layer && g_strcmp0(a->created, b->created) == 0 &&
           g_strcmp0(a->created_by, b->created_by) == 0;
}

/* Whether `image` was built on `base` (or is it). Times in the history make this as good as a
 * parent's id. */
static bool is_built_on(const OciImage *image, const OciImage *base)
{
    const OciConfig *a = image->config, *b = base->config;
    if (strcmp(image->id, base->id) == 0)
        return true;
    if (b->history->len >= a->history->len)
        return false;
    for (unsigned i = 0; i < b->history->len; i++)
        if (!same_history(a->history->pdata[i], b->history->pdata[i]))
            return false;
    char **x = a->diff_ids, **y = b->diff_ids;
    while (*y && *x && strcmp(*x, *y) == 0)
        x++, y++;
    return *y == NULL;
}

static bool is_needed(const GPtrArray *images, const OciImage *step, const OciImage *leaving)
{
    for (unsigned i = 0; i < images->len; i++) {
        const OciImage *image = images->pdata[i];
        if (image->manifest && strcmp(image->id, leaving->id) != 0 && is_built_on(image, step))
            return true;
    }
    return false;
}

/* Removes the cache's refs to those steps of the image's build that no other image was built on. */
static bool forget_steps(Store *store, const OciImage *leaving, GError **error)
{
    g_autoptr(GPtrArray) images = oci_image_list(store, true, error);
    g_autoptr(GHashTable) cache =
        images ? store_list_refs(store, STORE_STREAMS, OCI_CACHE, error) : NULL;
    if (!cache)
        return false;
    g_autoptr(GHashTable) forgotten = g_hash_table_new(g_str_hash, g_str_equal);
    for (unsigned i = 0; i < images->len; i++) {
        const OciImage *step = images->pdata[i];
        if (is_built_on(leaving, step) && !is_needed(images, step, leaving))
            g_hash_table_add(forgotten, step->id);
    }
    GHashTableIter iter;
    void *key, *target;
    g_hash_table_iter_init(&iter, cache);
    while (g_hash_table_iter_next(&iter, &key, &target)) {
        const char *id = oci_stream_digest(target, OCI_CONFIG_STREAM);
        if (id && !g_hash_table_contains(forgotten, id))
            continue;
        g_autofree char *ref = g_strconcat(OCI_CACHE, "/", key, NULL);
        if (!remove_ref(store, STORE_STREAMS, ref, error))
            return false;
    }
    return true;
}

bool oci_image_remove(Store *store, const OciImage *image, GError **error)
{
    g_autoptr(GHashTable) names = store_list_refs(store, STORE_STREAMS, OCI_NAMES, error);
    if (!names)
        return false;
    g_autofree char *stream = g_strconcat(OCI_MANIFEST_STREAM, image->manifest, NULL);
    GHashTableIter iter;
    void *name, *target;
    g_hash_table_iter_init(&iter, names);
    while (image->manifest && g_hash_table_iter_next(&iter, &name, &target)) {
        g_autofree char *ref = g_strconcat(OCI_NAMES, "/", name, NULL);
        if (strcmp(target, stream) == 0 && (!remove_ref(store, STORE_STREAMS, ref, error) ||
                                            !remove_ref(store, STORE_IMAGES, ref, error)))
            return false;
    }
    if (!forget_steps(store, image, error))
        return false;
    g_autofree char *id = g_strconcat(OCI_IDS, "/", image->id + strlen("sha256:"), NULL);
    return remove_ref(store, STORE_STREAMS, id, error);
}
