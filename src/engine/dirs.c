/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/dirs.h"

#include "base/file.h"
#include "engine/name.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

void engine_dirs_init(EngineDirs *dirs, const Engine *engine, const char *id, bool fleeting)
{
    dirs->id = g_strdup(id);
    dirs->fleeting = fleeting;
    dirs->run = g_build_filename(engine_run(engine), "containers", id, NULL);
    dirs->keep =
        g_build_filename(engine_root(engine), fleeting ? "volatile" : "containers", id, NULL);
    dirs->config = g_build_filename(fleeting ? dirs->run : dirs->keep, "config.json", NULL);
}

void engine_dirs_clear(EngineDirs *dirs)
{
    g_free(dirs->id);
    g_free(dirs->run);
    g_free(dirs->keep);
    g_free(dirs->config);
    memset(dirs, 0, sizeof *dirs);
}

bool engine_dirs_create(const EngineDirs *dirs, GError **error)
{
    if (geteuid() != 0)
        return error_throw(error, ERROR_PERMISSION,
                           "cannot create a container: this needs root\nhint: use sudo");
    /* in this order: a layer without a run directory is what a reboot left (sweep.c) */
    return file_ensure_dir_at(AT_FDCWD, dirs->run, 0700, error) &&
           file_ensure_dir_at(AT_FDCWD, dirs->keep, 0700, error);
}

bool engine_dirs_find(const Engine *engine, const char *id, EngineDirs *out_dirs)
{
    g_auto(EngineDirs) dirs = {0};
    engine_dirs_init(&dirs, engine, id, false);
    if (access(dirs.keep, F_OK) < 0) {
        engine_dirs_clear(&dirs);
        engine_dirs_init(&dirs, engine, id, true);
        if (access(dirs.run, F_OK) < 0)
            return false;
    }
    *out_dirs = dirs;
    memset(&dirs, 0, sizeof dirs);
    return true;
}

static bool list_into(GHashTable *ids, const char *base, GError **error)
{
    g_autofree char *path = g_build_filename(base, "containers", NULL);
    _autodir DIR *dir = opendir(path);
    if (!dir && errno == EACCES)
        return error_throw(error, ERROR_PERMISSION,
                           "cannot list '%s': permission denied\n"
                           "hint: containers belong to root; try it as root",
                           path);
    if (!dir)
        return errno == ENOENT || error_throw_errno(error, "cannot list '%s'", path);
    struct dirent *entry;
    while ((entry = readdir(dir)))
        if (engine_id_is_full(entry->d_name))
            g_hash_table_add(ids, g_strdup(entry->d_name));
    return true;
}

GPtrArray *engine_dirs_list(const Engine *engine, GError **error)
{
    g_autoptr(GHashTable) ids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    if (!list_into(ids, engine_root(engine), error) || !list_into(ids, engine_run(engine), error))
        return NULL;
    GPtrArray *list = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    gpointer id;
    g_hash_table_iter_init(&iter, ids);
    while (g_hash_table_iter_next(&iter, &id, NULL)) {
        g_hash_table_iter_steal(&iter);
        g_ptr_array_add(list, id);
    }
    return list;
}

char *engine_dirs_run_file(const EngineDirs *dirs, const char *name)
{
    return g_build_filename(dirs->run, name, NULL);
}

char *engine_dirs_keep_file(const EngineDirs *dirs, const char *name)
{
    return g_build_filename(dirs->keep, name, NULL);
}

int engine_dirs_lock(const EngineDirs *dirs, bool wait, GError **error)
{
    enum { STEP_US = 10 * 1000, STEPS = 1000 };
    /* the run directory is gone after a reboot */
    if (!file_ensure_dir_at(AT_FDCWD, dirs->run, 0700, error))
        return -1;
    g_autofree char *path = engine_dirs_run_file(dirs, "lock");
    _autofd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_throw_errno_fd(error, "cannot open '%s'", path);
    for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return error_throw_errno_fd(error, "cannot lock '%s'", path);
        if (!wait || i == STEPS)
            return error_throw_fd(error, ERROR_BUSY,
                                  "container %.12s is being changed by another process", dirs->id);
        g_usleep(STEP_US);
    }
    /* who held the lock may have removed the container */
    if (access(dirs->config, F_OK) < 0) {
        unlink(path);
        rmdir(dirs->run);
        return error_throw_fd(error, ERROR_NOT_FOUND, "no such container: %.12s", dirs->id);
    }
    return fd_steal(&fd);
}
