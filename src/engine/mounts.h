/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The binds of a container. */
#pragma once

#include "engine/engine.h"
#include "runtime/runtime.h"

/* Fills out[i] for each bind of the config: a detached mount of the source, its owners mapped. `id_base`: the
 * host's id of container root, 0 without a user namespace. The fds stay open until exec (close-on-exec). */
bool engine_binds_open(const EngineConfig *config, uint32_t id_base, RuntimeBind *out,
                       GError **error);
