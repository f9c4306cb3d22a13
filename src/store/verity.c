/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: fs-verity is switched on for each object when its bytes are complete, while it still lies in its
 * writer's staging directory; the kernel then refuses every write to it and checks what is read. It takes a read-only
 * fd and that nobody has the file open for writing.
 *
 * A store is *secure* when its meta.json has fs-verity itself (composefs has no field for it, so that nobody can
 * turn it off by editing one): then each object must have it too, opening one compares the kernel's digest with its
 * name, and mounts are made with verity=require. In any other store it is switched on where the filesystem can and
 * nothing depends on it; fsck reads all bytes in both.
 *
 * Whether the filesystem can is found out by the first object of a process: one failed call, and no more are made.
 */
#include "store/scan.h"

#include "base/cancel.h"

#include <errno.h>
#include <linux/fsverity.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { TRIES = 4, TRY_US = 1000, HASH_SIZE_MAX = 64 };

/* 0, or errno. A writer may exist for a moment only: a child of another thread between its fork and its exec. */
static int enable(int fd)
{
    const struct fsverity_enable_arg arg = {
        .version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256, .block_size = 4096};
    for (int i = 0;; i++) {
        if (ioctl(fd, FS_IOC_ENABLE_VERITY, &arg) == 0 || errno == EEXIST)
            return 0;
        if ((errno != ETXTBSY && errno != EBUSY && errno != EINTR) || i + 1 == TRIES)
            return errno;
        g_usleep(TRY_US);
    }
}

/* EINVAL: the filesystem's blocks are smaller than 4096 bytes. */
static bool is_unsupported(int number)
{
    return number == ENOTTY || number == EOPNOTSUPP || number == EINVAL || number == ENOSYS;
}

/* 0, or errno: ENODATA without verity. */
static int measure(int fd, Digest *out_digest)
{
    _Alignas(struct fsverity_digest)
        uint8_t room[sizeof(struct fsverity_digest) + HASH_SIZE_MAX] = {0};
    struct fsverity_digest *measured = (struct fsverity_digest *)room;
    measured->digest_size = HASH_SIZE_MAX;
    if (ioctl(fd, FS_IOC_MEASURE_VERITY, measured) < 0)
        return errno;
    if (measured->digest_algorithm != FS_VERITY_HASH_ALG_SHA256 ||
        measured->digest_size != DIGEST_SIZE)
        return EBADMSG;
    memcpy(out_digest->bytes, measured->digest, DIGEST_SIZE);
    return 0;
}

