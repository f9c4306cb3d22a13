/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading a host: where it is, what its loader names, who runs. On the path of `atomic status`, so no store. */
#include "host/sysroot.h"

#include "base/file.h"
#include "host/deployment.h"
#include "host/entry.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STATE_FILE_LIMIT = 64 * 1024 };

typedef struct {
    char *version; /* of the entry */
    HostDeployment *deployment;
} Found;

static void found_free(void *data)
{
    Found *found = data;
    g_free(found->version);
    host_deployment_free(found->deployment);
    g_free(found);
}

/* Greatest version first. */
static int found_compare(const void *a, const void *b)
{
    const Found *const *x = a, *const *y = b;
    return strverscmp((*y)->version, (*x)->version);
}

char *sysroot_parse_cmdline(const char *cmdline)
{
    char *id = NULL;
    g_autofree char *line = g_strdelimit(g_strdup(cmdline), "\n", ' ');
    g_free(entry_strip_options(line, &id));
    return id;
}

static HostDeployment *load_deployment(Host *host, const char *id, GError **error)
{
    g_autofree char *path = g_strdup_printf(HOST_DEPLOY_DIR "/%s/" HOST_KEY_FILE, id);
    g_autofree char *text = file_read_at(host->root_fd, path, STATE_FILE_LIMIT, NULL, error);
    if (!text)
        return NULL;
    HostDeployment *deployment = deployment_parse(id, text, error);
    if (!deployment)
        error_prefix(error, "'%s'", path);
    return deployment;
}

/* A lost key file must not keep anybody from rolling back: what the entry itself says is enough to keep or
 * leave the deployment. */
static HostDeployment *salvage_deployment(HostEntry *entry)
{
    HostDeployment *deployment = deployment_new_damaged(entry->id);
    char *suffix = entry->title ? strstr(entry->title, " (atomic:") : NULL;
    if (suffix)
        *suffix = '\0';
    deployment->title = g_steal_pointer(&entry->title);
    deployment->bootcsum = g_steal_pointer(&entry->bootcsum);
    deployment->has_initrd = entry->has_initrd;
    return deployment;
}

static bool read_entry(Host *host, int dirfd, const char *name, GPtrArray *found, GError **error)
{
    g_autofree char *text = file_read_at(dirfd, name, STATE_FILE_LIMIT, NULL, error);
    if (!text)
        return false;
    g_auto(HostEntry) entry;
    entry_parse(text, &entry);
    if (!entry.id) {
        g_ptr_array_add(host->foreign, g_strdup(name));
        return true;
    }
    g_autoptr(GError) failed = NULL;
    g_autoptr(HostDeployment) deployment = load_deployment(host, entry.id, &failed);
    if (!deployment && (error_is(failed, ERROR_UNSUPPORTED) || !entry.bootcsum)) {
        g_propagate_prefixed_error(error, g_steal_pointer(&failed),
                                   "boot entry '%s' names a deployment that can't be read: ", name);
        return false;
    }
    if (!deployment)
        deployment = salvage_deployment(&entry);
    deployment->options = g_steal_pointer(&entry.options);
    deployment->booted = g_strcmp0(entry.id, host->booted_id) == 0;
    Found *new = g_new0(Found, 1);
    new->version = g_steal_pointer(&entry.version);
    new->deployment = g_steal_pointer(&deployment);
    g_ptr_array_add(found, new);
    return true;
}

static bool read_entries(Host *host, GPtrArray *found, GError **error)
{
    _autofd int fd = file_open_dir_at(host->boot_fd, "loader/entries", error);
    if (fd < 0)
        return error_prefix(error, "cannot read the boot entries of '%s'", host->path);
    g_autoptr(GPtrArray) names = file_list_fd(fd, error);
    for (guint i = 0; names && i < names->len; i++) {
        const char *name = names->pdata[i];
        if (name[0] != '.' && g_str_has_suffix(name, ".conf") &&
            !read_entry(host, fd, name, found, error))
            return false;
    }
    return names || error_prefix(error, "cannot read the boot entries of '%s'", host->path);
}

static bool read_loader(Host *host, char **out_target, GError **error)
{
    g_autofree char *target = file_readlink_at(host->boot_fd, "loader", error);
    if (!target)
        return error_prefix(error, "'%s/boot'", host->path);
    if (strcmp(target, "loader.0") != 0 && strcmp(target, "loader.1") != 0)
        return error_throw(error, ERROR_UNSUPPORTED,
                           "'%s/boot/loader' points to '%s', expected loader.0 or loader.1",
                           host->path, target);
    *out_target = g_steal_pointer(&target);
    return true;
}

static bool read_deployments(Host *host, GError **error)
{
    g_ptr_array_set_size(host->deployments, 0);
    g_ptr_array_set_size(host->foreign, 0);
    g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(found_free);
    if (!read_entries(host, found, error))
        return false;
    g_ptr_array_sort(found, found_compare);
    for (size_t i = 0; i < found->len; i++) {
        Found *f = found->pdata[i];
        g_ptr_array_add(host->deployments, g_steal_pointer(&f->deployment));
    }
    return true;
}

