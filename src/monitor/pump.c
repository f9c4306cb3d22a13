/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The client's half of attach: a loop over the socket, the user's input, and signals.
 *
 * It never blocks on one of them. A stdin packet goes out only after the one before was taken, so
 * the socket always has room for a signal; output is written in pieces that the poll says will fit,
 * with signals handled in between: Ctrl-C works while the reader of a pipe is stuck.
 */
#include "monitor/monitor.h"

#include "base/sys/fd.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

enum { WRITE_MAX = 4096 }; /* a pipe that is writable takes so much */

typedef struct {
    const MonitorPump *given;
    int signal_fd, in_fd;
    bool may_send; /* the last stdin packet was taken */
    bool detached, interrupted;
    const char *keys; /* detach keys; "" none */
    size_t matched;   /* so many of them were typed and are held back */
} Pump;

typedef struct {
    sigset_t mask;
    struct termios terminal;
    bool raw;
} Saved;

static void send_size(Pump *p)
{
    struct winsize size;
    const int fds[] = {p->given->out_fd, p->given->in_fd};
    for (size_t i = 0; p->given->terminal && i < ARRAY_SIZE(fds); i++) {
        if (fds[i] >= 0 && ioctl(fds[i], TIOCGWINSZ, &size) == 0 && size.ws_row) {
            monitor_resize(p->given->socket, size.ws_row, size.ws_col, NULL);
            return;
        }
    }
}

