/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/content.h"

#include "base/file.h"

#include <errno.h>
#include <string.h>

enum { PIECE = 128 * 1024 };

bool content_each(Store *store, const TreeInode *inode, ContentFunc func, void *data,
                  GError **error)
{
    if (!inode->has_object)
        return inode->size == 0 || func(inode->content, inode->size, data, error);
    _autofd int fd = store_open_object(store, &inode->object, error);
    if (fd < 0)
        return false;
    g_autofree char *buffer = g_malloc(PIECE);
    uint64_t left = inode->size;
    while (left > 0) {
        ssize_t n = sys_read_all(fd, buffer, (size_t)MIN(left, PIECE));
        if (n < 0) {
            errno = (int)-n;
            return error_throw_errno(error, "cannot read object '%.12s'",
                                     digest_hex(&inode->object).text);
        }
        if (n == 0)
            return error_throw(error, ERROR_CORRUPT, "object '%.12s' is too short",
                               digest_hex(&inode->object).text);
        if (!func(buffer, (size_t)n, data, error))
            return false;
        left -= (uint64_t)n;
    }
    return true;
}

static bool write_piece(const void *bytes, size_t size, void *data, GError **error)
{
    return file_write_all(*(int *)data, bytes, size, error);
}

bool content_copy(Store *store, const TreeInode *inode, int fd, GError **error)
{
    return content_each(store, inode, write_piece, &fd, error);
}

static bool append_piece(const void *bytes, size_t size, void *data, GError **error)
{
    g_string_append_len(data, bytes, (gssize)size);
    return true;
}

char *content_read(Store *store, const TreeInode *inode, size_t limit, GError **error)
{
    if (inode->size > limit)
        return error_throw_null(error, ERROR_INVALID, "file is larger than %zu bytes", limit);
    g_autoptr(GString) text = g_string_new(NULL);
    if (!content_each(store, inode, append_piece, text, error))
        return NULL;
    return g_string_free(g_steal_pointer(&text), FALSE);
}

typedef struct {
    int fd;
    bool equal;
    char *buffer;
} Comparison;

static bool compare_piece(const void *bytes, size_t size, void *data, GError **error)
{
    Comparison *c = data;
    if (!c->equal)
        return true;
    ssize_t n = sys_read_all(c->fd, c->buffer, size);
    if (n < 0) {
        errno = (int)-n;
        return error_throw_errno(error, "cannot read");
    }
    c->equal = (size_t)n == size && memcmp(bytes, c->buffer, size) == 0;
    return true;
}

bool content_equals_fd(Store *store, const TreeInode *inode, int fd, bool *out_equal,
                       GError **error)
{
    g_autofree char *buffer = g_malloc(MAX(PIECE, TREE_INLINE_MAX));
    Comparison c = {.fd = fd, .equal = true, .buffer = buffer};
    /* inline content of an image written by others may be longer than a piece */
    if (!inode->has_object && inode->size > PIECE)
        return error_throw(error, ERROR_UNSUPPORTED,
                           "inline content of %" G_GUINT64_FORMAT " bytes", inode->size);
    if (!content_each(store, inode, compare_piece, &c, error))
        return false;
    *out_equal = c.equal;
    return true;
}
