/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Putting together what a container needs, and starting it.
 *
 * prepare: id range → user namespace and the namespaces it owns → the image's overlay, its layers
 * mapped through that namespace → seccomp filter. start: the three files (the network's address may
 * be known only now) → runtime_start → the id range is the init's. Between the two nothing runs, so
 * a failure has nothing to kill.
 */
#include "sandbox/internal.h"

#include "base/cancel.h"
#include "base/file.h"
#include "base/places.h"
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct Sandbox {
    const SandboxOptions *options; /* the caller's */
    char *name, *cgroup, *run_dir;
    RuntimeIdMap ids; /* count 0: none */
    bool ids_handed_over;
    RuntimeNamespaces namespaces;
    int root_fd;
    int lease_fd; /* of `own_dir`, when the name was made up */
    int files_fd;
    char *own_dir; /* directory to be removed */
    RuntimeSeccomp seccomp;
    Carry carry;
};

void sandbox_options_init(SandboxOptions *options)
{
    *options =
        (SandboxOptions){.root_fd = -1, .writable_fd = -1, .join_net_fd = -1, .files_fd = -1};
}

char *sandbox_run_dir(GError **error)
{
    g_autofree char *path = places_run();
    if (!file_ensure_dir_at(AT_FDCWD, path, 0700, error))
        return NULL;
    return g_steal_pointer(&path);
}

/* ---- prepare */

static bool throw_sys(GError **error, const SysError *failed)
{
    return error_from_sys(error, failed);
}

/* With a name of its own the container is told apart by its caller; else by a lease. */
static bool make_name(Sandbox *sandbox, GError **error)
{
    const char *given = sandbox->options->name;
    if (given && (strchr(given, '/') || *given == '.' || !*given))
        return error_throw(error, ERROR_INVALID, "bad name of a container '%s'", given);
    if (given) {
        sandbox->name = g_strdup(given);
    } else {
        sandbox->lease_fd = lease_take(sandbox->run_dir, &sandbox->name, error);
        if (sandbox->lease_fd < 0)
            return false;
        sandbox->own_dir = g_build_filename(sandbox->run_dir, sandbox->name, NULL);
    }
    sandbox->cgroup = g_strconcat("atomic/", sandbox->name, NULL);
    return true;
}

static bool make_namespaces(Sandbox *sandbox, GError **error)
{
    const SandboxOptions *options = sandbox->options;
    bool own_net = options->net == SANDBOX_NET_NONE || options->net == SANDBOX_NET_BRIDGE;
    SysError failed = {0};
    if (!options->host_ids) {
        if (!ids_take(sandbox->run_dir, sandbox->name, &sandbox->ids, error))
            return false;
        if (runtime_namespaces_create(&sandbox->ids, own_net, &sandbox->namespaces, &failed) < 0)
            return throw_sys(error, &failed);
    }
    if (options->net != SANDBOX_NET_JOIN)
        return true;
    sandbox->namespaces.net = fcntl(options->join_net_fd, F_DUPFD_CLOEXEC, 3);
    return sandbox->namespaces.net >= 0 ||
           error_throw_errno(error, "cannot use the other container's network namespace");
}

/* A root that the caller made belongs to the host's ids still. */
static bool take_root(Sandbox *sandbox, GError **error)
{
    sandbox->root_fd = fcntl(sandbox->options->root_fd, F_DUPFD_CLOEXEC, 3);
    if (sandbox->root_fd < 0)
        return error_throw_errno(error, "cannot use the given root");
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP,
                              .userns_fd = (uint64_t)sandbox->namespaces.user};
    if (sandbox->namespaces.user >= 0 &&
        mount_setattr(sandbox->root_fd, "", AT_EMPTY_PATH, &attr, sizeof attr) < 0)
        return error_throw_errno(error, "cannot map the owners of the given root");
    return true;
}

static bool mount_root(Sandbox *sandbox, GError **error)
{
    const SandboxOptions *options = sandbox->options;
    if (!options->image)
        return take_root(sandbox, error);
    StoreMountOptions mount = {.userns_fd = sandbox->namespaces.user,
                               .map_uid = sandbox->ids.base,
                               .map_gid = sandbox->ids.base,
                               .writable_fd = options->writable_fd,
                               .volatile_upper = options->volatile_upper};
    sandbox->root_fd = store_mount_image(options->store, options->image, &mount, error);
    return sandbox->root_fd >= 0;
}

/* The filter follows the capabilities; a command with others than the last one loads its own. */
static bool load_seccomp(const char *run_dir, uint64_t caps, RuntimeSeccomp *out, GError **error)
{
    g_autofree char *compiler = spawn_helper_path("atomic-seccomp", error);
    if (!compiler)
        return false;
    SysError failed = {0};
    return runtime_seccomp_load(run_dir, compiler, caps, out, &failed) == 0 ||
           throw_sys(error, &failed);
}

