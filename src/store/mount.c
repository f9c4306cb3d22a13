/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: everything is made as detached mounts through the new mount interface: EROFS straight from the image
 * file (Linux 6.12), over it one overlay with objects/ as its data-only layer (6.5) and, when asked for, an upper.
 * No path is ever mounted, so nothing has to be undone when a process is killed. (Layers that are attached nowhere need
 * 6.15; before it a child attaches them in a mount namespace that ends with it.)
 *
 * With a user namespace the layers are idmapped, not the overlay (which can't be). overlayfs then acts on the upper
 * as whoever made the mount: that must be the mapped root, or it can't make its work directory and silently
 * becomes read-only. So the thread's fsuid and fsgid are those of the mapped root for the time of the mount, with
 * the capabilities that setfsuid() takes away raised again, and without CAP_SYS_RESOURCE, which would let the
 * container's writes ignore quotas.
 */
#include "store/layout.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/loop.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COMPOSEFS_HEADER_SIZE = 32 };
static const uint8_t composefs_magic[4] = {0x9a, 0x62, 0x78, 0xd0};

static int sys_fsopen(const char *type)
{
    return (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
}

static int sys_fsconfig(int fd, unsigned command, const char *key, const void *value, int aux)
{
    return (int)syscall(SYS_fsconfig, fd, command, key, value, aux);
}

static int sys_fsmount(int fd, unsigned attributes)
{
    return (int)syscall(SYS_fsmount, fd, FSMOUNT_CLOEXEC, attributes);
}

/* What the kernel says about a failed mount: its log of the context, without the "e " in front. */
static bool throw_mount(GError **error, int context, const char *what)
{
    int number = errno;
    char text[512];
    ssize_t n = read(context, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    errno = number;
    if (number == EPERM || number == EACCES)
        return error_throw(
            error, ERROR_PERMISSION,
            "cannot mount %s: %s\nhint: this needs root (CAP_SYS_ADMIN): an image can't be "
            "mounted in a user namespace; 'atomic store export IMAGE --dir DIR' "
            "copies the files instead",
            what, g_strerror(number));
    return n > 2 ? error_throw_errno(error, "cannot mount %s (%s)", what, g_strchomp(text + 2))
                 : error_throw_errno(error, "cannot mount %s", what);
}

static bool idmap(int mount_fd, int userns_fd, GError **error)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns_fd};
    if (syscall(SYS_mount_setattr, mount_fd, "", AT_EMPTY_PATH, &attributes, sizeof attributes) < 0)
        return error_throw_errno(error, "cannot map the ids of a layer");
    return true;
}

/* --- the image ------------------------------------------------------------------------------------------ */

static int open_image(Store *store, const Digest *image, bool *out_acl, GError **error)
{
    g_autofree char *path = g_strconcat("images/", digest_hex(image).text, NULL);
    _autofd int fd = openat(store->dirfd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return error_throw_fd(error, ERROR_NOT_FOUND, "there is no image '%.12s' in the store",
                              digest_hex(image).text);
    if (fd < 0)
        return error_throw_errno_fd(error, "cannot open image '%.12s'", digest_hex(image).text);
    if (!store_check_seal(store, fd, image, error))
        return -1;
    uint8_t header[COMPOSEFS_HEADER_SIZE];
    if (pread(fd, header, sizeof header, 0) != sizeof header ||
        memcmp(header, composefs_magic, 4) != 0)
        return error_throw_fd(error, ERROR_CORRUPT, "'%.12s' is not a composefs image",
                              digest_hex(image).text);
    *out_acl = header[8] & 1;
    return fd_steal(&fd);
}

/* For kernels that mount EROFS only from block devices. The device goes with its last user. */
static int open_loop(int image_fd, char *out_path, size_t size, GError **error)
{
    _autofd int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0)
        return error_throw_errno_fd(error, "cannot open '/dev/loop-control'");
    for (int attempt = 0; attempt < 64; attempt++) { /* others may take the free one first */
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0)
            return error_throw_errno_fd(error, "cannot find a free loop device");
        g_snprintf(out_path, (gulong)size, "/dev/loop%d", number);
        _autofd int loop = open(out_path, O_RDWR | O_CLOEXEC);
        if (loop < 0)
            return error_throw_errno_fd(error, "cannot open '%s'", out_path);
        struct loop_config config = {
            .fd = (uint32_t)image_fd,
            .block_size = 4096,
            .info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
        };
        if (ioctl(loop, LOOP_CONFIGURE, &config) == 0)
            return fd_steal(&loop);
        if (errno != EBUSY)
            return error_throw_errno_fd(error, "cannot set up '%s'", out_path);
    }
    return error_throw_fd(error, ERROR_BUSY, "cannot find a free loop device");
}

