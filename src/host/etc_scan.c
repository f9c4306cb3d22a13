/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/etc.h"

#include "base/file.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

typedef struct {
    Tree *tree;
    GPtrArray *ignored;
} Scan;

/* Attributes of links can be reached only by a path, and those of files without read permission too. */
static char *proc_path(int dirfd, const char *name)
{
    return g_strdup_printf("/proc/self/fd/%d/%s", dirfd, name);
}

static bool scan_xattr(Tree *tree, TreeInode *inode, const char *path, const char *name,
                       GError **error)
{
    ssize_t size = lgetxattr(path, name, NULL, 0);
    if (size < 0)
        return error_throw_errno(error, "cannot read attribute '%s'", name);
    g_autofree char *value = g_malloc((size_t)size + 1);
    size = lgetxattr(path, name, value, (size_t)size);
    if (size < 0)
        return error_throw_errno(error, "cannot read attribute '%s'", name);
    tree_set_xattr(tree, inode, name, value, (size_t)size);
    return true;
}

static bool scan_xattrs(Tree *tree, TreeInode *inode, int dirfd, const char *name, GError **error)
{
    g_autofree char *path = proc_path(dirfd, name);
    ssize_t size = llistxattr(path, NULL, 0);
    if (size == 0 || (size < 0 && errno == EOPNOTSUPP))
        return true;
    if (size < 0)
        return error_throw_errno(error, "cannot list attributes");
    g_autofree char *names = g_malloc((size_t)size);
    size = llistxattr(path, names, (size_t)size);
    if (size < 0)
        return error_throw_errno(error, "cannot list attributes");
    for (char *at = names; at < names + size; at += strlen(at) + 1)
        if (!scan_xattr(tree, inode, path, at, error))
            return false;
    return true;
}

static bool scan_metadata(Tree *tree, TreeInode *inode, const struct stat *st, int dirfd,
                          const char *name, GError **error)
{
    inode->mode = st->st_mode;
    inode->uid = st->st_uid;
    inode->gid = st->st_gid;
    inode->mtime = MAX(st->st_mtim.tv_sec, 0);
    inode->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
    if (S_ISREG(st->st_mode))
        inode->size = (uint64_t)st->st_size;
    if (S_ISLNK(st->st_mode)) {
        g_autofree char *target = file_readlink_at(dirfd, name, error);
        if (!target)
            return false;
        tree_set_target(tree, inode, target);
    }
    return scan_xattrs(tree, inode, dirfd, name, error);
}

static bool scan_dir(Scan *scan, TreeNode *dir, int fd, GError **error);

static bool scan_name(Scan *scan, TreeNode *dir, int fd, const char *name, GError **error)
{
    struct stat st;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_throw_errno(error, "cannot look at '%s'", name);
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode) && !S_ISDIR(st.st_mode)) {
        g_autofree char *parent = tree_path(dir);
        g_ptr_array_add(scan->ignored, g_build_filename(parent, name, NULL));
        return true;
    }
    TreeNode *node = tree_add(scan->tree, dir, name, st.st_mode, error);
    if (!node || !scan_metadata(scan->tree, node->inode, &st, fd, name, error))
        return error_prefix(error, "'%s'", name);
    if (!S_ISDIR(st.st_mode))
        return true;
    _autofd int child = file_open_at(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, error);
    return child >= 0 && scan_dir(scan, node, child, error);
}

static bool scan_dir(Scan *scan, TreeNode *dir, int fd, GError **error)
{
    g_autoptr(GPtrArray) names = file_list_fd(fd, error);
    for (guint i = 0; names && i < names->len; i++)
        if (!scan_name(scan, dir, fd, names->pdata[i], error))
            return false;
    return names != NULL;
}

Tree *etc_scan(int dirfd, GPtrArray *ignored, GError **error)
{
    g_autoptr(Tree) tree = tree_new();
    Scan scan = {tree, ignored};
    struct stat st;
    if (fstat(dirfd, &st) < 0)
        return error_throw_errno_null(error, "cannot look at a directory");
    if (!scan_metadata(tree, tree_root(tree)->inode, &st, dirfd, ".", error) ||
        !scan_dir(&scan, tree_root(tree), dirfd, error))
        return NULL;
    return g_steal_pointer(&tree);
}
