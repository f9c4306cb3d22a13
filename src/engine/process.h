/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the first process of a container and one that is executed later have in common. */
#pragma once

#include "engine/engine.h"
#include "runtime/runtime.h"

/* HOME, HOSTNAME, TERM with a terminal; then the container's own; then `more` (may be NULL). */
char **engine_process_env(const EngineConfig *config, const char *const *more, bool tty,
                          const char *home);
uint64_t engine_process_caps(const EngineConfig *config);

/* Pipes between a process inside and one of ours. [0] is the container's end, [1] ours. */
typedef struct {
    int in[2], out[2], err[2];
} EnginePipes;
#define ENGINE_PIPES_NONE                                                                          \
    {                                                                                              \
        {-1, -1}, {-1, -1},                                                                        \
        {                                                                                          \
            -1, -1                                                                                 \
        }                                                                                          \
    }

bool engine_pipes_open(EnginePipes *pipes, bool with_stdin, GError **error);
void engine_pipes_close(EnginePipes *pipes);
