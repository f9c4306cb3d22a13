/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: a plan of the image is made, pass by pass over an array of its inodes, and then written out in one go.
 * This file: which inodes there are and in what order. They are numbered breadth first, names in byte order; the array
 * is the queue. */
#include "tree/erofs_plan.h"

bool plan_throw(const TreeNode *node, GError **error, const char *reason)
{
    g_autofree char *path = tree_path(node);
    return error_throw(error, ERROR_INVALID, "cannot put '%s' in an image: %s", path, reason);
}

/* --- which name makes the inode -------------------------------------------------------------------------- */

/* A file of several names has its inode where a dump says, else where its first name is, depth first. */
static void choose_names(TreeNode *node, GHashTable *chosen)
{
    Inode *inode = inode_of(node);
    if (!S_ISDIR(node->inode->mode) && inode->names > 1 && !g_hash_table_contains(chosen, inode))
        g_hash_table_insert(chosen, inode, inode->original ? inode->original : node);
    TreeNode *child;
    TREE_EACH_CHILD (node, child)
        choose_names(child, chosen);
}

static bool makes_inode(const TreeNode *node, GHashTable *chosen)
{
    return S_ISDIR(node->inode->mode) || inode_of(node)->names <= 1 ||
           g_hash_table_lookup(chosen, node->inode) == node;
}

/* --- inodes ---------------------------------------------------------------------------------------------- */

static bool check_inode(const TreeNode *node, GError **error)
{
    const TreeInode *inode = node->inode;
    if (inode->whiteout || inode->opaque)
        return plan_throw(node, error, "it belongs to a layer");
    switch (inode->mode & S_IFMT) {
    case S_IFLNK:
        if (!inode->target || !*inode->target)
            return plan_throw(node, error, "the symbolic link has no target");
        if (strlen(inode->target) > COMPOSEFS_TARGET_MAX)
            return plan_throw(node, error, "the symbolic link's target is too long");
        return true;
    case S_IFREG:
        if (inode->content && inode->size > COMPOSEFS_CONTENT_MAX)
            return plan_throw(node, error, "too many bytes inline");
        return true;
    case S_IFDIR:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        return true;
    default:
        return plan_throw(node, error, "unknown file type");
    }
}

static uint8_t file_type(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return 1;
    case S_IFDIR:
        return 2;
    case S_IFCHR:
        return 3;
    case S_IFBLK:
        return 4;
    case S_IFIFO:
        return 5;
    case S_IFSOCK:
        return 6;
    default:
        return 7; /* symlink */
    }
}

static uint8_t chunk_bits_of(uint64_t size)
{
    uint8_t bits = 12;
    while (bits < 43 && size > (uint64_t)1 << bits)
        bits++;
    return bits;
}

static void take_mtime(Plan *plan, const TreeInode *inode)
{
    if (inode->mtime < plan->min_mtime ||
        (inode->mtime == plan->min_mtime && inode->mtime_nsec < plan->min_nsec)) {
        plan->min_mtime = inode->mtime;
        plan->min_nsec = inode->mtime_nsec;
    }
}

static bool add_inode(Plan *plan, TreeNode *node, uint32_t parent, GError **error)
{
    const TreeInode *inode = node->inode;
    if (!check_inode(node, error))
        return false;
    bool is_dir = S_ISDIR(inode->mode);
    PlanInode new = {
        .node = node,
        .metacopy = PLAN_NONE,
        .redirect = PLAN_NONE,
        .parent = parent,
        .nlink = is_dir ? 2 : inode->nlink,
        .type = file_type(inode->mode),
        .whiteout = S_ISCHR(inode->mode) && (uint32_t)inode->rdev == 0,
    };
    if (new.whiteout) {
        new.type = file_type(S_IFREG);
        plan_inode(plan, parent)->has_whiteouts = true;
        if (plan->version < 1)
            plan->version = -1; /* to be decided */
    } else if (S_ISREG(inode->mode) && inode->size > 0 && !inode->content) {
        new.chunk_bits = chunk_bits_of(inode->size);
        plan->n_external++;
        plan->has_payloads |= inode->payload != NULL;
    } else if (is_dir && node->parent) {
        plan_inode(plan, parent)->nlink++;
    }
    take_mtime(plan, inode);
    inode_of(node)->number = plan->inodes->len;
    g_array_append_val(plan->inodes, new);
    return true;
}

static void add_stub(Plan *plan, uint32_t index)
{
    PlanInode stub = {
        .metacopy = PLAN_NONE,
        .redirect = PLAN_NONE,
        .nlink = 1,
        .type = file_type(S_IFCHR),
    };
    plan->stubs[index] = plan->inodes->len;
    g_array_append_val(plan->inodes, stub);
}

/* The inodes that the directory's entries make, and how large the entries are. */
static bool add_children(Plan *plan, uint32_t number, GHashTable *chosen, GError **error)
{
    PlanDirents entries;
    PlanDirent entry;
    PlanExtent extent = {0};
    plan_dirents_start(&entries, plan_inode(plan, number)->node);
    while (plan_dirents_next(&entries, &entry)) {
        plan_extent_add(&extent, entry.length);
        if (!entry.child && entry.extra >= 2)
            add_stub(plan, entry.extra - 2);
        else if (entry.child && makes_inode(entry.child, chosen) &&
                 !add_inode(plan, entry.child, number, error))
            return false;
    }
    plan_extent_end(&extent);
    if (plan->inodes->len > INT32_MAX || extent.blocks > INT32_MAX)
        return plan_throw(plan_inode(plan, number)->node, error, "too many files");
    plan_inode(plan, number)->n_blocks = (uint32_t)extent.blocks;
    plan_inode(plan, number)->tail = (uint16_t)extent.tail;
    return true;
}

static bool number_inodes(Plan *plan, int min_version, int max_version, GError **error)
{
    g_autoptr(GHashTable) chosen = g_hash_table_new(NULL, NULL);
    TreeNode *root = tree_root(plan->tree);
    if (plan->tree->has_links)
        choose_names(root, chosen);
    plan->version = min_version;
    plan->min_mtime = INT64_MAX;
    if (!add_inode(plan, root, 0, error))
        return false;
    for (uint32_t i = 0; i < plan->inodes->len; i++)
        if (plan_inode(plan, i)->type == file_type(S_IFDIR) &&
            !add_children(plan, i, chosen, error))
            return false;
    if (plan->version < 0) /* there is a whiteout: what version 1 is for */
        plan->version = MAX(min_version, max_version);
    return true;
}

GBytes *erofs_write_image(Tree *tree, int min_version, int max_version, GError **error)
{
    Plan plan = {
        .tree = tree,
        .inodes = g_array_new(false, false, sizeof(PlanInode)),
        .xattrs = g_array_new(false, false, sizeof(PlanXattr)),
        .sets = g_ptr_array_new(),
    };
    arena_init(&plan.arena);
    GBytes *image = NULL;
    if (number_inodes(&plan, min_version, max_version, error) && plan_xattrs(&plan, error) &&
        plan_place(&plan, error))
        image = plan_emit(&plan);
    g_array_unref(plan.inodes);
    g_array_unref(plan.xattrs);
    g_ptr_array_unref(plan.sets);
    g_free(plan.table);
    g_free(plan.shared);
    arena_clear(&plan.arena);
    return image;
}

GBytes *tree_write_image(Tree *tree, GError **error)
{
    return erofs_write_image(tree, 1, 1, error);
}
