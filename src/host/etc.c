/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/etc.h"

#include "base/file.h"
#include "base/sort.h"
#include "host/content.h"

#include <string.h>

typedef enum {
    MODIFIED,
    REMOVED,
    ADDED,
} ChangeKind;

/* A path below etc ("/ssh/sshd_config") that the administrator changed. */
typedef struct {
    ChangeKind kind;
    char *path;
    TreeNode *mine; /* NULL: removed */
} Change;

typedef struct {
    const EtcMergeInput *in;
    Tree *result, *mine;
    GPtrArray *changes; /* Change *, parents before children */
    HostEtcReport *report;
} Merge;

static void change_free(void *data)
{
    Change *change = data;
    g_free(change->path);
    g_free(change);
}

void host_etc_report_clear(HostEtcReport *report)
{
    g_clear_pointer(&report->kept, g_ptr_array_unref);
    g_clear_pointer(&report->taken, g_ptr_array_unref);
    g_clear_pointer(&report->both, g_ptr_array_unref);
    g_clear_pointer(&report->ignored, g_ptr_array_unref);
}

void etc_merge_clear(EtcMerge *merge)
{
    g_clear_pointer(&merge->result, tree_free);
    g_clear_pointer(&merge->mine, tree_free);
    host_etc_report_clear(&merge->report);
}

/* --- comparing ------------------------------------------------------------------------------------------ */

static bool is_dir(const TreeNode *node)
{
    return S_ISDIR(node->inode->mode);
}

/* All but the bytes of regular files; xattrs and times don't count. */
static bool same_metadata(const TreeInode *a, const TreeInode *b)
{
    if (a->mode != b->mode || a->uid != b->uid || a->gid != b->gid)
        return false;
    if (S_ISLNK(a->mode))
        return strcmp(a->target, b->target) == 0;
    return !S_ISREG(a->mode) || a->size == b->size;
}

/* Of two trees of the store. */
static bool same_default(const TreeNode *a, const TreeNode *b)
{
    const TreeInode *x = a->inode, *y = b->inode;
    if (x == y)
        return true;
    if (!same_metadata(x, y) || x->has_object != y->has_object)
        return false;
    if (!S_ISREG(x->mode) || x->size == 0)
        return true;
    return x->has_object ? digest_equal(&x->object, &y->object)
                         : memcmp(x->content, y->content, x->size) == 0;
}

static bool same_as_mine(Merge *m, const TreeNode *theirs, const TreeNode *mine, bool *out_same,
                         GError **error)
{
    *out_same = same_metadata(theirs->inode, mine->inode);
    if (!*out_same || !S_ISREG(mine->inode->mode))
        return true;
    g_autofree char *path = tree_path(mine);
    _autofd int fd = file_open_at(m->in->mine_fd, path + 1, O_RDONLY | O_NOFOLLOW, error);
    if (fd < 0 || !content_equals_fd(m->in->store, theirs->inode, fd, out_same, error))
        return error_prefix(error, "cannot compare '/etc%s'", path);
    return true;
}

/* --- the administrator's changes ------------------------------------------------------------------------- */

static void add_change(Merge *m, ChangeKind kind, const TreeNode *at, TreeNode *mine,
                       const char *root)
{
    g_autofree char *path = tree_path(at);
    unsigned *counts[] = {&m->report->modified, &m->report->removed, &m->report->added};
    Change *change = g_new0(Change, 1);
    change->kind = kind;
    change->path = g_strdup(path + strlen(root));
    change->mine = mine;
    ++*counts[kind];
    g_ptr_array_add(m->changes, change);
}

static void add_subtree(Merge *m, TreeNode *mine)
{
    add_change(m, ADDED, mine, mine, "");
    TreeNode *child;
    TREE_EACH_CHILD (mine, child)
        add_subtree(m, child);
}

#define USR_ETC "/usr/etc"

static bool diff_dir(Merge *m, TreeNode *old, TreeNode *mine, GError **error);

static bool diff_name(Merge *m, TreeNode *old, TreeNode *mine, GError **error)
{
    bool same;
    if (!same_as_mine(m, old, mine, &same, error))
        return false;
    if (!same)
        add_change(m, MODIFIED, mine, mine, "");
    return !is_dir(old) || !is_dir(mine) || diff_dir(m, old, mine, error);
}

static bool diff_dir(Merge *m, TreeNode *old, TreeNode *mine, GError **error)
{
    TreeNode *child;
    TREE_EACH_CHILD (old, child) {
        TreeNode *other = tree_child(m->mine, mine, child->name);
        if (!other)
            add_change(m, REMOVED, child, NULL, USR_ETC);
        else if (!diff_name(m, child, other, error))
            return false;
    }
    TREE_EACH_CHILD (mine, child)
        if (!tree_child(m->in->old_tree, old, child->name))
            add_subtree(m, child);
    return true;
}

