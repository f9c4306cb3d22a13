/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/image_verbs.h"

#include "cli/columns.h"
#include "cli/document.h"
#include "cli/human.h"
#include "cli/image_open.h"

#include <string.h>

enum { CREATED_BY_WIDTH = 45 };

/* Sizes of the layers by history entry; 0 for those without one. */
static uint64_t *layer_sizes(Store *store, const OciConfig *config, GError **error)
{
    g_autofree uint64_t *sizes = g_new0(uint64_t, config->history->len + 1);
    char **diff_id = config->diff_ids;
    for (unsigned i = 0; i < config->history->len; i++) {
        const OciHistory *entry = config->history->pdata[i];
        if (entry->empty_layer || !*diff_id)
            continue;
        g_autofree char *stream_id = g_strconcat("oci-layer-", *diff_id++, NULL);
        g_autoptr(StoreStream) stream = store_stream_open_id(store, stream_id, error);
        if (!stream)
            return NULL;
        sizes[i] = store_stream_size(stream);
    }
    return g_steal_pointer(&sizes);
}

static char *shorten(const char *text, bool whole)
{
    g_autofree char *line = g_strdelimit(g_strdup(text ? text : ""), "\n\t", ' ');
    if (whole || g_utf8_strlen(line, -1) <= CREATED_BY_WIDTH)
        return g_steal_pointer(&line);
    g_autofree char *head = g_utf8_substring(line, 0, CREATED_BY_WIDTH - 1);
    return g_strconcat(head, "…", NULL);
}

static void print_table(const OciImage *image, const uint64_t *sizes, bool whole)
{
    static const char *const heads[] = {"IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"};
    g_autoptr(Columns) columns = columns_new(ARRAY_SIZE(heads));
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
        columns_add(columns, heads[i]);
    const GPtrArray *history = image->config->history;
    for (unsigned i = history->len; i-- > 0;) {
        const OciHistory *entry = history->pdata[i];
        g_autofree char *id =
            i + 1 == history->len ? image_shown_id(image->id, whole) : g_strdup("<missing>");
        g_autofree char *age = image_age(entry->created), *by = shorten(entry->created_by, whole);
        g_autofree char *size = human_bytes_docker(sizes[i]);
        const char *const cells[] = {id, age, by, size, entry->comment ? entry->comment : ""};
        for (size_t j = 0; j < ARRAY_SIZE(cells); j++)
            columns_add(columns, cells[j]);
    }
    columns_print(columns, stdout);
}

static bool print_json(const OciImage *image, const uint64_t *sizes, GError **error)
{
    json_t *list = json_array();
    const GPtrArray *history = image->config->history;
    for (unsigned i = history->len; i-- > 0;) {
        const OciHistory *entry = history->pdata[i];
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:I, s:b}", "created", entry->created ? entry->created : "",
                            "created_by", entry->created_by ? entry->created_by : "", "size",
                            (json_int_t)sizes[i], "empty_layer", entry->empty_layer));
    }
    return cli_print_document("atomic.image.history/1",
                              json_pack("{s:s, s:o}", "id", image->id, "history", list), error);
}

int cli_image_history(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    gboolean no_trunc = FALSE;
    const GOptionEntry entries[] = {
        {"no-trunc", 0, 0, G_OPTION_ARG_NONE, &no_trunc, "Print everything whole", NULL},
        G_OPTION_ENTRY_NULL,
    };
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, 1, false, error))
        return -1;
    g_autoptr(Store) store = image_open_store(&common, error);
    g_autoptr(OciImage) image = store ? oci_image_open(store, argv[1], error) : NULL;
    g_autofree uint64_t *sizes = image ? layer_sizes(store, image->config, error) : NULL;
    if (!sizes)
        return -1;
    if (common.json)
        return print_json(image, sizes, error) ? 0 : -1;
    print_table(image, sizes, no_trunc);
    return 0;
}