static void take_signal(Pump *p)
{
    struct signalfd_siginfo info;
    if (read(p->signal_fd, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo == SIGWINCH)
        send_size(p);
    else if (p->given->forward_signals)
        monitor_signal(p->given->socket, (int)info.ssi_signo, NULL);
    else
        p->interrupted = true;
}

/* 0, or -errno of a reader that is gone. */
static int write_out(Pump *p, int fd, const char *data, size_t size)
{
    while (size > 0 && fd >= 0 && !p->interrupted) {
        struct pollfd wait[2] = {{.fd = fd, .events = POLLOUT},
                                 {.fd = p->signal_fd, .events = POLLIN}};
        if (poll(wait, 2, -1) < 0)
            continue;
        if (wait[1].revents)
            take_signal(p);
        if (!wait[0].revents)
            continue;
        ssize_t n = write(fd, data, size < WRITE_MAX ? size : WRITE_MAX);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
    }
    return 0;
}

/* Takes the detach keys out of what was typed; a beginning of them is held back until it is clear.
 * Returns how much goes to the container. `out` has room for the keys and the input. */
static size_t filter_keys(Pump *p, const char *in, size_t size, char *out)
{
    size_t used = 0, length = strlen(p->keys);
    if (length == 0) {
        memcpy(out, in, size);
        return size;
    }
    for (size_t i = 0; i < size; i++) {
        if (in[i] == p->keys[p->matched]) {
            if (++p->matched < length)
                continue;
            p->detached = true;
            return used;
        }
        memcpy(out + used, p->keys, p->matched);
        used += p->matched;
        p->matched = in[i] == p->keys[0];
        if (!p->matched)
            out[used++] = in[i];
    }
    return used;
}

static int take_input(Pump *p, SysError *error)
{
    char in[MONITOR_DATA_MAX - 64], packet[1 + MONITOR_DATA_MAX] = {MONITOR_STDIN};
    ssize_t n = read(p->in_fd, in, sizeof in);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    size_t size = n > 0 ? filter_keys(p, in, (size_t)n, packet + 1) : 0;
    if (n <= 0)
        p->in_fd = -1;
    if (n > 0 && size == 0)
        return 0;
    if (send(p->given->socket, packet, 1 + size, MSG_NOSIGNAL) < 0 && errno != EPIPE)
        return sys_fail_errno(error, "cannot send input to the container");
    p->may_send = false;
    return 0;
}

/* One packet of the monitor. 1 go on, 0 the end (*end says which), -1. */
static int take_packet(Pump *p, MonitorExit *out, MonitorPumpEnd *end, SysError *error)
{
    char packet[1 + MONITOR_DATA_MAX], text[80];
    ssize_t n = recv(p->given->socket, packet, sizeof packet, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 1;
    if (n <= 0) {
        *end = MONITOR_PUMP_GONE;
        return 0;
    }
    size_t size = (size_t)n - 1;
    int failed = 0;
    if (packet[0] == MONITOR_STDOUT) {
        failed = write_out(p, p->given->out_fd, packet + 1, size);
    } else if (packet[0] == MONITOR_STDERR) {
        failed = write_out(p, p->given->err_fd, packet + 1, size);
    } else if (packet[0] == MONITOR_TAKEN) {
        p->may_send = true;
    } else if (packet[0] == MONITOR_LOST && size == sizeof(uint64_t)) {
        uint64_t lost;
        memcpy(&lost, packet + 1, sizeof lost);
        int length = snprintf(text, sizeof text, "\r\n[%llu bytes of output skipped]\r\n",
                              (unsigned long long)lost);
        failed = write_out(p, p->given->err_fd, text, (size_t)length);
    } else if (packet[0] == MONITOR_EXIT && size == sizeof(MonitorExitPacket)) {
        MonitorExitPacket status;
        memcpy(&status, packet + 1, sizeof status);
        *out = (MonitorExit){.code = status.code, .signal = status.signal, .oom = status.oom};
        *end = MONITOR_PUMP_EXITED;
        return 0;
    }
    errno = -failed;
    return failed ? sys_fail_errno(error, "cannot write the container's output") : 1;
}

static int pump_loop(Pump *p, MonitorExit *out, SysError *error)
{
    for (;;) {
        bool reading = p->in_fd >= 0 && p->may_send;
        struct pollfd wait[3] = {{.fd = p->given->socket, .events = POLLIN},
                                 {.fd = p->signal_fd, .events = POLLIN},
                                 {.fd = reading ? p->in_fd : -1, .events = POLLIN}};
        MonitorPumpEnd end;
        if (poll(wait, 3, -1) < 0) {
            if (errno == EINTR)
                continue;
            return sys_fail_errno(error, "cannot wait for the container");
        }
        if (wait[1].revents)
            take_signal(p);
        if (p->interrupted)
            return sys_fail(error, EINTR, "interrupted");
        if (wait[2].revents && take_input(p, error) < 0)
            return -1;
        if (p->detached)
            return MONITOR_PUMP_DETACHED;
        int more = wait[0].revents ? take_packet(p, out, &end, error) : 1;
        if (more <= 0)
            return more < 0 ? -1 : (int)end;
    }
}

/* Without forwarding, a terminal in raw mode must still be restored: the signals that would end us
 * end the loop. */
static void choose_signals(const MonitorPump *pump, sigset_t *set)
{
    static const int forwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    sigemptyset(set);
    if (pump->terminal)
        sigaddset(set, SIGWINCH);
    size_t n = pump->forward_signals ? ARRAY_SIZE(forwarded) : pump->terminal ? 4 : 0;
    for (size_t i = 0; i < n; i++)
        sigaddset(set, forwarded[i]);
}

static void make_raw(const MonitorPump *pump, Saved *saved)
{
    struct termios raw;
    if (!pump->terminal || pump->in_fd < 0 || tcgetattr(pump->in_fd, &saved->terminal) < 0)
        return;
    raw = saved->terminal;
    cfmakeraw(&raw);
    saved->raw = tcsetattr(pump->in_fd, TCSANOW, &raw) == 0;
}

int monitor_pump(const MonitorPump *pump, MonitorExit *out, SysError *error)
{
    Saved saved = {};
    sigset_t set;
    choose_signals(pump, &set);
    _autofd int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0 || sigprocmask(SIG_BLOCK, &set, &saved.mask) < 0)
        return sys_fail_errno(error, "cannot prepare for signals");
    Pump p = {.given = pump, .signal_fd = signals, .in_fd = pump->in_fd, .may_send = true};
    p.keys = pump->detach_keys ? pump->detach_keys : pump->terminal ? "\x10\x11" : "";
    if (strlen(p.keys) > 32)
        p.keys = "";
    make_raw(pump, &saved);
    send_size(&p);
    int end = pump_loop(&p, out, error);
    if (saved.raw)
        tcsetattr(pump->in_fd, TCSADRAIN, &saved.terminal);
    sigprocmask(SIG_SETMASK, &saved.mask, NULL);
    return end;
}
