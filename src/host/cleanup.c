/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Collecting what no deployment needs.
 *
 * What is kept is derived from the loader as it is on disk at this moment, never from what an operation
 * believes: after a swap whose last sync failed the new list counts. Killed half-way it leaves garbage that
 * the next one finds again, because every kind is found by its own listing.
 */
#include "host/sysroot.h"

#include "base/file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

typedef bool (*KeepFunc)(Host *host, const char *name);

static bool keep_deployment(Host *host, const char *name)
{
    for (size_t i = 0; i < host->deployments->len; i++) {
        const HostDeployment *d = host->deployments->pdata[i];
        if (strcmp(d->id, name) == 0)
            return true;
    }
    /* a system that runs keeps what it runs on, whatever the loader says */
    return g_strcmp0(host->booted_id, name) == 0;
}

static bool keep_kernel(Host *host, const char *name)
{
    for (size_t i = 0; i < host->deployments->len; i++) {
        const HostDeployment *d = host->deployments->pdata[i];
        if (strcmp(d->bootcsum, name) == 0)
            return true;
    }
    return false;
}

/* Removes each name in the directory that isn't kept; no directory: nothing to do. */
static bool sweep(Host *host, int parent, const char *path, KeepFunc keep, GError **error)
{
    _autofd int fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || error_throw_errno(error, "cannot open '%s'", path);
    g_autoptr(GPtrArray) names = file_list_fd(fd, error);
    for (guint i = 0; names && i < names->len; i++)
        if (!keep(host, names->pdata[i]) && !file_remove_all_at(fd, names->pdata[i], error))
            return error_prefix(error, "'%s'", path);
    return names || error_prefix(error, "'%s'", path);
}

static bool sweep_refs(Host *host, Store *store, StoreKind kind, GError **error)
{
    g_autoptr(GHashTable) refs = store_list_refs(store, kind, "deploy", error);
    if (!refs)
        return false;
    GHashTableIter iter;
    void *name;
    g_hash_table_iter_init(&iter, refs);
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        g_autofree char *ref = g_strconcat("deploy/", name, NULL);
        if (!keep_deployment(host, name) && !store_remove_ref(store, kind, ref, error))
            return false;
    }
    return true;
}

bool host_cleanup_names(Host *host, Store *store, GError **error)
{
    if (!sysroot_check_locked(host, error) || !sysroot_reload(host, error))
        return false;
    /* the last swap may not be on disk: its process was killed before the sync, or that failed */
    if (fsync(host->boot_fd) < 0)
        return error_throw_errno(error, "cannot sync '%s/boot'", host->path);
    const char *other = host->loader ? "loader.0" : "loader.1";
    if (!sweep(host, host->root_fd, HOST_DEPLOY_DIR, keep_deployment, error) ||
        !file_remove_all_at(host->boot_fd, "loader.tmp", error) ||
        !file_remove_all_at(host->boot_fd, other, error) ||
        !sweep(host, host->boot_fd, HOST_KERNEL_DIR, keep_kernel, error) ||
        !sweep_refs(host, store, STORE_IMAGES, error) ||
        !sweep_refs(host, store, STORE_STREAMS, error))
        return error_prefix(error, "cannot collect garbage of '%s'", host->path);
    return true;
}

bool host_cleanup(Host *host, Store *store, uint64_t *out_freed_bytes, GError **error)
{
    StoreGcResult result;
    if (!host_cleanup_names(host, store, error))
        return false;
    if (!store_gc(store, NULL, &result, error))
        return error_prefix(error, "cannot collect garbage of '%s'", host->path);
    if (out_freed_bytes)
        *out_freed_bytes = result.bytes;
    return true;
}
