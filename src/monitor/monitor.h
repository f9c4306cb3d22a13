/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The monitor: one small process per container that outlives whoever started it. This header is
 * what others need of it: how to start it, what it leaves behind, and the client's half of attach.
 * libc only.
 *
 * Starting a container:
 *
 *     listen = monitor_listen(dir)          the attach socket, in the container's folder under /run
 *     client = monitor_connect(dir, flags)  foreground: connect BEFORE the monitor runs: it takes
 *                                           every waiting client in before it reads any output
 *     fork()
 *         child: start the container        its exit status is then the monitor's to collect
 *         child: monitor_exec(&spec)        this process is now atomic-monitor
 *     read ready_fd                         a zero byte: running; text: why not; only EOF: it died
 *     monitor_pump(client, …)               foreground: until the end, or the user detaches
 *
 * The monitor makes itself a session, ignores SIGHUP, SIGINT, SIGQUIT and SIGPIPE, passes SIGTERM
 * on to the container, points its fds 0-2 at /dev/null, and closes every fd that its arguments
 * don't name. The starter puts it outside the container's cgroup. It sleeps in one epoll_wait until
 * something happens.
 *
 * When the container's first process ends, in this order:
 *  1. `exit` is written in the container's folder (temp file + rename): the status is safe
 *  2. what is left in pipes or terminal is read, logged and sent to clients
 *  3. what a successor may need at once is released: published ports and their fds, address,
 *     `remove_first` folders
 *  4. clients get the exit packet
 *  5. the slow things: overlay mount closed, cgroups removed, `remove` folders emptied and removed
 *  6. `cleanup` is executed, if there is one, in place of the monitor; else it ends. Clients see
 *     end of file only now
 *
 * Files in the container's folder (DIR): `attach` (socket), `exit` (record, one line of JSON:
 * {"pid":1,"code":0,"signal":0,"oom":false,"started":"RFC3339Nano","finished":"…"}).
 * Log: Docker's json-file, {"log":"…\n","stream":"stdout","time":"…Z"} a line; pieces of at most
 * 16 KiB, the last of a line ends in \n; bytes that are not UTF-8 become U+FFFD. At log_size the
 * file is renamed to LOG.1, LOG.1 to LOG.2 and so on; log_files counts them all.
 *
 * The attach socket is AF_UNIX SOCK_SEQPACKET. The first byte of a packet says what it is; streams
 * have conmon's numbers. To the monitor:
 *   1 stdin (nothing after it: end of stdin)     5 window size (uint16 rows, columns, host order)
 *   6 hello (one byte of flags, first of all)    7 signal (one byte)
 * From the monitor, once the hello is there:
 *   2 stdout, 3 stderr    8 exit (MonitorExitPacket)
 *   9 lost (uint64): so many bytes of output did not reach this client because it was slow
 *   10 taken: the last stdin packet went to the container; before that no second one may be sent
 *      (so that signals and sizes never queue up behind input that nobody reads)
 * A slow client never stops the container, it loses bytes and is told; except one that said
 * MONITOR_HOLD, the foreground `run` itself: there the container's write waits as it would in a
 * pipe of a shell.
 */
#pragma once

#include "base/sys/fail.h"

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <sys/types.h>

enum {
    MONITOR_STDIN = 1,
    MONITOR_STDOUT = 2,
    MONITOR_STDERR = 3,
    MONITOR_RESIZE = 5,
    MONITOR_HELLO = 6,
    MONITOR_SIGNAL = 7,
    MONITOR_EXIT = 8,
    MONITOR_LOST = 9,
    MONITOR_TAKEN = 10,
};
#define MONITOR_DATA_MAX 16384 /* bytes after the first of a packet */

/* Flags of the hello. None: only the exit packet is wanted. */
enum {
    MONITOR_WANT_STDOUT = 1, /* and the terminal's output */
    MONITOR_WANT_STDERR = 2,
    MONITOR_GIVE_STDIN = 4,
    MONITOR_HOLD = 8, /* lose no byte: the container waits for this client */
};

typedef struct {
    int32_t code;   /* exit status, 128+n when killed by signal n; -1: nobody could know */
    int32_t signal; /* 0: ended by itself */
    uint8_t oom;    /* the kernel killed something in it for lack of memory */
} MonitorExitPacket;

typedef struct {
    pid_t pid;
    int code, signal; /* as in the packet */
    bool oom;
    char started[40], finished[40]; /* RFC 3339, UTC, nanoseconds */
} MonitorExit;

