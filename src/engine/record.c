/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/record.h"

#include "base/file.h"
#include "engine/parse.h"

#include <string.h>

/* Raised when an older program could no longer read what we write. */
enum { RECORD_VERSION = 1, RECORD_MIN_READER = 1 };

/* --- writing: a member that can't be written (not UTF-8) leaves the whole object failed ---------- */

typedef struct {
    json_t *object;
    const char *failed; /* the first member that could not be written */
} Writer;

static void put(Writer *w, const char *key, json_t *value)
{
    if (json_object_set_new(w->object, key, value) < 0 && !w->failed)
        w->failed = key;
}

static void put_string(Writer *w, const char *key, const char *value)
{
    if (value)
        put(w, key, json_string(value));
}

static void put_strings(Writer *w, const char *key, char *const *values)
{
    json_t *array = json_array();
    for (; *values; values++)
        if (json_array_append_new(array, json_string(*values)) < 0 && !w->failed)
            w->failed = key;
    put(w, key, array);
}

static void put_ports(Writer *w, const GPtrArray *ports)
{
    json_t *array = json_array();
    for (guint i = 0; ports && i < ports->len; i++) {
        const EnginePort *port = ports->pdata[i];
        json_array_append_new(array, json_pack("{s:s, s:i, s:i, s:b}", "host_ip", port->host_ip,
                                               "host_port", port->host_port, "container_port",
                                               port->container_port, "udp", port->udp));
    }
    put(w, "ports", array);
}

static void put_binds(Writer *w, const GPtrArray *binds)
{
    json_t *array = json_array();
    for (guint i = 0; i < binds->len; i++) {
        const EngineBind *bind = binds->pdata[i];
        json_t *value =
            json_pack("{s:s, s:s, s:b, s:b}", "source", bind->source, "target", bind->target,
                      "read_only", bind->read_only, "identity", bind->identity);
        if (json_array_append_new(array, value) < 0 && !w->failed)
            w->failed = "binds";
    }
    put(w, "binds", array);
}

static const char *const flag_names[] = {
    "tty",  "open_stdin",  "auto_remove",  "read_only",
    "init", "publish_all", "attach_stdin", "attach_output",
};

/* The flags in the order of flag_names. */
static void flag_fields(EngineConfig *config, bool *fields[ARRAY_SIZE(flag_names)])
{
    bool *all[] = {
        &config->tty,  &config->open_stdin,  &config->auto_remove,  &config->read_only,
        &config->init, &config->publish_all, &config->attach_stdin, &config->attach_output,
    };
    G_STATIC_ASSERT(ARRAY_SIZE(all) == ARRAY_SIZE(flag_names));
    memcpy(fields, all, sizeof all);
}

json_t *engine_config_to_json(const EngineConfig *config, GError **error)
{
    Writer w = {.object = json_object()};
    put(&w, "schema", json_string("atomic/container"));
    put(&w, "version", json_integer(RECORD_VERSION));
    put(&w, "min_reader", json_integer(RECORD_MIN_READER));
    put_string(&w, "id", config->id);
    put_string(&w, "name", config->name);
    put(&w, "created", json_integer(config->created));
    put_string(&w, "image", config->image);
    put_string(&w, "image_id", config->image_id);
    put_string(&w, "image_digest", config->image_digest);
    put_strings(&w, "entrypoint", config->entrypoint);
    put_strings(&w, "cmd", config->cmd);
    put_strings(&w, "env", config->env);
    put_string(&w, "working_dir", config->working_dir);
    put_string(&w, "user", config->user);
    put_string(&w, "hostname", config->hostname);
    put_strings(&w, "labels", config->labels);
    put_strings(&w, "exposed", config->exposed);
    put_string(&w, "stop_signal", config->stop_signal);
    bool *flags[ARRAY_SIZE(flag_names)];
    flag_fields((EngineConfig *)config, flags);
    for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++)
        put(&w, flag_names[i], json_boolean(*flags[i]));
    put_string(&w, "network", engine_network_name(config->network));
    put_ports(&w, config->ports);
    put_binds(&w, config->binds);
    put_strings(&w, "cap_add", config->cap_add);
    put_strings(&w, "cap_drop", config->cap_drop);
    put(&w, "memory", json_integer(config->memory));
    put(&w, "pids_limit", json_integer(config->pids_limit));
    if (w.failed) {
        json_decref(w.object);
        return error_throw_null(error, ERROR_INVALID, "a value of '%s' is not valid UTF-8",
                                w.failed);
    }
    return w.object;
}

/* --- reading ------------------------------------------------------------------------------------ */

typedef struct {
    json_t *object;
    const char *failed;
} Reader;

static json_t *get(Reader *r, const char *key, json_type type)
{
    json_t *value = json_object_get(r->object, key);
    if (value && json_typeof(value) == type)
        return value;
    if (!r->failed)
        r->failed = key;
    return NULL;
}

