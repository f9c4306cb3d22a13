/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The image between the tree and its bytes: the inodes in the image's order (erofs_write.c), their final xattrs
 * (erofs_xattrs.c), their places (erofs_layout.c), the bytes (erofs_emit.c). Private to the writer.
 *
 * What a tree node says already isn't said again here, and names are walked, not listed: a plan takes about 150 bytes
 * for a file, the image itself about 240. */
#pragma once

#include "tree/arena.h"
#include "tree/erofs.h"
#include "tree/node.h"

/* A name with a value as some inodes have it, once for the image. */
typedef struct {
    const char *name;
    const uint8_t *value;  /* of those made of a digest: the digest */
    uint32_t uses, offset; /* in the shared area */
    uint16_t size, name_size;
    uint8_t suffix_at; /* what follows the prefix that `index` stands for */
    uint8_t index, filter_bit;
    uint8_t kind;
} PlanXattr;

enum {
    PLAN_LITERAL,
    PLAN_METACOPY, /* a digest with its header */
    PLAN_REDIRECT, /* "/XX/REST" */
    PLAN_KINDS,
    PLAN_METACOPY_SIZE = 4 + DIGEST_SIZE,
    PLAN_REDIRECT_SIZE = 66,
};

/* Xattrs of inodes, by name; numbers of PlanXattr. */
typedef struct {
    uint32_t n, uses;
    uint32_t at_metacopy, at_redirect; /* where these would stand */
    uint32_t xattrs[];
} PlanSet;

typedef struct {
    const TreeNode *node;        /* NULL: a stub */
    PlanSet *set;                /* NULL: none */
    uint32_t metacopy, redirect; /* beside `set`; PLAN_NONE */
    uint32_t parent, nlink;
    uint32_t slot; /* its nid */
    uint32_t n_blocks, first_block;
    uint32_t xattr_size;
    uint16_t tail;      /* bytes of data behind the inode */
    uint8_t type;       /* in a directory entry */
    uint8_t chunk_bits; /* bytes elsewhere: chunk layout; else 0 */
    bool extended;
    bool whiteout, has_whiteouts; /* an escaped one; a directory that has some */
} PlanInode;

#define PLAN_NONE UINT32_MAX

typedef struct {
    Tree *tree;
    Arena arena;
    int version;
    GArray *inodes; /* PlanInode, in the image's order: number = index */
    GArray *xattrs; /* PlanXattr */
    GPtrArray *sets;
    uint32_t stubs[256]; /* their numbers, in order */
    uint32_t *table;     /* open addressing: number + 1 of an xattr */
    uint32_t table_size;
    PlanXattr like
        [PLAN_KINDS]; /* one of each kind but PLAN_LITERAL: the same name, so the same prefix and bit */
    uint32_t most_xattrs; /* of an inode */
    uint32_t n_external;
    bool has_acl;
    bool has_payloads; /* some file's bytes are not where its digest says */
    uint32_t *shared;  /* numbers of xattrs, in the order of the shared area */
    uint32_t n_shared;
    int64_t min_mtime;
    uint32_t min_nsec;
    uint64_t shared_start, shared_size, total_blocks;
} Plan;

static inline PlanInode *plan_inode(const Plan *plan, uint32_t number)
{
    return &g_array_index(plan->inodes, PlanInode, number);
}

static inline PlanXattr *plan_xattr(const Plan *plan, uint32_t number)
{
    return &g_array_index(plan->xattrs, PlanXattr, number);
}

/* A stub is as the root is. */
static inline const TreeInode *plan_tree_inode(const Plan *plan, const PlanInode *inode)
{
    return inode->node ? inode->node->inode : plan->tree->root->inode;
}

static inline uint32_t plan_xattr_entry(const PlanXattr *xattr)
{
    return (uint32_t)round_up(4 + (uint32_t)(xattr->name_size - xattr->suffix_at) + xattr->size, 4);
}

/* The inode's xattrs by name into `out`, which has room for plan->most_xattrs. Returns how many. */
uint32_t plan_list_xattrs(const PlanInode *inode, uint32_t *out);
/* The xattr's bytes: its own, or made in `buffer`. */
const uint8_t *plan_xattr_value(const PlanXattr *xattr, uint8_t buffer[PLAN_REDIRECT_SIZE]);

bool plan_xattrs(Plan *plan, GError **error);
bool plan_place(Plan *plan, GError **error);
GBytes *plan_emit(const Plan *plan);
/* Throws ERROR_INVALID with the node's path. */
bool plan_throw(const TreeNode *node, GError **error, const char *reason);

/* --- directory entries (erofs_dirents.c) ----------------------------------------------------------------- */

typedef struct {
    const char *name;
    uint32_t length;
    TreeNode *child; /* NULL: one of those that no tree has: */
    uint32_t extra;  /* 0 ".", 1 "..", 2… the stubs that the root needs */
} PlanDirent;

typedef struct {
    const TreeNode *dir;
    size_t child, n_children;
    const char *extras[2 + 256];
    uint32_t extra, n_extras;
} PlanDirents;

/* All entries of a directory, in byte order. */
void plan_dirents_start(PlanDirents *entries, const TreeNode *dir);
bool plan_dirents_next(PlanDirents *entries, PlanDirent *out);

/* Which of its blocks they fill: add() each in order, then end(). */
typedef struct {
    uint64_t blocks;
    uint32_t tail;
} PlanExtent;

/* Whether the entry is the first of another block. */
static inline bool plan_extent_add(PlanExtent *extent, uint32_t name_length)
{
    uint32_t size = EROFS_DIRENT_SIZE + name_length;
    bool full = extent->tail + size > EROFS_BLOCK;
    extent->blocks += full;
    extent->tail = full ? size : extent->tail + size;
    return full;
}

/* A tail of more than half a block becomes a block. */
static inline void plan_extent_end(PlanExtent *extent)
{
    if (extent->tail > EROFS_BLOCK / 2) {
        extent->blocks++;
        extent->tail = 0;
    }
}
