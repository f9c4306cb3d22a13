/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Compressed tars: libarchive only decompresses ("raw" format), the entries are read by our own reader, which needs
 * the exact bytes. */
#include "store/txn.h"

#include <archive.h>
#include <archive_entry.h>

static bool throw_archive(struct archive *archive, GError **error)
{
    return error_throw(error, ERROR_CORRUPT, "cannot decompress the file: %s",
                       archive_error_string(archive) ? archive_error_string(archive)
                                                     : "unknown reason");
}

static ssize_t read_archive(void *data, void *buffer, size_t size, GError **error)
{
    la_ssize_t n = archive_read_data(data, buffer, size);
    if (n < 0) {
        throw_archive(data, error);
        return -1;
    }
    return n;
}

Tree *store_import_tar_file(StoreTxn *txn, int fd, bool layer, GError **error)
{
    struct archive *archive = archive_read_new();
    /* not "all": some filters run programs */
    archive_read_support_filter_gzip(archive);
    archive_read_support_filter_bzip2(archive);
    archive_read_support_filter_xz(archive);
    archive_read_support_filter_lzma(archive);
    archive_read_support_filter_zstd(archive);
    archive_read_support_filter_lz4(archive);
    archive_read_support_format_raw(archive);
    struct archive_entry *entry;
    Tree *tree = NULL;
    int opened = archive_read_open_fd(archive, fd, 1 << 17);
    if (opened == ARCHIVE_OK)
        opened = archive_read_next_header(archive, &entry);
    if (opened == ARCHIVE_EOF)
        error_throw(error, ERROR_INVALID, "the file is empty");
    else if (opened != ARCHIVE_OK && opened != ARCHIVE_WARN)
        throw_archive(archive, error);
    else
        tree = store_import_tar(txn, read_archive, archive, layer, NULL, error);
    archive_read_free(archive);
    return tree;
}
