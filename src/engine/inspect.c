/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The document of `inspect`: Docker's members, as far as there is something to say. */
#include "engine/parse.h"
#include "engine/state.h"

#include <string.h>

static json_t *strings(char *const *values)
{
    json_t *array = json_array();
    for (; *values; values++)
        json_array_append_new(array, json_string(*values));
    return array;
}

/* Docker says null for an empty list of these. */
static json_t *strings_or_null(char *const *values)
{
    return *values ? strings(values) : json_null();
}

static json_t *time_of(int64_t microseconds)
{
    g_autofree char *text = engine_format_time(microseconds);
    return json_string(text);
}

/* {"80/tcp": [{"HostIp": …, "HostPort": …}]} */
static json_t *port_map(const GPtrArray *ports, char *const *exposed)
{
    json_t *map = json_object();
    for (; exposed && *exposed; exposed++)
        json_object_set_new(map, *exposed, json_null());
    for (guint i = 0; ports && i < ports->len; i++) {
        const EnginePort *port = ports->pdata[i];
        g_autofree char *key = engine_format_port(port);
        char number[8] = "";
        if (port->host_port)
            snprintf(number, sizeof number, "%u", port->host_port);
        json_t *list = json_object_get(map, key);
        if (!json_is_array(list)) {
            json_object_set_new(map, key, json_array());
            list = json_object_get(map, key);
        }
        json_array_append_new(list, json_pack("{s:s, s:s}", "HostIp",
                                              *port->host_ip ? port->host_ip : "0.0.0.0",
                                              "HostPort", number));
    }
    return map;
}

static json_t *state_document(const EngineState *state)
{
    bool running = state->status == ENGINE_RUNNING;
    const char *problem = state->error ? state->error : "";
    if (state->status == ENGINE_EXITED && !state->exit_known)
        problem = "the monitor was killed: how the container ended is unknown";
    return json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:i, s:i, s:s, s:o, s:o}", "Status",
                     engine_status_name(state->status), "Running", running, "Paused", 0,
                     "Restarting", 0, "OOMKilled", state->oom_killed, "Dead", 0, "Pid",
                     running ? state->pid : 0, "ExitCode", state->exit_code, "Error", problem,
                     "StartedAt", time_of(state->started), "FinishedAt",
                     time_of(running ? 0 : state->finished));
}

static json_t *label_map(char *const *labels)
{
    json_t *map = json_object();
    for (; *labels; labels++) {
        g_autofree char *key = g_strndup(*labels, strcspn(*labels, "="));
        const char *value = strchr(*labels, '=');
        json_object_set_new(map, key, json_string(value ? value + 1 : ""));
    }
    return map;
}

static json_t *exposed_map(char *const *exposed)
{
    json_t *map = json_object();
    for (; *exposed; exposed++)
        json_object_set_new(map, *exposed, json_object());
    return map;
}

static json_t *config_document(const EngineConfig *config)
{
    json_t *document =
        json_pack("{s:s, s:s, s:b, s:b, s:b, s:b, s:b, s:o, s:o, s:s, s:s, s:o}", "Hostname",
                  config->hostname, "User", config->user, "AttachStdin", config->attach_stdin,
                  "AttachStdout", config->attach_output, "AttachStderr", config->attach_output,
                  "Tty", config->tty, "OpenStdin", config->open_stdin, "Env", strings(config->env),
                  "Cmd", strings_or_null(config->cmd), "Image", config->image, "WorkingDir",
                  config->working_dir, "Entrypoint", strings_or_null(config->entrypoint));
    json_object_set_new(document, "Labels", label_map(config->labels));
    json_object_set_new(document, "ExposedPorts", exposed_map(config->exposed));
    if (*config->stop_signal)
        json_object_set_new(document, "StopSignal", json_string(config->stop_signal));
    return document;
}

static json_t *bind_list(const GPtrArray *binds)
{
    json_t *list = binds->len ? json_array() : json_null();
    for (guint i = 0; i < binds->len; i++) {
        const EngineBind *bind = binds->pdata[i];
        g_autofree char *text =
            g_strconcat(bind->source, ":", bind->target, bind->read_only ? ":ro" : "",
                        !bind->identity   ? ""
                        : bind->read_only ? ",idmap"
                                          : ":idmap",
                        NULL);
        json_array_append_new(list, json_string(text));
    }
    return list;
}

static json_t *mount_list(const GPtrArray *binds)
{
    json_t *list = json_array();
    for (guint i = 0; i < binds->len; i++) {
        const EngineBind *bind = binds->pdata[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:b}", "Type", "bind", "Source",
                                              bind->source, "Destination", bind->target, "Mode",
                                              bind->read_only ? "ro" : "", "RW", !bind->read_only));
    }
    return list;
}

static json_t *host_config_document(const EngineConfig *config)
{
    return json_pack("{s:o, s:s, s:o, s:b, s:b, s:b, s:I, s:I, s:o, s:o, s:o}", "Binds",
                     bind_list(config->binds), "NetworkMode", engine_network_name(config->network),
                     "PortBindings", port_map(config->ports, NULL), "AutoRemove",
                     config->auto_remove, "PublishAllPorts", config->publish_all, "ReadonlyRootfs",
                     config->read_only, "Memory", (json_int_t)config->memory, "PidsLimit",
                     (json_int_t)config->pids_limit, "CapAdd", strings_or_null(config->cap_add),
                     "CapDrop", strings_or_null(config->cap_drop), "RestartPolicy",
                     json_pack("{s:s, s:i}", "Name", "no", "MaximumRetryCount", 0));
}

static json_t *network_document(const EngineConfig *config, const EngineState *state)
{
    bool running = state->status == ENGINE_RUNNING;
    const char *address = running && state->address ? state->address : "";
    const char *gateway = running && state->gateway ? state->gateway : "";
    int prefix = *address ? (int)state->prefix_length : 0;
    json_t *endpoint = json_pack("{s:s, s:s, s:i}", "IPAddress", address, "Gateway", gateway,
                                 "IPPrefixLen", prefix);
    return json_pack("{s:s, s:s, s:i, s:o, s:{s:o}}", "IPAddress", address, "Gateway", gateway,
                     "IPPrefixLen", prefix, "Ports",
                     running ? port_map(state->ports, config->exposed) : json_object(), "Networks",
                     engine_network_name(config->network), endpoint);
}

json_t *engine_inspect(Engine *engine, const EngineContainer *container)
{
    const EngineConfig *config = &container->config;
    g_auto(EngineDirs) dirs = {0};
    engine_dirs_init(&dirs, engine, config->id, config->auto_remove);
    g_autofree char *log = engine_dirs_keep_file(&dirs, "log/container.log");
    g_autofree char *name = g_strconcat("/", config->name, NULL);
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    for (char **word = config->entrypoint; *word; word++)
        g_ptr_array_add(words, *word);
    for (char **word = config->cmd; *word; word++)
        g_ptr_array_add(words, *word);
    const char *path = words->pdata[0];
    g_ptr_array_remove_index(words, 0);
    g_ptr_array_add(words, NULL);
    return json_pack("{s:s, s:o, s:s, s:o, s:o, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "Id",
                     config->id, "Created", time_of(config->created), "Path", path, "Args",
                     strings((char **)words->pdata), "State", state_document(&container->state),
                     "Image", config->image_id, "LogPath", log, "Name", name, "Driver", "composefs",
                     "HostConfig", host_config_document(config), "Mounts",
                     mount_list(config->binds), "Config", config_document(config),
                     "NetworkSettings", network_document(config, &container->state));
}
