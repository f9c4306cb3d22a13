/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The engine: containers, as Docker's users know them, without a daemon.
 *
 * The state is files, and every caller (command line, API server) is one more reader and writer of them:
 *
 *     ATOMIC_ROOT/containers/ID/config.json   what was asked for; written once, at create; durable
 *     ATOMIC_ROOT/containers/ID/state.json    how it last ended; durable
 *     ATOMIC_ROOT/containers/ID/layer/        the writable layer (overlay upper and work)
 *     ATOMIC_ROOT/containers/ID/log/          Docker json-file logs
 *     ATOMIC_RUN/containers/ID/state.json     the running (or last) process: boot id, pid, start time, address, ports
 *     ATOMIC_RUN/containers/ID/exit.json      the monitor's exit record; newer than state.json
 *     ATOMIC_RUN/containers/ID/attach         the monitor's socket
 *     ATOMIC_RUN/containers/ID/etc/           hosts, hostname, resolv.conf of the container
 *     ATOMIC_ROOT/names/NAME, ATOMIC_RUN/names/NAME  -> ID  (symbolic links: a name is taken by creating one)
 *     images/refs/container/ID in the store   protects the image while the container exists
 *
 * A container made with --rm lives below ATOMIC_RUN only, config.json and layer included as far as they
 * are files (its layer is under ATOMIC_ROOT/volatile/ID: the run directory is often a tmpfs); nothing of it
 * is synced, and nothing of it survives its exit or a reboot.
 *
 * Listing takes no lock: each file is replaced by rename, a container whose directory goes away meanwhile
 * is skipped. A container runs if its recorded pid exists with the recorded start time in the recorded boot;
 * its monitor need not be alive for that. What changes a container (start, stop, rm) holds the flock of
 * ATOMIC_RUN/containers/ID/lock while it does so.
 *
 * Each running container is the child of its own atomic-monitor, which is started here and outlives us.
 * Errors: ERROR_NOT_FOUND no such container or image, ERROR_EXISTS name or port in use, ERROR_BUSY wrong
 * state for what was asked, ERROR_INVALID what can't be right.
 */
#pragma once

#include "base/error.h"
#include "store/store.h"

#include <jansson.h>
#include <sys/types.h>

typedef struct Engine Engine;

/* Opens nothing yet; `store` is the --store option or NULL. */
Engine *engine_new(const char *store);
void engine_free(Engine *engine);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Engine, engine_free)
const char *engine_root(const Engine *engine); /* $ATOMIC_ROOT, else /var/lib/atomic */
const char *engine_run(const Engine *engine);  /* $ATOMIC_RUN, else /run/atomic */
/* Opened at the first call; borrowed. */
Store *engine_store(Engine *engine, GError **error);

/* --- what a container is -------------------------------------------------------------------------------- */

typedef struct {
    char *host_ip;      /* "" = every address */
    uint16_t host_port; /* 0 = chosen when the container starts */
    uint16_t container_port;
    bool udp;
} EnginePort;

typedef struct {
    char *source, *target; /* absolute */
    bool read_only;
    bool identity; /* `:idmap`: ids unshifted, container root writes there as the host's root */
} EngineBind;

typedef enum {
    ENGINE_NETWORK_BRIDGE,
    ENGINE_NETWORK_NONE,
    ENGINE_NETWORK_HOST,
} EngineNetwork;

/* What was asked for, the image's defaults already applied. Lists are never NULL. */
typedef struct {
    char *id; /* 64 hex digits */
    char *name;
    int64_t created;    /* microseconds since 1970 */
    char *image;        /* as typed */
    char *image_id;     /* "sha256:…" */
    char *image_digest; /* the EROFS image that is mounted */
    char **entrypoint, **cmd;
    char **env;
    char *working_dir, *user, *hostname;
    char **labels;     /* K=V */
    char **exposed;    /* "80/tcp" */
    char *stop_signal; /* "" = SIGTERM */
    bool tty, open_stdin, auto_remove, read_only, init, publish_all;
    bool attach_stdin, attach_output;
    EngineNetwork network;
    GPtrArray *ports;           /* EnginePort *: asked for by -p */
    GPtrArray *binds;           /* EngineBind * */
    char **cap_add, **cap_drop; /* "CAP_…" or "ALL" */
    int64_t memory, pids_limit; /* 0 = no limit */
} EngineConfig;

typedef enum {
    ENGINE_CREATED,
    ENGINE_RUNNING,
    ENGINE_EXITED,
} EngineStatus;
/* "created", "running", "exited" */
const char *engine_status_name(EngineStatus status);

/* What is so. */
typedef struct {
    EngineStatus status;
    pid_t pid;            /* as the host sees it; 0 unless running */
    pid_t monitor_pid;    /* 0 when unknown */
    uint64_t start_ticks; /* of pid: field 22 of /proc/PID/stat */
    char *boot_id;
    bool exit_known; /* false: ended while nobody watched (killed monitor, power loss) */
    int exit_code;   /* 128+n for signal n */
    bool oom_killed;
    char *error;               /* why the last start failed, or NULL */
    char *warning;             /* about this start, for whoever asked for it; or NULL */
    int64_t started, finished; /* microseconds since 1970; 0 = never */
    char *address;             /* "10.88.0.2", or NULL */
    char *gateway;
    unsigned prefix_length;
    GPtrArray *ports; /* EnginePort *: as bound, host ports filled in */
} EngineState;

