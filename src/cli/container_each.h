/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One action on each container that was named: Docker prints what worked and goes on after a failure. */
#pragma once

#include "cli/cli.h"
#include "engine/engine.h"

typedef bool (*ContainerAction)(Engine *engine, EngineContainer *container, void *data,
                                GError **error);

/* names ends in NULL. Prints each name for which the action succeeded, when `print_names`. The exit status. */
int container_each(Engine *engine, char *const *names, bool print_names, ContainerAction action,
                   void *data);
