/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A tar of any compression: libarchive undoes the compression, our own reader (tar_read.c) the tar. */
#include "store/store.h"

#include <archive.h>

static ssize_t read_archive(void *data, void *buffer, size_t size, GError **error)
{
    struct archive *archive = data;
    ssize_t n = archive_read_data(archive, buffer, size);
    if (n < 0) {
        error_throw(error, ERROR_CORRUPT, "cannot decompress: %s", archive_error_string(archive));
        return -1;
    }
    return n;
}

static bool open_archive(struct archive *archive, int fd, bool *out_empty, GError **error)
{
    archive_read_support_filter_all(archive);
    archive_read_support_format_raw(archive);
    archive_read_support_format_empty(archive);
    if (archive_read_open_fd(archive, fd, 1 << 17) != ARCHIVE_OK)
        return error_throw(error, ERROR_CORRUPT, "cannot read tar: %s",
                           archive_error_string(archive));
    struct archive_entry *entry;
    int status = archive_read_next_header(archive, &entry);
    *out_empty = status == ARCHIVE_EOF;
    if (status != ARCHIVE_OK && status != ARCHIVE_EOF)
        return error_throw(error, ERROR_CORRUPT, "cannot read tar: %s",
                           archive_error_string(archive));
    return true;
}

Tree *store_import_tar_file(StoreTxn *txn, int fd, bool layer, GError **error)
{
    struct archive *archive = archive_read_new();
    bool empty = false;
    Tree *tree = NULL;
    if (open_archive(archive, fd, &empty, error))
        tree =
            empty ? tree_new() : store_import_tar(txn, read_archive, archive, layer, NULL, error);
    archive_read_free(archive);
    return tree;
}
