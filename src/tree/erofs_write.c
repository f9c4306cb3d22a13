/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: three passes. Number the inodes breadth first and list the directories' entries (here); rewrite the
 * xattrs as overlayfs needs them and find those that several inodes share (erofs_xattrs.c); give everything its
 * place and write it (erofs_layout.c). The result is bit-identical to mkcomposefs, so every order and every
 * tie-break is part of the format: image digests are names that other machines compute too.
 */
#include "tree/erofs_plan.h"

bool plan_throw(const PlanInode *inode, GError **error, const char *reason)
{
    g_autofree char *path = inode->node ? tree_path(inode->node) : g_strdup("/");
    return error_throw(error, ERROR_INVALID, "cannot put '%s' in an image: %s", path, reason);
}

/* --- entries -------------------------------------------------------------------------------------------- */

static void add_dirent(GArray *dirents, const char *name, Inode *inode)
{
    PlanDirent dirent = {.name = name, .length = (uint32_t)strlen(name), .inode = inode};
    g_array_append_val(dirents, dirent);
}

/* "00" … "ff" */
static const char *stub_name(int number)
{
    static char names[256][3];
    static const char digits[] = "0123456789abcdef";
    names[number][0] = digits[number >> 4];
    names[number][1] = digits[number & 15];
    return names[number];
}

static int compare_dirents(const void *a, const void *b)
{
    return tree_compare_names(((const PlanDirent *)a)->name, ((const PlanDirent *)b)->name);
}

/* Names in byte order with "." and "..", for the root also the stubs that it needs; number and inode of ".", ".."
 * and stubs are left 0. */
static void collect_dirents(GArray *dirents, TreeNode *dir)
{
    guint start = dirents->len;
    static const char *const dots[] = {".", ".."};
    size_t dot = 0;
    TreeNode *child;
    TREE_EACH_CHILD (dir, child) {
        while (dot < 2 && tree_compare_names(dots[dot], child->name) < 0)
            add_dirent(dirents, dots[dot++], NULL);
        add_dirent(dirents, child->name, inode_of(child));
    }
    while (dot < 2)
        add_dirent(dirents, dots[dot++], NULL);
    if (dir->parent)
        return;
    for (int i = 0; i < 256; i++)
        if (!tree_child(NULL, dir, stub_name(i)))
            add_dirent(dirents, stub_name(i), NULL);
    qsort(&g_array_index(dirents, PlanDirent, start), dirents->len - start, sizeof(PlanDirent),
          compare_dirents);
}

uint32_t plan_fill_block(const PlanDirent *dirents, uint32_t n, uint32_t *out_bytes)
{
    uint32_t used = 0, bytes = 0;
    while (used < n && bytes + EROFS_DIRENT_SIZE + dirents[used].length <= EROFS_BLOCK)
        bytes += EROFS_DIRENT_SIZE + dirents[used++].length;
    *out_bytes = bytes;
    return used;
}

static void dir_extent(const PlanDirent *dirents, uint32_t n, uint64_t *out_blocks,
                       uint32_t *out_tail)
{
    uint64_t blocks = 0;
    uint32_t tail = 0;
    for (uint32_t at = 0; at < n;) {
        at += plan_fill_block(dirents + at, n - at, &tail);
        if (at < n || tail > EROFS_BLOCK / 2) {
            blocks++;
            tail = 0;
        }
    }
    *out_blocks = blocks;
    *out_tail = tail;
}

uint64_t erofs_dir_size(TreeNode *dir)
{
    g_autoptr(GArray) dirents = g_array_new(false, false, sizeof(PlanDirent));
    collect_dirents(dirents, dir);
    uint64_t blocks;
    uint32_t tail;
    dir_extent(&g_array_index(dirents, PlanDirent, 0), dirents->len, &blocks, &tail);
    return blocks * EROFS_BLOCK + tail;
}

/* --- numbers -------------------------------------------------------------------------------------------- */

enum { UNNUMBERED = UINT32_MAX };

/* Whether this name of the file makes its inode: the dump's choice, else the first depth first. Directories are
 * visited before that is asked, so `number` marks the inodes that have their name. */
static void choose_names(TreeNode *node, GHashTable *chosen)
{
    Inode *inode = inode_of(node);
    inode->number = UNNUMBERED;
    if (!S_ISDIR(node->inode->mode) && inode->names > 1 && !inode->original &&
        !g_hash_table_contains(chosen, inode))
        g_hash_table_insert(chosen, inode, node);
    TreeNode *child;
    TREE_EACH_CHILD (node, child)
        choose_names(child, chosen);
}

static bool makes_inode(TreeNode *node, GHashTable *chosen)
{
    Inode *inode = inode_of(node);
    if (inode->names == 1)
        return true;
    return (inode->original ? inode->original : g_hash_table_lookup(chosen, inode)) == node;
}

static bool check_inode(const PlanInode *plan, const TreeInode *inode, GError **error)
{
    if (inode->whiteout || inode->opaque)
        return plan_throw(plan, error, "it is a mark of a layer");
    switch (inode->mode & S_IFMT) {
    case S_IFLNK:
        if (!inode->target || !*inode->target || strlen(inode->target) > COMPOSEFS_TARGET_MAX)
            return plan_throw(plan, error, "the link's target is empty or too long");
        return true;
    case S_IFREG:
        if (inode->content && inode->size > COMPOSEFS_CONTENT_MAX)
            return plan_throw(plan, error, "too many bytes inline");
        return true;
    case S_IFDIR:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        return true;
    default:
        return plan_throw(plan, error, "unknown file type");
    }
}

