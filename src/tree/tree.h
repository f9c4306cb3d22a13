/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A file tree in memory: the one model between every form that a tree comes in.
 *
 *     directory  tar  dump  OSTree commit  overlay upper        (read by store/, ostree/, oci/)
 *                   \   |   /
 *                    Tree  ------  EROFS image (bit-identical to mkcomposefs, V1), dump
 *
 * A TreeNode is a name in a directory; a TreeInode is what the name stands for. Hard links are several
 * nodes with one inode. File bytes are not here: an inode holds up to 64 bytes inline, or the size and the
 * fs-verity digest of an object.
 *
 * A *layer* is a tree that is applied over another one: whiteouts (`inode->whiteout`) and opaque
 * directories (`inode->opaque`) exist only there; tree_apply() consumes them, tree_write_image() refuses them.
 * (A character device 0:0 that is really part of a tree is an ordinary device here, escaped by the image writer.)
 *
 * Memory: names, inodes and xattrs belong to the tree and die with it (arena; equal xattr sets are shared).
 * Not thread-safe. Names are bytes, not UTF-8.
 */
#pragma once

#include "base/digest.h"
#include "base/error.h"

#include <sys/stat.h>

#define TREE_INLINE_MAX 64 /* composefs: larger files are objects */
#define TREE_DEPTH_MAX  2048

typedef struct Tree Tree;
typedef struct TreeNode TreeNode;
typedef struct TreeInode TreeInode;

typedef struct {
    const char *name; /* full name, "security.capability" */
    const uint8_t *value;
    size_t size;
} TreeXattr;

struct TreeInode {
    uint32_t mode; /* with the type bits */
    uint32_t uid, gid;
    uint32_t nlink; /* number of names (files); maintained by the tree */
    uint32_t mtime_nsec;
    uint32_t n_xattrs;
    bool has_object;       /* regular files: `object` is the fs-verity digest of the bytes */
    bool whiteout, opaque; /* layers only */
    /* layers only: a directory that is just on the way; what lies under it keeps its metadata */
    bool implicit;
    uint64_t rdev;           /* st_rdev of devices, else 0 */
    int64_t mtime;           /* seconds; negative: before 1970 */
    uint64_t size;           /* regular files: bytes; symlinks: length of the target */
    const TreeXattr *xattrs; /* sorted by name */
    const char *target;      /* symlinks, NUL-terminated */
    /* regular files of at most 64 bytes (larger only from a dump); NULL else */
    const uint8_t *content;
    /* where the object is when that is not XX/REST ("": it doesn't say); only from a dump or foreign image */
    const char *payload;
    Digest object;
    void *user; /* scratch for whoever walks the tree; NULL when it is new */
};

struct TreeNode {
    const char *name; /* "" for the root */
    TreeNode *parent; /* NULL for the root */
    TreeInode *inode;
};

Tree *tree_new(void); /* an empty root directory, 0755 0:0, mtime 0 */
void tree_free(Tree *tree);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Tree, tree_free)

TreeNode *tree_root(Tree *tree);
/* The node at an absolute or relative path ("usr/lib"), no link followed; NULL when there is none. */
TreeNode *tree_lookup(Tree *tree, const char *path);
/* The same with symbolic links followed inside the tree, as the kernel would with the tree as root. */
TreeNode *tree_resolve(Tree *tree, const char *path);
TreeNode *tree_child(Tree *tree, const TreeNode *dir, const char *name);
/* The path with a leading slash ("/" for the root), newly allocated. */
char *tree_path(const TreeNode *node);

