/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic store mount` and `unmount`.
 *
 * A writable mount keeps its changes in a directory of its own, MOUNTPOINT.upper unless another is named:
 *
 *     upper/     overlayfs's upper: what was changed, and only that
 *     work/      overlayfs's own
 *     mounted    where it is mounted; what it says counts only while something is
 */
#include "cli/store_verbs.h"

#include "base/file.h"
#include "base/sys/process.h"
#include "cli/operand.h"

#include <errno.h>
#include <linux/mount.h>
#include <stdlib.h>
#include <string.h>
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

/* --- what is mounted ------------------------------------------------------------------------------------ */

static char *real_path(const char *dir, GError **error)
{
    char *path = realpath(dir, NULL);
    g_autofree char *copy = g_strdup(path);
    free(path);
    return copy ? g_steal_pointer(&copy) : error_throw_errno_null(error, "'%s'", dir);
}

/* The source of the mount that is uppermost on a path; NULL when there is none. proc_pid_mountinfo(5): the mount
 * point is the fifth field, the source the second behind the dash. */
static char *mount_source(const char *path)
{
    g_autofree char *text = NULL;
    if (!g_file_get_contents("/proc/self/mountinfo", &text, NULL, NULL))
        return NULL;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    char *source = NULL;
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) fields = g_strsplit(*line, " ", -1);
        const char *dash = strstr(*line, " - ");
        if (g_strv_length(fields) < 5 || !dash)
            continue;
        g_autofree char *point = g_strcompress(fields[4]); /* "\040" is a blank */
        if (strcmp(point, path) != 0)
            continue;
        g_auto(GStrv) behind = g_strsplit(dash + 3, " ", 3);
        g_free(source);
        source = g_strdup(behind[0] ? behind[1] : NULL);
    }
    return source;
}

static bool is_ours(const char *path)
{
    g_autofree char *source = mount_source(path);
    return g_strcmp0(source, "composefs") == 0;
}

/* --- the upper ------------------------------------------------------------------------------------------ */

static char *upper_path(const char *option, const char *mount_point)
{
    return option ? g_strdup(option) : g_strconcat(mount_point, ".upper", NULL);
}

/* Two mounts of one upper would destroy it. */
static bool check_unused(int fd, const char *path, GError **error)
{
    size_t size;
    g_autofree char *where = file_read_at(fd, "mounted", 1 << 16, &size, NULL);
    if (where && is_ours(where))
        return error_throw(error, ERROR_BUSY,
                           "the changes in '%s' are those of the mount on '%s'\n"
                           "hint: 'atomic store unmount %s', or name another --upper",
                           path, where, where);
    return true;
}

/* Over another image the changes would be nonsense, and overlayfs doesn't notice. */
static bool check_image(int fd, const char *path, const Digest *image, GError **error)
{
    const DigestHex hex = digest_hex(image);
    size_t size;
    bool exists;
    if (!file_exists_at(fd, "image", &exists, error))
        return false;
    if (!exists)
        return file_replace_at(fd, "image", hex.text, DIGEST_HEX_SIZE - 1, 0600, 0, error);
    g_autofree char *was = file_read_at(fd, "image", DIGEST_HEX_SIZE, &size, error);
    return was && (strcmp(was, hex.text) == 0 ||
                   error_throw(error, ERROR_EXISTS,
                               "'%s' has changes that were made over another image, '%.12s'\n"
                               "hint: mount that one, or name another --upper",
                               path, was));
}

static int open_upper(const char *path, const char *mount_point, const Digest *image,
                      GError **error)
{
    if (!file_ensure_dir_at(AT_FDCWD, path, 0700, error))
        return -1;
    _autofd int fd = file_open_dir_at(AT_FDCWD, path, error);
    if (fd < 0 || !check_unused(fd, path, error) || !check_image(fd, path, image, error) ||
        !file_replace_at(fd, "mounted", mount_point, strlen(mount_point), 0600, 0, error))
        return -1;
    return fd_steal(&fd);
}

/* Only what a mount made: a directory named by mistake stays. */
static bool discard_upper(const char *path, GError **error)
{
    static const char *const known[] = {"upper", "work", "mounted", "image", NULL};
    g_autoptr(GPtrArray) names = file_list_at(AT_FDCWD, path, error);
    for (guint i = 0; names && i < names->len; i++)
        if (!g_strv_contains(known, names->pdata[i]))
            return error_throw(error, ERROR_INVALID,
                               "cannot discard '%s': it has '%s', which no mount made", path,
                               (const char *)names->pdata[i]);
    return names && file_remove_all_at(AT_FDCWD, path, error);
}

/* --- the name that keeps what is mounted ------------------------------------------------------------------ */

/* images/refs/mount/BOOT/DIR, made before the mount: no collection takes the bytes away under it. */
static char *mount_ref(const char *dir)
{
    return g_strconcat("mount/", sys_boot_id(), dir, NULL);
}

void cli_store_forget_mounts(Store *store)
{
    g_autoptr(GHashTable) refs = store_list_refs(store, STORE_IMAGES, "mount", NULL);
    GHashTableIter iter;
    gpointer name;
    if (!refs)
        return;
    g_hash_table_iter_init(&iter, refs);
    while (g_hash_table_iter_next(&iter, &name, NULL)) {
        g_autofree char *ref = g_strconcat("mount/", (const char *)name, NULL);
        if (!g_str_has_prefix(name, sys_boot_id()))
            store_remove_ref(store, STORE_IMAGES, ref, NULL);
    }
}

/* From a store that can't be written nothing is collected either. */
static bool keep_image(Store *store, const Digest *image, const char *ref, GError **error)
{
    if (faccessat(store_dirfd(store), ".", W_OK, AT_EACCESS) < 0)
        return true;
    cli_store_forget_mounts(store);
    return store_set_ref(store, STORE_IMAGES, ref, digest_hex(image).text, error);
}

static bool mount_kept(Store *store, const Digest *image, const StoreMountOptions *options,
                       const char *dir, GError **error)
{
    if (is_ours(dir))
        return error_throw(error, ERROR_BUSY,
                           "an image is mounted on '%s' already\n"
                           "hint: 'atomic store unmount %s'",
                           dir, dir);
    g_autofree char *ref = mount_ref(dir);
    if (!keep_image(store, image, ref, error))
        return false;
    _autofd int mounted = store_mount_image(store, image, options, error);
    if (mounted >= 0 && attach(mounted, dir, error))
        return true;
    store_remove_ref(store, STORE_IMAGES, ref, NULL);
    return false;
}

/* --- the verbs ------------------------------------------------------------------------------------------ */

int cli_store_mount(const CliCommand *command, int argc, char **argv, GError **error)
{
    gboolean writable = false;
    g_autofree char *upper_option = NULL;
    const GOptionEntry entries[] = {
        {"writable", 'w', 0, G_OPTION_ARG_NONE, &writable,
         "Let it be changed; changes are kept in DIR.upper", NULL},
        {"upper", 0, 0, G_OPTION_ARG_FILENAME, &upper_option, "Keep the changes there (implies -w)",
         "DIR"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 2, 2, false, error))
        return 1;
    g_autoptr(Store) store = cli_store_open(&common, error);
    Digest image;
    if (!store || !cli_operand_image(store, argv[1], &image, error))
        return 1;
    g_autofree char *dir = real_path(argv[2], error);
    if (!dir)
        return 1;
    StoreMountOptions options = STORE_MOUNT_READ_ONLY;
    g_autofree char *upper = upper_path(upper_option, dir);
    _autofd int upper_fd = -1;
    if (writable || upper_option) {
        upper_fd = options.writable_fd = open_upper(upper, dir, &image, error);
        if (upper_fd < 0)
            return 1;
    }
    if (!mount_kept(store, &image, &options, dir, error))
        return 1;
    if (upper_fd >= 0 && !common.quiet)
        fprintf(stderr, "Changes are kept in '%s'.\n", upper);
    return 0;
}

/* Whether the process has its working directory, root, program or an open file there. */
static bool uses(const char *pid, dev_t device)
{
    static const char *const links[] = {"cwd", "root", "exe"};
    g_autofree char *fds = g_strdup_printf("/proc/%s/fd", pid);
    g_autoptr(GPtrArray) open = file_list_at(AT_FDCWD, fds, NULL); /* NULL: not ours to see */
    struct stat st;
    for (guint i = 0; i < ARRAY_SIZE(links) + (open ? open->len : 0); i++) {
        g_autofree char *path =
            i < ARRAY_SIZE(links)
                ? g_strdup_printf("/proc/%s/%s", pid, links[i])
                : g_strdup_printf("%s/%s", fds, (char *)open->pdata[i - ARRAY_SIZE(links)]);
        if (stat(path, &st) == 0 && st.st_dev == device)
            return true;
    }
    return false;
}

/* "'sh' (process 12), 'less' (process 15)"; "" when nobody is seen. */
static char *find_users(const char *dir)
{
    enum { SHOWN = 5 };
    g_autoptr(GString) users = g_string_new(NULL);
    g_autoptr(GPtrArray) processes = file_list_at(AT_FDCWD, "/proc", NULL);
    struct stat st;
    bool good = processes && stat(dir, &st) == 0;
    for (guint i = 0, n = 0; good && i < processes->len && n < SHOWN; i++) {
        const char *pid = processes->pdata[i];
        if (!g_ascii_isdigit(*pid) || !uses(pid, st.st_dev))
            continue;
        g_autofree char *path = g_strdup_printf("/proc/%s/comm", pid), *name = NULL;
        g_file_get_contents(path, &name, NULL, NULL);
        g_string_append_printf(users, "%s'%s' (process %s)", n++ ? ", " : "",
                               name ? g_strchomp(name) : "?", pid);
    }
    return g_string_free(g_steal_pointer(&users), false);
}

static bool unmount(const char *dir, const char *shown, GError **error)
{
    g_autofree char *source = mount_source(dir);
    if (!source)
        return error_throw(error, ERROR_INVALID, "cannot unmount '%s': nothing is mounted there",
                           shown);
    if (strcmp(source, "composefs") != 0)
        return error_throw(error, ERROR_INVALID,
                           "cannot unmount '%s': '%s' is mounted there, which is no image\n"
                           "hint: umount(8) unmounts anything",
                           shown, source);
    if (umount2(dir, UMOUNT_NOFOLLOW) == 0)
        return true;
    if (errno == EBUSY) {
        g_autofree char *users = find_users(dir);
        return error_throw(error, ERROR_BUSY, "cannot unmount '%s': it is in use%s%s", shown,
                           *users ? " by " : "", users);
    }
    return error_throw_errno(error, "cannot unmount '%s'", shown);
}

int cli_store_unmount(const CliCommand *command, int argc, char **argv, GError **error)
{
    gboolean discard = false;
    g_autofree char *upper_option = NULL;
    const GOptionEntry entries[] = {
        {"discard", 0, 0, G_OPTION_ARG_NONE, &discard, "Remove the changes of a writable mount",
         NULL},
        {"upper", 0, 0, G_OPTION_ARG_FILENAME, &upper_option, "Where they are, if not in DIR.upper",
         "DIR"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, 1, false, error))
        return 1;
    g_autofree char *dir = real_path(argv[1], error);
    if (!dir || !unmount(dir, argv[1], error))
        return 1;
    g_autoptr(Store) store =
        cli_store_open(&common, NULL); /* another one's name goes after the boot */
    g_autofree char *ref = mount_ref(dir);
    if (store)
        store_remove_ref(store, STORE_IMAGES, ref, NULL);
    g_autofree char *upper = upper_path(upper_option, dir);
    return !discard || discard_upper(upper, error) ? 0 : 1;
}
