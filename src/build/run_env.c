/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "build/run.h"

#include "base/file.h"
#include "base/places.h"
#include "sandbox/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define RUN_NAME "build-"

/* --- scratch directories ---------------------------------------------------------------------- */

/* Unless a living build holds the directory's lock: ends what still runs in its sandbox and removes
 * both. */
static void sweep_one(int parent_fd, const char *name)
{
    _autofd int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return;
    SysError ignored;
    g_autofree char *cgroup = g_strconcat("atomic/", name, NULL);
    runtime_kill_all(cgroup, &ignored);
    runtime_cgroup_remove(cgroup, &ignored);
    file_remove_all_at(parent_fd, name, NULL);
}

static void sweep(int parent_fd)
{
    _autofd int copy = openat(parent_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _autodir DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir)
        return;
    fd_steal(&copy);
    struct dirent *entry;
    while ((entry = readdir(dir)))
        if (g_str_has_prefix(entry->d_name, RUN_NAME))
            sweep_one(parent_fd, entry->d_name);
}

bool run_scratch_make(RunScratch *scratch, GError **error)
{
    g_autofree char *root = places_root(), *path = g_build_filename(root, "build", NULL);
    if (!file_ensure_dir_at(AT_FDCWD, path, 0700, error))
        return false;
    _autofd int parent_fd = file_open_dir_at(AT_FDCWD, path, error);
    if (parent_fd < 0)
        return false;
    sweep(parent_fd);
    /* between mkdir and flock a sweeper may remove it: then another name */
    for (unsigned i = 0; i < 100; i++) {
        g_autofree char *name = g_strdup_printf(RUN_NAME "%d-%u", (int)getpid(), i);
        if (mkdirat(parent_fd, name, 0700) < 0) {
            if (errno == EEXIST)
                continue;
            return error_throw_errno(error, "cannot create '%s/%s'", path, name);
        }
        _autofd int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat st;
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 || st.st_nlink == 0)
            continue;
        *scratch = (RunScratch){fd_steal(&parent_fd), fd_steal(&fd), g_steal_pointer(&name)};
        return true;
    }
    return error_throw(error, ERROR_BUSY, "cannot find a free name in '%s'", path);
}

void run_scratch_clear(RunScratch *scratch)
{
    if (scratch->name)
        file_remove_all_at(scratch->parent_fd, scratch->name, NULL);
    sys_fd_closep(&scratch->fd);
    sys_fd_closep(&scratch->parent_fd);
    g_free(scratch->name);
}

/* --- network ---------------------------------------------------------------------------------- */

bool run_network_prepare(RunNetwork *network, const char *name, GError **error)
{
    SysError failed;
    network->run_dir = sandbox_run_dir(error);
    network->name = g_strdup(name);
    if (!network->run_dir)
        return false;
    if (network_setup(network->run_dir, &network->network, &failed) < 0 ||
        network_address_take(network->run_dir, &network->network, name, NULL, NULL,
                             &network->address, &failed) < 0)
        return error_from_sys(error, &failed);
    network->has_address = true;
    return true;
}

int run_network_attach(void *data, pid_t pid, int netns_fd, SysError *error)
{
    RunNetwork *network = data;
    return network_attach(&network->network, network->name, pid, netns_fd, network->address, error);
}

int run_network_configure(void *data, SysError *error)
{
    RunNetwork *network = data;
    return network_configure(&network->network, network->address, error);
}

void run_network_clear(RunNetwork *network)
{
    SysError ignored;
    if (network->has_address)
        network_address_release(network->run_dir, network->network.bridge, network->name, &ignored);
    g_free(network->run_dir);
    g_free(network->name);
}
