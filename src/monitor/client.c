/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The attach socket, and the clients that want little: to wait, to send a signal or a size. */
#include "monitor/monitor.h"

#include "base/sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* A socket's address has room for 107 bytes; a path through an open fd always fits. */
static int open_dir(const char *dir, struct sockaddr_un *address, SysError *error)
{
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return sys_fail_errno(error, "cannot open '%s'", dir);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/attach", fd);
    return fd;
}

int monitor_listen(const char *dir, SysError *error)
{
    struct sockaddr_un address;
    _autofd int dir_fd = open_dir(dir, &address, error);
    if (dir_fd < 0)
        return -1;
    if ((unlinkat(dir_fd, "attach", 0) < 0 && errno != ENOENT) ||
        (unlinkat(dir_fd, "exit", 0) < 0 && errno != ENOENT))
        return sys_fail_errno(error, "cannot remove old files in '%s'", dir);
    _autofd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* the mode of the socket file is that of the socket before the bind: nobody gets in between */
    if (fd < 0 || fchmod(fd, 0600) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 64) < 0)
        return sys_fail_errno(error, "cannot create '%s/attach'", dir);
    return fd_steal(&fd);
}

/* Sends one packet; waits while the socket is full. */
static int send_packet(int socket, const void *packet, size_t size, SysError *error)
{
    for (;;) {
        if (send(socket, packet, size, MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno == EAGAIN) {
            struct pollfd wait = {.fd = socket, .events = POLLOUT};
            poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            return sys_fail_errno(error, "cannot speak to the container's monitor");
        }
    }
}

int monitor_connect(const char *dir, unsigned flags, SysError *error)
{
    struct sockaddr_un address;
    _autofd int dir_fd = open_dir(dir, &address, error);
    if (dir_fd < 0)
        return -1;
    _autofd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return sys_fail_errno(error, "cannot connect to '%s/attach'", dir);
    uint8_t hello[2] = {MONITOR_HELLO, (uint8_t)flags};
    /* a monitor that just ended, or is full, has closed it already: that is seen at the first read */
    SysError failed = {};
    if (send_packet(fd, hello, sizeof hello, &failed) < 0 && failed.code != EPIPE)
        return sys_fail(error, failed.code, "%s", failed.message);
    return fd_steal(&fd);
}

int monitor_signal(int socket, int signal, SysError *error)
{
    uint8_t packet[2] = {MONITOR_SIGNAL, (uint8_t)signal};
    return send_packet(socket, packet, sizeof packet, error);
}

int monitor_resize(int socket, unsigned rows, unsigned columns, SysError *error)
{
    uint16_t sizes[2] = {(uint16_t)rows, (uint16_t)columns};
    uint8_t packet[1 + sizeof sizes] = {MONITOR_RESIZE};
    memcpy(packet + 1, sizes, sizeof sizes);
    return send_packet(socket, packet, sizeof packet, error);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* The next packet: its size, 0 at the end of the connection, -2 on time-out, -1 on failure. */
static ssize_t next_packet(int socket, void *packet, size_t size, int64_t deadline)
{
    for (;;) {
        struct pollfd wait = {.fd = socket, .events = POLLIN};
        int64_t left = deadline < 0 ? -1 : deadline - now_ms();
        int n = poll(&wait, 1, deadline < 0 ? -1 : left > 0 ? (int)left : 0);
        if (n == 0)
            return -2;
        ssize_t got = n < 0 ? -1 : recv(socket, packet, size, MSG_DONTWAIT);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        /* a connection the monitor never took in is reset when the monitor ends */
        return got < 0 && errno == ECONNRESET ? 0 : got;
    }
}

int monitor_wait(int socket, int timeout_ms, MonitorExit *out, SysError *error)
{
    int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
    for (;;) {
        char packet[1 + sizeof(MonitorExitPacket)];
        ssize_t n = next_packet(socket, packet, sizeof packet, deadline);
        if (n == -2)
            return 0;
        if (n == 0)
            return sys_fail(error, ECONNRESET, "the container's monitor went away");
        if (n < 0)
            return sys_fail_errno(error, "cannot hear from the container's monitor");
        if (packet[0] != MONITOR_EXIT || n != sizeof packet)
            continue;
        MonitorExitPacket status;
        memcpy(&status, packet + 1, sizeof status);
        *out = (MonitorExit){.code = status.code, .signal = status.signal, .oom = status.oom};
        return 1;
    }
}

int monitor_wait_gone(int socket, int timeout_ms, SysError *error)
{
    int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
    for (;;) {
        char packet[64];
        ssize_t n = next_packet(socket, packet, sizeof packet, deadline);
        if (n == -2 || n == 0)
            return n == 0;
        if (n < 0)
            return sys_fail_errno(error, "cannot hear from the container's monitor");
    }
}
