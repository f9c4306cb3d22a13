/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/sort.h"

#include <stdlib.h>
#include <string.h>

int sort_compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void sort_texts(GPtrArray *texts)
{
    g_ptr_array_sort(texts, sort_compare_texts);
}

char **sort_keys(GHashTable *table, unsigned *out_count)
{
    char **keys = (char **)g_hash_table_get_keys_as_array(table, out_count);
    qsort(keys, *out_count, sizeof *keys, sort_compare_texts);
    return keys;
}
