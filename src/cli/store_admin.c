/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic store init`, `gc` and `fsck`, and what all verbs of the group share. */
#include "cli/store_verbs.h"

#include "base/cancel.h"
#include "cli/document.h"
#include "cli/human.h"

char *cli_store_path(const CliCommon *common)
{
    if (!common->store && common->sysroot)
        return g_build_filename(common->sysroot, "atomic", "store", NULL);
    return store_default_path(common->store);
}

Store *cli_store_open(const CliCommon *common, GError **error)
{
    g_autofree char *path = cli_store_path(common);
    return store_open(path, error);
}

Tree *cli_store_load(Store *store, const char *name, Digest *out_image, GError **error)
{
    Digest image;
    if (!store_resolve_image(store, name, &image, error))
        return NULL;
    if (out_image)
        *out_image = image;
    return store_load_image(store, &image, error);
}

int cli_store_init(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    g_autofree char *path = cli_store_path(&common);
    if (!store_init(path, error))
        return 1;
    if (!common.quiet)
        fprintf(stderr, "Store: %s\n", path);
    return 0;
}

int cli_store_gc(const CliCommand *command, int argc, char **argv, GError **error)
{
    gboolean dry_run = false;
    const GOptionEntry entries[] = {
        {"dry-run", 'n', 0, G_OPTION_ARG_NONE, &dry_run, "Only say what would be removed", NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    cancel_install();
    g_autoptr(Store) store = cli_store_open(&common, error);
    StoreGcResult result;
    if (!store || !store_gc(store, dry_run, &result, error))
        return 1;
    if (common.json) {
        json_t *document =
            json_pack("{s:b, s:I, s:I, s:I, s:I}", "dry_run", dry_run, "objects",
                      (json_int_t)result.objects, "bytes", (json_int_t)result.bytes, "kept_objects",
                      (json_int_t)result.kept_objects, "kept_bytes", (json_int_t)result.kept_bytes);
        return cli_print_document("atomic.store.gc/1", document, error) ? 0 : 1;
    }
    g_autofree char *freed = human_bytes(result.bytes);
    g_autofree char *kept = human_bytes(result.kept_bytes);
    printf("%s objects: %s\n", dry_run ? "Would free" : "Freed", freed);
    if (!common.quiet)
        fprintf(stderr, "%" G_GUINT64_FORMAT " removed, %" G_GUINT64_FORMAT " kept (%s)\n",
                result.objects, result.kept_objects, kept);
    return 0;
}

typedef struct {
    json_t *problems; /* NULL: they are printed */
} Report;

static void report_problem(const char *problem, void *data)
{
    Report *report = data;
    if (report->problems)
        json_array_append_new(report->problems, json_string(problem));
    else
        printf("%s\n", problem);
}

int cli_store_fsck(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    cancel_install();
    g_autoptr(Store) store = cli_store_open(&common, error);
    Report report = {.problems = common.json ? json_array() : NULL};
    StoreFsckResult result;
    if (!store || !store_fsck(store, report_problem, &report, &result, error)) {
        json_decref(report.problems);
        return 1;
    }
    if (common.json) {
        json_t *document =
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "objects", (json_int_t)result.objects,
                      "bytes", (json_int_t)result.bytes, "images", (json_int_t)result.images,
                      "streams", (json_int_t)result.streams, "refs", (json_int_t)result.refs,
                      "problems", report.problems);
        if (!cli_print_document("atomic.store.fsck/1", document, error))
            return 1;
    } else if (!common.quiet)
        fprintf(stderr,
                "%" G_GUINT64_FORMAT " objects, %" G_GUINT64_FORMAT " images, %" G_GUINT64_FORMAT
                " streams, %" G_GUINT64_FORMAT " refs: %" G_GUINT64_FORMAT " problems\n",
                result.objects, result.images, result.streams, result.refs, result.problems);
    return result.problems ? 1 : 0;
}