static bool add_inode(Plan *plan, TreeNode *node, uint32_t parent, GError **error)
{
    const TreeInode *inode = node->inode;
    bool device = S_ISCHR(inode->mode) || S_ISBLK(inode->mode);
    PlanInode new = {
        .node = node,
        .mode = inode->mode,
        .uid = inode->uid,
        .gid = inode->gid,
        .nlink = S_ISDIR(inode->mode) ? 2 : inode->nlink,
        .rdev = device ? (uint32_t)inode->rdev : 0,
        .mtime = inode->mtime,
        .mtime_nsec = inode->mtime_nsec,
        .size = inode->size,
        .parent = parent,
    };
    if (!check_inode(&new, inode, error))
        return false;
    if (S_ISREG(inode->mode)) {
        new.content = inode->content;
        new.external = inode->size > 0 && !inode->content;
    } else if (S_ISLNK(inode->mode)) {
        new.target = inode->target;
        new.size = strlen(inode->target);
    } else if (S_ISCHR(inode->mode) && (uint32_t)inode->rdev == 0) {
        new.whiteout = true;
        new.mode = S_IFREG | (inode->mode & 07777);
        new.size = 0;
        plan_inode(plan, parent)->has_whiteouts = true;
    }
    if (S_ISDIR(inode->mode) && node->parent)
        plan_inode(plan, parent)->nlink++;
    if (plan->inodes->len == UNNUMBERED)
        return plan_throw(&new, error, "too many files");
    inode_of(node)->number = plan->inodes->len;
    g_array_append_val(plan->inodes, new);
    return true;
}

static void add_stub(Plan *plan)
{
    const PlanInode *root = plan_inode(plan, 0);
    PlanInode stub = {
        .mode = S_IFCHR | 0644,
        .nlink = 1,
        .uid = root->uid,
        .gid = root->gid,
        .mtime = root->mtime,
        .mtime_nsec = root->mtime_nsec,
    };
    g_array_append_val(plan->inodes, stub);
}

/* Appends the directory's entries, and the inodes that they make. */
static bool add_children(Plan *plan, uint32_t number, GHashTable *chosen, GError **error)
{
    PlanInode *dir = plan_inode(plan, number);
    TreeNode *node = (TreeNode *)dir->node;
    uint32_t parent = dir->parent, first = plan->dirents->len;
    collect_dirents(plan->dirents, node);
    dir->first_dirent = first;
    dir->n_dirents = plan->dirents->len - first;
    size_t child = 0;
    for (uint32_t i = first; i < plan->dirents->len; i++) {
        PlanDirent *dirent = plan_dirent(plan, i);
        if (dirent->inode) {
            TreeNode *at = tree_nth_child(node, child++);
            if (makes_inode(at, chosen) && !add_inode(plan, at, number, error))
                return false;
        } else if (dirent->name[0] == '.') {
            dirent->number = dirent->length == 1 ? number : parent;
        } else {
            dirent->number = plan->inodes->len;
            add_stub(plan);
        }
    }
    return true;
}

static bool number_inodes(Plan *plan, int min_version, int max_version, GError **error)
{
    g_autoptr(GHashTable) chosen = g_hash_table_new(NULL, NULL);
    choose_names(tree_root(plan->tree), chosen);
    if (!add_inode(plan, tree_root(plan->tree), 0, error))
        return false;
    for (uint32_t i = 0; i < plan->inodes->len; i++)
        if (S_ISDIR(plan_inode(plan, i)->mode) && !add_children(plan, i, chosen, error))
            return false;
    plan->version = min_version;
    plan->min_mtime = INT64_MAX;
    for (uint32_t i = 0; i < plan->inodes->len; i++) {
        PlanInode *inode = plan_inode(plan, i);
        if (inode->whiteout && min_version < 1 && max_version >= 1)
            plan->version = 1;
        if (inode->mtime < plan->min_mtime ||
            (inode->mtime == plan->min_mtime && inode->mtime_nsec < plan->min_nsec)) {
            plan->min_mtime = inode->mtime;
            plan->min_nsec = inode->mtime_nsec;
        }
        if (S_ISDIR(inode->mode)) {
            dir_extent(plan_dirent(plan, inode->first_dirent), inode->n_dirents, &inode->n_blocks,
                       &inode->tail);
            inode->size = inode->n_blocks * EROFS_BLOCK + inode->tail;
        }
    }
    for (uint32_t i = 0; i < plan->dirents->len; i++) {
        PlanDirent *dirent = plan_dirent(plan, i);
        if (dirent->inode)
            dirent->number = dirent->inode->number;
        g_assert(dirent->number != UNNUMBERED);
    }
    return true;
}

GBytes *erofs_write_image(Tree *tree, int min_version, int max_version, GError **error)
{
    Plan plan = {
        .tree = tree,
        .inodes = g_array_new(false, false, sizeof(PlanInode)),
        .dirents = g_array_new(false, false, sizeof(PlanDirent)),
        .xattrs = g_ptr_array_new(),
        .shared = g_ptr_array_new(),
    };
    arena_init(&plan.arena);
    GBytes *image = NULL;
    if (number_inodes(&plan, min_version, max_version, error) && plan_xattrs(&plan, error) &&
        plan_place(&plan, error))
        image = plan_emit(&plan);
    g_array_unref(plan.inodes);
    g_array_unref(plan.dirents);
    g_ptr_array_unref(plan.xattrs);
    g_ptr_array_unref(plan.shared);
    g_free(plan.table);
    arena_clear(&plan.arena);
    return image;
}

GBytes *tree_write_image(Tree *tree, GError **error)
{
    return erofs_write_image(tree, 1, 1, error);
}