static char *get_string(Reader *r, const char *key)
{
    return g_strdup(json_string_value(get(r, key, JSON_STRING)));
}

/* NULL when it isn't there. */
static char *get_optional(Reader *r, const char *key)
{
    return g_strdup(json_string_value(json_object_get(r->object, key)));
}

static int64_t get_integer(Reader *r, const char *key)
{
    return json_integer_value(get(r, key, JSON_INTEGER));
}

static bool get_flag(Reader *r, const char *key)
{
    return json_is_true(json_object_get(r->object, key));
}

static char **get_strings(Reader *r, const char *key)
{
    json_t *array = get(r, key, JSON_ARRAY);
    size_t n = json_array_size(array);
    char **values = g_new0(char *, n + 1);
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(array, i));
        if (!text && !r->failed)
            r->failed = key;
        values[i] = g_strdup(text ? text : "");
    }
    return values;
}

static GPtrArray *get_ports(Reader *r)
{
    GPtrArray *ports = engine_ports_new();
    json_t *array = get(r, "ports", JSON_ARRAY);
    for (size_t i = 0; i < json_array_size(array); i++) {
        Reader item = {.object = json_array_get(array, i)};
        EnginePort *port = g_new0(EnginePort, 1);
        g_ptr_array_add(ports, port);
        port->host_ip = get_string(&item, "host_ip");
        port->host_port = (uint16_t)get_integer(&item, "host_port");
        port->container_port = (uint16_t)get_integer(&item, "container_port");
        port->udp = get_flag(&item, "udp");
        if (item.failed && !r->failed)
            r->failed = "ports";
    }
    return ports;
}

static GPtrArray *get_binds(Reader *r)
{
    GPtrArray *binds = engine_binds_new();
    json_t *array = get(r, "binds", JSON_ARRAY);
    for (size_t i = 0; i < json_array_size(array); i++) {
        Reader item = {.object = json_array_get(array, i)};
        EngineBind *bind = g_new0(EngineBind, 1);
        g_ptr_array_add(binds, bind);
        bind->source = get_string(&item, "source");
        bind->target = get_string(&item, "target");
        bind->read_only = get_flag(&item, "read_only");
        bind->identity = get_flag(&item, "identity");
        if (item.failed && !r->failed)
            r->failed = "binds";
    }
    return binds;
}

static bool check_reader(json_t *json, GError **error)
{
    int64_t least = json_integer_value(json_object_get(json, "min_reader"));
    if (least > RECORD_VERSION)
        return error_throw(error, ERROR_UNSUPPORTED,
                           "a newer version of this program wrote this record");
    return true;
}

bool engine_config_from_json(json_t *json, EngineConfig *config, GError **error)
{
    if (!check_reader(json, error))
        return false;
    Reader r = {.object = json};
    engine_config_clear(config);
    config->id = get_string(&r, "id");
    config->name = get_string(&r, "name");
    config->created = get_integer(&r, "created");
    config->image = get_string(&r, "image");
    config->image_id = get_string(&r, "image_id");
    config->image_digest = get_string(&r, "image_digest");
    config->entrypoint = get_strings(&r, "entrypoint");
    config->cmd = get_strings(&r, "cmd");
    config->env = get_strings(&r, "env");
    config->working_dir = get_string(&r, "working_dir");
    config->user = get_string(&r, "user");
    config->hostname = get_string(&r, "hostname");
    config->labels = get_strings(&r, "labels");
    config->exposed = get_strings(&r, "exposed");
    config->stop_signal = get_string(&r, "stop_signal");
    bool *flags[ARRAY_SIZE(flag_names)];
    flag_fields(config, flags);
    for (size_t i = 0; i < ARRAY_SIZE(flag_names); i++)
        *flags[i] = get_flag(&r, flag_names[i]);
    g_autofree char *network = get_string(&r, "network");
    if (network && !engine_parse_network(network, &config->network, error))
        return false;
    config->ports = get_ports(&r);
    config->binds = get_binds(&r);
    config->cap_add = get_strings(&r, "cap_add");
    config->cap_drop = get_strings(&r, "cap_drop");
    config->memory = get_integer(&r, "memory");
    config->pids_limit = get_integer(&r, "pids_limit");
    if (r.failed)
        return error_throw(error, ERROR_CORRUPT, "member '%s' is missing or wrong", r.failed);
    return true;
}

/* --- state ------------------------------------------------------------------------------------------ */

static const char *const status_names[] = {
    [ENGINE_CREATED] = "created",
    [ENGINE_RUNNING] = "running",
    [ENGINE_EXITED] = "exited",
};

const char *engine_status_name(EngineStatus status)
{
    return status_names[status];
}

