/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/image_verbs.h"

#include "base/sort.h"
#include "cli/columns.h"
#include "cli/document.h"
#include "cli/human.h"
#include "cli/image_open.h"

#include <string.h>

typedef struct {
    gboolean all, quiet, no_trunc;
    char *repository, *tag; /* only these; NULL: any */
} List;

static bool is_wanted(const List *list, const char *repository, const char *tag)
{
    return (!list->repository || strcmp(list->repository, repository) == 0) &&
           (!list->tag || strcmp(list->tag, tag) == 0);
}

/* A line for each name; one for an image without. */
static bool add_image(Store *store, const List *list, const OciImage *image, Columns *columns,
                      GError **error)
{
    static const char *const unnamed[] = {"<none>:<none>", NULL};
    const char *const *names = *image->names ? (const char *const *)image->names : unnamed;
    uint64_t bytes;
    if (!oci_image_size(store, image, &bytes, error))
        return false;
    g_autofree char *id = image_shown_id(image->id, list->no_trunc),
                    *age = image_age(image->config->created);
    g_autofree char *size = human_bytes_docker(bytes);
    for (; *names; names++) {
        g_autofree char *repository = NULL, *tag = NULL;
        oci_name_split(*names, &repository, &tag);
        if (!is_wanted(list, repository, tag))
            continue;
        const char *const cells[] = {repository, tag, id, age, size};
        for (size_t i = 0; i < ARRAY_SIZE(cells); i++)
            columns_add(columns, cells[i]);
    }
    return true;
}

static bool print_table(Store *store, const List *list, const GPtrArray *images, GError **error)
{
    static const char *const heads[] = {"REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"};
    g_autoptr(Columns) columns = columns_new(ARRAY_SIZE(heads));
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
        columns_add(columns, heads[i]);
    for (unsigned i = 0; i < images->len; i++)
        if (!add_image(store, list, images->pdata[i], columns, error))
            return false;
    columns_print(columns, stdout);
    return true;
}

static bool has_wanted_name(const List *list, const OciImage *image)
{
    if (!list->repository)
        return true;
    for (char **name = image->names; *name; name++) {
        g_autofree char *repository = NULL, *tag = NULL;
        oci_name_split(*name, &repository, &tag);
        if (is_wanted(list, repository, tag))
            return true;
    }
    return false;
}

static json_t *describe(Store *store, const OciImage *image, GError **error)
{
    uint64_t bytes;
    if (!oci_image_size(store, image, &bytes, error))
        return NULL;
    json_t *names = json_array(), *labels = json_object();
    for (char **name = image->names; *name; name++)
        json_array_append_new(names, json_string(*name));
    unsigned n;
    g_autofree char **keys = sort_keys(image->config->labels, &n);
    for (unsigned i = 0; i < n; i++)
        json_object_set_new(labels, keys[i],
                            json_string(g_hash_table_lookup(image->config->labels, keys[i])));
    return json_pack("{s:s, s:o, s:s, s:I, s:o}", "id", image->id, "names", names, "created",
                     image->config->created, "size", (json_int_t)bytes, "labels", labels);
}

static bool print_json(Store *store, const List *list, const GPtrArray *images, GError **error)
{
    json_t *array = json_array();
    for (unsigned i = 0; i < images->len; i++) {
        if (!has_wanted_name(list, images->pdata[i]))
            continue;
        json_t *object = describe(store, images->pdata[i], error);
        if (!object) {
            json_decref(array);
            return false;
        }
        json_array_append_new(array, object);
    }
    return cli_print_document("atomic.images/1", json_pack("{s:o}", "images", array), error);
}

static void print_ids(const List *list, const GPtrArray *images)
{
    for (unsigned i = 0; i < images->len; i++) {
        const OciImage *image = images->pdata[i];
        g_autofree char *id = image_shown_id(image->id, list->no_trunc);
        if (has_wanted_name(list, image))
            printf("%s\n", id);
    }
}

/* The operand: a repository, with a tag or without. */
static bool parse_filter(List *list, const char *text, GError **error)
{
    g_autofree char *name = text ? oci_name_normalize(text, error) : NULL;
    if (!name)
        return !text;
    oci_name_split(name, &list->repository, &list->tag);
    const char *slash = strrchr(text, '/');
    if (!strchr(slash ? slash : text, ':'))
        g_clear_pointer(&list->tag, g_free);
    return true;
}

static bool print_list(const CliCommon *common, const List *list, GError **error)
{
    g_autoptr(Store) store = image_open_store(common, error);
    g_autoptr(GPtrArray) images = store ? oci_image_list(store, list->all, error) : NULL;
    if (!images)
        return false;
    if (common->json)
        return print_json(store, list, images, error);
    if (list->quiet) {
        print_ids(list, images);
        return true;
    }
    return print_table(store, list, images, error);
}

int cli_image_ls(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    List list = {0};
    const GOptionEntry entries[] = {
        {"all", 'a', 0, G_OPTION_ARG_NONE, &list.all, "Show intermediate images too", NULL},
        {"quiet", 'q', 0, G_OPTION_ARG_NONE, &list.quiet, "Print ids only", NULL},
        {"no-trunc", 0, 0, G_OPTION_ARG_NONE, &list.no_trunc, "Print whole ids", NULL},
        G_OPTION_ENTRY_NULL,
    };
    if (!cli_parse(command, entries, &common, &argc, &argv, 0, 1, false, error))
        return -1;
    bool good =
        parse_filter(&list, argc > 1 ? argv[1] : NULL, error) && print_list(&common, &list, error);
    g_free(list.repository);
    g_free(list.tag);
    return good ? 0 : -1;
}
