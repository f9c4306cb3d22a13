/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/etc.h"

#include "base/file.h"
#include "host/content.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { BLOCK = 4096 };

static bool add_size(TreeNode *node, void *data, GError **error)
{
    uint64_t *total = data;
    /* an inode and a share of a directory's block, rounded to a block, and the file's blocks */
    *total += BLOCK;
    if (S_ISREG(node->inode->mode))
        *total += (node->inode->size + BLOCK - 1) / BLOCK * BLOCK;
    return true;
}

uint64_t etc_size(Tree *result)
{
    uint64_t total = 0;
    tree_walk(result, add_size, &total, NULL);
    return total;
}

typedef struct {
    Store *store;
    int mine_fd;
} Writer;

static bool write_xattrs(const TreeInode *inode, int dirfd, const char *name, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d/%s", dirfd, name);
    for (size_t i = 0; i < inode->n_xattrs; i++) {
        const TreeXattr *x = &inode->xattrs[i];
        if (lsetxattr(path, x->name, x->value, x->size, 0) < 0)
            return error_throw_errno(error, "cannot set attribute '%s'", x->name);
    }
    return true;
}

/* Owner before mode and capabilities: chown clears them. */
static bool write_metadata(const TreeInode *inode, int dirfd, const char *name, GError **error)
{
    if (fchownat(dirfd, name, inode->uid, inode->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return error_throw_errno(error, "cannot set the owner");
    if (!S_ISLNK(inode->mode) && fchmodat(dirfd, name, inode->mode & 07777, 0) < 0)
        return error_throw_errno(error, "cannot set the mode");
    if (!write_xattrs(inode, dirfd, name, error))
        return false;
    struct timespec times[2] = {
        {.tv_nsec = UTIME_OMIT},
        {.tv_sec = inode->mtime, .tv_nsec = inode->mtime_nsec},
    };
    if (utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return error_throw_errno(error, "cannot set the time");
    return true;
}

static bool copy_mine(Writer *writer, const TreeNode *mine, int to, GError **error)
{
    g_autofree char *path = tree_path(mine);
    _autofd int from = file_open_at(writer->mine_fd, path + 1, O_RDONLY | O_NOFOLLOW, error);
    if (from < 0)
        return false;
    g_autofree char *buffer = g_malloc(65536);
    for (;;) {
        ssize_t n = sys_read_all(from, buffer, 65536);
        if (n < 0) {
            errno = (int)-n;
            return error_throw_errno(error, "cannot read '%s'", path);
        }
        if (n == 0)
            return true;
        if (!file_write_all(to, buffer, (size_t)n, error))
            return false;
    }
}

static bool write_file(Writer *writer, const TreeNode *node, int dirfd, GError **error)
{
    _autofd int fd =
        openat(dirfd, node->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_throw_errno(error, "cannot create it");
    if (node->inode->user)
        return copy_mine(writer, node->inode->user, fd, error);
    return content_copy(writer->store, node->inode, fd, error);
}

static bool write_children(Writer *writer, const TreeNode *dir, int fd, GError **error);

static bool write_node(Writer *writer, const TreeNode *node, const char *name, int dirfd,
                       GError **error)
{
    const TreeInode *inode = node->inode;
    switch (inode->mode & S_IFMT) {
    case S_IFREG:
        if (!write_file(writer, node, dirfd, error))
            return false;
        break;
    case S_IFLNK:
        if (symlinkat(inode->target, dirfd, name) < 0)
            return error_throw_errno(error, "cannot create link");
        break;
    case S_IFDIR: {
        if (mkdirat(dirfd, name, 0700) < 0)
            return error_throw_errno(error, "cannot create directory");
        _autofd int fd = file_open_dir_at(dirfd, name, error);
        if (fd < 0 || !write_children(writer, node, fd, error))
            return false;
        break;
    }
    default: /* etc_merge() has left them out */
        return true;
    }
    return write_metadata(inode, dirfd, name, error);
}

static bool write_children(Writer *writer, const TreeNode *dir, int fd, GError **error)
{
    TreeNode *child;
    TREE_EACH_CHILD (dir, child)
        if (!write_node(writer, child, child->name, fd, error))
            return error_prefix(error, "'%s'", child->name);
    return true;
}

bool etc_write(Store *store, const EtcMerge *merge, int mine_fd, int dirfd, const char *name,
               GError **error)
{
    Writer writer = {store, mine_fd};
    return write_node(&writer, tree_root(merge->result), name, dirfd, error);
}