Sandbox *sandbox_prepare(const SandboxOptions *options, GError **error)
{
    g_autoptr(Sandbox) sandbox = g_new0(Sandbox, 1);
    sandbox->options = options;
    sandbox->namespaces = (RuntimeNamespaces)RUNTIME_NAMESPACES_NONE;
    sandbox->root_fd = sandbox->files_fd = sandbox->lease_fd = -1;
    carry_init(&sandbox->carry);
    sandbox->run_dir = sandbox_run_dir(error);
    if (!sandbox->run_dir || !make_name(sandbox, error) || !make_namespaces(sandbox, error) ||
        !mount_root(sandbox, error))
        return NULL;
    return g_steal_pointer(&sandbox);
}

/* ---- start */

static bool open_files_dir(Sandbox *sandbox, GError **error)
{
    int given = sandbox->options->files_fd >= 0 ? sandbox->options->files_fd : sandbox->lease_fd;
    if (given >= 0) {
        sandbox->files_fd = fcntl(given, F_DUPFD_CLOEXEC, 3);
        return sandbox->files_fd >= 0 ||
               error_throw_errno(error, "cannot use the directory of files");
    }
    sandbox->own_dir = g_strdup_printf("%s/%s.files", sandbox->run_dir, sandbox->name);
    if (!file_ensure_dir_at(AT_FDCWD, sandbox->own_dir, 0700, error))
        return false;
    sandbox->files_fd = file_open_dir_at(AT_FDCWD, sandbox->own_dir, error);
    return sandbox->files_fd >= 0;
}

static bool add_file(Sandbox *sandbox, const char *name, const char *target, GArray *binds,
                     GArray *fds, GError **error)
{
    int fd = file_open_at(sandbox->files_fd, name, O_PATH | O_NOFOLLOW, error);
    if (fd < 0)
        return false;
    g_array_append_val(fds, fd);
    RuntimeBind bind = {.fd = fd, .target = target, .idmap_fd = -1};
    g_array_append_val(binds, bind);
    return true;
}

static void close_fds(GArray *fds)
{
    for (unsigned i = 0; i < fds->len; i++)
        close(g_array_index(fds, int, i));
    g_array_free(fds, TRUE);
}
typedef GArray FdArray;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FdArray, close_fds)

/* The three files first, so that a bind of the caller may cover them. */
static bool add_files(Sandbox *sandbox, const char *hostname, GArray *binds, GArray *fds,
                      GError **error)
{
    if (sandbox->options->no_files)
        return true;
    return open_files_dir(sandbox, error) &&
           files_write(sandbox->files_fd, sandbox->options, hostname, sandbox->ids.base, error) &&
           add_file(sandbox, "hosts", "/etc/hosts", binds, fds, error) &&
           add_file(sandbox, "hostname", "/etc/hostname", binds, fds, error) &&
           add_file(sandbox, "resolv.conf", "/etc/resolv.conf", binds, fds, error);
}

static void fill_spec(const Sandbox *sandbox, const RuntimeCommand *command, RuntimeSpec *spec)
{
    const SandboxOptions *options = sandbox->options;
    runtime_spec_init(spec);
    spec->command = *command;
    spec->command.die_with_caller |= sandbox->lease_fd >= 0;
    spec->namespaces = sandbox->namespaces;
    spec->id_base = sandbox->ids.base;
    spec->net = options->net == SANDBOX_NET_HOST   ? RUNTIME_NET_HOST
                : options->net == SANDBOX_NET_JOIN ? RUNTIME_NET_JOIN
                                                   : RUNTIME_NET_NEW;
    spec->root_fd = sandbox->root_fd;
    spec->root_readonly = options->root_readonly;
    spec->tmpfs = options->tmpfs;
    spec->n_tmpfs = options->n_tmpfs;
    spec->shm_size = options->shm_size;
    spec->unmasked = options->unmasked;
    spec->cgroup = sandbox->cgroup;
    spec->limits = options->limits;
    if (options->net == SANDBOX_NET_BRIDGE) {
        spec->attach_network = options->attach_network;
        spec->configure_network = options->configure_network;
        spec->network_data = options->network_data;
    }
}

bool sandbox_start(Sandbox *sandbox, const RuntimeCommand *command, RuntimeProcess *out,
                   GError **error)
{
    const SandboxOptions *options = sandbox->options;
    *out = (RuntimeProcess)RUNTIME_PROCESS_NONE;
    g_autofree char *hostname =
        options->hostname ? g_strdup(options->hostname) : g_strndup(sandbox->name, 12);
    g_autoptr(GArray) binds = g_array_new(FALSE, FALSE, sizeof(RuntimeBind));
    g_autoptr(FdArray) fds = g_array_new(FALSE, FALSE, sizeof(int));
    if (!add_files(sandbox, hostname, binds, fds, error))
        return false;
    if (options->n_binds)
        g_array_append_vals(binds, options->binds, (unsigned)options->n_binds);
    bool confined = !options->unmasked && !options->no_seccomp && !command->seccomp;
    if (confined && !load_seccomp(sandbox->run_dir, command->caps, &sandbox->seccomp, error))
        return false;
    RuntimeSpec spec;
    fill_spec(sandbox, command, &spec);
    spec.hostname = hostname;
    spec.binds = (const RuntimeBind *)(void *)binds->data;
    spec.n_binds = binds->len;
    if (confined)
        spec.command.seccomp = &sandbox->seccomp;
    if (options->carry_output && !carry_open(&sandbox->carry, &spec.command, error))
        return false;
    SysError failed = {0};
    int started = runtime_start(&spec, out, &failed);
    carry_started(&sandbox->carry);
    if (started < 0)
        return throw_sys(error, &failed);
    if (sandbox->ids.count && !ids_hand_over(sandbox->run_dir, &sandbox->ids, out->pid, error)) {
        /* without its record another container could get the same ids */
        runtime_kill_all(sandbox->cgroup, NULL);
        waitpid(out->pid, NULL, 0);
        runtime_cgroup_remove(sandbox->cgroup, NULL);
        runtime_process_clear(out);
        return false;
    }
    sandbox->ids_handed_over = true;
    return true;
}

