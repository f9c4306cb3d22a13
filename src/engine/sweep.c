/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a machine that goes down leaves: layers of containers made with --rm, and containers that were being made. */
#include "engine/create.h"

#include "base/file.h"
#include "engine/name.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

/* Somebody who is making or running it has its run directory, which is made first. */
static bool is_abandoned(const EngineDirs *dirs)
{
    bool running = access(dirs->run, F_OK) == 0 || errno != ENOENT;
    return !running && (dirs->fleeting || (access(dirs->config, F_OK) < 0 && errno == ENOENT));
}

static void sweep(Engine *engine, bool fleeting)
{
    g_autofree char *path =
        g_build_filename(engine_root(engine), fleeting ? "volatile" : "containers", NULL);
    _autodir DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        g_auto(EngineDirs) dirs = {0};
        if (!engine_id_is_full(entry->d_name))
            continue;
        engine_dirs_init(&dirs, engine, entry->d_name, fleeting);
        if (is_abandoned(&dirs))
            engine_container_discard(engine, &dirs, NULL);
    }
}

void engine_sweep(Engine *engine)
{
    /* the run directory is empty after a boot: without the mark nobody has swept yet */
    g_autofree char *mark = g_build_filename(engine_run(engine), "swept", NULL);
    if (access(mark, F_OK) == 0)
        return;
    sweep(engine, true);
    sweep(engine, false);
    if (file_ensure_dir_at(AT_FDCWD, engine_run(engine), 0700, NULL))
        file_replace_at(AT_FDCWD, mark, "", 0, 0600, 0, NULL);
}
