/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signals, waiting, stopping, removing. None of it needs a living monitor: a signal goes through a pidfd of
 * the recorded process, the end is read from the exit record, or seen from the pidfd when the monitor was killed. */
#include "engine/create.h"
#include "engine/name.h"
#include "engine/start.h"

#include "base/file.h"
#include "monitor/monitor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

int engine_parse_signal(const char *text, GError **error)
{
    guint64 number;
    if (g_ascii_string_to_unsigned(text, 10, 1, (guint64)SIGRTMAX, &number, NULL))
        return (int)number;
    g_autofree char *upper = g_ascii_strup(text, -1);
    const char *bare = g_str_has_prefix(upper, "SIG") ? upper + 3 : upper;
    for (int signal = 1; signal < NSIG; signal++) {
        const char *name = sigabbrev_np(signal);
        if (name && strcmp(name, bare) == 0)
            return signal;
    }
    /* systemd in a container wants SIGRTMIN+3 */
    bool up = g_str_has_prefix(bare, "RTMIN+");
    guint64 most = (guint64)(SIGRTMAX - SIGRTMIN);
    if ((up || g_str_has_prefix(bare, "RTMAX-")) &&
        g_ascii_string_to_unsigned(bare + strlen("RTMIN+"), 10, 0, most, &number, NULL))
        return up ? SIGRTMIN + (int)number : SIGRTMAX - (int)number;
    return error_throw_fd(error, ERROR_INVALID, "invalid signal: '%s'", text);
}

static bool find_dirs(Engine *engine, const EngineContainer *container, EngineDirs *dirs,
                      GError **error)
{
    return engine_dirs_find(engine, container->config.id, dirs) ||
           error_throw(error, ERROR_NOT_FOUND, "no such container: %s", container->config.name);
}

static int send_signal(const EngineState *state, int signal)
{
    _autofd int process = engine_process_open(state);
    if (process < 0)
        return ESRCH;
    return syscall(SYS_pidfd_send_signal, process, signal, NULL, 0) < 0 ? errno : 0;
}

bool engine_kill(Engine *engine, EngineContainer *container, int signal, GError **error)
{
    int failed =
        container->state.status == ENGINE_RUNNING ? send_signal(&container->state, signal) : ESRCH;
    if (failed == ESRCH)
        return error_throw(error, ERROR_BUSY, "cannot kill container '%s': it is not running",
                           container->config.name);
    errno = failed;
    return failed == 0 ||
           error_throw_errno(error, "cannot kill container '%s'", container->config.name);
}

/* --- waiting ------------------------------------------------------------------------------------- */

/* Waits for the process itself: for a container whose monitor is gone. 1 ended, 0 time-out. */
static int wait_process(const EngineState *state, int timeout_ms)
{
    _autofd int process = engine_process_open(state);
    struct pollfd poll_fd = {.fd = process, .events = POLLIN};
    return process < 0 ? 1 : poll(&poll_fd, 1, timeout_ms) > 0;
}

/* 1: *out_code is set; 0: time-out; -1: no end can be told, the state was refreshed. `socket`: a client of
 * the monitor, made before whatever ends the container. */
static int wait_end(const EngineDirs *dirs, EngineContainer *container, int socket, int timeout_ms,
                    int *out_code)
{
    EngineState *state = &container->state;
    MonitorExit end;
    SysError failed;
    int ended = socket < 0 ? -1 : monitor_wait(socket, timeout_ms, &end, &failed);
    if (ended > 0) {
        *out_code = end.code < 0 ? 255 : end.code;
        return 1;
    }
    if (ended == 0 || wait_process(state, timeout_ms) == 0)
        return 0;
    if (!engine_state_refresh(dirs, state, NULL))
        return -1;
    *out_code = state->exit_code;
    return state->status == ENGINE_RUNNING ? 0 : state->exit_known ? 1 : -1;
}

static int connect_monitor(const EngineDirs *dirs)
{
    SysError ignored;
    return monitor_connect(dirs->run, 0, &ignored);
}

/* Writes the end down for good. Whoever holds the lock does it as well, and may be waiting for us: a monitor
 * executes engine_record_end() as its last act (starter.c). */
static void settle(const EngineDirs *dirs, EngineState *state)
{
    _autofd int lock = dirs->fleeting ? -1 : engine_dirs_lock(dirs, false, NULL);
    if (lock >= 0)
        engine_state_settle(dirs, state, NULL);
}