/* The file's bytes under the same name in a file that nobody else has open. Returns it opened for reading. */
static int copy_file(int dirfd, const char *name, int from, GError **error)
{
    g_autofree char *copy = g_strconcat(".tmp-", name, NULL);
    struct stat st;
    unlinkat(dirfd, copy, 0);
    _autofd int to = openat(dirfd, copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (to < 0 || fstat(from, &st) < 0 || fchmod(to, st.st_mode & 07777) < 0)
        return error_throw_errno_fd(error, "cannot copy '%s'", name);
    loff_t at = 0;
    ssize_t n;
    while ((n = copy_file_range(from, &at, to, NULL, 1 << 30, 0)) > 0)
        continue;
    sys_fd_closep(&to);
    if (n < 0 || renameat(dirfd, copy, dirfd, name) < 0) {
        error_throw_errno(error, "cannot copy '%s'", name);
        unlinkat(dirfd, copy, 0);
        return -1;
    }
    return file_open_at(dirfd, name, O_RDONLY | O_NOFOLLOW, error);
}

/* *out_errno is why it could not be switched on; 0 with false is another failure, in *error. */
static bool seal_file(int dirfd, const char *name, int *out_fd, int *out_errno, GError **error)
{
    *out_errno = 0;
    _autofd int fd = file_open_at(dirfd, name, O_RDONLY | O_NOFOLLOW, error);
    if (fd < 0)
        return false;
    int failed = enable(fd);
    if (failed == ETXTBSY) {
        _autofd int copy = copy_file(dirfd, name, fd, error);
        if (copy < 0)
            return false;
        failed = enable(copy);
        sys_fd_closep(&fd);
        fd = fd_steal(&copy);
    }
    *out_errno = failed;
    *out_fd = failed ? -1 : fd_steal(&fd);
    return failed == 0;
}

bool store_seal(Store *store, int dirfd, const char *name, const Digest *object, GError **error)
{
    if (g_atomic_int_get(&store->verity) == STORE_VERITY_NONE)
        return true;
    _autofd int fd = -1;
    int number;
    if (!seal_file(dirfd, name, &fd, &number, error)) {
        if (number == 0)
            return store_prefix_write(store, error);
        if (is_unsupported(number) && !store_is_secure(store)) {
            g_atomic_int_set(&store->verity, STORE_VERITY_NONE);
            return true;
        }
        errno = number;
        return error_throw_errno(error, "cannot switch fs-verity on for object '%.12s'",
                                 digest_hex(object).text);
    }
    Digest measured;
    number = measure(fd, &measured);
    if (number == 0 && digest_equal(&measured, object))
        return true;
    return error_throw(error, ERROR_CORRUPT,
                       "object '%.12s' is not on the disk as it was written: fs-verity measures "
                       "'%.12s'",
                       digest_hex(object).text,
                       number ? g_strerror(number) : digest_hex(&measured).text);
}

bool store_check_seal(Store *store, int fd, const Digest *object, GError **error)
{
    if (!store_is_secure(store))
        return true;
    Digest measured;
    int number = measure(fd, &measured);
    if (number == ENODATA)
        return error_throw(error, ERROR_CORRUPT,
                           "object '%.12s' has no fs-verity, in a store that requires it",
                           digest_hex(object).text);
    if (number) {
        errno = number;
        return error_throw_errno(error, "cannot measure object '%.12s'", digest_hex(object).text);
    }
    return digest_equal(&measured, object) ||
           error_throw(error, ERROR_CORRUPT,
                       "object '%.12s' is damaged: fs-verity measures '%.12s'",
                       digest_hex(object).text, digest_hex(&measured).text);
}

typedef struct {
    Store *store;
    uint64_t sealed;
} SealAll;

/* In place: an object that another process has open for writing is no object of ours. */
static bool seal_stored(const Digest *object, const char *path, const struct stat *st _unused,
                        void *data, GError **error)
{
    SealAll *all = data;
    Digest measured;
    _autofd int fd =
        object ? openat(all->store->objects_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (fd < 0 || measure(fd, &measured) != ENODATA)
        return cancel_check(error);
    errno = enable(fd);
    if (errno && !is_unsupported(errno))
        return error_throw_errno(error, "cannot switch fs-verity on for object '%.12s'",
                                 digest_hex(object).text);
    all->sealed += errno == 0;
    return cancel_check(error);
}

bool store_seal_all(Store *store, uint64_t *out_sealed, GError **error)
{
    SealAll all = {.store = store};
    if (store_has_verity(store) && !scan_objects(store, seal_stored, &all, error))
        return false;
    if (all.sealed > 0 && syncfs(store->dirfd) < 0)
        return error_throw_errno(error, "cannot sync the store '%s'", store->path);
    *out_sealed = all.sealed;
    return true;
}

/* --- the store as a whole ------------------------------------------------------------------------------- */

bool store_is_secure(const Store *store)
{
    return g_atomic_int_get(&store->verity) == STORE_VERITY_REQUIRED;
}

bool store_has_verity(const Store *store)
{
    Digest measured;
    _autofd int fd = openat(store->dirfd, STORE_META, O_RDONLY | O_CLOEXEC);
    int number = fd < 0 ? ENOENT : measure(fd, &measured);
    return number == 0 || number == ENODATA;
}

bool verity_open(Store *store, GError **error)
{
    struct statx st;
    if (statx(store->dirfd, STORE_META, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &st) < 0)
        return error_throw_errno(error, "cannot look at '%s/" STORE_META "'", store->path);
    store->verity = STORE_VERITY_TRY;
    if (!(st.stx_attributes & STATX_ATTR_VERITY))
        return true;
    store->verity = STORE_VERITY_REQUIRED;
    return store_has_verity(store) ||
           error_throw(error, ERROR_UNSUPPORTED,
                       "cannot open store '%s': it requires fs-verity, which this kernel or its "
                       "filesystem doesn't have",
                       store->path);
}

bool verity_write_meta(int dirfd, const char *path, const char *text, GError **error)
{
    static const char *const temporary = ".tmp-" STORE_META;
    _autofd int fd = -1;
    int number = 0;
    if (file_replace_at(dirfd, temporary, text, strlen(text), 0644, 0, error) &&
        seal_file(dirfd, temporary, &fd, &number, error)) {
        if (fsync(fd) == 0 && renameat(dirfd, temporary, dirfd, STORE_META) == 0)
            return file_sync_dir_at(dirfd, ".", error);
        number = errno;
    }
    unlinkat(dirfd, temporary, 0);
    if (is_unsupported(number))
        return error_throw(error, ERROR_UNSUPPORTED,
                           "cannot make a store with fs-verity in '%s': the filesystem has none\n"
                           "hint: ext4 with blocks of 4096 bytes has it after 'tune2fs -O verity "
                           "DEVICE', btrfs always; without --require-verity only "
                           "'atomic store fsck' checks digests",
                           path);
    errno = number;
    return number == 0 || error_throw_errno(error, "cannot write '%s/" STORE_META "'", path);
}
