/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

typedef struct {
    EngineRelay *fds;
    int signals;
    struct termios saved;
    bool raw;
    bool stdin_open;
    /* from our stdin, not yet taken by the process: it may block in a write to us, so a write to it must not block */
    char pending[16384];
    size_t pending_size;
} Relay;

static void resize(const Relay *relay)
{
    struct winsize size;
    if (relay->fds->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
        ioctl(relay->fds->out_fd, TIOCSWINSZ, &size);
}

static void make_raw(Relay *relay)
{
    if (!relay->fds->terminal || !relay->stdin_open || tcgetattr(STDIN_FILENO, &relay->saved) < 0)
        return;
    struct termios raw = relay->saved;
    cfmakeraw(&raw);
    relay->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static void take_signal(const Relay *relay)
{
    struct signalfd_siginfo info;
    if (read(relay->signals, &info, sizeof info) != sizeof info)
        return;
    if (info.ssi_signo == SIGWINCH)
        resize(relay);
    else
        syscall(SYS_pidfd_send_signal, relay->fds->pidfd, (int)info.ssi_signo, NULL, 0);
}

/* False at the end: EIO of a terminal whose last process has gone, 0 of a pipe. */
static bool copy_out(int from, int to)
{
    char buffer[16384];
    ssize_t n = read(from, buffer, sizeof buffer);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    return n > 0 && sys_write_all(to, buffer, (size_t)n) == 0;
}

static void end_input(Relay *relay)
{
    relay->stdin_open = false;
    if (relay->fds->terminal) {
        /* the end of a file is what a person types for it */
        relay->pending[0] = 4;
        relay->pending_size = 1;
    } else {
        sys_fd_closep(&relay->fds->in_fd);
    }
}

static void read_input(Relay *relay)
{
    ssize_t n = read(STDIN_FILENO, relay->pending, sizeof relay->pending);
    if (n > 0)
        relay->pending_size = (size_t)n;
    else if (n == 0 || errno != EINTR)
        end_input(relay);
}

static void write_input(Relay *relay)
{
    ssize_t n = write(relay->fds->in_fd, relay->pending, relay->pending_size);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) { /* nobody reads it any more */
        relay->pending_size = 0;
        relay->stdin_open = false;
        if (!relay->fds->terminal)
            sys_fd_closep(&relay->fds->in_fd);
        return;
    }
    relay->pending_size -= (size_t)n;
    memmove(relay->pending, relay->pending + n, relay->pending_size);
}

/* What the process wrote before it ended; children that it left behind may hold the pipe open for ever. */
static void drain(int from, int to)
{
    struct pollfd poll_fd = {.fd = from, .events = POLLIN};
    while (from >= 0 && poll(&poll_fd, 1, 0) > 0 && (poll_fd.revents & POLLIN))
        if (!copy_out(from, to))
            break;
}

static void loop(Relay *relay)
{
    EngineRelay *fds = relay->fds;
    int out = fds->out_fd, err = fds->err_fd;
    for (;;) {
        struct pollfd polled[] = {
            {.fd = fds->pidfd, .events = POLLIN},
            {.fd = relay->signals, .events = POLLIN},
            {.fd = out, .events = POLLIN},
            {.fd = err, .events = POLLIN},
            {.fd = relay->pending_size ? fds->in_fd : -1, .events = POLLOUT},
            {.fd = relay->stdin_open && !relay->pending_size ? STDIN_FILENO : -1, .events = POLLIN},
        };
        if (poll(polled, ARRAY_SIZE(polled), -1) < 0 && errno != EINTR)
            break;
        if (polled[1].revents)
            take_signal(relay);
        if (polled[2].revents && !copy_out(out, STDOUT_FILENO))
            out = -1;
        if (polled[3].revents && !copy_out(err, STDERR_FILENO))
            err = -1;
        if (polled[4].revents)
            write_input(relay);
        if (polled[5].revents)
            read_input(relay);
        if (polled[0].revents)
            break;
    }
    drain(out, STDOUT_FILENO);
    drain(err, STDERR_FILENO);
}

bool engine_relay_run(EngineRelay *relay, GError **error)
{
    Relay state = {.fds = relay, .stdin_open = relay->in_fd >= 0};
    sigset_t wanted, before;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGWINCH);
    if (!relay->terminal) {
        sigaddset(&wanted, SIGINT);
        sigaddset(&wanted, SIGTERM);
        sigaddset(&wanted, SIGHUP);
        sigaddset(&wanted, SIGQUIT);
    }
    sigprocmask(SIG_BLOCK, &wanted, &before);
    _autofd int signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    state.signals = signals;
    if (signals < 0)
        return error_throw_errno(error, "cannot watch signals");
    struct sigaction ignore = {.sa_handler = SIG_IGN}, old;
    sigaction(SIGPIPE, &ignore, &old);
    if (relay->in_fd >= 0)
        fcntl(relay->in_fd, F_SETFL, fcntl(relay->in_fd, F_GETFL) | O_NONBLOCK);
    resize(&state);
    make_raw(&state);
    loop(&state);
    if (state.raw)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &state.saved);
    sigaction(SIGPIPE, &old, NULL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return true;
}
