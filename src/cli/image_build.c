/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/image_verbs.h"

#include "base/cancel.h"
#include "base/file.h"
#include "build/build.h"

#include <string.h>

typedef struct {
    char **tags, **build_args, **labels;
    char *file, *target, *network, *iid_file;
    gboolean no_cache, quiet, rm, force_rm;
} BuildArguments;

static void arguments_clear(BuildArguments *a)
{
    g_strfreev(a->tags);
    g_strfreev(a->build_args);
    g_strfreev(a->labels);
    g_free(a->file);
    g_free(a->target);
    g_free(a->network);
    g_free(a->iid_file);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BuildArguments, arguments_clear)

static bool parse_network(const char *text, BuildNetwork *out, GError **error)
{
    if (!text || strcmp(text, "bridge") == 0 || strcmp(text, "default") == 0)
        *out = BUILD_NETWORK_BRIDGE;
    else if (strcmp(text, "host") == 0)
        *out = BUILD_NETWORK_HOST;
    else if (strcmp(text, "none") == 0)
        *out = BUILD_NETWORK_NONE;
    else
        return error_throw(error, ERROR_USAGE, "bad --network '%s': expected bridge, host or none",
                           text);
    return true;
}

static bool check_context(const char *context, GError **error)
{
    if (strcmp(context, "-") == 0)
        return error_throw(error, ERROR_UNSUPPORTED,
                           "not supported yet: a build context from standard input\n"
                           "hint: 'atomic build -f - DIRECTORY' reads the Dockerfile from there");
    if (strstr(context, "://") || g_str_has_prefix(context, "git@"))
        return error_throw(error, ERROR_UNSUPPORTED,
                           "not supported yet: a remote build context: '%s'", context);
    return true;
}

static int run_build(const CliCommon *common, const BuildArguments *a, const char *context,
                     GError **error)
{
    BuildOptions options = {
        .context = context,
        .dockerfile = a->file,
        .tags = (const char *const *)a->tags,
        .build_args = (const char *const *)a->build_args,
        .labels = (const char *const *)a->labels,
        .target = a->target,
        .no_cache = a->no_cache,
        .output = a->quiet ? NULL : stdout,
    };
    if (!check_context(context, error) || !parse_network(a->network, &options.network, error))
        return -1;
    /* the first thing that uses the store may be a build */
    g_autofree char *path = store_default_path(common->store);
    g_autoptr(Store) store = store_init(path, error) ? store_open(path, error) : NULL;
    g_autofree char *id = NULL;
    int status = 0;
    cancel_install();
    if (!store || !build_image(store, &options, &status, &id, error))
        return -1;
    if (status != 0)
        return status;
    if (a->quiet)
        printf("%s\n", id);
    if (a->iid_file && !file_replace_at(AT_FDCWD, a->iid_file, id, strlen(id), 0644, 0, error))
        return -1;
    return 0;
}

int cli_image_build(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    g_auto(BuildArguments) a = {0};
    const GOptionEntry entries[] = {
        {"tag", 't', 0, G_OPTION_ARG_STRING_ARRAY, &a.tags, "Name of the image", "NAME[:TAG]"},
        {"file", 'f', 0, G_OPTION_ARG_FILENAME, &a.file,
         "The Dockerfile (CONTEXT/Dockerfile; - is standard input)", "FILE"},
        {"build-arg", 0, 0, G_OPTION_ARG_STRING_ARRAY, &a.build_args, "Value of an ARG",
         "NAME=VALUE"},
        {"label", 0, 0, G_OPTION_ARG_STRING_ARRAY, &a.labels, "Label of the image", "NAME=VALUE"},
        {"no-cache", 0, 0, G_OPTION_ARG_NONE, &a.no_cache, "Do every step again", NULL},
        {"target", 0, 0, G_OPTION_ARG_STRING, &a.target, "Build up to this stage", "STAGE"},
        {"network", 0, 0, G_OPTION_ARG_STRING, &a.network, "Network of RUN: bridge, host or none",
         "MODE"},
        {"quiet", 'q', 0, G_OPTION_ARG_NONE, &a.quiet, "Print the image's id only", NULL},
        {"iidfile", 0, 0, G_OPTION_ARG_FILENAME, &a.iid_file, "Write the image's id to a file",
         "FILE"},
        {"rm", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &a.rm, "Always so", NULL},
        {"force-rm", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &a.force_rm, "Always so", NULL},
        G_OPTION_ENTRY_NULL,
    };
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, 1, false, error))
        return -1;
    return run_build(&common, &a, argv[1], error);
}
