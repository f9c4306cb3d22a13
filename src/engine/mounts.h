/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The binds of a container. */
#pragma once

#include "engine/engine.h"
#include "runtime/runtime.h"

/* Who can write our store or state, or talk to our socket, is the host's root: a source that is one of these
 * directories, lies in one, or holds one, is refused (ERROR_PERMISSION). `path`: what the source resolves to. */
bool engine_bind_check(Engine *engine, Store *store, const EngineBind *bind, const char *path,
                       GError **error);

/* Fills out[i] for each bind of the config: a detached mount of the source, its owners mapped. `id_base`: the
 * host's id of container root, 0 without a user namespace. The fds stay open until exec (close-on-exec). */
bool engine_binds_open(Engine *engine, Store *store, const EngineConfig *config, uint32_t id_base,
                       RuntimeBind *out, GError **error);