/* --- applying them --------------------------------------------------------------------------------------- */

static bool conflict(const char *path, const char *what, GError **error)
{
    return error_throw(error, ERROR_INVALID,
                       "config file '/etc%s' newly defaults to %s, cannot merge\n"
                       "hint: move '/etc%s' away, then try again",
                       path, what, path);
}

static TreeNode *copy_node(Tree *to, TreeNode *dir, const char *name, const TreeNode *from,
                           TreeNode *mine, GError **error)
{
    TreeNode *node = tree_add(to, dir, name, from->inode->mode, error);
    if (!node)
        return NULL;
    const TreeInode *inode = from->inode;
    tree_copy_metadata(to, node->inode, inode);
    if (S_ISLNK(inode->mode))
        tree_set_target(to, node->inode, inode->target);
    else if (inode->has_object)
        tree_set_object(to, node->inode, &inode->object, inode->size);
    else if (S_ISREG(inode->mode) && !mine)
        tree_set_inline(to, node->inode, inode->content, inode->size);
    else if (S_ISREG(inode->mode))
        node->inode->size = inode->size;
    node->inode->user = mine;
    return node;
}

static bool copy_mine(Merge *m, TreeNode *dir, TreeNode *mine, GError **error)
{
    TreeNode *node = copy_node(m->result, dir, mine->name, mine, mine, error);
    if (!node)
        return false;
    TreeNode *child;
    TREE_EACH_CHILD (mine, child)
        if (!copy_mine(m, node, child, error))
            return false;
    return true;
}

/* The directory of the result where something of mine goes: it gets mine's owner, mode and xattrs, whether it
 * is new or not. */
static TreeNode *ensure_parent(Merge *m, TreeNode *mine_dir, GError **error)
{
    if (!mine_dir->parent)
        return tree_root(m->result);
    g_autofree char *path = tree_path(mine_dir);
    TreeNode *node = tree_lookup(m->result, path);
    if (node && !is_dir(node)) {
        conflict(path, S_ISLNK(node->inode->mode) ? "symbolic link" : "file", error);
        return NULL;
    }
    if (!node) {
        g_autofree char *above = tree_path(mine_dir->parent);
        TreeNode *parent = tree_lookup(m->result, above);
        if (!parent || !is_dir(parent))
            parent = ensure_parent(m, mine_dir->parent, error);
        if (!parent)
            return NULL;
        node = tree_add(m->result, parent, mine_dir->name, mine_dir->inode->mode, error);
        if (!node)
            return NULL;
    }
    tree_copy_metadata(m->result, node->inode, mine_dir->inode);
    node->inode->user = mine_dir;
    return node;
}

static bool apply_copy(Merge *m, const Change *change, GError **error)
{
    TreeNode *parent = ensure_parent(m, change->mine->parent, error);
    if (!parent)
        return false;
    TreeNode *there = tree_child(m->result, parent, change->mine->name);
    if (there && is_dir(there)) {
        /* its children come by themselves; the directory stays as it is */
        return is_dir(change->mine) || conflict(change->path, "directory", error);
    }
    if (there)
        tree_remove(m->result, there);
    return copy_mine(m, parent, change->mine, error);
}

static bool apply(Merge *m, GError **error)
{
    for (size_t i = 0; i < m->changes->len; i++) {
        Change *change = m->changes->pdata[i];
        TreeNode *there = change->kind == REMOVED ? tree_lookup(m->result, change->path) : NULL;
        if (there)
            tree_remove(m->result, there);
    }
    for (ChangeKind kind = MODIFIED; kind <= ADDED; kind++)
        for (size_t i = 0; i < m->changes->len; i++) {
            Change *change = m->changes->pdata[i];
            if (kind != REMOVED && change->kind == kind && !apply_copy(m, change, error))
                return false;
        }
    return true;
}

/* --- the report ------------------------------------------------------------------------------------------ */

static TreeNode *below(Tree *tree, TreeNode *top, const char *path)
{
    g_autofree char *whole = tree_path(top);
    g_autofree char *joined = g_strconcat(whole, path, NULL);
    return tree_lookup(tree, joined);
}

static bool report_change(Merge *m, const Change *change, GError **error)
{
    TreeNode *old = below(m->in->old_tree, m->in->old, change->path);
    TreeNode *new = below(m->in->new_tree, m->in->new, change->path);
    bool untouched = old && new ? same_default(old, new) : !old && !new;
    bool agreed = !new && !change->mine;
    if (!untouched && new && change->mine && !same_as_mine(m, new, change->mine, &agreed, error))
        return false;
    GPtrArray *list = untouched || agreed ? m->report->kept : m->report->both;
    g_ptr_array_add(list, g_strconcat("/etc", change->path, NULL));
    return true;
}

