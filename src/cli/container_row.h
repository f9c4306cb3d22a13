/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What `ps` shows of a container, as texts. */
#pragma once

#include "engine/engine.h"

typedef struct {
    char *id, *image, *command, *created, *status, *ports, *name;
} ContainerRow;
void container_row_clear(ContainerRow *row);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ContainerRow, container_row_clear)

/* `now`: microseconds since 1970; `whole`: --no-trunc. */
void container_row_fill(ContainerRow *row, const EngineContainer *container, int64_t now,
                        bool whole);

/* "Up 5 seconds", "Exited (0) 3 seconds ago", "Created" */
char *container_row_status(const EngineState *state, int64_t now);
/* "0.0.0.0:32768->80/tcp, 443/tcp" */
char *container_row_ports(const EngineContainer *container);
/* In double quotes, at most 20 characters of it unless `whole`. */
char *container_row_command(const EngineConfig *config, bool whole);
