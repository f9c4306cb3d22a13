/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ps */
#include "cli/columns.h"
#include "cli/container_row.h"
#include "cli/container_verbs.h"
#include "cli/document.h"
#include "cli/template.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    CliCommon common;
    gboolean all, quiet, whole, latest;
    int last;
    char *format;
    char **filters;
} PsOptions;

static void ps_options_clear(PsOptions *options)
{
    cli_common_clear(&options->common);
    g_free(options->format);
    g_strfreev(options->filters);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PsOptions, ps_options_clear)

/* --- filters ------------------------------------------------------------------------------------ */

static bool has_label(char *const *labels, const char *wanted)
{
    size_t size = strlen(wanted);
    for (; *labels; labels++)
        if (strcmp(*labels, wanted) == 0 ||
            (!strchr(wanted, '=') && strncmp(*labels, wanted, size) == 0 && (*labels)[size] == '='))
            return true;
    return false;
}

static bool matches(const EngineContainer *container, const char *key, const char *value)
{
    const EngineConfig *config = &container->config;
    if (strcmp(key, "name") == 0)
        return strstr(config->name, *value == '/' ? value + 1 : value) != NULL;
    if (strcmp(key, "id") == 0)
        return g_str_has_prefix(config->id, value);
    if (strcmp(key, "label") == 0)
        return has_label(config->labels, value);
    if (strcmp(key, "ancestor") == 0)
        return strcmp(config->image, value) == 0 || g_str_has_prefix(config->image_id, value);
    return strcmp(engine_status_name(container->state.status), value) == 0;
}

static bool check_filters(const PsOptions *options, bool *out_has_status, GError **error)
{
    static const char *const keys[] = {"name", "id", "label", "ancestor", "status", NULL};
    *out_has_status = false;
    for (char **filter = options->filters; filter && *filter; filter++) {
        const char *equals = strchr(*filter, '=');
        if (!equals)
            return error_throw(error, ERROR_USAGE, "invalid filter '%s'\nhint: KEY=VALUE", *filter);
        g_autofree char *key = g_strndup(*filter, (gsize)(equals - *filter));
        if (!g_strv_contains(keys, key))
            return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: filter '%s'", key);
        *out_has_status |= strcmp(key, "status") == 0;
    }
    return true;
}

/* Several values of one key: any of them; several keys: all of them. */
static bool passes(const PsOptions *options, const EngineContainer *container)
{
    for (char **filter = options->filters; filter && *filter; filter++) {
        g_autofree char *key = g_strndup(*filter, strcspn(*filter, "="));
        bool any = false;
        for (char **other = options->filters; *other; other++)
            if (g_str_has_prefix(*other, key) && (*other)[strlen(key)] == '=')
                any |= matches(container, key, *other + strlen(key) + 1);
        if (!any)
            return false;
    }
    return true;
}

static GPtrArray *select_containers(const PsOptions *options, GError **error)
{
    bool by_status;
    if (!check_filters(options, &by_status, error))
        return NULL;
    g_autoptr(Engine) engine = engine_new(options->common.store);
    GPtrArray *list = engine_list(engine, error);
    int most = options->latest ? 1 : options->last;
    bool ended_too = options->all || by_status || most > 0;
    for (guint i = 0; list && i < list->len;) {
        const EngineContainer *container = list->pdata[i];
        bool shown = (ended_too || container->state.status == ENGINE_RUNNING) &&
                     passes(options, container) && (most <= 0 || i < (guint)most);
        if (shown)
            i++;
        else
            g_ptr_array_remove_index(list, i);
    }
    return list;
}

/* --- output --------------------------------------------------------------------------------------- */

/* The names of Docker's templates. */
static json_t *row_document(const ContainerRow *row, const EngineContainer *container)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "ID", row->id, "Image", row->image,
                     "Command", row->command, "RunningFor", row->created, "Status", row->status,
                     "Ports", row->ports, "Names", row->name, "State",
                     engine_status_name(container->state.status));
}

static bool print_json(const GPtrArray *list, int64_t now, GError **error)
{
    json_t *rows = json_array();
    for (guint i = 0; i < list->len; i++) {
        g_auto(ContainerRow) row = {0};
        container_row_fill(&row, list->pdata[i], now, true);
        json_array_append_new(rows, row_document(&row, list->pdata[i]));
    }
    return cli_print_document("atomic.containers/1", json_pack("{s:o}", "containers", rows), error);
}

