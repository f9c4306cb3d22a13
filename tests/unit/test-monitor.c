/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The monitor over plain child processes, without any container. */
#include "base/error.h"
#include "base/file.h"
#include "base/spawn.h"
#include "monitor/monitor.h"
#include "network/network.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

typedef struct {
    char *dir, *log;
    MonitorSpec spec; /* changed by a test before start() */
    bool terminal, input;
    int listen;
    pid_t monitor;
} Run;

static char *program;

static void assert_ok(int result, const SysError *failed)
{
    if (result < 0)
        g_error("%s", failed->message);
}

static void run_up(Run *run, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    SysError failed = {};
    run->dir = g_dir_make_tmp("atomic-monitor-XXXXXX", &error);
    g_assert_no_error(error);
    run->log = g_build_filename(run->dir, "log", NULL);
    run->spec = (MonitorSpec)MONITOR_SPEC_INIT;
    run->spec.program = program;
    run->spec.id = "0123456789abcdef";
    run->spec.dir = run->dir;
    run->spec.log = run->log;
    run->listen = monitor_listen(run->dir, &failed);
    assert_ok(run->listen, &failed);
}

static void run_down(Run *run, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(file_remove_all_at(AT_FDCWD, run->dir, &error));
    g_free(run->dir);
    g_free(run->log);
}

static void make_pipe(int ends[2])
{
    g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
}

/* The starter's part after the fork: starts the process and becomes its monitor. */
G_GNUC_NORETURN static void become_monitor(Run *run, const char *script)
{
    int in[2] = {-1, -1}, out[2], err[2], peer = -1;
    MonitorSpec *spec = &run->spec;
    SysError failed = {};
    if (run->terminal) {
        struct winsize size = {.ws_row = 11, .ws_col = 22};
        if (openpty(&spec->pty_fd, &peer, NULL, NULL, &size) < 0)
            _exit(90);
        in[0] = out[1] = err[1] = peer;
        spec->stdin_open = run->input;
    } else {
        make_pipe(out);
        make_pipe(err);
        spec->stdout_fd = out[0];
        spec->stderr_fd = err[0];
        if (run->input) {
            make_pipe(in);
            spec->stdin_fd = in[1];
            spec->stdin_open = spec->stdin_once = true;
        } else {
            in[0] = open("/dev/null", O_RDONLY);
        }
    }
    spec->pid = fork();
    if (spec->pid == 0) {
        setsid();
        if (dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0 || dup2(err[1], 2) < 0 ||
            (run->terminal && ioctl(0, TIOCSCTTY, 0) < 0))
            _exit(91);
        close_range(3, ~0u, 0);
        signal(SIGPIPE, SIG_DFL);
        execl("/bin/sh", "sh", "-c", script, NULL);
        _exit(92);
    }
    spec->pid_fd = (int)syscall(SYS_pidfd_open, spec->pid, 0);
    spec->listen_fd = run->listen;
    monitor_exec(spec, &failed);
    fprintf(stderr, "# %s\n", failed.message);
    _exit(93);
}

/* Starts and waits for the ready byte. */
static void start(Run *run, const char *script)
{
    char text[300] = "x";
    int ready[2];
    make_pipe(ready);
    run->monitor = fork();
    if (run->monitor == 0) {
        run->spec.ready_fd = ready[1];
        become_monitor(run, script);
    }
    sys_fd_closep(&ready[1]);
    sys_fd_closep(&run->listen);
    ssize_t n = read(ready[0], text, sizeof text - 1);
    if (n != 1 || text[0] != 0)
        g_error("monitor: %.*s", (int)MAX(n, 0), text);
    close(ready[0]);
}

