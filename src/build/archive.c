/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "build/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <unistd.h>

bool archive_is_tar(int fd)
{
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    archive_read_support_filter_gzip(archive);
    archive_read_support_filter_bzip2(archive);
    archive_read_support_filter_xz(archive);
    archive_read_support_filter_zstd(archive);
    archive_read_support_format_tar(archive);
    bool is_tar = archive_read_open_fd(archive, fd, 64 * 1024) == ARCHIVE_OK &&
                  archive_read_next_header(archive, &entry) == ARCHIVE_OK;
    archive_read_free(archive);
    return lseek(fd, 0, SEEK_SET) == 0 && is_tar;
}
