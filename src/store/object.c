/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/layout.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

StoreObjectPath store_object_path(const Digest *object)
{
    StoreObjectPath path;
    DigestHex hex = digest_hex(object);
    memcpy(path.text, hex.text, 2);
    path.text[2] = '/';
    memcpy(path.text + 3, hex.text + 2, DIGEST_HEX_SIZE - 2);
    return path;
}

bool store_parse_object_path(const char *target, Digest *out_digest)
{
    size_t length = strlen(target);
    if (length < DIGEST_HEX_SIZE || target[length - 63] != '/')
        return false;
    char hex[DIGEST_HEX_SIZE];
    memcpy(hex, target + length - 65, 2);
    memcpy(hex + 2, target + length - 62, 63);
    return digest_parse(hex, out_digest);
}

bool store_has(Store *store, const Digest *object)
{
    return faccessat(store->objects_fd, store_object_path(object).text, F_OK, 0) == 0;
}

int store_open_object(Store *store, const Digest *object, GError **error)
{
    const StoreObjectPath name = store_object_path(object);
    const char *path = name.text;
    int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW;
    _autofd int fd =
        openat(store->objects_fd, path, flags | O_NOATIME); /* reading changes nothing */
    if (fd < 0 && errno == EPERM)                           /* another user's */
        fd = openat(store->objects_fd, path, flags);
    if (fd < 0)
        return error_throw_errno_fd(error, "cannot open object '%.12s'", digest_hex(object).text);
    return store_check_seal(store, fd, object, error) ? fd_steal(&fd) : -1;
}

GBytes *store_read_object(Store *store, const Digest *object, size_t limit, GError **error)
{
    _autofd int fd = store_open_object(store, object, error);
    if (fd < 0)
        return NULL;
    size_t size;
    char *data = file_read_fd(fd, limit, &size, error);
    if (!data) {
        error_prefix(error, "object '%.12s'", digest_hex(object).text);
        return NULL;
    }
    return g_bytes_new_take(data, size);
}

bool store_object_size(Store *store, const Digest *object, uint64_t *out_size, GError **error)
{
    struct stat st;
    if (fstatat(store->objects_fd, store_object_path(object).text, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_throw_errno(error, "cannot look at object '%.12s'", digest_hex(object).text);
    *out_size = (uint64_t)st.st_size;
    return true;
}
