/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: `state.json` below ATOMIC_RUN says which process was started. The end of that process is
 * said by the monitor's exit record beside it, which is written before the process is reaped. So: no exit
 * record and the process is there: running. An exit record: ended. Neither: the monitor was killed and
 * the end is unknown. A state.json of an earlier boot is of a process that is surely gone.
 *
 * Before the exit record may go (a new start), its content is folded into state.json, so that a reader
 * finds the end in the one or the other at every moment.
 */
#include "engine/state.h"

#include "base/file.h"
#include "base/sys/process.h"
#include "engine/parse.h"
#include "monitor/monitor.h"

#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <unistd.h>

uint64_t engine_process_start(pid_t pid)
{
    char state = 0;
    uint64_t start = sys_process_start(pid, &state);
    return state == 'Z' || state == 'X' ? 0 : start;
}

int engine_process_open(const EngineState *state)
{
    if (state->status != ENGINE_RUNNING)
        return -1;
    _autofd int fd = (int)syscall(SYS_pidfd_open, state->pid, 0);
    /* looked at after the open: the number can't be given to another process meanwhile */
    if (fd < 0 || engine_process_start(state->pid) != state->start_ticks)
        return -1;
    return fd_steal(&fd);
}

static int64_t parse_time(const char *text)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(text, NULL);
    return time ? g_date_time_to_unix(time) * G_USEC_PER_SEC + g_date_time_get_microsecond(time)
                : 0;
}

char *engine_format_time(int64_t microseconds)
{
    if (microseconds == 0)
        return g_strdup("0001-01-01T00:00:00Z");
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(microseconds / G_USEC_PER_SEC);
    g_autofree char *seconds = g_date_time_format(time, "%Y-%m-%dT%H:%M:%S");
    return g_strdup_printf("%s.%06d000Z", seconds, (int)(microseconds % G_USEC_PER_SEC));
}

/* True when there is an exit record. */
static bool apply_exit(const EngineDirs *dirs, EngineState *state)
{
    MonitorExit end;
    SysError ignored;
    if (monitor_load_exit(dirs->run, &end, &ignored) != 1)
        return false;
    state->status = ENGINE_EXITED;
    state->exit_known = end.code >= 0;
    state->exit_code = end.code >= 0 ? end.code : 255;
    state->oom_killed = end.oom;
    state->finished = parse_time(end.finished);
    state->pid = 0;
    return true;
}

static void find_end(const EngineDirs *dirs, EngineState *state)
{
    if (apply_exit(dirs, state))
        return;
    char process = 0;
    bool same_boot = g_strcmp0(state->boot_id, sys_boot_id()) == 0;
    if (same_boot && sys_process_start(state->pid, &process) == state->start_ticks) {
        bool dead = process == 'Z' || process == 'X';
        /* a zombie whose monitor lives: the record is about to be written */
        if (!dead || engine_process_start(state->monitor_pid))
            return;
    }
    /* it may have been written since we looked */
    if (apply_exit(dirs, state))
        return;
    state->status = ENGINE_EXITED;
    state->exit_known = false;
    state->exit_code = 255;
    state->pid = 0;
}

static bool load_state(const char *path, EngineState *state, bool *out_found, GError **error)
{
    g_autoptr(GError) failed = NULL;
    json_t *json = engine_record_read(path, &failed);
    *out_found = json != NULL;
    if (!json && error_is(failed, ERROR_NOT_FOUND))
        return true;
    if (!json) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    bool good = engine_state_from_json(json, state, error);
    json_decref(json);
    return good || error_prefix(error, "cannot read '%s'", path);
}

bool engine_state_refresh(const EngineDirs *dirs, EngineState *state, GError **error)
{
    g_autofree char *live = engine_dirs_run_file(dirs, "state.json");
    g_autofree char *kept = engine_dirs_keep_file(dirs, "state.json");
    bool found;
    if (!load_state(live, state, &found, error))
        return false;
    if (!found && !load_state(kept, state, &found, error))
        return false;
    if (!found) {
        engine_state_clear(state);
        state->ports = engine_ports_new();
    } else if (state->status == ENGINE_RUNNING) {
        find_end(dirs, state);
    }
    return true;
}

bool engine_state_save(const EngineDirs *dirs, const EngineState *state, GError **error)
{
    g_autofree char *path = engine_dirs_run_file(dirs, "state.json");
    json_t *json = engine_state_to_json(state);
    bool good = engine_record_write(path, json, false, error);
    json_decref(json);
    return good;
}

/* Whether the live state.json says the end itself: then the durable one does, too. */
static bool is_settled(const EngineDirs *dirs)
{
    g_autofree char *live = engine_dirs_run_file(dirs, "state.json");
    EngineState state = {0};
    bool found = false;
    bool settled =
        load_state(live, &state, &found, NULL) && (!found || state.status != ENGINE_RUNNING);
    engine_state_clear(&state);
    return settled;
}

bool engine_state_settle(const EngineDirs *dirs, EngineState *state, GError **error)
{
    if (!engine_state_refresh(dirs, state, error))
        return false;
    if (state->status != ENGINE_EXITED || dirs->fleeting || is_settled(dirs))
        return true;
    g_autofree char *kept = engine_dirs_keep_file(dirs, "state.json");
    json_t *json = engine_state_to_json(state);
    bool good = engine_record_write(kept, json, true, error);
    json_decref(json);
    return good && engine_state_save(dirs, state, error);
}

EngineContainer *engine_container_load(const EngineDirs *dirs, GError **error)
{
    json_t *json = engine_record_read(dirs->config, error);
    if (!json)
        return NULL;
    g_autoptr(EngineContainer) container = g_new0(EngineContainer, 1);
    bool good = engine_config_from_json(json, &container->config, error);
    json_decref(json);
    if (!good) {
        error_prefix(error, "cannot read '%s'", dirs->config);
        return NULL;
    }
    if (!engine_state_refresh(dirs, &container->state, error))
        return NULL;
    return g_steal_pointer(&container);
}
