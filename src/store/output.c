/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small pieces are collected; a large object goes from its file to the fd within the kernel. */
#include "store/output.h"

#include "base/file.h"

#include <errno.h>
#include <string.h>
#include <sys/sendfile.h>
#include <unistd.h>

enum { BUFFER = 256 << 10, SMALL = 64 << 10 };

void store_output_init(StoreOutput *output, Store *store, int fd)
{
    *output = (StoreOutput){.store = store, .fd = fd, .buffer = g_malloc(BUFFER)};
}

void store_output_clear(StoreOutput *output)
{
    g_clear_pointer(&output->buffer, g_free);
}

bool store_output_flush(StoreOutput *output, GError **error)
{
    size_t n = output->used;
    output->used = 0;
    return n == 0 || file_write_all(output->fd, output->buffer, n, error);
}

bool store_output_bytes(StoreOutput *output, const void *bytes, size_t size, GError **error)
{
    output->size += size;
    if (size > BUFFER - output->used && !store_output_flush(output, error))
        return false;
    if (size > BUFFER)
        return file_write_all(output->fd, bytes, size, error);
    memcpy(output->buffer + output->used, bytes, size);
    output->used += size;
    return true;
}

static bool read_failed(const Digest *object, int failed, GError **error)
{
    if (failed == 0)
        return error_throw(error, ERROR_CORRUPT, "object '%.12s' is shorter than it should be",
                           digest_hex(object).text);
    errno = failed;
    return error_throw_errno(error, "cannot read object '%.12s'", digest_hex(object).text);
}

static bool copy_small(StoreOutput *output, int fd, const Digest *object, size_t size,
                       GError **error)
{
    if (size > BUFFER - output->used && !store_output_flush(output, error))
        return false;
    ssize_t n = sys_read_all(fd, output->buffer + output->used, size);
    if (n < (ssize_t)size)
        return read_failed(object, n < 0 ? (int)-n : 0, error);
    output->used += size;
    return true;
}

/* What the kernel won't send (to a file opened for appending, for one) takes the way through the buffer. */
static bool copy_pieces(StoreOutput *output, int fd, const Digest *object, uint64_t left,
                        GError **error)
{
    while (left > 0) {
        size_t n = (size_t)MIN(left, SMALL);
        if (!copy_small(output, fd, object, n, error))
            return false;
        left -= n;
    }
    return true;
}

static bool copy_large(StoreOutput *output, int fd, const Digest *object, uint64_t left,
                       GError **error)
{
    enum { PIECE = 1 << 30 };
    if (!store_output_flush(output, error))
        return false;
    while (left > 0) {
        ssize_t n = sendfile(output->fd, fd, NULL, (size_t)MIN(left, PIECE));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EINVAL || errno == ENOSYS))
            return copy_pieces(output, fd, object, left, error);
        if (n < 0)
            return error_throw_errno(error, "cannot write");
        if (n == 0)
            return read_failed(object, 0, error);
        left -= (uint64_t)n;
    }
    return true;
}

bool store_output_object(StoreOutput *output, const Digest *object, uint64_t size, GError **error)
{
    _autofd int fd = store_open_object(output->store, object, error);
    struct stat st;
    if (fd < 0)
        return false;
    if (fstat(fd, &st) < 0)
        return read_failed(object, errno, error);
    if ((uint64_t)st.st_size != size)
        return error_throw(error, ERROR_CORRUPT,
                           "object '%.12s' has %" G_GUINT64_FORMAT " bytes, not %" G_GUINT64_FORMAT
                           "\nhint: check the store with 'atomic store fsck'",
                           digest_hex(object).text, (uint64_t)st.st_size, size);
    output->size += size;
    return size <= SMALL ? copy_small(output, fd, object, (size_t)size, error)
                         : copy_large(output, fd, object, size, error);
}
