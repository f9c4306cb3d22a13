/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ARG, ENV and what a word of the Dockerfile sees of them. */
#include "build/state.h"

#include "base/sort.h"

#include <string.h>

static const char *const proxies[] = {
    "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY",
    "ftp_proxy",  "NO_PROXY",   "no_proxy",    "ALL_PROXY",   "all_proxy",
};

/* What every Dockerfile may ask for: the platform that is built for and on. NULL when it is none
 * of these. */
static char *platform_value(const char *name)
{
    if (!g_str_has_prefix(name, "TARGET") && !g_str_has_prefix(name, "BUILD"))
        return NULL;
    const char *what = name + strlen(*name == 'T' ? "TARGET" : "BUILD");
    g_autoptr(OciConfig) machine = oci_config_new();
    if (strcmp(what, "OS") == 0)
        return g_strdup(machine->os);
    if (strcmp(what, "ARCH") == 0)
        return g_strdup(machine->architecture);
    if (strcmp(what, "VARIANT") == 0)
        return g_strdup("");
    if (strcmp(what, "PLATFORM") == 0)
        return g_strdup_printf("%s/%s", machine->os, machine->architecture);
    return NULL;
}

typedef struct {
    Build *build;
    Stage *stage;
} Scope;

static const char *lookup(const char *name, void *data)
{
    const Scope *scope = data;
    const char *value = scope->stage ? oci_config_env(scope->stage->config, name) : NULL;
    if (value)
        return value;
    return g_hash_table_lookup(scope->stage ? scope->stage->args : scope->build->global_args, name);
}

char *variables_expand(Build *build, Stage *stage, const char *text, GError **error)
{
    Scope scope = {build, stage};
    return words_expand(text, build->file->escape, lookup, &scope, error);
}

char **variables_expand_split(Build *build, Stage *stage, const char *text, GError **error)
{
    Scope scope = {build, stage};
    return words_expand_split(text, build->file->escape, lookup, &scope, error);
}

/* Declares NAME or NAME=DEFAULT in `args`. What was given on the command line wins over the
 * default, and the default over what stands before the first FROM. */
static bool declare(Build *build, Stage *stage, GHashTable *args, const char *word, GError **error)
{
    const char *equals = strchr(word, '=');
    g_autofree char *name = equals ? g_strndup(word, (size_t)(equals - word)) : g_strdup(word);
    g_autofree char *value = NULL;
    const char *given = g_hash_table_lookup(build->build_args, name);
    g_hash_table_add(build->used_args, g_strdup(name));
    if (given) {
        value = g_strdup(given);
    } else if (equals) {
        value = variables_expand(build, stage, equals + 1, error);
        if (!value)
            return false;
    } else {
        value = g_strdup(g_hash_table_lookup(build->global_args, name));
        if (!value)
            value = platform_value(name);
    }
    g_hash_table_replace(args, g_steal_pointer(&name), g_steal_pointer(&value));
    return true;
}

bool variables_declare(Build *build, Stage *stage, const DockerfileInstruction *instruction,
                       GError **error)
{
    GHashTable *args = stage ? stage->args : build->global_args;
    for (char **word = instruction->words; *word; word++)
        if (!declare(build, stage, args, *word, error))
            return false;
    return true;
}

bool variables_read_global(Build *build, GError **error)
{
    static const char *const names[] = {
        "TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT",
        "BUILDPLATFORM",  "BUILDOS",  "BUILDARCH",  "BUILDVARIANT",
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        g_hash_table_replace(build->global_args, g_strdup(names[i]), platform_value(names[i]));
    for (unsigned i = 0; i < build->file->args->len; i++) {
        const DockerfileInstruction *instruction = build->file->args->pdata[i];
        if (!variables_declare(build, NULL, instruction, error))
            return error_prefix(error, "%s:%u", build->file->file, instruction->line);
    }
    return true;
}

char **variables_for_run(const Stage *stage)
{
    GPtrArray *list = g_ptr_array_new();
    GHashTableIter iter;
    void *name, *value;
    g_hash_table_iter_init(&iter, stage->args);
    while (g_hash_table_iter_next(&iter, &name, &value))
        if (value && !oci_config_env(stage->config, name))
            g_ptr_array_add(list, g_strdup_printf("%s=%s", (char *)name, (char *)value));
    sort_texts(list);
    g_ptr_array_add(list, NULL);
    return (char **)g_ptr_array_free(list, FALSE);
}

char **variables_proxies(Build *build)
{
    GPtrArray *list = g_ptr_array_new();
    for (size_t i = 0; i < ARRAY_SIZE(proxies); i++) {
        const char *value = g_hash_table_lookup(build->build_args, proxies[i]);
        if (value)
            g_ptr_array_add(list, g_strdup_printf("%s=%s", proxies[i], value));
    }
    g_ptr_array_add(list, NULL);
    return (char **)g_ptr_array_free(list, FALSE);
}

static bool is_proxy(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(proxies); i++)
        if (strcmp(name, proxies[i]) == 0)
            return true;
    return false;
}

char **variables_unused(const Build *build)
{
    GPtrArray *list = g_ptr_array_new();
    GHashTableIter iter;
    void *name;
    g_hash_table_iter_init(&iter, build->build_args);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        if (!g_hash_table_contains(build->used_args, name) && !is_proxy(name) &&
            strcmp(name, "SOURCE_DATE_EPOCH") != 0)
            g_ptr_array_add(list, g_strdup(name));
    sort_texts(list);
    g_ptr_array_add(list, NULL);
    return (char **)g_ptr_array_free(list, FALSE);
}
