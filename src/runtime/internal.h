/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Private to src/runtime: the pieces of a start, and which of them may run in the child.
 *
 *     start.c, exec.c     parent side: clone, callbacks, waiting for the child's word
 *     sync.c              the socket between the two
 *     rootfs.c, dev.c     child: the tree
 *     command.c           child: from the finished tree to execve
 *     cgroup.c            parent, but for cgroup_attach_self()
 *
 * "child-safe": no allocation, no lock, no libc function that keeps state of its own about ids or
 * threads (setresuid() of glibc signals threads that the child does not have: raw system calls
 * instead).
 */
#pragma once

#include "base/sys/fail.h"
#include "base/sys/fd.h"
#include "runtime/runtime.h"

#include <linux/sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- clone */

/* fork() with the flags: 0 in the child. */
pid_t clone_process(uint64_t flags, int cgroup_fd, int *out_pidfd);

/* ---- sync.c */

/* A SOCK_SEQPACKET pair, close-on-exec, both above 2. */
int sync_pair(int out_fds[2], SysError *error);
/* child-safe */
_noreturn void sync_fail(int fd, int status, const SysError *failed);
void sync_send_pid(int fd, pid_t pid);
int sync_send_terminal(int fd, int master, SysError *error);
/* The last message: what follows is execve, whose success closes the socket. */
void sync_send_exec(int fd);
void sync_send_ready(int fd);
/* Waits for the parent's word; -1 when the parent has gone. */
int sync_wait_go(int fd);
/* parent */
void sync_send_go(int fd);
int sync_await_pid(int fd, RuntimeProcess *process, SysError *error);
int sync_await_ready(int fd, SysError *error);
/* Until execve succeeded (0) or the child's failure (-1, process->failed_status set). Fills in
 * terminal_fd. */
int sync_await(int fd, RuntimeProcess *process, SysError *error);

/* ---- cgroup.c */

#define CGROUP_MAX 12
typedef struct {
    int v2;                /* directory for CLONE_INTO_CGROUP, -1 */
    int tasks[CGROUP_MAX]; /* v1: `tasks`, writable */
    size_t n_tasks;
} CgroupFds;
#define CGROUP_FDS_NONE                                                                            \
    {                                                                                              \
        .v2 = -1                                                                                   \
    }

/* Makes it anew (a stale empty one is replaced) with the limits, and the device filter on v1. */
int cgroup_create(const char *path, const RuntimeLimits *limits, bool filter_devices,
                  CgroupFds *out, SysError *error);
int cgroup_open(const char *path, CgroupFds *out, SysError *error);
void cgroup_close(CgroupFds *fds);
/* child-safe: the v1 half; the v2 half is done by the clone. */
int cgroup_attach_self(const CgroupFds *fds, SysError *error);

/* ---- devices.c */

/* Lets the processes of a cgroup open the standard devices only; `dirfd` is its v1 devices or its v2
 * directory. */
int devices_filter_v1(int dirfd, SysError *error);
int devices_filter_v2(int dirfd, SysError *error);

/* ---- rootfs.c, dev.c (child-safe) */

typedef struct {
    const RuntimeSpec *spec;
    const int *bind_fds; /* detached mounts, one per spec->binds */
    int sync_fd;
    int stdio[3]; /* all above 2; -1 with a terminal */
    CgroupFds cgroup;

    int null_fd;  /* child: the container's /dev/null, for the masks */
    int slave_fd; /* child: its terminal */
} StartPlan;

/* Attaches the root over "/" and mounts everything in it; root and working directory stay the
 * host's. */
int rootfs_build(StartPlan *plan, SysError *error);
/* Makes the root the only thing there is. */
int rootfs_pivot(const StartPlan *plan, SysError *error);

/* A new superblock as a detached mount. options: key, value (or NULL for a flag), …, NULL. */
int rootfs_new_mount(const char *type, const char *const *options, uint64_t attributes,
                     SysError *error);
/* Attaches a detached mount at a path inside, which is made when missing. */
int rootfs_attach(int root_fd, int mount_fd, const char *target, bool directory, SysError *error);
/* /dev with nodes, links, pts, shm and mqueue; opens the terminal when the command wants one. */
int dev_build(StartPlan *plan, SysError *error);
/* Opens a pty below a devpts mount and sends its master. The slave, or -1. */
int dev_open_terminal(int pts_fd, const RuntimeCommand *command, uint32_t id_base, int sync_fd,
                      SysError *error);

/* ---- command.c (child-safe) */

/* What starting and exec'ing share, from a process that is inside already, as the user namespace's
 * root. */
typedef struct {
    const RuntimeCommand *command;
    int sync_fd;
    int stdio[3];
    int slave_fd;
} CommandPlan;

/* Things that need the host's rights or the host's /proc. */
int command_prepare(const RuntimeCommand *command, const int stdio[3], uint32_t id_base,
                    SysError *error);
/* Never returns. */
_noreturn void command_execute(const CommandPlan *plan);
/* All capabilities that are permitted become effective (after a change of fsuid or uid). */
int command_raise_caps(SysError *error);
/* The three fds copied above 2 (parent), /dev/null for -1; all -1 with a terminal. */
int command_copy_stdio(const RuntimeCommand *command, int out[3], SysError *error);
void command_close_stdio(int stdio[3]);
