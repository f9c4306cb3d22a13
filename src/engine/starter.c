/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of the starter, from fork to the exec of atomic-monitor. Whatever it takes (address, ports, ids,
 * mount) it gives back when it fails, and hands to the monitor when the command runs. */
#include "engine/start.h"

#include "base/file.h"
#include "base/spawn.h"
#include "base/sys/process.h"
#include "engine/mounts.h"
#include "engine/parse.h"
#include "engine/process.h"
#include "engine/report.h"
#include "monitor/monitor.h"
#include "network/network.h"
#include "sandbox/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <unistd.h>

typedef struct {
    Engine *engine;
    const EngineDirs *dirs;
    EngineContainer *container;
    int listen_fd, report_fd;

    bool has_network; /* address and bridge are taken */
    Network network;
    struct in_addr address;
    char address_text[INET_ADDRSTRLEN];
    NetworkPort *ports;
    int *port_fds; /* ends in -1 */
    size_t n_ports;

    Sandbox *sandbox;
    RuntimeProcess process;
    RuntimeBind *binds;
    char **env;
    EnginePipes pipes;
} Starter;

/* --- network ------------------------------------------------------------------------------------- */

/* For the address pool: does who holds an address still need it? */
static bool is_alive(const char *id, void *data)
{
    Starter *s = data;
    g_auto(EngineDirs) dirs = {0};
    if (!engine_dirs_find(s->engine, id, &dirs))
        return false;
    EngineState state = {0};
    bool running = engine_state_refresh(&dirs, &state, NULL) && state.status == ENGINE_RUNNING;
    engine_state_clear(&state);
    if (running)
        return true;
    /* somebody is starting or removing it while its lock is held */
    g_autofree char *path = engine_dirs_run_file(&dirs, "lock");
    _autofd int fd = open(path, O_RDWR | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

static void add_port(Starter *s, GArray *ports, const EnginePort *asked)
{
    NetworkPort port = {
        .host_port = asked->host_port,
        .container_port = asked->container_port,
        .protocol = asked->udp ? IPPROTO_UDP : IPPROTO_TCP,
        .container_ip = s->address,
    };
    if (*asked->host_ip)
        inet_pton(AF_INET, asked->host_ip, &port.host_ip);
    g_array_append_val(ports, port);
}

static bool is_published(const GArray *ports, const EnginePort *port)
{
    for (guint i = 0; i < ports->len; i++) {
        const NetworkPort *p = &g_array_index(ports, NetworkPort, i);
        if (p->container_port == port->container_port && (p->protocol == IPPROTO_UDP) == port->udp)
            return true;
    }
    return false;
}

static gint by_number(gconstpointer a, gconstpointer b)
{
    const EnginePort *x = *(EnginePort *const *)a, *y = *(EnginePort *const *)b;
    return x->container_port - y->container_port;
}

/* -P: every exposed port that no -p names. */
static void add_exposed(Starter *s, GArray *ports)
{
    g_autoptr(GPtrArray) exposed = engine_ports_new();
    for (char **text = s->container->config.exposed; *text; text++)
        engine_parse_expose(*text, exposed, NULL);
    g_ptr_array_sort(exposed, by_number);
    for (guint i = 0; i < exposed->len; i++)
        if (!is_published(ports, exposed->pdata[i]))
            add_port(s, ports, exposed->pdata[i]);
}

static bool reserve_ports(Starter *s, GError **error)
{
    const EngineConfig *config = &s->container->config;
    GArray *ports = g_array_new(FALSE, TRUE, sizeof(NetworkPort));
    for (guint i = 0; i < config->ports->len; i++)
        add_port(s, ports, config->ports->pdata[i]);
    if (config->publish_all)
        add_exposed(s, ports);
    s->n_ports = ports->len;
    s->ports = (NetworkPort *)(void *)g_array_free(ports, FALSE);
    s->port_fds = g_new(int, s->n_ports + 1);
    for (size_t i = 0; i <= s->n_ports; i++)
        s->port_fds[i] = -1;
    for (size_t i = 0; i < s->n_ports; i++) {
        SysError failed;
        s->port_fds[i] = network_port_reserve(&s->ports[i], &failed);
        if (s->port_fds[i] < 0)
            return error_from_sys(error, &failed);
    }
    return true;
}

static bool prepare_network(Starter *s, GError **error)
{
    const char *run = engine_run(s->engine);
    SysError failed;
    if (network_setup(run, &s->network, &failed) < 0 ||
        network_address_take(run, &s->network, s->dirs->id, is_alive, s, &s->address, &failed) < 0)
        return error_from_sys(error, &failed);
    s->has_network = true;
    inet_ntop(AF_INET, &s->address, s->address_text, sizeof s->address_text);
    return reserve_ports(s, error);
}

static void release_network(Starter *s)
{
    SysError ignored;
    if (!s->has_network)
        return;
    if (s->n_ports)
        network_unpublish(s->network.bridge, s->ports, s->n_ports, &ignored);
    network_address_release(engine_run(s->engine), s->network.bridge, s->dirs->id, &ignored);
}

/* In the starter, while the child mounts. */
static int attach_network(void *data, pid_t pid, int netns_fd, SysError *error)
{
    Starter *s = data;
    if (network_attach(&s->network, s->dirs->id, pid, netns_fd, s->address, error) < 0)
        return -1;
    return s->n_ports ? network_publish(s->network.bridge, s->ports, s->n_ports, error) : 0;
}

/* In the child. */
static int configure_network(void *data, SysError *error)
{
    const Starter *s = data;
    return network_configure(&s->network, s->address, error);
}

/* --- streams --------------------------------------------------------------------------------------- */

static bool make_streams(Starter *s, RuntimeCommand *command, GError **error)
{
    const EngineConfig *config = &s->container->config;
    if (config->tty) {
        struct winsize size;
        command->terminal = true;
        if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0) {
            command->rows = size.ws_row;
            command->columns = size.ws_col;
        }
        return true;
    }
    if (!engine_pipes_open(&s->pipes, config->open_stdin, error))
        return false;
    command->stdin_fd = s->pipes.in[0];
    command->stdout_fd = s->pipes.out[0];
    command->stderr_fd = s->pipes.err[0];
    return true;
}

/* --- the command ----------------------------------------------------------------------------------- */

static const char **join_command(const EngineConfig *config)
{
    GPtrArray *argv = g_ptr_array_new();
    for (char **word = config->entrypoint; *word; word++)
        g_ptr_array_add(argv, *word);
    for (char **word = config->cmd; *word; word++)
        g_ptr_array_add(argv, *word);
    g_ptr_array_add(argv, NULL);
    return (const char **)g_ptr_array_free(argv, FALSE);
}

static bool run_command(Starter *s, Store *store, int *out_status, GError **error)
{
    const EngineConfig *config = &s->container->config;
    SandboxUser user = {0};
    if (!sandbox_user_resolve(sandbox_root_fd(s->sandbox), config->user, &user, error))
        return false;
    g_autofree const char **argv = join_command(config);
    s->env = engine_process_env(config, NULL, config->tty, user.home);
    RuntimeCommand command;
    runtime_command_init(&command);
    command.argv = argv;
    command.env = (const char *const *)s->env;
    command.cwd = config->working_dir;
    command.uid = user.uid;
    command.gid = user.gid;
    command.groups = user.groups;
    command.n_groups = user.n_groups;
    command.caps = engine_process_caps(config);
    bool good =
        make_streams(s, &command, error) &&
        engine_binds_open(s->engine, store, config, sandbox_id_base(s->sandbox), s->binds, error);
    if (good && !sandbox_start(s->sandbox, &command, &s->process, error)) {
        *out_status = s->process.failed_status;
        good = false;
    }
    sandbox_user_clear(&user);
    return good;
}

static void set_network(Starter *s, SandboxOptions *options)
{
    static const SandboxNet nets[] = {
        [ENGINE_NETWORK_BRIDGE] = SANDBOX_NET_BRIDGE,
        [ENGINE_NETWORK_NONE] = SANDBOX_NET_NONE,
        [ENGINE_NETWORK_HOST] = SANDBOX_NET_HOST,
    };
    options->net = nets[s->container->config.network];
    if (!s->has_network)
        return;
    options->attach_network = attach_network;
    options->configure_network = configure_network;
    options->network_data = s;
    options->address = s->address_text;
}

static int open_dir(const EngineDirs *dirs, bool keep, const char *name, GError **error)
{
    g_autofree char *path =
        keep ? engine_dirs_keep_file(dirs, name) : engine_dirs_run_file(dirs, name);
    if (!file_ensure_dir_at(AT_FDCWD, path, 0700, error))
        return -1;
    return file_open_dir_at(AT_FDCWD, path, error);
}

static bool prepare_and_run(Starter *s, int *out_status, GError **error)
{
    const EngineConfig *config = &s->container->config;
    if (config->network == ENGINE_NETWORK_BRIDGE && !prepare_network(s, error))
        return false;
    Store *store = engine_store(s->engine, error);
    Digest image;
    if (!store)
        return false;
    if (!digest_parse(config->image_digest, &image))
        return error_throw(error, ERROR_CORRUPT, "'%s' is not an image", config->image_digest);
    _autofd int layer = open_dir(s->dirs, true, "layer", error);
    _autofd int files = layer < 0 ? -1 : open_dir(s->dirs, false, "etc", error);
    if (files < 0)
        return false;
    s->binds = g_new0(RuntimeBind, config->binds->len + 1);
    SandboxOptions options;
    sandbox_options_init(&options);
    options.name = config->id;
    options.store = store;
    options.image = &image;
    options.writable_fd = layer;
    options.volatile_upper = s->dirs->fleeting;
    options.root_readonly = config->read_only;
    options.hostname = config->hostname;
    options.files_fd = files;
    options.binds = s->binds; /* filled in when the ids are known, before sandbox_start() */
    options.n_binds = config->binds->len;
    options.limits.memory = (uint64_t)config->memory;
    options.limits.pids = (uint64_t)config->pids_limit;
    set_network(s, &options);
    s->sandbox = sandbox_prepare(&options, error);
    return s->sandbox && run_command(s, store, out_status, error);
}

/* --- the record -------------------------------------------------------------------------------------- */

static void record_ports(const Starter *s, EngineState *state)
{
    for (size_t i = 0; i < s->n_ports; i++) {
        const NetworkPort *from = &s->ports[i];
        char ip[INET_ADDRSTRLEN];
        EnginePort *port = g_new0(EnginePort, 1);
        port->host_ip = g_strdup(from->host_ip.s_addr == INADDR_ANY
                                     ? ""
                                     : inet_ntop(AF_INET, &from->host_ip, ip, sizeof ip));
        port->host_port = from->host_port;
        port->container_port = from->container_port;
        port->udp = from->protocol == IPPROTO_UDP;
        g_ptr_array_add(state->ports, port);
    }
}

static bool record_start(const Starter *s, GError **error)
{
    EngineState state = {
        .status = ENGINE_RUNNING,
        .pid = s->process.pid,
        .monitor_pid = getpid(),
        .start_ticks = engine_process_start(s->process.pid),
        .boot_id = g_strdup(sys_boot_id()),
        .started = g_get_real_time(),
        .ports = engine_ports_new(),
    };
    if (s->has_network) {
        char gateway[INET_ADDRSTRLEN];
        state.address = g_strdup(s->address_text);
        state.gateway = g_strdup(inet_ntop(AF_INET, &s->network.gateway, gateway, sizeof gateway));
        state.prefix_length = s->network.prefix;
        state.warning = *s->network.hint ? g_strdup(s->network.hint) : NULL;
        record_ports(s, &state);
    }
    bool good = engine_state_save(s->dirs, &state, error);
    engine_state_clear(&state);
    return good;
}

/* --- becoming the monitor ------------------------------------------------------------------------------ */

typedef struct {
    char *program, *self, *log, *name, *ref;
    const char *cleanup[5];
    const char *remove_first[4];
    const char *remove[2];
    const char **ports;
    char **cgroups, *oom_file;
} MonitorWords;

/* A fleeting container is gone, for everybody who asks, before its client hears of the end. Another one has its end
 * written down for good as the monitor's last act: it costs fsyncs, for which no client waits. */
static void set_cleanup(const Starter *s, MonitorSpec *spec, MonitorWords *words)
{
    const EngineConfig *config = &s->container->config;
    if (!s->dirs->fleeting) {
        words->cleanup[0] = words->self;
        words->cleanup[1] = "wait";
        words->cleanup[2] = "--record";
        words->cleanup[3] = config->id;
        spec->cleanup = words->cleanup;
        return;
    }
    words->remove_first[0] = words->name;
    words->remove_first[1] = words->ref;
    words->remove_first[2] = s->dirs->run;
    words->remove[0] = s->dirs->keep;
    spec->remove_first = words->remove_first;
    spec->remove = words->remove;
}

static void set_ports(const Starter *s, MonitorSpec *spec, MonitorWords *words)
{
    if (!s->has_network)
        return;
    words->ports = g_new0(const char *, s->n_ports + 1);
    for (size_t i = 0; i < s->n_ports; i++)
        words->ports[i] = network_port_format(&s->ports[i], g_malloc(NETWORK_PORT_TEXT));
    spec->port_fds = s->port_fds;
    spec->bridge = s->network.bridge;
    spec->run_dir = engine_run(s->engine);
    spec->ports = words->ports;
}

static bool find_words(const Starter *s, MonitorWords *words, GError **error)
{
    const EngineConfig *config = &s->container->config;
    g_autofree char *log_dir = engine_dirs_keep_file(s->dirs, "log");
    words->program = spawn_helper_path("atomic-monitor", error);
    words->self = words->program ? file_readlink_at(AT_FDCWD, "/proc/self/exe", error) : NULL;
    words->log = g_build_filename(log_dir, "container.log", NULL);
    words->name = g_build_filename(engine_root(s->engine), "names", config->name, NULL);
    words->ref = g_build_filename(store_path(engine_store(s->engine, NULL)),
                                  "images/refs/container", config->id, NULL);
    return words->self && file_ensure_dir_at(AT_FDCWD, log_dir, 0700, error);
}

/* Returns only on failure. From here on the container is the monitor's: it is not killed for a monitor that
 * can't be executed, but that is an error of the start all the same, so it is killed here. */
static void become_monitor(const Starter *s, GError **error)
{
    const EngineConfig *config = &s->container->config;
    MonitorWords words = {0};
    if (!find_words(s, &words, error))
        return;
    MonitorSpec spec = MONITOR_SPEC_INIT;
    spec.program = words.program;
    spec.id = config->id;
    spec.dir = s->dirs->run;
    spec.pid = s->process.pid;
    spec.pid_fd = s->process.pidfd;
    spec.started = g_get_real_time() * 1000;
    spec.stdout_fd = s->pipes.out[1];
    spec.stderr_fd = s->pipes.err[1];
    spec.stdin_fd = s->pipes.in[1];
    spec.pty_fd = s->process.terminal_fd;
    spec.stdin_open = config->open_stdin;
    spec.stdin_once = config->attach_stdin;
    spec.listen_fd = s->listen_fd;
    spec.ready_fd = s->report_fd;
    spec.mount_fd = sandbox_root_fd(s->sandbox);
    spec.log = words.log;
    set_ports(s, &spec, &words);
    set_cleanup(s, &spec, &words);
    words.cgroups = runtime_cgroup_paths(sandbox_cgroup(s->sandbox), &words.oom_file);
    spec.cgroups = (const char *const *)words.cgroups;
    spec.oom_file = words.oom_file;
    SysError failed;
    monitor_exec(&spec, &failed);
    error_from_sys(error, &failed);
}

_noreturn void engine_starter_main(Engine *engine, const EngineDirs *dirs,
                                   EngineContainer *container, int listen_fd, int report_fd)
{
    Starter s = {
        .engine = engine,
        .dirs = dirs,
        .container = container,
        .listen_fd = listen_fd,
        .report_fd = report_fd,
        .process = RUNTIME_PROCESS_NONE,
        .pipes = ENGINE_PIPES_NONE,
    };
    GError *failed = NULL;
    int status = 125;
    /* a Ctrl-C of the terminal is the client's, who passes it on */
    setsid();
    if (prepare_and_run(&s, &status, &failed)) {
        if (record_start(&s, &failed))
            become_monitor(&s, &failed);
        SysError ignored;
        runtime_kill_all(sandbox_cgroup(s.sandbox), &ignored);
        sandbox_wait(s.sandbox, &s.process, NULL, NULL);
        g_autofree char *record = engine_dirs_run_file(dirs, "state.json");
        unlink(record);
    }
    release_network(&s);
    sandbox_free(s.sandbox);
    engine_report_failure(report_fd, status, failed);
    _exit(1);
}

void engine_release_leftovers(Engine *engine, const EngineContainer *container)
{
    const EngineState *state = &container->state;
    SysError ignored;
    g_autofree char *cgroup = g_strconcat("atomic/", container->config.id, NULL);
    runtime_kill_all(cgroup, &ignored);
    runtime_cgroup_remove(cgroup, &ignored);
    Network network;
    if (!state->address || network_setup(engine_run(engine), &network, &ignored) < 0)
        return;
    g_autofree NetworkPort *ports = g_new0(NetworkPort, state->ports->len + 1);
    for (guint i = 0; i < state->ports->len; i++) {
        const EnginePort *port = state->ports->pdata[i];
        ports[i] = (NetworkPort){.host_port = port->host_port,
                                 .container_port = port->container_port,
                                 .protocol = port->udp ? IPPROTO_UDP : IPPROTO_TCP};
        if (*port->host_ip)
            inet_pton(AF_INET, port->host_ip, &ports[i].host_ip);
    }
    /* a port that can be reserved is nobody's: one that can't may be another container's by now */
    for (guint i = 0; i < state->ports->len; i++) {
        _autofd int reserved = network_port_reserve(&ports[i], &ignored);
        if (reserved >= 0)
            network_unpublish(network.bridge, &ports[i], 1, &ignored);
    }
    network_address_release(engine_run(engine), network.bridge, container->config.id, &ignored);
}