/* What the monitor is told. Fds are -1 and texts NULL when there is none; MONITOR_SPEC_INIT first. */
typedef struct {
    const char *program; /* path of atomic-monitor */
    const char *id;
    const char *dir; /* the container's folder under ATOMIC_RUN */
    pid_t pid;       /* the container's first process, a child of the caller */
    int pid_fd;
    int64_t started;          /* nanoseconds since the epoch; 0: now */
    int stdout_fd, stderr_fd; /* read ends; -1 with a terminal */
    int pty_fd;               /* master */
    int stdin_fd;       /* write end; with a terminal -1 (stdin_open says whether it takes input) */
    bool stdin_open;    /* clients may give stdin */
    bool stdin_once;    /* stdin ends with the first client that gave some (not with a terminal) */
    int listen_fd;      /* monitor_listen() */
    int ready_fd;       /* write end of a pipe, see above */
    int mount_fd;       /* the overlay; the monitor only holds it */
    const char *log;    /* path; NULL: no log */
    uint64_t log_size;  /* 0: 10 MiB */
    unsigned log_files; /* 0: 3 */
    const char *oom_file; /* its cgroup's memory.events (v2) or memory.oom_control (v1) */
    /* lists end in NULL */
    const char *const *cgroups; /* folders to rmdir, in this order; children are tried first */
    const int *port_fds;        /* reservations; ends in -1 */
    const char *bridge;  /* with it the address is released (network.h) and `ports` unpublished */
    const char *run_dir; /* ATOMIC_RUN, for the address */
    const char *const *ports; /* network_port_format() texts */
    const char *const *remove_first;
    const char *const *remove;
    const char *const *cleanup; /* argv; argv[0] is a path */
} MonitorSpec;

/* clang-format off */
#define MONITOR_SPEC_INIT                                                                          \
    {.pid_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .pty_fd = -1, .stdin_fd = -1,                 \
     .listen_fd = -1, .ready_fd = -1, .mount_fd = -1}
/* clang-format on */

/* Turns the calling process into the monitor; returns only to say why not (-1). */
int monitor_exec(const MonitorSpec *spec, SysError *error);

/* Makes the socket DIR/attach (0600) and removes what an earlier run left: its socket and its exit
 * record. The listening fd, or -1. DIR may be of any length. */
int monitor_listen(const char *dir, SysError *error);
/* Connects and says hello. ENOENT or ECONNREFUSED: no monitor there. Does not wait for the monitor:
 * the connection stands as soon as the socket listens. */
int monitor_connect(const char *dir, unsigned flags, SysError *error);

typedef struct {
    int socket; /* from monitor_connect() */
    int in_fd;  /* -1: no stdin is given; else the hello had MONITOR_GIVE_STDIN */
    int out_fd, err_fd;
    /* the container has a terminal: in_fd, if it is one too, goes raw; sizes are passed on */
    bool terminal;
    /* SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 go to the container */
    bool forward_signals;
    /* the bytes themselves; NULL: ctrl-p ctrl-q with a terminal, none without; "": none */
    const char *detach_keys;
} MonitorPump;

typedef enum {
    MONITOR_PUMP_EXITED,   /* *out is set: code, signal, oom */
    MONITOR_PUMP_DETACHED, /* the user pressed the detach keys */
    MONITOR_PUMP_GONE,     /* the monitor went away without a word: look at monitor_load_exit() */
} MonitorPumpEnd;

/* Carries bytes between the user and the container until one of the ends above; -1 on failure.
 * Blocks the signals it forwards and SIGWINCH in the calling thread while it runs, and restores the
 * terminal. When out_fd can't be written any more (a closed pipe) it returns -1 with EPIPE. */
int monitor_pump(const MonitorPump *pump, MonitorExit *out, SysError *error);

/* Waits until the container of a connection made with flags 0 has ended. timeout_ms -1: for ever.
 * 1: *out set; 0: time-out; -1: the monitor went away without a word (ECONNRESET) or another
 * failure. */
int monitor_wait(int socket, int timeout_ms, MonitorExit *out, SysError *error);
/* Waits until the monitor has cleaned up and gone (end of file): before a container is started
 * again or removed. 1 gone, 0 time-out. */
int monitor_wait_gone(int socket, int timeout_ms, SysError *error);
/* Sends a signal to the container's first process through the monitor (a pidfd: never to a
 * stranger). */
int monitor_signal(int socket, int signal, SysError *error);
/* Sets the terminal's size. */
int monitor_resize(int socket, unsigned rows, unsigned columns, SysError *error);

/* Reads DIR/exit: 1 read, 0 there is none yet, -1 damaged or unreadable. */
int monitor_load_exit(const char *dir, MonitorExit *out, SysError *error);
