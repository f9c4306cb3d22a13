/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ostree/filez.h"

#include "base/file.h"

#include <libdeflate.h>
#include <sys/mman.h>
#include <zlib.h>

#define LEVEL     6
#define WHOLE_MAX (64u << 20) /* larger files are packed piece by piece */

static bool write_whole(int fd, const void *content, size_t size, uint64_t *out_written,
                        GError **error)
{
    struct libdeflate_compressor *compressor = libdeflate_alloc_compressor(LEVEL);
    size_t most = libdeflate_deflate_compress_bound(compressor, size);
    g_autofree uint8_t *packed = g_malloc(most);
    size_t n = libdeflate_deflate_compress(compressor, content, size, packed, most);
    libdeflate_free_compressor(compressor);
    *out_written += n;
    return file_write_all(fd, packed, n, error);
}

static bool write_pieces(int fd, const uint8_t *content, uint64_t size, uint64_t *out_written,
                         GError **error)
{
    z_stream z = {0};
    if (deflateInit2(&z, LEVEL, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        g_error("out of memory");
    g_autofree uint8_t *packed = g_malloc(256 << 10);
    bool ok = true;
    int status = Z_OK;
    while (ok && status != Z_STREAM_END) {
        if (!z.avail_in) {
            z.avail_in = (unsigned)MIN(size, 16u << 20);
            z.next_in = (uint8_t *)content;
            content += z.avail_in;
            size -= z.avail_in;
        }
        z.next_out = packed;
        z.avail_out = 256 << 10;
        status = deflate(&z, size ? Z_NO_FLUSH : Z_FINISH);
        size_t n = (256 << 10) - z.avail_out;
        *out_written += n;
        ok = file_write_all(fd, packed, n, error);
    }
    deflateEnd(&z);
    return ok;
}

static bool write_file(int fd, int content_fd, uint64_t size, uint64_t *out_written, GError **error)
{
    struct stat st;
    if (fstat(content_fd, &st) < 0)
        return error_throw_errno(error, "cannot stat an object");
    if ((uint64_t)st.st_size != size) /* reading behind the end of a mapping would kill us */
        return error_throw(error, ERROR_CORRUPT,
                           "an object has %" G_GINT64_FORMAT " bytes instead of %" G_GUINT64_FORMAT,
                           (int64_t)st.st_size, size);
    void *content = mmap(NULL, size, PROT_READ, MAP_PRIVATE, content_fd, 0);
    if (content == MAP_FAILED)
        return error_throw_errno(error, "cannot map an object");
    bool ok = size > WHOLE_MAX ? write_pieces(fd, content, size, out_written, error)
                               : write_whole(fd, content, size, out_written, error);
    munmap(content, size);
    return ok;
}

bool filez_write(int fd, const void *header, size_t header_size, const void *content,
                 int content_fd, uint64_t size, uint64_t *out_written, GError **error)
{
    *out_written = header_size;
    if (!file_write_all(fd, header, header_size, error))
        return false;
    if (content_fd >= 0)
        return write_file(fd, content_fd, size, out_written, error);
    return write_whole(fd, content ? content : "", size, out_written, error);
}
