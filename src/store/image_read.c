/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/layout.h"

enum { IMAGE_LIMIT = 1 << 30 };

Tree *store_load_image(Store *store, const Digest *image, GError **error)
{
    Digest linked;
    if (!store_resolve_image(store, digest_hex(image).text, &linked, error))
        return NULL;
    g_autoptr(GBytes) bytes = store_read_object(store, image, IMAGE_LIMIT, error);
    if (!bytes)
        return NULL;
    Tree *tree = tree_read_image(bytes, error);
    if (!tree)
        error_prefix(error, "image '%.12s'", digest_hex(image).text);
    return tree;
}
