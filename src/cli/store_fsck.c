/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic store fsck`. */
#include "cli/store_verbs.h"

#include "base/cancel.h"
#include "cli/document.h"
#include "cli/tree_verbs.h"
#include "ostree/ostree.h"

typedef struct {
    json_t *problems; /* NULL: they are printed */
    Store *from;      /* another store, or NULL */
    OstreeRefetch *remotes;
    bool quiet, unrepaired, leftovers;
} Fsck;

static json_t *describe(const StoreProblem *problem)
{
    json_t *needed_by = json_array();
    for (const char *const *name = problem->needed_by; name && *name; name++)
        json_array_append_new(needed_by, cli_json_text(*name));
    json_t *document =
        json_pack("{s:s, s:o, s:o}", "kind", store_problem_kind_name(problem->kind), "message",
                  cli_json_text(problem->message), "needed_by", needed_by);
    if (problem->object)
        json_object_set_new(document, "object", json_string(digest_hex(problem->object).text));
    if (problem->path)
        json_object_set_new(document, "path", cli_json_text(problem->path));
    return document;
}

static void report_problem(const StoreProblem *problem, void *data)
{
    Fsck *fsck = data;
    bool leftover = problem->kind == STORE_PROBLEM_LEFTOVER;
    fsck->leftovers |= leftover;
    fsck->unrepaired |= problem->kind <= STORE_PROBLEM_MISPLACED;
    if (fsck->problems)
        json_array_append_new(fsck->problems, describe(problem));
    else if (!leftover || !fsck->quiet)
        printf("%s\n", problem->message);
}

/* --- repair --------------------------------------------------------------------------------------------- */

static bool copy_object(Store *from, StoreTxn *txn, const Digest *object, GError **error)
{
    Digest put;
    _autofd int fd = store_open_object(from, object, error);
    return fd >= 0 && store_txn_put_fd(txn, fd, &put, NULL, error) &&
           (digest_equal(&put, object) ||
            error_throw(error, ERROR_CORRUPT, "it is damaged in '%s' too", store_path(from)));
}

/* First from the store that was named, then from where commits came from. */
static bool repair_object(StoreTxn *txn, const Digest *object, void *data, GError **error)
{
    Fsck *fsck = data;
    g_autoptr(GError) failed = NULL, refetch_failed = NULL;
    if (fsck->from && copy_object(fsck->from, txn, object, &failed))
        return true;
    if (ostree_refetch(fsck->remotes, txn, object, &refetch_failed))
        return true;
    if (failed && error_is(refetch_failed, ERROR_NOT_FOUND))
        g_propagate_error(error, g_steal_pointer(&failed));
    else
        g_propagate_error(error, g_steal_pointer(&refetch_failed));
    return false;
}

/* --- the verb ------------------------------------------------------------------------------------------- */

static bool print_json(Fsck *fsck, const StoreFsckResult *result, GError **error)
{
    json_t *document =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "objects",
                  (json_int_t)result->objects, "bytes", (json_int_t)result->bytes, "images",
                  (json_int_t)result->images, "streams", (json_int_t)result->streams, "refs",
                  (json_int_t)result->refs, "repaired", (json_int_t)result->repaired, "leftovers",
                  (json_int_t)result->leftovers, "problems", fsck->problems);
    return cli_print_document("atomic.store.fsck/2", document, error);
}

static void print_result(const Fsck *fsck, const StoreFsckResult *result, bool repair)
{
    fprintf(stderr,
            "%" G_GUINT64_FORMAT " objects, %" G_GUINT64_FORMAT " images, %" G_GUINT64_FORMAT
            " streams, %" G_GUINT64_FORMAT " refs: %" G_GUINT64_FORMAT " problems",
            result->objects, result->images, result->streams, result->refs, result->problems);
    if (repair)
        fprintf(stderr, ", %" G_GUINT64_FORMAT " objects repaired", result->repaired);
    fputc('\n', stderr);
    if (fsck->unrepaired && !repair)
        fputs("hint: --repair fetches objects again from where they came, --repair --from DIR from "
              "another store\n",
              stderr);
    else if (fsck->unrepaired)
        fputs("hint: import, build or pull again what needs these objects, or remove its names\n",
              stderr);
    if (fsck->leftovers)
        fputs("hint: 'atomic store gc' removes what is left over\n", stderr);
}

static int run(const CliCommon *common, Fsck *fsck, const StoreFsckOptions *options, GError **error)
{
    StoreFsckResult result;
    g_autoptr(Store) store = cli_store_open(common, error);
    if (!store)
        return 1;
    g_autofree char *remotes_dir = cli_tree_remotes_dir(common, store);
    fsck->remotes = ostree_refetch_new(store, remotes_dir);
    bool done = store_fsck(store, options, &result, error);
    ostree_refetch_free(fsck->remotes);
    if (done && common->json)
        done = print_json(fsck, &result, error);
    else if (done && !common->quiet)
        print_result(fsck, &result, options->repair != NULL);
    return done && result.problems == 0 ? 0 : 1;
}

int cli_store_fsck(const CliCommand *command, int argc, char **argv, GError **error)
{
    gboolean repair = false;
    int threads = 0;
    g_autofree char *from = NULL;
    const GOptionEntry entries[] = {
        {"repair", 0, 0, G_OPTION_ARG_NONE, &repair,
         "Move damaged objects aside and fetch them, and missing ones, again", NULL},
        {"from", 0, 0, G_OPTION_ARG_FILENAME, &from, "With --repair: look in this store first",
         "DIR"},
        {"threads", 0, 0, G_OPTION_ARG_INT, &threads, "Threads that read (default: processors)",
         "N"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    if (from && !repair)
        return error_throw(error, ERROR_USAGE, "--from goes with --repair");
    if (threads < 0 || threads > 256)
        return error_throw(error, ERROR_USAGE, "--threads wants a number from 1 to 256");
    cancel_install();
    g_autoptr(Store) other = from ? store_open(from, error) : NULL;
    if (from && !other)
        return 1;
    Fsck fsck = {.from = other, .quiet = common.quiet};
    fsck.problems = common.json ? json_array() : NULL;
    const StoreFsckOptions options = {.threads = (unsigned)threads,
                                      .report = report_problem,
                                      .repair = repair ? repair_object : NULL,
                                      .data = &fsck};
    int status = run(&common, &fsck, &options, error);
    json_decref(fsck.problems);
    return status;
}
