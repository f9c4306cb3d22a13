/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A tree as files. Everything is made relative to open directories and never through a link, so what the tree says
 * can't lead outside. A directory gets its mode and time when its children are there.
 *
 * Files share their blocks with the objects where the filesystem can do that (xfs, btrfs); they are never links of
 * objects, which nobody may change. */
#include "base/cancel.h"
#include "store/layout.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

typedef struct {
    Store *store;
    int top_fd;
    bool root;
    bool no_clone;       /* the filesystem can't share blocks, or they are two */
    GHashTable *written; /* inode with several names -> path below top of the first */
    StoreExportResult *result;
} Export;

/* --- metadata ------------------------------------------------------------------------------------------- */

/* What is made: an open file, or a name in an open directory. */
typedef struct {
    int fd; /* -1: only the name */
    int dirfd;
    const char *name;
} Made;

static int set_xattr(const Made *made, const TreeXattr *xattr)
{
    char path[64 + 256];
    if (made->fd >= 0)
        return fsetxattr(made->fd, xattr->name, xattr->value, xattr->size, 0);
    g_snprintf(path, sizeof path, "/proc/self/fd/%d/%s", made->dirfd, made->name);
    return lsetxattr(path, xattr->name, xattr->value, xattr->size, 0);
}

static bool set_xattrs(const Export *export, const Made *made, const TreeInode *inode,
                       GError **error)
{
    for (size_t i = 0; i < inode->n_xattrs; i++) {
        if (set_xattr(made, &inode->xattrs[i]) == 0)
            continue;
        if (errno != EOPNOTSUPP && errno != EPERM)
            return error_throw_errno(error, "cannot set its attribute '%s'", inode->xattrs[i].name);
        export->result->lost_xattrs++; /* no such kind here, or no right to it */
    }
    return true;
}

/* Who isn't root can't give files away. What ran with its owner's rights must not run with ours instead. */
static mode_t lose_owner(const Export *export, const TreeInode *inode)
{
    mode_t mode = inode->mode & 07777;
    if (export->root || (inode->uid == geteuid() && inode->gid == getegid()))
        return mode;
    export->result->lost_owners++;
    if (S_ISREG(inode->mode) && mode & (S_ISUID | S_ISGID)) {
        export->result->lost_setids++;
        mode &= (mode_t) ~(S_ISUID | S_ISGID);
    }
    return mode;
}

/* Owner first: changing it takes away setuid bits and capabilities. */
static bool set_metadata(const Export *export, const Made *made, const TreeInode *inode,
                         GError **error)
{
    int fd = made->fd, dirfd = made->dirfd;
    const char *name = made->name;
    mode_t mode = lose_owner(export, inode);
    if (export->root &&
        (fd >= 0 ? fchown(fd, inode->uid, inode->gid)
                 : fchownat(dirfd, name, inode->uid, inode->gid, AT_SYMLINK_NOFOLLOW)) < 0)
        return error_throw_errno(error, "cannot set its owner");
    if (!S_ISLNK(inode->mode) && (fd >= 0 ? fchmod(fd, mode) : fchmodat(dirfd, name, mode, 0)) < 0)
        return error_throw_errno(error, "cannot set its mode");
    if (!set_xattrs(export, made, inode, error))
        return false;
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {.tv_sec = inode->mtime, .tv_nsec = inode->mtime_nsec}};
    if ((fd >= 0 ? futimens(fd, times) : utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW)) < 0)
        return error_throw_errno(error, "cannot set its time");
    return true;
}

/* --- bytes ---------------------------------------------------------------------------------------------- */

/* From both files' positions. */
static bool copy_by_hand(int from, int to, uint64_t size, GError **error)
{
    enum { PIECE = 128 << 10 };
    g_autofree char *buffer = g_malloc(PIECE);
    while (size > 0) {
        ssize_t n = sys_read_all(from, buffer, MIN(size, PIECE));
        if (n <= 0)
            return error_throw(error, ERROR_FAILED, "cannot read its object: %s",
                               n < 0 ? g_strerror((int)-n) : "it is too short");
        if (!file_write_all(to, buffer, (size_t)n, error))
            return false;
        size -= (uint64_t)n;
    }
    return true;
}

static bool copy_piece(int from, int to, uint64_t size, GError **error)
{
    while (size > 0) {
        ssize_t n = copy_file_range(from, NULL, to, NULL, MIN(size, 1u << 30), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) /* two filesystems, or whatever else: plain copying knows best */
            return copy_by_hand(from, to, size, error);
        size -= (uint64_t)n;
    }
    return true;
}

/* Holes stay holes. */
static bool copy_sparse(int from, int to, uint64_t size, GError **error)
{
    if (ftruncate(to, (off_t)size) < 0)
        return error_throw_errno(error, "cannot set its size");
    for (off_t at = 0; (uint64_t)at < size;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            return true;
        off_t hole = data < 0 ? -1 : lseek(from, data, SEEK_HOLE);
        if (hole < 0 || lseek(from, data, SEEK_SET) < 0 || lseek(to, data, SEEK_SET) < 0)
            return error_throw_errno(error, "cannot find the holes of its object");
        if (!copy_piece(from, to, (uint64_t)(hole - data), error))
            return false;
        at = hole;
    }
    return true;
}

