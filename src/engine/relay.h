/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Carrying bytes between our standard streams and a process that was executed in a container. */
#pragma once

#include "engine/engine.h"

typedef struct {
    int pidfd;
    int in_fd;          /* write end, or the terminal's master; -1: no stdin */
    int out_fd, err_fd; /* read ends; the master and -1 with a terminal */
    bool terminal;
} EngineRelay;

/* Until the process has ended and what it wrote is out. Closes no fd but in_fd, at the end of our stdin. With a
 * terminal ours is raw meanwhile; without, signals that we get go to the process. */
bool engine_relay_run(EngineRelay *relay, GError **error);
