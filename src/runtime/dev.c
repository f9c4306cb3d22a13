/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The container's /dev: a tmpfs of our own, the only mount in the tree that isn't nodev. */
#include "runtime/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define TTY_GROUP 5 /* Debian's and everybody's; in devpts and of the slave */

static const struct {
    const char *name;
    unsigned major, minor;
} nodes[] = {
    {"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
    {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};

static const struct {
    const char *name, *target;
} links[] = {
    {"ptmx", "pts/ptmx"},          {"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"},
    {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"}, {"core", "/proc/kcore"},
};

static int make_nodes(int dev_fd, SysError *error)
{
    for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
        if (mknodat(dev_fd, nodes[i].name, S_IFCHR | 0666,
                    makedev(nodes[i].major, nodes[i].minor)) < 0)
            return sys_fail_errno(error, "cannot make '/dev/%s' for the container", nodes[i].name);
    for (size_t i = 0; i < ARRAY_SIZE(links); i++)
        if (symlinkat(links[i].target, dev_fd, links[i].name) < 0)
            return sys_fail_errno(error, "cannot make '/dev/%s' for the container", links[i].name);
    static const char *const directories[] = {"pts", "shm", "mqueue"};
    for (size_t i = 0; i < ARRAY_SIZE(directories); i++)
        if (mkdirat(dev_fd, directories[i], 0755) < 0)
            return sys_fail_errno(error, "cannot make '/dev/%s' for the container", directories[i]);
    return 0;
}

int dev_open_terminal(int pts_fd, const RuntimeCommand *command, uint32_t id_base, int sync_fd,
                      SysError *error)
{
    _autofd int master = openat(pts_fd, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW);
    int unlock = 0;
    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
        return sys_fail_errno(error, "cannot open a terminal");
    _autofd int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0)
        return sys_fail_errno(error, "cannot open the other end of the terminal");
    struct winsize size = {.ws_row = command->rows ? command->rows : 24,
                           .ws_col = command->columns ? command->columns : 80};
    if (ioctl(master, TIOCSWINSZ, &size) < 0)
        return sys_fail_errno(error, "cannot set the size of the terminal");
    if (fchown(slave, id_base + command->uid, id_base + TTY_GROUP) < 0)
        return sys_fail_errno(error, "cannot give the terminal to uid %u", command->uid);
    if (sync_send_terminal(sync_fd, master, error) < 0)
        return -1;
    return fd_steal(&slave);
}

/* /dev/console is the terminal itself, as a file over a file. */
static int attach_console(int dev_fd, int slave_fd, SysError *error)
{
    _autofd int file = openat(dev_fd, "console", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    _autofd int clone =
        file < 0 ? -1
                 : open_tree(slave_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (clone < 0 || move_mount(clone, "", dev_fd, "console", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return sys_fail_errno(error, "cannot make '/dev/console' for the container");
    return 0;
}

static int mount_pts(StartPlan *plan, int dev_fd, SysError *error)
{
    const RuntimeSpec *spec = plan->spec;
    char group[16];
    snprintf(group, sizeof group, "%u", spec->id_base + TTY_GROUP);
    const char *options[] = {"newinstance", NULL,  "ptmxmode", "0666", "mode",
                             "0620",        "gid", group,      NULL};
    _autofd int pts =
        rootfs_new_mount("devpts", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, error);
    if (pts < 0)
        return -1;
    /* the kernel makes these two as the mounter's root, which inside would be nobody */
    if (fchownat(pts, "ptmx", spec->id_base, spec->id_base, 0) < 0 ||
        fchownat(pts, "", spec->id_base, spec->id_base, AT_EMPTY_PATH) < 0)
        return sys_fail_errno(error, "cannot give '/dev/pts' to the container");
    if (move_mount(pts, "", dev_fd, "pts", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return sys_fail_errno(error, "cannot mount '/dev/pts' for the container");
    if (!spec->command.terminal)
        return 0;
    plan->slave_fd = dev_open_terminal(pts, &spec->command, spec->id_base, plan->sync_fd, error);
    if (plan->slave_fd < 0)
        return -1;
    return attach_console(dev_fd, plan->slave_fd, error);
}

static int mount_below(int dev_fd, const char *name, const char *type, const char *const *options,
                       uint32_t owner, SysError *error)
{
    _autofd int fd = rootfs_new_mount(
        type, options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, error);
    if (fd < 0)
        return -1;
    /* mqueue was made with the IPC namespace, by its creator */
    if (fchownat(fd, "", owner, owner, AT_EMPTY_PATH) < 0)
        return sys_fail_errno(error, "cannot give '/dev/%s' to the container", name);
    if (move_mount(fd, "", dev_fd, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return sys_fail_errno(error, "cannot mount '/dev/%s' for the container", name);
    return 0;
}

int dev_build(StartPlan *plan, SysError *error)
{
    const RuntimeSpec *spec = plan->spec;
    static const char *const options[] = {"mode", "755", "size", "64m", NULL};
    _autofd int dev =
        rootfs_new_mount("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME, error);
    if (dev < 0 || make_nodes(dev, error) < 0 ||
        rootfs_attach(spec->root_fd, dev, "/dev", true, error) < 0)
        return -1;
    if (mount_pts(plan, dev, error) < 0)
        return -1;
    char size[32];
    uint64_t bytes = spec->shm_size ? spec->shm_size : 64u << 20;
    snprintf(size, sizeof size, "%llu", (unsigned long long)bytes);
    const char *shm[] = {"mode", "1777", "size", size, NULL};
    if (mount_below(dev, "shm", "tmpfs", shm, spec->id_base, error) < 0 ||
        mount_below(dev, "mqueue", "mqueue", NULL, spec->id_base, error) < 0)
        return -1;
    plan->null_fd = openat(dev, "null", O_RDWR | O_CLOEXEC);
    return plan->null_fd < 0 ? sys_fail_errno(error, "cannot open '/dev/null' of the container")
                             : 0;
}