json_t *engine_state_to_json(const EngineState *state)
{
    Writer w = {.object = json_object()};
    put(&w, "schema", json_string("atomic/container-state"));
    put(&w, "version", json_integer(RECORD_VERSION));
    put(&w, "min_reader", json_integer(RECORD_MIN_READER));
    put_string(&w, "status", engine_status_name(state->status));
    put(&w, "pid", json_integer(state->pid));
    put(&w, "monitor_pid", json_integer(state->monitor_pid));
    put(&w, "start_ticks", json_integer((json_int_t)state->start_ticks));
    put_string(&w, "boot_id", state->boot_id);
    put(&w, "exit_known", json_boolean(state->exit_known));
    put(&w, "exit_code", json_integer(state->exit_code));
    put(&w, "oom_killed", json_boolean(state->oom_killed));
    put_string(&w, "error", state->error);
    put_string(&w, "warning", state->warning);
    put(&w, "started", json_integer(state->started));
    put(&w, "finished", json_integer(state->finished));
    put_string(&w, "address", state->address);
    put_string(&w, "gateway", state->gateway);
    put(&w, "prefix_length", json_integer(state->prefix_length));
    put_ports(&w, state->ports);
    return w.object;
}

bool engine_state_from_json(json_t *json, EngineState *state, GError **error)
{
    if (!check_reader(json, error))
        return false;
    Reader r = {.object = json};
    engine_state_clear(state);
    const char *status = json_string_value(json_object_get(json, "status"));
    size_t i = 0;
    while (i < ARRAY_SIZE(status_names) && g_strcmp0(status, status_names[i]) != 0)
        i++;
    if (i == ARRAY_SIZE(status_names))
        return error_throw(error, ERROR_CORRUPT, "member 'status' is missing or wrong");
    state->status = (EngineStatus)i;
    state->pid = (pid_t)get_integer(&r, "pid");
    state->monitor_pid = (pid_t)get_integer(&r, "monitor_pid");
    state->start_ticks = (uint64_t)get_integer(&r, "start_ticks");
    state->boot_id = get_optional(&r, "boot_id");
    state->exit_known = get_flag(&r, "exit_known");
    state->exit_code = (int)get_integer(&r, "exit_code");
    state->oom_killed = get_flag(&r, "oom_killed");
    state->error = get_optional(&r, "error");
    state->warning = get_optional(&r, "warning");
    state->started = get_integer(&r, "started");
    state->finished = get_integer(&r, "finished");
    state->address = get_optional(&r, "address");
    state->gateway = get_optional(&r, "gateway");
    state->prefix_length = (unsigned)get_integer(&r, "prefix_length");
    state->ports = get_ports(&r);
    if (r.failed)
        return error_throw(error, ERROR_CORRUPT, "member '%s' is missing or wrong", r.failed);
    return true;
}

/* --- files and lifetime ------------------------------------------------------------------------------ */

bool engine_record_write(const char *path, json_t *json, bool durable, GError **error)
{
    char *text = json_dumps(json, JSON_INDENT(1));
    bool good = file_replace_at(AT_FDCWD, path, text, strlen(text), 0600,
                                durable ? FILE_REPLACE_DURABLE : 0, error);
    free(text);
    return good;
}

json_t *engine_record_read(const char *path, GError **error)
{
    enum { LIMIT = 8 << 20 };
    size_t size;
    g_autofree char *text = file_read_at(AT_FDCWD, path, LIMIT, &size, error);
    if (!text)
        return NULL;
    json_error_t problem;
    json_t *json = json_loadb(text, size, 0, &problem);
    if (!json_is_object(json)) {
        json_decref(json);
        return error_throw_null(error, ERROR_CORRUPT, "cannot read '%s': line %d: %s", path,
                                problem.line, problem.text);
    }
    return json;
}

void engine_config_clear(EngineConfig *config)
{
    char **strings[] = {
        &config->id,          &config->name,     &config->image,
        &config->image_id,    &config->hostname, &config->image_digest,
        &config->working_dir, &config->user,     &config->stop_signal,
    };
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
        g_free(*strings[i]);
    char ***lists[] = {
        &config->entrypoint, &config->cmd,     &config->env,      &config->labels,
        &config->exposed,    &config->cap_add, &config->cap_drop,
    };
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        g_strfreev(*lists[i]);
    g_clear_pointer(&config->ports, g_ptr_array_unref);
    g_clear_pointer(&config->binds, g_ptr_array_unref);
    memset(config, 0, sizeof *config);
}

void engine_state_clear(EngineState *state)
{
    g_free(state->boot_id);
    g_free(state->error);
    g_free(state->warning);
    g_free(state->address);
    g_free(state->gateway);
    g_clear_pointer(&state->ports, g_ptr_array_unref);
    memset(state, 0, sizeof *state);
}

void engine_container_free(EngineContainer *container)
{
    if (!container)
        return;
    engine_config_clear(&container->config);
    engine_state_clear(&container->state);
    g_free(container);
}
