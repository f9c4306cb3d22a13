/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/digest_set.h"

GHashTable *digest_set_new(void)
{
    return g_hash_table_new_full(digest_hash, digest_equal_void, g_free, NULL);
}

bool digest_set_add(GHashTable *set, const Digest *digest)
{
    return !g_hash_table_contains(set, digest) &&
           g_hash_table_add(set, g_memdup2(digest, sizeof *digest));
}
