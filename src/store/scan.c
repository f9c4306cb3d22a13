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

typedef struct {
    ScanObjectName visit;
    void *data;
    char path[sizeof "objects/" + 2 * 256]; /* of the directory, then of the entry */
} NameScan;

static bool visit_name(NameScan *scan, size_t length, const struct dirent *entry, GError **error)
{
    Digest object;
    const char *dir = scan->path + strlen("objects/"), *name = entry->d_name;
    size_t size = strlen(name);
    scan->path[length] = '/';
    memcpy(scan->path + length + 1, name, size + 1);
    bool is_file = entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN;
    bool good = is_file && length == strlen("objects/XX") && size == DIGEST_HEX_SIZE - 3;
    if (good) {
        char hex[DIGEST_HEX_SIZE] = {dir[0], dir[1]};
        memcpy(hex + 2, name, size);
        good = digest_parse(hex, &object);
    }
    return scan->visit(good ? &object : NULL, scan->path, entry->d_ino, scan->data, error);
}

static bool scan_object_dir(Store *store, NameScan *scan, GError **error)
{
    size_t length = strlen(scan->path);
    _autofd int fd =
        openat(store->dirfd, scan->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return true;
    if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
        return scan->visit(NULL, scan->path, 0, scan->data, error);
    _autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return error_throw_errno(error, "cannot list '%s/%s'", store->path, scan->path);
    fd_steal(&fd);
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            !visit_name(scan, length, entry, error))
            return false;
    scan->path[length] = '\0';
    return errno == 0 || error_throw_errno(error, "cannot list '%s/%s'", store->path, scan->path);
}

bool scan_object_names(Store *store, ScanObjectName visit, void *data, GError **error)
{
    NameScan scan = {.visit = visit, .data = data};
    g_autoptr(GPtrArray) dirs = scan_names(store, "objects", true, error);
    for (guint i = 0; dirs && i < dirs->len; i++) {
        g_snprintf(scan.path, sizeof scan.path, "objects/%s", (const char *)dirs->pdata[i]);
        if (!scan_object_dir(store, &scan, error))
            return false;
    }
    return dirs != NULL;
}

bool scan_staging(Store *store, ScanStaging visit, void *data, GError **error)
{
    g_autoptr(GPtrArray) names = scan_names(store, STORE_STAGING, true, error);
    if (!names || names->len == 0)
        return names != NULL;
    _autofd int staging = file_open_dir_at(store->dirfd, STORE_STAGING, error);
    if (staging < 0)
        return false;
    for (guint i = 0; i < names->len; i++) {
        StagingState state;
        _autofd int lock = -1;
        if (!store_lock_staging(staging, names->pdata[i], &state, &lock, error) ||
            !visit(staging, names->pdata[i], state, data, error))
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
