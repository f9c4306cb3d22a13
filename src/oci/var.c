/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A composed tree has its /var as tmpfiles.d lines (compose writes them); a container has no
 * first boot, so they are carried out here. */
#include "oci/var.h"

#include <string.h>

enum {
    FIELD_TYPE,
    FIELD_PATH,
    FIELD_MODE,
    FIELD_UID,
    FIELD_GID,
    FIELD_AGE,
    FIELD_ARGUMENT,
    FIELDS
};

/* C-style \xHH and \\, and %% for '%'. NULL for anything else behind those two. */
static char *unescape(const char *text)
{
    g_autoptr(GString) out = g_string_new(NULL);
    for (const char *c = text; *c; c++) {
        if (*c == '%' && c[1] == '%') {
            g_string_append_c(out, *c++);
        } else if (*c == '\\' && c[1] == '\\') {
            g_string_append_c(out, *c++);
        } else if (*c == '\\' && c[1] == 'x' && g_ascii_isxdigit(c[2]) && g_ascii_isxdigit(c[3])) {
            g_string_append_c(out,
                              (char)(g_ascii_xdigit_value(c[2]) << 4 | g_ascii_xdigit_value(c[3])));
            c += 3;
        } else if (*c == '%' || *c == '\\') {
            return NULL;
        } else {
            g_string_append_c(out, *c);
        }
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}

static bool parse_number(const char *text, unsigned base, uint64_t max, uint32_t *out)
{
    guint64 value;
    if (!g_ascii_string_to_unsigned(text, base, 0, max, &value, NULL))
        return false;
    *out = (uint32_t)value;
    return true;
}

/* The directory in which the path's last component is to be. */
static TreeNode *parent_of(Tree *tree, const char *path, GError **error)
{
    g_autofree char *parent = g_path_get_dirname(path);
    TreeNode *dir = tree_resolve(tree, parent);
    return dir ? dir : tree_ensure_dir(tree, parent, error);
}

/* NULL without an error when the name is taken. */
static TreeNode *add(Tree *tree, const char *path, uint32_t mode, GError **error)
{
    TreeNode *dir = parent_of(tree, path, error);
    g_autofree char *name = g_path_get_basename(path);
    if (!dir || tree_child(tree, dir, name))
        return NULL;
    return tree_add(tree, dir, name, mode, error);
}

static bool copy_factory(Tree *tree, TreeInode *to, const char *source, GError **error)
{
    const TreeNode *from =
        g_str_has_prefix(source, "/usr/share/factory/") ? tree_lookup(tree, source) : NULL;
    if (!from || !S_ISREG(from->inode->mode))
        return error_throw(error, ERROR_INVALID, "there is no file '%s'", source);
    if (from->inode->has_object)
        tree_set_object(tree, to, &from->inode->object, from->inode->size);
    else
        tree_set_inline(tree, to, from->inode->content, from->inode->size);
    for (size_t i = 0; i < from->inode->n_xattrs; i++) {
        const TreeXattr *xattr = &from->inode->xattrs[i];
        tree_set_xattr(tree, to, xattr->name, xattr->value, xattr->size);
    }
    return true;
}

static bool carry_out(Tree *tree, char **fields, GError **error)
{
    const char *type = fields[FIELD_TYPE];
    g_autofree char *path = unescape(fields[FIELD_PATH]);
    g_autofree char *argument = fields[FIELD_ARGUMENT] ? unescape(fields[FIELD_ARGUMENT]) : NULL;
    bool is_dir = strcmp(type, "d") == 0, is_link = strcmp(type, "L") == 0,
         is_copy = strcmp(type, "C") == 0;
    if (!path || !g_str_has_prefix(path, "/var/") || strstr(path, "/../") ||
        (!is_dir && !is_link && !is_copy) || (!is_dir && !argument))
        return error_throw(error, ERROR_INVALID, "expected 'd', 'L' or 'C' and a path below /var");
    uint32_t mode = 0, uid = 0, gid = 0;
    if (!is_link && (!parse_number(fields[FIELD_MODE], 8, 07777, &mode) ||
                     !parse_number(fields[FIELD_UID], 10, UINT32_MAX - 1, &uid) ||
                     !parse_number(fields[FIELD_GID], 10, UINT32_MAX - 1, &gid)))
        return error_throw(error, ERROR_INVALID, "expected MODE UID GID as numbers");
    GError *why = NULL;
    TreeNode *node = add(tree, path,
                         is_dir    ? S_IFDIR | mode
                         : is_link ? S_IFLNK | 0777
                                   : S_IFREG | mode,
                         &why);
    if (!node) {
        if (why)
            g_propagate_error(error, why);
        return !why;
    }
    node->inode->uid = uid;
    node->inode->gid = gid;
    if (is_link)
        tree_set_target(tree, node->inode, argument);
    return !is_copy || copy_factory(tree, node->inode, argument, error);
}

bool var_populate(Tree *tree, const char *text, size_t size, GError **error)
{
    g_autofree char *copy = g_strndup(text, size);
    g_auto(GStrv) lines = g_strsplit(copy, "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        const char *line = g_strstrip(lines[i]);
        if (!*line || *line == '#')
            continue;
        g_auto(GStrv) words = g_strsplit_set(line, " \t", -1);
        char *fields[FIELDS + 1] = {NULL};
        size_t n = 0;
        for (char **word = words; *word && n < FIELDS; word++)
            if (**word)
                fields[n++] = *word;
        if (n <= FIELD_GID)
            error_throw(error, ERROR_INVALID, "too few fields");
        else if (carry_out(tree, fields, error))
            continue;
        return error_prefix(error, "atomic-var.conf:%u", i + 1);
    }
    return true;
}
