/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic tree commit` and `publish`; which store the verbs of this group act on. */
#include "cli/tree_verbs.h"

#include "base/cancel.h"
#include "base/file.h"
#include "ostree/ostree.h"

#include <string.h>
#include <time.h>

#define HOST_STORE "/sysroot/atomic/store"

static char *store_path_of(const CliCommon *common)
{
    if (!common->store && common->sysroot)
        return g_build_filename(common->sysroot, "atomic", "store", NULL);
    return store_default_path(common->store);
}

Store *cli_tree_open_store(const CliCommon *common, bool make, GError **error)
{
    g_autofree char *path = store_path_of(common);
    if (make && !store_init(path, error))
        return NULL;
    return store_open(path, error);
}

char *cli_tree_remotes_dir(const CliCommon *common, Store *store)
{
    if (!common->store && common->sysroot)
        return g_build_filename(common->sysroot, "atomic", "remotes.d", NULL);
    if (strcmp(store_path(store), HOST_STORE) == 0)
        return g_strdup("/sysroot/atomic/remotes.d");
    return ostree_remotes_dir(store);
}

typedef struct {
    char *ref, *dir, *tar, *image, *subject, *body, *version, *timestamp;
    char **metadata;
    gboolean no_parent, no_xattrs;
} CommitArguments;

static void commit_arguments_clear(CommitArguments *a)
{
    g_free(a->ref);
    g_free(a->dir);
    g_free(a->tar);
    g_free(a->image);
    g_free(a->subject);
    g_free(a->body);
    g_free(a->version);
    g_free(a->timestamp);
    g_strfreev(a->metadata);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CommitArguments, commit_arguments_clear)

/* `checksums` may be NULL. */
static Tree *read_tree(StoreTxn *txn, const CommitArguments *a, OstreeChecksums *checksums,
                       GError **error)
{
    if (a->image) {
        Digest image;
        Store *store = store_txn_store(txn);
        return store_resolve_image(store, a->image, &image, error)
                   ? store_load_image(store, &image, error)
                   : NULL;
    }
    if (a->dir) {
        _autofd int fd = file_open_dir_at(AT_FDCWD, a->dir, error);
        StoreImportFlags flags = a->no_xattrs ? STORE_IMPORT_NO_XATTRS : 0;
        Tree *tree =
            fd < 0
                ? NULL
                : store_import_dir_with(txn, fd, flags,
                                        checksums ? ostree_checksums_hook(checksums) : NULL, error);
        if (fd >= 0 && !tree)
            error_prefix(error, "cannot read '%s'", a->dir);
        return tree;
    }
    bool standard = strcmp(a->tar, "-") == 0;
    _autofd int fd = file_open_at(AT_FDCWD, standard ? "/dev/stdin" : a->tar, O_RDONLY, error);
    Tree *tree = fd < 0 ? NULL : store_import_tar_file(txn, fd, false, NULL, error);
    if (fd >= 0 && !tree)
        error_prefix(error, "cannot read '%s'", a->tar);
    return tree;
}

/* --timestamp, else $SOURCE_DATE_EPOCH, else now */
static bool read_timestamp(const CommitArguments *a, uint64_t *out_seconds, GError **error)
{
    const char *text = a->timestamp ? a->timestamp : g_getenv("SOURCE_DATE_EPOCH");
    if (!text) {
        *out_seconds = (uint64_t)time(NULL);
        return true;
    }
    if (g_ascii_string_to_unsigned(text, 10, 0, INT64_MAX, out_seconds, NULL))
        return true;
    return error_throw(error, ERROR_USAGE, "'%s' is not a time in seconds since 1970", text);
}

static GVariant *read_metadata(char **pairs, GError **error)
{
    GVariantDict dict;
    g_variant_dict_init(&dict, NULL);
    for (char **pair = pairs; pair && *pair; pair++) {
        char *equals = strchr(*pair, '=');
        if (!equals || equals == *pair || !g_utf8_validate(*pair, -1, NULL)) {
            g_variant_dict_clear(&dict);
            return error_throw_null(error, ERROR_USAGE, "'%s' is not KEY=VALUE", *pair);
        }
        g_autofree char *key = g_strndup(*pair, (size_t)(equals - *pair));
        g_variant_dict_insert(&dict, key, "s", equals + 1);
    }
    return g_variant_ref_sink(g_variant_dict_end(&dict));
}

static bool run_commit(Store *store, const CommitArguments *a, char **out_checksum, GError **error)
{
    OstreeCommitOptions options = {
        .ref = a->ref,
        .subject = a->subject,
        .body = a->body,
        .version = a->version,
        .no_xattrs = a->no_xattrs,
    };
    g_autofree char *parent = NULL;
    if (!ostree_check_ref(a->ref, error) || !read_timestamp(a, &options.timestamp, error))
        return false;
    g_autoptr(GVariant) metadata = read_metadata(a->metadata, error);
    if (!metadata)
        return false;
    options.metadata = metadata;
    if (!a->no_parent && ostree_resolve(store, a->ref, &parent, NULL))
        options.parent = parent;
    /* what a parent has needs no second checksum, and that is most of a tree that has one */
    g_autoptr(OstreeChecksums) checksums = parent ? NULL : ostree_checksums_new(a->no_xattrs);
    options.checksums = checksums;
    g_autoptr(StoreTxn) txn = store_txn_begin(store, NULL, error);
    g_autoptr(Tree) tree = txn ? read_tree(txn, a, checksums, error) : NULL;
    return tree && ostree_commit(txn, tree, &options, out_checksum, error);
}

int cli_tree_commit(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CommitArguments) a = {0};
    const GOptionEntry entries[] = {
        {"ref", 0, 0, G_OPTION_ARG_STRING, &a.ref, "The branch", "REF"},
        {"dir", 0, 0, G_OPTION_ARG_FILENAME, &a.dir, "Take the files of a directory", "DIR"},
        {"tar", 0, 0, G_OPTION_ARG_FILENAME, &a.tar, "Take the files of a tar; - for stdin",
         "FILE"},
        {"image", 0, 0, G_OPTION_ARG_STRING, &a.image, "Take an image of the store", "NAME|DIGEST"},
        {"subject", 's', 0, G_OPTION_ARG_STRING, &a.subject, "One line about the commit", "TEXT"},
        {"body", 0, 0, G_OPTION_ARG_STRING, &a.body, "More about the commit", "TEXT"},
        {"version", 0, 0, G_OPTION_ARG_STRING, &a.version, "The version that status shows", "TEXT"},
        {"metadata", 0, 0, G_OPTION_ARG_STRING_ARRAY, &a.metadata,
         "A string of the commit's metadata", "KEY=VALUE"},
        {"timestamp", 0, 0, G_OPTION_ARG_STRING, &a.timestamp,
         "The commit's time (default: $SOURCE_DATE_EPOCH, else now)", "SECONDS"},
        {"no-parent", 0, 0, G_OPTION_ARG_NONE, &a.no_parent, "Begin a new history", NULL},
        {"no-xattrs", 0, 0, G_OPTION_ARG_NONE, &a.no_xattrs, "Leave extended attributes out", NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    if (!a.ref || !!a.dir + !!a.tar + !!a.image != 1)
        return error_throw(error, ERROR_USAGE,
                           "--ref and one of --dir, --tar and --image are needed"),
               1;
    cancel_install();
    g_autoptr(Store) store = cli_tree_open_store(&common, true, error);
    g_autofree char *checksum = NULL;
    if (!store || !run_commit(store, &a, &checksum, error))
        return 1;
    printf("%s\n", checksum);
    return 0;
}

int cli_tree_publish(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_autofree char *repo = NULL;
    const GOptionEntry entries[] = {
        {"repo", 0, 0, G_OPTION_ARG_FILENAME, &repo, "The archive repository; made when missing",
         "DIR"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, -1, false, error))
        return 1;
    if (!repo)
        return error_throw(error, ERROR_USAGE, "--repo is missing"), 1;
    cancel_install();
    OstreePublishResult result;
    g_autoptr(Store) store = cli_tree_open_store(&common, false, error);
    if (!store || !ostree_publish(store, repo, (const char *const *)argv + 1, &result, error))
        return 1;
    if (!common.quiet)
        fprintf(stderr,
                "Published %" G_GUINT64_FORMAT " new commit%s: %" G_GUINT64_FORMAT
                " objects, %.1f MB\n",
                result.commits, result.commits == 1 ? "" : "s", result.objects,
                (double)result.bytes / 1e6);
    return 0;
}
