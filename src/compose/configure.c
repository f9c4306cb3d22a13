/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Maintainer scripts, in the sandbox: no network, no real root, an overlay's upper directory to
 * write to.
 *
 * All packages are unpacked before the first script runs, so the preinst scripts come all at once
 * (base-passwd's first: it makes /etc/passwd), then dpkg configures in the order that dependencies
 * ask for. The initramfs is made once, at the end, and not by the kernel's hooks: INITRD=No is
 * their own switch. Time, locale and hash seeds are fixed, as far as programs listen.
 */
#include "compose/rootfs.h"

#include "base/file.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOG_LIMIT   (64u << 20)
#define TAIL_LINES  25
#define WORK_PREFIX "compose-"

static const char configure_head[] =
    "#!/bin/sh\n"
    "set -e\n"
    "export DPKG_MAINTSCRIPT_NAME=preinst DPKG_ADMINDIR=/var/lib/dpkg DPKG_ROOT=\n";

static const char configure_tail[] =
    "unset DPKG_MAINTSCRIPT_NAME DPKG_MAINTSCRIPT_PACKAGE DPKG_MAINTSCRIPT_ARCH\n"
    "dpkg --configure -a\n"
    "if command -v mkinitramfs >/dev/null; then\n"
    "    for kernel in /boot/vmlinuz-*; do\n"
    "        [ -e \"$kernel\" ] || continue\n"
    "        version=${kernel#/boot/vmlinuz-}\n"
    "        echo \"Making the initramfs of $version\"\n"
    "        mkinitramfs -o \"/boot/initrd.img-$version\" \"$version\"\n"
    "    done\n"
    "fi\n";

static const char policy[] = "#!/bin/sh\n# nothing is started while a tree is composed\nexit 101\n";

/* --- the scripts ------------------------------------------------------------------------------ */

static void append_preinst(GString *script, const Part *part)
{
    if (!part_control(part, "preinst"))
        return;
    g_string_append_printf(script,
                           "DPKG_MAINTSCRIPT_PACKAGE=%s DPKG_MAINTSCRIPT_ARCH=%s "
                           "/var/lib/dpkg/info/%s.preinst install\n",
                           part->package->name, part->package->arch, part->info_name);
}

static bool write_scripts(Rootfs *rootfs, GPtrArray *parts, char *const *postprocess,
                          GError **error)
{
    g_autoptr(GString) script = g_string_new(configure_head);
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned i = 0; i < parts->len; i++) {
            const Part *part = parts->pdata[i];
            if ((strcmp(part->package->name, "base-passwd") == 0) == (pass == 0))
                append_preinst(script, part);
        }
    g_string_append(script, configure_tail);
    if (!rootfs_write_text(rootfs, "usr/sbin/policy-rc.d", 0755, policy, error) ||
        !rootfs_write_text(rootfs, SCRIPTS_DIR "/configure", 0755, script->str, error))
        return false;
    for (unsigned i = 0; postprocess && postprocess[i]; i++) {
        g_autofree char *path = g_strdup_printf(SCRIPTS_DIR "/postprocess-%u", i);
        g_autofree char *text = g_str_has_prefix(postprocess[i], "#!")
                                    ? g_strdup(postprocess[i])
                                    : g_strconcat("#!/bin/sh\nset -e\n", postprocess[i], NULL);
        if (!rootfs_write_text(rootfs, path, 0755, text, error))
            return false;
    }
    return true;
}

/* What running the scripts needs. The sandbox has the name of the work directory, so that whoever
 * removes a stale one finds the processes that go with it. */
typedef struct {
    const ConfigureOptions *options;
    char *const *postprocess;
    char *path; /* of the work directory */
    char *name; /* its last component */
    int fd;
} Work;

static void work_clear(Work *work)
{
    g_free(work->path);
    g_free(work->name);
    sys_fd_closep(&work->fd);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Work, work_clear)

/* --- running ---------------------------------------------------------------------------------- */

/* The last lines of what was said, for the error. */
static char *tail(int log_fd)
{
    lseek(log_fd, 0, SEEK_SET);
    g_autofree char *text = file_read_fd(log_fd, LOG_LIMIT, NULL, NULL);
    if (!text)
        return g_strdup("");
    g_strchomp(text);
    const char *start = text + strlen(text);
    for (int lines = 0; start > text && lines < TAIL_LINES; start--)
        lines += start[-1] == '\n';
    g_auto(GStrv) lines = g_strsplit(start, "\n", -1);
    g_autofree char *joined = g_strjoinv("\n  | ", lines);
    return g_strconcat("\n  | ", joined, NULL);
}

