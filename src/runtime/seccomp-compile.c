/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* atomic-seccomp CAPS FILE: compiles the default seccomp profile for a capability mask (hex) into
 * FILE.
 *
 * The profile has the behaviour of Docker's default one: a list of calls that are allowed, some
 * only with a capability or certain arguments; everything else is EPERM. Two things are answered
 * differently so that programs fall back as they are written to: clone3 (its flags are behind a
 * pointer and can't be filtered) and every call newer than this list are ENOSYS.
 *
 * Calls from 451 up have the same number on every machine, and libseccomp may be older than they
 * are: they are decided by a few instructions of our own before libseccomp's (write_prologue).
 */
#include "base/sys/fd.h"
#include "runtime/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* One string per family; names that this machine or this libseccomp doesn't know are skipped. */
static const char *const always[] = {
    /* files and directories */
    "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 "
    "faccessat faccessat2 "
    "fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchown fchown32 fchownat fcntl "
    "fcntl64 fdatasync flock "
    "fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 getcwd getdents "
    "getdents64 ioctl lchown "
    "lchown32 link linkat _llseek lseek lstat lstat64 memfd_create memfd_secret mkdir mkdirat "
    "mknod mknodat "
    "name_to_handle_at newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 "
    "pwritev pwritev2 "
    "read readahead readlink readlinkat readv rename renameat renameat2 rmdir sendfile sendfile64 "
    "splice stat "
    "stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range sync_file_range2 syncfs "
    "tee truncate "
    "truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes futimesat vmsplice "
    "write writev",
    "fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr listxattr llistxattr "
    "lremovexattr lsetxattr "
    "removexattr setxattr",
    /* waiting */
    "epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait "
    "epoll_wait_old eventfd "
    "eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch "
    "_newselect poll ppoll "
    "ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4",
    "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit "
    "ioprio_get ioprio_set",
    /* memory */
    "brk madvise membarrier mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap msync munlock "
    "munlockall munmap "
    "pkey_alloc pkey_free pkey_mprotect process_mrelease remap_file_pages",
    /* processes and threads */
    "alarm arch_prctl capget capset execve execveat exit exit_group fork futex futex_time64 "
    "futex_waitv "
    "get_robust_list get_thread_area getcpu getegid getegid32 geteuid geteuid32 getgid getgid32 "
    "getgroups getgroups32 "
    "getitimer getpgid getpgrp getpid getppid getpriority getresgid getresgid32 getresuid "
    "getresuid32 getrlimit "
    "getrusage getsid gettid getuid getuid32 kill modify_ldt pause pidfd_open pidfd_send_signal "
    "prctl prlimit64 "
    "restart_syscall riscv_flush_icache riscv_hwprobe rseq rt_sigaction rt_sigpending "
    "rt_sigprocmask rt_sigqueueinfo "
    "rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo "
    "sched_get_priority_max "
    "sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler "
    "sched_rr_get_interval "
    "sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam "
    "sched_setscheduler sched_yield "
    "set_robust_list set_thread_area set_tid_address set_tls setfsgid setfsgid32 setfsuid "
    "setfsuid32 setgid setgid32 "
    "setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 "
    "setresuid "
    "setresuid32 setreuid setreuid32 setrlimit setsid setuid setuid32 sigaltstack sigprocmask "
    "sigreturn tgkill tkill "
    "ugetrlimit uretprobe vfork wait4 waitid waitpid",
    /* since 4.8 these can't be used to get around a filter */
    "process_vm_readv process_vm_writev ptrace",
    "landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp",
    /* between processes */
    "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend "
    "mq_timedsend_time64 "
    "mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat "
    "shmctl shmdt shmget",
    /* network */
    "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg "
    "recvmmsg_time64 "
    "recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair",
    /* time and the rest */
    "adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime "
    "clock_gettime64 "
    "clock_nanosleep clock_nanosleep_time64 gettimeofday nanosleep time timer_create timer_delete "
    "timer_getoverrun "
    "timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime "
    "timerfd_gettime64 "
    "timerfd_settime timerfd_settime64 times",
    "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush getrandom sysinfo uname",
};

static const struct {
    uint64_t cap;
    const char *names;
} with_cap[] = {
    {SECCOMP_CAP(DAC_READ_SEARCH), "open_by_handle_at"},
    {SECCOMP_CAP(SYS_ADMIN), "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick "
                             "lookup_dcookie mount mount_setattr move_mount open_tree "
                             "perf_event_open quotactl quotactl_fd setdomainname sethostname setns "
                             "syslog umount umount2 unshare"},
    {SECCOMP_CAP(SYS_BOOT), "reboot"},
    {SECCOMP_CAP(SYS_CHROOT), "chroot"},
    {SECCOMP_CAP(SYS_MODULE), "delete_module finit_module init_module"},
    {SECCOMP_CAP(SYS_PACCT), "acct"},
    {SECCOMP_CAP(SYS_PTRACE), "kcmp pidfd_getfd process_madvise"},
    {SECCOMP_CAP(SYS_RAWIO), "ioperm iopl"},
    {SECCOMP_CAP(SYS_TIME), "clock_settime clock_settime64 settimeofday stime"},
    {SECCOMP_CAP(SYS_TTY_CONFIG), "vhangup"},
    {SECCOMP_CAP(SYS_NICE), "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
    {SECCOMP_CAP(SYSLOG), "syslog"},
    {SECCOMP_CAP(BPF), "bpf"},
    {SECCOMP_CAP(PERFMON), "perf_event_open"},
};

/* Any process may ask for these; the others change how the kernel lays out memory. */
static const uint32_t personalities[] = {0, 0x0008, 0x20000, 0x20008, 0xffffffff};

/* Families of sockets: all but AF_ALG (38), a wide door into the kernel, and AF_VSOCK (40), which reaches
 * the hypervisor. Bits and not ranges, because the kernel takes an int: a comparison looks at 64 bits, and
 * 1 << 32 | AF_VSOCK, which is none of the two, opens the same socket. */
static const struct {
    uint32_t mask, value;
} families[] = {
    {0xffffffe0, 0},                                      /* to 31 */
    {0xfffffffc, 32},                                     /* to 35 */
    {0xfffffffe, 36},                                     /* to 37 */
    {0xffffffff, 39}, {0xffffffff, 41}, {0xfffffffe, 42}, /* to 43 */
    {0xfffffffc, 44},                                     /* to 47 */
    {0xfffffff0, 48},                                     /* to 63, none of which exists yet */
};

#define CLONE_NAMESPACES                                                                           \
    (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |     \
     CLONE_NEWCGROUP)

static int allow_names(scmp_filter_ctx filter, const char *names)
{
    char name[64];
    for (const char *p = names; *p;) {
        size_t length = strcspn(p, " ");
        snprintf(name, sizeof name, "%.*s", (int)length, p);
        int number = seccomp_syscall_resolve_name(name);
        if (number != __NR_SCMP_ERROR) {
            int failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
            if (failed < 0 && failed != -EEXIST)
                return failed;
        }
        p += length + strspn(p + length, " ");
    }
    return 0;
}

static int add_conditional(scmp_filter_ctx filter, uint64_t caps)
{
    int failed = 0;
    for (size_t i = 0; i < ARRAY_SIZE(personalities) && !failed; i++)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1,
                                  SCMP_A0(SCMP_CMP_EQ, personalities[i]));
    for (size_t i = 0; i < ARRAY_SIZE(families) && !failed; i++)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, families[i].mask, families[i].value));
    if (failed || (caps & SECCOMP_CAP(SYS_ADMIN)))
        return failed;
    failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NAMESPACES, 0));
    return failed ? failed : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

