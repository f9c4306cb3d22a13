/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program atomic-monitor; monitor.h is its manual.
 *
 * How it works. One thread, one epoll set, no allocation. Output goes from the container's pipe (or
 * terminal) into its Stream, from there at once to the clients and line by line to the log. Input
 * comes from a client's packet, at most one per client on its way, into the container's stdin.
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
#include "monitor/log.h"
#include "monitor/record.h"
#include "monitor/remove.h"
#include "monitor/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CLIENTS = 32,
    LINGER_MS = 2000,          /* for the exit packet of a client that does not read */
    DRAIN_MAX = 4 * (1 << 20), /* more than any pipe holds */
};

/* Who an event is for. */
enum { ID_PROCESS, ID_SIGNAL, ID_LISTEN, ID_STDOUT, ID_STDERR, ID_PTY, ID_STDIN, ID_CLIENT };

typedef struct {
    int fd;
    uint8_t type;
    const char *name;
    size_t used; /* of data: a line without an end so far */
    char data[MONITOR_DATA_MAX];
} Stream;

typedef struct {
    int fd; /* -1: a free place */
    uint32_t events;
    bool greeted;
    uint8_t flags;
    bool held, taken_due, exit_due; /* what it must be sent when it can take it */
    uint64_t lost;
    bool stdin_ended;
    size_t stdin_at, stdin_size; /* what the container has not taken yet of its place in `input` */
} Client;

typedef struct {
    SpecArguments arguments;
    const MonitorSpec *spec;
    int epoll, dir, signal_fd, listen_fd, mount_fd;
    int stdin_fd; /* the pty, with a terminal */
    int pty_fd, pty_peer;
    uint32_t stream_events[3]; /* of ID_STDOUT, ID_STDERR, and ID_PTY or ID_STDIN */
    Stream streams[2];
    Log log;
    Client clients[CLIENTS];
    char input[CLIENTS]
              [MONITOR_DATA_MAX]; /* apart, so that looking through clients touches no page */
    uint8_t held_type;
    size_t held_size;
    char held[MONITOR_DATA_MAX];
    MonitorExit record;
    bool exited, released;
} Monitor;

/* Zeroed memory that costs nothing until it is touched. */
static Monitor monitor;

/* Puts fd into the epoll set, changes what is waited for, or takes it out (events 0: even hang-ups
 * are then not reported, else they would wake us for ever). */
static void watch(Monitor *m, int fd, uint32_t id, uint32_t *events, uint32_t wanted)
{
    struct epoll_event event = {.events = wanted, .data.u32 = id};
    if (*events == wanted || fd < 0)
        return;
    epoll_ctl(m->epoll,
              !wanted    ? EPOLL_CTL_DEL
              : !*events ? EPOLL_CTL_ADD
                         : EPOLL_CTL_MOD,
              fd, &event);
    *events = wanted;
}

static bool is_held(const Monitor *m)
{
    for (const Client *c = m->clients; c < m->clients + CLIENTS; c++)
        if (c->fd >= 0 && c->held)
            return true;
    return false;
}

static bool input_waits(const Monitor *m)
{
    for (const Client *c = m->clients; c < m->clients + CLIENTS; c++)
        if (c->fd >= 0 && c->stdin_size)
            return true;
    return false;
}

/* What the container's fds are watched for follows from the state of everything else. */
static void watch_container(Monitor *m)
{
    uint32_t in = is_held(m) ? 0 : EPOLLIN;
    uint32_t out = input_waits(m) ? EPOLLOUT : 0;
    if (m->exited)
        in = out = 0;
    if (m->pty_fd >= 0) {
        watch(m, m->pty_fd, ID_PTY, &m->stream_events[2], in | out);
        return;
    }
    for (int i = 0; i < 2; i++)
        watch(m, m->streams[i].fd, ID_STDOUT + (uint32_t)i, &m->stream_events[i], in);
    watch(m, m->stdin_fd, ID_STDIN, &m->stream_events[2], out);
}

static void client_watch(Monitor *m, Client *c)
{
    bool due = c->held || c->taken_due || c->exit_due || c->lost;
    watch(m, c->fd, ID_CLIENT + (uint32_t)(c - m->clients), &c->events,
          EPOLLIN | (due ? EPOLLOUT : 0));
}

