/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A tree as files. Everything is made relative to open directories and never through a link, so what the tree says
 * can't lead outside. A directory gets its mode and time when its children are there. */
#include "base/cancel.h"
#include "store/layout.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

typedef struct {
    Store *store;
    int top_fd;
    bool root;
    GHashTable *written; /* inode with several names -> path below top of the first */
} Export;

static bool set_xattrs(int dirfd, const char *name, const TreeInode *inode, GError **error)
{
    char path[64 + 256];
    g_snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dirfd, name);
    for (size_t i = 0; i < inode->n_xattrs; i++) {
        const TreeXattr *xattr = &inode->xattrs[i];
        if (lsetxattr(path, xattr->name, xattr->value, xattr->size, 0) == 0)
            continue;
        if (errno == EOPNOTSUPP || errno == EPERM) /* no such kind here, or no right to it */
            continue;
        return error_throw_errno(error, "cannot set its attribute '%s'", xattr->name);
    }
    return true;
}

/* Owner first: changing it takes away setuid bits and capabilities. */
static bool set_metadata(const Export *export, int dirfd, const char *name, const TreeInode *inode,
                         GError **error)
{
    if (export->root && fchownat(dirfd, name, inode->uid, inode->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return error_throw_errno(error, "cannot set its owner");
    if (!S_ISLNK(inode->mode) && fchmodat(dirfd, name, inode->mode & 07777, 0) < 0)
        return error_throw_errno(error, "cannot set its mode");
    if (!set_xattrs(dirfd, name, inode, error))
        return false;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {.tv_sec = inode->mtime, .tv_nsec = inode->mtime_nsec}};
    if (utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return error_throw_errno(error, "cannot set its time");
    return true;
}

static bool copy_object(Store *store, const Digest *object, int to, GError **error)
{
    _autofd int from = store_open_object(store, object, error);
    if (from < 0)
        return false;
    for (;;) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, 1 << 30, 0);
        if (n == 0)
            return true;
        if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS))
            break;
        if (n < 0)
            return error_throw_errno(error, "cannot copy object '%.12s'", digest_hex(object).text);
    }
    g_autofree char *buffer = g_malloc(1 << 17);
    ssize_t n;
    while ((n = sys_read_all(from, buffer, 1 << 17)) > 0)
        if (!file_write_all(to, buffer, (size_t)n, error))
            return false;
    return n == 0 || error_throw(error, ERROR_FAILED, "cannot read object '%.12s': %s",
                                 digest_hex(object).text, g_strerror((int)-n));
}

static bool export_file(const Export *export, int dirfd, const char *name, const TreeInode *inode,
                        GError **error)
{
    _autofd int fd =
        openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_throw_errno(error, "cannot create it");
    if (inode->content)
        return file_write_all(fd, inode->content, inode->size, error);
    if (inode->size > 0 && !inode->has_object)
        return error_throw(error, ERROR_INVALID, "its bytes are not known");
    return inode->size == 0 || copy_object(export->store, &inode->object, fd, error);
}

static bool export_leaf(const Export *export, int dirfd, const char *name, const TreeInode *inode,
                        GError **error)
{
    if (inode->whiteout)
        return error_throw(error, ERROR_INVALID, "it is a mark of a layer");
    if (S_ISREG(inode->mode))
        return export_file(export, dirfd, name, inode, error);
    int failed = S_ISLNK(inode->mode)
                     ? symlinkat(inode->target, dirfd, name)
                     : mknodat(dirfd, name, (inode->mode & S_IFMT) | 0600, inode->rdev);
    return failed == 0 || error_throw_errno(error, "cannot create it");
}

static bool export_dir(const Export *export, int dirfd, TreeNode *dir, GError **error);

static bool export_node(const Export *export, int dirfd, TreeNode *node, GError **error)
{
    const TreeInode *inode = node->inode;
    if (S_ISDIR(inode->mode)) {
        if (mkdirat(dirfd, node->name, 0700) < 0)
            return error_throw_errno(error, "cannot create it");
        _autofd int fd = openat(dirfd, node->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            return error_throw_errno(error, "cannot open it");
        if (!export_dir(export, fd, node, error))
            return false;
    } else if (inode->nlink > 1) {
        const char *first = g_hash_table_lookup(export->written, inode);
        if (first)
            return linkat(export->top_fd, first, dirfd, node->name, 0) == 0 ||
                   error_throw_errno(error, "cannot link it to '%s'", first);
        g_autofree char *path = tree_path(node);
        g_hash_table_insert(export->written, (void *)inode, g_strdup(path + 1));
    }
    if (!S_ISDIR(inode->mode) && !export_leaf(export, dirfd, node->name, inode, error))
        return false;
    return set_metadata(export, dirfd, node->name, inode, error);
}

static bool export_dir(const Export *export, int dirfd, TreeNode *dir, GError **error)
{
    if (!cancel_check(error))
        return false;
    TreeNode *child;
    TREE_EACH_CHILD (dir, child) {
        g_autoptr(GError) failed = NULL;
        if (export_node(export, dirfd, child, &failed))
            continue;
        if (failed->message[0] != '\'') { /* the innermost failure has the path */
            g_autofree char *path = tree_path(child);
            error_prefix(&failed, "'%s'", path);
        }
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    return true;
}

static bool is_empty(int dirfd, GError **error)
{
    g_autoptr(GPtrArray) names = file_list_fd(dirfd, error);
    if (names && names->len > 0)
        return error_throw(error, ERROR_EXISTS, "the directory is not empty");
    return names != NULL;
}

bool store_export_dir(Store *store, Tree *tree, int dirfd, GError **error)
{
    g_autoptr(GHashTable) written = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    Export export = {.store = store, .top_fd = dirfd, .root = geteuid() == 0, .written = written};
    TreeNode *root = tree_root(tree);
    return is_empty(dirfd, error) && export_dir(&export, dirfd, root, error) &&
           set_metadata(&export, dirfd, ".", root->inode, error);
}
