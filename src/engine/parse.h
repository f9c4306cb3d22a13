/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Docker's little languages: ports, binds, sizes, environment. Each parser names the word it can't read. */
#pragma once

#include "engine/engine.h"

void engine_port_free(EnginePort *port);
void engine_bind_free(EngineBind *bind);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EnginePort, engine_port_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EngineBind, engine_bind_free)
/* Empty arrays that own what is put into them. */
GPtrArray *engine_ports_new(void);
GPtrArray *engine_binds_new(void);

/* "[ip:][host]:container[/proto]" or "container[/proto]", each port may be a range; adds to `ports`. */
bool engine_parse_publish(const char *text, GPtrArray *ports, GError **error);
/* "80", "80/tcp", "80-82/udp": adds one EnginePort each, host port 0. */
bool engine_parse_expose(const char *text, GPtrArray *ports, GError **error);
/* "80/tcp" */
char *engine_format_port(const EnginePort *port);

/* "source:target[:ro,rw,idmap]"; a relative source that starts with a dot is taken from our directory. */
bool engine_parse_volume(const char *text, GPtrArray *binds, GError **error);

/* "64m", "1g", "1048576"; units b k m g t, with or without a final b; binary. */
bool engine_parse_memory(const char *text, int64_t *out_bytes, GError **error);

/* "bridge", "none", "host"; NULL and "default": bridge. */
bool engine_parse_network(const char *text, EngineNetwork *out_network, GError **error);
const char *engine_network_name(EngineNetwork network);

/* "net_admin" -> "CAP_NET_ADMIN"; "all" -> "ALL". ERROR_INVALID for what the kernel doesn't have. */
char *engine_parse_capability(const char *text, GError **error);

/* K=V into `env` (char *, owned), replacing an older K. A bare K takes our environment's value or nothing. */
bool engine_env_set(GPtrArray *env, const char *text, GError **error);
/* One per line; blank lines and lines that start with # are skipped. */
bool engine_env_load(GPtrArray *env, const char *path, GError **error);
