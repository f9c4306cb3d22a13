/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The image config as JSON: the bytes that an image's id hashes, so order and form are fixed. */
#include "base/sort.h"
#include "oci/json.h"
#include "oci/oci.h"

json_t *oci_json_text(const char *text)
{
    json_t *value = json_string(text);
    if (value)
        return value;
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    return json_string(valid);
}

static void put_text(json_t *object, const char *key, const char *text)
{
    if (text && *text)
        json_object_set_new(object, key, oci_json_text(text));
}

json_t *oci_json_list(char *const *list)
{
    json_t *array = json_array();
    for (char *const *item = list; item && *item; item++)
        json_array_append_new(array, oci_json_text(*item));
    return array;
}

static void put_list(json_t *object, const char *key, char *const *list)
{
    if (list && *list)
        json_object_set_new(object, key, oci_json_list(list));
}

static void put_set(json_t *object, const char *key, char *const *list)
{
    if (!*list)
        return;
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    for (char *const *item = list; *item; item++)
        g_ptr_array_add(names, *item);
    sort_texts(names);
    json_t *set = json_object();
    for (unsigned i = 0; i < names->len; i++)
        json_object_set_new(set, names->pdata[i], json_object());
    json_object_set_new(object, key, set);
}

/* Of strings, sorted. */
static json_t *format_map(GHashTable *map)
{
    unsigned n;
    g_autofree char **keys = sort_keys(map, &n);
    json_t *object = json_object();
    for (unsigned i = 0; i < n; i++)
        json_object_set_new(object, keys[i], oci_json_text(g_hash_table_lookup(map, keys[i])));
    return object;
}

static void put_number(json_t *object, const char *key, int64_t number)
{
    if (number)
        json_object_set_new(object, key, json_integer(number));
}

static void put_healthcheck(json_t *object, const OciHealthcheck *health)
{
    if (!health->test)
        return;
    json_t *value = json_object();
    put_list(value, "Test", health->test);
    put_number(value, "Interval", health->interval);
    put_number(value, "Timeout", health->timeout);
    put_number(value, "StartPeriod", health->start_period);
    put_number(value, "StartInterval", health->start_interval);
    put_number(value, "Retries", health->retries);
    json_object_set_new(object, "Healthcheck", value);
}

json_t *oci_json_settings(const OciConfig *config)
{
    json_t *object = json_object();
    put_text(object, "User", config->user);
    put_set(object, "ExposedPorts", config->exposed_ports);
    put_list(object, "Env", config->env);
    put_list(object, "Entrypoint", config->entrypoint);
    put_list(object, "Cmd", config->cmd);
    put_set(object, "Volumes", config->volumes);
    put_text(object, "WorkingDir", config->working_dir);
    if (g_hash_table_size(config->labels))
        json_object_set_new(object, "Labels", format_map(config->labels));
    put_text(object, "StopSignal", config->stop_signal);
    put_healthcheck(object, &config->healthcheck);
    put_list(object, "Shell", config->shell);
    put_list(object, "OnBuild", config->on_build);
    return object;
}

static json_t *format_history(const OciConfig *config)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < config->history->len; i++) {
        const OciHistory *entry = config->history->pdata[i];
        json_t *item = json_object();
        put_text(item, "created", entry->created);
        put_text(item, "created_by", entry->created_by);
        put_text(item, "author", entry->author);
        put_text(item, "comment", entry->comment);
        if (entry->empty_layer)
            json_object_set_new(item, "empty_layer", json_true());
        json_array_append_new(list, item);
    }
    return list;
}

char *oci_json_dump(json_t *steal, size_t flags)
{
    char *text = json_dumps(steal, flags);
    json_decref(steal);
    char *copy = g_strdup(text);
    free(text); /* jansson's allocator, not GLib's */
    return copy;
}

char *oci_config_format(const OciConfig *config)
{
    json_t *root = json_object();
    put_text(root, "created", config->created);
    put_text(root, "author", config->author);
    json_object_set_new(root, "architecture", oci_json_text(config->architecture));
    json_object_set_new(root, "os", oci_json_text(config->os));
    put_text(root, "variant", config->variant);
    json_object_set_new(root, "config", oci_json_settings(config));
    json_t *rootfs = json_object();
    json_object_set_new(rootfs, "type", json_string("layers"));
    json_object_set_new(rootfs, "diff_ids", oci_json_list(config->diff_ids));
    json_object_set_new(root, "rootfs", rootfs);
    json_object_set_new(root, "history", format_history(config));
    return oci_json_dump(root, JSON_COMPACT);
}
