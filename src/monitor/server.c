/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: what a client can't be sent at once is remembered as due (a flag, or the one held packet) and sent when
 * its socket has room again. A client's input waits in its place of `input` until the container takes it; only then it
 * may send more. Nothing here blocks, nothing allocates.
 */
#include "monitor/server.h"

#include "base/sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { LINGER_MS = 2000 }; /* for the exit packet of a client that does not read */

bool server_is_held(const Monitor *m)
{
    for (const Client *c = m->clients; c < m->clients + CLIENTS; c++)
        if (c->fd >= 0 && c->held)
            return true;
    return false;
}

bool server_has_input(const Monitor *m)
{
    for (const Client *c = m->clients; c < m->clients + CLIENTS; c++)
        if (c->fd >= 0 && c->stdin_size)
            return true;
    return false;
}

static void client_watch(Monitor *m, Client *c)
{
    bool due = c->held || c->taken_due || c->exit_due || c->lost;
    state_watch(m, c->fd, ID_CLIENT + (uint32_t)(c - m->clients), &c->events,
                EPOLLIN | (due ? EPOLLOUT : 0));
}

static void stdin_close(Monitor *m)
{
    if (m->pty_fd >= 0 || m->stdin_fd < 0)
        return;
    state_watch(m, m->stdin_fd, ID_STDIN, &m->stream_events[2], 0);
    sys_fd_closep(&m->stdin_fd);
}

static void client_close(Monitor *m, Client *c)
{
    if (c->fd < 0)
        return;
    if ((c->flags & MONITOR_GIVE_STDIN) && m->spec->stdin_once)
        stdin_close(m);
    sys_fd_closep(&c->fd); /* leaves the epoll set with its last fd */
    c->events = 0;
}

