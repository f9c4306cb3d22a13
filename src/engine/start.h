/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The starter: the forked process that makes the container and then becomes its monitor. */
#pragma once

#include "engine/state.h"

/* Runs in the forked child; never returns. `listen_fd`: the attach socket; `report_fd`: write end of the pipe. */
_noreturn void engine_starter_main(Engine *engine, const EngineDirs *dirs,
                                   EngineContainer *container, int listen_fd, int report_fd);

/* Takes back what the monitor would have given back, when it can't: address, published ports, cgroup. */
void engine_release_leftovers(Engine *engine, const EngineContainer *container);