typedef struct {
    EngineConfig config;
    EngineState state;
} EngineContainer;
void engine_container_free(EngineContainer *container);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EngineContainer, engine_container_free)

/* Docker's `inspect` document of a container; also the base of the API's. A new reference. */
json_t *engine_inspect(Engine *engine, const EngineContainer *container);

/* --- finding -------------------------------------------------------------------------------------------- */

/* A name, a full id, or a unique prefix of an id; the name wins. ERROR_NOT_FOUND "no such container: X". */
EngineContainer *engine_find(Engine *engine, const char *name, GError **error);
/* The directory of what the container changed (overlayfs's upper, ids as inside); not there before the first start. */
char *engine_container_upper(const Engine *engine, const EngineContainer *container);
/* EngineContainer *, newest first; unreadable records are skipped. */
GPtrArray *engine_list(Engine *engine, GError **error);

/* --- making and starting -------------------------------------------------------------------------------- */

/* What `create` and `run` are given. NULL and 0 mean: not given. Nothing is taken over. */
typedef struct {
    const char *image, *name, *hostname, *user, *working_dir, *network, *stop_signal;
    const char *entrypoint; /* "" resets the image's */
    const char *const *command;
    const char *const *env, *const *env_files,
                                *const *labels; /* "K=V", or "K": from our environment */
    const char *const *publish, *const *expose, *const *volumes, *const *cap_add, *const *cap_drop;
    const char *memory; /* "64m" */
    int64_t pids_limit;
    bool tty, open_stdin, auto_remove, read_only, init, publish_all;
    bool detach;
} EngineCreateOptions;

/* Checks everything that can be checked without starting, takes the name, writes the record. On failure
 * nothing is left. */
EngineContainer *engine_create(Engine *engine, const EngineCreateOptions *options, GError **error);

/* Starts a created or ended container and returns when its command has been executed; state is renewed.
 * *out_attach, when not NULL, is a connected client of the monitor's attach socket made before the start, so
 * that no byte is lost (-1 when it failed). When it is the command that could not be executed *out_status is
 * 127 (not found) or 126, otherwise 125. */
bool engine_start(Engine *engine, EngineContainer *container, int *out_attach, int *out_status,
                  GError **error);

/* Copies between our standard streams and the attach socket until the container ended; with `tty` our
 * terminal is raw meanwhile and its size follows. Signals that we get are sent to the container. Returns its exit
 * status, 0 when the user detached (ctrl-p ctrl-q), -1 on failure. */
int engine_stream(Engine *engine, EngineContainer *container, int attach, bool tty, bool with_stdin,
                  GError **error);

/* What a monitor has done at last (`atomic wait --record ID`): the end of a container that has ended goes into its
 * durable record, unless somebody else is changing the container and does it himself. */
bool engine_record_end(Engine *engine, EngineContainer *container, GError **error);

/* Waits until the container has ended. */
bool engine_wait(Engine *engine, EngineContainer *container, int *out_exit_code, GError **error);

/* --- acting on it --------------------------------------------------------------------------------------- */

/* "TERM", "SIGTERM", "15"; -1 with ERROR_INVALID. */
int engine_parse_signal(const char *text, GError **error);
/* ERROR_BUSY when it isn't running. */
bool engine_kill(Engine *engine, EngineContainer *container, int signal, GError **error);
/* The container's stop signal, then SIGKILL after `timeout` seconds (negative: 10). Not running: success. */
bool engine_stop(Engine *engine, EngineContainer *container, int timeout, GError **error);
/* ERROR_BUSY when it runs and not `force`. */
bool engine_remove(Engine *engine, EngineContainer *container, bool force, GError **error);

typedef struct {
    const char *const *command;
    const char *const *env;
    const char *user, *working_dir;
    bool tty, open_stdin, detach;
} EngineExecOptions;
/* Runs a command inside, our own streams attached. Returns its exit status (126, 127: it could not be
 * executed, the error says why), -1 on our own failure. Detached: 0 when it was executed. */
int engine_exec(Engine *engine, EngineContainer *container, const EngineExecOptions *options,
                GError **error);

typedef struct {
    bool follow, timestamps;
    int64_t tail; /* negative: all */
} EngineLogsOptions;
/* The log to our stdout and stderr; with follow until the container ends. */
bool engine_logs(Engine *engine, EngineContainer *container, const EngineLogsOptions *options,
                 GError **error);

/* --- what the whole uses --------------------------------------------------------------------------------- */

typedef struct {
    unsigned containers, running, created, exited, images;
    StoreUsage usage;
    uint64_t image_bytes;       /* of the distinct objects that images refer to */
    uint64_t shared_bytes;      /* of those that a deployed host tree refers to as well */
    const char *cgroup_version; /* "v1", "v2", "hybrid" */
} EngineInfo;
bool engine_info(Engine *engine, EngineInfo *out_info, GError **error);
