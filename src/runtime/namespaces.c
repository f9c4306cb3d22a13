/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making namespaces in a process that lives only until their fds are open.
 *
 * The kernel counts inotify watches, user namespaces and the like of a container on the user who
 * created its user namespace. If that were the host's root, one container could use up what the
 * host's own root (and all other containers) may have; so the maker takes an uid of its own first,
 * keeping its capabilities.
 */
#include "runtime/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

pid_t clone_process(uint64_t flags, int cgroup_fd, int *out_pidfd)
{
    int pidfd = -1;
    struct clone_args args = {.flags = flags, .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD};
    if (out_pidfd) {
        args.flags |= CLONE_PIDFD;
        args.pidfd = (uint64_t)(uintptr_t)&pidfd;
    }
    if (cgroup_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup_fd;
    }
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid > 0 && out_pidfd)
        *out_pidfd = pidfd;
    return pid;
}

/* Child: says on the socket how it went, then stays until the other side closes. */
static _noreturn void hold(int fd, uint32_t creator, int flags)
{
    SysError failed = {0};
    prctl(PR_SET_KEEPCAPS, 1);
    if (creator != 0 && (syscall(SYS_setgroups, 0, NULL) < 0 ||
                         syscall(SYS_setresgid, creator, creator, creator) < 0 ||
                         syscall(SYS_setresuid, creator, creator, creator) < 0)) {
        sys_fail_errno(&failed, "cannot become uid %u to make a user namespace", creator);
        sync_fail(fd, 125, &failed);
    }
    if (command_raise_caps(&failed) < 0)
        sync_fail(fd, 125, &failed);
    if (unshare(flags) < 0) {
        sys_fail_errno(&failed, "cannot make a user namespace");
        sync_fail(fd, 125, &failed);
    }
    sync_send_ready(fd);
    sync_wait_go(fd);
    _exit(0);
}

static int write_map(pid_t pid, const char *file, const char *map, SysError *error)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    int failed = sys_write_file_at(AT_FDCWD, path, map);
    if (failed < 0)
        return sys_fail(error, -failed, "cannot write the user namespace's %s '%s': %s", file, map,
                        strerror(-failed));
    return 0;
}

static int open_namespace(pid_t pid, const char *name, int *out_fd, SysError *error)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, name);
    *out_fd = open(path, O_RDONLY | O_CLOEXEC);
    return *out_fd < 0 ? sys_fail_errno(error, "cannot open '%s'", path) : 0;
}

/* Clones the holder, which unshares `flags` as `creator`; fills *out (which must be empty) and lets
 * it end. */
static int with_holder(int flags, uint32_t creator, const char *uid_map, const char *gid_map,
                       RuntimeNamespaces *out, SysError *error)
{
    int sync[2];
    if (sync_pair(sync, error) < 0)
        return -1;
    pid_t pid = clone_process(0, -1, NULL);
    if (pid == 0) {
        close(sync[0]);
        hold(sync[1], creator, flags);
    }
    int result = pid < 0 ? sys_fail_errno(error, "cannot start a process") : 0;
    close(sync[1]);
    if (result == 0)
        result = sync_await_ready(sync[0], error);
    if (result == 0)
        result = write_map(pid, "uid_map", uid_map, error);
    if (result == 0)
        result = write_map(pid, "gid_map", gid_map, error);
    if (result == 0)
        result = open_namespace(pid, "user", &out->user, error);
    if (result == 0 && (flags & CLONE_NEWNET))
        result = open_namespace(pid, "net", &out->net, error);
    if (result == 0 && (flags & CLONE_NEWIPC))
        result = open_namespace(pid, "ipc", &out->ipc, error);
    if (result == 0 && (flags & CLONE_NEWUTS))
        result = open_namespace(pid, "uts", &out->uts, error);
    close(sync[0]);
    if (pid > 0)
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    if (result < 0)
        runtime_namespaces_close(out);
    return result;
}

int runtime_namespaces_create(const RuntimeIdMap *map, bool net, RuntimeNamespaces *out,
                              SysError *error)
{
    char text[64];
    snprintf(text, sizeof text, "0 %u %u\n", map->base, map->count);
    RuntimeNamespaces made = RUNTIME_NAMESPACES_NONE;
    int flags = CLONE_NEWUSER | CLONE_NEWIPC | CLONE_NEWUTS | (net ? CLONE_NEWNET : 0);
    if (with_holder(flags, map->creator, text, text, &made, error) < 0)
        return -1;
    *out = made;
    return 0;
}

int runtime_userns_create(const char *uid_map, const char *gid_map, SysError *error)
{
    RuntimeNamespaces made = RUNTIME_NAMESPACES_NONE;
    if (with_holder(CLONE_NEWUSER, 0, uid_map, gid_map, &made, error) < 0)
        return -1;
    return made.user;
}

void runtime_namespaces_close(RuntimeNamespaces *namespaces)
{
    sys_fd_closep(&namespaces->user);
    sys_fd_closep(&namespaces->net);
    sys_fd_closep(&namespaces->ipc);
    sys_fd_closep(&namespaces->uts);
}
