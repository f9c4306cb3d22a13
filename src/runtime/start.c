/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting a container. runtime.h tells the order and the reasons; here is the code of it.
 *
 *     parent                                   child (init)
 *     cgroup dirs, bind sources cloned
 *     clone3(NEWPID NEWNS …, INTO_CGROUP) ───► joins v1 cgroups, the network, IPC and UTS
 *     namespaces
 *     attach_network()                         builds the tree
 *     GO ────────────────────────────────────► configure_network(), sysctls, pivot_root, hostname
 *                                              user namespace, last copy of the mounts, rights
 *     ◄──────────────────────────── terminal, EXEC, end of the socket │ FAILED
 */
#include "runtime/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* ---- child */

static int join_namespaces(const RuntimeSpec *spec, SysError *error)
{
    const RuntimeNamespaces *ns = &spec->namespaces;
    if ((ns->ipc >= 0 && setns(ns->ipc, CLONE_NEWIPC) < 0) ||
        (ns->uts >= 0 && setns(ns->uts, CLONE_NEWUTS) < 0) ||
        (spec->net != RUNTIME_NET_HOST && ns->net >= 0 && setns(ns->net, CLONE_NEWNET) < 0))
        return sys_fail_errno(error, "cannot enter the container's namespaces");
    /* after joining the cgroups: the namespace's root is where its maker is */
    if (unshare(CLONE_NEWCGROUP) < 0)
        return sys_fail_errno(error, "cannot make a cgroup namespace");
    return 0;
}

static int bring_up_lo(SysError *error)
{
    _autofd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo"};
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0)
        return sys_fail_errno(error, "cannot look at the network interface 'lo'");
    request.ifr_flags |= IFF_UP;
    return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? sys_fail_errno(error, "cannot switch on 'lo'")
                                                 : 0;
}

/* As docker does: any user may listen on port 80, and ping without CAP_NET_RAW. Old kernels lack
 * them: no matter. */
static void set_network_sysctls(uint32_t id_base)
{
    char range[48];
    snprintf(range, sizeof range, "%u %u", id_base, id_base ? id_base + 65535 : 2147483647);
    if (sys_write_file_at(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start", "0") < 0 ||
        sys_write_file_at(AT_FDCWD, "/proc/sys/net/ipv4/ping_group_range", range) < 0)
        return;
}

static int set_up_network(const RuntimeSpec *spec, SysError *error)
{
    if (spec->net != RUNTIME_NET_NEW)
        return 0;
    set_network_sysctls(spec->id_base);
    if (spec->configure_network)
        return spec->configure_network(spec->network_data, error);
    return spec->attach_network ? 0 : bring_up_lo(error);
}

/* In the copy of the mount namespace that belongs to the user namespace, all mounts are locked. */
static int enter_user_namespace(const RuntimeSpec *spec, SysError *error)
{
    if (spec->namespaces.user < 0)
        return 0;
    if (setns(spec->namespaces.user, CLONE_NEWUSER) < 0)
        return sys_fail_errno(error, "cannot enter the container's user namespace");
    if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, 0, 0, 0) < 0 ||
        syscall(SYS_setresuid, 0, 0, 0) < 0)
        return sys_fail_errno(error, "cannot become root in the container's user namespace");
    if (unshare(CLONE_NEWNS) < 0)
        return sys_fail_errno(error, "cannot lock the container's mounts");
    return 0;
}

static int run_steps(StartPlan *plan, SysError *error)
{
    const RuntimeSpec *spec = plan->spec;
    if (cgroup_attach_self(&plan->cgroup, error) < 0 || join_namespaces(spec, error) < 0 ||
        command_prepare(&spec->command, plan->stdio, spec->id_base, error) < 0 ||
        rootfs_build(plan, error) < 0)
        return -1;
    if (sync_wait_go(plan->sync_fd) < 0)
        _exit(125); /* the parent gave up, and knows why */
    if (set_up_network(spec, error) < 0 || rootfs_pivot(plan, error) < 0)
        return -1;
    if (spec->hostname && sethostname(spec->hostname, strlen(spec->hostname)) < 0)
        return sys_fail_errno(error, "cannot set the hostname '%s'", spec->hostname);
    if (enter_user_namespace(spec, error) < 0)
        return -1;
    /* Keys of whoever started us must not be found in the container; the new keyring counts on the
     * container's root. A kernel without keys has none to find. */
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    return 0;
}

