/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic store fsck`. */
#include "cli/store_verbs.h"

#include "base/cancel.h"
#include "cli/document.h"

typedef struct {
    json_t *problems; /* NULL: they are printed */
} Report;

static void report_problem(const StoreProblem *problem, void *data)
{
    Report *report = data;
    if (report->problems)
        json_array_append_new(report->problems, json_string(problem->message));
    else
        printf("%s\n", problem->message);
}

int cli_store_fsck(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    cancel_install();
    g_autoptr(Store) store = cli_store_open(&common, error);
    Report report = {.problems = common.json ? json_array() : NULL};
    const StoreFsckOptions options = {.report = report_problem, .data = &report};
    StoreFsckResult result;
    if (!store || !store_fsck(store, &options, &result, error)) {
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
