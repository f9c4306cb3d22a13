/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/scan.h"

#include "base/digest_set.h"

#include <sys/statvfs.h>

typedef struct {
    GHashTable *metadata; /* Digest of what images/ and streams/ link to */
    StoreUsage *usage;
} Count;

static bool count_object(const Digest *object, const char *path _unused, const struct stat *st,
                         void *data, GError **error _unused)
{
    Count *count = data;
    count->usage->objects++;
    count->usage->object_bytes += (uint64_t)st->st_size;
    if (object && g_hash_table_contains(count->metadata, object))
        count->usage->metadata_bytes += (uint64_t)st->st_size;
    return true;
}

static bool add_links(Store *store, StoreKind kind, GHashTable *metadata, GError **error)
{
    g_autoptr(GHashTable) links = scan_links(store, kind, error);
    if (!links)
        return false;
    GHashTableIter iter;
    gpointer object;
    g_hash_table_iter_init(&iter, links);
    while (g_hash_table_iter_next(&iter, NULL, &object))
        digest_set_add(metadata, object);
    return true;
}

bool store_usage(Store *store, StoreUsage *out_usage, GError **error)
{
    g_autoptr(GHashTable) metadata = digest_set_new();
    StoreUsage usage = {0};
    Count count = {.metadata = metadata, .usage = &usage};
    struct statvfs fs;
    if (fstatvfs(store->dirfd, &fs) < 0)
        return error_throw_errno(error, "cannot look at the filesystem of '%s'", store->path);
    if (!add_links(store, STORE_IMAGES, metadata, error) ||
        !add_links(store, STORE_STREAMS, metadata, error) ||
        !scan_objects(store, count_object, &count, error) ||
        !store_reserve_read(store, &usage.reserve, error))
        return false;
    usage.fs_total = (uint64_t)fs.f_blocks * fs.f_frsize;
    usage.fs_available = (uint64_t)fs.f_bavail * fs.f_frsize;
    usage.verity = store_has_verity(store);
    usage.secure = store_is_secure(store);
    *out_usage = usage;
    return true;
}
