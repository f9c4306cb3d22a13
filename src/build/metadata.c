/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The instructions that change the image's config: one function each, in a table. */
#include "build/match.h"
#include "build/state.h"

#include <jansson.h>
#include <signal.h>
#include <string.h>

typedef struct {
    Build *build;
    Stage *stage;
    const DockerfileInstruction *instruction;
    OciConfig *config;
    GString *said; /* what the history says behind the keyword */
    Tree *layer;   /* WORKDIR that isn't there */
} Metadata;

/* --- small pieces ----------------------------------------------------------------------------- */

static char *expand(Metadata *m, const char *text, GError **error)
{
    return variables_expand(m->build, m->stage, text, error);
}

static void set_text(char **text, char *value)
{
    g_free(*text);
    *text = value;
}

static void list_append(char ***list, const char *text)
{
    unsigned n = g_strv_length(*list);
    *list = g_renew(char *, *list, n + 2);
    (*list)[n] = g_strdup(text);
    (*list)[n + 1] = NULL;
}

static void set_add(char ***list, const char *text)
{
    if (!g_strv_contains((const char *const *)*list, text))
        list_append(list, text);
}

static void say_json(Metadata *m, char *const *list)
{
    json_t *array = json_array();
    for (char *const *item = list; *item; item++)
        json_array_append_new(array, json_string(*item));
    char *text = json_dumps(array, 0);
    g_string_append(m->said, text ? text : "[]");
    free(text);
    json_decref(array);
}

/* The words of the instruction with variables put in and split again. */
static char **expand_list(Metadata *m, GError **error)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(g_free);
    for (char **word = m->instruction->words; *word; word++) {
        g_auto(GStrv) parts =
            m->instruction->json ? NULL : variables_expand_split(m->build, m->stage, *word, error);
        if (!m->instruction->json && !parts)
            return NULL;
        if (!parts) {
            char *one = expand(m, *word, error);
            if (!one)
                return NULL;
            g_ptr_array_add(all, one);
        }
        for (char **part = parts; part && *part; part++)
            g_ptr_array_add(all, g_strdup(*part));
    }
    g_ptr_array_add(all, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&all), FALSE);
}

/* The exec form as it is; else the shell with the text behind it. */
static char **command_line(Metadata *m)
{
    if (m->instruction->json)
        return g_strdupv(m->instruction->words);
    static const char *const standard[] = {"/bin/sh", "-c", NULL};
    const char *const *shell = *m->config->shell ? (const char *const *)m->config->shell : standard;
    char **argv = g_strdupv((char **)shell);
    list_append(&argv, m->instruction->words[0]);
    return argv;
}

/* --- instructions ----------------------------------------------------------------------------- */

static bool apply_env(Metadata *m, GError **error)
{
    /* all on one line see the values from before that line, so first expand, then set */
    g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func(g_free);
    for (char **word = m->instruction->words; *word; word++) {
        char *value = expand(m, *word, error);
        if (!value)
            return false;
        g_ptr_array_add(values, value);
    }
    for (unsigned i = 0; i + 1 < values->len; i += 2) {
        const char *name = values->pdata[i], *value = values->pdata[i + 1];
        if (!*name || strchr(name, '='))
            return error_throw(error, ERROR_INVALID, "'%s' can't be a name", name);
        if (m->instruction->kind == DOCKERFILE_ENV)
            oci_config_set_env(m->config, name, value);
        else
            g_hash_table_replace(m->config->labels, g_strdup(name), g_strdup(value));
        g_string_append_printf(m->said, "%s%s=%s", i ? " " : "", name, value);
    }
    return true;
}

static bool apply_cmd(Metadata *m, GError **error)
{
    g_strfreev(m->config->cmd);
    m->config->cmd = command_line(m);
    m->stage->cmd_is_own = true;
    say_json(m, m->config->cmd);
    return true;
}

static bool apply_entrypoint(Metadata *m, GError **error)
{
    g_strfreev(m->config->entrypoint);
    m->config->entrypoint = command_line(m);
    if (!m->stage->cmd_is_own) { /* arguments of the base's program are none for this one */
        g_strfreev(m->config->cmd);
        m->config->cmd = g_new0(char *, 1);
    }
    say_json(m, m->config->entrypoint);
    return true;
}

static bool parse_port(const char *text, uint32_t *out)
{
    guint64 number;
    if (!g_ascii_string_to_unsigned(text, 10, 1, 65535, &number, NULL))
        return false;
    *out = (uint32_t)number;
    return true;
}

