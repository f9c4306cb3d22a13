/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: directories are read in the order of their names, files into objects as they come. Each file is
 * opened once and read once; what is already there is only hashed. Files of more than TREE_INLINE_MAX bytes are read by
 * threads (readers.h) while the walk goes on; their inodes get their objects at the end.
 */
#include "base/cancel.h"
#include "store/readers.h"
#include "store/txn.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

typedef struct {
    Readers *readers;
    Tree *tree;
    StoreImportFlags flags;
    GHashTable *inodes; /* FileId of files with several links -> TreeNode */
    char *buffer;       /* for lists and values of xattrs */
} Import;

typedef struct {
    dev_t dev;
    ino_t ino;
} FileId;

enum { XATTR_ROOM = 65536 };

static unsigned file_id_hash(const void *data)
{
    const FileId *id = data;
    return (unsigned)(id->ino ^ id->ino >> 32 ^ id->dev * 31);
}

static int file_id_equal(const void *a, const void *b)
{
    const FileId *x = a, *y = b;
    return x->dev == y->dev && x->ino == y->ino;
}

/* --- extended attributes -------------------------------------------------------------------------------- */

typedef struct {
    int fd;           /* of files and directories */
    const char *path; /* of all else: /proc/self/fd/DIR/NAME */
} XattrSource;

static ssize_t list_xattrs(const XattrSource *source, char *buffer)
{
    return source->fd >= 0 ? flistxattr(source->fd, buffer, XATTR_ROOM)
                           : llistxattr(source->path, buffer, XATTR_ROOM);
}

static ssize_t get_xattr(const XattrSource *source, const char *name, char *buffer)
{
    return source->fd >= 0 ? fgetxattr(source->fd, name, buffer, XATTR_ROOM)
                           : lgetxattr(source->path, name, buffer, XATTR_ROOM);
}

/* Whether the attribute is kept. An upper's marks are taken in; other trusted.* are refused: a hand-made redirect
 * in a lower layer could read any object. */
static bool take_mark(const Import *import, TreeInode *inode, const char *name, const char *value,
                      ssize_t size, bool *out_keep, GError **error)
{
    bool upper = import->flags & STORE_IMPORT_UPPER;
    *out_keep = false;
    if (g_str_has_prefix(name, "trusted.")) {
        if (!upper)
            return error_throw(error, ERROR_INVALID, "cannot import it: it has the attribute '%s'",
                               name);
        if (strcmp(name, "trusted.overlay.opaque") == 0 && size == 1 && *value == 'y' &&
            S_ISDIR(inode->mode))
            inode->opaque = true;
        if ((strcmp(name, "trusted.overlay.metacopy") == 0 ||
             strcmp(name, "trusted.overlay.redirect") == 0) &&
            size >= 0)
            return error_throw(error, ERROR_UNSUPPORTED,
                               "not supported yet: an overlay's upper with '%s'", name);
        return true;
    }
    *out_keep = true;
    return true;
}

static bool import_xattrs(Import *import, const XattrSource *source, TreeInode *inode,
                          GError **error)
{
    ssize_t size = list_xattrs(source, import->buffer);
    if (size == 0 || (size < 0 && (errno == EOPNOTSUPP || errno == ENODATA)))
        return true;
    if (size < 0)
        return error_throw_errno(error, "cannot list its extended attributes");
    g_autofree char *names = g_memdup2(import->buffer, (gsize)size);
    g_autoptr(GArray) xattrs = g_array_new(false, false, sizeof(TreeXattr));
    g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func(g_free);
    for (const char *name = names; name < names + size; name += strlen(name) + 1) {
        ssize_t length = get_xattr(source, name, import->buffer);
        if (length < 0 && errno == ENODATA)
            continue;
        if (length < 0)
            return error_throw_errno(error, "cannot read its attribute '%s'", name);
        bool keep;
        if (!take_mark(import, inode, name, import->buffer, length, &keep, error))
            return false;
        if (!keep || import->flags & STORE_IMPORT_NO_XATTRS)
            continue;
        TreeXattr xattr = {.name = name, .size = (size_t)length};
        xattr.value = g_memdup2(import->buffer, (gsize)length);
        g_ptr_array_add(values, (void *)xattr.value);
        g_array_append_val(xattrs, xattr);
    }
    tree_set_xattrs(import->tree, inode, (const TreeXattr *)(void *)xattrs->data, xattrs->len);
    return true;
}

/* --- files ---------------------------------------------------------------------------------------------- */

static void take_stat(const Import *import, TreeInode *inode, const struct stat *st)
{
    inode->mode = st->st_mode;
    inode->uid = st->st_uid;
    inode->gid = st->st_gid;
    if (!(import->flags & STORE_IMPORT_ZERO_TIMES)) {
        inode->mtime = st->st_mtim.tv_sec;
        inode->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
    }
    if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
        inode->rdev = st->st_rdev;
}

/* Takes the fd. */
static bool read_file(Import *import, int *fd, TreeNode *node, uint64_t expected, GError **error)
{
    if (expected <= TREE_INLINE_MAX) {
        char small[TREE_INLINE_MAX + 1];
        ssize_t n = sys_read_all(*fd, small, sizeof small);
        if (n < 0) {
            errno = (int)-n;
            return error_throw_errno(error, "cannot read it");
        }
        if (n <= TREE_INLINE_MAX) {
            tree_set_inline(import->tree, node->inode, small, (size_t)n);
            return true;
        }
        if (lseek(*fd, 0, SEEK_SET) < 0) /* it grew */
            return error_throw_errno(error, "cannot read it");
    }
    return readers_add(import->readers, fd_steal(fd), node, expected, error);
}