static int build(scmp_filter_ctx filter, uint64_t caps)
{
    /* 32-bit programs of the same machine; x32 is not among them and answers ENOSYS */
    uint32_t native = seccomp_arch_native();
    uint32_t second = native == SCMP_ARCH_X86_64    ? SCMP_ARCH_X86
                      : native == SCMP_ARCH_AARCH64 ? SCMP_ARCH_ARM
                                                    : 0;
    int failed = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
    if (!failed)
        failed = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree */
    if (!failed)
        failed = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
    if (!failed && second)
        failed = seccomp_arch_add(filter, second);
    for (size_t i = 0; i < ARRAY_SIZE(always) && !failed; i++)
        failed = allow_names(filter, always[i]);
    for (size_t i = 0; i < ARRAY_SIZE(with_cap) && !failed; i++)
        if (caps & with_cap[i].cap)
            failed = allow_names(filter, with_cap[i].names);
    return failed ? failed : add_conditional(filter, caps);
}

#define FIRST_COMMON 451 /* cachestat */
#define LAST_KNOWN   466 /* removexattrat */
#define X32_BIT      0x40000000u

/* 451 cachestat 452 fchmodat2 453 map_shadow_stack 454-456 futex_* 457 statmount 458 listmount
 * 459-461 lsm_* (SYS_ADMIN) 462 mseal 463-466 *xattrat; above: newer than this list. */
static int write_prologue(int fd, uint64_t caps)
{
    unsigned lsm = caps & SECCOMP_CAP(SYS_ADMIN) ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EPERM;
    const struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FIRST_COMMON, 0, 7),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 6, 0),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, LAST_KNOWN, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 462, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 459, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, lsm),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    };
    return sys_write_all(fd, code, sizeof code);
}

static int fail(const char *what, int failed)
{
    fprintf(stderr, "atomic-seccomp: cannot %s: %s\n", what, strerror(-failed));
    return 1;
}

/* Temporary file, then rename: a reader finds all of it or nothing. */
static int write_filter(scmp_filter_ctx filter, uint64_t caps, const char *path)
{
    char temporary[4096];
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.%d", path, (int)getpid()) >=
        sizeof temporary)
        return -ENAMETOOLONG;
    _autofd int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int failed = write_prologue(fd, caps);
    if (!failed)
        failed = seccomp_export_bpf(filter, fd);
    if (!failed && rename(temporary, path) < 0)
        failed = -errno;
    if (failed)
        unlink(temporary);
    return failed;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: atomic-seccomp CAPS FILE\n");
        return 2;
    }
    uint64_t caps = strtoull(argv[1], NULL, 16);
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!filter)
        return fail("start", -ENOMEM);
    int failed = build(filter, caps);
    if (failed)
        return fail("compile the profile", failed);
    failed = write_filter(filter, caps, argv[2]);
    seccomp_release(filter);
    return failed ? fail("write the filter", failed) : 0;
}
