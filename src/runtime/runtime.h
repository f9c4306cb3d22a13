/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The runtime: from a root mount and a command to a running, isolated process. No GLib, libc only.
 *
 * How a container starts, and who owns what:
 *
 *  1. runtime_namespaces_create() makes the user namespace and the network, IPC and UTS namespaces
 *     that it owns, in a short-lived process that runs under an uid of its own (kernel limits that
 *     are counted per creator, such as inotify, are then this container's and not the host root's).
 *     The fds come first because idmapped layers need the user namespace before anything can be
 *     mounted, and because the network can be attached to the fd while the rest goes on.
 *  2. runtime_start() clones the init into new PID and mount namespaces that the HOST owns. There
 *     the child, still the host's root, finishes the tree: root, /proc, /sys, /dev, binds, masks,
 *     pivot_root.
 *  3. Only then it enters the user namespace and copies the mount namespace: in the copy every
 *     mount and every flag is locked by the kernel, so that not even a container with CAP_SYS_ADMIN
 *     can undo a mask or make a read-only mount writable.
 *  4. Capabilities, user, no_new_privs, seccomp, close-on-exec for every fd above 2, execve.
 *
 * Without a user namespace (namespaces.user == -1) the namespaces are made by the clone and nothing
 * is locked; a container with CAP_SYS_ADMIN is then the host's root in all but name.
 *
 * Functions return 0 or -1 with the SysError filled. They may be called from a process that has
 * threads; what runs in the child allocates nothing and takes no lock. The init is the caller's
 * child: the caller reaps it. A process that was started may be handed to another program by execve
 * of the caller.
 */
#pragma once

#include "base/sys/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- namespaces */

/* -1 each: none. For `user`: the host's; for the others: a new one is made at start. */
typedef struct {
    int user, net, ipc, uts;
} RuntimeNamespaces;
#define RUNTIME_NAMESPACES_NONE                                                                    \
    {                                                                                              \
        -1, -1, -1, -1                                                                             \
    }

typedef struct {
    uint32_t base;    /* the host's id of the container's 0, for users and groups alike */
    uint32_t count;   /* ids mapped */
    uint32_t creator; /* host uid that the user namespace's limits are counted on; in no range */
} RuntimeIdMap;

/* A user namespace with this map and the IPC and UTS namespaces (and with `net` a network namespace
 * with `lo` down) that belong to it. ~0.2 ms, 0.6 ms with net. */
int runtime_namespaces_create(const RuntimeIdMap *map, bool net, RuntimeNamespaces *out,
                              SysError *error);
/* Only a user namespace, with one line each of /proc/PID/uid_map and gid_map format per string; for
 * idmapped mounts with a map of their own. The fd, or -1. */
int runtime_userns_create(const char *uid_map, const char *gid_map, SysError *error);
void runtime_namespaces_close(RuntimeNamespaces *namespaces);

/* ---- what runs */

typedef struct {
    int resource; /* RLIMIT_… */
    uint64_t soft, hard;
} RuntimeRlimit;

/* A loaded filter: struct sock_filter[]. See runtime_seccomp_load(). */
typedef struct {
    void *instructions;
    size_t count;
} RuntimeSeccomp;

/* The 11 capabilities of a default container (podman's). */
#define RUNTIME_DEFAULT_CAPS                                                                       \
    ((1ull << 0) /* CHOWN */ | (1ull << 1) /* DAC_OVERRIDE */ | (1ull << 3) /* FOWNER */ |         \
     (1ull << 4) /* FSETID */ | (1ull << 5) /* KILL */ | (1ull << 6) /* SETGID */ |                \
     (1ull << 7) /* SETUID */ | (1ull << 8) /* SETPCAP */ | (1ull << 10) /* NET_BIND_SERVICE */ |  \
     (1ull << 18) /* SYS_CHROOT */ | (1ull << 31) /* SETFCAP */)

