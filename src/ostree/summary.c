/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ostree/summary.h"

#include "ostree/object.h"
#include "ostree/ostree.h"

#include <string.h>

SummaryRef *summary_ref_new(const char *ref, const Digest *checksum, GVariant *commit)
{
    SummaryRef *entry = g_new0(SummaryRef, 1);
    entry->ref = g_strdup(ref);
    entry->checksum = *checksum;
    entry->commit_size = g_variant_get_size(commit);
    entry->timestamp = ostree_commit_timestamp(commit);
    entry->version = ostree_commit_version(commit);
    return entry;
}

void summary_ref_free(SummaryRef *ref)
{
    g_free(ref->ref);
    g_free(ref->version);
    g_free(ref);
}

static int compare_refs(const void *a, const void *b)
{
    return strcmp((*(SummaryRef *const *)a)->ref, (*(SummaryRef *const *)b)->ref);
}

GBytes *summary_format(GPtrArray *refs, uint64_t now)
{
    g_autoptr(GPtrArray) sorted = g_ptr_array_copy(refs, NULL, NULL);
    g_ptr_array_set_free_func(sorted, NULL);
    g_ptr_array_sort(sorted, compare_refs);
    GVariantBuilder list, about, trailer;
    g_variant_builder_init(&list, G_VARIANT_TYPE("a(s(taya{sv}))"));
    for (unsigned i = 0; i < sorted->len; i++) {
        const SummaryRef *ref = sorted->pdata[i];
        g_variant_builder_init(&about, G_VARIANT_TYPE_VARDICT);
        g_variant_builder_add(&about, "{sv}", "ostree.commit.timestamp",
                              g_variant_new_uint64(GUINT64_TO_BE(ref->timestamp)));
        if (ref->version)
            g_variant_builder_add(&about, "{sv}", "ostree.commit.version",
                                  g_variant_new_string(ref->version));
        /* the size alone is little-endian: nobody swaps it */
        g_variant_builder_add(&list, "(s(t@aya{sv}))", ref->ref, GUINT64_TO_LE(ref->commit_size),
                              object_digest_variant(&ref->checksum), &about);
    }
    g_variant_builder_init(&trailer, G_VARIANT_TYPE_VARDICT);
    g_variant_builder_add(&trailer, "{sv}", "ostree.summary.last-modified",
                          g_variant_new_uint64(GUINT64_TO_BE(now)));
    g_variant_builder_add(&trailer, "{sv}", "ostree.summary.mode",
                          g_variant_new_string("archive-z2"));
    g_variant_builder_add(&trailer, "{sv}", "ostree.summary.tombstone-commits",
                          g_variant_new_boolean(FALSE));
    g_autoptr(GVariant) summary =
        g_variant_ref_sink(g_variant_new("(a(s(taya{sv}))a{sv})", &list, &trailer));
    return g_variant_get_data_as_bytes(summary);
}

GHashTable *summary_parse(GBytes *bytes, GError **error)
{
    size_t size;
    const uint8_t *data = g_bytes_get_data(bytes, &size);
    g_autoptr(GVariant) summary = object_parse(SUMMARY_TYPE, data, size, error);
    if (!summary)
        return NULL;
    g_autoptr(GHashTable) refs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GVariant) list = g_variant_get_child_value(summary, 0);
    for (size_t i = 0; i < g_variant_n_children(list); i++) {
        g_autoptr(GVariant) checksum = NULL;
        const char *name;
        Digest id;
        g_variant_get_child(list, i, "(&s(t@ay@a{sv}))", &name, NULL, &checksum, NULL);
        if (!object_get_digest(checksum, &id))
            return error_throw_null(error, ERROR_CORRUPT, "the summary is malformed");
        g_hash_table_insert(refs, g_strdup(name), g_memdup2(&id, sizeof id));
    }
    return g_steal_pointer(&refs);
}
