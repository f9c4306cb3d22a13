/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a configured root file system to a host tree.
 *
 * The order matters: the kernel is looked for before /boot is emptied; what hosts keep in /var
 * (/home, /usr/local…) is moved there before /var is turned into instructions; /etc moves last,
 * because everything before names it as scripts do.
 */
#include "compose/rootfs.h"

#include <fnmatch.h>
#include <string.h>

/* What differs from machine to machine or from run to run, or was there for composing only. */
static const char *const leftovers[] = {
    SCRIPTS_DIR,
    "usr/sbin/policy-rc.d",
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    "etc/hostname",
    "etc/hosts",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow-",
    "etc/ssh/ssh_host_*",
    "etc/subgid-",
    "etc/subuid-",
    "etc/*.dpkg-old",
    "etc/*.dpkg-dist",
    "usr/*/__pycache__",
    "var/lib/dpkg/*-old",
    "var/lib/dpkg/lock*",
    "var/lib/dpkg/triggers/Lock",
    "var/lib/initramfs-tools/*",
    "var/lib/systemd/random-seed",
    "var/lib/ucf/cache/*",
};

/* Where a host's own data goes: the tree has a link. */
static const struct {
    const char *path, *target, *var; /* var: what it becomes, NULL: its content is dropped */
    uint32_t mode;
} moved[] = {
    {"home", "var/home", "var/home", 0755}, {"root", "var/roothome", "var/roothome", 0700},
    {"srv", "var/srv", "var/srv", 0755},    {"mnt", "var/mnt", "var/mnt", 0755},
    {"opt", "var/opt", "var/opt", 0755},    {"usr/local", "../var/usrlocal", "var/usrlocal", 0755},
    {"media", "run/media", NULL, 0},        {"ostree", "sysroot/ostree", NULL, 0},
};

static const char *const empty_dirs[] = {"boot", "dev", "proc", "run", "sys", "sysroot"};

/* --- removing --------------------------------------------------------------------------------- */

typedef struct {
    Tree *tree;
    const char *pattern;
    GPtrArray *found;
} Matcher;

static void match_below(Matcher *matcher, TreeNode *dir, GString *path)
{
    TreeNode *child;
    TREE_EACH_CHILD (dir, child) {
        size_t length = path->len;
        g_string_append_printf(path, "%s%s", length ? "/" : "", child->name);
        if (fnmatch(matcher->pattern, path->str, 0) == 0)
            g_ptr_array_add(matcher->found, child);
        else if (S_ISDIR(child->inode->mode))
            match_below(matcher, child, path);
        g_string_truncate(path, length);
    }
}

/* A path, or a pattern whose '*' crosses slashes (so that "usr/share/doc/x*" takes what is below
 * too). Returns how many were removed. */
static size_t remove_matching(Rootfs *rootfs, const char *pattern)
{
    pattern += strspn(pattern, "/");
    if (!strpbrk(pattern, "*?[")) {
        TreeNode *node = tree_lookup(rootfs->tree, pattern);
        if (!node || !node->parent)
            return 0;
        tree_remove(rootfs->tree, node);
        return 1;
    }
    g_autoptr(GPtrArray) found = g_ptr_array_new();
    g_autoptr(GString) path = g_string_new(NULL);
    Matcher matcher = {.tree = rootfs->tree, .pattern = pattern, .found = found};
    match_below(&matcher, tree_root(rootfs->tree), path);
    for (unsigned i = 0; i < found->len; i++)
        tree_remove(rootfs->tree, found->pdata[i]);
    return found->len;
}

/* --- the kernel ------------------------------------------------------------------------------- */

static bool move_boot_file(Rootfs *rootfs, const char *kernel, const char *from, const char *to,
                           uint32_t mode, GError **error)
{
    g_autofree char *old_path = g_strdup_printf("boot/%s-%s", from, kernel);
    TreeNode *node = tree_lookup(rootfs->tree, old_path);
    if (!node)
        return true;
    g_autofree char *path = g_strdup_printf("usr/lib/modules/%s/%s", kernel, to);
    if (!rootfs_move(rootfs, node, path, error))
        return false;
    node = tree_lookup(rootfs->tree, path);
    node->inode->mode = S_IFREG | mode;
    return true;
}

