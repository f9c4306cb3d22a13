/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making a host's layout, and the lock that changes take. */
#include "host/sysroot.h"

#include "base/cancel.h"
#include "base/file.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
    LOCK_POLL_MS = 50,
    HOLDER_LIMIT = 256,
};

static bool check_os_name(const char *os, GError **error)
{
    size_t good = strspn(os, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (!*os || os[good] || *os == '.' || *os == '-' || strlen(os) > 64)
        return error_throw(
            error, ERROR_INVALID,
            "'%s' is no name for an OS\nhint: up to 64 letters, digits, '.', '_', '-'", os);
    return true;
}

static bool make_layout(int fd, const char *os, GError **error)
{
    g_autofree char *var = g_strdup_printf(HOST_OS_DIR "/%s/var", os);
    return file_ensure_dir_at(fd, HOST_DEPLOY_DIR, 0755, error) &&
           file_ensure_dir_at(fd, HOST_REMOTES_DIR, 0755, error) &&
           file_ensure_dir_at(fd, var, 0755, error) &&
           file_ensure_dir_at(fd, "boot/" HOST_KERNEL_DIR, 0755, error);
}

/* The swap is a rename of a link, which FAT has not. */
static bool check_boot_has_links(int boot, GError **error)
{
    struct statfs fs;
    if (fstatfs(boot, &fs) < 0)
        return error_throw_errno(error, "cannot look at the filesystem of 'boot'");
    if (fs.f_type == MSDOS_SUPER_MAGIC)
        return error_throw(error, ERROR_UNSUPPORTED,
                           "not supported yet: a FAT 'boot'\nhint: ext4, xfs and btrfs are");
    return true;
}

/* The link comes last: with it the directory is a host. */
static bool make_loader(int fd, GError **error)
{
    struct stat st;
    if (fstatat(fd, "boot/loader", &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (S_ISLNK(st.st_mode))
            return true;
        return error_throw(error, ERROR_EXISTS,
                           "'boot/loader' exists and is no link of ours\n"
                           "hint: boot entries of another system are in it; move it away first");
    }
    _autofd int boot = file_open_dir_at(fd, "boot", error); /* may be a filesystem of its own */
    if (boot < 0 || !check_boot_has_links(boot, error) ||
        !file_ensure_dir_at(boot, "loader.0/entries", 0755, error))
        return false;
    if (syncfs(fd) < 0 || syncfs(boot) < 0)
        return error_throw_errno(error, "cannot sync");
    return file_symlink_replace_at(boot, "loader", "loader.0", error) &&
           file_sync_dir_at(boot, "", error);
}

bool host_init(const char *sysroot, const char *os, GError **error)
{
    if (!check_os_name(os, error))
        return false;
    if (!file_ensure_dir_at(AT_FDCWD, sysroot, 0755, error))
        return false;
    _autofd int fd = file_open_dir_at(AT_FDCWD, sysroot, error);
    if (fd < 0)
        return false;
    g_autofree char *store = g_build_filename(sysroot, HOST_STORE_DIR, NULL);
    if (!make_layout(fd, os, error) || !store_init(store, error) || !make_loader(fd, error))
        return error_prefix(error, "cannot make a host of '%s'", sysroot);
    return true;
}

static void write_holder(int fd, const char *purpose)
{
    g_autofree char *text = g_strdup_printf("%d %s\n", (int)getpid(), purpose);
    /* only for the message that others print: failing to say it is no reason to fail */
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, strlen(text), 0) < 0)
        return;
}

static bool busy(Host *host, int fd, GError **error)
{
    char text[HOLDER_LIMIT];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[MAX(n, 0)] = '\0';
    g_strchomp(text);
    char *purpose = strchr(text, ' ');
    if (!purpose)
        return error_throw(error, ERROR_BUSY, "cannot lock '%s': another change is under way",
                           host->path);
    *purpose++ = '\0';
    return error_throw(error, ERROR_BUSY, "cannot lock '%s': held by '%s' (process %s)", host->path,
                       purpose, text);
}

bool host_lock(Host *host, const char *purpose, unsigned seconds, GError **error)
{
    if (geteuid() != 0)
        return error_throw(error, ERROR_PERMISSION, "changing a host needs root\nhint: use sudo");
    _autofd int fd = file_open_at(host->root_fd, HOST_LOCK_FILE, O_RDWR | O_CREAT, error);
    if (fd < 0)
        return false;
    int64_t deadline = g_get_monotonic_time() + (int64_t)seconds * G_USEC_PER_SEC;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_throw_errno(error, "cannot lock '%s'", host->path);
        if (g_get_monotonic_time() >= deadline)
            return busy(host, fd, error);
        if (!cancel_check(error))
            return false;
        g_usleep(LOCK_POLL_MS * 1000);
    }
    write_holder(fd, purpose);
    host->lock_fd = fd_steal(&fd);
    return sysroot_reload(host, error);
}

bool sysroot_check_locked(const Host *host, GError **error)
{
    return host->lock_fd >= 0 ||
           error_throw(error, ERROR_FAILED, "'%s' must be locked to be changed", host->path);
}
