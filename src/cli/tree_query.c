/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of `atomic tree` that only look: refs, log, show, ls, cat, pkglist. */
#include "cli/tree_verbs.h"

#include "base/sort.h"
#include "cli/document.h"
#include "cli/file_text.h"
#include "cli/human.h"
#include "cli/store_verbs.h"
#include "ostree/ostree.h"

#include <string.h>
#include <unistd.h>

int cli_tree_refs(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 0, 0, false, error))
        return 1;
    g_autoptr(Store) store = cli_tree_open_store(&common, false, error);
    g_autoptr(GHashTable) refs = store ? ostree_list_refs(store, error) : NULL;
    if (!refs)
        return 1;
    unsigned n;
    g_autofree char **names = sort_keys(refs, &n);
    json_t *all = json_array();
    for (unsigned i = 0; i < n; i++) {
        const char *checksum = g_hash_table_lookup(refs, names[i]);
        if (common.json)
            json_array_append_new(all,
                                  json_pack("{s:s, s:s}", "ref", names[i], "commit", checksum));
        else
            printf("%s %.12s\n", names[i], checksum);
    }
    json_t *document = json_pack("{s:o}", "refs", all);
    if (common.json)
        return cli_print_document("atomic.tree.refs/1", document, error) ? 0 : 1;
    json_decref(document);
    return 0;
}

static json_t *commit_json(const char *checksum, GVariant *commit)
{
    g_autofree char *version = ostree_commit_version(commit),
                    *parent = ostree_commit_parent(commit),
                    *subject = ostree_commit_subject(commit);
    return json_pack("{s:s, s:I, s:s?, s:s?, s:s}", "commit", checksum, "timestamp",
                     (json_int_t)ostree_commit_timestamp(commit), "version", version, "parent",
                     parent, "subject", subject);
}

static void print_commit(const char *checksum, GVariant *commit)
{
    g_autofree char *version = ostree_commit_version(commit),
                    *parent = ostree_commit_parent(commit),
                    *subject = ostree_commit_subject(commit);
    g_autofree char *date = human_time((int64_t)ostree_commit_timestamp(commit));
    printf("commit   %s\n", checksum);
    if (parent)
        printf("Parent:  %s\n", parent);
    printf("Date:    %s UTC\n", date);
    if (version)
        printf("Version: %s\n", version);
    if (*subject)
        printf("\n    %s\n", subject);
}

int cli_tree_log(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 1, 1, false, error))
        return 1;
    g_autoptr(Store) store = cli_tree_open_store(&common, false, error);
    g_autofree char *checksum = NULL;
    if (!store || !ostree_resolve(store, argv[1], &checksum, error))
        return 1;
    json_t *all = json_array();
    /* parents that were not pulled end the history */
    for (bool first = true; checksum && (first || ostree_has_commit(store, checksum));
         first = false) {
        g_autoptr(GVariant) commit = ostree_load_commit(store, checksum, error);
        if (!commit) {
            json_decref(all);
            return 1;
        }
        if (common.json) {
            json_array_append_new(all, commit_json(checksum, commit));
        } else {
            if (!first)
                printf("\n");
            print_commit(checksum, commit);
        }
        g_free(checksum);
        checksum = ostree_commit_parent(commit);
    }
    json_t *document = json_pack("{s:o}", "commits", all);
    if (common.json)
        return cli_print_document("atomic.tree.log/1", document, error) ? 0 : 1;
    json_decref(document);
    return 0;
}

static json_t *packages_json(GPtrArray *packages)
{
    json_t *all = json_array();
    for (unsigned i = 0; i < packages->len; i++) {
        const OstreePackage *p = packages->pdata[i];
        json_array_append_new(all, json_pack("{s:s, s:s, s:s}", "name", p->name, "version",
                                             p->version, "arch", p->arch));
    }
    return all;
}

static void print_metadata(GVariant *commit)
{
    g_autoptr(GVariant) metadata = ostree_commit_metadata(commit);
    GVariantIter iter;
    const char *key;
    GVariant *value;
    g_variant_iter_init(&iter, metadata);
    while (g_variant_iter_next(&iter, "{&sv}", &key, &value)) {
        g_autofree char *text = g_variant_print(value, FALSE);
        printf("%s: %.200s%s\n", key, text, strlen(text) > 200 ? "…" : "");
        g_variant_unref(value);
    }
}

/* The commit that a verb's only operand names. */
typedef struct {
    CliCommon common;
    Store *store;
    char *checksum;
    GVariant *commit;
} OneCommit;

