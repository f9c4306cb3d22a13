/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: staging/BOOTID-KEY is locked by its writer (flock of the directory), so who gets the lock knows that the
 * writer is dead. What is left of an earlier boot under the same key gets this boot's name and is gone on with like any
 * other; whether the power failed in between makes no difference to who measures every file before believing it.
 */
#include "store/staging.h"

#include "base/sys/process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { LOCK_TRIES = 20, BOOT_ID_LENGTH = 36, RESUMABLE_S = 24 * 60 * 60 };

char *staging_name(const char *key)
{
    static int counter;
    g_autoptr(GString) name = g_string_new(sys_boot_id());
    g_string_append_c(name, '-');
    if (!key) {
        g_string_append_printf(name, "%d.%d.%08x", (int)getpid(), g_atomic_int_add(&counter, 1),
                               g_random_int());
        return g_string_free(g_steal_pointer(&name), false);
    }
    for (const char *c = key; *c; c++) {
        if (g_ascii_isalnum(*c) || strchr("-_.:@", *c))
            g_string_append_c(name, *c);
        else
            g_string_append_printf(name, "%%%02X", (unsigned char)*c);
    }
    if (name->len > 200) { /* a name must fit a directory entry */
        g_autofree char *hash = g_strdup_printf("%08x", g_str_hash(key));
        g_string_truncate(name, 190);
        g_string_append(name, hash);
    }
    return g_string_free(g_steal_pointer(&name), false);
}

/* --- taking one over ------------------------------------------------------------------------------------ */

/* With a journal that is not older than a day, of whatever boot. */
static bool is_resumable(int fd)
{
    struct stat st;
    if (fstatat(fd, STORE_STAGING_JOURNAL, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    gint64 age = g_get_real_time() / G_USEC_PER_SEC - st.st_mtime;
    return ABS(age) < RESUMABLE_S; /* a clock that was put back must not keep it for years */
}

/* "BOOTID-KEY" of another boot and the same key. */
static bool is_earlier(const char *candidate, const char *name)
{
    const char *suffix = name + strlen(sys_boot_id());
    return strlen(candidate) == BOOT_ID_LENGTH + strlen(suffix) &&
           strcmp(candidate + BOOT_ID_LENGTH, suffix) == 0 && strcmp(candidate, name) != 0;
}

/* Gives what an earlier boot left the name of this boot. Who comes too late makes an empty one. */
static bool take_over_earlier(Store *store, const char *name, GError **error)
{
    _autofd int staging = file_open_dir_at(store->dirfd, STORE_STAGING, error);
    g_autoptr(GPtrArray) names = staging < 0 ? NULL : file_list_fd(staging, error);
    for (guint i = 0; names && i < names->len; i++) {
        const char *candidate = names->pdata[i];
        StagingState state;
        _autofd int lock = -1;
        if (!is_earlier(candidate, name))
            continue;
        if (!store_lock_staging(staging, candidate, &state, &lock, error))
            return false;
        if (state == STAGING_RESUMABLE &&
            renameat2(staging, candidate, staging, name, RENAME_NOREPLACE) < 0 && errno != EEXIST &&
            errno != ENOENT)
            return error_throw_errno(error, "cannot take over 'staging/%s'", candidate);
    }
    return names != NULL;
}

bool store_lock_staging(int staging_fd, const char *name, StagingState *out_state, int *out_lock,
                        GError **error)
{
    *out_state = STAGING_GONE;
    *out_lock = -1;
    _autofd int fd = openat(staging_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ||
               error_throw_errno(error, "cannot open '" STORE_STAGING "/%s'", name);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        *out_state = STAGING_ALIVE;
        return true;
    }
    *out_state = is_resumable(fd) ? STAGING_RESUMABLE : STAGING_DEAD;
    *out_lock = fd_steal(&fd);
    return true;
}

/* --- one's own ------------------------------------------------------------------------------------------ */

/* The directory may be swept away, or finished by another, before it is locked. */
static int open_locked(Store *store, const char *path, const char *what, GError **error)
{
    for (int attempt = 0; attempt < 100; attempt++) {
        if (!file_ensure_dir_at(store->dirfd, path, 0700, error))
            return -1;
        _autofd int fd =
            openat(store->dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0)
            return error_throw_errno_fd(error, "cannot open '%s'", path);
        bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
        if (!locked && attempt < LOCK_TRIES) { /* a collection holds it for a moment only */
            g_usleep(50 * 1000);
            continue;
        }
        if (!locked) {
            g_autofree char *holder = file_lock_holder(fd);
            return error_throw_fd(error, ERROR_BUSY,
                                  "'%s' is being written into the store '%s' by %s", what,
                                  store->path, holder ? holder : "another process");
        }
        struct stat own, named;
        if (fstat(fd, &own) == 0 && fstatat(store->dirfd, path, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
            own.st_ino == named.st_ino)
            return fd_steal(&fd);
    }
    return error_throw_fd(error, ERROR_BUSY, "cannot get hold of '%s'", path);
}

int staging_open(Store *store, const char *name, const char *key, GError **error)
{
    g_autofree char *path = g_strconcat(STORE_STAGING "/", name, NULL);
    if (key && faccessat(store->dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
        !take_over_earlier(store, name, error))
        return -1;
    return open_locked(store, path, key ? key : name, error);
}