static int create_erofs(const char *source, bool acl, int *out_context)
{
    int context = *out_context = sys_fsopen("erofs");
    if (context < 0)
        return -1;
    if (sys_fsconfig(context, FSCONFIG_SET_STRING, "source", source, 0) < 0 ||
        sys_fsconfig(context, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
        (!acl && sys_fsconfig(context, FSCONFIG_SET_FLAG, "noacl", NULL, 0) < 0) ||
        sys_fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -1;
    return sys_fsmount(context, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID);
}

/* The image as a mount; *out_root is what its root looks like before ids are mapped. */
static int mount_erofs(Store *store, const Digest *image, struct stat *out_root, GError **error)
{
    bool acl = false;
    _autofd int fd = open_image(store, image, &acl, error);
    if (fd < 0)
        return -1;
    char source[64];
    g_snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
    _autofd int context = -1, loop = -1, loop_context = -1;
    _autofd int mounted = create_erofs(source, acl, &context);
    if (mounted < 0 && errno == ENOTBLK) {
        loop = open_loop(fd, source, sizeof source, error);
        if (loop < 0)
            return -1;
        mounted = create_erofs(source, acl, &loop_context);
    }
    if (mounted < 0 && errno == ENODEV)
        return error_throw_fd(
            error, ERROR_UNSUPPORTED,
            "cannot mount an image: this kernel has no EROFS\nhint: modprobe erofs");
    if (mounted < 0) {
        throw_mount(error, loop_context >= 0 ? loop_context : context, "an image");
        return -1;
    }
    if (out_root && fstat(mounted, out_root) < 0)
        return error_throw_errno_fd(error, "cannot look at the image's root");
    return fd_steal(&mounted);
}

/* --- the writable layer --------------------------------------------------------------------------------- */

typedef struct {
    int tree, upper, work;
} Writable;

static void writable_close(Writable *writable)
{
    sys_fd_closep(&writable->upper);
    sys_fd_closep(&writable->work);
    sys_fd_closep(&writable->tree);
}

/* The root that one sees is the upper's, so a new one looks like the image's. */
static bool make_upper(int dirfd, const struct stat *root, GError **error)
{
    if (mkdirat(dirfd, "upper", 0700) < 0)
        return errno == EEXIST || error_throw_errno(error, "cannot create directory 'upper'");
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, root->st_mtim};
    if (fchownat(dirfd, "upper", root->st_uid, root->st_gid, 0) < 0 ||
        fchmodat(dirfd, "upper", root->st_mode & 07777, 0) < 0 ||
        utimensat(dirfd, "upper", times, 0) < 0)
        return error_throw_errno(error, "cannot set up directory 'upper'");
    return true;
}

static int clone_tree(int fd, const char *what, GError **error)
{
    int tree =
        (int)syscall(SYS_open_tree, fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (tree < 0)
        return error_throw_errno_fd(error, "cannot take %s as a layer", what);
    return tree;
}

static bool open_writable(const StoreMountOptions *options, const struct stat *root, Writable *out,
                          GError **error)
{
    int dirfd = options->writable_fd;
    /* a volatile mount leaves a mark in it that forbids the next one; nothing in it is ever kept */
    if (!file_remove_all_at(dirfd, "work", error))
        return false;
    if (mkdirat(dirfd, "work", 0700) < 0)
        return error_throw_errno(error, "cannot create directory 'work'");
    if (!make_upper(dirfd, root, error))
        return false;
    out->tree = clone_tree(dirfd, "the writable directory", error);
    if (out->tree < 0 || (options->userns_fd >= 0 && !idmap(out->tree, options->userns_fd, error)))
        return false;
    out->upper = file_open_at(out->tree, "upper", O_PATH | O_DIRECTORY | O_NOFOLLOW, error);
    out->work = file_open_at(out->tree, "work", O_PATH | O_DIRECTORY | O_NOFOLLOW, error);
    return out->upper >= 0 && out->work >= 0;
}

/* --- whose mount it is ---------------------------------------------------------------------------------- */

typedef struct {
    bool changed;
    int uid, gid;
    struct __user_cap_data_struct caps[2];
} Credentials;

static bool change_caps(const struct __user_cap_data_struct *caps)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capset, &header, caps) == 0;
}

