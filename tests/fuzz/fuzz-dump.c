/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A dump that is accepted says the same after it was printed and read again. */
#include "fuzz.h"
#include "tree/tree.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Tree) tree = tree_parse_dump((const char *)data, size, &error);
    MUST(tree || error);
    if (!tree)
        return 0;
    g_autofree char *text = tree_format_dump(tree);
    g_autoptr(Tree) again = tree_parse_dump(text, strlen(text), &error);
    if (!again) {
        fprintf(stderr, "%s\n", error->message);
        MUST(again);
    }
    g_autofree char *same = tree_format_dump(again);
    MUST(strcmp(text, same) == 0);
    return 0;
}