static int try_open(int dirfd, const char *name)
{
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int fd = openat(dirfd, name, flags | O_NOATIME);
    return fd < 0 && errno == EPERM ? openat(dirfd, name, flags) : fd;
}

static int open_file(Import *import, int dirfd, const char *name, GError **error)
{
    int fd = try_open(dirfd, name);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) { /* the readers hold many; let them end */
        if (!readers_finish(import->readers, error))
            return -1;
        fd = try_open(dirfd, name);
    }
    if (fd < 0 && errno == EMFILE)
        return error_throw_fd(error, ERROR_FAILED,
                              "cannot open it: %s\nhint: 'ulimit -n' allows too few",
                              g_strerror(EMFILE));
    return fd < 0 ? error_throw_errno_fd(error, "cannot open it") : fd;
}

static bool import_link(Import *import, int dirfd, const char *name, TreeInode *inode,
                        GError **error)
{
    g_autofree char *target = file_readlink_at(dirfd, name, error);
    if (!target)
        return false;
    tree_set_target(import->tree, inode, target);
    return true;
}

static bool import_dir(Import *import, int fd, TreeNode *dir, GError **error);

static bool import_content(Import *import, int dirfd, const char *name, TreeNode *node,
                           const struct stat *st, GError **error)
{
    TreeInode *inode = node->inode;
    char path[64 + 256];
    g_snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dirfd, name);
    XattrSource source = {.fd = -1, .path = path};
    _autofd int fd = -1;
    if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)) {
        fd = source.fd = open_file(import, dirfd, name, error);
        if (fd < 0)
            return false;
    }
    if (!import_xattrs(import, &source, inode, error))
        return false;
    if (S_ISREG(st->st_mode))
        return read_file(import, &fd, node, (uint64_t)st->st_size, error);
    if (S_ISDIR(st->st_mode))
        return import_dir(import, fd, node, error);
    return !S_ISLNK(st->st_mode) || import_link(import, dirfd, name, inode, error);
}

static bool add_entry(Import *import, int dirfd, TreeNode *dir, const char *name, GError **error)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_throw_errno(error, "cannot look at it");
    if (S_ISSOCK(st.st_mode))
        return true;
    bool linked = st.st_nlink > 1 && !S_ISDIR(st.st_mode);
    bool whiteout = import->flags & STORE_IMPORT_UPPER && S_ISCHR(st.st_mode) && st.st_rdev == 0;
    FileId id = {st.st_dev, st.st_ino};
    TreeNode *first = linked && !whiteout ? g_hash_table_lookup(import->inodes, &id) : NULL;
    if (first)
        return tree_link(import->tree, dir, name, first, error) != NULL;
    TreeNode *node = tree_add(import->tree, dir, name, st.st_mode, error);
    if (!node)
        return false;
    take_stat(import, node->inode, &st);
    if (whiteout) { /* overlayfs makes all of them links of one inode */
        node->inode->whiteout = true;
        return true;
    }
    if (linked)
        g_hash_table_insert(import->inodes, g_memdup2(&id, sizeof id), node);
    return import_content(import, dirfd, name, node, &st, error);
}

static bool import_dir(Import *import, int fd, TreeNode *dir, GError **error)
{
    g_autoptr(GPtrArray) names = file_list_fd(fd, error);
    if (!names || !cancel_check(error))
        return false;
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autoptr(GError) failed = NULL;
        if (add_entry(import, fd, dir, name, &failed))
            continue;
        /* the innermost failure knows the whole path already, and so does that of another file */
        if (failed->message[0] != '\'') {
            g_autofree char *path = tree_path(dir);
            error_prefix(&failed, "'%s%s%s'", path, dir->parent ? "/" : "", name);
        }
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    return true;
}

Tree *store_import_dir(StoreTxn *txn, int dirfd, StoreImportFlags flags, GError **error)
{
    return store_import_dir_with(txn, dirfd, flags, NULL, error);
}

Tree *store_import_dir_with(StoreTxn *txn, int dirfd, StoreImportFlags flags,
                            const StoreChecksum *checksum, GError **error)
{
    g_autoptr(Tree) tree = tree_new();
    g_autoptr(GHashTable) inodes = g_hash_table_new_full(file_id_hash, file_id_equal, g_free, NULL);
    g_autofree char *buffer = g_malloc(XATTR_ROOM);
    g_autoptr(Readers) readers = readers_new(txn, tree, checksum);
    Import import = {
        .readers = readers, .tree = tree, .flags = flags, .inodes = inodes, .buffer = buffer};
    struct stat st;
    if (fstat(dirfd, &st) < 0)
        return error_throw_errno_null(error, "cannot look at the directory");
    _autofd int fd = file_open_dir_at(dirfd, ".", error);
    if (fd < 0)
        return NULL;
    TreeNode *root = tree_root(tree);
    take_stat(&import, root->inode, &st);
    XattrSource source = {.fd = fd};
    if (!import_xattrs(&import, &source, root->inode, error) ||
        !import_dir(&import, fd, root, error) || !readers_finish(readers, error))
        return NULL;
    return g_steal_pointer(&tree);
}

Tree *store_measure_dir(int dirfd, StoreImportFlags flags, GError **error)
{
    return store_import_dir(NULL, dirfd, flags, error);
}