static bool run_script(const Work *work, Store *store, const Digest *image, const char *name,
                       GError **error)
{
    const ConfigureOptions *options = work->options;
    _autofd int log_fd = memfd_create("atomic-compose-log", MFD_CLOEXEC);
    if (log_fd < 0)
        return error_throw_errno(error, "cannot create a log");
    g_autofree char *epoch =
        g_strdup_printf("SOURCE_DATE_EPOCH=%" G_GUINT64_FORMAT, options->epoch);
    g_autofree char *path = g_strdup_printf("/" SCRIPTS_DIR "/%s", name);
    const char *const argv[] = {path, NULL};
    const char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                               "HOME=/root",
                               "LC_ALL=C.UTF-8",
                               "TZ=UTC0",
                               "DEBIAN_FRONTEND=noninteractive",
                               "DEBCONF_NONINTERACTIVE_SEEN=true",
                               "DEBCONF_NOWARNINGS=yes",
                               "INITRD=No",
                               "PERL_HASH_SEED=0",
                               "PYTHONDONTWRITEBYTECODE=1",
                               "SYSTEMD_OFFLINE=1",
                               epoch,
                               NULL};
    RuntimeCommand command;
    runtime_command_init(&command);
    command.argv = argv;
    command.env = env;
    command.stdout_fd = command.stderr_fd = options->verbose ? STDERR_FILENO : log_fd;
    SandboxOptions sandbox;
    sandbox_options_init(&sandbox);
    sandbox.name = work->name;
    sandbox.store = store;
    sandbox.image = image;
    sandbox.writable_fd = work->fd;
    sandbox.volatile_upper = true; /* it is read back at once */
    sandbox.net = SANDBOX_NET_NONE;
    sandbox.carry_output = true;
    sandbox.hostname = "localhost";
    sandbox.no_files = true;
    int status = sandbox_run(&sandbox, &command, error);
    if (status < 0)
        return error_prefix(error, "cannot run '%s' in the tree", name);
    if (status == 0)
        return true;
    g_autofree char *said = options->verbose ? g_strdup("") : tail(log_fd);
    return error_throw(error, ERROR_FAILED, "the script '%s' failed with exit status %d%s", name,
                       status, said);
}

static bool apply_upper(Rootfs *rootfs, const Work *work, GError **error)
{
    _autofd int upper_fd = file_open_dir_at(work->fd, "upper", error);
    if (upper_fd < 0)
        return false;
    g_autoptr(Tree) layer = store_import_dir(rootfs->txn, upper_fd, STORE_IMPORT_UPPER, error);
    return layer && store_txn_flush(rootfs->txn, error) && tree_apply(rootfs->tree, layer, error);
}

static bool run_all(Rootfs *rootfs, const Work *work, const Digest *image, GError **error)
{
    Store *store = store_txn_store(rootfs->txn);
    if (!run_script(work, store, image, "configure", error))
        return false;
    for (unsigned i = 0; work->postprocess && work->postprocess[i]; i++) {
        g_autofree char *name = g_strdup_printf("postprocess-%u", i);
        if (!run_script(work, store, image, name, error))
            return false;
    }
    return apply_upper(rootfs, work, error);
}

/* The image that the scripts run over has a name while they do; one that a killed compose left is
 * replaced. */
static bool run_over_image(Rootfs *rootfs, const Work *work, GError **error)
{
    Digest image;
    Store *store = store_txn_store(rootfs->txn);
    g_autofree char *ref = g_strconcat("compose/", work->options->name, NULL);
    if (!store_commit_image(rootfs->txn, rootfs->tree, &image, error) ||
        !store_set_ref(store, STORE_IMAGES, ref, digest_hex(&image).text, error))
        return false;
    bool ok = run_all(rootfs, work, &image, error);
    return store_remove_ref(store, STORE_IMAGES, ref, ok ? error : NULL) && ok;
}

/* --- the work directory ----------------------------------------------------------------------- */

/* Directories of composes that were killed: nobody holds a lock on them. Their scripts may still
 * run. */
static void remove_stale(const char *parent)
{
    g_autoptr(GDir) dir = g_dir_open(parent, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        if (!g_str_has_prefix(name, WORK_PREFIX))
            continue;
        g_autofree char *path = g_build_filename(parent, name, NULL);
        g_autofree char *cgroup = g_strconcat("atomic/", name, NULL);
        _autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        SysError ignored;
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
            continue;
        runtime_kill_all(cgroup, &ignored);
        runtime_cgroup_remove(cgroup, &ignored);
        file_remove_all_at(AT_FDCWD, path, NULL);
    }
}

/* Makes a directory of our own, locked as long as its fd is open. The parent's lock keeps others
 * from taking it for stale in between. */
static bool make_work_dir(const char *parent, Work *work, GError **error)
{
    _autofd int parent_fd = file_open_dir_at(AT_FDCWD, parent, error);
    if (parent_fd < 0)
        return false;
    if (flock(parent_fd, LOCK_EX) < 0)
        return error_throw_errno(error, "cannot lock '%s'", parent);
    remove_stale(parent);
    work->path = g_build_filename(parent, WORK_PREFIX "XXXXXX", NULL);
    if (!g_mkdtemp_full(work->path, 0700))
        return error_throw_errno(error, "cannot create a directory in '%s'", parent);
    work->name = g_path_get_basename(work->path);
    work->fd = file_open_dir_at(AT_FDCWD, work->path, error);
    if (work->fd >= 0 && flock(work->fd, LOCK_SH) < 0)
        return error_throw_errno(error, "cannot lock '%s'", work->path);
    return work->fd >= 0;
}

bool configure(Rootfs *rootfs, GPtrArray *parts, char *const *postprocess,
               const ConfigureOptions *options, GError **error)
{
    if (!write_scripts(rootfs, parts, postprocess, error))
        return false;
    g_auto(Work) work = {.options = options, .postprocess = postprocess, .fd = -1};
    if (!make_work_dir(options->work, &work, error))
        return false;
    bool ok = run_over_image(rootfs, &work, error);
    /* what can't be removed now is stale for the next one */
    return file_remove_all_at(AT_FDCWD, work.path, ok ? error : NULL) && ok;
}