/* These system calls are the thread's own, unlike what the C library makes of setuid(). */
static bool become(uid_t uid, gid_t gid, Credentials *out_old, GError **error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    if (syscall(SYS_capget, &header, out_old->caps) < 0)
        return error_throw_errno(error, "cannot read the capabilities");
    out_old->gid = (int)syscall(SYS_setfsgid, gid);
    out_old->uid = (int)syscall(SYS_setfsuid, uid);
    out_old->changed = true;
    struct __user_cap_data_struct caps[2] = {out_old->caps[0], out_old->caps[1]};
    caps[CAP_TO_INDEX(CAP_SYS_RESOURCE)].effective &= ~CAP_TO_MASK(CAP_SYS_RESOURCE);
    if (!change_caps(caps))
        return error_throw_errno(error, "cannot change the capabilities");
    return true;
}

static void become_again(Credentials *old)
{
    if (!old->changed)
        return;
    int number = errno;
    syscall(SYS_setfsuid, old->uid);
    syscall(SYS_setfsgid, old->gid);
    if (!change_caps(old->caps))
        g_error("cannot get the capabilities back: %s", g_strerror(errno));
    old->changed = false;
    errno = number;
}

/* --- the overlay ---------------------------------------------------------------------------------------- */

static bool kernel_is_before(int major, int minor)
{
    struct utsname name;
    int own_major = 0, own_minor = 0;
    if (uname(&name) < 0 || sscanf(name.release, "%d.%d", &own_major, &own_minor) != 2)
        return false;
    return own_major < major || (own_major == major && own_minor < minor);
}

static bool add_layer(int context, const char *key, int fd)
{
    if (sys_fsconfig(context, FSCONFIG_SET_FD, key, NULL, fd) == 0)
        return true;
    if (errno != EINVAL && errno != EBADF)
        return false;
    /* before 6.13 layers are given by path */
    char path[64];
    g_snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return sys_fsconfig(context, FSCONFIG_SET_STRING, key, path, 0) == 0;
}

typedef struct {
    int erofs, objects;
    bool is_volatile; /* of the upper */
    bool verity; /* an object without fs-verity or with another digest than the image's is EIO */
} Layers;

static bool configure(int context, const Layers *layers, const Writable *writable)
{
    if (sys_fsconfig(context, FSCONFIG_SET_STRING, "source", "composefs", 0) < 0)
        return false;
    /* before 6.16 overlayfs follows an image's redirects only with both features on; later they are better off: a
     * changed file is then copied up whole, and the upper can be read by itself */
    if (kernel_is_before(6, 16) &&
        (sys_fsconfig(context, FSCONFIG_SET_STRING, "metacopy", "on", 0) < 0 ||
         sys_fsconfig(context, FSCONFIG_SET_STRING, "redirect_dir", "on", 0) < 0))
        return false;
    if (!add_layer(context, "lowerdir+", layers->erofs) ||
        !add_layer(context, "datadir+", layers->objects))
        return false;
    if (layers->verity && sys_fsconfig(context, FSCONFIG_SET_STRING, "verity", "require", 0) < 0)
        return false;
    if (writable->upper >= 0 && (!add_layer(context, "upperdir", writable->upper) ||
                                 !add_layer(context, "workdir", writable->work)))
        return false;
    if (layers->is_volatile && sys_fsconfig(context, FSCONFIG_SET_FLAG, "volatile", NULL, 0) < 0)
        return false;
    return sys_fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0;
}

