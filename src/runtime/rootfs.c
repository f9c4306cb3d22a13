/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The container's tree, put together by the child while it is still the host's root.
 *
 * Every mount is made detached (fsopen, open_tree) and attached to a target that was looked up
 * inside the root with openat2(RESOLVE_IN_ROOT): an image whose /proc is a link to ../../etc gets
 * its proc inside, never the host's /etc.
 *
 * fsuid and fsgid are those of the container's root meanwhile, with the capabilities raised again:
 * what has to be made in the writable layer (mount points) then has an owner that the idmapped
 * layer can store.
 *
 * The root is attached over "/", which changes nothing for a process whose root is below it:
 * "/proc/…" still means the host's until pivot_root.
 */
#include "runtime/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* ---- looking up and making targets */

#define LINKS_MAX 40 /* as the kernel's limit */

static int open_inside(int root_fd, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    int fd;
    /* EAGAIN: something was renamed or mounted anywhere on the machine while a ".." was walked; openat2(2) says try again */
    do
        fd = (int)syscall(SYS_openat2, root_fd, *path ? path : ".", &how, sizeof how);
    while (fd < 0 && errno == EAGAIN);
    return fd;
}

/* One directory or file; *out_is_link when a link that leads nowhere has the name. */
static int make_one(int root_fd, char *path, bool directory, bool *out_is_link)
{
    char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (slash)
        *slash = '\0';
    _autofd int parent = open_inside(root_fd, slash ? path : ".", O_PATH | O_DIRECTORY);
    if (slash)
        *slash = '/';
    int made = parent < 0  ? -1
               : directory ? mkdirat(parent, name, 0755)
                           : mknodat(parent, name, S_IFREG | 0644, 0);
    struct stat st;
    *out_is_link = made < 0 && errno == EEXIST &&
                   fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
    return made < 0 && errno != EEXIST ? -1 : 0;
}

/* Puts the target of the link that ends before path[at] in its place. */
static int follow_link(int root_fd, char path[PATH_MAX], size_t at)
{
    char rest[PATH_MAX], target[PATH_MAX];
    memcpy(rest, path + at, strlen(path + at) + 1);
    path[at] = '\0';
    _autofd int link = open_inside(root_fd, path, O_PATH | O_NOFOLLOW);
    ssize_t n = link < 0 ? -1 : readlinkat(link, "", target, sizeof target - 1);
    if (n < 0)
        return -1;
    target[n] = '\0';
    char *slash = strrchr(path, '/');
    size_t dir = target[0] == '/' || !slash ? 0 : (size_t)(slash + 1 - path);
    int written = snprintf(path + dir, PATH_MAX - dir, "%s%s", target, rest);
    errno = ENAMETOOLONG;
    return (size_t)written < PATH_MAX - dir ? 0 : -1;
}

/* mkdir -p inside, or the last component as an empty file. Where an image has a link to what only a
 * running system has (/etc/resolv.conf), that is made. */
static int make_target(int root_fd, const char *target, bool directory, SysError *error)
{
    char path[PATH_MAX];
    size_t length = strlen(target);
    if (length >= sizeof path)
        return sys_fail(error, ENAMETOOLONG, "mount target '%.100s…' is too long", target);
    memcpy(path, target, length + 1);
    while (length > 1 && path[length - 1] == '/')
        path[--length] = '\0';
    int links = 0;
    for (size_t i = 1; i <= strlen(path); i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        char saved = path[i];
        path[i] = '\0';
        bool is_link = false;
        _autofd int there = open_inside(root_fd, path, O_PATH);
        if (there < 0 && errno == ENOENT &&
            make_one(root_fd, path, saved || directory, &is_link) < 0)
            return sys_fail_errno(error, "cannot make the mount point '%s' in the container", path);
        path[i] = saved;
        if (!is_link)
            continue;
        if (++links > LINKS_MAX || follow_link(root_fd, path, i) < 0)
            return sys_fail(error, ELOOP, "cannot follow the links of '%.100s' in the container",
                            target);
        i = 0;
    }
    return 0;
}

static int open_target(int root_fd, const char *target, bool directory, SysError *error)
{
    int flags = O_PATH | (directory ? O_DIRECTORY : 0);
    int fd = open_inside(root_fd, target, flags);
    if (fd < 0 && errno == ENOENT) {
        if (make_target(root_fd, target, directory, error) < 0)
            return -1;
        fd = open_inside(root_fd, target, flags);
    }
    return fd < 0
               ? sys_fail_errno(error, "cannot open the mount point '%s' in the container", target)
               : fd;
}

