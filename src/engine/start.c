/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works:
 *
 *     engine_start()                 fork     starter (starter.c)
 *       lock, settle the old end              network, ids, overlay, pipes
 *       attach socket: listen, connect        clone … exec of the command     sandbox
 *       read the pipe                         state.json
 *                                             becomes atomic-monitor ───► zero byte through the pipe
 *
 * The starter makes everything itself, so that all that has to be given back at the end (fds, port reservations,
 * the mount) has one owner from the beginning. Its failures come through the pipe with exit status and code.
 * Nothing is visible before state.json, which names a process that has executed its command. */
#include "engine/start.h"

#include "base/file.h"
#include "engine/report.h"
#include "monitor/monitor.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Before a second start: the first monitor must have given back what it held. */
static bool wait_for_monitor(const EngineDirs *dirs, GError **error)
{
    enum { PATIENCE_MS = 10 * 1000 };
    SysError failed;
    _autofd int socket = monitor_connect(dirs->run, 0, &failed);
    if (socket < 0)
        return true;
    int gone = monitor_wait_gone(socket, PATIENCE_MS, &failed);
    if (gone < 0)
        return error_from_sys(error, &failed);
    return gone ||
           error_throw(error, ERROR_BUSY, "the monitor of container %.12s does not end", dirs->id);
}

/* Before there is anything to read: so the foreground misses no byte. */
static bool connect_client(const EngineDirs *dirs, const EngineConfig *config, int *out_attach,
                           GError **error)
{
    unsigned flags = MONITOR_WANT_STDOUT | MONITOR_WANT_STDERR | MONITOR_HOLD;
    SysError failed;
    if (config->open_stdin)
        flags |= MONITOR_GIVE_STDIN;
    *out_attach = monitor_connect(dirs->run, flags, &failed);
    return *out_attach >= 0 || error_from_sys(error, &failed);
}

static bool fork_starter(Engine *engine, const EngineDirs *dirs, EngineContainer *container,
                         int *out_attach, int *out_status, GError **error)
{
    SysError failed;
    _autofd int listening = monitor_listen(dirs->run, &failed);
    if (listening < 0)
        return error_from_sys(error, &failed);
    if (out_attach && !connect_client(dirs, &container->config, out_attach, error))
        return false;
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        return error_throw_errno(error, "cannot create a pipe");
    fflush(NULL); /* or the child would write it a second time */
    pid_t pid = fork();
    if (pid == 0) {
        close(report[0]);
        engine_starter_main(engine, dirs, container, listening, report[1]);
    }
    close(report[1]);
    _autofd int from = report[0];
    if (pid < 0)
        return error_throw_errno(error, "cannot fork");
    bool good = engine_report_read(from, out_status, error);
    if (!good)
        waitpid(pid, NULL, 0);
    return good;
}

/* A container that could not be started stays what it was, with the reason. */
static void record_failure(const EngineDirs *dirs, EngineState *state, int status,
                           const GError *error)
{
    if (dirs->fleeting)
        return;
    g_free(state->error);
    state->error = g_strdup(error->message);
    state->exit_code = status;
    g_autofree char *path = engine_dirs_keep_file(dirs, "state.json");
    json_t *json = engine_state_to_json(state);
    engine_record_write(path, json, false, NULL);
    json_decref(json);
    g_autofree char *live = engine_dirs_run_file(dirs, "state.json");
    unlink(live);
}

bool engine_start(Engine *engine, EngineContainer *container, int *out_attach, int *out_status,
                  GError **error)
{
    g_auto(EngineDirs) dirs = {0};
    int status = 125;
    if (out_attach)
        *out_attach = -1;
    if (out_status)
        *out_status = status;
    if (!engine_dirs_find(engine, container->config.id, &dirs))
        return error_throw(error, ERROR_NOT_FOUND, "no such container: %s", container->config.name);
    _autofd int lock = engine_dirs_lock(&dirs, true, error);
    if (lock < 0 || !engine_state_settle(&dirs, &container->state, error))
        return false;
    if (container->state.status == ENGINE_RUNNING)
        return true;
    if (container->state.status == ENGINE_EXITED) {
        if (!wait_for_monitor(&dirs, error))
            return false;
        engine_release_leftovers(engine, container);
    }
    g_autoptr(GError) failed = NULL;
    g_autofree char *attach = engine_dirs_run_file(&dirs, "attach");
    if (!fork_starter(engine, &dirs, container, out_attach, &status, &failed)) {
        if (out_attach)
            sys_fd_closep(out_attach);
        record_failure(&dirs, &container->state, status, failed);
        unlink(attach);
        if (out_status)
            *out_status = status;
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    return engine_state_refresh(&dirs, &container->state, error);
}
