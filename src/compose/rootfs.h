/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The root file system that is being composed: a tree and the transaction that its files' bytes are
 * put into. Private to compose/.
 */
#pragma once

#include "package/package.h"
#include "store/store.h"

typedef struct {
    StoreTxn *txn;
    Tree *tree;
} Rootfs;

/* The bytes of a regular file, NUL-terminated behind the end. Those put since the last flush can't
 * be read. */
char *rootfs_read(const Rootfs *rootfs, const TreeNode *node, size_t *out_size, GError **error);
/* Replaces or makes a file; missing parents are made. Root's, mtime 0. */
bool rootfs_write(Rootfs *rootfs, const char *path, uint32_t mode, const void *data, size_t size,
                  GError **error);
bool rootfs_write_text(Rootfs *rootfs, const char *path, uint32_t mode, const char *text,
                       GError **error);
/* Replaces whatever is there by a link, or an empty directory. */
bool rootfs_symlink(Rootfs *rootfs, const char *path, const char *target, GError **error);
bool rootfs_empty_dir(Rootfs *rootfs, const char *path, uint32_t mode, GError **error);
/* Moves a node to a path whose parents are made when missing; what is at the path goes. */
bool rootfs_move(Rootfs *rootfs, TreeNode *node, const char *path, GError **error);

/* Makes `to` (a fresh inode of this tree) what `from` (of any tree) is: content and metadata. */
void rootfs_copy_inode(Tree *tree, TreeInode *to, const TreeInode *from);

/* One package of a compose, with what is read of it more than once. */
typedef struct {
    const Package *package;
    Tree *tree;       /* as package_import() makes it */
    char *control;    /* its control paragraph */
    char *info_name;  /* how dpkg's info/ files are called: NAME or NAME:ARCH */
    char **replaces;  /* dpkg relations, "name" or "name (<< version)"; may be empty */
    GHashTable *lost; /* paths that another package took over (set of owned strings) */
} Part;

/* Reads the control file from the store. Takes the tree. */
Part *part_new(const Rootfs *rootfs, const Package *package, Tree *tree, GError **error);
void part_free(Part *part);
TreeNode *part_control(const Part *part, const char *member);
/* Whether this package says `Replaces:` of the other one, in its version. */
bool part_replaces(const Part *part, const Part *other);

/* compose/merge.c: all packages' files in one tree, with merged directories. Adds to
 * rootfs->tree. */
bool merge_parts(Rootfs *rootfs, GPtrArray *parts, bool documentation, GError **error);
/* compose/dpkg_db.c: /var/lib/dpkg, every package unpacked but not configured. */
bool dpkg_db_write(Rootfs *rootfs, GPtrArray *parts, GError **error);

/* Where scripts that run in the sandbox are put; gone afterwards. */
#define SCRIPTS_DIR "var/lib/atomic-compose"

typedef struct {
    const char
        *name; /* of the branch: what is mounted is kept from the garbage collection under it */
    uint64_t epoch;   /* SOURCE_DATE_EPOCH of what scripts make */
    const char *work; /* an existing directory; what is made in it is removed again */
    bool verbose;     /* the scripts' output goes to stderr as it comes */
} ConfigureOptions;

/* compose/configure.c: runs the preinst scripts, `dpkg --configure -a`, the initramfs generator and
 * the treefile's scripts in the sandbox over an image of the tree, and applies what they changed. A
 * failure shows the end of their output. */
bool configure(Rootfs *rootfs, GPtrArray *parts, char *const *postprocess,
               const ConfigureOptions *options, GError **error);

/* compose/finish.c: makes the configured tree a host tree (compose.h says which). *out_kernel: the
 * kernel's version, or NULL without one. */
bool finish(Rootfs *rootfs, char *const *remove_files, char **out_kernel, GError **error);
/* compose/var.c: empties /var into usr/share/factory and a tmpfiles.d file. */
bool finish_var(Rootfs *rootfs, GError **error);