static _noreturn void child(StartPlan *plan)
{
    /* until execve nothing inside may look into this copy of the host's process */
    prctl(PR_SET_DUMPABLE, 0);
    SysError failed = {0};
    if (run_steps(plan, &failed) < 0)
        sync_fail(plan->sync_fd, 125, &failed);
    CommandPlan command = {.command = &plan->spec->command,
                           .sync_fd = plan->sync_fd,
                           .stdio = {plan->stdio[0], plan->stdio[1], plan->stdio[2]},
                           .slave_fd = plan->slave_fd};
    command_execute(&command);
}

/* ---- parent */

static int check_spec(const RuntimeSpec *spec, SysError *error)
{
    const RuntimeNamespaces *ns = &spec->namespaces;
    if (!spec->command.argv || !spec->command.argv[0])
        return sys_fail(error, EINVAL, "no command given");
    if (spec->root_fd < 0)
        return sys_fail(error, EINVAL, "no root given for the container");
    if (ns->user >= 0 &&
        (ns->ipc < 0 || ns->uts < 0 || (spec->net == RUNTIME_NET_NEW && ns->net < 0)))
        return sys_fail(error, EINVAL, "a user namespace without the namespaces that belong to it");
    if (spec->net == RUNTIME_NET_JOIN && ns->net < 0)
        return sys_fail(error, EINVAL, "no network namespace to join");
    return 0;
}

static int set_bind_flags(int fd, const RuntimeBind *bind, const char *name, SysError *error)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_NODEV};
    if (bind->readonly)
        attr.attr_set |= MOUNT_ATTR_RDONLY;
    if (!bind->suid)
        attr.attr_set |= MOUNT_ATTR_NOSUID;
    if (bind->noexec)
        attr.attr_set |= MOUNT_ATTR_NOEXEC;
    if (mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) < 0)
        return sys_fail_errno(error, "cannot set flags on the bind of '%s'", name);
    if (bind->idmap_fd < 0)
        return 0;
    struct mount_attr idmap = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)bind->idmap_fd};
    /* what is mounted below may be of a kind that can't be mapped: then only the top is */
    if (mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &idmap, sizeof idmap) < 0 &&
        mount_setattr(fd, "", AT_EMPTY_PATH, &idmap, sizeof idmap) < 0)
        return sys_fail_errno(error, "cannot map the owners of the bind of '%s'", name);
    return 0;
}

/* A detached mount of the source with the flags of the bind; see RuntimeBind. */
static int open_bind(const RuntimeBind *bind, SysError *error)
{
    const char *name = bind->path ? bind->path : bind->target;
    if (bind->target[0] != '/' || bind->target[strspn(bind->target, "/")] == '\0')
        return sys_fail(error, EINVAL, "cannot bind on '%s': not an absolute path below '/'",
                        bind->target);
    _autofd int fd = -1;
    if (bind->detached)
        fd = fcntl(bind->fd, F_DUPFD_CLOEXEC, 3);
    else
        fd = open_tree(bind->path ? AT_FDCWD : bind->fd, bind->path ? bind->path : "",
                       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE |
                           (bind->path ? 0 : AT_EMPTY_PATH));
    if (fd < 0)
        return sys_fail_errno(error, "cannot bind '%s' into the container", name);
    return set_bind_flags(fd, bind, name, error) < 0 ? -1 : fd_steal(&fd);
}

static void close_binds(int *fds, size_t n)
{
    for (size_t i = 0; fds && i < n; i++)
        sys_fd_closep(&fds[i]);
    free(fds);
}

