/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* File descriptors without GLib: closing, stealing, whole reads and writes.
 *
 * Every function here is child-safe: it may run between clone and execve (no allocation, no locks)
 * unless it says otherwise.
 */
#pragma once

#include "base/sys/attr.h"

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Closes *fd when it is open and sets it to -1; errno is kept. */
void sys_fd_closep(int *fd);
void sys_dir_closep(DIR **dir);
void sys_freep(void *pointer_to_pointer);

/* Returns *fd and leaves -1 behind. */
static inline int fd_steal(int *fd)
{
    int stolen = *fd;
    *fd = -1;
    return stolen;
}

/* Writes all `size` bytes, retrying short writes and EINTR. 0 or -errno. */
int sys_write_all(int fd, const void *data, size_t size) _must_use;
/* Reads until `size` bytes or end of file. The number of bytes read, or -errno. */
ssize_t sys_read_all(int fd, void *buffer, size_t size) _must_use;

/* Writes the text to an existing file (a /proc or cgroup control file) in one write. 0 or -errno. */
int sys_write_file_at(int dirfd, const char *path, const char *text) _must_use;
/* Reads a small text file into a caller's buffer, NUL-terminated, trailing newline removed.
 * Returns its length or -errno (-EFBIG when it does not fit). */
ssize_t sys_read_file_at(int dirfd, const char *path, char *buffer, size_t size) _must_use;
