/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/compose_verbs.h"

#include "base/cancel.h"
#include "base/places.h"
#include "cli/document.h"
#include "compose/compose.h"

typedef struct {
    char *repo, *cache_dir, *apt_dir, *lockfile;
    gboolean dry_run, force;
} Options;

static void options_clear(Options *options)
{
    g_free(options->repo);
    g_free(options->cache_dir);
    g_free(options->apt_dir);
    g_free(options->lockfile);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static char *default_cache_dir(void)
{
    g_autofree char *root = places_root();
    return g_build_filename(root, "cache", "deb", NULL);
}

static bool print_json(const Treefile *treefile, const ComposeResult *result, bool dry_run,
                       GError **error)
{
    json_t *packages = json_array();
    for (unsigned i = 0; i < result->packages->len; i++) {
        const Package *package = result->packages->pdata[i];
        json_array_append_new(packages,
                              json_pack("{s:s, s:s, s:s, s:I}", "name", package->name, "version",
                                        package->version, "arch", package->arch, "size",
                                        (json_int_t)package->size));
    }
    json_t *document = json_pack("{s:s, s:s?, s:s?, s:b, s:o}", "ref", treefile->ref, "commit",
                                 result->checksum, "version", result->version, "changed",
                                 !dry_run && !result->unchanged, "packages", packages);
    return cli_print_document("atomic.compose.tree/1", document, error);
}

static void print_packages(const ComposeResult *result)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < result->packages->len; i++) {
        const Package *package = result->packages->pdata[i];
        printf("%s %s %s\n", package->name, package->version, package->arch);
        bytes += package->size;
    }
    fprintf(stderr, "%u packages, %.1f MB\n", result->packages->len, (double)bytes / 1e6);
}

/* The commit's checksum goes to stdout, alone; people are told on stderr. */
static int report(const Treefile *treefile, const ComposeResult *result)
{
    const char *space = result->version ? " " : "",
               *version = result->version ? result->version : "";
    if (result->unchanged) {
        fprintf(stderr, "No changes since %s%s(%.12s)\n", version, space, result->checksum);
        return CLI_NOTHING_TO_DO;
    }
    fprintf(stderr, "%s%s%s: %u packages\n", treefile->ref, space, version, result->packages->len);
    printf("%s\n", result->checksum);
    return 0;
}

static Store *open_store(const CliCommon *common, GError **error)
{
    g_autofree char *path = store_default_path(common->store);
    if (!store_init(path, error))
        return NULL;
    return store_open(path, error);
}

int cli_compose_tree(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(Options) options = {0};
    g_auto(CliCommon) common = {0};
    const GOptionEntry entries[] = {
        {"repo", 0, 0, G_OPTION_ARG_FILENAME, &options.repo, "Publish to this archive repository",
         "DIR"},
        {"dry-run", 0, 0, G_OPTION_ARG_NONE, &options.dry_run, "Only print the packages", NULL},
        {"force", 0, 0, G_OPTION_ARG_NONE, &options.force,
         "Compose although nothing changed: the same commit again", NULL},
        {"cache-dir", 0, 0, G_OPTION_ARG_FILENAME, &options.cache_dir, "Keep downloads here",
         "DIR"},
        {"apt-dir", 0, 0, G_OPTION_ARG_FILENAME, &options.apt_dir,
         "The host's package sources (default /etc/apt)", "DIR"},
        {"lockfile", 0, 0, G_OPTION_ARG_FILENAME, &options.lockfile,
         "Take the versions from this file (not supported yet)", "FILE"},
        G_OPTION_ENTRY_NULL,
    };
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, 1, false, error))
        return 1;
    if (options.lockfile) {
        error_throw(error, ERROR_UNSUPPORTED, "not supported yet: lockfiles");
        return 1;
    }
    g_autoptr(Treefile) treefile = treefile_load(argv[1], error);
    if (!treefile)
        return 1;
    cancel_install();
    if (!options.cache_dir)
        options.cache_dir = default_cache_dir();
    g_autoptr(Store) store = options.dry_run ? NULL : open_store(&common, error);
    if (!store && !options.dry_run)
        return 1;
    const ComposeOptions compose = {.store = store,
                                    .cache_dir = options.cache_dir,
                                    .apt_dir = options.apt_dir,
                                    .repo = options.repo,
                                    .dry_run = options.dry_run,
                                    .force = options.force,
                                    .verbose = common.verbose};
    g_auto(ComposeResult) result = {0};
    if (!compose_tree(treefile, &compose, &result, error))
        return 1;
    if (common.json && !print_json(treefile, &result, options.dry_run, error))
        return 1;
    if (options.dry_run) {
        if (!common.json)
            print_packages(&result);
        return 0;
    }
    return common.json ? (result.unchanged ? CLI_NOTHING_TO_DO : 0) : report(treefile, &result);
}