/* PORT[-PORT][/PROTOCOL] */
static bool expose(Metadata *m, const char *word, GError **error)
{
    g_auto(GStrv) halves = g_strsplit(word, "/", 2);
    g_autofree char *protocol = g_ascii_strdown(halves[1] ? halves[1] : "tcp", -1);
    g_auto(GStrv) range = g_strsplit(halves[0], "-", 2);
    uint32_t first, last;
    bool good = range[0] && parse_port(range[0], &first);
    good = good && parse_port(range[1] ? range[1] : range[0], &last) && first <= last;
    if (!good || (strcmp(protocol, "tcp") != 0 && strcmp(protocol, "udp") != 0 &&
                  strcmp(protocol, "sctp") != 0))
        return error_throw(error, ERROR_INVALID,
                           "bad port '%s': expected PORT[-PORT][/tcp|/udp|/sctp]", word);
    for (uint32_t port = first; port <= last; port++) {
        g_autofree char *name = g_strdup_printf("%u/%s", port, protocol);
        set_add(&m->config->exposed_ports, name);
    }
    g_string_append_printf(m->said, "%s%s", m->said->len ? " " : "", word);
    return true;
}

static bool apply_expose(Metadata *m, GError **error)
{
    g_auto(GStrv) words = expand_list(m, error);
    for (char **word = words; word && *word; word++)
        if (!expose(m, *word, error))
            return false;
    return words;
}

static bool apply_volume(Metadata *m, GError **error)
{
    g_auto(GStrv) words = expand_list(m, error);
    for (char **word = words; word && *word; word++) {
        if (!**word)
            return error_throw(error, ERROR_INVALID, "VOLUME with an empty path");
        g_autofree char *path = layer_path(m->stage, *word);
        set_add(&m->config->volumes, path);
    }
    if (words)
        say_json(m, words);
    return words;
}

static bool apply_user(Metadata *m, GError **error)
{
    char *user = expand(m, m->instruction->words[0], error);
    if (!user)
        return false;
    if (!*user) {
        g_free(user);
        return error_throw(error, ERROR_INVALID, "USER is empty after substitution");
    }
    set_text(&m->config->user, user);
    g_string_append(m->said, user);
    return true;
}

/* Makes the directory unless the image has it. */
static bool apply_workdir(Metadata *m, GError **error)
{
    g_autofree char *text = expand(m, m->instruction->words[0], error);
    if (!text)
        return false;
    if (!*text)
        return error_throw(error, ERROR_INVALID, "WORKDIR is empty after substitution");
    g_autofree char *joined = layer_path(m->stage, text);
    g_autofree char *clean = match_clean(joined);
    char *path = g_strconcat("/", clean ? clean : "", NULL);
    set_text(&m->config->working_dir, path);
    g_string_append(m->said, path);
    Tree *base = step_tree(m->build, m->stage, error);
    if (!base)
        return false;
    const TreeNode *node = tree_resolve(base, path);
    if (node && S_ISDIR(node->inode->mode))
        return true;
    m->layer = tree_new();
    tree_copy_metadata(m->layer, tree_root(m->layer)->inode, tree_root(base)->inode);
    const LayerDirs dirs = {.base = base, .layer = m->layer, .mtime = m->build->timestamp};
    return layer_dir(&dirs, path, error);
}

static bool apply_stopsignal(Metadata *m, GError **error)
{
    char *text = expand(m, m->instruction->words[0], error);
    if (!text)
        return false;
    set_text(&m->config->stop_signal, text);
    g_string_append(m->said, text);
    guint64 number;
    if (g_ascii_string_to_unsigned(text, 10, 1, 64, &number, NULL))
        return true;
    const char *name = g_str_has_prefix(text, "SIG") ? text + 3 : text;
    for (int i = 1; i < NSIG; i++)
        if (g_strcmp0(sigabbrev_np(i), name) == 0)
            return true;
    if (g_str_has_prefix(name, "RTMIN") || g_str_has_prefix(name, "RTMAX"))
        return true;
    return error_throw(error, ERROR_INVALID, "'%s' is not a signal", text);
}

static bool apply_shell(Metadata *m, GError **error)
{
    g_strfreev(m->config->shell);
    m->config->shell = g_strdupv(m->instruction->words);
    say_json(m, m->config->shell);
    return true;
}

