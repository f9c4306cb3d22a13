/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "build/context.h"

#include "base/file.h"
#include "build/match.h"

#include <errno.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IGNORE_MAX (4u << 20)

struct Context {
    char *path;
    char *dockerfile;
    int dirfd;
    Tree *tree;
};

Context *context_open(const char *path, GError **error)
{
    _autofd int dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0)
        return error_throw_errno_null(error, "cannot open the build context '%s'", path);
    Context *context = g_new0(Context, 1);
    context->path = g_strdup(path);
    context->dirfd = fd_steal(&dirfd);
    return context;
}

void context_free(Context *context)
{
    if (!context)
        return;
    g_free(context->path);
    g_free(context->dockerfile);
    sys_fd_closep(&context->dirfd);
    if (context->tree)
        tree_free(context->tree);
    g_free(context);
}

void context_set_dockerfile(Context *context, const char *name)
{
    g_free(context->dockerfile);
    context->dockerfile = g_strdup(name);
}

/* --- reading the directory -------------------------------------------------------------------- */

typedef struct {
    Tree *tree;
    Ignore *ignore;
} Walk;

static bool set_attributes(Walk *walk, TreeNode *node, int dirfd, const struct stat *st,
                           GError **error)
{
    TreeInode *inode = node->inode;
    inode->mtime = st->st_mtim.tv_sec < 0 ? 0 : st->st_mtim.tv_sec;
    inode->mtime_nsec = 0; /* an archived context has whole seconds */
    if (S_ISREG(st->st_mode))
        inode->size = (uint64_t)st->st_size;
    if (!S_ISLNK(st->st_mode))
        return true;
    g_autofree char *target = file_readlink_at(dirfd, node->name, error);
    if (!target)
        return false;
    tree_set_target(walk->tree, inode, target);
    return true;
}

static bool read_dir(Walk *walk, int fd, TreeNode *dir, const char *path, GError **error);

/* An ignored directory is entered only for what may be taken back in, and kept only when there
 * was some. */
static bool read_subdir(Walk *walk, int dirfd, TreeNode *node, const char *path, bool ignored,
                        GError **error)
{
    _autofd int fd = openat(dirfd, node->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_throw_errno(error, "cannot open '%s' of the build context", path);
    if (!read_dir(walk, fd, node, path, error))
        return false;
    if (ignored && tree_n_children(node) == 0)
        tree_remove(walk->tree, node);
    return true;
}

static bool read_entry(Walk *walk, int dirfd, TreeNode *dir, const char *path, const char *name,
                       GError **error)
{
    g_autofree char *child = *path ? g_strconcat(path, "/", name, NULL) : g_strdup(name);
    bool ignored = ignore_match(walk->ignore, child);
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_throw_errno(error, "cannot look at '%s' of the build context", child);
    if (S_ISSOCK(st.st_mode) ||
        (ignored && (!S_ISDIR(st.st_mode) || !ignore_has_exceptions(walk->ignore))))
        return true;
    TreeNode *node = tree_add(walk->tree, dir, name, st.st_mode, error);
    if (!node || !set_attributes(walk, node, dirfd, &st, error))
        return error_prefix(error, "'%s' of the build context", child);
    return !S_ISDIR(st.st_mode) || read_subdir(walk, dirfd, node, child, ignored, error);
}

static bool read_dir(Walk *walk, int fd, TreeNode *node, const char *path, GError **error)
{
    g_autoptr(GPtrArray) names = file_list_fd(fd, error);
    for (guint i = 0; names && i < names->len; i++)
        if (!read_entry(walk, fd, node, path, names->pdata[i], error))
            return false;
    return names || error_prefix(error, "'%s' of the build context", path);
}

char *context_read(const Context *context, const char *name, size_t limit, size_t *out_size,
                   GError **error)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    _autofd int fd = -1;
    /* EAGAIN: something was renamed or mounted while a ".." was walked (openat2(2)) */
    do
        fd = (int)syscall(SYS_openat2, context->dirfd, name, &how, sizeof how);
    while (fd < 0 && errno == EAGAIN);
    if (fd < 0 && errno == EXDEV)
        return error_throw_null(error, ERROR_INVALID, "'%s' is a link out of the build context",
                                name);
    if (fd < 0)
        return error_throw_errno_null(error, "cannot open '%s'", name);
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return error_throw_null(error, ERROR_INVALID, "'%s' of the build context is not a file",
                                name);
    char *text = file_read_fd(fd, limit, out_size, error);
    if (!text)
        error_prefix(error, "'%s'", name);
    return text;
}

static bool read_ignore(Context *context, char **out_text, GError **error)
{
    g_autofree char *own = g_strdup_printf(
        "%s.dockerignore", context->dockerfile ? context->dockerfile : "Dockerfile");
    const char *names[] = {own, ".dockerignore"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        bool exists = false;
        if (!file_exists_at(context->dirfd, names[i], &exists, error))
            return false;
        if (!exists)
            continue;
        *out_text = context_read(context, names[i], IGNORE_MAX, NULL, error);
        return *out_text;
    }
    *out_text = NULL;
    return true;
}

Tree *context_tree(Context *context, GError **error)
{
    if (context->tree)
        return context->tree;
    g_autofree char *text = NULL;
    if (!read_ignore(context, &text, error))
        return NULL;
    g_autoptr(Ignore) ignore = ignore_new(text);
    g_autoptr(Tree) tree = tree_new();
    Walk walk = {tree, ignore};
    if (!read_dir(&walk, context->dirfd, tree_root(tree), "", error))
        return NULL;
    return context->tree = g_steal_pointer(&tree);
}

int context_open_file(Context *context, const TreeNode *node, GError **error)
{
    g_autofree char *path = tree_path(node);
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                           .resolve =
                               RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    _autofd int fd = (int)syscall(SYS_openat2, context->dirfd, path + 1, &how, sizeof how);
    if (fd < 0)
        return error_throw_errno_fd(error, "cannot open '%s' of the build context", path + 1);
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return error_throw_fd(error, ERROR_INVALID, "'%s' of the build context is no longer a file",
                              path + 1);
    return fd_steal(&fd);
}
