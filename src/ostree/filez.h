/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing `.filez` files: the archive header, then the content as raw deflate. */
#pragma once

#include "base/error.h"

/* Of a regular file. Content: `content` (may be NULL when size is 0), or, when `content_fd` is >= 0, that file.
 * Thread-safe. */
bool filez_write(int fd, const void *header, size_t header_size, const void *content,
                 int content_fd, uint64_t size, uint64_t *out_written, GError **error);