static bool apply_onbuild(Metadata *m, GError **error)
{
    list_append(&m->config->on_build, m->instruction->words[0]);
    g_string_append(m->said, m->instruction->words[0]);
    return true;
}

static bool apply_maintainer(Metadata *m, GError **error)
{
    set_text(&m->config->author, g_strdup(m->instruction->words[0]));
    g_string_append(m->said, m->instruction->words[0]);
    return true;
}

/* Go's durations: numbers with units, as in "1m30s". */
static bool parse_duration(const char *text, int64_t *out)
{
    static const struct {
        const char *unit;
        double nanoseconds;
    } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
    double total = 0;
    if (!*text)
        return false;
    while (*text) {
        char *end = NULL;
        double number = g_ascii_isdigit(*text) ? g_ascii_strtod(text, &end) : -1;
        size_t length = end ? strspn(end, "numsh") : 0, i = 0;
        while (i < ARRAY_SIZE(units) &&
               (strlen(units[i].unit) != length || strncmp(units[i].unit, end, length) != 0))
            i++;
        if (number < 0 || length == 0 || i == ARRAY_SIZE(units))
            return false;
        total += number * units[i].nanoseconds;
        text = end + length;
    }
    *out = (int64_t)total;
    return total < 9e18;
}

static bool take_duration(Metadata *m, const char *option, int64_t *out, GError **error)
{
    const char *text = dockerfile_option(m->instruction, option);
    if (!text || parse_duration(text, out))
        return true;
    return error_throw(error, ERROR_INVALID, "bad --%s '%s': expected a duration such as 30s or 1m",
                       option, text);
}

static bool apply_healthcheck(Metadata *m, GError **error)
{
    OciHealthcheck *health = &m->config->healthcheck;
    g_strfreev(health->test);
    *health = (OciHealthcheck){.test = g_new0(char *, 1)};
    if (m->instruction->none) {
        list_append(&health->test, "NONE");
        g_string_append(m->said, "NONE");
        return true;
    }
    list_append(&health->test, m->instruction->json ? "CMD" : "CMD-SHELL");
    for (char **word = m->instruction->words; *word; word++)
        list_append(&health->test, *word);
    say_json(m, health->test);
    const char *retries = dockerfile_option(m->instruction, "retries");
    guint64 number = 0;
    if (retries && !g_ascii_string_to_unsigned(retries, 10, 1, 1000000, &number, NULL))
        return error_throw(error, ERROR_INVALID, "bad --retries '%s': expected a number from 1",
                           retries);
    health->retries = (int64_t)number;
    return take_duration(m, "interval", &health->interval, error) &&
           take_duration(m, "timeout", &health->timeout, error) &&
           take_duration(m, "start-period", &health->start_period, error) &&
           take_duration(m, "start-interval", &health->start_interval, error);
}

static bool (*const functions[])(Metadata *m, GError **error) = {
    [DOCKERFILE_CMD] = apply_cmd,
    [DOCKERFILE_LABEL] = apply_env,
    [DOCKERFILE_MAINTAINER] = apply_maintainer,
    [DOCKERFILE_EXPOSE] = apply_expose,
    [DOCKERFILE_ENV] = apply_env,
    [DOCKERFILE_ENTRYPOINT] = apply_entrypoint,
    [DOCKERFILE_VOLUME] = apply_volume,
    [DOCKERFILE_USER] = apply_user,
    [DOCKERFILE_WORKDIR] = apply_workdir,
    [DOCKERFILE_ONBUILD] = apply_onbuild,
    [DOCKERFILE_STOPSIGNAL] = apply_stopsignal,
    [DOCKERFILE_HEALTHCHECK] = apply_healthcheck,
    [DOCKERFILE_SHELL] = apply_shell,
};

bool metadata_apply(Build *build, Stage *stage, const DockerfileInstruction *instruction,
                    char **out_created_by, Tree **out_layer, GError **error)
{
    g_autoptr(GString) said = g_string_new(NULL);
    Metadata m = {build, stage, instruction, stage->config, said, NULL};
    bool applied = functions[instruction->kind](&m, error);
    g_autoptr(Tree) layer = m.layer;
    if (!applied)
        return false;
    *out_created_by = g_strdup_printf("/bin/sh -c #(nop)  %s %s",
                                      dockerfile_kind_name(instruction->kind), said->str);
    *out_layer = g_steal_pointer(&layer);
    return true;
}
