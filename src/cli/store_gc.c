/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic store gc`. */
#include "cli/store_verbs.h"

#include "base/cancel.h"
#include "cli/document.h"
#include "cli/human.h"

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
    const StoreGcOptions options = {.dry_run = dry_run};
    StoreGcResult result;
    if (!store || !store_gc(store, &options, &result, error))
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