static int open_binds(const RuntimeSpec *spec, int **out_fds, SysError *error)
{
    *out_fds = NULL;
    if (spec->n_binds == 0)
        return 0;
    int *fds = calloc(spec->n_binds, sizeof *fds);
    if (!fds)
        return sys_fail_errno(error, "cannot bind");
    for (size_t i = 0; i < spec->n_binds; i++) {
        fds[i] = open_bind(&spec->binds[i], error);
        if (fds[i] < 0) {
            close_binds(fds, i);
            return -1;
        }
    }
    *out_fds = fds;
    return 0;
}

static uint64_t clone_flags(const RuntimeSpec *spec)
{
    uint64_t flags = CLONE_NEWPID | CLONE_NEWNS;
    if (spec->namespaces.ipc < 0)
        flags |= CLONE_NEWIPC;
    if (spec->namespaces.uts < 0)
        flags |= CLONE_NEWUTS;
    if (spec->namespaces.net < 0 && spec->net == RUNTIME_NET_NEW)
        flags |= CLONE_NEWNET;
    return flags;
}

static int attach_network(const RuntimeSpec *spec, pid_t pid, SysError *error)
{
    if (spec->net != RUNTIME_NET_NEW || !spec->attach_network)
        return 0;
    if (spec->namespaces.net >= 0)
        return spec->attach_network(spec->network_data, pid, spec->namespaces.net, error);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)pid);
    _autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sys_fail_errno(error, "cannot open the container's network namespace");
    return spec->attach_network(spec->network_data, pid, fd, error);
}

/* The child is there: sees it through, or ends and reaps it. */
static int see_through(const RuntimeSpec *spec, int sync_fd, RuntimeProcess *process,
                       SysError *error)
{
    int result = attach_network(spec, process->pid, error);
    if (result == 0) {
        sync_send_go(sync_fd);
        result = sync_await(sync_fd, process, error);
    }
    if (result < 0) {
        syscall(SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0);
        while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    return result;
}

static int clone_and_run(StartPlan *plan, RuntimeProcess *process, SysError *error)
{
    int sync[2];
    if (sync_pair(sync, error) < 0)
        return -1;
    plan->sync_fd = sync[1];
    pid_t pid = clone_process(clone_flags(plan->spec), plan->cgroup.v2, &process->pidfd);
    if (pid == 0) {
        close(sync[0]);
        child(plan);
    }
    int result = pid < 0 ? sys_fail_errno(error, "cannot start a process in new namespaces") : 0;
    close(sync[1]);
    process->pid = pid;
    if (result == 0)
        result = see_through(plan->spec, sync[0], process, error);
    close(sync[0]);
    return result;
}

int runtime_start(const RuntimeSpec *spec, RuntimeProcess *out, SysError *error)
{
    RuntimeProcess process = RUNTIME_PROCESS_NONE;
    *out = process;
    StartPlan plan = {.spec = spec, .cgroup = CGROUP_FDS_NONE, .null_fd = -1, .slave_fd = -1};
    int *binds = NULL;
    if (check_spec(spec, error) < 0 || command_copy_stdio(&spec->command, plan.stdio, error) < 0)
        return -1;
    int result = open_binds(spec, &binds, error);
    plan.bind_fds = binds;
    bool has_cgroup = false;
    if (result == 0 && spec->cgroup) {
        result = cgroup_create(spec->cgroup, &spec->limits, !spec->unmasked, &plan.cgroup, error);
        has_cgroup = result == 0;
    }
    if (result == 0)
        result = clone_and_run(&plan, &process, error);
    command_close_stdio(plan.stdio);
    close_binds(binds, spec->n_binds);
    cgroup_close(&plan.cgroup);
    if (result < 0) {
        int status = process.failed_status;
        runtime_process_clear(&process);
        process.failed_status = status;
        if (has_cgroup)
            runtime_cgroup_remove(spec->cgroup, NULL);
    }
    *out = process;
    return result;
}
