/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private to build/: which files ADD unpacks. */
#pragma once

#include <stdbool.h>

/* Whether the file is a tar, plain or compressed with gzip, bzip2, xz or zstd. Leaves the fd at
 * its beginning. */
bool archive_is_tar(int fd);
