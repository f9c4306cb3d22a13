/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of `atomic tree` that only look: refs, log, show, ls, cat, pkglist. */
#include "cli/tree_verbs.h"

#include "base/file.h"
#include "base/sort.h"
#include "cli/document.h"
#include "cli/human.h"
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

int cli_tree_show(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 1, 1, false, error))
        return 1;
    g_autoptr(Store) store = cli_tree_open_store(&common, false, error);
    g_autofree char *checksum = NULL;
    if (!store || !ostree_resolve(store, argv[1], &checksum, error))
        return 1;
    g_autoptr(GVariant) commit = ostree_load_commit(store, checksum, error);
    Digest image;
    if (!commit || !ostree_commit_image(store, checksum, &image, error))
        return 1;
    if (common.json) {
        g_autoptr(GPtrArray) packages = ostree_packages(commit);
        json_t *document = commit_json(checksum, commit);
        json_object_set_new(document, "image", json_string(digest_hex(&image).text));
        json_object_set_new(document, "packages", packages_json(packages));
        return cli_print_document("atomic.tree.show/1", document, error) ? 0 : 1;
    }
    print_commit(checksum, commit);
    printf("\nImage:   %s\n", digest_hex(&image).text);
    print_metadata(commit);
    return 0;
}

int cli_tree_pkglist(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 1, 1, false, error))
        return 1;
    g_autoptr(Store) store = cli_tree_open_store(&common, false, error);
    g_autofree char *checksum = NULL;
    if (!store || !ostree_resolve(store, argv[1], &checksum, error))
        return 1;
    g_autoptr(GVariant) commit = ostree_load_commit(store, checksum, error);
    if (!commit)
        return 1;
    g_autoptr(GPtrArray) packages = ostree_packages(commit);
    if (common.json) {
        json_t *document =
            json_pack("{s:s, s:o}", "commit", checksum, "packages", packages_json(packages));
        return cli_print_document("atomic.tree.pkglist/1", document, error) ? 0 : 1;
    }
    if (packages->len == 0 && !common.quiet)
        fprintf(stderr, "The commit carries no list of packages.\n");
    for (unsigned i = 0; i < packages->len; i++) {
        const OstreePackage *p = packages->pdata[i];
        printf("%s-%s.%s\n", p->name, p->version, p->arch);
    }
    return 0;
}

/* --- files ------------------------------------------------------------------------------------------------- */

static void mode_text(uint32_t mode, char text[11])
{
    const char *bits = "rwxrwxrwx";
    text[0] = S_ISDIR(mode) ? 'd' : S_ISLNK(mode) ? 'l' : '-';
    for (unsigned i = 0; i < 9; i++)
        text[i + 1] = mode & (0400u >> i) ? bits[i] : '-';
    if (mode & S_ISUID)
        text[3] = mode & 0100 ? 's' : 'S';
    if (mode & S_ISGID)
        text[6] = mode & 0010 ? 's' : 'S';
    if (mode & S_ISVTX)
        text[9] = mode & 0001 ? 't' : 'T';
    text[10] = '\0';
}

static void list_node(const TreeNode *node, json_t *all)
{
    const TreeInode *inode = node->inode;
    g_autofree char *path = tree_path(node);
    uint64_t size = S_ISREG(inode->mode) ? inode->size : 0;
    if (all) { /* OSTree names are UTF-8 */
        char octal[16];
        g_snprintf(octal, sizeof octal, "%o", inode->mode);
        json_array_append_new(all,
                              json_pack("{s:s, s:s, s:I, s:I, s:I, s:s?}", "path", path, "mode",
                                        octal, "uid", (json_int_t)inode->uid, "gid",
                                        (json_int_t)inode->gid, "size", (json_int_t)size, "target",
                                        S_ISLNK(inode->mode) ? inode->target : NULL));
        return;
    }
    char mode[11];
    mode_text(inode->mode, mode);
    printf("%s %5u %5u %10" G_GUINT64_FORMAT " %s%s%s\n", mode, inode->uid, inode->gid, size, path,
           S_ISLNK(inode->mode) ? " -> " : "", S_ISLNK(inode->mode) ? inode->target : "");
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

static TreeNode *find_node(Tree *tree, const char *rev, const char *path, bool follow,
                           GError **error)
{
    TreeNode *node = follow ? tree_resolve(tree, path) : tree_lookup(tree, path);
    if (!node)
        return error_throw_null(error, ERROR_NOT_FOUND, "'%s' has no file '%s'", rev, path);
    return node;
}

static void list_below(const TreeNode *dir, bool recursive, json_t *all)
{
    TreeNode *child;
    TREE_EACH_CHILD (dir, child) {
        list_node(child, all);
        if (recursive && S_ISDIR(child->inode->mode))
            list_below(child, true, all);
    }
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
    const TreeNode *node = tree ? find_node(tree, argv[1], path, false, error) : NULL;
    if (!node)
        return 1;
    json_t *all = common.json ? json_array() : NULL;
    if (S_ISDIR(node->inode->mode))
        list_below(node, recursive, all);
    else
        list_node(node, all);
    return !all || cli_print_document("atomic.tree.ls/1", json_pack("{s:o}", "files", all), error)
               ? 0
               : 1;
}

static bool print_file(Store *store, const TreeInode *inode, GError **error)
{
    if (!inode->has_object)
        return !inode->content || file_write_all(STDOUT_FILENO, inode->content, inode->size, error);
    _autofd int fd = store_open_object(store, &inode->object, error);
    g_autofree uint8_t *buffer = g_malloc(256 << 10);
    for (ssize_t n = 1; fd >= 0 && n;) {
        n = sys_read_all(fd, buffer, 256 << 10);
        if (n < 0)
            return error_throw(error, ERROR_FAILED, "cannot read an object: %s",
                               g_strerror((int)-n));
        if (!file_write_all(STDOUT_FILENO, buffer, (size_t)n, error))
            return false;
    }
    return fd >= 0;
}

int cli_tree_cat(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, NULL, &common, &argc, &argv, 2, 2, false, error))
        return 1;
    g_autoptr(Store) store = NULL;
    g_autoptr(Tree) tree = load_tree(&common, argv[1], &store, error);
    const TreeNode *node = tree ? find_node(tree, argv[1], argv[2], true, error) : NULL;
    if (!node)
        return 1;
    if (!S_ISREG(node->inode->mode))
        return error_throw(error, ERROR_INVALID, "'%s' is not a regular file", argv[2]), 1;
    return print_file(store, node->inode, error) ? 0 : 1;
}
