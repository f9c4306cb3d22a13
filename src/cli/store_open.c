/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store that the options name, and an image in it. */
#include "cli/store_verbs.h"

#include "cli/operand.h"

char *cli_store_path(const CliCommon *common)
{
    if (!common->store && common->sysroot)
        return g_build_filename(common->sysroot, "atomic", "store", NULL);
    return store_default_path(common->store);
}

Store *cli_store_open(const CliCommon *common, GError **error)
{
    g_autofree char *path = cli_store_path(common);
    return store_open(path, error);
}

Tree *cli_store_load(Store *store, const char *name, Digest *out_image, GError **error)
{
    Digest image;
    if (!cli_operand_image(store, name, &image, error))
        return NULL;
    if (out_image)
        *out_image = image;
    return store_load_image(store, &image, error);
}
