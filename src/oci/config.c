/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The image config: values, and reading it from JSON (writing is in config_format.c).
 *
 * The JSON may come from anyone: every type is checked, what is missing is empty, what is
 * unknown is ignored.
 */
#include "oci/oci.h"

#include "base/sort.h"

#include <jansson.h>
#include <string.h>
#include <sys/utsname.h>

static char **empty_list(void)
{
    return g_new0(char *, 1);
}

static void history_free(void *data)
{
    OciHistory *history = data;
    g_free(history->created);
    g_free(history->created_by);
    g_free(history->author);
    g_free(history->comment);
    g_free(history);
}

static const char *machine_architecture(void)
{
    static const char *const names[][2] = {
        {"x86_64", "amd64"},    {"aarch64", "arm64"}, {"armv7l", "arm"},      {"i686", "386"},
        {"ppc64le", "ppc64le"}, {"s390x", "s390x"},   {"riscv64", "riscv64"},
    };
    struct utsname name;
    if (uname(&name) == 0)
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
            if (strcmp(name.machine, names[i][0]) == 0)
                return names[i][1];
    return "unknown";
}

OciConfig *oci_config_new(void)
{
    OciConfig *config = g_new0(OciConfig, 1);
    char **texts[] = {&config->created, &config->author,      &config->variant,
                      &config->user,    &config->working_dir, &config->stop_signal};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        *texts[i] = g_strdup("");
    char ***lists[] = {&config->env,     &config->entrypoint, &config->cmd,
                       &config->shell,   &config->on_build,   &config->exposed_ports,
                       &config->volumes, &config->diff_ids};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        *lists[i] = empty_list();
    config->architecture = g_strdup(machine_architecture());
    config->os = g_strdup("linux");
    config->labels = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    config->history = g_ptr_array_new_with_free_func(history_free);
    return config;
}

void oci_config_free(OciConfig *config)
{
    if (!config)
        return;
    char *texts[] = {config->created, config->author, config->architecture, config->os,
                     config->variant, config->user,   config->working_dir,  config->stop_signal};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        g_free(texts[i]);
    char **lists[] = {config->env,     config->entrypoint, config->cmd,
                      config->shell,   config->on_build,   config->exposed_ports,
                      config->volumes, config->diff_ids,   config->healthcheck.test};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        g_strfreev(lists[i]);
    g_hash_table_unref(config->labels);
    g_ptr_array_unref(config->history);
    g_free(config);
}

OciConfig *oci_config_copy(const OciConfig *config)
{
    /* the JSON form is complete, so it is the one list of fields */
    g_autofree char *json = oci_config_format(config);
    return oci_config_parse(json, strlen(json), NULL);
}

const char *oci_config_env(const OciConfig *config, const char *key)
{
    size_t length = strlen(key);
    for (char **e = config->env; *e; e++)
        if (strncmp(*e, key, length) == 0 && (*e)[length] == '=')
            return *e + length + 1;
    return NULL;
}

void oci_config_set_env(OciConfig *config, const char *key, const char *value)
{
    size_t length = strlen(key);
    char *entry = g_strdup_printf("%s=%s", key, value);
    for (char **e = config->env; *e; e++)
        if (strncmp(*e, key, length) == 0 && (*e)[length] == '=') {
            g_free(*e);
            *e = entry;
            return;
        }
    size_t n = g_strv_length(config->env);
    config->env = g_renew(char *, config->env, n + 2);
    config->env[n] = entry;
    config->env[n + 1] = NULL;
}

/* --- reading JSON ----------------------------------------------------------------------------- */

static bool bad_type(const char *key, const char *expected, GError **error)
{
    return error_throw(error, ERROR_CORRUPT, "bad image config: '%s' is not %s", key, expected);
}

/* Leaves *out as it is when the key is absent or null. */
static bool take_text(json_t *object, const char *key, char **out, GError **error)
{
    json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value))
        return true;
    if (!json_is_string(value))
        return bad_type(key, "a string", error);
    g_free(*out);
    *out = g_strdup(json_string_value(value));
    return true;
}

static bool take_list(json_t *object, const char *key, char ***out, GError **error)
{
    json_t *value = json_object_get(object, key), *item;
    if (!value || json_is_null(value))
        return true;
    if (!json_is_array(value))
        return bad_type(key, "a list", error);
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);
    size_t i;
    json_array_foreach(value, i, item)
    {
        if (!json_is_string(item))
            return bad_type(key, "a list of strings", error);
        g_ptr_array_add(list, g_strdup(json_string_value(item)));
    }
    g_ptr_array_add(list, NULL);
    g_strfreev(*out);
    *out = (char **)g_ptr_array_free(g_steal_pointer(&list), FALSE);
    return true;
}

/* {"80/tcp": {}} -> {"80/tcp"}, sorted */
static bool take_set(json_t *object, const char *key, char ***out, GError **error)
{
    json_t *value = json_object_get(object, key), *item;
    if (!value || json_is_null(value))
        return true;
    if (!json_is_object(value))
        return bad_type(key, "an object", error);
    g_autoptr(GPtrArray) list = g_ptr_array_new();
    const char *name;
    json_object_foreach(value, name, item) g_ptr_array_add(list, g_strdup(name));
    sort_texts(list);
    g_ptr_array_add(list, NULL);
    g_strfreev(*out);
    *out = (char **)g_ptr_array_free(g_steal_pointer(&list), FALSE);
    return true;
}

