/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The monitor's one object: what the container's streams (monitor.c) and the clients (server.c) share.
 * Private to src/monitor. */
#pragma once

#include "monitor/log.h"
#include "monitor/monitor.h"
#include "monitor/spec.h"

#include <stdint.h>
#include <sys/epoll.h>

enum { CLIENTS = 32 };

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
    /* of each client; apart, so that looking through clients touches no page */
    char input[CLIENTS][MONITOR_DATA_MAX];
    uint8_t held_type;
    size_t held_size;
    char held[MONITOR_DATA_MAX];
    MonitorExit record;
    bool exited, released;
} Monitor;

/* Puts fd into the epoll set, changes what is waited for, or takes it out (events 0: even hang-ups
 * are then not reported, else they would wake us for ever). */
static inline void state_watch(Monitor *m, int fd, uint32_t id, uint32_t *events, uint32_t wanted)
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
