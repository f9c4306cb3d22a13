/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How the swap works.
 *
 * `loader` is a link to loader.0 or loader.1. The other one is written new: first removed (nothing refers to
 * it), then one file per deployment, each synced, then its directories. A link `loader.tmp` to it is made and
 * renamed over `loader`: that rename is the commit point of every change to a host. The kill or power cut
 * before it leaves the old list and garbage; after it, the new list.
 *
 * Boot loaders read the disk without replaying the journal. A boot filesystem of its own is therefore frozen and
 * thawed afterwards, which writes the journal back. Freezing a filesystem that we could write to would hang
 * us, so a forked child that is locked in memory and touches no file thaws it when we die, or after ten seconds.
 * The filesystem that holds the root or the store is never frozen.
 */
#include "host/loader.h"

#include "base/file.h"
#include "host/entry.h"

#include <errno.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ENTRY_LIMIT = 64 * 1024,
    THAW_AFTER_MS = 10000,
};

/* The directory is new and nothing refers to it, so no temporary name is needed; it is synced by the caller. */
static bool write_entry(int dirfd, const char *name, const char *text, size_t size, GError **error)
{
    _autofd int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_throw_errno(error, "cannot create '%s'", name);
    if (!file_write_all(fd, text, size, error))
        return error_prefix(error, "'%s'", name);
    if (fsync(fd) < 0)
        return error_throw_errno(error, "cannot sync '%s'", name);
    return true;
}

static bool copy_foreign(Host *host, int from_boot, int to, GError **error)
{
    for (size_t i = 0; i < host->foreign->len; i++) {
        const char *name = host->foreign->pdata[i];
        g_autofree char *path = g_strdup_printf("loader/entries/%s", name);
        size_t size;
        g_autofree char *text = file_read_at(from_boot, path, ENTRY_LIMIT, &size, error);
        if (!text || !write_entry(to, name, text, size, error))
            return false;
    }
    return true;
}

static bool write_entries(Host *host, const char *loader, GPtrArray *deployments, GError **error)
{
    g_autofree char *entries = g_strdup_printf("%s/entries", loader);
    if (!file_remove_all_at(host->boot_fd, loader, error) ||
        !file_ensure_dir_at(host->boot_fd, entries, 0755, error))
        return false;
    _autofd int fd = file_open_dir_at(host->boot_fd, entries, error);
    if (fd < 0)
        return false;
    const char *prefix = sysroot_boot_is_separate(host) ? "" : "/boot";
    for (size_t i = 0; i < deployments->len; i++) {
        g_autofree char *name = entry_file_name(i, deployments->len);
        g_autofree char *text = entry_format(deployments->pdata[i], i, deployments->len, prefix);
        if (!write_entry(fd, name, text, strlen(text), error))
            return false;
    }
    return copy_foreign(host, host->boot_fd, fd, error) && file_sync_dir_at(fd, "", error) &&
           file_sync_dir_at(host->boot_fd, loader, error);
}

static void thaw_in_child(int boot_fd, int pipe_fd)
{
    struct pollfd wait = {.fd = pipe_fd, .events = POLLIN};
    /* readable or hung up: the parent is done or dead; else it takes too long */
    while (poll(&wait, 1, THAW_AFTER_MS) < 0 && errno == EINTR)
        ;
    ioctl(boot_fd, FITHAW, 0); /* fails when it is thawed already: fine */
    _exit(0);
}

static void freeze_and_thaw(int boot_fd)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return;
    _autofd int read_end = ends[0];
    _autofd int write_end = ends[1];
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) < 0)
        return;
    _autofd int ready_read = ready[0];
    _autofd int ready_write = ready[1];
    pid_t child = fork();
    if (child == 0) {
        close(write_end);
        bool locked = mlockall(MCL_CURRENT) == 0;
        if (write(ready_write, locked ? "y" : "n", 1) != 1)
            _exit(1);
        thaw_in_child(boot_fd, read_end);
    }
    if (child < 0)
        return;
    sys_fd_closep(&ready_write);
    char answer = 'n';
    /* without a watchdog that can't be swapped out it is not worth the risk */
    if (read(ready_read, &answer, 1) == 1 && answer == 'y' && ioctl(boot_fd, FIFREEZE, 0) == 0)
        ioctl(boot_fd, FITHAW, 0);
    sys_fd_closep(&write_end);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
}

static bool same_filesystem(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) < 0 || stat(path, &b) < 0 || a.st_dev == b.st_dev;
}

/* The rename is durable after the directory's sync; this is for readers without a journal. */
static void write_journal_back(const Host *host)
{
    g_autofree char *store = host_store_path(host);
    if (sysroot_boot_is_separate(host) && !same_filesystem(host->boot_fd, "/") &&
        !same_filesystem(host->boot_fd, store))
        freeze_and_thaw(host->boot_fd);
}

bool loader_swap(Host *host, GPtrArray *deployments, GError **error)
{
    const char *loader = host->loader ? "loader.0" : "loader.1";
    if (!write_entries(host, loader, deployments, error))
        return error_prefix(error, "cannot write the boot entries");
    if (unlinkat(host->boot_fd, "loader.tmp", 0) < 0 && errno != ENOENT)
        return error_throw_errno(error, "cannot remove '%s/boot/loader.tmp'", host->path);
    if (symlinkat(loader, host->boot_fd, "loader.tmp") < 0)
        return error_throw_errno(error, "cannot create '%s/boot/loader.tmp'", host->path);
    if (fsync(host->boot_fd) < 0)
        return error_throw_errno(error, "cannot sync '%s/boot'", host->path);
    if (renameat(host->boot_fd, "loader.tmp", host->boot_fd, "loader") < 0)
        return error_throw_errno(error, "cannot swap the boot entries of '%s'", host->path);
    /* from here on the change is made; a failing sync means that it may not survive a power cut */
    if (fsync(host->boot_fd) < 0)
        return error_throw_errno(error, "the boot entries are swapped, but cannot sync '%s/boot'",
                                 host->path);
    write_journal_back(host);
    return sysroot_reload(host, error);
}