static int move_onto(int mount_fd, int target_fd)
{
    return move_mount(mount_fd, "", target_fd, "",
                      MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

int rootfs_attach(int root_fd, int mount_fd, const char *target, bool directory, SysError *error)
{
    _autofd int target_fd = open_target(root_fd, target, directory, error);
    if (target_fd < 0)
        return -1;
    return move_onto(mount_fd, target_fd) < 0
               ? sys_fail_errno(error, "cannot mount on '%s' in the container", target)
               : 0;
}

/* ---- making mounts */

int rootfs_new_mount(const char *type, const char *const *options, uint64_t attributes,
                     SysError *error)
{
    _autofd int fs = fsopen(type, FSOPEN_CLOEXEC);
    if (fs < 0)
        return sys_fail_errno(error, "cannot open the filesystem type '%s'", type);
    if (fsconfig(fs, FSCONFIG_SET_STRING, "source", type, 0) < 0)
        return sys_fail_errno(error, "cannot name the filesystem '%s'", type);
    for (; options && *options; options += 2) {
        unsigned command = options[1] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
        if (fsconfig(fs, command, options[0], options[1], 0) < 0)
            return sys_fail_errno(error, "cannot set the option '%s' of %s", options[0], type);
    }
    if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return sys_fail_errno(error, "cannot make the filesystem '%s'", type);
    int fd = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)attributes);
    return fd < 0 ? sys_fail_errno(error, "cannot mount '%s'", type) : fd;
}

static int mount_new(int root_fd, const char *type, const char *target, uint64_t attributes,
                     const char *const *options, SysError *error)
{
    _autofd int fd = rootfs_new_mount(type, options, attributes, error);
    if (fd < 0)
        return -1;
    return rootfs_attach(root_fd, fd, target, true, error);
}

static int mount_tmpfs(int root_fd, const RuntimeTmpfs *tmpfs, SysError *error)
{
    char size[32], mode[16];
    snprintf(size, sizeof size, "%llu", (unsigned long long)tmpfs->size);
    snprintf(mode, sizeof mode, "%o", tmpfs->mode ? tmpfs->mode & 07777 : 01777u);
    const char *options[] = {"mode", mode, tmpfs->size ? "size" : NULL, size, NULL};
    uint64_t attributes =
        MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (tmpfs->noexec ? MOUNT_ATTR_NOEXEC : 0);
    return mount_new(root_fd, "tmpfs", tmpfs->target, attributes, options, error);
}

static int mount_kernel_filesystems(const RuntimeSpec *spec, SysError *error)
{
    const uint64_t plain = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    const uint64_t sys = plain | (spec->unmasked ? 0 : MOUNT_ATTR_RDONLY);
    if (mount_new(spec->root_fd, "proc", "/proc", plain, NULL, error) < 0 ||
        mount_new(spec->root_fd, "sysfs", "/sys", sys, NULL, error) < 0)
        return -1;
    if (strcmp(runtime_cgroup_version(), "v2") != 0)
        return 0;
    /* below the cgroup namespace, so the container sees its own limits at the root */
    return mount_new(spec->root_fd, "cgroup2", "/sys/fs/cgroup", sys, NULL, error);
}

static int attach_binds(const StartPlan *plan, SysError *error)
{
    const RuntimeSpec *spec = plan->spec;
    for (size_t i = 0; i < spec->n_binds; i++) {
        struct stat st;
        if (fstat(plan->bind_fds[i], &st) < 0)
            return sys_fail_errno(error, "cannot stat the source of '%s'", spec->binds[i].target);
        if (rootfs_attach(spec->root_fd, plan->bind_fds[i], spec->binds[i].target,
                          S_ISDIR(st.st_mode), error) < 0)
            return -1;
    }
    return 0;
}

/* ---- masks */

static const char *const masked[] = {
    "/proc/acpi",       "/proc/asound",        "/proc/interrupts",  "/proc/kcore",
    "/proc/keys",       "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
    "/proc/timer_list", "/proc/timer_stats",   "/sys/firmware",     "/sys/devices/virtual/powercap",
};

