/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Places. An inode is followed by its xattrs and its tail (the last part of its data), and a tail never crosses a
 * block; what doesn't fit there is in whole blocks behind all inodes. */
#include "tree/erofs_plan.h"

/* Full blocks and tail, before it is known where the inode lies; of directories they are known already. */
static bool measure_data(const Plan *plan, PlanInode *inode, GError **error)
{
    const TreeInode *from = plan_tree_inode(plan, inode);
    if (!inode->node || inode->whiteout)
        return true;
    if (S_ISLNK(from->mode)) {
        inode->tail = (uint16_t)strlen(from->target);
    } else if (inode->chunk_bits) {
        uint64_t chunks = ((from->size - 1) >> inode->chunk_bits) + 1;
        if (chunks > EROFS_BLOCK / 4)
            return plan_throw(inode->node, error, "the file is too large");
        inode->tail = (uint16_t)(chunks * 4);
    } else if (S_ISREG(from->mode) && from->content) {
        inode->n_blocks = (uint32_t)(from->size / EROFS_BLOCK);
        inode->tail = from->size % EROFS_BLOCK;
        if (inode->tail > EROFS_BLOCK / 2) {
            inode->n_blocks++;
            inode->tail = 0;
        }
    }
    return true;
}

/* Compact inodes are for what most have: the image's time, small numbers. */
static bool is_extended(const Plan *plan, const PlanInode *inode)
{
    const TreeInode *from = plan_tree_inode(plan, inode);
    uint64_t size = inode->node && !inode->whiteout ? from->size : 0;
    if (inode->node && S_ISDIR(from->mode))
        size = (uint64_t)inode->n_blocks * EROFS_BLOCK + inode->tail;
    return from->mtime != plan->min_mtime || from->mtime_nsec != plan->min_nsec ||
           inode->nlink > UINT16_MAX || from->uid > UINT16_MAX || from->gid > UINT16_MAX ||
           size > UINT32_MAX;
}

static uint64_t place_inode(PlanInode *inode, uint64_t at)
{
    uint32_t head =
        (inode->extended ? EROFS_EXTENDED_SIZE : EROFS_COMPACT_SIZE) + inode->xattr_size;
    at = round_up(at, EROFS_SLOT);
    if (inode->type == 7) {
        /* kernels before 6.12 refuse a symlink whose inode and target lie in two blocks */
        uint64_t total = head + inode->tail;
        if (total >= EROFS_BLOCK) {
            inode->n_blocks++;
            inode->tail = 0;
        }
        if (at / EROFS_BLOCK != (at + total - 1) / EROFS_BLOCK)
            at = round_up(at, EROFS_BLOCK);
    } else {
        uint32_t rest = EROFS_BLOCK - (uint32_t)((at + head) % EROFS_BLOCK);
        if (rest < inode->tail) {
            uint64_t pad = round_up(rest, EROFS_SLOT);
            if (inode->tail <= EROFS_BLOCK - (at + head + pad) % EROFS_BLOCK) {
                at += pad;
            } else {
                inode->n_blocks++;
                inode->tail = 0;
                at = round_up(at, EROFS_BLOCK);
            }
        }
    }
    inode->slot = (uint32_t)(at / EROFS_SLOT);
    return at + head + inode->tail;
}

bool plan_place(Plan *plan, GError **error)
{
    uint64_t at = EROFS_FIRST_INODE;
    for (uint32_t i = 0; i < plan->inodes->len; i++) {
        PlanInode *inode = plan_inode(plan, i);
        if (!measure_data(plan, inode, error))
            return false;
        inode->extended = is_extended(plan, inode);
        at = place_inode(inode, at);
    }
    plan->shared_start = round_up(at, EROFS_SLOT);
    uint64_t block = round_up(plan->shared_start + plan->shared_size, EROFS_BLOCK) / EROFS_BLOCK;
    for (uint32_t i = 0; i < plan->inodes->len; i++) {
        PlanInode *inode = plan_inode(plan, i);
        inode->first_block = inode->n_blocks ? (uint32_t)block : 0;
        block += inode->n_blocks;
    }
    plan->total_blocks = block;
    if (at / EROFS_SLOT > UINT32_MAX || block > UINT32_MAX)
        return plan_throw(plan->tree->root, error, "the image is too large");
    return true;
}
