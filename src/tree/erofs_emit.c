/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bytes of a plan in which everything has its place. */
#include "tree/erofs_plan.h"

typedef struct {
    const Plan *plan;
    uint8_t *image;
    uint32_t *list; /* an inode's xattrs */
} Emitter;

static void emit_super(const Plan *plan, uint8_t *image)
{
    put32(image, COMPOSEFS_MAGIC);
    put32(image + 4, 1);
    put32(image + 8, plan->has_acl ? COMPOSEFS_FLAG_ACL : 0);
    put32(image + 12, (uint32_t)plan->version);
    uint8_t *super = image + EROFS_SUPER_OFFSET;
    put32(super, EROFS_MAGIC);
    put32(super + 8, 2 | 4); /* compatible features: mtime, xattr filter */
    super[12] = 12;          /* log2 of the block size */
    put16(super + 14, (uint16_t)plan_inode(plan, 0)->slot);
    put64(super + 16, plan->inodes->len);
    put64(super + 24, (uint64_t)plan->min_mtime);
    put32(super + 32, plan->min_nsec);
    put32(super + 36, (uint32_t)plan->total_blocks);
    put32(super + 44, (uint32_t)(plan->shared_start / EROFS_BLOCK));
}

/* --- xattrs --------------------------------------------------------------------------------------------- */

static uint8_t *emit_xattr(uint8_t *p, const PlanXattr *xattr)
{
    uint32_t length = (uint32_t)(xattr->name_size - xattr->suffix_at);
    uint8_t buffer[PLAN_REDIRECT_SIZE];
    p[0] = (uint8_t)length;
    p[1] = xattr->index;
    put16(p + 2, xattr->size);
    memcpy(p + 4, xattr->name + xattr->suffix_at, length);
    if (xattr->size)
        memcpy(p + 4 + length, plan_xattr_value(xattr, buffer), xattr->size);
    return p + plan_xattr_entry(xattr);
}

static void emit_inode_xattrs(const Emitter *emitter, const PlanInode *inode, uint8_t *p)
{
    const Plan *plan = emitter->plan;
    uint32_t n = plan_list_xattrs(inode, emitter->list);
    uint32_t filter = UINT32_MAX, n_shared = 0;
    uint8_t *ids = p + EROFS_XATTR_HEADER_SIZE;
    for (uint32_t i = 0; i < n; i++) {
        const PlanXattr *xattr = plan_xattr(plan, emitter->list[i]);
        filter &= ~(UINT32_C(1) << xattr->filter_bit);
        if (xattr->uses > 1 && n_shared < EROFS_SHARED_MAX)
            put32(ids + 4 * n_shared++,
                  (uint32_t)((plan->shared_start % EROFS_BLOCK + xattr->offset) / 4));
    }
    put32(p, filter);
    p[4] = (uint8_t)n_shared;
    uint8_t *entry = ids + 4 * n_shared;
    uint32_t seen = 0;
    for (uint32_t i = 0; i < n; i++) {
        const PlanXattr *xattr = plan_xattr(plan, emitter->list[i]);
        if (xattr->uses <= 1 || seen++ >= EROFS_SHARED_MAX)
            entry = emit_xattr(entry, xattr);
    }
}

/* --- directories ---------------------------------------------------------------------------------------- */

static uint32_t number_of(const Plan *plan, uint32_t dir, const PlanDirent *entry)
{
    if (entry->child)
        return inode_of(entry->child)->number;
    return entry->extra == 0   ? dir
           : entry->extra == 1 ? plan_inode(plan, dir)->parent
                               : plan->stubs[entry->extra - 2];
}

static void emit_block(const Plan *plan, uint32_t dir, const PlanDirent *entries, uint32_t n,
                       uint8_t *block)
{
    uint32_t name_at = n * EROFS_DIRENT_SIZE;
    for (uint32_t i = 0; i < n; i++) {
        const PlanInode *inode = plan_inode(plan, number_of(plan, dir, &entries[i]));
        uint8_t *p = block + i * EROFS_DIRENT_SIZE;
        put64(p, inode->slot);
        put16(p + 8, (uint16_t)name_at);
        p[10] = inode->type;
        memcpy(block + name_at, entries[i].name, entries[i].length);
        name_at += entries[i].length;
    }
}

static void emit_dir(const Plan *plan, uint32_t number, uint8_t *blocks, uint8_t *tail)
{
    const PlanInode *inode = plan_inode(plan, number);
    PlanDirents entries;
    PlanDirent block[EROFS_BLOCK / EROFS_DIRENT_SIZE], entry;
    PlanExtent extent = {0};
    uint32_t n = 0;
    plan_dirents_start(&entries, inode->node);
    while (plan_dirents_next(&entries, &entry)) {
        if (plan_extent_add(&extent, entry.length)) {
            emit_block(plan, number, block, n, blocks + (extent.blocks - 1) * EROFS_BLOCK);
            n = 0;
        }
        block[n++] = entry;
    }
    emit_block(plan, number, block, n,
               extent.blocks < inode->n_blocks ? blocks + extent.blocks * EROFS_BLOCK : tail);
}