static bool copy_object(Export *export, const TreeInode *inode, int to, GError **error)
{
    enum { MAY_BE_SPARSE = 64 << 10 };
    _autofd int from = store_open_object(export->store, &inode->object, error);
    if (from < 0)
        return false;
    if (!export->no_clone && ioctl(to, FICLONE, from) == 0) {
        export->result->cloned++;
        return true;
    }
    export->no_clone = true;
    struct stat st;
    if (inode->size >= MAY_BE_SPARSE && fstat(from, &st) == 0 &&
        (uint64_t)st.st_blocks * 512 < inode->size)
        return copy_sparse(from, to, inode->size, error);
    return copy_piece(from, to, inode->size, error);
}

/* --- files ---------------------------------------------------------------------------------------------- */

static bool export_file(Export *export, int dirfd, const char *name, const TreeInode *inode,
                        GError **error)
{
    _autofd int fd =
        openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    const Made made = {.fd = fd, .dirfd = dirfd, .name = name};
    if (fd < 0)
        return error_throw_errno(error, "cannot create it");
    bool good = true;
    if (inode->content)
        good = file_write_all(fd, inode->content, inode->size, error);
    else if (inode->size > 0)
        good = inode->has_object ? copy_object(export, inode, fd, error)
                                 : error_throw(error, ERROR_INVALID, "its bytes are not known");
    export->result->files++;
    export->result->bytes += inode->size;
    return good && set_metadata(export, &made, inode, error);
}

/* A device that one has no right to make is left out. */
static bool export_special(Export *export, int dirfd, const char *name, const TreeInode *inode,
                           GError **error)
{
    const Made made = {.fd = -1, .dirfd = dirfd, .name = name};
    if (inode->whiteout)
        return error_throw(error, ERROR_INVALID, "it is a mark of a layer");
    int failed = S_ISLNK(inode->mode)
                     ? symlinkat(inode->target, dirfd, name)
                     : mknodat(dirfd, name, (inode->mode & S_IFMT) | 0600, inode->rdev);
    if (failed && errno == EPERM && (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))) {
        export->result->lost_devices++;
        return true;
    }
    return failed ? error_throw_errno(error, "cannot create it")
                  : set_metadata(export, &made, inode, error);
}

/* Another name of what is there; *out_done is false when this is the first one. */
static bool export_link(Export *export, int dirfd, TreeNode *node, bool *out_done, GError **error)
{
    const char *first = g_hash_table_lookup(export->written, node->inode);
    *out_done = first != NULL;
    if (!first) {
        g_autofree char *path = tree_path(node);
        g_hash_table_insert(export->written, node->inode, g_strdup(path + 1));
        return true;
    }
    if (linkat(export->top_fd, first, dirfd, node->name, 0) == 0)
        return true;
    struct stat st; /* of a device that could not be made */
    return (errno == ENOENT && fstatat(export->top_fd, first, &st, AT_SYMLINK_NOFOLLOW) < 0) ||
           error_throw_errno(error, "cannot link it to '%s'", first);
}

static bool export_dir(Export *export, int dirfd, TreeNode *dir, GError **error);

static bool export_node(Export *export, int dirfd, TreeNode *node, GError **error)
{
    const TreeInode *inode = node->inode;
    if (S_ISDIR(inode->mode)) {
        if (mkdirat(dirfd, node->name, 0700) < 0)
            return error_throw_errno(error, "cannot create it");
        _autofd int fd = openat(dirfd, node->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            return error_throw_errno(error, "cannot open it");
        const Made made = {.fd = fd};
        return export_dir(export, fd, node, error) && set_metadata(export, &made, inode, error);
    }
    bool done = false;
    if (inode->nlink > 1 && !export_link(export, dirfd, node, &done, error))
        return false;
    if (done)
        return true;
    return S_ISREG(inode->mode) ? export_file(export, dirfd, node->name, inode, error)
                                : export_special(export, dirfd, node->name, inode, error);
}

static bool export_dir(Export *export, int dirfd, TreeNode *dir, GError **error)
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

bool store_export_dir(Store *store, Tree *tree, int dirfd, StoreExportResult *out_result,
                      GError **error)
{
    g_autoptr(GHashTable) written = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    StoreExportResult result = {0};
    Export export = {.store = store,
                     .top_fd = dirfd,
                     .root = geteuid() == 0,
                     .written = written,
                     .result = &result};
    const Made top = {.fd = -1, .dirfd = dirfd, .name = "."};
    TreeNode *root = tree_root(tree);
    if (!is_empty(dirfd, error) || !export_dir(&export, dirfd, root, error) ||
        !set_metadata(&export, &top, root->inode, error))
        return false;
    if (out_result)
        *out_result = result;
    return true;
}