/* Readers take no lock: when the loader was swapped meanwhile, what was read may be half gone, so again. */
bool sysroot_reload(Host *host, GError **error)
{
    for (unsigned attempt = 0;; attempt++) {
        g_autofree char *before = NULL;
        g_autofree char *after = NULL;
        g_autoptr(GError) failed = NULL;
        if (!read_loader(host, &before, error))
            return false;
        bool ok = read_deployments(host, &failed);
        if (!read_loader(host, &after, error))
            return false;
        if (strcmp(before, after) != 0 && attempt < 5)
            continue;
        if (!ok) {
            g_propagate_error(error, g_steal_pointer(&failed));
            return false;
        }
        host->loader = after[strlen("loader.")] == '1';
        return true;
    }
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Of the running system atomic-prepare-root has put the physical root at /sysroot. */
static void find_booted(Host *host)
{
    if (!same_file(host->path, "/sysroot"))
        return;
    g_autofree char *cmdline =
        file_read_at(AT_FDCWD, "/proc/cmdline", STATE_FILE_LIMIT, NULL, NULL);
    host->booted_id = cmdline ? sysroot_parse_cmdline(cmdline) : NULL;
    host->running = host->booted_id != NULL;
}

static bool open_boot(Host *host, GError **error)
{
    if (host->running && access("/boot/loader", F_OK) == 0)
        host->boot_fd = file_open_dir_at(AT_FDCWD, "/boot", error);
    else
        host->boot_fd = file_open_dir_at(host->root_fd, "boot", error);
    return host->boot_fd >= 0 || error_prefix(error, "'%s'", host->path);
}

static bool check_is_host(const char *sysroot, const char *path, int root_fd, GError **error)
{
    struct stat st;
    if (fstatat(root_fd, HOST_DEPLOY_DIR, &st, 0) == 0 &&
        (fstatat(root_fd, "boot/loader", &st, AT_SYMLINK_NOFOLLOW) == 0 || !sysroot))
        return true;
    if (sysroot)
        return error_throw(error, ERROR_NOT_FOUND,
                           "'%s' is no host\nhint: make it one with "
                           "'atomic host init --sysroot %s --os NAME'",
                           path, path);
    return error_throw(
        error, ERROR_NOT_FOUND,
        "this system was not deployed by atomic\nhint: --sysroot DIR names an offline "
        "host; 'atomic host init --sysroot DIR --os NAME' makes one");
}

Host *host_open(const char *sysroot, GError **error)
{
    g_autoptr(Host) host = g_new0(Host, 1);
    host->root_fd = host->boot_fd = host->lock_fd = -1;
    host->deployments = g_ptr_array_new_with_free_func((GDestroyNotify)host_deployment_free);
    host->foreign = g_ptr_array_new_with_free_func(g_free);
    host->path = g_strdup(sysroot                                          ? sysroot
                          : access("/sysroot/" HOST_DEPLOY_DIR, F_OK) == 0 ? "/sysroot"
                                                                           : "/");
    host->root_fd = file_open_dir_at(AT_FDCWD, host->path, error);
    if (host->root_fd < 0)
        return NULL;
    if (!check_is_host(sysroot, host->path, host->root_fd, error))
        return NULL;
    find_booted(host);
    if (!open_boot(host, error) || !sysroot_reload(host, error))
        return NULL;
    return g_steal_pointer(&host);
}

void host_free(Host *host)
{
    if (!host)
        return;
    sys_fd_closep(&host->lock_fd); /* releases the lock */
    sys_fd_closep(&host->boot_fd);
    sys_fd_closep(&host->root_fd);
    g_ptr_array_unref(host->deployments);
    g_ptr_array_unref(host->foreign);
    g_free(host->booted_id);
    g_free(host->path);
    g_free(host);
}

const char *host_path(const Host *host)
{
    return host->path;
}

char *host_store_path(const Host *host)
{
    return g_build_filename(host->path, HOST_STORE_DIR, NULL);
}

char *host_remotes_path(const Host *host)
{
    return g_build_filename(host->path, HOST_REMOTES_DIR, NULL);
}

bool host_is_running(const Host *host)
{
    return host->running;
}

GPtrArray *host_deployments(const Host *host)
{
    return host->deployments;
}

const HostDeployment *host_booted(const Host *host)
{
    for (size_t i = 0; i < host->deployments->len; i++) {
        const HostDeployment *d = host->deployments->pdata[i];
        if (d->booted)
            return d;
    }
    return NULL;
}

const HostDeployment *host_default(const Host *host)
{
    return host->deployments->len ? host->deployments->pdata[0] : NULL;
}

const HostDeployment *host_merge_source(const Host *host, const char *os)
{
    const HostDeployment *booted = host_booted(host);
    if (booted && strcmp(booted->os, os) == 0)
        return booted;
    for (size_t i = 0; i < host->deployments->len; i++) {
        const HostDeployment *d = host->deployments->pdata[i];
        if (strcmp(d->os, os) == 0)
            return d;
    }
    return NULL;
}

const HostDeployment *host_rollback_target(const Host *host, GError **error)
{
    if (host->deployments->len < 2)
        return error_throw_null(error, ERROR_INVALID,
                                "there is no other deployment to roll back to");
    const HostDeployment *booted = host_booted(host);
    /* an upgrade that was not booted yet is undone; else the one before comes back */
    return booted && booted != host->deployments->pdata[0] ? booted : host->deployments->pdata[1];
}

bool sysroot_boot_is_separate(const Host *host)
{
    struct stat root, boot;
    return fstat(host->root_fd, &root) == 0 && fstat(host->boot_fd, &boot) == 0 &&
           root.st_dev != boot.st_dev;
}
