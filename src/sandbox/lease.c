/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names for sandboxes that have none, and what a killed caller left of them.
 *
 * $ATOMIC_RUN/sandbox-X is a directory (the container's files are in it) that its maker keeps open
 * under flock. When the lock can be had, the maker has gone, and the container with it
 * (die_with_caller): whoever takes the next lease then removes the cgroup and the directory.
 */
#include "sandbox/internal.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#define PREFIX "sandbox-"

/* Nothing here may fail the start of another sandbox. */
static void sweep_one(int run_fd, const char *name)
{
    _autofd int fd = openat(run_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return;
    g_autofree char *cgroup = g_strconcat("atomic/", name, NULL);
    runtime_kill_all(cgroup, NULL);
    if (runtime_cgroup_remove(cgroup, NULL) == 0)
        file_remove_all_at(run_fd, name, NULL);
}

static void sweep(int run_fd)
{
    int fd = openat(run_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _autodir DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        sys_fd_closep(&fd);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        if (g_str_has_prefix(entry->d_name, PREFIX))
            sweep_one(run_fd, entry->d_name);
}

int lease_take(const char *run_dir, char **out_name, GError **error)
{
    _autofd int run_fd = file_open_dir_at(AT_FDCWD, run_dir, error);
    if (run_fd < 0)
        return -1;
    sweep(run_fd);
    for (;;) {
        uint64_t number;
        if (getrandom(&number, sizeof number, 0) != sizeof number)
            return error_throw_errno_fd(error, "cannot get a random number");
        g_autofree char *name = g_strdup_printf(PREFIX "%016" G_GINT64_MODIFIER "x", number);
        if (mkdirat(run_fd, name, 0700) < 0)
            return error_throw_errno_fd(error, "cannot make '%s' in '%s'", name, run_dir);
        _autofd int fd = file_open_dir_at(run_fd, name, NULL);
        /* a sweeper may have come between mkdir and flock, and have removed it */
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || faccessat(run_fd, name, F_OK, 0) < 0)
            continue;
        *out_name = g_steal_pointer(&name);
        return fd_steal(&fd);
    }
}
