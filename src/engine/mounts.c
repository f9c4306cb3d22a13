/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: the container's root is a host id that owns nothing on the host, so a plain bind would show
 * files of nobody. The bind is idmapped instead: the owner of the source (user and group) appears as container root,
 * and what container root writes belongs to that owner. Nobody else's id is mapped: with them container
 * root could act as any user of the host on the files below. `:idmap` maps all ids unshifted, by wish.
 * On a filesystem that can't be idmapped the bind is plain: readable and writable as for a stranger. */
#include "engine/mounts.h"

#include "base/file.h"

#include <errno.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { IDS = 65536 }; /* of a container's range */

static int open_userns(const EngineBind *bind, const struct stat *source, uint32_t id_base,
                       GError **error)
{
    char uid_map[64], gid_map[64];
    if (bind->identity) {
        snprintf(uid_map, sizeof uid_map, "0 %u %u\n", id_base, (unsigned)IDS);
        snprintf(gid_map, sizeof gid_map, "0 %u %u\n", id_base, (unsigned)IDS);
    } else {
        snprintf(uid_map, sizeof uid_map, "%u %u 1\n", source->st_uid, id_base);
        snprintf(gid_map, sizeof gid_map, "%u %u 1\n", source->st_gid, id_base);
    }
    SysError failed;
    int fd = runtime_userns_create(uid_map, gid_map, &failed);
    if (fd < 0)
        error_from_sys(error, &failed);
    return fd;
}

static bool is_below(const char *path, const char *directory)
{
    size_t size = strlen(directory);
    return strncmp(path, directory, size) == 0 && (path[size] == '/' || path[size] == '\0');
}

bool engine_bind_check(Engine *engine, Store *store, const EngineBind *bind, const char *path,
                       GError **error)
{
    const char *ours[] = {engine_root(engine), engine_run(engine), store_path(store)};
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
        g_autofree char *resolved = realpath(ours[i], NULL);
        const char *mine = resolved ? resolved : ours[i];
        if (is_below(path, mine) || is_below(mine, path) || strcmp(path, "/") == 0)
            return error_throw(error, ERROR_PERMISSION,
                               "cannot bind '%s': it holds the state of this engine ('%s')",
                               bind->source, ours[i]);
    }
    return true;
}

/* Checked again at every start, on what was opened: a link may point elsewhere since the create. */
static int open_source(Engine *engine, Store *store, const EngineBind *bind, GError **error)
{
    _autofd int fd = open(bind->source, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return error_throw_errno_fd(error, "cannot bind '%s'", bind->source);
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    g_autofree char *path = file_readlink_at(AT_FDCWD, link, error);
    if (!path || !engine_bind_check(engine, store, bind, path, error))
        return -1;
    return fd_steal(&fd);
}

static bool open_bind(Engine *engine, Store *store, const EngineBind *bind, uint32_t id_base,
                      RuntimeBind *out, GError **error)
{
    _autofd int source = open_source(engine, store, bind, error);
    if (source < 0)
        return false;
    _autofd int tree =
        (int)syscall(SYS_open_tree, source, "",
                     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    struct stat st;
    if (tree < 0 || fstat(tree, &st) < 0)
        return error_throw_errno(error, "cannot bind '%s'", bind->source);
    if (id_base) {
        _autofd int userns = open_userns(bind, &st, id_base, error);
        if (userns < 0)
            return false;
        struct mount_attr attributes = {.attr_set = MOUNT_ATTR_IDMAP,
                                        .userns_fd = (uint64_t)userns};
        if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
                    sizeof attributes) < 0 &&
            errno != EINVAL && errno != EOPNOTSUPP && errno != EPERM)
            return error_throw_errno(error, "cannot map the owners of '%s'", bind->source);
    }
    *out = (RuntimeBind){
        .fd = fd_steal(&tree),
        .detached = true,
        .target = bind->target,
        .readonly = bind->read_only,
        .idmap_fd = -1,
    };
    return true;
}

bool engine_binds_open(Engine *engine, Store *store, const EngineConfig *config, uint32_t id_base,
                       RuntimeBind *out, GError **error)
{
    for (guint i = 0; i < config->binds->len; i++)
        if (!open_bind(engine, store, config->binds->pdata[i], id_base, &out[i], error))
            return false;
    return true;
}
