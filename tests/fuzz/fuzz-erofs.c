/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An image that can be read, and whose tree the writer takes, is the same from there on. */
#include "fuzz.h"
#include "tree/tree.h"

static bool count_object(const Digest *object, void *data, GError **error)
{
    (void)object;
    (void)error;
    ++*(unsigned *)data;
    return true;
}

/* What garbage collection does with it. */
static void list_objects(GBytes *image)
{
    g_autoptr(GError) error = NULL;
    unsigned objects = 0;
    MUST(tree_image_each_object(image, count_object, &objects, &error) || error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) image = g_bytes_new_static(data, size);
    list_objects(image);
    g_autoptr(Tree) tree = tree_read_image(image, &error);
    MUST(tree || error);
    if (!tree)
        return 0;
    g_autofree char *dump = tree_format_dump(tree);
    g_autoptr(GBytes) written = tree_write_image(tree, &error);
    MUST(written || error);
    if (!written)
        return 0;
    g_autoptr(Tree) again = tree_read_image(written, &error);
    if (!again) {
        fprintf(stderr, "%s\n", error->message);
        MUST(again);
    }
    g_autoptr(GBytes) same = tree_write_image(again, &error);
    MUST(same && g_bytes_equal(written, same));
    return 0;
}