/* One process, of a start or of an exec. Everything is borrowed for the time of the call. */
typedef struct {
    const char *const *argv; /* argv[0] without a slash is looked up in the PATH of `env`, inside */
    const char *const *env;
    const char *cwd;   /* inside; NULL: "/". Made (owned by container root) when missing. */
    uint32_t uid, gid; /* as seen inside */
    const uint32_t *groups;
    size_t n_groups;
    uint64_t caps; /* bounding set; also effective and permitted when uid is 0 */
    bool no_new_privs;
    const RuntimeSeccomp *seccomp; /* NULL or no instructions: unconfined */
    const RuntimeRlimit *rlimits;
    size_t n_rlimits;
    const int *oom_score_adj; /* NULL: as is. What needs a right that we lack is skipped. */
    bool die_with_caller;     /* killed when the calling thread ends, however that happens */
    bool terminal;            /* a pty of the container; its master is RuntimeProcess.terminal_fd */
    uint16_t rows, columns;   /* of the terminal; 0: 24 x 80 */
    int stdin_fd, stdout_fd, stderr_fd; /* -1: /dev/null. Ignored with a terminal. */
} RuntimeCommand;
/* Zero but: fds -1, caps the default ones. */
void runtime_command_init(RuntimeCommand *command);

/* What was started. Close with runtime_process_clear(). */
typedef struct {
    pid_t pid; /* seen from the caller */
    int pidfd;
    int terminal_fd; /* master, or -1 */
    /* After a failure: the exit status that docker users know. 127: no such program; 126: found,
     * but it can't be executed; 125: everything before that. */
    int failed_status;
} RuntimeProcess;
#define RUNTIME_PROCESS_NONE                                                                       \
    {                                                                                              \
        0, -1, -1, 125                                                                             \
    }
void runtime_process_clear(RuntimeProcess *process);
/* The process behind a pidfd, 0 when it was reaped. */
pid_t runtime_pidfd_pid(int pidfd);

/* ---- the container */

typedef struct {
    /* One of: a path of the host; or an fd (O_PATH is enough) of a file or directory of the
     * caller's mount namespace; or a detached mount (fsmount, open_tree) with `detached`, which is
     * used up: its mount is attached, the fd stays the caller's. */
    const char *path;
    int fd; /* -1 when path is given */
    bool detached;
    /* Inside; made when missing (a file for a file). Links are followed inside only. */
    const char *target;
    bool readonly; /* recursively */
    bool suid;     /* default is nosuid; nodev always */
    bool noexec;
    int idmap_fd; /* user namespace by which the owners are mapped, -1: as they are */
} RuntimeBind;

typedef struct {
    const char *target;
    uint64_t size; /* bytes, 0: half of the memory */
    mode_t mode;   /* 0: 01777 */
    bool noexec;
} RuntimeTmpfs;

typedef struct {
    uint64_t memory;      /* bytes, 0: no limit */
    uint64_t memory_swap; /* memory + swap; 0: as the kernel does, UINT64_MAX: no limit */
    uint64_t pids;        /* 0: no limit */
    uint32_t cpu_quota_us, cpu_period_us; /* quota 0: no limit; period 0: 100000 */
    uint32_t cpu_shares;                  /* 0: default (1024) */
} RuntimeLimits;

typedef enum {
    RUNTIME_NET_NEW,  /* namespaces.net, or a new one */
    RUNTIME_NET_HOST, /* the caller's */
    RUNTIME_NET_JOIN, /* namespaces.net, which is somebody else's and set up already */
} RuntimeNet;

