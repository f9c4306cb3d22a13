/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program atomic-monitor; monitor.h is its manual.
 *
 * How it works. One thread, one epoll set, no allocation. Output goes from the container's pipe (or
 * terminal) into its Stream, from there at once to the clients and line by line to the log. Input
 * comes from a client's packet, at most one per client on its way, into the container's stdin. The
 * clients' side of it is server.c; here are the streams, the end of the container, and the loop.
 *
 * Two things can make it wait, and neither stops anything else: the container does not read its
 * stdin (the client's packet stays, no TAKEN is sent), or a MONITOR_HOLD client does not read (one
 * packet is held for it and no stream is read until it is gone).
 *
 * The pty's other side is kept open here, or the terminal would report a hang-up without end as
 * soon as no process of the container happens to have it open.
 */
#include "monitor/monitor.h"

#include "base/sys/fd.h"
#include "monitor/daemon.h"
#include "monitor/record.h"
#include "monitor/remove.h"
#include "monitor/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DRAIN_MAX = 4 * (1 << 20) }; /* more than any pipe holds */

/* Zeroed memory that costs nothing until it is touched. */
static Monitor monitor;

/* What the container's fds are watched for follows from the state of everything else. */
static void watch_container(Monitor *m)
{
    uint32_t in = server_is_held(m) ? 0 : EPOLLIN;
    uint32_t out = server_has_input(m) ? EPOLLOUT : 0;
    if (m->exited)
        in = out = 0;
    if (m->pty_fd >= 0) {
        state_watch(m, m->pty_fd, ID_PTY, &m->stream_events[2], in | out);
        return;
    }
    for (int i = 0; i < 2; i++)
        state_watch(m, m->streams[i].fd, ID_STDOUT + (uint32_t)i, &m->stream_events[i], in);
    state_watch(m, m->stdin_fd, ID_STDIN, &m->stream_events[2], out);
}

/* Hands whole lines to the log, and pieces when a line doesn't fit. */
static void log_lines(Monitor *m, Stream *s, bool all)
{
    size_t at = 0;
    for (;;) {
        const char *end = memchr(s->data + at, '\n', s->used - at);
        if (!end)
            break;
        size_t size = (size_t)(end + 1 - (s->data + at));
        log_line(&m->log, s->name, s->data + at, size);
        at += size;
    }
    if (all || s->used - at == sizeof s->data) {
        log_line(&m->log, s->name, s->data + at, s->used - at);
        at = s->used;
    }
    memmove(s->data, s->data + at, s->used - at);
    s->used -= at;
}

/* How much came, 0 nothing more for now, -1 the end. */
static ssize_t stream_read(Monitor *m, Stream *s)
{
    char *at = s->data + s->used;
    ssize_t n = read(s->fd, at, sizeof s->data - s->used);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0)
        return -1;
    server_deliver(m, s->type, at, (size_t)n);
    s->used += (size_t)n;
    log_lines(m, s, false);
    return n;
}

static void stream_close(Monitor *m, Stream *s)
{
    if (s->fd < 0)
        return;
    if (m->pty_fd >= 0) {
        state_watch(m, s->fd, ID_PTY, &m->stream_events[2], 0);
        m->stdin_fd = m->pty_fd = -1;
    } else {
        state_watch(m, s->fd, ID_STDOUT, &m->stream_events[s - m->streams], 0);
    }
    sys_fd_closep(&s->fd);
}

static void collect(Monitor *m)
{
    siginfo_t info = {};
    MonitorExit *r = &m->record;
    if (waitid(P_PIDFD, (id_t)m->spec->pid_fd, &info, WEXITED | __WALL | WNOHANG) < 0)
        r->code = -1; /* not our child */
    else if (info.si_pid == 0)
        return;
    else if (info.si_code == CLD_EXITED)
        r->code = info.si_status;
    else
        r->code = 128 + (r->signal = info.si_status);
    r->oom = record_was_oom(m->spec->oom_file);
    record_time(record_now(), r->finished);
    m->exited = true;
    record_save(m->dir, r, NULL); /* a full /run: clients still hear of it */
    uint32_t events = EPOLLIN;
    state_watch(m, m->spec->pid_fd, ID_PROCESS, &events, 0);
    watch_container(m);
}

/* Reads what the dead container has left behind. False: a client has to read first. */
static bool drain(Monitor *m)
{
    sys_fd_closep(&m->pty_peer);
    for (Stream *s = m->streams; s < m->streams + 2; s++) {
        ssize_t n = 1;
        for (ssize_t all = 0; s->fd >= 0 && n > 0 && all < DRAIN_MAX && !server_is_held(m);
             all += n)
            n = stream_read(m, s);
        if (server_is_held(m))
            return false;
        stream_close(m, s);
        log_lines(m, s, true);
    }
    log_flush(&m->log);
    return true;
}

static void remove_all(const char *const *paths, bool (*remove_one)(const char *))
{
    for (; paths && *paths; paths++)
        remove_one(*paths);
}

/* The steps 3 to 5 of the manual. */
static void release(Monitor *m)
{
    remove_network(&m->arguments);
    remove_all(m->spec->remove_first, remove_tree);
    m->released = true;
    server_announce_exit(m);
    sys_fd_closep(&m->mount_fd);
    remove_all(m->spec->cgroups, remove_cgroup);
    remove_all(m->spec->remove, remove_tree);
}