static bool finish_kernel(Rootfs *rootfs, char **out_kernel, GError **error)
{
    static const char prefix[] = "vmlinuz-";
    TreeNode *boot = tree_lookup(rootfs->tree, "boot"), *child;
    g_autofree char *kernel = NULL;
    if (!boot || !S_ISDIR(boot->inode->mode))
        return true;
    TREE_EACH_CHILD (boot, child) {
        if (!g_str_has_prefix(child->name, prefix) || !S_ISREG(child->inode->mode))
            continue;
        if (kernel)
            return error_throw(error, ERROR_INVALID,
                               "the packages have more than one kernel (%s and %s)", kernel,
                               child->name + strlen(prefix));
        kernel = g_strdup(child->name + strlen(prefix));
    }
    if (kernel && (!move_boot_file(rootfs, kernel, "vmlinuz", "vmlinuz", 0644, error) ||
                   !move_boot_file(rootfs, kernel, "initrd.img", "initramfs.img", 0600, error) ||
                   !move_boot_file(rootfs, kernel, "System.map", "System.map", 0600, error) ||
                   !move_boot_file(rootfs, kernel, "config", "config", 0644, error)))
        return false;
    *out_kernel = g_steal_pointer(&kernel);
    return true;
}

/* --- the shape -------------------------------------------------------------------------------- */

static bool move_to_var(Rootfs *rootfs, GError **error)
{
    for (size_t i = 0; i < ARRAY_SIZE(moved); i++) {
        TreeNode *node = tree_lookup(rootfs->tree, moved[i].path);
        if (!moved[i].var) {
            /* what a mount point holds is nobody's */
        } else if (node && S_ISDIR(node->inode->mode)) {
            if (!rootfs_move(rootfs, node, moved[i].var, error))
                return false;
        } else if (!rootfs_empty_dir(rootfs, moved[i].var, moved[i].mode, error)) {
            return false;
        }
        if (!rootfs_symlink(rootfs, moved[i].path, moved[i].target, error))
            return false;
    }
    return true;
}

/* dpkg's database is part of the tree, as /var is not. */
static bool move_dpkg(Rootfs *rootfs, GError **error)
{
    TreeNode *node = tree_lookup(rootfs->tree, "var/lib/dpkg");
    return !node || (rootfs_move(rootfs, node, "usr/lib/sysimage/dpkg", error) &&
                     rootfs_symlink(rootfs, "var/lib/dpkg", "../../usr/lib/sysimage/dpkg", error));
}

static bool known_at_top(const TreeNode *node)
{
    static const char *const names[] = {"usr", "var", "tmp", NULL};
    if (g_strv_contains(names, node->name))
        return true;
    if (!S_ISLNK(node->inode->mode))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(moved); i++)
        if (strcmp(node->name, moved[i].path) == 0)
            return true;
    /* bin -> usr/bin and its like */
    return g_str_has_prefix(node->inode->target, "usr/");
}

static bool finish_toplevel(Rootfs *rootfs, GError **error)
{
    TreeNode *etc = tree_lookup(rootfs->tree, "etc");
    if (!etc || !S_ISDIR(etc->inode->mode))
        return error_throw(error, ERROR_INVALID, "the tree has no /etc");
    if (!rootfs_move(rootfs, etc, "usr/etc", error))
        return false;
    TreeNode *root = tree_root(rootfs->tree);
    for (size_t i = tree_n_children(root); i-- > 0;) {
        TreeNode *child = tree_nth_child(root, i);
        if (!known_at_top(child))
            tree_remove(rootfs->tree, child);
    }
    for (size_t i = 0; i < ARRAY_SIZE(empty_dirs); i++)
        if (!rootfs_empty_dir(rootfs, empty_dirs[i], 0755, error))
            return false;
    root->inode->mode = S_IFDIR | 0755;
    return rootfs_empty_dir(rootfs, "tmp", 01777, error);
}

static bool zero_time(TreeNode *node, void *data, GError **error)
{
    node->inode->mtime = 0;
    node->inode->mtime_nsec = 0;
    return true;
}

bool finish(Rootfs *rootfs, char *const *remove_files, char **out_kernel, GError **error)
{
    for (size_t i = 0; i < ARRAY_SIZE(leftovers); i++)
        remove_matching(rootfs, leftovers[i]);
    for (char *const *pattern = remove_files; pattern && *pattern; pattern++)
        remove_matching(rootfs, *pattern);
    /* empty: systemd makes one at the first boot */
    return rootfs_write_text(rootfs, "etc/machine-id", 0444, "", error) &&
           finish_kernel(rootfs, out_kernel, error) && move_to_var(rootfs, error) &&
           move_dpkg(rootfs, error) && finish_var(rootfs, error) &&
           finish_toplevel(rootfs, error) && tree_walk(rootfs->tree, zero_time, NULL, error);
}