static int finish(Run *run)
{
    int status;
    g_assert_cmpint(waitpid(run->monitor, &status, 0), ==, run->monitor);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static MonitorExit load_exit(Run *run)
{
    SysError failed = {};
    MonitorExit record = {};
    assert_ok(monitor_load_exit(run->dir, &record, &failed), &failed);
    g_assert_cmpstr(record.started, <=, record.finished);
    g_assert_cmpuint(strlen(record.finished), ==, 30);
    return record;
}

static int connect_to(Run *run, unsigned flags)
{
    SysError failed = {};
    int fd = monitor_connect(run->dir, flags, &failed);
    assert_ok(fd, &failed);
    return fd;
}

enum { WANT_ALL = MONITOR_WANT_STDOUT | MONITOR_WANT_STDERR };

/* Reads packets until one of a type in `types` (a bit set); its bytes without the type, and a NUL.
 * */
static GString *next_packet(int fd, uint64_t types, uint8_t *out_type)
{
    for (;;) {
        char packet[1 + MONITOR_DATA_MAX];
        ssize_t n = recv(fd, packet, sizeof packet, 0);
        if (n <= 0) {
            *out_type = 0;
            return g_string_new(NULL);
        }
        *out_type = (uint8_t)packet[0];
        if (types >> packet[0] & 1)
            return g_string_new_len(packet + 1, n - 1);
    }
}

/* Everything of one stream until the exit packet; the exit code. */
static int read_all(int fd, uint8_t stream, GString *into)
{
    for (;;) {
        uint8_t type;
        GString *bytes = next_packet(fd, 1 << stream | 1 << MONITOR_EXIT, &type);
        MonitorExitPacket packet = {.code = -2};
        if (type == stream)
            g_string_append_len(into, bytes->str, (gssize)bytes->len);
        else if (type == MONITOR_EXIT)
            memcpy(&packet, bytes->str, sizeof packet);
        g_string_free(bytes, true);
        if (type != stream)
            return packet.code;
    }
}

static void read_until(int fd, const char *text)
{
    g_autoptr(GString) all = g_string_new(NULL);
    while (!strstr(all->str, text)) {
        uint8_t type;
        GString *bytes = next_packet(fd, 1 << MONITOR_STDOUT, &type);
        if (type == 0)
            g_error("ended before '%s': '%s'", text, all->str);
        g_string_append_len(all, bytes->str, (gssize)bytes->len);
        g_string_free(bytes, true);
    }
}

/* The log with its times, whose form is checked, cut down to T. */
static char *read_log(const char *path)
{
    g_autofree char *text = NULL;
    static const char form[] = "\"time\":\"dddd-dd-ddTdd:dd:dd.dddddddddZ\"";
    GString *log = g_string_new(NULL);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    const char *at = text;
    for (const char *time; (time = strstr(at, "\"time\":")); at = time + sizeof form - 1) {
        for (size_t i = 0; form[i]; i++)
            g_assert_true(form[i] == 'd' ? g_ascii_isdigit(time[i]) : form[i] == time[i]);
        g_string_append_len(log, at, time - at);
        g_string_append_c(log, 'T');
    }
    g_string_append(log, at);
    return g_string_free(log, false);
}

static void test_basics(Run *run, gconstpointer data)
{
    int client = connect_to(run, WANT_ALL | MONITOR_HOLD);
    start(run, "echo out; echo err >&2; printf 'tab\\there \"q\" \\\\ \\033[1m\\nno end'; exit 7");
    g_autoptr(GString) out = g_string_new(NULL);
    g_assert_cmpint(read_all(client, MONITOR_STDOUT, out), ==, 7);
    g_assert_cmpstr(out->str, ==, "out\ntab\there \"q\" \\ \033[1m\nno end");
    g_assert_cmpint(finish(run), ==, 0);
    close(client);
    MonitorExit record = load_exit(run);
    g_assert_cmpint(record.code, ==, 7);
    g_assert_cmpint(record.signal, ==, 0);
    g_assert_false(record.oom);
    g_autofree char *log = read_log(run->log);
    g_assert_nonnull(strstr(log, "{\"log\":\"err\\n\",\"stream\":\"stderr\",T}\n"));
    g_assert_nonnull(strstr(log, "{\"log\":\"out\\n\",\"stream\":\"stdout\",T}\n"));
    g_assert_nonnull(strstr(
        log, "{\"log\":\"tab\\there \\\"q\\\" \\\\ \\u001b[1m\\n\",\"stream\":\"stdout\",T}\n"));
    g_assert_nonnull(strstr(log, "{\"log\":\"no end\",\"stream\":\"stdout\",T}\n"));

    SysError failed = {};
    g_assert_cmpint(monitor_connect(run->dir, 0, &failed), ==, -1);
    g_assert_cmpint(failed.code, ==, ECONNREFUSED);
}

static void test_bytes(Run *run, gconstpointer data)
{
    start(run, "printf 'ok \\303\\244 \\342\\202\\254 \\360\\237\\230\\200 bad \\377 \\303( "
               "\\355\\240\\200 "
               "\\300\\200 \\360\\202\\202\\254 \\364\\220\\200\\200 cut "
               "\\342\\202\\n\\177\\000\\b\\f\\r\\n'");
    g_assert_cmpint(finish(run), ==, 0);
    g_autofree char *log = read_log(run->log);
#define R "\xef\xbf\xbd"
    g_assert_cmpstr(log, ==,
                    "{\"log\":\"ok \xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80 bad " R " " R "( " R R R
                    " " R R " " R R R R " " R R R R " cut " R R "\\n\",\"stream\":\"stdout\",T}\n"
                    "{\"log\":\"\\u007f\\u0000\\b\\f\\r\\n\",\"stream\":\"stdout\",T}\n");
}

static void test_clients(Run *run, gconstpointer data)
{
    SysError failed = {};
    MonitorExit record;
    run->input = true;
    start(run, "echo one; read x; echo got $x; echo err >&2; read y; exit 3");
    int giver = connect_to(run, WANT_ALL | MONITOR_GIVE_STDIN);
    int other = connect_to(run, MONITOR_WANT_STDOUT);
    int waiter = connect_to(run, 0);
    g_assert_cmpint(monitor_wait(waiter, 50, &record, &failed), ==, 0);
    g_assert_cmpint(send(giver, "\1word\n", 6, 0), ==, 6);
    uint8_t type;
    g_string_free(next_packet(giver, 1 << MONITOR_TAKEN, &type), true);
    g_assert_cmpint(type, ==, MONITOR_TAKEN);
    read_until(giver, "got word\n");
    read_until(other, "got word\n");
    /* what came before is not told again, and comes from the log */
    g_autofree char *log = read_log(run->log);
    g_assert_true(g_str_has_prefix(log, "{\"log\":\"one\\n\""));
    /* end of stdin: the first client that gave some ends it */
    g_assert_cmpint(send(giver, "\1", 1, 0), ==, 1);
    g_assert_cmpint(monitor_wait(waiter, 5000, &record, &failed), ==, 1);
    g_assert_cmpint(record.code, ==, 3);
    g_assert_cmpint(monitor_wait_gone(waiter, 5000, &failed), ==, 1);
    g_assert_cmpint(finish(run), ==, 0);
    close(giver);
    close(other);
    close(waiter);
}

static void test_bad_clients(Run *run, gconstpointer data)
{
    start(run, "exec sleep 100");
    static const char *const packets[] = {"", "x", "\1no hello", "\6\1\1", "\5\1", "\7", "\12"};
    for (size_t i = 0; i < G_N_ELEMENTS(packets); i++) {
        int fd = connect_to(run, WANT_ALL);
        char byte;
        g_assert_cmpint(send(fd, packets[i], strlen(packets[i]), 0), >=, 0);
        g_assert_cmpint(recv(fd, &byte, 1, 0), ==, 0);
        close(fd);
    }
    /* more than there are places for: refused, nobody else is hurt */
    int fds[40], waiter = connect_to(run, 0);
    for (int i = 0; i < 40; i++)
        fds[i] = connect_to(run, 0);
    SysError failed = {};
    MonitorExit record;
    assert_ok(monitor_signal(waiter, SIGKILL, &failed), &failed);
    g_assert_cmpint(monitor_wait(waiter, 5000, &record, &failed), ==, 1);
    g_assert_cmpint(record.code, ==, 137);
    g_assert_cmpint(record.signal, ==, 9);
    g_assert_cmpint(finish(run), ==, 0);
    for (int i = 0; i < 40; i++)
        close(fds[i]);
    close(waiter);
}

/* The client's half in a process of its own; its end as exit status: the code, 201 detached, 202
 * gone, 203 failed. */
static pid_t pump(Run *run, const MonitorPump *given)
{
    pid_t pid = fork();
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    SysError failed = {};
    MonitorExit record;
    switch (monitor_pump(given, &record, &failed)) {
    case MONITOR_PUMP_EXITED:
        _exit(record.code);
    case MONITOR_PUMP_DETACHED:
        _exit(201);
    case MONITOR_PUMP_GONE:
        _exit(202);
    default:
        fprintf(stderr, "# %s\n", failed.message);
        _exit(203);
    }
}

static int wait_for(pid_t pid)
{
    int status;
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* 4 MB through a filter and back, with the same process at both ends of it; every byte arrives. */
static void test_filter(Run *run, gconstpointer data)
{
    enum { SIZE = 4 << 20 };
    g_autofree char *in_path = g_build_filename(run->dir, "in", NULL);
    g_autofree char *out_path = g_build_filename(run->dir, "out", NULL);
    g_autofree char *bytes = g_malloc(SIZE), *back = NULL;
    gsize size;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    g_assert_true(g_file_set_contents(in_path, bytes, SIZE, NULL));
    run->input = true;
    run->spec.log = NULL;
    _autofd int in = open(in_path, O_RDONLY | O_CLOEXEC);
    _autofd int out = open(out_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    _autofd int socket = connect_to(run, WANT_ALL | MONITOR_HOLD | MONITOR_GIVE_STDIN);
    MonitorPump given = {.socket = socket, .in_fd = in, .out_fd = out, .err_fd = 2};
    start(run, "cat; exit 5");
    g_assert_cmpint(wait_for(pump(run, &given)), ==, 5);
    sys_fd_closep(&socket);
    g_assert_cmpint(finish(run), ==, 0);
    g_assert_true(g_file_get_contents(out_path, &back, &size, NULL));
    g_assert_cmpmem(bytes, SIZE, back, size);
}

static guint64 count_log_bytes(Run *run, unsigned files)
{
    guint64 total = 0;
    for (unsigned i = 0; i < files; i++) {
        g_autofree char *path = i ? g_strdup_printf("%s.%u", run->log, i) : g_strdup(run->log);
        g_autofree char *log = read_log(path);
        g_auto(GStrv) lines = g_strsplit(log, "\n", -1);
        for (char **line = lines; *line && **line; line++) {
            g_assert_true(g_str_has_prefix(*line, "{\"log\":\""));
            g_assert_true(g_str_has_suffix(*line, "\",\"stream\":\"stdout\",T}"));
            gsize size = strlen(*line) - strlen("{\"log\":\"\",\"stream\":\"stdout\",T}");
            total += g_str_has_suffix(*line, "\\n\",\"stream\":\"stdout\",T}") ? size - 1 : size;
        }
    }
    return total;
}

/* A burst of 1 MB with nobody, a slow client, and one for whom the container waits. */
static void test_burst(Run *run, gconstpointer data)
{
    int slow = connect_to(run, MONITOR_WANT_STDOUT);
    int holder = connect_to(run, MONITOR_WANT_STDOUT | MONITOR_HOLD);
    start(run, "head -c 1000000 /dev/zero | tr '\\0' 'x' | fold -w 99; echo; echo end");
    g_autoptr(GString) all = g_string_new(NULL);
    g_assert_cmpint(read_all(holder, MONITOR_STDOUT, all), ==, 0);
    g_assert_cmpuint(all->len, ==, 1000000 + 1000000 / 99 + 1 + 4);

    /* the slow one begins to read only now: a part, how much it missed, and the end */
    guint64 got = 0, lost = 0;
    uint8_t type = 0;
    while (type != MONITOR_EXIT) {
        GString *bytes = next_packet(slow, ~0ull, &type);
        g_assert_cmpint(type, !=, 0);
        if (type == MONITOR_STDOUT)
            got += bytes->len;
        else if (type == MONITOR_LOST)
            lost += *(const guint64 *)(const void *)bytes->str;
        g_string_free(bytes, true);
    }
    g_assert_cmpuint(lost, >, 0);
    g_assert_cmpuint(got + lost, ==, all->len);
    g_assert_cmpuint(count_log_bytes(run, 1), ==, all->len);
    g_assert_cmpint(finish(run), ==, 0);
    close(slow);
    close(holder);
}

static void test_long_lines(Run *run, gconstpointer data)
{
    start(run, "head -c 40000 /dev/zero | tr '\\0' 'x'; echo; echo short");
    g_assert_cmpint(finish(run), ==, 0);
    g_autofree char *log = read_log(run->log);
    g_auto(GStrv) lines = g_strsplit(log, "\n", -1);
    g_assert_cmpuint(g_strv_length(lines), ==, 5);
    g_assert_cmpuint(strcspn(lines[0] + 8, "\""), ==, 16384);
    g_assert_cmpuint(strcspn(lines[1] + 8, "\""), ==, 16384);
    g_assert_cmpuint(strcspn(lines[2] + 8, "\""), ==, 40000 - 2 * 16384 + 2);
}

static void test_rotation(Run *run, gconstpointer data)
{
    run->spec.log_size = 20000;
    run->spec.log_files = 3;
    start(run, "i=1000; while test $i -lt 2000; do echo line $i; i=$((i+1)); done");
    g_assert_cmpint(finish(run), ==, 0);
    g_autofree char *one = g_strconcat(run->log, ".1", NULL),
                    *two = g_strconcat(run->log, ".2", NULL),
                    *three = g_strconcat(run->log, ".3", NULL), *older = read_log(two),
                    *newest = read_log(run->log);
    struct stat info;
    g_assert_cmpint(stat(one, &info), ==, 0);
    g_assert_cmpint(info.st_size, >=, 20000);
    g_assert_cmpint(info.st_size, <, 20200);
    g_assert_cmpint(stat(three, &info), ==, -1);
    g_assert_nonnull(strstr(newest, "line 1999"));
    int first = atoi(older + strlen("{\"log\":\"line "));
    g_assert_cmpint(first, >, 1000);
    g_assert_cmpuint(count_log_bytes(run, 3), ==, (2000 - (guint64)first) * 10);
}

static void test_terminal(Run *run, gconstpointer data)
{
    SysError failed = {};
    run->terminal = run->input = true;
    _autofd int client = connect_to(run, MONITOR_WANT_STDOUT | MONITOR_GIVE_STDIN);
    start(run, "stty size; test -t 0 && test -t 1 && test -t 2 && echo terminal; "
               "while test \"$(stty size)\" = '11 22'; do sleep 0.02; done; stty size; "
               "read x; echo \"[$x]\"; exec >/dev/null 2>&1 </dev/null;"
               "sleep 0.1; echo again >/dev/tty; exit 4");
    read_until(client, "11 22\r\nterminal\r\n");
    assert_ok(monitor_resize(client, 33, 44, &failed), &failed);
    read_until(client, "33 44\r\n");
    g_assert_cmpint(send(client, "\1hello\r", 7, 0), ==, 7);
    g_autoptr(GString) rest = g_string_new(NULL);
    /* written after all had closed the terminal for a while */
    g_assert_cmpint(read_all(client, MONITOR_STDOUT, rest), ==, 4);
    g_assert_true(g_str_has_suffix(rest->str, "[hello]\r\nagain\r\n"));
    g_assert_cmpint(finish(run), ==, 0);
    g_autofree char *log = read_log(run->log);
    g_assert_nonnull(strstr(log, "{\"log\":\"terminal\\r\\n\",\"stream\":\"stdout\",T}\n"));
}

/* A user at a terminal of their own: raw mode, Ctrl-C as a byte, the detach keys, attaching again.
 * */
static void test_user(Run *run, gconstpointer data)
{
    int master, slave;
    struct termios before, during, after;
    struct winsize size = {.ws_row = 50, .ws_col = 60};
    run->terminal = run->input = true;
    g_assert_cmpint(openpty(&master, &slave, NULL, NULL, &size), ==, 0);
    tcgetattr(slave, &before);
    start(run, "trap 'echo interrupted' INT; stty size; echo begun; while :; do read x && echo "
               "\"($x)\"; done");
    for (int round = 0; round < 2; round++) {
        int socket = connect_to(run, MONITOR_WANT_STDOUT | MONITOR_GIVE_STDIN);
        MonitorPump given = {
            .socket = socket, .in_fd = slave, .out_fd = slave, .err_fd = slave, .terminal = true};
        pid_t pid = pump(run, &given);
        close(socket);
        g_autoptr(GString) seen = g_string_new(NULL);
        const char *const said[] = {"\x10w\r", "\x03", "\x10\x10\x11"}, *const expected[] = {
                                                                            "\x10w)", "interrupted",
                                                                            NULL};
        for (int i = 0; i < 3; i++) {
            g_assert_cmpint(write(master, said[i], strlen(said[i])), >, 0);
            while (expected[i] && !strstr(seen->str, expected[i])) {
                char text[200];
                ssize_t n = read(master, text, sizeof text);
                g_assert_cmpint(n, >, 0);
                g_string_append_len(seen, text, n);
            }
            if (i == 0) {
                tcgetattr(slave, &during);
                g_assert_false(during.c_lflag & ICANON);
            }
        }
        g_assert_cmpint(wait_for(pid), ==, 201);
        tcgetattr(slave, &after);
        g_assert_cmpuint(after.c_lflag, ==, before.c_lflag);
    }
    SysError failed = {};
    MonitorExit record;
    _autofd int waiter = connect_to(run, 0);
    assert_ok(monitor_signal(waiter, SIGKILL, &failed), &failed);
    g_assert_cmpint(monitor_wait(waiter, 5000, &record, &failed), ==, 1);
    g_assert_cmpint(finish(run), ==, 0);
    close(master);
    close(slave);
}

/* Signals of the client reach the container, though its output and its input are both stuck. */
static void test_signals(Run *run, gconstpointer data)
{
    int in[2], out[2];
    make_pipe(in);
    make_pipe(out);
    run->input = true;
    _autofd int socket = connect_to(run, WANT_ALL | MONITOR_HOLD | MONITOR_GIVE_STDIN);
    MonitorPump given = {
        .socket = socket, .in_fd = in[0], .out_fd = out[1], .err_fd = 2, .forward_signals = true};
    start(run, "trap 'exit 9' INT; yes & wait");
    pid_t pid = pump(run, &given);
    pid_t feeder = fork();
    if (feeder == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (char bytes[4096] = "";;)
            if (write(in[1], bytes, sizeof bytes) < 0)
                _exit(0);
    }
    g_usleep(100000);
    kill(pid, SIGINT);
    /* the shell ends; `yes` is killed by nobody here, as a container's init would */
    for (int i = 0; i < 500; i++) {
        MonitorExit record;
        SysError failed = {};
        if (monitor_load_exit(run->dir, &record, &failed) == 1)
            break;
        g_usleep(10000);
    }
    g_assert_cmpint(load_exit(run).code, ==, 9);
    kill(feeder, SIGKILL);
    wait_for(feeder);
    /* the user goes away: the monitor is free to end */
    kill(pid, SIGKILL);
    wait_for(pid);
    close(out[0]);
    sys_fd_closep(&socket);
    g_assert_cmpint(finish(run), ==, 0);
    close(in[0]);
    close(in[1]);
    close(out[1]);
}

/* The monitor outlives its starter and the terminal's signals, hands SIGTERM on, and holds no
 * foreign pipe open. */
static void test_starter_killed(Run *run, gconstpointer data)
{
    int stranger[2], pids[2];
    char byte;
    pid_t monitor;
    g_assert_cmpint(pipe(stranger), ==, 0); /* inheritable */
    make_pipe(pids);
    _autofd int waiter = connect_to(run, MONITOR_WANT_STDOUT);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t starter = fork();
    if (starter == 0) {
        start(run,
              "trap 'echo asked; exit 6' TERM; echo up; exec 3>&-; while :; do sleep 0.05; done");
        (void)!write(pids[1], &run->monitor, sizeof run->monitor);
        for (;;)
            pause();
    }
    close(stranger[1]);
    g_assert_cmpint(read(pids[0], &monitor, sizeof monitor), ==, sizeof monitor);
    kill(starter, SIGKILL);
    wait_for(starter);
    read_until(waiter, "up\n");
    g_assert_cmpint(read(stranger[0], &byte, 1), ==, 0);
    g_assert_cmpint(getsid(monitor), ==, monitor);
    kill(monitor, SIGHUP);
    kill(monitor, SIGINT);
    kill(monitor, SIGQUIT);
    kill(monitor, SIGTERM);
    g_autoptr(GString) out = g_string_new(NULL);
    g_assert_cmpint(read_all(waiter, MONITOR_STDOUT, out), ==, 6);
    g_assert_true(g_str_has_suffix(out->str, "asked\n"));
    run->monitor = monitor;
    g_assert_cmpint(finish(run), ==, 0);
    g_assert_cmpint(load_exit(run).code, ==, 6);
    close(stranger[0]);
    close(pids[0]);
    close(pids[1]);
    sys_fd_closep(&run->listen);
}

/* What is left behind goes, in order: first what a successor needs, before the exit packet; then
 * the rest; at last the cleanup command, and only with its end the connections end. */
static void test_cleanup(Run *run, gconstpointer data)
{
    g_autofree char *first = g_build_filename(run->dir, "first", NULL),
                    *second = g_build_filename(run->dir, "second", NULL),
                    *deep = g_build_filename(second, "a", "b", NULL),
                    *mark = g_build_filename(run->dir, "mark", NULL),
                    *target = g_build_filename(run->dir, "target", NULL);
    g_assert_cmpint(g_mkdir_with_parents(first, 0700), ==, 0);
    g_assert_cmpint(g_mkdir_with_parents(deep, 0700), ==, 0);
    g_assert_cmpint(g_mkdir_with_parents(target, 0700), ==, 0);
    g_autofree char *many = g_strdup_printf(
        "cd %s && touch f 'a b' && ln -s ../../../target l && mkdir -m 0 none && cd .. && i=0;"
        "while test $i -lt 1000; do : > x$i; i=$((i+1)); done; mkdir -p e0 e1/e e2/e/e;"
        "i=0; while test $i -lt 500; do mkdir d && cd d; i=$((i+1)); done",
        deep);
    g_assert_cmpint(system(many), ==, 0);
    const char *const remove_first[] = {first, NULL}, *const remove[] = {second, "/nonexistent",
                                                                         NULL};
    g_autofree char *script =
        g_strdup_printf("sleep 0.2; test ! -e %s && echo done > %s", second, mark);
    const char *const cleanup[] = {"/bin/sh", "-c", script, NULL};
    run->spec.remove_first = remove_first;
    run->spec.remove = remove;
    run->spec.cleanup = cleanup;
    SysError failed = {};
    MonitorExit record;
    _autofd int waiter = connect_to(run, 0);
    start(run, "exit 2");
    g_assert_cmpint(monitor_wait(waiter, 5000, &record, &failed), ==, 1);
    g_assert_cmpint(access(first, F_OK), ==, -1);
    g_assert_cmpint(monitor_wait_gone(waiter, 5000, &failed), ==, 1);
    g_assert_cmpint(access(mark, F_OK), ==, 0);
    g_assert_cmpint(access(target, F_OK), ==, 0);
    g_assert_cmpint(finish(run), ==, 0);
}

/* Published ports, their reservation and the address are free when the exit packet comes. */
static void test_network(Run *run, gconstpointer data)
{
    SysError failed = {};
    Network network;
    NetworkPort ports[3] = {};
    int fds[4] = {-1, -1, -1, -1};
    char texts[3][NETWORK_PORT_TEXT];
    const char *names[4] = {};
    struct in_addr address, again;
    if (unshare(CLONE_NEWNET) < 0) {
        g_test_skip("needs root");
        return;
    }
    assert_ok(network_setup(run->dir, &network, &failed), &failed);
    assert_ok(network_address_take(run->dir, &network, run->spec.id, NULL, NULL, &address, &failed),
              &failed);
    for (int i = 0; i < 3; i++) {
        assert_ok(network_port_parse(i == 1 ? "53/udp" : "80", &ports[i], &failed), &failed);
        fds[i] = network_port_reserve(&ports[i], &failed);
        assert_ok(fds[i], &failed);
        ports[i].container_ip = address;
        names[i] = network_port_format(&ports[i], texts[i]);
    }
    assert_ok(network_publish(network.bridge, ports, 3, &failed), &failed);
    run->spec.bridge = network.bridge;
    run->spec.run_dir = run->dir;
    run->spec.ports = names;
    run->spec.port_fds = fds;
    _autofd int client = connect_to(run, MONITOR_WANT_STDOUT);
    start(run, "echo up; sleep 0.3");
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    read_until(client, "up\n");
    g_assert_cmpint(network_port_reserve(&ports[0], &failed), ==, -1);
    g_assert_cmpint(failed.code, ==, EADDRINUSE);
    MonitorExit record;
    g_assert_cmpint(monitor_wait(client, 5000, &record, &failed), ==, 1);
    for (int i = 0; i < 3; i++) {
        _autofd int fd = network_port_reserve(&ports[i], &failed);
        assert_ok(fd, &failed);
    }
    assert_ok(network_address_take(run->dir, &network, "other", NULL, NULL, &again, &failed),
              &failed);
    g_assert_cmpuint(again.s_addr, ==, address.s_addr);
    g_assert_cmpint(system("nft list table ip atomic | grep -q elements"), !=, 0);
    g_assert_cmpint(finish(run), ==, 0);
}

static void test_cgroups(Run *run, gconstpointer data)
{
    g_autofree char *group = g_strdup_printf("/sys/fs/cgroup/unified/atomic-test-%d", getpid());
    g_autofree char *inner = g_build_filename(group, "a", "b", NULL);
    if (g_mkdir_with_parents(inner, 0755) < 0) {
        rmdir(group);
        g_test_skip("no writable cgroup2 here");
        return;
    }
    g_autofree char *sibling = g_build_filename(group, "c", NULL);
    g_assert_cmpint(mkdir(sibling, 0755), ==, 0);
    const char *const cgroups[] = {group, NULL};
    run->spec.cgroups = cgroups;
    start(run, "exit 0");
    g_assert_cmpint(finish(run), ==, 0);
    g_assert_cmpint(access(group, F_OK), ==, -1);
}

static void test_oom(Run *run, gconstpointer data)
{
    g_autofree char *events = g_build_filename(run->dir, "memory.events", NULL);
    const char *text = "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 0\n";
    g_assert_true(g_file_set_contents(events, text, -1, NULL));
    run->spec.oom_file = events;
    start(run, "kill -9 $$");
    g_assert_cmpint(finish(run), ==, 0);
    g_assert_true(load_exit(run).oom);
    g_assert_cmpint(load_exit(run).code, ==, 137);
}

/* A monitor that can't work says so, and leaves no container unwatched. */
static void test_no_log(Run *run, gconstpointer data)
{
    int ready[2];
    char text[300] = "";
    make_pipe(ready);
    run->spec.log = "/nonexistent/log";
    run->monitor = fork();
    if (run->monitor == 0) {
        run->spec.ready_fd = ready[1];
        become_monitor(run, "exec sleep 100");
    }
    close(ready[1]);
    sys_fd_closep(&run->listen);
    g_assert_cmpint(read(ready[0], text, sizeof text - 1), >, 0);
    close(ready[0]);
    g_assert_cmpstr(text, ==, "cannot open the log '/nonexistent/log': No such file or directory");
    g_assert_cmpint(finish(run), ==, 0);
    g_assert_cmpint(load_exit(run).code, ==, 137);
}

static void test_exit_record(Run *run, gconstpointer data)
{
    SysError failed = {};
    MonitorExit record;
    g_autofree char *path = g_build_filename(run->dir, "exit", NULL);
    g_assert_cmpint(monitor_load_exit(run->dir, &record, &failed), ==, 0);
    g_assert_true(g_file_set_contents(path, "{\"pid\":1,", -1, NULL));
    g_assert_cmpint(monitor_load_exit(run->dir, &record, &failed), ==, -1);
    g_assert_true(g_str_has_suffix(failed.message, "/exit': it is damaged"));
    close(run->listen);
    g_assert_cmpint(monitor_connect("/nonexistent", 0, &failed), ==, -1);
    g_assert_cmpint(failed.code, ==, ENOENT);
    run->listen = monitor_listen(run->dir, &failed);
    g_assert_cmpint(monitor_load_exit(run->dir, &record, &failed), ==, 0);
    close(run->listen);
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_test_init(&argc, &argv, NULL);
    program = spawn_helper_path("atomic-monitor", &error);
    g_assert_no_error(error);
    signal(SIGPIPE, SIG_IGN);
#define ADD(name, function) g_test_add("/monitor/" name, Run, NULL, run_up, function, run_down)
    ADD("exit-record", test_exit_record);
    ADD("basics", test_basics);
    ADD("bytes", test_bytes);
    ADD("clients", test_clients);
    ADD("bad-clients", test_bad_clients);
    ADD("filter", test_filter);
    ADD("burst", test_burst);
    ADD("long-lines", test_long_lines);
    ADD("rotation", test_rotation);
    ADD("terminal", test_terminal);
    ADD("user", test_user);
    ADD("signals", test_signals);
    ADD("starter-killed", test_starter_killed);
    ADD("cleanup", test_cleanup);
    ADD("cgroups", test_cgroups);
    ADD("oom", test_oom);
    ADD("no-log", test_no_log);
    ADD("network", test_network); /* the last: it leaves for another network namespace */
    return g_test_run();
}