/* 1 sent, 0 it can't take any now, -1 it is gone. */
static int client_send(Client *c, uint8_t type, const void *data, size_t size)
{
    struct iovec parts[2] = {{&type, 1}, {(void *)data, size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    for (;;) {
        if (sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return 1;
        if (errno != EINTR)
            return errno == EAGAIN || errno == ENOBUFS ? 0 : -1;
    }
}

/* Sends what is due, in the order in which it came to be. */
void server_flush(Monitor *m, Client *c)
{
    int sent = 1;
    if (c->held && (sent = client_send(c, m->held_type, m->held, m->held_size)) > 0)
        c->held = false;
    if (sent > 0 && c->lost && (sent = client_send(c, MONITOR_LOST, &c->lost, sizeof c->lost)) > 0)
        c->lost = 0;
    if (sent > 0 && c->taken_due && (sent = client_send(c, MONITOR_TAKEN, NULL, 0)) > 0)
        c->taken_due = false;
    if (sent > 0 && c->exit_due) {
        MonitorExitPacket packet = {m->record.code, m->record.signal, m->record.oom};
        if ((sent = client_send(c, MONITOR_EXIT, &packet, sizeof packet)) > 0)
            c->exit_due = false;
    }
    if (sent < 0)
        client_close(m, c);
    else
        client_watch(m, c);
}

void server_deliver(Monitor *m, uint8_t type, const char *data, size_t size)
{
    uint8_t wants = type == MONITOR_STDERR ? MONITOR_WANT_STDERR : MONITOR_WANT_STDOUT;
    for (Client *c = m->clients; c < m->clients + CLIENTS; c++) {
        if (c->fd < 0 || !(c->flags & wants))
            continue;
        if (c->lost)
            server_flush(m, c);
        int sent = c->fd < 0 ? -1 : c->lost ? 0 : client_send(c, type, data, size);
        if (sent == 0 && (c->flags & MONITOR_HOLD)) {
            memcpy(m->held, data, size);
            m->held_type = type;
            m->held_size = size;
            c->held = true;
        } else if (sent == 0) {
            c->lost += size;
        }
        if (sent < 0)
            client_close(m, c);
        else
            client_watch(m, c);
    }
}

/* Gives waiting input to the container as far as it takes it. */
void server_pass_input(Monitor *m)
{
    for (Client *c = m->clients; c < m->clients + CLIENTS; c++) {
        const char *data = m->input[c - m->clients];
        while (c->fd >= 0 && c->stdin_size) {
            ssize_t n =
                m->stdin_fd < 0 ? -1 : write(m->stdin_fd, data + c->stdin_at, c->stdin_size);
            if (n < 0 && m->stdin_fd >= 0 && errno == EAGAIN)
                return;
            if (n < 0 && m->stdin_fd >= 0 && errno == EINTR)
                continue;
            if (n < 0) {
                /* it reads no more: input is swallowed, as by a pipe whose reader is gone */
                stdin_close(m);
                n = (ssize_t)c->stdin_size;
            }
            c->stdin_at += (size_t)n;
            c->stdin_size -= (size_t)n;
            if (c->stdin_size)
                continue;
            c->taken_due = true;
            server_flush(m, c);
        }
        if (c->fd >= 0 && c->stdin_ended && m->spec->stdin_once)
            stdin_close(m);
    }
}

static void client_stdin(Monitor *m, Client *c, const char *data, size_t size)
{
    if (!(c->flags & MONITOR_GIVE_STDIN) || c->stdin_size) {
        client_close(m, c); /* does not keep to the protocol */
        return;
    }
    c->stdin_ended |= size == 0;
    c->stdin_at = 0;
    c->stdin_size = m->spec->stdin_open ? size : 0;
    memcpy(m->input[c - m->clients], data, c->stdin_size);
    if (c->stdin_size == 0)
        c->taken_due = true;
    server_pass_input(m);
    if (c->fd >= 0)
        server_flush(m, c);
}

static void client_packet(Monitor *m, Client *c, const char *data, size_t size)
{
    switch (data[0]) {
    case MONITOR_HELLO:
        if (c->greeted || size != 2)
            break;
        c->greeted = true;
        c->flags = (uint8_t)data[1];
        c->exit_due = m->released;
        server_flush(m, c);
        return;
    case MONITOR_STDIN:
        client_stdin(m, c, data + 1, size - 1);
        return;
    case MONITOR_RESIZE: {
        uint16_t sizes[2];
        if (size != 1 + sizeof sizes)
            break;
        memcpy(sizes, data + 1, sizeof sizes);
        struct winsize window = {.ws_row = sizes[0], .ws_col = sizes[1]};
        if (m->pty_fd >= 0)
            ioctl(m->pty_fd, TIOCSWINSZ, &window);
        return;
    }
    case MONITOR_SIGNAL:
        if (size != 2)
            break;
        if (!m->exited)
            syscall(SYS_pidfd_send_signal, m->spec->pid_fd, (int)data[1], NULL, 0);
        return;
    }
    client_close(m, c); /* does not keep to the protocol */
}

void server_read(Monitor *m, Client *c)
{
    static char packet[1 + MONITOR_DATA_MAX];
    while (c->fd >= 0) {
        ssize_t n = recv(c->fd, packet, sizeof packet, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0)
            client_close(m, c);
        else
            client_packet(m, c, packet, (size_t)n);
    }
}

void server_accept(Monitor *m)
{
    for (;;) {
        int fd = accept4(m->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        Client *c = m->clients;
        while (c < m->clients + CLIENTS && c->fd >= 0)
            c++;
        if (c == m->clients + CLIENTS) {
            close(fd);
            continue;
        }
        *c = (Client){.fd = fd};
        client_watch(m, c);
        server_read(m, c);
    }
}

void server_announce_exit(Monitor *m)
{
    for (Client *c = m->clients; c < m->clients + CLIENTS; c++) {
        if (c->fd < 0 || !c->greeted)
            continue;
        c->exit_due = true;
        server_flush(m, c);
    }
}

void server_leave_open(const Monitor *m)
{
    for (const Client *c = m->clients; c < m->clients + CLIENTS; c++)
        if (c->fd >= 0)
            fcntl(c->fd, F_SETFD, 0);
    if (m->listen_fd >= 0)
        fcntl(m->listen_fd, F_SETFD, 0);
}

int server_linger(const Monitor *m)
{
    int wait = 0;
    for (const Client *c = m->clients; c < m->clients + CLIENTS; c++) {
        if (c->fd < 0 || !c->exit_due)
            continue;
        if (c->flags & MONITOR_HOLD)
            return -1;
        wait = LINGER_MS;
    }
    return wait;
}
