/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The entries of a directory: its children and, among them in byte order, "." and "..", in the root also a stub for
 * each of the names 00…ff that is free. (The stubs are whiteouts: they hide the data layer's directories of objects.) */
#include "tree/erofs_plan.h"

static const char *stub_name(unsigned index)
{
    static char names[256][3];
    char *name = names[index];
    name[0] = "0123456789abcdef"[index >> 4];
    name[1] = "0123456789abcdef"[index & 15];
    return name;
}

void plan_dirents_start(PlanDirents *entries, const TreeNode *dir)
{
    entries->dir = dir;
    entries->child = 0;
    entries->n_children = tree_n_children(dir);
    entries->extra = 0;
    entries->n_extras = 2;
    entries->extras[0] = ".";
    entries->extras[1] = "..";
    for (unsigned i = 0; i < 256 && !dir->parent; i++)
        if (!node_child(dir, stub_name(i), 2))
            entries->extras[entries->n_extras++] = stub_name(i);
}

bool plan_dirents_next(PlanDirents *entries, PlanDirent *out)
{
    TreeNode *child =
        entries->child < entries->n_children ? tree_nth_child(entries->dir, entries->child) : NULL;
    bool extra = entries->extra < entries->n_extras;
    if (extra && child)
        extra = tree_compare_names(entries->extras[entries->extra], child->name) < 0;
    if (extra) {
        const char *name = entries->extras[entries->extra];
        *out = (PlanDirent){name, (uint32_t)strlen(name), NULL, entries->extra++};
        return true;
    }
    if (!child)
        return false;
    *out = (PlanDirent){child->name, (uint32_t)strlen(child->name), child, 0};
    entries->child++;
    return true;
}

uint64_t erofs_dir_size(const TreeNode *dir)
{
    PlanDirents entries;
    PlanDirent entry;
    PlanExtent extent = {0};
    plan_dirents_start(&entries, dir);
    while (plan_dirents_next(&entries, &entry))
        plan_extent_add(&extent, entry.length);
    plan_extent_end(&extent);
    return extent.blocks * EROFS_BLOCK + extent.tail;
}
