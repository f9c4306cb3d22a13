/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files of a container: config.json and state.json, as structures and back. */
#pragma once

#include "engine/dirs.h"

void engine_config_clear(EngineConfig *config);
void engine_state_clear(EngineState *state);

/* NULL with ERROR_INVALID when a string is not UTF-8 (JSON can't hold it). */
json_t *engine_config_to_json(const EngineConfig *config, GError **error);
/* ERROR_CORRUPT names the member. `config` is zeroed or filled. */
bool engine_config_from_json(json_t *json, EngineConfig *config, GError **error);
json_t *engine_state_to_json(const EngineState *state);
bool engine_state_from_json(json_t *json, EngineState *state, GError **error);

bool engine_record_write(const char *path, json_t *json, bool durable, GError **error);
/* NULL with ERROR_NOT_FOUND, ERROR_CORRUPT. */
json_t *engine_record_read(const char *path, GError **error);
