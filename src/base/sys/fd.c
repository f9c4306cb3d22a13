/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void sys_fd_closep(int *fd)
{
    if (*fd < 0)
        return;
    int saved = errno;
    close(*fd);
    errno = saved;
    *fd = -1;
}

void sys_dir_closep(DIR **dir)
{
    if (!*dir)
        return;
    int saved = errno;
    closedir(*dir);
    errno = saved;
    *dir = NULL;
}

void sys_freep(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}

int sys_write_all(int fd, const void *data, size_t size)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

ssize_t sys_read_all(int fd, void *buffer, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, (char *)buffer + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

int sys_write_file_at(int dirfd, const char *path, const char *text)
{
    _autofd int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    /* one write: the kernel's control files take a value as a whole */
    size_t size = strlen(text);
    ssize_t n = write(fd, text, size);
    if (n < 0)
        return -errno;
    return (size_t)n == size ? 0 : -EIO;
}

ssize_t sys_read_file_at(int dirfd, const char *path, char *buffer, size_t size)
{
    _autofd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = sys_read_all(fd, buffer, size);
    if (n < 0)
        return n;
    if ((size_t)n == size)
        return -EFBIG;
    while (n > 0 && buffer[n - 1] == '\n')
        n--;
    buffer[n] = '\0';
    return n;
}
