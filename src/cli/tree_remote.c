/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic tree remote` and `pull`. */
#include "cli/tree_verbs.h"

#include "base/cancel.h"
#include "cli/document.h"
#include "ostree/ostree.h"

#include <string.h>

static bool list_remotes(const char *dir, bool json, GError **error)
{
    g_autoptr(GPtrArray) remotes = ostree_remote_list(dir, error);
    if (!remotes)
        return false;
    json_t *all = json_array();
    for (unsigned i = 0; i < remotes->len; i++) {
        const OstreeRemote *r = remotes->pdata[i];
        if (json)
            json_array_append_new(all, json_pack("{s:s, s:s, s:b}", "name", r->name, "url", r->url,
                                                 "verify", (int)r->verify));
        else
            printf("%-16s %s%s\n", r->name, r->url, r->verify ? "" : " (not verified)");
    }
    json_t *document = json_pack("{s:o}", "remotes", all);
    if (json)
        return cli_print_document("atomic.tree.remotes/1", document, error);
    json_decref(document);
    return true;
}

int cli_tree_remote(const CliCommand *command, int argc, char **argv, GError **error)
{
    gboolean no_verify = FALSE;
    g_autofree char *keys = NULL, *sign_key = NULL;
    const GOptionEntry entries[] = {
        {"gpg-import", 0, 0, G_OPTION_ARG_FILENAME, &keys, "The OpenPGP keys to trust", "FILE"},
        {"sign-key", 0, 0, G_OPTION_ARG_FILENAME, &sign_key, "The ed25519 keys to trust", "FILE"},
        {"no-verify", 0, 0, G_OPTION_ARG_NONE, &no_verify, "Accept unsigned commits", NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, 3, false, error))
        return 1;
    bool add = strcmp(argv[1], "add") == 0, list = strcmp(argv[1], "list") == 0;
    if (!(add && argc == 4) && !(list && argc == 2))
        return error_throw(error, ERROR_USAGE,
                           "%s\nhint: usage: atomic tree remote (add NAME URL | list)",
                           add    ? "tree remote add: takes a name and a URL"
                           : list ? "tree remote list: takes no arguments"
                                  : "tree remote: what to do is 'add' or 'list'"),
               1;
    if (sign_key)
        return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: --sign-key"), 1;
    g_autoptr(Store) store = cli_tree_open_store(&common, add && !common.sysroot, error);
    if (!store)
        return 1;
    g_autofree char *dir = cli_tree_remotes_dir(&common, store);
    if (list)
        return list_remotes(dir, common.json, error) ? 0 : 1;
    return ostree_remote_add(dir, argv[2], argv[3], !no_verify, keys, error) ? 0 : 1;
}

int cli_tree_pull(const CliCommand *command, int argc, char **argv, GError **error)
{
    gboolean metadata_only = FALSE, mirror = FALSE;
    int depth = 0;
    const GOptionEntry entries[] = {
        {"metadata-only", 0, 0, G_OPTION_ARG_NONE, &metadata_only,
         "Only ask what the newest commit is; store nothing", NULL},
        {"mirror", 0, 0, G_OPTION_ARG_NONE, &mirror, "Not supported yet", NULL},
        {"depth", 0, 0, G_OPTION_ARG_INT, &depth, "Not supported yet", "N"},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, 1, false, error))
        return 1;
    if (mirror || depth)
        return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: %s",
                           mirror ? "--mirror" : "--depth"),
               1;
    cancel_install();
    g_autofree char *remote_name = NULL, *ref = NULL;
    if (!ostree_parse_refspec(argv[1], &remote_name, &ref, error))
        return 1;
    g_autoptr(Store) store = cli_tree_open_store(&common, false, error);
    if (!store)
        return 1;
    g_autofree char *dir = cli_tree_remotes_dir(&common, store);
    g_autoptr(OstreeRemote) remote = ostree_remote_load(dir, remote_name, error);
    if (!remote)
        return 1;
    OstreeProgressLine line = {0};
    const OstreePullOptions options = {
        .progress = common.quiet ? NULL : ostree_progress_print,
        .progress_data = &line,
        .metadata_only = metadata_only,
    };
    g_auto(OstreePullResult) result = {0};
    g_autoptr(GError) failed = NULL;
    if (!ostree_pull(store, remote, ref, &options, &result, &failed)) {
        if (error_is(failed, ERROR_INTERRUPTED))
            error_throw(error, ERROR_INTERRUPTED,
                        "%s\nhint: what arrived is kept; the same command goes on",
                        failed->message);
        else
            g_propagate_error(error, g_steal_pointer(&failed));
        return 1;
    }
    printf("%s\n", result.checksum);
    return result.unchanged ? CLI_NOTHING_TO_DO : 0;
}