static void dispatch(Monitor *m, uint32_t id, uint32_t events)
{
    struct signalfd_siginfo info;
    switch (id) {
    case ID_PROCESS:
        collect(m);
        return;
    case ID_SIGNAL:
        if (read(m->signal_fd, &info, sizeof info) == sizeof info && !m->exited)
            syscall(SYS_pidfd_send_signal, m->spec->pid_fd, SIGTERM, NULL, 0);
        return;
    case ID_LISTEN:
        server_accept(m);
        return;
    case ID_STDOUT:
    case ID_STDERR:
    case ID_PTY: {
        Stream *s = &m->streams[id == ID_STDERR];
        if (id == ID_PTY && (events & EPOLLOUT))
            server_pass_input(m);
        if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && s->fd >= 0 && !server_is_held(m) &&
            stream_read(m, s) < 0)
            stream_close(m, s);
        return;
    }
    case ID_STDIN:
        server_pass_input(m);
        return;
    }
    Client *c = &m->clients[id - ID_CLIENT];
    if (c->fd >= 0 && (events & EPOLLOUT))
        server_flush(m, c);
    if (c->fd >= 0 && (events & ~(uint32_t)EPOLLOUT))
        server_read(m, c);
}

static void loop(Monitor *m)
{
    struct epoll_event events[16];
    for (;;) {
        watch_container(m);
        int limit = m->released ? server_linger(m) : -1;
        if (m->released && limit == 0)
            return;
        int n = epoll_wait(m->epoll, events, ARRAY_SIZE(events), limit);
        if (n == 0)
            return;
        for (int i = 0; i < n; i++)
            dispatch(m, events[i].data.u32, events[i].events);
        log_flush(&m->log);
        if (m->exited && !m->released && drain(m))
            release(m);
    }
}

static int set_up(Monitor *m, SysError *error)
{
    const MonitorSpec *spec = m->spec;
    m->dir = open(spec->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (m->dir < 0)
        return sys_fail_errno(error, "cannot open '%s'", spec->dir);
    m->log.path = spec->log;
    m->log.cap = spec->log_size ? spec->log_size : 10 << 20;
    m->log.files = spec->log_files ? spec->log_files : 3;
    if (log_open(&m->log, error) < 0)
        return -1;
    if (m->pty_fd >= 0)
        m->pty_peer = ioctl(m->pty_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return 0;
}

static void set_nonblocking(int fd)
{
    if (fd >= 0)
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void prepare(Monitor *m)
{
    const MonitorSpec *spec = m->spec;
    m->listen_fd = spec->listen_fd;
    m->mount_fd = spec->mount_fd;
    m->pty_fd = spec->pty_fd;
    m->pty_peer = m->log.fd = m->dir = -1;
    m->stdin_fd = spec->pty_fd >= 0 ? spec->pty_fd : spec->stdin_fd;
    m->streams[0] = (Stream){.fd = spec->pty_fd >= 0 ? spec->pty_fd : spec->stdout_fd,
                             .type = MONITOR_STDOUT,
                             .name = "stdout"};
    m->streams[1] = (Stream){.fd = spec->stderr_fd, .type = MONITOR_STDERR, .name = "stderr"};
    for (Client *c = m->clients; c < m->clients + CLIENTS; c++)
        c->fd = -1;
    set_nonblocking(m->streams[0].fd);
    set_nonblocking(m->streams[1].fd);
    set_nonblocking(m->stdin_fd);
    set_nonblocking(m->listen_fd);
    m->record.pid = spec->pid;
    record_time(spec->started ? spec->started : record_now(), m->record.started);
}

static void report(int ready_fd, const SysError *failed)
{
    size_t size = failed->code ? strlen(failed->message) : 1;
    if (ready_fd < 0)
        return;
    /* a starter that died reads nothing; SIGPIPE is ignored */
    (void)!write(ready_fd, failed->code ? failed->message : "", size);
    close(ready_fd);
}

/* Step 6. The connections of clients stay open in it: they end when it does. */
static int clean_up(Monitor *m)
{
    const char *const *argv = m->spec->cleanup;
    if (!argv || !argv[0])
        return 0;
    server_leave_open(m);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    execv(argv[0], (char *const *)argv);
    return 1;
}

int main(int argc, char **argv)
{
    Monitor *m = &monitor;
    SysError failed = {};
    if (spec_parse(argv, &m->arguments, &failed) < 0) {
        fprintf(stderr, "atomic-monitor: %s\n", failed.message);
        report(m->arguments.spec.ready_fd, &failed);
        return 2;
    }
    m->spec = &m->arguments.spec;
    prepare(m);
    m->signal_fd = daemon_detach(&m->arguments, &failed);
    if (m->signal_fd < 0 || set_up(m, &failed) < 0)
        /* the container runs already, unwatched: end it, and clean up after it as always */
        syscall(SYS_pidfd_send_signal, m->spec->pid_fd, SIGKILL, NULL, 0);
    m->epoll = epoll_create1(EPOLL_CLOEXEC);
    uint32_t none[3] = {};
    state_watch(m, m->spec->pid_fd, ID_PROCESS, &none[0], EPOLLIN);
    state_watch(m, m->signal_fd, ID_SIGNAL, &none[1], EPOLLIN);
    state_watch(m, m->listen_fd, ID_LISTEN, &none[2], EPOLLIN);
    if (m->listen_fd >= 0)
        server_accept(m);
    report(m->spec->ready_fd, &failed);
    loop(m);
    return clean_up(m);
}
