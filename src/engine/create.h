/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Coming into being and going away. */
#pragma once

#include "engine/dirs.h"

/* Removes name, record, layer, logs and ref; what isn't there is fine. `name` may be NULL. */
void engine_container_discard(Engine *engine, const EngineDirs *dirs, const char *name);

/* Once per boot: what a machine that went down left of containers that no record tells of. */
void engine_sweep(Engine *engine);