static const char *const read_only[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

/* Covers a path with an empty read-only directory or with /dev/null; absent: nothing to hide.
 * *empty_fd is the first such directory, of which the others are clones. */
static int mask_path(const StartPlan *plan, const char *path, int *empty_fd, SysError *error)
{
    _autofd int target = open_inside(plan->spec->root_fd, path, O_PATH);
    if (target < 0)
        return errno == ENOENT ? 0 : sys_fail_errno(error, "cannot open '%s' to hide it", path);
    struct stat st;
    if (fstat(target, &st) < 0)
        return sys_fail_errno(error, "cannot stat '%s'", path);
    _autofd int cover = -1;
    if (!S_ISDIR(st.st_mode)) {
        cover = open_tree(plan->null_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    } else if (*empty_fd >= 0) {
        cover = open_tree(*empty_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    } else {
        static const char *const options[] = {"mode", "555", "size", "4096", NULL};
        cover = rootfs_new_mount(
            "tmpfs", options,
            MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, error);
        if (cover < 0)
            return -1;
    }
    if (cover < 0 || move_onto(cover, target) < 0)
        return sys_fail_errno(error, "cannot hide '%s'", path);
    if (S_ISDIR(st.st_mode) && *empty_fd < 0)
        *empty_fd = fd_steal(&cover);
    return 0;
}

/* Each CPU's counters tell of the neighbours' load. Hosts either have them for all or for none. */
static int mask_thermal(const StartPlan *plan, int *empty_fd, SysError *error)
{
    for (unsigned cpu = 0;; cpu++) {
        char path[80];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/thermal_throttle", cpu);
        _autofd int there = open_inside(plan->spec->root_fd, path, O_PATH);
        if (there < 0)
            return 0;
        if (mask_path(plan, path, empty_fd, error) < 0)
            return -1;
    }
}

static int make_read_only(const StartPlan *plan, const char *path, SysError *error)
{
    _autofd int target = open_inside(plan->spec->root_fd, path, O_PATH);
    if (target < 0)
        return errno == ENOENT ? 0 : sys_fail_errno(error, "cannot open '%s' to protect it", path);
    _autofd int clone =
        open_tree(target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    if (clone < 0 ||
        mount_setattr(clone, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) < 0 ||
        move_onto(clone, target) < 0)
        return sys_fail_errno(error, "cannot make '%s' read-only", path);
    return 0;
}

static int hide_host(const StartPlan *plan, SysError *error)
{
    _autofd int empty_fd = -1;
    for (size_t i = 0; i < ARRAY_SIZE(masked); i++)
        if (mask_path(plan, masked[i], &empty_fd, error) < 0)
            return -1;
    if (mask_thermal(plan, &empty_fd, error) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_SIZE(read_only); i++)
        if (make_read_only(plan, read_only[i], error) < 0)
            return -1;
    return 0;
}

/* ---- the whole */

/* A device node in an image or a layer must not open the host's device. */
static int attach_root(const RuntimeSpec *spec, SysError *error)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_NODEV};
    if (mount_setattr(spec->root_fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) < 0)
        return sys_fail_errno(error, "cannot set flags on the container's root");
    if (move_mount(spec->root_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return sys_fail_errno(error, "cannot attach the container's root");
    return 0;
}

int rootfs_build(StartPlan *plan, SysError *error)
{
    const RuntimeSpec *spec = plan->spec;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return sys_fail_errno(error, "cannot make the mounts private");
    if (attach_root(spec, error) < 0)
        return -1;
    umask(0);
    setfsgid(spec->id_base);
    setfsuid(spec->id_base);
    if (command_raise_caps(error) < 0)
        return -1;
    if (mount_kernel_filesystems(spec, error) < 0 || dev_build(plan, error) < 0)
        return -1;
    for (size_t i = 0; i < spec->n_tmpfs; i++)
        if (mount_tmpfs(spec->root_fd, &spec->tmpfs[i], error) < 0)
            return -1;
    if (attach_binds(plan, error) < 0)
        return -1;
    if (!spec->unmasked && hide_host(plan, error) < 0)
        return -1;
    setfsuid(0);
    setfsgid(0);
    umask(022);
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    if (spec->root_readonly &&
        mount_setattr(spec->root_fd, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
        return sys_fail_errno(error, "cannot make the container's root read-only");
    return command_raise_caps(error);
}

int rootfs_pivot(const StartPlan *plan, SysError *error)
{
    if (fchdir(plan->spec->root_fd) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
        return sys_fail_errno(error, "cannot change to the container's root");
    /* "." is now the old root, which lies over the new one */
    if (umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
        return sys_fail_errno(error, "cannot leave the host's root");
    return 0;
}
