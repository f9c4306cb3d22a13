/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the files of a container are (the layout is in engine.h). */
#pragma once

#include "engine/engine.h"

typedef struct {
    char *id;
    bool fleeting; /* made with --rm: nothing is synced, nothing survives a reboot */
    char *run;     /* ATOMIC_RUN/containers/ID */
    char *keep;    /* ATOMIC_ROOT/containers/ID; fleeting: ATOMIC_ROOT/volatile/ID */
    char *config;  /* config.json, in `keep`; fleeting: in `run` */
} EngineDirs;

void engine_dirs_init(EngineDirs *dirs, const Engine *engine, const char *id, bool fleeting);
void engine_dirs_clear(EngineDirs *dirs);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(EngineDirs, engine_dirs_clear)

/* Both directories, mode 0700. */
bool engine_dirs_create(const EngineDirs *dirs, GError **error);
/* The directories that hold a container of this id, config.json written or not; false: none does. */
bool engine_dirs_find(const Engine *engine, const char *id, EngineDirs *out_dirs);
/* Ids (char *, owned) of all containers. */
GPtrArray *engine_dirs_list(const Engine *engine, GError **error);

char *engine_dirs_run_file(const EngineDirs *dirs, const char *name);
char *engine_dirs_keep_file(const EngineDirs *dirs, const char *name);

/* The flock of a container; closed = released. ERROR_BUSY when somebody else holds it: after ten seconds with
 * `wait`, else at once. */
int engine_dirs_lock(const EngineDirs *dirs, bool wait, GError **error);
