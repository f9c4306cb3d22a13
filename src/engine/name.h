/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ids and names of containers. */
#pragma once

#include "engine/engine.h"

enum {
    ENGINE_ID_LENGTH = 64,
    ENGINE_SHORT_ID_LENGTH = 12,
};

/* 64 random hex digits. */
char *engine_id_new(void);
bool engine_id_is_full(const char *text);
bool engine_id_is_prefix(const char *text); /* 1 to 64 hex digits */

/* "quiet_harbor" */
char *engine_name_random(void);
/* Docker's rule: at least two characters, [a-zA-Z0-9][a-zA-Z0-9_.-]+; a leading '/' is dropped.
 * Newly allocated. */
char *engine_name_check(const char *text, GError **error);

/* The name belongs to this id from now on. The container's directory must exist already: a name whose
 * container has no directory is a left-over and is taken over. ERROR_EXISTS names the holder. */
bool engine_name_take(Engine *engine, const char *name, const char *id, GError **error);
/* Only when it is this container's. */
void engine_name_release(Engine *engine, const char *name, const char *id);
/* The id, or NULL when nobody has the name. */
char *engine_name_lookup(Engine *engine, const char *name);