/* Children in byte order of their names. */
size_t tree_n_children(const TreeNode *dir);
TreeNode *tree_nth_child(const TreeNode *dir, size_t index);
#define TREE_EACH_CHILD(dir, child)                                                                \
    for (size_t child##_i = 0;                                                                     \
         child##_i < tree_n_children(dir) && ((child) = tree_nth_child(dir, child##_i), true);     \
         child##_i++)

/* Adds a name with a fresh inode of this mode (nlink 1, all else zero). ERROR_EXISTS when the name is taken,
 * ERROR_INVALID for "", ".", "..", a slash, more than 255 bytes, a `dir` that is none, or a path of more than
 * TREE_DEPTH_MAX names (so that walks may recurse). */
TreeNode *tree_add(Tree *tree, TreeNode *dir, const char *name, uint32_t mode, GError **error);
/* Adds another name of `target`'s inode (not a directory). In images and dumps the name that comes first depth
 * first is the "original", but trees of tree_parse_dump() keep the dump's choice. */
TreeNode *tree_link(Tree *tree, TreeNode *dir, const char *name, TreeNode *target, GError **error);
/* Makes missing directories of the path (0755 0:0 mtime 0); an existing non-directory is ERROR_EXISTS. */
TreeNode *tree_ensure_dir(Tree *tree, const char *path, GError **error);
/* Removes the name and everything below it. The root stays. */
void tree_remove(Tree *tree, TreeNode *node);
/* Moves a node; the new name must be free. */
bool tree_move(Tree *tree, TreeNode *node, TreeNode *new_dir, const char *new_name, GError **error);
Tree *tree_copy(Tree *tree);

/* Content setters copy what they are given. */
void tree_set_inline(Tree *tree, TreeInode *inode, const void *data, size_t size);
void tree_set_object(Tree *tree, TreeInode *inode, const Digest *object, uint64_t size);
void tree_set_target(Tree *tree, TreeInode *inode, const char *target);
void tree_set_xattr(Tree *tree, TreeInode *inode, const char *name, const void *value, size_t size);
/* All of them at once, in any order, the last of a name counts: what importers use. */
void tree_set_xattrs(Tree *tree, TreeInode *inode, const TreeXattr *xattrs, size_t n);
void tree_remove_xattr(Tree *tree, TreeInode *inode, const char *name);
const TreeXattr *tree_xattr(const TreeInode *inode, const char *name);
/* Mode, owner, times and xattrs of `from` (any tree) onto `to`; not the content. */
void tree_copy_metadata(Tree *tree, TreeInode *to, const TreeInode *from);

/* Applies a layer over `base` as overlayfs and OCI do: whiteouts remove, opaque directories start empty,
 * directories merge and take the layer's metadata, everything else replaces. The layer is left as it is. */
bool tree_apply(Tree *base, Tree *layer, GError **error);

/* Depth first, names in byte order, a directory before its children. Returning false stops the walk. */
typedef bool (*TreeVisit)(TreeNode *node, void *data, GError **error);
bool tree_walk(Tree *tree, TreeVisit visit, void *data, GError **error);

/* --- EROFS images: tree/erofs_write.c, tree/erofs_read.c ------------------------------------------------ */

/* The image's bytes, bit-identical to `mkcomposefs --min-version=1`. Objects are referenced as XX/REST.
 * ERROR_INVALID for what the format can't hold (names the path), and for `trusted.overlay.*` xattrs
 * unless the tree came from tree_parse_dump() or an image: only this writer emits those. */
GBytes *tree_write_image(Tree *tree, GError **error);
/* The inverse. The image is hostile input: every offset is checked. ERROR_CORRUPT. */
Tree *tree_read_image(GBytes *image, GError **error);
/* The objects that the image's files need, without making the tree; one may come several times. Hostile input too, of
 * which only what matters here is checked. Returning false stops. */
typedef bool (*TreeObjectFunc)(const Digest *object, void *data, GError **error);
bool tree_image_each_object(GBytes *image, TreeObjectFunc visit, void *data, GError **error);
/* Whether a file that begins so (four bytes do) may be an image. */
bool tree_is_image(const void *head, size_t size);

/* --- composefs-dump text: tree/dump.c ------------------------------------------------------------------- */

/* Errors name the line. Hard links keep the dump's own choice of the original. */
Tree *tree_parse_dump(const char *text, size_t size, GError **error);
/* As `composefs-info dump` prints. */
char *tree_format_dump(Tree *tree);

/* --- differences ---------------------------------------------------------------------------------------- */

typedef enum {
    TREE_ADDED,
    TREE_REMOVED,
    TREE_MODIFIED,
} TreeChange;

typedef enum {
    TREE_DIFFERS_TYPE = 1 << 0,
    TREE_DIFFERS_MODE = 1 << 1, /* permission bits */
    TREE_DIFFERS_OWNER = 1 << 2,
    TREE_DIFFERS_CONTENT = 1 << 3, /* bytes, target, device; of a layer also what it hides */
    TREE_DIFFERS_XATTRS = 1 << 4,
    TREE_DIFFERS_MTIME = 1 << 5,
} TreeDifference;
/* In what two inodes differ; 0: in nothing. */
unsigned tree_compare(const TreeInode *a, const TreeInode *b);

/* `old` or `new` is NULL for added and removed. Removed subtrees are reported by their top only, added
 * ones node by node. mtimes are ignored unless `with_times`. */
typedef bool (*TreeDiffVisit)(TreeChange change, TreeNode *old, TreeNode *new, void *data,
                              GError **error);
bool tree_diff(Tree *old, Tree *new, bool with_times, TreeDiffVisit visit, void *data,
               GError **error);