static bool take_labels(json_t *object, GHashTable *labels, GError **error)
{
    json_t *value = json_object_get(object, "Labels"), *item;
    if (!value || json_is_null(value))
        return true;
    if (!json_is_object(value))
        return bad_type("Labels", "an object", error);
    const char *name;
    json_object_foreach(value, name, item)
    {
        if (!json_is_string(item))
            return bad_type("Labels", "an object of strings", error);
        g_hash_table_replace(labels, g_strdup(name), g_strdup(json_string_value(item)));
    }
    return true;
}

static bool take_healthcheck(json_t *object, OciHealthcheck *health, GError **error)
{
    json_t *value = json_object_get(object, "Healthcheck");
    if (!value || json_is_null(value))
        return true;
    if (!json_is_object(value))
        return bad_type("Healthcheck", "an object", error);
    health->test = empty_list();
    if (!take_list(value, "Test", &health->test, error))
        return false;
    health->interval = json_integer_value(json_object_get(value, "Interval"));
    health->timeout = json_integer_value(json_object_get(value, "Timeout"));
    health->start_period = json_integer_value(json_object_get(value, "StartPeriod"));
    health->start_interval = json_integer_value(json_object_get(value, "StartInterval"));
    health->retries = json_integer_value(json_object_get(value, "Retries"));
    return true;
}

static bool take_history(json_t *root, GPtrArray *history, GError **error)
{
    json_t *value = json_object_get(root, "history"), *item;
    if (!value || json_is_null(value))
        return true;
    if (!json_is_array(value))
        return bad_type("history", "a list", error);
    size_t i;
    json_array_foreach(value, i, item)
    {
        if (!json_is_object(item))
            return bad_type("history", "a list of objects", error);
        OciHistory *entry = g_new0(OciHistory, 1);
        g_ptr_array_add(history, entry);
        if (!take_text(item, "created", &entry->created, error) ||
            !take_text(item, "created_by", &entry->created_by, error) ||
            !take_text(item, "author", &entry->author, error) ||
            !take_text(item, "comment", &entry->comment, error))
            return false;
        entry->empty_layer = json_is_true(json_object_get(item, "empty_layer"));
    }
    return true;
}

static bool take_settings(json_t *settings, OciConfig *config, GError **error)
{
    return take_text(settings, "User", &config->user, error) &&
           take_set(settings, "ExposedPorts", &config->exposed_ports, error) &&
           take_list(settings, "Env", &config->env, error) &&
           take_list(settings, "Entrypoint", &config->entrypoint, error) &&
           take_list(settings, "Cmd", &config->cmd, error) &&
           take_set(settings, "Volumes", &config->volumes, error) &&
           take_text(settings, "WorkingDir", &config->working_dir, error) &&
           take_labels(settings, config->labels, error) &&
           take_text(settings, "StopSignal", &config->stop_signal, error) &&
           take_healthcheck(settings, &config->healthcheck, error) &&
           take_list(settings, "Shell", &config->shell, error) &&
           take_list(settings, "OnBuild", &config->on_build, error);
}

static bool take_root(json_t *root, OciConfig *config, GError **error)
{
    if (!take_text(root, "created", &config->created, error) ||
        !take_text(root, "author", &config->author, error) ||
        !take_text(root, "architecture", &config->architecture, error) ||
        !take_text(root, "os", &config->os, error) ||
        !take_text(root, "variant", &config->variant, error))
        return false;
    json_t *settings = json_object_get(root, "config");
    if (settings && !json_is_null(settings) && !json_is_object(settings))
        return bad_type("config", "an object", error);
    if (json_is_object(settings) && !take_settings(settings, config, error))
        return false;
    json_t *rootfs = json_object_get(root, "rootfs");
    if (!json_is_object(rootfs))
        return bad_type("rootfs", "an object", error);
    if (!take_list(rootfs, "diff_ids", &config->diff_ids, error))
        return false;
    for (char **id = config->diff_ids; *id; id++) {
        Digest digest;
        if (!g_str_has_prefix(*id, "sha256:") || !digest_parse(*id + strlen("sha256:"), &digest))
            return error_throw(error, ERROR_CORRUPT, "bad image config: bad layer digest '%s'",
                               *id);
    }
    return take_history(root, config->history, error);
}

OciConfig *oci_config_parse(const char *json, size_t size, GError **error)
{
    json_error_t where;
    json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(root)) {
        error_throw(error, ERROR_CORRUPT, "bad image config: %s",
                    root ? "not an object" : where.text);
        json_decref(root);
        return NULL;
    }
    g_autoptr(OciConfig) config = oci_config_new();
    bool taken = take_root(root, config, error);
    json_decref(root);
    return taken ? g_steal_pointer(&config) : NULL;
}