static bool print_rows(const PsOptions *options, const GPtrArray *list, int64_t now,
                       const char *format, GError **error)
{
    for (guint i = 0; i < list->len; i++) {
        g_auto(ContainerRow) row = {0};
        container_row_fill(&row, list->pdata[i], now, options->whole);
        json_t *document = row_document(&row, list->pdata[i]);
        g_autofree char *text = template_format(format, document, error);
        json_decref(document);
        if (!text)
            return false;
        printf("%s\n", text);
    }
    return true;
}

/* "table {{.ID}}\t{{.Names}}": the heading is the template with the names of the columns. */
static bool print_template_table(const PsOptions *options, const GPtrArray *list, int64_t now,
                                 const char *format, GError **error)
{
    g_auto(GStrv) cells = g_strsplit(format, "\\t", -1);
    if (g_strv_length(cells) <= 1) {
        g_strfreev(cells);
        cells = g_strsplit(format, "\t", -1);
    }
    guint n = g_strv_length(cells);
    g_autoptr(Columns) columns = columns_new(n);
    json_t *titles =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "ID", "CONTAINER ID", "Image",
                  "IMAGE", "Command", "COMMAND", "RunningFor", "CREATED", "Status", "STATUS",
                  "Ports", "PORTS", "Names", "NAMES", "State", "STATE");
    bool good = true;
    for (guint i = 0; good && i <= list->len; i++) {
        g_auto(ContainerRow) row = {0};
        json_t *document = titles;
        if (i > 0) {
            container_row_fill(&row, list->pdata[i - 1], now, options->whole);
            document = row_document(&row, list->pdata[i - 1]);
        }
        for (guint c = 0; good && c < n; c++) {
            g_autofree char *cell = template_format(cells[c], document, error);
            good = cell != NULL;
            if (good)
                columns_add(columns, cell);
        }
        json_decref(document);
    }
    if (good)
        columns_print(columns, stdout);
    return good;
}

static bool print_list(const PsOptions *options, const GPtrArray *list, GError **error)
{
    int64_t now = g_get_real_time();
    const char *format = options->format;
    if (options->common.json)
        return print_json(list, now, error);
    if (options->quiet)
        return print_rows(options, list, now, "{{.ID}}", error);
    if (!format || strcmp(format, "table") == 0)
        format = "table {{.ID}}\\t{{.Image}}\\t{{.Command}}\\t{{.RunningFor}}\\t{{.Status}}\\t"
                 "{{.Ports}}\\t{{.Names}}";
    if (strcmp(format, "json") == 0)
        format = "{{json .}}";
    if (g_str_has_prefix(format, "table "))
        return print_template_table(options, list, now, format + strlen("table "), error);
    return print_rows(options, list, now, format, error);
}

int cli_container_ps(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(PsOptions) options = {0};
    const GOptionEntry entries[] = {
        {"all", 'a', 0, G_OPTION_ARG_NONE, &options.all, "Those that do not run, too", NULL},
        {"quiet", 'q', 0, G_OPTION_ARG_NONE, &options.quiet, "Only the ids", NULL},
        {"no-trunc", 0, 0, G_OPTION_ARG_NONE, &options.whole, "Do not shorten anything", NULL},
        {"latest", 'l', 0, G_OPTION_ARG_NONE, &options.latest, "Only the newest", NULL},
        {"last", 'n', 0, G_OPTION_ARG_INT, &options.last, "Only the N newest", "N"},
        {"format", 0, 0, G_OPTION_ARG_FILENAME, &options.format, "table, json or a template",
         "FORMAT"},
        {"filter", 'f', 0, G_OPTION_ARG_FILENAME_ARRAY, &options.filters,
         "name, id, status, label or ancestor", "KEY=VALUE"},
        G_OPTION_ENTRY_NULL,
    };
    if (!cli_parse(command, entries, &options.common, &argc, &argv, 0, 0, false, error))
        return 1;
    g_autoptr(GPtrArray) list = select_containers(&options, error);
    return list && print_list(&options, list, error) ? 0 : 1;
}