static void one_commit_clear(OneCommit *one)
{
    cli_common_clear(&one->common);
    store_unref(one->store);
    g_free(one->checksum);
    g_clear_pointer(&one->commit, g_variant_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(OneCommit, one_commit_clear)

static bool open_one(const CliCommand *command, int argc, char **argv, OneCommit *one,
                     GError **error)
{
    if (!cli_parse(command, NULL, &one->common, &argc, &argv, 1, 1, false, error))
        return false;
    one->store = cli_tree_open_store(&one->common, false, error);
    if (!one->store || !ostree_resolve(one->store, argv[1], &one->checksum, error))
        return false;
    one->commit = ostree_load_commit(one->store, one->checksum, error);
    return one->commit != NULL;
}

int cli_tree_show(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(OneCommit) one = {0};
    Digest image;
    if (!open_one(command, argc, argv, &one, error) ||
        !ostree_commit_image(one.store, one.checksum, &image, error))
        return 1;
    if (one.common.json) {
        g_autoptr(GPtrArray) packages = ostree_packages(one.commit);
        json_t *document = commit_json(one.checksum, one.commit);
        json_object_set_new(document, "image", json_string(digest_hex(&image).text));
        json_object_set_new(document, "packages", packages_json(packages));
        return cli_print_document("atomic.tree.show/1", document, error) ? 0 : 1;
    }
    print_commit(one.checksum, one.commit);
    printf("\nImage:   %s\n", digest_hex(&image).text);
    print_metadata(one.commit);
    return 0;
}

int cli_tree_pkglist(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(OneCommit) one = {0};
    if (!open_one(command, argc, argv, &one, error))
        return 1;
    g_autoptr(GPtrArray) packages = ostree_packages(one.commit);
    if (one.common.json) {
        json_t *document =
            json_pack("{s:s, s:o}", "commit", one.checksum, "packages", packages_json(packages));
        return cli_print_document("atomic.tree.pkglist/1", document, error) ? 0 : 1;
    }
    if (packages->len == 0 && !one.common.quiet)
        fprintf(stderr, "The commit carries no list of packages.\n");
    for (unsigned i = 0; i < packages->len; i++) {
        const OstreePackage *p = packages->pdata[i];
        printf("%s-%s.%s\n", p->name, p->version, p->arch);
    }
    return 0;
}

/* --- files ------------------------------------------------------------------------------------------------- */

/* OSTree's mode has the type bits. */
static json_t *describe(const TreeNode *node)
{
    char octal[16];
    g_snprintf(octal, sizeof octal, "%o", node->inode->mode);
    json_t *file = file_json(node);
    json_object_set_new(file, "mode", json_string(octal));
    return file;
}

static Tree *load_tree(const CliCommon *common, const char *rev, Store **out_store, GError **error)
{
    g_autoptr(Store) store = cli_tree_open_store(common, false, error);
    g_autofree char *checksum = NULL;
    if (!store || !ostree_resolve(store, rev, &checksum, error))
        return NULL;
    Tree *tree = ostree_load_tree(store, checksum, error);
    *out_store = g_steal_pointer(&store);
    return tree;
}

int cli_tree_ls(const CliCommand *command, int argc, char **argv, GError **error)
{
    gboolean recursive = FALSE;
    const GOptionEntry entries[] = {
        {"recursive", 'R', 0, G_OPTION_ARG_NONE, &recursive, "List directories below too", NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, 2, false, error))
        return 1;
    g_autoptr(Store) store = NULL;
    g_autoptr(Tree) tree = load_tree(&common, argv[1], &store, error);
    const char *path = argc > 2 ? argv[2] : "/";
    const TreeNode *node = tree ? cli_store_find(tree, argv[1], path, false, error) : NULL;
    if (!node)
        return 1;
    json_t *files = common.json ? json_array() : NULL;
    cli_store_list(node, recursive, describe, files);
    json_t *document = files ? json_pack("{s:o}", "files", files) : NULL;
    return !files || cli_print_document("atomic.tree.ls/1", document, error) ? 0 : 1;
}

int cli_tree_cat(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 2, 2, false, error))
        return 1;
    g_autoptr(Store) store = NULL;
    g_autoptr(Tree) tree = load_tree(&common, argv[1], &store, error);
    const TreeNode *node = tree ? cli_store_find(tree, argv[1], argv[2], true, error) : NULL;
    return node && cli_store_print_file(store, node, argv[2], error) ? 0 : 1;
}
