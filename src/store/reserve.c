/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: the file `reserve` in the store. Its size is what is to be held, its allocated blocks are what is
 * held: giving it up punches the blocks out and leaves the size, filling it allocates what is missing. So there is
 * nothing to write down beside it, and a kill anywhere leaves a reserve that is held in part, which whoever comes
 * next makes good. Nothing is ever written into it: the blocks are allocated, not filled.
 *
 * Its lock (flock on the file) is held by the upgrade that has it, so that nobody fills it meanwhile.
 */
#include "store/layout.h"

#include <errno.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
    PERCENT = 3,
    LEAST = 512 << 20,
    FREE_SHARE =
        8, /* of what is free, at most an eighth: a small filesystem is not for the reserve alone */
    FILL_SHARE = 2,
    PATIENCE_S = 60,
    POLL_US = 5000,
};
/* An upgrade brings one tree and one kernel, however large the disk is. */
static const uint64_t most = (uint64_t)16 << 30;

struct StoreReserve {
    Store *store;
    int fd; /* -1: the store has none */
};

static bool look(int fd, StoreReserveState *out_state, uint64_t *out_available, GError **error)
{
    struct stat st;
    struct statfs fs;
    if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
        return error_throw_errno(error, "cannot look at the reserve");
    out_state->size = (uint64_t)st.st_size;
    out_state->held = MIN(out_state->size, (uint64_t)st.st_blocks * 512);
    *out_available = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
    return true;
}

static int allocate(int fd, int mode, uint64_t size)
{
    int failed;
    do
        failed = fallocate(fd, mode, 0, (off_t)size);
    while (failed < 0 && errno == EINTR);
    return failed;
}

/* The locked file; -1 without error when there is none. */
static int open_locked(Store *store, int flags, GError **error)
{
    _autofd int fd =
        openat(store->dirfd, STORE_RESERVE, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    if (fd < 0 && errno == ENOENT)
        return -1;
    if (fd < 0)
        return error_throw_errno_fd(error, "cannot open the reserve of '%s'", store->path);
    gint64 give_up = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_throw_errno_fd(error, "cannot lock the reserve of '%s'", store->path);
        if (g_get_monotonic_time() > give_up) {
            g_autofree char *holder = file_lock_holder(fd);
            return error_throw_fd(error, ERROR_BUSY, "the reserve of '%s' is in use by %s",
                                  store->path, holder ? holder : "another process");
        }
        g_usleep(POLL_US);
    }
    return fd_steal(&fd);
}

bool store_reserve_default(Store *store, uint64_t *out_size, GError **error)
{
    struct statfs fs;
    if (fstatfs(store->dirfd, &fs) < 0)
        return error_throw_errno(error, "cannot look at the filesystem of '%s'", store->path);
    uint64_t unit = (uint64_t)fs.f_bsize, share = (uint64_t)fs.f_blocks * unit / 100 * PERCENT;
    bool memory = fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
    *out_size = memory
                    ? 0
                    : MIN(MIN(MAX(share, LEAST), most), (uint64_t)fs.f_bavail * unit / FREE_SHARE) /
                          unit * unit;
    return true;
}

bool store_reserve_read(Store *store, StoreReserveState *out_state, GError **error)
{
    uint64_t available;
    *out_state = (StoreReserveState){0};
    _autofd int fd = openat(store->dirfd, STORE_RESERVE, O_PATH | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ||
               error_throw_errno(error, "cannot open the reserve of '%s'", store->path);
    return look(fd, out_state, &available, error);
}

static bool resize(Store *store, int fd, uint64_t size, GError **error)
{
    StoreReserveState now;
    uint64_t available;
    if (!look(fd, &now, &available, error))
        return false;
    if (size > now.held && size - now.held > available)
        return error_throw(error, ERROR_NO_SPACE,
                           "cannot reserve %.1f MB in '%s': %.1f MB are free", (double)size / 1e6,
                           store->path, (double)(available + now.held) / 1e6);
    if ((size < now.size && ftruncate(fd, (off_t)size) < 0) || allocate(fd, 0, size) < 0) {
        int number = errno;
        int undone = ftruncate(fd, (off_t)now.size);
        errno = undone < 0 ? errno : number;
        return error_throw_errno(error, "cannot reserve %.1f MB in '%s'", (double)size / 1e6,
                                 store->path);
    }
    return fsync(fd) == 0 || error_throw_errno(error, "cannot sync the reserve");
}

bool store_reserve_set(Store *store, uint64_t size, GError **error)
{
    if (!store_check_writable(store, error))
        return false;
    if (size == 0)
        return unlinkat(store->dirfd, STORE_RESERVE, 0) == 0 || errno == ENOENT ||
               error_throw_errno(error, "cannot remove the reserve of '%s'", store->path);
    bool existed = faccessat(store->dirfd, STORE_RESERVE, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    _autofd int fd = open_locked(store, O_CREAT, error);
    if (fd < 0)
        return false;
    if (resize(store, fd, size, error))
        return file_sync_dir_at(store->dirfd, ".", error);
    if (!existed)
        unlinkat(store->dirfd, STORE_RESERVE, 0);
    return false;
}

/* As much as there is, but the filesystem's other users keep half of what is free. It is no failure when it can't. */
static void fill(int fd)
{
    StoreReserveState now;
    uint64_t available;
    if (!look(fd, &now, &available, NULL))
        return;
    uint64_t more = MIN(now.size - now.held, available / FILL_SHARE);
    if (more > 0 && allocate(fd, FALLOC_FL_KEEP_SIZE, now.held + more) == 0)
        fsync(fd);
}

bool store_reserve_fill(Store *store, GError **error)
{
    _autofd int fd = openat(store->dirfd, STORE_RESERVE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ||
               error_throw_errno(error, "cannot open the reserve of '%s'", store->path);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) /* else an upgrade has it, and will fill it */
        fill(fd);
    return true;
}

StoreReserve *store_reserve_take(Store *store, GError **error)
{
    g_autoptr(GError) failed = NULL;
    _autofd int fd = open_locked(store, 0, &failed);
    if (failed) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return NULL;
    }
    StoreReserveState now;
    uint64_t available;
    if (fd >= 0 && !look(fd, &now, &available, error))
        return NULL;
    /* a filesystem frees blocks when the change is on the disk */
    if (fd >= 0 && available < now.size &&
        (allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, now.size) < 0 || fsync(fd) < 0))
        return error_throw_errno_null(error, "cannot give up the reserve of '%s'", store->path);
    StoreReserve *reserve = g_new(StoreReserve, 1);
    *reserve = (StoreReserve){.store = store_ref(store), .fd = fd_steal(&fd)};
    return reserve;
}

void store_reserve_return(StoreReserve *reserve)
{
    if (!reserve)
        return;
    if (reserve->fd >= 0)
        fill(reserve->fd);
    sys_fd_closep(&reserve->fd);
    store_unref(reserve->store);
    g_free(reserve);
}