bool engine_wait(Engine *engine, EngineContainer *container, int *out_exit_code, GError **error)
{
    g_auto(EngineDirs) dirs = {0};
    if (!find_dirs(engine, container, &dirs, error))
        return false;
    _autofd int socket = connect_monitor(&dirs);
    /* after the connection: an end in between is in the files or comes through the socket */
    if (!engine_state_refresh(&dirs, &container->state, error))
        return false;
    int code = container->state.exit_code, known = 1;
    if (container->state.status == ENGINE_RUNNING)
        while ((known = wait_end(&dirs, container, socket, -1, &code)) == 0)
            continue;
    /* a living monitor sees to it itself */
    if (socket < 0)
        settle(&dirs, &container->state);
    if (known < 0)
        return error_throw(error, ERROR_FAILED,
                           "container '%s' has ended, but nobody knows how: its monitor was killed",
                           container->config.name);
    *out_exit_code = code;
    return true;
}

bool engine_record_end(Engine *engine, EngineContainer *container, GError **error)
{
    g_auto(EngineDirs) dirs = {0};
    if (!find_dirs(engine, container, &dirs, error))
        return false;
    settle(&dirs, &container->state);
    return true;
}

bool engine_stop(Engine *engine, EngineContainer *container, int timeout, GError **error)
{
    enum { DEFAULT_SECONDS = 10, KILL_MS = 10 * 1000 };
    const EngineConfig *config = &container->config;
    g_auto(EngineDirs) dirs = {0};
    if (container->state.status != ENGINE_RUNNING)
        return true;
    if (!find_dirs(engine, container, &dirs, error))
        return false;
    _autofd int socket = connect_monitor(&dirs);
    int code,
        signal = *config->stop_signal ? engine_parse_signal(config->stop_signal, NULL) : SIGTERM;
    send_signal(&container->state, signal > 0 ? signal : SIGTERM);
    int patience = (timeout < 0 ? DEFAULT_SECONDS : MIN(timeout, INT_MAX / 1000)) * 1000;
    if (wait_end(&dirs, container, socket, patience, &code) == 0) {
        send_signal(&container->state, SIGKILL);
        if (wait_end(&dirs, container, socket, KILL_MS, &code) == 0)
            return error_throw(error, ERROR_BUSY, "cannot stop container '%s': it survived SIGKILL",
                               config->name);
    }
    if (socket < 0)
        settle(&dirs, &container->state);
    return true;
}

/* --- removing ------------------------------------------------------------------------------------ */

static bool kill_for_removal(const EngineDirs *dirs, EngineContainer *container, bool force,
                             GError **error)
{
    enum { KILL_MS = 10 * 1000 };
    const char *name = container->config.name;
    if (!force)
        return error_throw(error, ERROR_BUSY,
                           "cannot remove container '%s': it is running\n"
                           "hint: stop it first, or use rm -f",
                           name);
    int code;
    _autofd int socket = connect_monitor(dirs);
    send_signal(&container->state, SIGKILL);
    if (wait_end(dirs, container, socket, KILL_MS, &code) == 0)
        return error_throw(error, ERROR_BUSY, "cannot remove container '%s': it survived SIGKILL",
                           name);
    return true;
}

static void wait_for_monitor(const EngineDirs *dirs)
{
    enum { PATIENCE_MS = 5 * 1000 };
    SysError ignored;
    _autofd int socket = connect_monitor(dirs);
    if (socket >= 0)
        monitor_wait_gone(socket, PATIENCE_MS, &ignored);
}

bool engine_remove(Engine *engine, EngineContainer *container, bool force, GError **error)
{
    g_auto(EngineDirs) dirs = {0};
    if (!find_dirs(engine, container, &dirs, error))
        return false;
    _autofd int lock = engine_dirs_lock(&dirs, true, error);
    if (lock < 0 || !engine_state_refresh(&dirs, &container->state, error))
        return false;
    if (container->state.status == ENGINE_RUNNING &&
        !kill_for_removal(&dirs, container, force, error))
        return false;
    /* what the monitor holds must be given back before its record goes */
    wait_for_monitor(&dirs);
    engine_release_leftovers(engine, container);
    engine_container_discard(engine, &dirs, container->config.name);
    return true;
}
