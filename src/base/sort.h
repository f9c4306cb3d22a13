/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Texts in byte order: what is shown, written or hashed must not depend on a hash table or a directory.
 */
#pragma once

#include <glib.h>

/* For qsort() and g_ptr_array_sort() of `char *`. */
int sort_compare_texts(const void *a, const void *b);

/* Sorts an array of `char *`. */
void sort_texts(GPtrArray *texts);

/* The keys of a table by text. The array is the caller's (g_free), the texts stay the table's. */
char **sort_keys(GHashTable *table, unsigned *out_count);
