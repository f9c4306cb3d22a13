/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What containers made with --rm leave when the machine goes down under them. */
#include "engine/create.h"

#include "base/file.h"
#include "engine/name.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

static void sweep_volatile(Engine *engine)
{
    g_autofree char *path = g_build_filename(engine_root(engine), "volatile", NULL);
    _autodir DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        g_auto(EngineDirs) dirs = {0};
        if (!engine_id_is_full(entry->d_name))
            continue;
        engine_dirs_init(&dirs, engine, entry->d_name, true);
        if (access(dirs.run, F_OK) < 0 && errno == ENOENT)
            engine_container_discard(engine, &dirs, NULL);
    }
}

void engine_sweep_fleeting(Engine *engine)
{
    /* the run directory is empty after a boot: without the mark nobody has swept yet */
    g_autofree char *mark = g_build_filename(engine_run(engine), "swept", NULL);
    if (access(mark, F_OK) == 0)
        return;
    sweep_volatile(engine);
    if (file_ensure_dir_at(AT_FDCWD, engine_run(engine), 0700, NULL))
        file_replace_at(AT_FDCWD, mark, "", 0, 0600, 0, NULL);
}
