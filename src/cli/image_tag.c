/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* tag, and image from-tree: what gives an image a name. */
#include "cli/image_verbs.h"

#include "cli/image_open.h"

static bool tag(Store *store, OciImage *image, const char *name, GError **error)
{
    g_autofree char *normalized = oci_name_normalize(name, error);
    g_autoptr(StoreTxn) txn = normalized ? store_txn_begin(store, NULL, error) : NULL;
    /* an intermediate image becomes one that exists for itself */
    return txn && oci_image_keep(txn, image, error) &&
           oci_image_tag(store, image, normalized, error);
}

int cli_image_tag(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 2, 2, false, error))
        return -1;
    g_autoptr(Store) store = image_open_store(&common, error);
    g_autoptr(OciImage) image = store ? oci_image_open(store, argv[1], error) : NULL;
    return image && tag(store, image, argv[2], error) ? 0 : -1;
}

int cli_image_from_tree(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 2, 2, false, error))
        return -1;
    g_autofree char *name = oci_name_normalize(argv[2], error);
    g_autoptr(Store) store = name ? image_open_store(&common, error) : NULL;
    g_autoptr(OciImage) image = store ? oci_image_from_tree(store, argv[1], error) : NULL;
    if (!image || !tag(store, image, name, error))
        return -1;
    printf("%s\n", image->id);
    return 0;
}