/* Adds the path when the result has the new tree's: its entry, or, as the administrator had it, its absence. */
static void report_taken(Merge *m, const TreeNode *at, const TreeNode *top)
{
    g_autofree char *prefix = tree_path(top);
    g_autofree char *path = tree_path(at);
    const char *relative = path + strlen(prefix);
    TreeNode *there = tree_lookup(m->result, relative);
    bool is_new = top == m->in->new;
    bool taken = is_new ? there && !there->inode->user : !there && tree_lookup(m->mine, relative);
    if (taken)
        g_ptr_array_add(m->report->taken, g_strconcat("/etc", relative, NULL));
}

/* What one side has alone: each file of it. */
static void taken_subtree(Merge *m, const TreeNode *node, const TreeNode *top)
{
    if (!is_dir(node) || tree_n_children(node) == 0)
        report_taken(m, node, top);
    TreeNode *child;
    TREE_EACH_CHILD (node, child)
        taken_subtree(m, child, top);
}

static void taken_dir(Merge *m, TreeNode *old, TreeNode *new)
{
    TreeNode *child;
    TREE_EACH_CHILD (old, child)
        if (!tree_child(m->in->new_tree, new, child->name))
            taken_subtree(m, child, m->in->old);
    TREE_EACH_CHILD (new, child) {
        TreeNode *other = tree_child(m->in->old_tree, old, child->name);
        if (other && is_dir(other) && is_dir(child)) {
            if (!same_default(other, child))
                report_taken(m, child, m->in->new);
            taken_dir(m, other, child);
        } else if (!other || !same_default(other, child)) {
            taken_subtree(m, child, m->in->new);
        }
    }
}

static bool report(Merge *m, GError **error)
{
    for (size_t i = 0; i < m->changes->len; i++)
        if (!report_change(m, m->changes->pdata[i], error))
            return false;
    taken_dir(m, m->in->old, m->in->new);
    sort_texts(m->report->kept);
    sort_texts(m->report->taken);
    sort_texts(m->report->both);
    return true;
}

/* --- all together ---------------------------------------------------------------------------------------- */

static bool copy_defaults(Tree *to, TreeNode *dir, TreeNode *from, GPtrArray *ignored,
                          GError **error)
{
    TreeNode *child;
    TREE_EACH_CHILD (from, child) {
        if (!S_ISREG(child->inode->mode) && !S_ISLNK(child->inode->mode) && !is_dir(child)) {
            g_ptr_array_add(ignored, tree_path(child));
            continue;
        }
        TreeNode *copy = copy_node(to, dir, child->name, child, NULL, error);
        if (!copy || (is_dir(child) && !copy_defaults(to, copy, child, ignored, error)))
            return false;
    }
    return true;
}

static bool merge_changes(Merge *m, GError **error)
{
    g_autoptr(GPtrArray) ignored = g_ptr_array_new_with_free_func(g_free);
    m->mine = etc_scan(m->in->mine_fd, ignored, error);
    if (!m->mine)
        return error_prefix(error, "cannot read the /etc to merge");
    for (size_t i = 0; i < ignored->len; i++)
        g_ptr_array_add(m->report->ignored, g_strconcat("/etc", ignored->pdata[i], NULL));
    m->report->merged = true;
    return diff_dir(m, m->in->old, tree_root(m->mine), error) && apply(m, error) &&
           report(m, error);
}

bool etc_merge(const EtcMergeInput *input, EtcMerge *out_merge, GError **error)
{
    g_auto(EtcMerge) merge = {
        .result = tree_new(),
        .report = {.kept = g_ptr_array_new_with_free_func(g_free),
                   .taken = g_ptr_array_new_with_free_func(g_free),
                   .both = g_ptr_array_new_with_free_func(g_free),
                   .ignored = g_ptr_array_new_with_free_func(g_free)},
    };
    g_autoptr(GPtrArray) changes = g_ptr_array_new_with_free_func(change_free);
    Merge m = {input, merge.result, NULL, changes, &merge.report};
    TreeNode *root = tree_root(merge.result);
    tree_copy_metadata(merge.result, root->inode, input->new->inode);
    if (!copy_defaults(merge.result, root, input->new, merge.report.ignored, error))
        return false;
    bool ok = !input->old_tree || merge_changes(&m, error);
    merge.mine = m.mine;
    if (!ok)
        return false;
    /* tells systemd that /etc was brought up to date with /usr, which the new tree's isn't */
    TreeNode *updated = tree_lookup(merge.result, ".updated");
    if (updated)
        tree_remove(merge.result, updated);
    *out_merge = merge;
    merge = (EtcMerge){0};
    return true;
}
