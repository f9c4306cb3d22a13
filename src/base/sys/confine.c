/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/sys/confine.h"

#include "base/sys/fd.h"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY 65534

int sys_confine_user(SysError *error)
{
    bool root = geteuid() == 0, no_groups = root && setgroups(0, NULL) == 0;
    bool alone = false;
    if (root && (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)) {
        alone = errno == EINVAL;
        if (!alone)
            return sys_fail_errno(error, "cannot give up root");
    }
    if (root && !no_groups && !alone)
        return sys_fail(error, EPERM, "cannot give up root's groups");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return sys_fail_errno(error, "cannot give up gaining privileges");
    return 0;
}

/* A ruleset that handles every access and allows none. */
static int deny_files(SysError *error)
{
    /* what the first version of Landlock knows: more would be refused by older kernels, and seccomp comes on top */
    const struct landlock_ruleset_attr attr = {.handled_access_fs =
                                                   (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1};
    _autofd int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (fd < 0 && (errno == ENOSYS || errno == EOPNOTSUPP))
        return 0;
    if (fd < 0 || syscall(SYS_landlock_restrict_self, fd, 0) < 0)
        return sys_fail_errno(error, "cannot give up the filesystem");
    return 0;
}

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

/* Elsewhere the user and Landlock must do; sanitizers need more calls than a program. */
#if defined(ARCH) && !defined(SANITIZED)
#define ALLOW(name)                                                                                \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1),                                         \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static int deny_calls(SysError *error)
{
    static struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(read),
        ALLOW(write),
        ALLOW(close),
        ALLOW(brk),
        ALLOW(mmap),
        ALLOW(munmap),
        ALLOW(mremap),
        ALLOW(mprotect),
        ALLOW(madvise),
        ALLOW(futex),
        ALLOW(getrandom),
        ALLOW(clock_gettime),
        ALLOW(rt_sigreturn),
        ALLOW(restart_syscall),
        ALLOW(exit),
        ALLOW(exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
    const struct sock_fprog program = {.len = ARRAY_SIZE(filter), .filter = filter};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0 && errno != EINVAL)
        return sys_fail_errno(error, "cannot give up system calls");
    return 0;
}
#else
static int deny_calls(SysError *error _unused)
{
    return 0;
}
#endif

int sys_confine_to_pipes(size_t memory, SysError *error)
{
#ifndef SANITIZED /* they reserve terabytes */
    const struct rlimit limit = {memory, memory};
    if (setrlimit(RLIMIT_AS, &limit) < 0)
        return sys_fail_errno(error, "cannot limit the memory");
#endif
    return deny_files(error) < 0 || deny_calls(error) < 0 ? -1 : 0;
}