void sandbox_free(Sandbox *sandbox)
{
    if (!sandbox)
        return;
    if (sandbox->ids.count && !sandbox->ids_handed_over)
        ids_give_back(sandbox->run_dir, &sandbox->ids);
    if (sandbox->own_dir)
        file_remove_all_at(AT_FDCWD, sandbox->own_dir, NULL);
    runtime_namespaces_close(&sandbox->namespaces);
    runtime_seccomp_clear(&sandbox->seccomp);
    sys_fd_closep(&sandbox->root_fd);
    sys_fd_closep(&sandbox->files_fd);
    sys_fd_closep(&sandbox->lease_fd);
    carry_clear(&sandbox->carry);
    g_free(sandbox->own_dir);
    g_free(sandbox->run_dir);
    g_free(sandbox->cgroup);
    g_free(sandbox->name);
    g_free(sandbox);
}

const char *sandbox_name(const Sandbox *sandbox)
{
    return sandbox->name;
}

const char *sandbox_cgroup(const Sandbox *sandbox)
{
    return sandbox->cgroup;
}

int sandbox_root_fd(const Sandbox *sandbox)
{
    return sandbox->root_fd;
}

uint32_t sandbox_id_base(const Sandbox *sandbox)
{
    return sandbox->ids.base;
}

/* ---- wait, run, exec */

/* True when the process ended by itself; false after a signal to us, the container being killed. */
static bool await_end(Sandbox *sandbox, const RuntimeProcess *process)
{
    while (!cancel_requested())
        if (carry_until(&sandbox->carry, process->pidfd))
            return true;
    syscall(SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0);
    runtime_kill_all(sandbox->cgroup, NULL);
    return false;
}

int sandbox_wait(Sandbox *sandbox, RuntimeProcess *process, bool *out_oom, GError **error)
{
    bool ended = await_end(sandbox, process);
    int status = spawn_wait(process->pid, error);
    carry_rest(&sandbox->carry);
    if (out_oom)
        *out_oom = runtime_cgroup_oom_killed(sandbox->cgroup);
    runtime_process_clear(process);
    SysError failed = {0};
    bool clean = runtime_kill_all(sandbox->cgroup, &failed) == 0 &&
                 runtime_cgroup_remove(sandbox->cgroup, &failed) == 0;
    if (sandbox->ids.count)
        ids_give_back(sandbox->run_dir, &sandbox->ids);
    if (status < 0)
        return -1;
    if (!ended)
        return error_throw_fd(error, ERROR_INTERRUPTED, "interrupted");
    if (!clean) {
        throw_sys(error, &failed);
        return -1;
    }
    return status;
}

int sandbox_run(const SandboxOptions *options, const RuntimeCommand *command, GError **error)
{
    g_autoptr(Sandbox) sandbox = sandbox_prepare(options, error);
    RuntimeProcess process;
    if (!sandbox || !sandbox_start(sandbox, command, &process, error))
        return -1;
    return sandbox_wait(sandbox, &process, NULL, error);
}

bool sandbox_exec(pid_t init_pid, const char *name, const RuntimeCommand *command,
                  RuntimeProcess *out, GError **error)
{
    *out = (RuntimeProcess)RUNTIME_PROCESS_NONE;
    g_autofree char *run_dir = sandbox_run_dir(error);
    if (!run_dir)
        return false;
    _autofd int pidfd = (int)syscall(SYS_pidfd_open, init_pid, 0);
    if (pidfd < 0)
        return error_throw_errno(error, "cannot open the container's first process %d",
                                 (int)init_pid);
    g_autofree char *cgroup = g_strconcat("atomic/", name, NULL);
    _cleanup(runtime_seccomp_clear) RuntimeSeccomp seccomp = {0};
    RuntimeCommand confined = *command;
    if (!command->seccomp) {
        if (!load_seccomp(run_dir, command->caps, &seccomp, error))
            return false;
        confined.seccomp = &seccomp;
    }
    SysError failed = {0};
    return runtime_exec(pidfd, cgroup, &confined, out, &failed) == 0 || throw_sys(error, &failed);
}
