/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: a few files are synced each, many by one syncfs, which pays for the dirty data of the neighbours too. A
 * syncfs also makes the names durable that earlier batches got; so a sequence of large batches costs one syncfs each, and
 * one more at the end. Nothing refers to an object before that.
 */
#include "store/batch.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { SYNC_EACH = 64 };

void batch_touch(BatchDirs *dirs, const Digest *object)
{
    dirs->n += !dirs->touched[object->bytes[0]];
    dirs->touched[object->bytes[0]] = true;
}

static bool sync_filesystem(int staging_fd, BatchDirs *dirs, GError **error)
{
    if (syncfs(staging_fd) < 0)
        return error_throw_errno(error, "cannot sync the store");
    *dirs = (BatchDirs){0};
    return true;
}

static bool sync_files(int staging_fd, const GArray *objects, BatchDirs *dirs, GError **error)
{
    if (objects->len > SYNC_EACH)
        return sync_filesystem(staging_fd, dirs, error);
    for (guint i = 0; i < objects->len; i++) {
        DigestHex name = digest_hex(&g_array_index(objects, Digest, i));
        _autofd int fd = openat(staging_fd, name.text, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
            return error_throw_errno(error, "cannot sync object '%.12s'", name.text);
    }
    return true;
}

static bool move_object(Store *store, int staging_fd, const Digest *digest, BatchDirs *dirs,
                        GError **error)
{
    DigestHex hex = digest_hex(digest);
    StoreObjectPath path = store_object_path(digest);
    int to = store->objects_fd;
    int failed = renameat2(staging_fd, hex.text, to, path.text, RENAME_NOREPLACE);
    if (failed < 0 && errno == ENOENT) {
        char dir[3] = {hex.text[0], hex.text[1], '\0'};
        if (mkdirat(to, dir, 0755) < 0 && errno != EEXIST)
            return error_throw_errno(error, "cannot create directory 'objects/%s'", dir);
        dirs->parent = true;
        failed = renameat2(staging_fd, hex.text, to, path.text, RENAME_NOREPLACE);
    }
    if (failed < 0 &&
        errno == EINVAL) /* a filesystem without it: replacing the same bytes is fine too */
        failed = renameat(staging_fd, hex.text, to, path.text);
    if (failed < 0 && errno == EEXIST)
        failed = unlinkat(staging_fd, hex.text, 0);
    if (failed < 0)
        return error_throw_errno(error, "cannot store object '%.12s'", hex.text);
    batch_touch(
        dirs, digest); /* also when another writer was first: it may not have synced the name yet */
    return true;
}

bool batch_store(Store *store, int staging_fd, const GArray *objects, BatchDirs *dirs,
                 GError **error)
{
    if (!sync_files(staging_fd, objects, dirs, error))
        return false;
    for (guint i = 0; i < objects->len; i++)
        if (!move_object(store, staging_fd, &g_array_index(objects, Digest, i), dirs, error))
            return false;
    return true;
}

bool batch_sync_dirs(Store *store, int staging_fd, BatchDirs *dirs, GError **error)
{
    if (dirs->n > SYNC_EACH)
        return sync_filesystem(staging_fd, dirs, error);
    for (int i = 0; dirs->n > 0 && i < 256; i++) {
        char dir[3];
        g_snprintf(dir, sizeof dir, "%02x", i);
        if (dirs->touched[i] && !file_sync_dir_at(store->objects_fd, dir, error))
            return false;
    }
    if (dirs->parent && !file_sync_dir_at(store->objects_fd, ".", error))
        return false;
    *dirs = (BatchDirs){0};
    return true;
}
