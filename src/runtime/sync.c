/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The socket between the caller and the child that is on its way to execve.
 *
 * Child to parent: at most one TERMINAL with the fd, then either FAILED or EXEC followed by the end
 * of the socket. The end without EXEC means that the child was killed on its way. Parent to child:
 * one GO. Before that, the middle process of an exec sends one PID (or FAILED), and the holder of
 * namespaces one READY.
 */
#include "runtime/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

typedef enum {
    SYNC_PID = 1,
    SYNC_TERMINAL,
    SYNC_FAILED,
    SYNC_EXEC,
    SYNC_READY, /* holder of namespaces only */
    SYNC_GO,
} SyncKind;

typedef struct {
    uint32_t kind;
    int32_t value; /* pid, or exit status */
    SysError error;
} SyncMessage;

#define SYNC_SHORT offsetof(SyncMessage, error)

int sync_pair(int out_fds[2], SysError *error)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return sys_fail_errno(error, "cannot make a socket pair");
    /* a caller without stdin must not lose its socket to the child's dup2(…, 0) */
    for (int i = 0; i < 2; i++) {
        if (pair[i] > 2)
            continue;
        int moved = fcntl(pair[i], F_DUPFD_CLOEXEC, 3);
        if (moved < 0) {
            sys_fail_errno(error, "cannot copy an fd");
            close(pair[0]);
            close(pair[1]);
            return -1;
        }
        close(pair[i]);
        pair[i] = moved;
    }
    out_fds[0] = pair[0];
    out_fds[1] = pair[1];
    return 0;
}

static void send_short(int fd, SyncKind kind, int value)
{
    SyncMessage message = {.kind = kind, .value = value};
    while (send(fd, &message, SYNC_SHORT, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

_noreturn void sync_fail(int fd, int status, const SysError *failed)
{
    SyncMessage message = {.kind = SYNC_FAILED, .value = status, .error = *failed};
    while (send(fd, &message, sizeof message, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
    _exit(status);
}

void sync_send_pid(int fd, pid_t pid)
{
    send_short(fd, SYNC_PID, pid);
}

void sync_send_ready(int fd)
{
    send_short(fd, SYNC_READY, 0);
}

void sync_send_exec(int fd)
{
    send_short(fd, SYNC_EXEC, 0);
}

void sync_send_go(int fd)
{
    send_short(fd, SYNC_GO, 0);
}

int sync_wait_go(int fd)
{
    SyncMessage message;
    ssize_t n;
    while ((n = recv(fd, &message, sizeof message, 0)) < 0 && errno == EINTR)
        ;
    return n >= (ssize_t)SYNC_SHORT && message.kind == SYNC_GO ? 0 : -1;
}

int sync_send_terminal(int fd, int master, SysError *error)
{
    SyncMessage message = {.kind = SYNC_TERMINAL};
    struct iovec vector = {&message, SYNC_SHORT};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr header = {.msg_iov = &vector,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof control};
    struct cmsghdr *item = CMSG_FIRSTHDR(&header);
    item->cmsg_level = SOL_SOCKET;
    item->cmsg_type = SCM_RIGHTS;
    item->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(item), &master, sizeof master);
    while (sendmsg(fd, &header, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            return sys_fail_errno(error, "cannot hand over the terminal");
    return 0;
}

/* The size, 0 at the end, -1. *out_fd: -1 or the fd that came along. */
static ssize_t receive(int fd, SyncMessage *message, int *out_fd)
{
    struct iovec vector = {message, sizeof *message};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct msghdr header = {.msg_iov = &vector,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof control};
    *out_fd = -1;
    ssize_t n;
    while ((n = recvmsg(fd, &header, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        ;
    if (n <= 0)
        return n;
    struct cmsghdr *item = CMSG_FIRSTHDR(&header);
    if (item && item->cmsg_type == SCM_RIGHTS)
        memcpy(out_fd, CMSG_DATA(item), sizeof *out_fd);
    return n;
}

/* Why the socket ended without a word. */
static int fail_vanished(const RuntimeProcess *process, SysError *error)
{
    siginfo_t info = {0};
    if (process->pidfd >= 0 &&
        waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOWAIT | __WALL) == 0 &&
        (info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED))
        return sys_fail(
            error, ECHILD, "the container was killed by signal %d before its program could run%s",
            info.si_status, info.si_status == 9 ? " (is the memory limit too low?)" : "");
    return sys_fail(error, ECHILD, "the container ended before its program could run");
}

static int take_failure(SyncMessage *message, SysError *error)
{
    message->error.message[sizeof message->error.message - 1] = '\0';
    *error = message->error;
    return -1;
}

int sync_await_ready(int fd, SysError *error)
{
    SyncMessage message;
    int passed;
    ssize_t n = receive(fd, &message, &passed);
    sys_fd_closep(&passed);
    if (n == sizeof message && message.kind == SYNC_FAILED)
        return take_failure(&message, error);
    if (n < (ssize_t)SYNC_SHORT || message.kind != SYNC_READY)
        return sys_fail(error, ECHILD, "the process that makes namespaces ended");
    return 0;
}

int sync_await_pid(int fd, RuntimeProcess *process, SysError *error)
{
    SyncMessage message;
    int passed;
    ssize_t n = receive(fd, &message, &passed);
    sys_fd_closep(&passed);
    process->failed_status = 125;
    if (n == sizeof message && message.kind == SYNC_FAILED)
        return take_failure(&message, error);
    if (n < (ssize_t)SYNC_SHORT || message.kind != SYNC_PID)
        return sys_fail(error, ECHILD, "the process that enters the container ended");
    process->pid = message.value;
    return 0;
}

int sync_await(int fd, RuntimeProcess *process, SysError *error)
{
    bool executing = false;
    process->failed_status = 125;
    for (;;) {
        SyncMessage message;
        int passed;
        ssize_t n = receive(fd, &message, &passed);
        if (n < 0)
            return sys_fail_errno(error, "cannot hear from the container");
        if (n == 0)
            return executing ? 0 : fail_vanished(process, error);
        if (message.kind == SYNC_TERMINAL && process->terminal_fd < 0) {
            process->terminal_fd = fd_steal(&passed);
        } else if (message.kind == SYNC_EXEC) {
            executing = true;
        } else if (message.kind == SYNC_FAILED && n == sizeof message) {
            process->failed_status = message.value;
            return take_failure(&message, error);
        }
        sys_fd_closep(&passed);
    }
}