typedef struct {
    RuntimeCommand command;
    RuntimeNamespaces namespaces; /* borrowed fds */
    uint32_t id_base;             /* of the map of namespaces.user; 0 without one */
    RuntimeNet net;
    const char *hostname; /* NULL: as is */
    int root_fd;          /* a detached mount; used up, the fd stays the caller's (see below) */
    bool root_readonly;
    const RuntimeBind *binds; /* in this order, after /proc /sys /dev and tmpfs */
    size_t n_binds;
    const RuntimeTmpfs *tmpfs;
    size_t n_tmpfs;
    uint64_t shm_size;  /* 0: 64 MiB */
    bool unmasked;      /* leave out masked and read-only paths of /proc and /sys */
    const char *cgroup; /* "atomic/ID" below each hierarchy's root; NULL: the caller's */
    RuntimeLimits limits;

    /* Both NULL for no network but lo, which the runtime brings up in every new network namespace.
     *
     * attach_network runs in the caller, after the clone and while the child mounts, with the fd of
     * the container's network namespace (which may also be used before the start: it is
     * namespaces.net). configure_network runs after it, in the child, inside the network namespace,
     * with all rights over it, and before pivot_root (the host's files are still there): it must be
     * child-safe (no allocation, no locks, no GLib). With RUNTIME_NET_HOST and _JOIN neither is
     * called. A failure of either fails the start. */
    int (*attach_network)(void *data, pid_t pid, int netns_fd, SysError *error);
    int (*configure_network)(void *data, SysError *error);
    void *network_data;
} RuntimeSpec;
/* Zero but: fds -1, command as by runtime_command_init(). */
void runtime_spec_init(RuntimeSpec *spec);

/* Makes the cgroup, starts the container and returns when its program runs (execve succeeded) or
 * failed to. After a failure nothing is left: no process, no cgroup.
 *
 * Keep root_fd open until the init was reaped: the overlay is then torn down by close() in the
 * caller, and not by the dying init before its exit can be seen (0.2 ms against up to 30 ms). */
int runtime_start(const RuntimeSpec *spec, RuntimeProcess *out, SysError *error);

/* Another process in the namespaces and the cgroup (NULL: the caller's) of a running container. It
 * is the caller's child. The command's caps and seccomp should be those of the container. ESRCH
 * when the container has ended. */
int runtime_exec(int container_pidfd, const char *cgroup, const RuntimeCommand *command,
                 RuntimeProcess *out, SysError *error);

/* ---- cgroups */

/* SIGKILL to everything in the cgroup. An empty or absent one: success. */
int runtime_kill_all(const char *cgroup, SysError *error);
/* Removes the cgroup from all hierarchies, waiting up to a second for the last process to go.
 * Absent: success. */
int runtime_cgroup_remove(const char *cgroup, SysError *error);
/* Its directories in all hierarchies, absolute paths, ended by NULL, for a monitor that removes them without this
 * library; *out_oom_file (may be NULL in the result): the file in which the kernel counts what it killed for want of
 * memory. All by malloc. NULL: out of memory. */
char **runtime_cgroup_paths(const char *cgroup, char **out_oom_file);
/* Whether the kernel killed something in it for want of memory. Ask before removing it. */
bool runtime_cgroup_oom_killed(const char *cgroup);
/* One line for `info`: "v1", "v2" or "hybrid". */
const char *runtime_cgroup_version(void);

/* ---- seccomp */

/* The default profile (Docker's list) for a container with these capabilities. The compiled filter
 * is read from CACHE_DIR/seccomp/ (root only, normally $ATOMIC_RUN); one not seen before is
 * compiled by the program at `compiler` ("…/atomic-seccomp", the only one that links libseccomp),
 * ~15 ms, once per boot. */
int runtime_seccomp_load(const char *cache_dir, const char *compiler, uint64_t caps,
                         RuntimeSeccomp *out, SysError *error);
void runtime_seccomp_clear(RuntimeSeccomp *seccomp);

/* ---- names */

/* "NET_ADMIN", "cap_net_admin" or "ALL" -> mask; 0 when unknown. */
uint64_t runtime_cap_parse(const char *name);
/* "CAP_CHOWN" or NULL */
const char *runtime_cap_name(unsigned number);