/* In a child, with system calls only: a mount namespace of its own, in which the layers are attached over "/", on top of
 * one another. Nobody looks them up there, they only have to be somewhere; it all goes with the child. */
static int configure_attached(int context, const Layers *layers, const Writable *writable)
{
    const int trees[] = {layers->erofs, layers->objects, writable->tree};
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return errno;
    for (size_t i = 0; i < ARRAY_SIZE(trees); i++)
        if (trees[i] >= 0 &&
            syscall(SYS_move_mount, trees[i], "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
            return errno;
    return configure(context, layers, writable) ? 0 : errno;
}

/* Before 6.15 overlayfs takes no layer that is attached nowhere. The context is the parent's too. */
static bool configure_in_child(int context, const Layers *layers, const Writable *writable)
{
    pid_t child = fork();
    if (child == 0)
        _exit(configure_attached(context, layers, writable));
    int status;
    while (child > 0 && waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    if (child > 0)
        errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
    return child > 0 && errno == 0;
}

static int mount_overlay(const Layers *layers, const Writable *writable, GError **error)
{
    _autofd int context = sys_fsopen("overlay");
    if (context < 0 && errno == ENODEV)
        return error_throw_fd(
            error, ERROR_UNSUPPORTED,
            "cannot mount an image: this kernel has no overlayfs\nhint: modprobe overlay");
    if (context < 0)
        return error_throw_errno_fd(error, "cannot mount an overlay");
    if (!(kernel_is_before(6, 15) ? configure_in_child : configure)(context, layers, writable)) {
        throw_mount(error, context, "an overlay over an image");
        return -1;
    }
    /* from the beginning: an image's /etc/passwd may be a device, and is read before anything is attached */
    int mounted =
        sys_fsmount(context, MOUNT_ATTR_NODEV | (writable->upper >= 0 ? 0 : MOUNT_ATTR_RDONLY));
    if (mounted < 0)
        return error_throw_errno_fd(error, "cannot mount an overlay");
    return mounted;
}

int store_mount_image(Store *store, const Digest *image, const StoreMountOptions *options,
                      GError **error)
{
    static const StoreMountOptions read_only = {.userns_fd = -1, .writable_fd = -1};
    if (!options)
        options = &read_only;
    struct stat root;
    _autofd int erofs = mount_erofs(store, image, &root, error);
    if (erofs < 0 || (options->userns_fd >= 0 && !idmap(erofs, options->userns_fd, error)))
        return -1;
    /* a clone is in no mount namespace: it is a good layer wherever the caller is, and mountinfo doesn't show where
     * the store lies */
    _autofd int objects = clone_tree(store->objects_fd, "the store's objects", error);
    if (objects < 0)
        return -1;
    _cleanup(writable_close) Writable writable = {-1, -1, -1};
    if (options->writable_fd >= 0 && !open_writable(options, &root, &writable, error))
        return -1;
    _cleanup(become_again) Credentials old = {0};
    bool mapped = options->userns_fd >= 0 && options->writable_fd >= 0;
    if (mapped && !become(options->map_uid, options->map_gid, &old, error))
        return -1;
    /* verity=require: Linux 6.6 */
    const Layers layers = {.erofs = erofs,
                           .objects = objects,
                           .is_volatile = options->volatile_upper && writable.upper >= 0,
                           .verity = store_is_secure(store)};
    return mount_overlay(&layers, &writable, error);
}
