/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* /var belongs to the host, not to the tree: what packages put there becomes instructions for the
 * first boot.
 *
 * Directories and links become tmpfiles.d lines (tmpfiles.d(5)); files move to
 * /usr/share/factory/var and get a line that copies them. Caches, logs and leftovers are dropped.
 */
#include "compose/rootfs.h"

#include <string.h>

#define FACTORY "usr/share/factory/"

/* Emptied of files, their directories stay. */
static const char *const dropped[] = {"var/cache", "var/log",           "var/backups",
                                      "var/tmp",   "var/lib/apt/lists", "var/lib/dbus"};

/* Spaces, quotes and what a line can't hold, C-escaped; '%' would begin a specifier. */
static void append_path(GString *out, const char *path)
{
    for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
        if (*p == '%')
            g_string_append(out, "%%");
        else if (*p <= ' ' || *p >= 0x7f || strchr("\"'\\", *p))
            g_string_append_printf(out, "\\x%02x", *p);
        else
            g_string_append_c(out, (char)*p);
    }
}

static void drop_files(Tree *tree, TreeNode *dir)
{
    for (size_t i = tree_n_children(dir); i-- > 0;) {
        TreeNode *child = tree_nth_child(dir, i);
        if (S_ISDIR(child->inode->mode))
            drop_files(tree, child);
        else
            tree_remove(tree, child);
    }
}

typedef struct {
    Rootfs *rootfs;
    GString *lines;
} Emptier;

static bool empty_file(Emptier *emptier, TreeNode *node, const char *path, GError **error)
{
    const TreeInode *inode = node->inode;
    g_autofree char *factory = g_strconcat(FACTORY, path + 1, NULL);
    g_string_append(emptier->lines, "C ");
    append_path(emptier->lines, path);
    g_string_append_printf(emptier->lines, " %04o %u %u - /", inode->mode & 07777, inode->uid,
                           inode->gid);
    append_path(emptier->lines, factory);
    g_string_append_c(emptier->lines, '\n');
    return rootfs_move(emptier->rootfs, node, factory, error);
}

static bool empty_children(Emptier *emptier, TreeNode *dir, GError **error);

/* Parents first, so the lines of a path's parents stand above it. */
static bool empty_node(Emptier *emptier, TreeNode *node, GError **error)
{
    const TreeInode *inode = node->inode;
    g_autofree char *path = tree_path(node);
    if (S_ISREG(inode->mode))
        return empty_file(emptier, node, path, error);
    if (S_ISLNK(inode->mode)) {
        g_string_append(emptier->lines, "L ");
        append_path(emptier->lines, path);
        g_string_append(emptier->lines, " - - - - ");
        append_path(emptier->lines, inode->target);
        g_string_append_c(emptier->lines, '\n');
        return true;
    }
    if (!S_ISDIR(inode->mode))
        return error_throw(error, ERROR_UNSUPPORTED,
                           "not supported yet: a device or pipe in /var: '%s'", path);
    g_string_append(emptier->lines, "d ");
    append_path(emptier->lines, path);
    g_string_append_printf(emptier->lines, " %04o %u %u -\n", inode->mode & 07777, inode->uid,
                           inode->gid);
    return empty_children(emptier, node, error);
}

static bool empty_children(Emptier *emptier, TreeNode *dir, GError **error)
{
    for (size_t i = 0; i < tree_n_children(dir);) {
        TreeNode *child = tree_nth_child(dir, i);
        if (!empty_node(emptier, child, error))
            return false;
        /* a file was moved away, and the next child has its place */
        if (i < tree_n_children(dir) && tree_nth_child(dir, i) == child)
            i++;
    }
    return true;
}

bool finish_var(Rootfs *rootfs, GError **error)
{
    for (size_t i = 0; i < ARRAY_SIZE(dropped); i++) {
        TreeNode *dir = tree_lookup(rootfs->tree, dropped[i]);
        if (dir)
            drop_files(rootfs->tree, dir);
    }
    g_autoptr(GString) lines =
        g_string_new("# What /var is made of, by the packages of this tree.\n");
    Emptier emptier = {.rootfs = rootfs, .lines = lines};
    TreeNode *var = tree_lookup(rootfs->tree, "var");
    if (var && !empty_children(&emptier, var, error))
        return false;
    return rootfs_empty_dir(rootfs, "var", 0755, error) &&
           rootfs_write_text(rootfs, "usr/lib/tmpfiles.d/atomic-var.conf", 0644, lines->str, error);
}
