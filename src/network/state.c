/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "network/state.h"

#include "base/sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

int state_dir_open(const char *run_dir, SysError *error)
{
    if (mkdir(run_dir, 0700) < 0 && errno != EEXIST)
        return sys_fail_errno(error, "cannot create '%s'", run_dir);
    _autofd int run = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run < 0)
        return sys_fail_errno(error, "cannot open '%s'", run_dir);
    if (mkdirat(run, "network", 0700) < 0 && errno != EEXIST)
        return sys_fail_errno(error, "cannot create '%s/network'", run_dir);
    int fd = openat(run, "network", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return sys_fail_errno(error, "cannot open '%s/network'", run_dir);
    return fd;
}

int state_file_lock(int dir, const char *bridge, const char *suffix, SysError *error)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", bridge, suffix);
    _autofd int fd = openat(dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return sys_fail_errno(error, "cannot open 'network/%s'", name);
    while (flock(fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return sys_fail_errno(error, "cannot lock 'network/%s'", name);
    return fd_steal(&fd);
}
