/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic store mount` and `unmount`. */
#include "cli/store_verbs.h"

#include "base/file.h"

#include <errno.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

/* An image's device nodes and setuid files are those of some other machine: never usable on this one. */
static bool attach(int mount_fd, const char *dir, GError **error)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
    if (syscall(SYS_mount_setattr, mount_fd, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0)
        return error_throw_errno(error, "cannot set up the mount");
    if (syscall(SYS_move_mount, mount_fd, "", AT_FDCWD, dir, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return error_throw_errno(error, "cannot mount on '%s'", dir);
    return true;
}

int cli_store_mount(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 2, 2, false, error))
        return 1;
    g_autoptr(Store) store = cli_store_open(&common, error);
    Digest image;
    if (!store || !store_resolve_image(store, argv[1], &image, error))
        return 1;
    _autofd int mounted = store_mount_image(store, &image, NULL, error);
    return mounted >= 0 && attach(mounted, argv[2], error) ? 0 : 1;
}

int cli_store_unmount(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 1, 1, false, error))
        return 1;
    if (umount2(argv[1], UMOUNT_NOFOLLOW) == 0)
        return 0;
    if (errno == EINVAL)
        error_throw(error, ERROR_INVALID, "cannot unmount '%s': nothing is mounted there", argv[1]);
    else
        error_throw_errno(error, "cannot unmount '%s'", argv[1]);
    return 1;
}
