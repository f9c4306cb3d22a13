/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/leftovers.h"

#include "store/scan.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

bool leftovers_is_temporary(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return g_str_has_prefix(name, ".tmp-") || g_str_has_prefix(name, ".symlink-");
}

static bool visit_file(Store *store, const char *path, LeftoverFunc visit, void *data,
                       GError **error)
{
    struct stat st;
    if (fstatat(store->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || error_throw_errno(error, "cannot look at '%s'", path);
    return visit(path, S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0, data, error);
}

bool leftovers_visit(Store *store, const char *path, LeftoverFunc visit, void *data, GError **error)
{
    return !leftovers_is_temporary(path) || visit_file(store, path, visit, data, error);
}

/* The names in a directory: all of them, or those that begin with `prefix`. */
static bool scan_dir(Store *store, const char *dir, const char *prefix, LeftoverFunc visit,
                     void *data, GError **error)
{
    g_autoptr(GPtrArray) names = scan_names(store, dir, true, error);
    for (guint i = 0; names && i < names->len; i++) {
        g_autofree char *path = strcmp(dir, ".") == 0
                                    ? g_strdup(names->pdata[i])
                                    : g_strconcat(dir, "/", (char *)names->pdata[i], NULL);
        if (g_str_has_prefix(names->pdata[i], prefix) &&
            !visit_file(store, path, visit, data, error))
            return false;
    }
    return names != NULL;
}

/* Temporary names, and directories that a removed ref left empty. */
static bool scan_ref_dir(Store *store, const char *dir, bool *out_empty, LeftoverFunc visit,
                         void *data, GError **error)
{
    bool empty = true;
    g_autoptr(GPtrArray) names = scan_names(store, dir, true, error);
    for (guint i = 0; names && i < names->len; i++) {
        g_autofree char *path = g_strconcat(dir, "/", (char *)names->pdata[i], NULL);
        struct stat st;
        if (fstatat(store->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            if (errno != ENOENT)
                return error_throw_errno(error, "cannot look at '%s'", path);
            continue;
        }
        bool is_dir = S_ISDIR(st.st_mode), gone = !is_dir && leftovers_is_temporary(path);
        if (is_dir && !scan_ref_dir(store, path, &gone, visit, data, error))
            return false;
        if (gone && !visit(path, 0, data, error))
            return false;
        empty = empty && gone;
    }
    *out_empty = empty;
    return names != NULL;
}

bool leftovers_scan(Store *store, LeftoverFunc visit, void *data, GError **error)
{
    bool empty;
    return scan_dir(store, "images", ".tmp-", visit, data, error) &&
           scan_dir(store, "streams", ".tmp-", visit, data, error) &&
           scan_ref_dir(store, "images/refs", &empty, visit, data, error) &&
           scan_ref_dir(store, "streams/refs", &empty, visit, data, error) &&
           scan_dir(store, ".", ".symlink-", visit, data, error) &&
           scan_dir(store, ".", ".tmp-", visit, data, error) &&
           scan_dir(store, STORE_DAMAGED, "", visit, data, error);
}