static void stdin_close(Monitor *m)
{
    if (m->pty_fd >= 0 || m->stdin_fd < 0)
        return;
    watch(m, m->stdin_fd, ID_STDIN, &m->stream_events[2], 0);
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
static void client_flush(Monitor *m, Client *c)
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

static void deliver(Monitor *m, uint8_t type, const char *data, size_t size)
{
    uint8_t wants = type == MONITOR_STDERR ? MONITOR_WANT_STDERR : MONITOR_WANT_STDOUT;
    for (Client *c = m->clients; c < m->clients + CLIENTS; c++) {
        if (c->fd < 0 || !(c->flags & wants))
            continue;
        if (c->lost)
            client_flush(m, c);
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
    deliver(m, s->type, at, (size_t)n);
    s->used += (size_t)n;
    log_lines(m, s, false);
    return n;
}

static void stream_close(Monitor *m, Stream *s)
{
    if (s->fd < 0)
        return;
    if (m->pty_fd >= 0) {
        watch(m, s->fd, ID_PTY, &m->stream_events[2], 0);
        m->stdin_fd = m->pty_fd = -1;
    } else {
        watch(m, s->fd, ID_STDOUT, &m->stream_events[s - m->streams], 0);
    }
    sys_fd_closep(&s->fd);
}

/* Gives waiting input to the container as far as it takes it. */
static void stdin_flush(Monitor *m)
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
                /* it reads no more: input is swallowed, as by a shell's pipe whose reader is gone
                 * */
                stdin_close(m);
                n = (ssize_t)c->stdin_size;
            }
            c->stdin_at += (size_t)n;
            c->stdin_size -= (size_t)n;
            if (c->stdin_size)
                continue;
            c->taken_due = true;
            client_flush(m, c);
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
    stdin_flush(m);
    if (c->fd >= 0)
        client_flush(m, c);
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
        client_flush(m, c);
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

static void client_read(Monitor *m, Client *c)
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

static void accept_clients(Monitor *m)
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
        client_read(m, c);
    }
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
    watch(m, m->spec->pid_fd, ID_PROCESS, &events, 0);
    watch_container(m);
}

/* Reads what the dead container has left behind. False: a client has to read first. */
static bool drain(Monitor *m)
{
    sys_fd_closep(&m->pty_peer);
    for (Stream *s = m->streams; s < m->streams + 2; s++) {
        ssize_t n = 1;
        for (ssize_t all = 0; s->fd >= 0 && n > 0 && all < DRAIN_MAX && !is_held(m); all += n)
            n = stream_read(m, s);
        if (is_held(m))
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
    for (Client *c = m->clients; c < m->clients + CLIENTS; c++) {
        if (c->fd < 0 || !c->greeted)
            continue;
        c->exit_due = true;
        client_flush(m, c);
    }
    sys_fd_closep(&m->mount_fd);
    remove_all(m->spec->cgroups, remove_cgroup);
    remove_all(m->spec->remove, remove_tree);
}

/* How long to wait for clients that have not had their exit packet; 0: all have. */
static int linger(const Monitor *m)
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
        accept_clients(m);
        return;
    case ID_STDOUT:
    case ID_STDERR:
    case ID_PTY: {
        Stream *s = &m->streams[id == ID_STDERR];
        if (id == ID_PTY && (events & EPOLLOUT))
            stdin_flush(m);
        if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && s->fd >= 0 && !is_held(m) &&
            stream_read(m, s) < 0)
            stream_close(m, s);
        return;
    }
    case ID_STDIN:
        stdin_flush(m);
        return;
    }
    Client *c = &m->clients[id - ID_CLIENT];
    if (c->fd >= 0 && (events & EPOLLOUT))
        client_flush(m, c);
    if (c->fd >= 0 && (events & ~(uint32_t)EPOLLOUT))
        client_read(m, c);
}

static void loop(Monitor *m)
{
    struct epoll_event events[16];
    for (;;) {
        watch_container(m);
        int limit = m->released ? linger(m) : -1;
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
    for (Client *c = m->clients; c < m->clients + CLIENTS; c++)
        if (c->fd >= 0)
            fcntl(c->fd, F_SETFD, 0);
    if (m->listen_fd >= 0)
        fcntl(m->listen_fd, F_SETFD, 0);
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
    watch(m, m->spec->pid_fd, ID_PROCESS, &none[0], EPOLLIN);
    watch(m, m->signal_fd, ID_SIGNAL, &none[1], EPOLLIN);
    watch(m, m->listen_fd, ID_LISTEN, &none[2], EPOLLIN);
    if (m->listen_fd >= 0)
        accept_clients(m);
    report(m->spec->ready_fd, &failed);
    loop(m);
    return clean_up(m);
}
