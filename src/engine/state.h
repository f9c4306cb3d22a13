/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is so: from the records, the monitor's exit record and /proc, without locks. */
#pragma once

#include "engine/record.h"

/* NULL with ERROR_NOT_FOUND when there is no config.json (being made, or going away). */
EngineContainer *engine_container_load(const EngineDirs *dirs, GError **error);
/* Reads the state again. */
bool engine_state_refresh(const EngineDirs *dirs, EngineState *state, GError **error);
/* state.json below ATOMIC_RUN. */
bool engine_state_save(const EngineDirs *dirs, const EngineState *state, GError **error);
/* Makes an end permanent: state.json in both places says it, the durable one synced. Nothing to do for a container
 * that runs, was never started, or is fleeting, and when it was done before. */
bool engine_state_settle(const EngineDirs *dirs, EngineState *state, GError **error);

/* sys_process_start(), but 0 for a zombie as well. */
uint64_t engine_process_start(pid_t pid);
/* A pidfd of the container's process, -1 when it is gone: never a stranger's. */
int engine_process_open(const EngineState *state);

/* RFC 3339, UTC, nanoseconds as Docker writes them; 0 is Docker's "0001-01-01T00:00:00Z". */
char *engine_format_time(int64_t microseconds);
