/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whole files and names relative to a directory fd; the one place that owns write-fsync-rename.
 *
 * Paths are relative to `dirfd` (AT_FDCWD allowed). Errors name the path as given.
 */
#pragma once

#include "base/error.h"

#include <fcntl.h>
#include <sys/stat.h>

/* openat with O_CLOEXEC added. */
int file_open_at(int dirfd, const char *path, int flags, GError **error);
/* A directory opened for reading. */
int file_open_dir_at(int dirfd, const char *path, GError **error);

/* The whole file, NUL-terminated behind its end (the NUL is not counted). ERROR_INVALID above `limit`. */
char *file_read_at(int dirfd, const char *path, size_t limit, size_t *out_size, GError **error);
char *file_read_fd(int fd, size_t limit, size_t *out_size, GError **error);
bool file_write_all(int fd, const void *data, size_t size, GError **error);

typedef enum {
    FILE_REPLACE_DURABLE = 1 << 0,   /* fsync the file before, the directory after the rename */
    FILE_REPLACE_EXCLUSIVE = 1 << 1, /* ERROR_EXISTS when the name is taken */
} FileReplaceFlags;

/* Puts the bytes under the name by temporary file and rename: the name has the old bytes or all new ones. */
bool file_replace_at(int dirfd, const char *path, const void *data, size_t size, mode_t mode,
                     FileReplaceFlags flags, GError **error);

/* Symbolic link by temporary name and rename; equal target: nothing is done. */
bool file_symlink_replace_at(int dirfd, const char *path, const char *target, GError **error);
/* The target, newly allocated. */
char *file_readlink_at(int dirfd, const char *path, GError **error);

/* The names in a directory but "." and "..", in byte order; the array owns them. ERROR_NOT_FOUND without it. */
GPtrArray *file_list_at(int dirfd, const char *path, GError **error);
GPtrArray *file_list_fd(int fd, GError **error);

/* mkdir -p; existing directories are left as they are. */
bool file_ensure_dir_at(int dirfd, const char *path, mode_t mode, GError **error);
/* fsync of the directory itself (path "" or "." = dirfd). */
bool file_sync_dir_at(int dirfd, const char *path, GError **error);
/* rm -rf without following links and without crossing into what isn't there; absent: success. */
bool file_remove_all_at(int dirfd, const char *path, GError **error);

/* False on any other failure than "not there"; *out_exists tells. */
bool file_exists_at(int dirfd, const char *path, bool *out_exists, GError **error);

/* Who holds a flock of the open file: "'COMMAND LINE' (process N)" of one holder, for messages; NULL when the kernel
 * doesn't say (another PID namespace). */
char *file_lock_holder(int fd);
