/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One package of a compose. */
#include "compose/rootfs.h"

#include <string.h>

TreeNode *part_control(const Part *part, const char *member)
{
    g_autofree char *path = g_build_filename(PACKAGE_CONTROL_DIR, member, NULL);
    return tree_lookup(part->tree, path);
}

void part_free(Part *part)
{
    if (!part)
        return;
    tree_free(part->tree);
    g_free(part->control);
    g_free(part->info_name);
    g_strfreev(part->replaces);
    g_hash_table_unref(part->lost);
    g_free(part);
}

Part *part_new(const Rootfs *rootfs, const Package *package, Tree *tree, GError **error)
{
    Part *part = g_new0(Part, 1);
    part->package = package;
    part->tree = tree;
    part->lost = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    TreeNode *node = part_control(part, "control");
    size_t size = 0;
    if (!node)
        error_throw(error, ERROR_CORRUPT, "it has no control file");
    else
        part->control = rootfs_read(rootfs, node, &size, error);
    if (!part->control) {
        error_prefix(error, "cannot use the package '%s'", package->name);
        part_free(part);
        return NULL;
    }
    g_strchomp(part->control);
    size = strlen(part->control);
    g_autofree char *multi_arch = control_field(part->control, size, "Multi-Arch");
    g_autofree char *replaces = control_field(part->control, size, "Replaces");
    /* several architectures' packages of that name may be there at once, so dpkg tells them
     * apart */
    part->info_name = multi_arch && strcmp(multi_arch, "same") == 0
                          ? g_strdup_printf("%s:%s", package->name, package->arch)
                          : g_strdup(package->name);
    part->replaces = g_strsplit(replaces ? replaces : "", ",", -1);
    return part;
}

/* "<< 1.2" */
static bool version_matches(const char *relation, const char *version)
{
    size_t length = strspn(relation, "<>=");
    g_autofree char *wanted = g_strdup(relation + length);
    g_strstrip(wanted);
    int order = package_compare_versions(version, wanted);
    if (length == 2 && relation[0] == relation[1])
        return relation[0] == '<' ? order < 0 : order > 0;
    return *relation == '<' ? order <= 0 : *relation == '>' ? order >= 0 : order == 0;
}

bool part_replaces(const Part *part, const Part *other)
{
    for (char **relation = part->replaces; *relation; relation++) {
        const char *text = *relation + strspn(*relation, " \t\n");
        size_t length = strcspn(text, " \t\n(:");
        if (strlen(other->package->name) != length ||
            strncmp(text, other->package->name, length) != 0)
            continue;
        const char *open = strchr(text, '(');
        if (!open)
            return true;
        g_autofree char *inside = g_strndup(open + 1, strcspn(open + 1, ")"));
        if (version_matches(g_strstrip(inside), other->package->version))
            return true;
    }
    return false;
}
