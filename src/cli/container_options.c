/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/container_options.h"

#include <string.h>

void container_options_clear(ContainerOptions *options)
{
    char **strings[] = {
        &options->cidfile, &options->name,        &options->hostname,
        &options->user,    &options->network,     &options->entrypoint,
        &options->memory,  &options->working_dir, &options->stop_signal,
    };
    char ***lists[] = {
        &options->publish, &options->expose, &options->env,     &options->env_files,
        &options->volumes, &options->labels, &options->cap_add, &options->cap_drop,
    };
    cli_common_clear(&options->common);
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
        g_free(*strings[i]);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        g_strfreev(*lists[i]);
    memset(options, 0, sizeof *options);
}

/* Docker has them, we don't yet: better than "unknown option". */
static gboolean refuse(const char *name, const char *value, void *data, GError **error)
{
    return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: %s", name);
}

#define LATER(name, flags)                                                                         \
    {                                                                                              \
        name, 0, G_OPTION_FLAG_HIDDEN | (flags), G_OPTION_ARG_CALLBACK, refuse, NULL, NULL         \
    }

static const GOptionEntry later[] = {
    LATER("add-host", 0),
    LATER("attach", 0),
    LATER("cpu-shares", 0),
    LATER("cpus", 0),
    LATER("device", 0),
    LATER("dns", 0),
    LATER("gpus", 0),
    LATER("group-add", 0),
    LATER("health-cmd", 0),
    LATER("ip", 0),
    LATER("ipc", 0),
    LATER("link", 0),
    LATER("log-driver", 0),
    LATER("log-opt", 0),
    LATER("mount", 0),
    LATER("network-alias", 0),
    LATER("pid", 0),
    LATER("platform", 0),
    LATER("privileged", G_OPTION_FLAG_NO_ARG),
    LATER("pull", 0),
    LATER("restart", 0),
    LATER("security-opt", 0),
    LATER("shm-size", 0),
    LATER("sysctl", 0),
    LATER("tmpfs", 0),
    LATER("ulimit", 0),
    LATER("userns", 0),
    LATER("volumes-from", 0),
    G_OPTION_ENTRY_NULL,
};

#define TEXT G_OPTION_ARG_FILENAME
#define LIST G_OPTION_ARG_FILENAME_ARRAY
#define FLAG G_OPTION_ARG_NONE

static GOptionEntry *make_entries(ContainerOptions *o, bool run)
{
    const GOptionEntry own[] = {
        {"interactive", 'i', 0, FLAG, &o->interactive, "Keep standard input open", NULL},
        {"tty", 't', 0, FLAG, &o->tty, "Give it a terminal", NULL},
        {"publish", 'p', 0, LIST, &o->publish, "Publish a port", "[IP:][HOSTPORT:]PORT[/PROTOCOL]"},
        {"publish-all", 'P', 0, FLAG, &o->publish_all, "Publish all exposed ports to random ports",
         NULL},
        {"expose", 0, 0, LIST, &o->expose, "Expose a port", "PORT[/PROTOCOL]"},
        {"name", 0, 0, TEXT, &o->name, "Name of the container", "NAME"},
        {"hostname", 'h', 0, TEXT, &o->hostname, "Its host name", "NAME"},
        {"env", 'e', 0, LIST, &o->env, "Set an environment variable", "NAME[=VALUE]"},
        {"env-file", 0, 0, LIST, &o->env_files, "Read environment variables from a file", "FILE"},
        {"volume", 'v', 0, LIST, &o->volumes, "Bind a directory or file of the host",
         "SOURCE:TARGET[:ro]"},
        {"workdir", 'w', 0, TEXT, &o->working_dir, "Working directory", "DIR"},
        {"user", 'u', 0, TEXT, &o->user, "User inside", "USER[:GROUP]"},
        {"entrypoint", 0, 0, TEXT, &o->entrypoint, "Replace the image's entry point", "PROGRAM"},
        {"label", 'l', 0, LIST, &o->labels, "Set a label", "NAME[=VALUE]"},
        {"network", 0, 0, TEXT, &o->network, "bridge, none or host", "NETWORK"},
        {"net", 0, G_OPTION_FLAG_HIDDEN, TEXT, &o->network, NULL, NULL},
        {"read-only", 0, 0, FLAG, &o->read_only, "Make its root read-only", NULL},
        {"cap-add", 0, 0, LIST, &o->cap_add, "Add a capability", "CAP"},
        {"cap-drop", 0, 0, LIST, &o->cap_drop, "Drop a capability", "CAP"},
        {"memory", 'm', 0, TEXT, &o->memory, "Limit its memory", "BYTES"},
        {"pids-limit", 0, 0, G_OPTION_ARG_INT64, &o->pids_limit, "Limit its processes", "N"},
        {"stop-signal", 0, 0, TEXT, &o->stop_signal, "Signal that stops it", "SIGNAL"},
        {"rm", 0, 0, FLAG, &o->remove, "Remove it when it ends", NULL},
        {"init", 0, 0, FLAG, &o->init, "Run an init inside that reaps processes", NULL},
        {"cidfile", 0, 0, TEXT, &o->cidfile, "Write its id into a file", "FILE"},
    };
    const GOptionEntry detach = {
        "detach", 'd', 0, FLAG, &o->detach, "Run in the background and print its id", NULL};
    GArray *entries = g_array_new(TRUE, TRUE, sizeof(GOptionEntry));
    if (run)
        g_array_append_val(entries, detach);
    g_array_append_vals(entries, own, ARRAY_SIZE(own));
    g_array_append_vals(entries, later, ARRAY_SIZE(later) - 1);
    return (GOptionEntry *)(void *)g_array_free(entries, FALSE);
}

static const char *const *list_of(char **list)
{
    return (const char *const *)list;
}

bool container_options_parse(const CliCommand *command, int argc, char **argv,
                             ContainerOptions *options, GError **error)
{
    bool run = strcmp(command->name, "run") == 0;
    g_autofree GOptionEntry *entries = make_entries(options, run);
    if (!cli_parse(command, entries, &options->common, &argc, &argv, 1, -1, true, error))
        return false;
    options->create = (EngineCreateOptions){
        .image = argv[1],
        .command = (const char *const *)argv + 2,
        .name = options->name,
        .hostname = options->hostname,
        .user = options->user,
        .working_dir = options->working_dir,
        .network = options->network,
        .stop_signal = options->stop_signal,
        .entrypoint = options->entrypoint,
        .memory = options->memory,
        .env = list_of(options->env),
        .env_files = list_of(options->env_files),
        .labels = list_of(options->labels),
        .publish = list_of(options->publish),
        .expose = list_of(options->expose),
        .volumes = list_of(options->volumes),
        .cap_add = list_of(options->cap_add),
        .cap_drop = list_of(options->cap_drop),
        .pids_limit = options->pids_limit,
        .tty = options->tty,
        .open_stdin = options->interactive,
        .auto_remove = options->remove,
        .read_only = options->read_only,
        .init = options->init,
        .publish_all = options->publish_all,
        .detach = options->detach,
    };
    return true;
}
