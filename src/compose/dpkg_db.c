/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* dpkg's database as it would be after `dpkg --unpack` of every package (deb(5), dpkg's
 * lib/dpkg/triglib.c):
 *
 *     status                 one paragraph per package, "install ok unpacked"
 *     info/format            1
 *     info/NAME.list         its paths; NAME.MEMBER: its control members but `control`
 *     triggers/File          PATH PACKAGE[/noawait]
 *     triggers/TRIGGER       PACKAGE[/noawait]
 *
 * Conffiles are in place already; their sums are in the status as those of files that nobody has
 * changed, so configuring leaves them alone.
 */
#include "compose/rootfs.h"

#include <stdio.h>
#include <string.h>

#define ADMIN_DIR "var/lib/dpkg/"

typedef struct {
    Rootfs *rootfs;
    GString *status;
    GString *file_triggers;
    GHashTable *triggers; /* name -> GString of lines */
} Database;

/* --- lists ------------------------------------------------------------------------------------ */

static void list_paths(const Part *part, const TreeNode *dir, GString *path, GString *list)
{
    TreeNode *child;
    TREE_EACH_CHILD (dir, child) {
        if (!dir->parent && strcmp(child->name, PACKAGE_CONTROL_DIR) == 0)
            continue;
        size_t length = path->len;
        g_string_append_printf(path, "/%s", child->name);
        if (!g_hash_table_contains(part->lost, path->str))
            g_string_append_printf(list, "%s\n", path->str);
        list_paths(part, child, path, list);
        g_string_truncate(path, length);
    }
}

static bool write_list(Database *database, const Part *part, GError **error)
{
    g_autoptr(GString) list = g_string_new("/.\n");
    g_autoptr(GString) path = g_string_new(NULL);
    list_paths(part, tree_root(part->tree), path, list);
    g_autofree char *name = g_strdup_printf(ADMIN_DIR "info/%s.list", part->info_name);
    return rootfs_write_text(database->rootfs, name, 0644, list->str, error);
}

static bool copy_members(Database *database, const Part *part, GError **error)
{
    TreeNode *member;
    Tree *tree = database->rootfs->tree;
    TreeNode *info = tree_lookup(tree, ADMIN_DIR "info");
    TREE_EACH_CHILD (tree_lookup(part->tree, PACKAGE_CONTROL_DIR), member) {
        if (strcmp(member->name, "control") == 0 || *member->name == '.')
            continue;
        g_autofree char *name = g_strdup_printf("%s.%s", part->info_name, member->name);
        TreeNode *node = tree_add(tree, info, name, member->inode->mode, error);
        if (!node)
            return false;
        rootfs_copy_inode(tree, node->inode, member->inode);
        node->inode->uid = node->inode->gid = 0;
    }
    return true;
}

/* --- triggers --------------------------------------------------------------------------------- */

static void add_interest(Database *database, const Part *part, const char *trigger, bool await)
{
    const char *suffix = await ? "" : "/noawait";
    if (*trigger == '/') {
        g_string_append_printf(database->file_triggers, "%s %s%s\n", trigger, part->info_name,
                               suffix);
        return;
    }
    GString *lines = g_hash_table_lookup(database->triggers, trigger);
    if (!lines) {
        lines = g_string_new(NULL);
        g_hash_table_insert(database->triggers, g_strdup(trigger), lines);
    }
    g_string_append_printf(lines, "%s%s\n", part->info_name, suffix);
}

static bool read_triggers(Database *database, const Part *part, GError **error)
{
    TreeNode *node = part_control(part, "triggers");
    if (!node)
        return true;
    size_t size;
    g_autofree char *text = rootfs_read(database->rootfs, node, &size, error);
    if (!text)
        return false;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        char directive[32], trigger[1024];
        if (sscanf(*line, "%31s %1023s", directive, trigger) != 2 || *directive == '#' ||
            !g_str_has_prefix(directive, "interest"))
            continue;
        add_interest(database, part, trigger, strcmp(directive, "interest-noawait") != 0);
    }
    return true;
}

static void free_lines(void *lines)
{
    g_string_free(lines, TRUE);
}

