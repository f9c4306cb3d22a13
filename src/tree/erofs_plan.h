/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The image between the tree and its bytes: numbered inodes with their final xattrs and directory entries
 * (erofs_write.c), then places (erofs_layout.c). Private to the writer. */
#pragma once

#include "tree/arena.h"
#include "tree/erofs.h"
#include "tree/node.h"

/* A name with a value as some inodes have it, once for the image. */
typedef struct {
    const char *name, *suffix; /* the suffix is what follows the prefix that `index` stands for */
    const uint8_t *value;
    uint32_t size, uses, hash;
    uint8_t index;
    uint32_t filter_bit;
    bool shared;
    uint32_t offset; /* in the shared area */
} PlanXattr;

typedef struct {
    const char *name;
    uint32_t length;
    uint32_t number; /* of the inode; for names of tree nodes only known when all are numbered */
    Inode *inode;    /* NULL: `number` counts already ("." and "..", stubs) */
    bool first;      /* this name makes the inode */
} PlanDirent;

typedef struct {
    const TreeNode *node; /* NULL: a stub */
    const uint8_t *content;
    const char *target;
    uint32_t mode, uid, gid, nlink, rdev, mtime_nsec;
    int64_t mtime;
    uint64_t size; /* as declared; of directories: i_size */
    uint32_t parent, first_dirent, n_dirents;
    PlanXattr **xattrs; /* sorted by name */
    uint32_t n_xattrs;
    bool whiteout, has_whiteouts; /* an escaped one; a directory that has some */
    bool external;                /* regular with bytes elsewhere: chunk layout */
    bool extended;
    uint8_t chunk_bits;
    uint32_t tail, xattr_size;
    uint64_t n_blocks, position, first_block;
} PlanInode;

typedef struct {
    Tree *tree;
    Arena arena;
    int version;
    GArray *inodes;  /* PlanInode, in the image's order: number = index */
    GArray *dirents; /* PlanDirent, each directory's in a row */
    GPtrArray *xattrs;
    PlanXattr **table; /* open addressing over `xattrs` */
    uint32_t table_size;
    bool has_acl;
    GPtrArray *shared; /* PlanXattr, in the order of the shared area */
    int64_t min_mtime;
    uint32_t min_nsec;
    uint64_t shared_start, shared_size, total_blocks;
} Plan;

static inline PlanInode *plan_inode(const Plan *plan, uint32_t number)
{
    return &g_array_index(plan->inodes, PlanInode, number);
}

static inline PlanDirent *plan_dirent(const Plan *plan, uint32_t index)
{
    return &g_array_index(plan->dirents, PlanDirent, index);
}

/* How many of the first entries go into one block, and their bytes. */
uint32_t plan_fill_block(const PlanDirent *dirents, uint32_t n, uint32_t *out_bytes);

bool plan_xattrs(Plan *plan, GError **error);
bool plan_place(Plan *plan, GError **error);
GBytes *plan_emit(const Plan *plan);
/* Throws ERROR_INVALID with the node's path. */
bool plan_throw(const PlanInode *inode, GError **error, const char *reason);
