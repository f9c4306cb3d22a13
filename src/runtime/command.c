/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The last steps of a process that is inside already: fds, directory, rights, execve.
 *
 * Order matters:
 *  - All fds but 0, 1, 2 and the socket are closed first, so that a working directory of
 *    "/proc/self/fd/7" finds nothing of the host.
 *  - The bounding set is dropped while CAP_SETPCAP is there, before the uid changes.
 *  - Without no_new_privs a filter may only be loaded with CAP_SYS_ADMIN, so before the last
 *    capset; with it, the filter goes in last and needs to allow less. Every filter must allow what
 *    follows it: capset, prctl, write, execve.
 */
#include "runtime/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* ---- with the host's rights */

/* What is missing is the host's /dev/null: the container's may have become anything by the time of an
 * exec, a link to one of the fds that we still hold for one. */
int command_copy_stdio(const RuntimeCommand *command, int out[3], SysError *error)
{
    const int given[3] = {command->stdin_fd, command->stdout_fd, command->stderr_fd};
    for (int i = 0; i < 3; i++)
        out[i] = -1;
    if (command->terminal)
        return 0;
    _autofd int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0)
        return sys_fail_errno(error, "cannot open '/dev/null'");
    for (int i = 0; i < 3; i++) {
        out[i] = fcntl(given[i] < 0 ? null_fd : given[i], F_DUPFD_CLOEXEC, 3);
        if (out[i] < 0) {
            sys_fail_errno(error, "cannot use fd %d as the container's fd %d", given[i], i);
            command_close_stdio(out);
            return -1;
        }
    }
    return 0;
}

void command_close_stdio(int stdio[3])
{
    for (int i = 0; i < 3; i++)
        sys_fd_closep(&stdio[i]);
}

/* A pipe belongs to whoever made it. Programs that open /dev/stdout by name must be allowed to. */
static int give_pipes(const int stdio[3], uid_t uid, SysError *error)
{
    for (int i = 0; i < 3; i++) {
        struct stat st;
        if (stdio[i] < 0)
            continue;
        if (fstat(stdio[i], &st) < 0)
            return sys_fail_errno(error, "cannot stat fd %d", i);
        if (S_ISFIFO(st.st_mode) && st.st_uid != uid && fchown(stdio[i], uid, (gid_t)-1) < 0 &&
            errno != EPERM && errno != EROFS)
            return sys_fail_errno(error, "cannot give fd %d to uid %u", i, uid);
    }
    return 0;
}

int command_prepare(const RuntimeCommand *command, const int stdio[3], uint32_t id_base,
                    SysError *error)
{
    if (command->oom_score_adj) {
        char text[16];
        snprintf(text, sizeof text, "%d", *command->oom_score_adj);
        int failed = sys_write_file_at(AT_FDCWD, "/proc/self/oom_score_adj", text);
        if (failed < 0 && failed != -EACCES && failed != -EPERM)
            return sys_fail(error, -failed, "cannot set the oom score to %s: %s", text,
                            strerror(-failed));
    }
    for (size_t i = 0; i < command->n_rlimits; i++) {
        const RuntimeRlimit *limit = &command->rlimits[i];
        struct rlimit value = {.rlim_cur = limit->soft, .rlim_max = limit->hard};
        if (setrlimit((__rlimit_resource_t)limit->resource, &value) < 0)
            return sys_fail_errno(error, "cannot set the resource limit %d", limit->resource);
    }
    return give_pipes(stdio, id_base + command->uid, error);
}

/* ---- capabilities and ids */

static int set_caps(uint64_t permitted, uint64_t effective, SysError *error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.permitted = (uint32_t)permitted, .effective = (uint32_t)effective},
        {.permitted = (uint32_t)(permitted >> 32), .effective = (uint32_t)(effective >> 32)},
    };
    if (syscall(SYS_capset, &header, data) < 0)
        return sys_fail_errno(error, "cannot set the capabilities");
    return 0;
}

static int get_permitted(uint64_t *out, SysError *error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0)
        return sys_fail_errno(error, "cannot read the capabilities");
    *out = data[0].permitted | (uint64_t)data[1].permitted << 32;
    return 0;
}

int command_raise_caps(SysError *error)
{
    uint64_t permitted = 0;
    if (get_permitted(&permitted, error) < 0)
        return -1;
    return set_caps(permitted, permitted, error);
}

