/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host/kernel.h"

#include "base/file.h"
#include "base/hash.h"
#include "host/content.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void kernel_clear(HostKernel *kernel)
{
    g_free(kernel->release);
    g_free(kernel->bootcsum);
}

static TreeInode *regular_child(Tree *tree, TreeNode *dir, const char *name)
{
    TreeNode *node = tree_child(tree, dir, name);
    return node && S_ISREG(node->inode->mode) ? node->inode : NULL;
}

static TreeInode *find_initrd(Tree *tree, TreeNode *dir)
{
    static const char *const names[] = {"initramfs.img", "initramfs", "initrd.img", "initrd"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        TreeInode *inode = regular_child(tree, dir, names[i]);
        if (inode)
            return inode;
    }
    return NULL;
}

static bool find(Tree *tree, HostKernel *kernel, GError **error)
{
    TreeNode *modules = tree_lookup(tree, "usr/lib/modules");
    TreeNode *best = NULL;
    TreeNode *dir;
    if (modules && S_ISDIR(modules->inode->mode))
        TREE_EACH_CHILD (modules, dir)
            if (S_ISDIR(dir->inode->mode) && regular_child(tree, dir, "vmlinuz") &&
                (!best || strverscmp(dir->name, best->name) > 0))
                best = dir;
    if (!best)
        return error_throw(error, ERROR_INVALID,
                           "the tree has no kernel\nhint: a tree that boots has "
                           "usr/lib/modules/VERSION/vmlinuz and initramfs.img beside it");
    kernel->vmlinuz = regular_child(tree, best, "vmlinuz");
    kernel->initrd = find_initrd(tree, best);
    kernel->release = g_strdup(best->name);
    kernel->size = kernel->vmlinuz->size + (kernel->initrd ? kernel->initrd->size : 0);
    return true;
}

static bool hash_piece(const void *bytes, size_t size, void *data, GError **error)
{
    hash_sha256_update(data, bytes, size);
    return true;
}

bool kernel_load(Store *store, Tree *tree, HostKernel *out_kernel, GError **error)
{
    g_auto(HostKernel) kernel = {0};
    if (!find(tree, &kernel, error))
        return false;
    g_autoptr(HashSha256) hash = hash_sha256_new();
    if (!content_each(store, kernel.vmlinuz, hash_piece, hash, error) ||
        (kernel.initrd && !content_each(store, kernel.initrd, hash_piece, hash, error)))
        return error_prefix(error, "cannot read the kernel %s", kernel.release);
    Digest digest;
    hash_sha256_finish(hash, &digest);
    kernel.bootcsum = g_strdup(digest_hex(&digest).text);
    *out_kernel = kernel;
    kernel = (HostKernel){0};
    return true;
}

bool kernel_is_installed(const Host *host, const HostKernel *kernel)
{
    g_autofree char *path = g_strdup_printf(HOST_KERNEL_DIR "/%s", kernel->bootcsum);
    return faccessat(host->boot_fd, path, F_OK, 0) == 0;
}

static bool copy_file(int dir, const char *name, Store *store, const TreeInode *inode,
                      GError **error)
{
    _autofd int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_throw_errno(error, "cannot create '%s'", name);
    if (!content_copy(store, inode, fd, error))
        return error_prefix(error, "'%s'", name);
    if (fsync(fd) < 0)
        return error_throw_errno(error, "cannot sync '%s'", name);
    return true;
}

/* Written beside and renamed when it is durable: a directory BOOTCSUM is always complete. */
static bool install(Host *host, Store *store, const HostKernel *kernel, GError **error)
{
    if (!file_ensure_dir_at(host->boot_fd, HOST_KERNEL_DIR, 0755, error))
        return false;
    _autofd int parent = file_open_dir_at(host->boot_fd, HOST_KERNEL_DIR, error);
    if (parent < 0)
        return false;
    g_autofree char *temporary = g_strdup_printf("%s.tmp", kernel->bootcsum);
    if (!file_remove_all_at(parent, temporary, error) ||
        !file_ensure_dir_at(parent, temporary, 0755, error))
        return false;
    _autofd int dir = file_open_dir_at(parent, temporary, error);
    if (dir < 0 || !copy_file(dir, "vmlinuz", store, kernel->vmlinuz, error) ||
        (kernel->initrd && !copy_file(dir, "initrd", store, kernel->initrd, error)))
        return false;
    if (fsync(dir) < 0)
        return error_throw_errno(error, "cannot sync '%s'", temporary);
    if (renameat(parent, temporary, parent, kernel->bootcsum) < 0)
        return error_throw_errno(error, "cannot rename '%s'", temporary);
    return file_sync_dir_at(parent, "", error) && file_sync_dir_at(host->boot_fd, "", error);
}

bool kernel_install(Host *host, Store *store, const HostKernel *kernel, GError **error)
{
    if (kernel_is_installed(host, kernel))
        return true;
    return install(host, store, kernel, error) ||
           error_prefix(error, "cannot copy the kernel %s to '%s/boot'", kernel->release,
                        host->path);
}
