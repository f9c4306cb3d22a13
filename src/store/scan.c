/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/scan.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

GPtrArray *scan_names(Store *store, const char *path, bool hidden, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) failed = NULL;
    g_autoptr(GPtrArray) all = file_list_at(store->dirfd, path, &failed);
    if (error_is(failed, ERROR_NOT_FOUND))
        return g_steal_pointer(&names);
    if (!all) {
        g_propagate_error(error, g_steal_pointer(&failed));
        error_prefix(error, "'%s'", store->path);
        return NULL;
    }
    for (guint i = 0; i < all->len; i++) {
        const char *name = all->pdata[i];
        if (strcmp(name, "refs") != 0 && (name[0] != '.' || hidden))
            g_ptr_array_add(names, g_strdup(name));
    }
    return g_steal_pointer(&names);
}

static bool visit_object(Store *store, const char *dir, const char *name, ScanObject visit,
                         void *data, GError **error)
{
    char path[512], hex[512];
    g_snprintf(path, sizeof path, "%s/%s", dir, name);
    g_snprintf(hex, sizeof hex, "%s%s", dir, name);
    struct stat st;
    if (fstatat(store->objects_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || error_throw_errno(error, "cannot look at 'objects/%s'", path);
    Digest object;
    bool good = strlen(dir) == 2 && S_ISREG(st.st_mode) && digest_parse(hex, &object);
    return visit(good ? &object : NULL, path, &st, data, error);
}

bool scan_objects(Store *store, ScanObject visit, void *data, GError **error)
{
    g_autoptr(GPtrArray) dirs = scan_names(store, "objects", true, error);
    if (!dirs)
        return false;
    for (guint i = 0; i < dirs->len; i++) {
        const char *dir = g_ptr_array_index(dirs, i);
        g_autofree char *path = g_strconcat("objects/", dir, NULL);
        g_autoptr(GPtrArray) names = scan_names(store, path, true, error);
        if (!names)
            return false;
        for (guint j = 0; j < names->len; j++)
            if (!visit_object(store, dir, g_ptr_array_index(names, j), visit, data, error))
                return false;
    }
    return true;
}

GHashTable *scan_links(Store *store, StoreKind kind, GError **error)
{
    g_autoptr(GPtrArray) names = scan_names(store, store_kind_dir(kind), false, error);
    if (!names)
        return NULL;
    g_autoptr(GHashTable) links = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autofree char *path = g_strconcat(store_kind_dir(kind), "/", name, NULL);
        char target[256];
        ssize_t n = readlinkat(store->dirfd, path, target, sizeof target - 1);
        Digest object;
        if (n < 0 && errno != ENOENT && errno != EINVAL) /* removed since; no link */
            return error_throw_errno_null(error, "cannot read link '%s'", path);
        target[MAX(n, 0)] = '\0';
        if (n > 0 && store_parse_object_path(target, &object))
            g_hash_table_insert(links, g_strdup(name), g_memdup2(&object, sizeof object));
    }
    return g_steal_pointer(&links);
}