static bool write_triggers(Database *database, GError **error)
{
    GHashTableIter iter;
    void *name, *lines;
    g_hash_table_iter_init(&iter, database->triggers);
    while (g_hash_table_iter_next(&iter, &name, &lines)) {
        g_autofree char *path = g_strconcat(ADMIN_DIR "triggers/", name, NULL);
        if (!rootfs_write_text(database->rootfs, path, 0644, ((GString *)lines)->str, error))
            return false;
    }
    return rootfs_write_text(database->rootfs, ADMIN_DIR "triggers/File", 0644,
                             database->file_triggers->str, error);
}

/* --- status ----------------------------------------------------------------------------------- */

/* The line " PATH MD5" of one conffile; nothing when the package lists one that it doesn't ship. */
static bool append_conffile(Database *database, const Part *part, const char *path, GError **error)
{
    TreeNode *node = tree_resolve(part->tree, path);
    if (!node || !S_ISREG(node->inode->mode))
        return true;
    size_t size;
    g_autofree char *data = rootfs_read(database->rootfs, node, &size, error);
    if (!data)
        return false;
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_MD5, (const uint8_t *)data, size);
    g_string_append_printf(database->status, " %s %s\n", path, sum);
    return true;
}

static bool append_conffiles(Database *database, const Part *part, GError **error)
{
    TreeNode *node = part_control(part, "conffiles");
    if (!node)
        return true;
    size_t size;
    g_autofree char *text = rootfs_read(database->rootfs, node, &size, error);
    if (!text)
        return false;
    size_t before = database->status->len;
    g_string_append(database->status, "Conffiles:\n");
    size_t empty = database->status->len;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        /* "remove-on-upgrade /etc/x" names a file that is gone */
        g_strstrip(*line);
        if (**line == '/' && !append_conffile(database, part, *line, error))
            return false;
    }
    /* the field may not be there without a value */
    if (database->status->len == empty)
        g_string_truncate(database->status, before);
    return true;
}

static bool append_status(Database *database, const Part *part, GError **error)
{
    const char *rest = strchr(part->control, '\n');
    g_string_append_printf(database->status, "Package: %s\nStatus: install ok unpacked\n",
                           part->package->name);
    /* "Package" is the first field of every .deb's control file, but nothing says so */
    if (g_str_has_prefix(part->control, "Package:") && rest)
        g_string_append_printf(database->status, "%s\n", rest + 1);
    else
        return error_throw(error, ERROR_INVALID, "malformed control file of the package '%s'",
                           part->package->name);
    if (!append_conffiles(database, part, error))
        return false;
    g_string_append_c(database->status, '\n');
    return true;
}

static bool write_empty_files(Rootfs *rootfs, GError **error)
{
    static const char *const names[] = {"available", "diversions",    "statoverride",
                                        "lock",      "triggers/Lock", "triggers/Unincorp"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        g_autofree char *path = g_strconcat(ADMIN_DIR, names[i], NULL);
        if (!rootfs_write_text(rootfs, path, 0644, "", error))
            return false;
    }
    return rootfs_write_text(rootfs, ADMIN_DIR "info/format", 0644, "1\n", error) &&
           tree_ensure_dir(rootfs->tree, ADMIN_DIR "updates", error);
}

bool dpkg_db_write(Rootfs *rootfs, GPtrArray *parts, GError **error)
{
    g_autoptr(GString) status = g_string_new(NULL);
    g_autoptr(GString) file_triggers = g_string_new(NULL);
    g_autoptr(GHashTable) triggers =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_lines);
    Database database = {
        .rootfs = rootfs, .status = status, .file_triggers = file_triggers, .triggers = triggers};
    if (!write_empty_files(rootfs, error))
        return false;
    for (unsigned i = 0; i < parts->len; i++) {
        Part *part = parts->pdata[i];
        if (!copy_members(&database, part, error) || !write_list(&database, part, error) ||
            !read_triggers(&database, part, error) || !append_status(&database, part, error))
            return error_prefix(error, "cannot register the package '%s'", part->package->name);
    }
    return write_triggers(&database, error) &&
           rootfs_write_text(rootfs, ADMIN_DIR "status", 0644, status->str, error);
}