static int drop_bounding(uint64_t keep, SysError *error)
{
    for (unsigned cap = 0; cap < 64; cap++) {
        if (keep & (1ull << cap))
            continue;
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
            continue;
        if (errno == EINVAL)
            break; /* the kernel's last one was before */
        return sys_fail_errno(error, "cannot drop capability %u", cap);
    }
    return 0;
}

static int load_filter(const RuntimeSeccomp *seccomp, SysError *error)
{
    struct sock_fprog program = {.len = (unsigned short)seccomp->count,
                                 .filter = seccomp->instructions};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        return sys_fail_errno(error, "cannot load the seccomp filter");
    return 0;
}

static int become_user(const RuntimeCommand *command, SysError *error)
{
    uint64_t kept = 0;
    if (drop_bounding(command->caps, error) < 0 || get_permitted(&kept, error) < 0)
        return -1;
    prctl(PR_SET_KEEPCAPS, 1);
    if (syscall(SYS_setgroups, command->n_groups, command->groups) < 0 ||
        syscall(SYS_setresgid, command->gid, command->gid, command->gid) < 0 ||
        syscall(SYS_setresuid, command->uid, command->uid, command->uid) < 0)
        return sys_fail_errno(error, "cannot become user %u, group %u", command->uid, command->gid);
    bool filtered = command->seccomp && command->seccomp->count > 0;
    if (filtered && !command->no_new_privs &&
        (set_caps(kept, kept, error) < 0 || load_filter(command->seccomp, error) < 0))
        return -1;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    uint64_t final = command->uid == 0 ? command->caps & kept : 0;
    if (set_caps(final, final, error) < 0)
        return -1;
    if (command->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return sys_fail_errno(error, "cannot set no_new_privs");
    if (filtered && command->no_new_privs)
        return load_filter(command->seccomp, error);
    return 0;
}

/* ---- fds and directory */

static int arrange_fds(const CommandPlan *plan, SysError *error)
{
    for (int i = 0; i < 3; i++) {
        int from = plan->slave_fd >= 0 ? plan->slave_fd : plan->stdio[i];
        /* a terminal may have got a number that the caller had free: only close-on-exec must go */
        if (from == i ? fcntl(i, F_SETFD, 0) < 0 : dup2(from, i) < 0)
            return sys_fail_errno(error, "cannot set up fd %d", i);
    }
    setsid();
    if (plan->slave_fd >= 0 && ioctl(0, TIOCSCTTY, 0) < 0)
        return sys_fail_errno(error, "cannot make the terminal the controlling one");
    if (close_range(3, (unsigned)plan->sync_fd - 1, 0) < 0 && plan->sync_fd > 3)
        return sys_fail_errno(error, "cannot close fds");
    if (close_range((unsigned)plan->sync_fd + 1, UINT_MAX, 0) < 0)
        return sys_fail_errno(error, "cannot close fds");
    return 0;
}

/* Links are followed by the kernel from the container's root; what is missing is made by container
 * root. */
static int enter_directory(const char *cwd, SysError *error)
{
    char path[PATH_MAX];
    if (!cwd || !*cwd)
        cwd = "/";
    if (chdir(cwd) < 0 && errno == ENOENT) {
        size_t length = strlen(cwd);
        if (length >= sizeof path)
            return sys_fail(error, ENAMETOOLONG, "the working directory's name is too long");
        memcpy(path, cwd, length + 1);
        for (size_t i = 1; i <= length; i++) {
            if (path[i] != '/' && path[i] != '\0')
                continue;
            path[i] = '\0';
            if (mkdir(path, 0755) < 0 && errno != EEXIST)
                return sys_fail_errno(error, "cannot make the working directory '%s'", cwd);
            path[i] = i < length ? '/' : '\0';
        }
        if (chdir(cwd) < 0)
            return sys_fail_errno(error, "cannot change to the working directory '%s'", cwd);
    } else if (chdir(cwd) < 0) {
        return sys_fail_errno(error, "cannot change to the working directory '%s'", cwd);
    }
    /* outside the root the kernel says "(unreachable)/…" */
    if (syscall(SYS_getcwd, path, sizeof path) < 0 || path[0] != '/')
        return sys_fail(error, EPERM, "the working directory '%s' is outside the container", cwd);
    return 0;
}

/* Asked for last: changes of ids switch it off again. The caller may have gone before. */
static void tie_to_caller(const CommandPlan *plan)
{
    char byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (recv(plan->sync_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
        _exit(125);
}

/* ---- execve */

static const char *find_path(const char *const *env)
{
    for (; env && *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/* A container whose program is /proc/self/exe (or a script with that as its interpreter) would run
 * the host's binary of this very process, and could then reopen it for writing where root inside is
 * root outside. */
static bool is_own_binary(const char *program)
{
    struct stat own, st;
    if (stat("/proc/self/exe", &own) < 0)
        return false;
    char path[256];
    if (strlen(program) >= sizeof path)
        return false;
    strcpy(path, program);
    /* the kernel follows at most five interpreters */
    for (int depth = 0; depth < 6; depth++) {
        if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
            return false;
        if (st.st_dev == own.st_dev && st.st_ino == own.st_ino)
            return true;
        char line[256] = "";
        _autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0 || read(fd, line, sizeof line - 1) < 3 || line[0] != '#' || line[1] != '!')
            return false;
        const char *start = line + 2 + strspn(line + 2, " \t");
        size_t length = strcspn(start, " \t\n");
        memmove(path, start, length);
        path[length] = '\0';
    }
    return false;
}

/* Returns when it failed, with errno. */
static void try_exec(const CommandPlan *plan, const char *path)
{
    const RuntimeCommand *command = plan->command;
    static const char *const no_env[] = {NULL};
    if (is_own_binary(path)) {
        errno = EPERM;
        return;
    }
    execve(path, (char *const *)command->argv,
           (char *const *)(command->env ? command->env : no_env));
}

static _noreturn void fail_exec(const CommandPlan *plan, const char *path, int code)
{
    const char *name = plan->command->argv[0];
    SysError failed = {0};
    int status = 126;
    if (code == ENOENT && access(path, F_OK) == 0) {
        sys_fail(&failed, code,
                 "exec: \"%s\": its interpreter or loader is missing: no such file or directory",
                 name);
        status = 127;
    } else if (code == ENOENT || code == ENOTDIR) {
        sys_fail(&failed, ENOENT, "exec: \"%s\": stat %s: no such file or directory", name, name);
        status = 127;
    } else if (code == EACCES) {
        sys_fail(&failed, code, "exec: \"%s\": permission denied", name);
    } else if (code == ENOEXEC) {
        sys_fail(&failed, code, "exec: \"%s\": exec format error", name);
    } else {
        errno = code;
        sys_fail_errno(&failed, "exec: \"%s\"", name);
    }
    sync_fail(plan->sync_fd, status, &failed);
}

static _noreturn void search_path(const CommandPlan *plan)
{
    const char *name = plan->command->argv[0];
    char path[PATH_MAX];
    bool denied = false;
    for (const char *dir = find_path(plan->command->env); dir;) {
        size_t length = strcspn(dir, ":");
        int written = snprintf(path, sizeof path, "%.*s/%s", (int)length, length ? dir : ".", name);
        if (written > 0 && (size_t)written < sizeof path && *name) {
            try_exec(plan, path);
            if (errno == EACCES)
                denied = true;
            else if (errno != ENOENT && errno != ENOTDIR)
                fail_exec(plan, path, errno);
            else if (access(path, F_OK) == 0)
                fail_exec(plan, path, ENOENT);
        }
        dir = dir[length] == ':' ? dir + length + 1 : NULL;
    }
    SysError failed = {0};
    if (denied)
        sys_fail(&failed, EACCES, "exec: \"%s\": permission denied", name);
    else
        sys_fail(&failed, ENOENT, "exec: \"%s\": executable file not found in $PATH", name);
    sync_fail(plan->sync_fd, denied ? 126 : 127, &failed);
}

_noreturn void command_execute(const CommandPlan *plan)
{
    const RuntimeCommand *command = plan->command;
    SysError failed = {0};
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < 65; number++)
        signal(number, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(022);
    if (arrange_fds(plan, &failed) < 0 || enter_directory(command->cwd, &failed) < 0 ||
        become_user(command, &failed) < 0)
        sync_fail(plan->sync_fd, 125, &failed);
    if (command->die_with_caller)
        tie_to_caller(plan);
    sync_send_exec(plan->sync_fd);
    const char *name = command->argv[0];
    if (!strchr(name, '/'))
        search_path(plan);
    try_exec(plan, name);
    fail_exec(plan, name, errno);
}
