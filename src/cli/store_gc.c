/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic store gc`. */
#include "cli/store_verbs.h"

#include "base/cancel.h"
#include "cli/document.h"
#include "cli/human.h"
#include "cli/store_setup.h"

/* "90s", "30m", "1h30m", "2d", "1w" */
static bool parse_duration(const char *text, uint64_t *out_seconds, GError **error)
{
    static const struct {
        char name;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    uint64_t total = 0;
    const char *at = text;
    do {
        char *end = NULL;
        uint64_t n = g_ascii_isdigit(*at) ? g_ascii_strtoull(at, &end, 10) : 0, unit = 0;
        for (size_t i = 0; end && i < ARRAY_SIZE(units); i++)
            if (*end == units[i].name)
                unit = units[i].seconds;
        if (unit == 0 || n > (UINT32_MAX - total) / unit)
            return error_throw(error, ERROR_USAGE,
                               "'%s' is not a time span\nhint: 30m, 12h, 2d, 1h30m", text);
        total += n * unit;
        at = end + 1;
    } while (*at);
    *out_seconds = total;
    return true;
}

static void list_removed(const char *path, uint64_t bytes, void *data)
{
    json_t *items = data;
    if (items)
        json_array_append_new(items, json_pack("{s:o, s:I}", "path", cli_json_text(path), "bytes",
                                               (json_int_t)bytes));
    else
        printf("%s\t%" G_GUINT64_FORMAT "\n", path, bytes);
}

static bool print_json(const StoreGcResult *result, const StoreReserveState *reserve, bool dry_run,
                       json_t *items, GError **error)
{
    json_t *document =
        json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "dry_run", dry_run, "objects",
                  (json_int_t)result->objects, "bytes", (json_int_t)result->bytes, "links",
                  (json_int_t)result->links, "leftovers", (json_int_t)result->leftovers,
                  "kept_objects", (json_int_t)result->kept_objects, "reserve_bytes",
                  (json_int_t)reserve->size, "reserve_held_bytes", (json_int_t)reserve->held);
    if (dry_run)
        json_object_set(document, "removed", items);
    return cli_print_document("atomic.store.gc/2", document, error);
}

static void print_result(const StoreGcResult *result, const StoreReserveState *reserve,
                         bool dry_run, bool quiet)
{
    g_autofree char *freed = human_bytes(result->bytes);
    g_autofree char *reserved = cli_describe_reserve(reserve);
    printf("%s objects: %s\n", dry_run ? "Would free" : "Freed", freed);
    if (!quiet && reserve->size > 0)
        fprintf(stderr, "Reserve: %s\n", reserved);
    if (!quiet)
        fprintf(stderr,
                "%" G_GUINT64_FORMAT " objects, %" G_GUINT64_FORMAT " links, %" G_GUINT64_FORMAT
                " leftovers %s; %" G_GUINT64_FORMAT " objects kept\n",
                result->objects, result->links, result->leftovers,
                dry_run ? "to be removed" : "removed", result->kept_objects);
}

static bool collect(const CliCommon *common, StoreGcOptions *options, GError **error)
{
    g_autoptr(Store) store = cli_store_open(common, error);
    json_t *items = common->json ? json_array() : NULL;
    StoreGcResult result;
    options->data = items;
    options->removed = options->dry_run && !common->quiet ? list_removed : NULL;
    StoreReserveState reserve;
    if (store && !options->dry_run)
        cli_store_forget_mounts(store);
    bool good = store && store_gc(store, options, &result, error);
    /* what was given up to an upgrade that was killed is taken again, now that there may be room */
    good = good && (options->dry_run || store_reserve_fill(store, error)) &&
           store_reserve_read(store, &reserve, error);
    if (good && common->json)
        good = print_json(&result, &reserve, options->dry_run, items, error);
    else if (good)
        print_result(&result, &reserve, options->dry_run, common->quiet);
    json_decref(items);
    return good;
}

/* --- why ------------------------------------------------------------------------------------------------ */

typedef struct {
    json_t *reasons; /* NULL: they are printed */
    unsigned kept;
} Reasons;

static json_t *json_texts(const char *const *texts)
{
    json_t *array = json_array();
    for (; *texts; texts++)
        json_array_append_new(array, cli_json_text(*texts));
    return array;
}

static const char *reason_name(StoreReasonKind kind)
{
    static const char *const names[] = {[STORE_REASON_REF] = "ref",
                                        [STORE_REASON_WRITER] = "writer",
                                        [STORE_REASON_YOUNG] = "young",
                                        [STORE_REASON_NONE] = "none"};
    return names[kind];
}

static void take_reason(const StoreReason *reason, void *data)
{
    Reasons *reasons = data;
    reasons->kept += reason->kind != STORE_REASON_NONE;
    if (reasons->reasons) {
        json_array_append_new(reasons->reasons,
                              json_pack("{s:s, s:o, s:o}", "reason", reason_name(reason->kind),
                                        "chain", json_texts(reason->links), "paths",
                                        json_texts(reason->paths)));
        return;
    }
    printf("%-6s  ", reason->kind == STORE_REASON_NONE ? "-" : reason_name(reason->kind));
    for (const char *const *link = reason->links; *link; link++)
        printf("%s%s", link == reason->links ? "" : " -> ", *link);
    for (const char *const *path = reason->paths; *path; path++)
        printf("%s%s", path == reason->paths ? " -> " : ", ", *path);
    putchar('\n');
}

static bool explain(const CliCommon *common, const char *object, uint64_t keep_younger,
                    GError **error)
{
    g_autoptr(Store) store = cli_store_open(common, error);
    Reasons reasons = {.reasons = common->json ? json_array() : NULL};
    Digest digest;
    bool good =
        store && store_why(store, object, keep_younger, take_reason, &reasons, &digest, error);
    if (good && common->json)
        good = cli_print_document("atomic.store.why/1",
                                  json_pack("{s:s, s:b, s:O}", "object", digest_hex(&digest).text,
                                            "kept", reasons.kept > 0, "reasons", reasons.reasons),
                                  error);
    else if (good && reasons.kept == 0)
        printf("nothing keeps object %s: the next collection removes it\n",
               digest_hex(&digest).text);
    json_decref(reasons.reasons);
    return good;
}

int cli_store_gc(const CliCommand *command, int argc, char **argv, GError **error)
{
    gboolean dry_run = false;
    g_autofree char *keep_younger = NULL, *why = NULL;
    const GOptionEntry entries[] = {
        {"dry-run", 'n', 0, G_OPTION_ARG_NONE, &dry_run, "Only list what would be removed", NULL},
        {"keep-younger", 0, 0, G_OPTION_ARG_STRING, &keep_younger,
         "Keep what came into the store since then (30m, 12h, 2d)", "SPAN"},
        {"why", 0, 0, G_OPTION_ARG_STRING, &why,
         "Only say what keeps an object (four digits of its digest, or more)", "OBJECT"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    StoreGcOptions options = {.dry_run = dry_run};
    if (keep_younger && !parse_duration(keep_younger, &options.keep_younger, error))
        return 1;
    if (why)
        return explain(&common, why, options.keep_younger, error) ? 0 : 1;
    cancel_install();
    return collect(&common, &options, error) ? 0 : 1;
}
