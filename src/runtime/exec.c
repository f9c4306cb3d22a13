/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A further process in a running container.
 *
 * A PID namespace is entered only by a child, so there are two clones: the middle process joins the
 * cgroup and, through the init's pidfd, all namespaces in one call; its child (CLONE_PARENT: it
 * becomes the caller's) is the one that runs the program. The middle one never shows in the
 * container, and neither may be looked into: both are copies of a host process (not dumpable; the
 * kernel then asks for rights in the host's user namespace).
 */
#include "runtime/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

typedef struct {
    int container_pidfd;
    const RuntimeCommand *command;
    CgroupFds cgroup;
    int sync_fd;
    int stdio[3];
    bool user_namespace; /* the container has one of its own */
    uint32_t id_base;
} ExecPlan;

/* ---- the one that runs the program */

static int open_terminal(const ExecPlan *plan, SysError *error)
{
    _autofd int pts = open("/dev/pts", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct statfs fs;
    if (pts < 0 || fstatfs(pts, &fs) < 0)
        return sys_fail_errno(error, "cannot open '/dev/pts' in the container");
    if (fs.f_type != DEVPTS_SUPER_MAGIC)
        return sys_fail(error, EINVAL, "'/dev/pts' in the container is no devpts");
    /* ids are those inside by now */
    return dev_open_terminal(pts, plan->command, 0, plan->sync_fd, error);
}

static _noreturn void inner(const ExecPlan *plan)
{
    SysError failed = {0};
    CommandPlan command = {.command = plan->command,
                           .sync_fd = plan->sync_fd,
                           .stdio = {plan->stdio[0], plan->stdio[1], plan->stdio[2]},
                           .slave_fd = -1};
    if (sync_wait_go(plan->sync_fd) < 0)
        _exit(125);
    if (plan->command->terminal) {
        command.slave_fd = open_terminal(plan, &failed);
        if (command.slave_fd < 0)
            sync_fail(plan->sync_fd, 125, &failed);
    }
    command_execute(&command);
}

/* ---- the one in the middle */

static int join(const ExecPlan *plan, SysError *error)
{
    if (cgroup_attach_self(&plan->cgroup, error) < 0 ||
        command_prepare(plan->command, plan->stdio, plan->id_base, error) < 0)
        return -1;
    int flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
                CLONE_NEWCGROUP | (plan->user_namespace ? CLONE_NEWUSER : 0);
    if (setns(plan->container_pidfd, flags) < 0)
        return sys_fail_errno(error, errno == ESRCH ? "the container has ended"
                                                    : "cannot enter the container's namespaces");
    if (!plan->user_namespace)
        return 0;
    if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, 0, 0, 0) < 0 ||
        syscall(SYS_setresuid, 0, 0, 0) < 0)
        return sys_fail_errno(error, "cannot become root in the container's user namespace");
    return 0;
}

static _noreturn void middle(const ExecPlan *plan)
{
    prctl(PR_SET_DUMPABLE, 0);
    SysError failed = {0};
    if (join(plan, &failed) < 0)
        sync_fail(plan->sync_fd, 125, &failed);
    pid_t pid = clone_process(CLONE_PARENT, -1, NULL);
    if (pid == 0)
        inner(plan);
    if (pid < 0) {
        sys_fail_errno(&failed, "cannot start a process in the container");
        sync_fail(plan->sync_fd, 125, &failed);
    }
    sync_send_pid(plan->sync_fd, pid);
    _exit(0);
}

/* ---- parent */

/* setns() refuses to enter the user namespace one is in already. */
static int look_at_container(ExecPlan *plan, SysError *error)
{
    char path[64], line[512];
    pid_t pid = runtime_pidfd_pid(plan->container_pidfd);
    if (pid <= 0)
        return sys_fail(error, ESRCH, "the container has ended");
    struct stat own, its;
    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
    if (stat("/proc/self/ns/user", &own) < 0 || stat(path, &its) < 0)
        return sys_fail_errno(error, "cannot look at the container's user namespace");
    plan->user_namespace = own.st_ino != its.st_ino || own.st_dev != its.st_dev;
    snprintf(path, sizeof path, "/proc/%d/uid_map", (int)pid);
    if (sys_read_file_at(AT_FDCWD, path, line, sizeof line) < 0 ||
        sscanf(line, "%*u %u", &plan->id_base) != 1)
        return sys_fail(error, ESRCH, "cannot read the container's id map");
    return 0;
}

/* The middle process said PID or FAILED and has gone; the socket then belongs to the inner one. */
static int see_through(int sync_fd, pid_t middle_pid, RuntimeProcess *process, SysError *error)
{
    int result = sync_await_pid(sync_fd, process, error);
    while (waitpid(middle_pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (result < 0)
        return -1;
    process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    if (process->pidfd < 0) {
        sys_fail_errno(error, "cannot open process %d", (int)process->pid);
        kill(process->pid, SIGKILL);
        result = -1;
    } else {
        sync_send_go(sync_fd);
        result = sync_await(sync_fd, process, error);
    }
    if (result < 0)
        while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    return result;
}

static int clone_and_run(ExecPlan *plan, RuntimeProcess *process, SysError *error)
{
    int sync[2];
    if (sync_pair(sync, error) < 0)
        return -1;
    plan->sync_fd = sync[1];
    pid_t pid = clone_process(0, plan->cgroup.v2, NULL);
    if (pid == 0) {
        close(sync[0]);
        middle(plan);
    }
    int result = pid < 0 ? sys_fail_errno(error, "cannot start a process") : 0;
    close(sync[1]);
    if (result == 0)
        result = see_through(sync[0], pid, process, error);
    close(sync[0]);
    return result;
}

int runtime_exec(int container_pidfd, const char *cgroup, const RuntimeCommand *command,
                 RuntimeProcess *out, SysError *error)
{
    RuntimeProcess process = RUNTIME_PROCESS_NONE;
    *out = process;
    ExecPlan plan = {
        .container_pidfd = container_pidfd, .command = command, .cgroup = CGROUP_FDS_NONE};
    if (!command->argv || !command->argv[0])
        return sys_fail(error, EINVAL, "no command given");
    if (look_at_container(&plan, error) < 0 ||
        (cgroup && cgroup_open(cgroup, &plan.cgroup, error) < 0))
        return -1;
    int result = command_copy_stdio(command, plan.stdio, error);
    if (result == 0) {
        result = clone_and_run(&plan, &process, error);
        command_close_stdio(plan.stdio);
    }
    cgroup_close(&plan.cgroup);
    if (result < 0) {
        int status = process.failed_status;
        runtime_process_clear(&process);
        process.failed_status = status;
    }
    *out = process;
    return result;
}
