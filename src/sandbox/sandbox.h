/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sandbox: an image of the store plus a command. What the engine, the image builder and compose
 * share.
 *
 * It puts together what runtime.h wants: an id range of its own, the user namespace, the image's
 * overlay with or without a writable layer, the /etc/hosts, /etc/hostname and /etc/resolv.conf of
 * the container, the seccomp filter.
 *
 *     g_autoptr(Sandbox) sandbox = sandbox_prepare(&options, error);
 *     sandbox_start(sandbox, &command, &process, error)      the caller's child; the program runs
 *     when it returns
 *     …waitpid(process.pid)…
 *     sandbox_free()                                         closes the overlay; gives the ids back
 *
 * or sandbox_run(), which does all that and waits.
 *
 * Id ranges: 65,536 ids each, listed in $ATOMIC_RUN/ids. A range belongs to the container's init
 * (pid and start time are in the list), so that it is free again when the init has gone, whoever
 * died in between; the files of the writable layer have unshifted owners on disk, the next start
 * may well have another range.
 */
#pragma once

#include "base/digest.h"
#include "base/error.h"
#include "runtime/runtime.h"
#include "store/store.h"

typedef struct Sandbox Sandbox;

typedef enum {
    SANDBOX_NET_NONE, /* own network namespace with nothing but lo */
    SANDBOX_NET_HOST,
    SANDBOX_NET_BRIDGE, /* own network namespace; attached by the caller's `attach_network` */
    SANDBOX_NET_JOIN,   /* `join_net_fd` */
} SandboxNet;

typedef struct {
    /* The container's id or so: cgroup "atomic/NAME", key of the id range. NULL: one is made up, and
     * the container then doesn't outlive the thread that starts it. */
    const char *name;
    Store *store;        /* with `image` */
    const Digest *image; /* the root. NULL: `root_fd` */
    int root_fd;         /* a detached mount instead of an image; -1 */
    int writable_fd; /* directory for upper/ and work/; -1: no writable layer, root is read-only */
    bool volatile_upper; /* never synced: not for what must survive the machine */
    bool root_readonly;  /* even with a writable layer */
    bool host_ids;       /* no user namespace: root inside is root outside */

    SandboxNet net;
    int join_net_fd; /* -1 */
    /* as in RuntimeSpec; with SANDBOX_NET_BRIDGE only */
    int (*attach_network)(void *data, pid_t pid, int netns_fd, SysError *error);
    int (*configure_network)(void *data, SysError *error);
    void *network_data;

    const char *hostname;           /* NULL: the first 12 characters of the name */
    const char *address;            /* of its own line in /etc/hosts; NULL: 127.0.1.1 */
    const char *const *extra_hosts; /* lines "ADDRESS NAME"; NULL */
    const char *const *dns;         /* name servers instead of the host's; NULL */
    /* Directory for hosts, hostname and resolv.conf, which are written anew at each start. -1: a
     * directory under $ATOMIC_RUN that goes with the sandbox. */
    int files_fd;
    bool no_files; /* leave the image's own three files alone */

    /* The command's stdout and stderr are the caller's own (a terminal, a file): the container gets
     * pipes, which sandbox_wait() reads. */
    bool carry_output;

    const RuntimeBind *binds; /* may be filled in until sandbox_start() */
    size_t n_binds;
    const RuntimeTmpfs *tmpfs;
    size_t n_tmpfs;
    uint64_t shm_size;
    bool unmasked; /* --privileged: nothing masked, no seccomp, all devices */
    bool no_seccomp;
    RuntimeLimits limits;
} SandboxOptions;
/* Zero but: fds -1. */
void sandbox_options_init(SandboxOptions *options);

/* Everything that can be done before there is a process. `options` and what it points to must live
 * until sandbox_start() returns. */
Sandbox *sandbox_prepare(const SandboxOptions *options, GError **error);
/* Starts the command: seccomp is put in by the sandbox (for command->caps) unless the command
 * brings its own. On failure out->failed_status is 125, 126 or 127. */
bool sandbox_start(Sandbox *sandbox, const RuntimeCommand *command, RuntimeProcess *out,
                   GError **error);
/* Closes the fds, gives the ids back unless a container was started and handed on, removes own
 * files. Neither kills nor reaps; removes the cgroup only after sandbox_wait(). */
void sandbox_free(Sandbox *sandbox);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Sandbox, sandbox_free)

const char *sandbox_name(const Sandbox *sandbox);
const char *sandbox_cgroup(const Sandbox *sandbox); /* "atomic/NAME" */
/* The overlay, borrowed; whoever reaps the container keeps a copy until then. */
int sandbox_root_fd(const Sandbox *sandbox);
uint32_t sandbox_id_base(const Sandbox *sandbox); /* host id of container root; 0 with host_ids */

/* Waits for the init, kills what is left, removes the cgroup. The exit status, 128+n when killed by
 * signal n, or -1. *out_oom (may be NULL): the kernel killed for want of memory. After
 * cancel_requested() the container is killed and the result is -1 with ERROR_INTERRUPTED. */
int sandbox_wait(Sandbox *sandbox, RuntimeProcess *process, bool *out_oom, GError **error);
/* prepare + start + wait. The exit status of the program; -1 with *error when it didn't run or was
 * interrupted. */
int sandbox_run(const SandboxOptions *options, const RuntimeCommand *command, GError **error);

/* Another process in a running container, with the seccomp profile for command->caps unless the
 * command brings its own (an empty RuntimeSeccomp, for one: a privileged container's). */
bool sandbox_exec(pid_t init_pid, const char *name, const RuntimeCommand *command,
                  RuntimeProcess *out, GError **error);

/* ---- users */

typedef struct {
    uint32_t uid, gid;
    uint32_t *groups; /* supplementary */
    size_t n_groups;
    char *home; /* "/" when unknown */
} SandboxUser;
void sandbox_user_clear(SandboxUser *user);
/* "", "name", "uid", "name:group", "uid:gid"… by the image's /etc/passwd and /etc/group below
 * root_fd (sandbox_root_fd(), or /proc/PID/root). Links are followed inside only. ERROR_NOT_FOUND
 * names the user. */
bool sandbox_user_resolve(int root_fd, const char *user, SandboxUser *out, GError **error);

/* $ATOMIC_RUN or /run/atomic, made (0700) when missing. */
char *sandbox_run_dir(GError **error);