/* --- inodes --------------------------------------------------------------------------------------------- */

static void emit_data(const Emitter *emitter, uint32_t number, uint8_t *tail)
{
    const PlanInode *inode = plan_inode(emitter->plan, number);
    const TreeInode *from = plan_tree_inode(emitter->plan, inode);
    uint8_t *blocks = emitter->image + (uint64_t)inode->first_block * EROFS_BLOCK;
    if (!inode->node || inode->whiteout)
        return;
    if (S_ISDIR(from->mode)) {
        emit_dir(emitter->plan, number, blocks, tail);
    } else if (S_ISLNK(from->mode)) {
        memcpy(inode->n_blocks ? blocks : tail, from->target, strlen(from->target));
    } else if (inode->chunk_bits) { /* chunks that are nowhere */
        memset(inode->n_blocks ? blocks : tail, 0xff, inode->n_blocks ? EROFS_BLOCK : inode->tail);
    } else if (S_ISREG(from->mode) && from->content) {
        uint64_t head = from->size - inode->tail;
        memcpy(blocks, from->content, head);
        memcpy(tail, from->content + head, inode->tail);
    }
}

static uint64_t size_of(const PlanInode *inode, const TreeInode *from)
{
    if (!inode->node || inode->whiteout)
        return 0;
    switch (from->mode & S_IFMT) {
    case S_IFDIR:
        return (uint64_t)inode->n_blocks * EROFS_BLOCK + inode->tail;
    case S_IFREG:
        return from->size;
    case S_IFLNK:
        return strlen(from->target);
    default:
        return 0;
    }
}

static void emit_inode(const Emitter *emitter, uint32_t number)
{
    const PlanInode *inode = plan_inode(emitter->plan, number);
    const TreeInode *from = plan_tree_inode(emitter->plan, inode);
    uint8_t *p = emitter->image + (uint64_t)inode->slot * EROFS_SLOT;
    uint32_t mode = !inode->node      ? S_IFCHR | 0644
                    : inode->whiteout ? S_IFREG | (from->mode & 07777)
                                      : from->mode;
    int layout = inode->chunk_bits ? EROFS_LAYOUT_CHUNK
                 : inode->tail     ? EROFS_LAYOUT_INLINE
                                   : EROFS_LAYOUT_PLAIN;
    uint64_t size = size_of(inode, from);
    uint32_t u =
        inode->node && (S_ISCHR(mode) || S_ISBLK(mode)) ? (uint32_t)from->rdev : inode->first_block;
    if (inode->chunk_bits)
        u = (u & 0xffff0000u) | (uint32_t)(inode->chunk_bits - 12);
    put16(p, (uint16_t)((inode->extended ? 1 : 0) | layout << 1));
    if (inode->xattr_size)
        put16(p + 2, (uint16_t)((inode->xattr_size - EROFS_XATTR_HEADER_SIZE) / 4 + 1));
    put16(p + 4, (uint16_t)mode);
    if (inode->extended) {
        put64(p + 8, size);
        put32(p + 16, u);
        put32(p + 20, number);
        put32(p + 24, from->uid);
        put32(p + 28, from->gid);
        put64(p + 32, (uint64_t)from->mtime);
        put32(p + 40, from->mtime_nsec);
        put32(p + 44, inode->nlink);
        p += EROFS_EXTENDED_SIZE;
    } else {
        put16(p + 6, (uint16_t)inode->nlink);
        put32(p + 8, (uint32_t)size);
        put32(p + 16, u);
        put32(p + 20, number);
        put16(p + 24, (uint16_t)from->uid);
        put16(p + 26, (uint16_t)from->gid);
        p += EROFS_COMPACT_SIZE;
    }
    if (inode->xattr_size)
        emit_inode_xattrs(emitter, inode, p);
    emit_data(emitter, number, p + inode->xattr_size);
}

GBytes *plan_emit(const Plan *plan)
{
    size_t size = plan->total_blocks * EROFS_BLOCK;
    g_autofree uint32_t *list = g_new(uint32_t, plan->most_xattrs);
    Emitter emitter = {.plan = plan, .image = g_malloc0(size), .list = list};
    emit_super(plan, emitter.image);
    for (uint32_t i = 0; i < plan->inodes->len; i++)
        emit_inode(&emitter, i);
    uint8_t *p = emitter.image + plan->shared_start;
    for (uint32_t i = 0; i < plan->n_shared; i++)
        p = emit_xattr(p, plan_xattr(plan, plan->shared[i]));
    return g_bytes_new_take(emitter.image, size);
}
