/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `atomic store diff`: any two trees, name by name. */
#include "cli/store_verbs.h"

#include "base/cancel.h"
#include "cli/document.h"
#include "cli/file_text.h"
#include "cli/human.h"
#include "cli/operand.h"

#include <string.h>

typedef struct {
    json_t *changes; /* NULL: they are printed */
    bool quiet, verbose, with_times;
    uint64_t added, removed, modified; /* names; a directory that is gone counts as one */
    uint64_t bytes_added, bytes_removed;
} Diff;

static const char *const difference_names[] = {"type",    "mode",   "owner",
                                               "content", "xattrs", "mtime"};

/* "content,mode" */
static char *difference_text(unsigned differs)
{
    GString *text = g_string_new(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(difference_names); i++)
        if (differs & 1u << i)
            g_string_append_printf(text, "%s%s", text->len ? "," : "", difference_names[i]);
    return g_string_free(text, false);
}

static void count_bytes(const TreeNode *node, uint64_t *bytes)
{
    if (S_ISREG(node->inode->mode))
        *bytes += node->inode->size;
    TreeNode *child;
    TREE_EACH_CHILD (node, child)
        count_bytes(child, bytes);
}

static void count(Diff *diff, TreeChange change, const TreeNode *old, const TreeNode *new,
                  unsigned differs)
{
    switch (change) {
    case TREE_ADDED: /* node by node */
        diff->added++;
        diff->bytes_added += S_ISREG(new->inode->mode) ? new->inode->size : 0;
        break;
    case TREE_REMOVED: /* by its top */
        diff->removed++;
        count_bytes(old, &diff->bytes_removed);
        break;
    case TREE_MODIFIED:
        diff->modified++;
        if (!(differs & (TREE_DIFFERS_CONTENT | TREE_DIFFERS_TYPE)))
            break;
        diff->bytes_removed += S_ISREG(old->inode->mode) ? old->inode->size : 0;
        diff->bytes_added += S_ISREG(new->inode->mode) ? new->inode->size : 0;
        break;
    }
}

static json_t *change_json(const char *change, const TreeNode *old, const TreeNode *new,
                           unsigned differs)
{
    g_autofree char *path = tree_path(new ? new : old);
    json_t *entry = json_pack("{s:s}", "change", change), *in = json_array();
    file_json_set(entry, "path", path);
    for (size_t i = 0; i < ARRAY_SIZE(difference_names); i++)
        if (differs & 1u << i)
            json_array_append_new(in, json_string(difference_names[i]));
    json_object_set_new(entry, "differs", in);
    json_object_set_new(entry, "old", old ? file_json_full(old) : json_null());
    json_object_set_new(entry, "new", new ? file_json_full(new) : json_null());
    return entry;
}

static void print_change(const Diff *diff, char letter, const TreeNode *node, unsigned differs)
{
    g_autofree char *path = tree_path(node);
    g_autofree char *shown = file_path_text(path);
    g_autofree char *in = diff->verbose && differs ? difference_text(differs) : NULL;
    printf("%c %s%s%s%s\n", letter, shown, in ? "  (" : "", in ? in : "", in ? ")" : "");
}

static bool visit(TreeChange change, TreeNode *old, TreeNode *new, void *data, GError **error)
{
    static const char letters[] = {'A', 'D', 'M'};
    static const char *const names[] = {"added", "removed", "modified"};
    Diff *diff = data;
    unsigned differs = old && new ? tree_compare(old->inode, new->inode) : 0;
    if (!diff->with_times)
        differs &= ~(unsigned)TREE_DIFFERS_MTIME;
    count(diff, change, old, new, differs);
    if (diff->changes)
        json_array_append_new(diff->changes, change_json(names[change], old, new, differs));
    else if (!diff->quiet)
        print_change(diff, letters[change], new ? new : old, differs);
    return cancel_check(error);
}

static bool print_summary(const Diff *diff, GError **error)
{
    uint64_t changes = diff->added + diff->removed + diff->modified;
    if (diff->changes)
        return cli_print_document(
            "atomic.store.diff/1",
            json_pack("{s:O, s:I, s:I, s:I, s:I, s:I}", "changes", diff->changes, "added",
                      (json_int_t)diff->added, "removed", (json_int_t)diff->removed, "modified",
                      (json_int_t)diff->modified, "bytes_added", (json_int_t)diff->bytes_added,
                      "bytes_removed", (json_int_t)diff->bytes_removed),
            error);
    g_autofree char *more = human_bytes(diff->bytes_added);
    g_autofree char *less = human_bytes(diff->bytes_removed);
    if (changes == 0)
        fprintf(stderr, "No difference.\n");
    else
        fprintf(stderr,
                "%" G_GUINT64_FORMAT " added, %" G_GUINT64_FORMAT " removed, %" G_GUINT64_FORMAT
                " modified; +%s -%s\n",
                diff->added, diff->removed, diff->modified, more, less);
    return true;
}

int cli_store_diff(const CliCommand *command, int argc, char **argv, GError **error)
{
    gboolean times = false, exit_code = false, summary = false;
    const GOptionEntry entries[] = {
        {"times", 't', 0, G_OPTION_ARG_NONE, &times, "Compare modification times too", NULL},
        {"summary", 's', 0, G_OPTION_ARG_NONE, &summary, "Only the last line, with totals", NULL},
        {"exit-code", 0, 0, G_OPTION_ARG_NONE, &exit_code, "Exit 1 when they differ", NULL},
        G_OPTION_ENTRY_NULL,
    };
    g_auto(CliCommon) common = {0};
    if (!cli_parse(command, entries, &common, &argc, &argv, 2, 2, false, error))
        return 1;
    cancel_install();
    g_autoptr(Store) store = cli_store_open(&common, error);
    g_autoptr(Tree) old = store ? cli_operand_tree(store, argv[1], error) : NULL;
    g_autoptr(Tree) new = old ? cli_operand_tree(store, argv[2], error) : NULL;
    if (!new)
        return 1;
    json_t *changes = common.json ? json_array() : NULL;
    Diff diff = {
        .changes = changes, .quiet = summary, .verbose = common.verbose, .with_times = times};
    bool good = tree_diff(old, new, times, visit, &diff, error) &&
                (common.quiet || print_summary(&diff, error));
    json_decref(changes);
    if (!good)
        return 1;
    return exit_code && diff.added + diff.removed + diff.modified > 0;
}
