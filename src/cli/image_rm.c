/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* rmi: by name takes that name away, and the image with its last one; by id takes the image. */
#include "cli/image_verbs.h"

#include "cli/image_open.h"

#include <string.h>

/* The container that has this image, or NULL. */
static char *find_user(Store *store, const OciImage *image, GError **error)
{
    g_autoptr(GHashTable) refs = store_list_refs(store, STORE_IMAGES, "container", error);
    GHashTableIter iter;
    void *name, *target;
    if (!refs)
        return NULL;
    g_hash_table_iter_init(&iter, refs);
    while (g_hash_table_iter_next(&iter, &name, &target))
        if (strcmp(target, digest_hex(&image->image).text) == 0)
            return g_strdup(name);
    return NULL;
}

/* All names of the image, from the list of all images. */
static char **names_of(Store *store, const OciImage *image, GError **error)
{
    g_autoptr(GPtrArray) images = oci_image_list(store, false, error);
    for (unsigned i = 0; images && i < images->len; i++) {
        const OciImage *other = images->pdata[i];
        if (strcmp(other->id, image->id) == 0)
            return g_strdupv(other->names);
    }
    return images ? g_new0(char *, 1) : NULL;
}

static bool remove_image(Store *store, const OciImage *image, char *const *names, const char *word,
                         bool force, GError **error)
{
    GError *why = NULL;
    g_autofree char *user = find_user(store, image, &why);
    if (why) {
        g_propagate_error(error, why);
        return false;
    }
    if (user && !force)
        return error_throw(error, ERROR_BUSY,
                           "cannot remove image '%s': container %.12s uses it\nhint: remove the "
                           "container first, or use -f",
                           word, user);
    if (!oci_image_remove(store, image, error))
        return false;
    for (char *const *name = names; *name; name++)
        printf("Untagged: %s\n", *name);
    printf("Deleted: %s\n", image->id);
    return true;
}

static bool remove_one(Store *store, const char *word, bool force, GError **error)
{
    g_autoptr(OciImage) image = oci_image_open(store, word, error);
    g_auto(GStrv) names = image ? names_of(store, image, error) : NULL;
    if (!names)
        return false;
    bool by_name = *image->names;
    unsigned n = g_strv_length(names);
    if (by_name && n > 1) {
        if (!oci_image_untag(store, image->names[0], error))
            return false;
        printf("Untagged: %s\n", image->names[0]);
        return true;
    }
    if (n > 1 && !force)
        return error_throw(
            error, ERROR_BUSY,
            "cannot remove image '%s': it has %u names\nhint: remove it by its names, or use -f",
            word, n);
    return remove_image(store, image, names, word, force, error);
}

int cli_image_rm(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    gboolean force = FALSE;
    const GOptionEntry entries[] = {
        {"force", 'f', 0, G_OPTION_ARG_NONE, &force,
         "Also when it has several names or a container", NULL},
        G_OPTION_ENTRY_NULL,
    };
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, -1, false, error))
        return -1;
    g_autoptr(Store) store = image_open_store(&common, error);
    for (int i = 1; store && i < argc; i++)
        if (!remove_one(store, argv[i], force, error))
            return -1;
    return store ? 0 : -1;
}
