/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Places and bytes. An inode is followed by its xattrs and its tail (the last part of its data), and a tail never
 * crosses a block; what doesn't fit there is in whole blocks behind all inodes. */
#include "tree/erofs_plan.h"

/* --- places --------------------------------------------------------------------------------------------- */

static uint8_t chunk_bits_of(uint64_t size)
{
    uint8_t bits = 12;
    while (bits < 43 && size > (uint64_t)1 << bits)
        bits++;
    return bits;
}

/* Full blocks and tail, before it is known where the inode lies. */
static bool measure_data(PlanInode *inode, GError **error)
{
    if (S_ISDIR(inode->mode))
        return true;
    if (inode->target) {
        inode->tail = (uint32_t)inode->size;
    } else if (inode->content) {
        inode->n_blocks = inode->size / EROFS_BLOCK;
        inode->tail = inode->size % EROFS_BLOCK;
        if (inode->tail > EROFS_BLOCK / 2) {
            inode->n_blocks++;
            inode->tail = 0;
        }
    } else if (inode->external) {
        inode->chunk_bits = chunk_bits_of(inode->size);
        uint64_t chunks = (inode->size - 1) / ((uint64_t)1 << inode->chunk_bits) + 1;
        if (chunks > EROFS_BLOCK / 4)
            return plan_throw(inode, error, "the file is too large");
        inode->tail = (uint32_t)chunks * 4;
    }
    return true;
}

static uint32_t header_size(const PlanInode *inode)
{
    return (inode->extended ? EROFS_EXTENDED_SIZE : EROFS_COMPACT_SIZE) + inode->xattr_size;
}

static uint64_t place_inode(PlanInode *inode, uint64_t at)
{
    uint32_t head = header_size(inode);
    at = round_up(at, EROFS_SLOT);
    if (inode->target) {
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
    inode->position = at;
    return at + head + inode->tail;
}

bool plan_place(Plan *plan, GError **error)
{
    uint64_t at = EROFS_FIRST_INODE;
    for (uint32_t i = 0; i < plan->inodes->len; i++) {
        PlanInode *inode = plan_inode(plan, i);
        inode->extended = inode->mtime != plan->min_mtime || inode->mtime_nsec != plan->min_nsec ||
                          inode->nlink > UINT16_MAX || inode->uid > UINT16_MAX ||
                          inode->gid > UINT16_MAX || inode->size > UINT32_MAX;
        if (!measure_data(inode, error))
            return false;
        at = place_inode(inode, at);
    }
    plan->shared_start = round_up(at, EROFS_SLOT);
    uint64_t block = round_up(plan->shared_start + plan->shared_size, EROFS_BLOCK) / EROFS_BLOCK;
    for (uint32_t i = 0; i < plan->inodes->len; i++) {
        PlanInode *inode = plan_inode(plan, i);
        inode->first_block = inode->n_blocks ? block : 0;
        block += inode->n_blocks;
    }
    plan->total_blocks = block;
    if (block > UINT32_MAX)
        return plan_throw(plan_inode(plan, 0), error, "the image is too large");
    return true;
}

/* --- bytes ---------------------------------------------------------------------------------------------- */

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
    put16(super + 14, (uint16_t)(plan_inode(plan, 0)->position / EROFS_SLOT));
    put64(super + 16, plan->inodes->len);
    put64(super + 24, (uint64_t)plan->min_mtime);
    put32(super + 32, plan->min_nsec);
    put32(super + 36, (uint32_t)plan->total_blocks);
    put32(super + 44, (uint32_t)(plan->shared_start / EROFS_BLOCK));
}

static uint8_t *emit_xattr(uint8_t *p, const PlanXattr *xattr)
{
    size_t length = strlen(xattr->suffix);
    p[0] = (uint8_t)length;
    p[1] = xattr->index;
    put16(p + 2, (uint16_t)xattr->size);
    memcpy(p + 4, xattr->suffix, length);
    if (xattr->size)
        memcpy(p + 4 + length, xattr->value, xattr->size);
    return p + round_up(4 + length + xattr->size, 4);
}

static void emit_inode_xattrs(const Plan *plan, const PlanInode *inode, uint8_t *p)
{
    if (inode->n_xattrs == 0)
        return;
    uint32_t filter = UINT32_MAX, n_shared = 0;
    uint8_t *ids = p + EROFS_XATTR_HEADER_SIZE;
    for (uint32_t i = 0; i < inode->n_xattrs; i++) {
        const PlanXattr *xattr = inode->xattrs[i];
        filter &= ~(UINT32_C(1) << xattr->filter_bit);
        if (xattr->shared && n_shared < EROFS_SHARED_MAX)
            put32(ids + 4 * n_shared++,
                  (uint32_t)((plan->shared_start % EROFS_BLOCK + xattr->offset) / 4));
    }
    put32(p, filter);
    p[4] = (uint8_t)n_shared;
    uint8_t *entry = ids + 4 * n_shared;
    uint32_t seen = 0;
    for (uint32_t i = 0; i < inode->n_xattrs; i++) {
        const PlanXattr *xattr = inode->xattrs[i];
        if (!xattr->shared || seen++ >= EROFS_SHARED_MAX)
            entry = emit_xattr(entry, xattr);
    }
}

static uint8_t file_type(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return 1;
    case S_IFDIR:
        return 2;
    case S_IFCHR:
        return 3;
    case S_IFBLK:
        return 4;
    case S_IFIFO:
        return 5;
    case S_IFSOCK:
        return 6;
    default:
        return 7; /* symlink */
    }
}

static void emit_dirents(const Plan *plan, const PlanDirent *dirents, uint32_t n, uint8_t *block)
{
    uint32_t name_at = n * EROFS_DIRENT_SIZE;
    for (uint32_t i = 0; i < n; i++) {
        const PlanInode *inode = plan_inode(plan, dirents[i].number);
        uint8_t *p = block + i * EROFS_DIRENT_SIZE;
        put64(p, inode->position / EROFS_SLOT);
        put16(p + 8, (uint16_t)name_at);
        p[10] = file_type(inode->mode);
        memcpy(block + name_at, dirents[i].name, dirents[i].length);
        name_at += dirents[i].length;
    }
}

static void emit_dir(const Plan *plan, const PlanInode *inode, uint8_t *blocks, uint8_t *tail)
{
    const PlanDirent *dirents = plan_dirent(plan, inode->first_dirent);
    uint32_t n = inode->n_dirents, bytes;
    for (uint64_t b = 0; b <= inode->n_blocks && n > 0; b++) {
        uint32_t used = plan_fill_block(dirents, n, &bytes);
        emit_dirents(plan, dirents, used, b < inode->n_blocks ? blocks + b * EROFS_BLOCK : tail);
        dirents += used;
        n -= used;
    }
}

static void emit_data(const Plan *plan, const PlanInode *inode, uint8_t *blocks, uint8_t *tail)
{
    if (S_ISDIR(inode->mode)) {
        emit_dir(plan, inode, blocks, tail);
    } else if (inode->target) {
        memcpy(inode->n_blocks ? blocks : tail, inode->target, inode->size);
    } else if (inode->content) {
        uint64_t head = inode->size - inode->tail;
        memcpy(blocks, inode->content, head);
        memcpy(tail, inode->content + head, inode->tail);
    } else if (inode->external) {
        if (inode->n_blocks)
            memset(blocks, 0xff, EROFS_BLOCK);
        else
            memset(tail, 0xff, inode->tail);
    }
}

static void emit_inode(const Plan *plan, uint32_t number, uint8_t *image)
{
    const PlanInode *inode = plan_inode(plan, number);
    uint8_t *p = image + inode->position;
    int layout = inode->external ? EROFS_LAYOUT_CHUNK
                 : inode->tail   ? EROFS_LAYOUT_INLINE
                                 : EROFS_LAYOUT_PLAIN;
    bool sized = S_ISDIR(inode->mode) || S_ISREG(inode->mode) || S_ISLNK(inode->mode);
    uint64_t size = sized ? inode->size : 0;
    uint32_t u =
        S_ISCHR(inode->mode) || S_ISBLK(inode->mode) ? inode->rdev : (uint32_t)inode->first_block;
    if (inode->external)
        u = (u & 0xffff0000u) | (uint32_t)(inode->chunk_bits - 12);
    put16(p, (uint16_t)((inode->extended ? 1 : 0) | layout << 1));
    put16(p + 2,
          (uint16_t)(inode->n_xattrs ? (inode->xattr_size - EROFS_XATTR_HEADER_SIZE) / 4 + 1 : 0));
    put16(p + 4, (uint16_t)inode->mode);
    if (inode->extended) {
        put64(p + 8, size);
        put32(p + 16, u);
        put32(p + 20, number);
        put32(p + 24, inode->uid);
        put32(p + 28, inode->gid);
        put64(p + 32, (uint64_t)inode->mtime);
        put32(p + 40, inode->mtime_nsec);
        put32(p + 44, inode->nlink);
    } else {
        put16(p + 6, (uint16_t)inode->nlink);
        put32(p + 8, (uint32_t)size);
        put32(p + 16, u);
        put32(p + 20, number);
        put16(p + 24, (uint16_t)inode->uid);
        put16(p + 26, (uint16_t)inode->gid);
    }
    uint32_t head = header_size(inode);
    emit_inode_xattrs(plan, inode, p + head - inode->xattr_size);
    emit_data(plan, inode, image + inode->first_block * EROFS_BLOCK, p + head);
}

GBytes *plan_emit(const Plan *plan)
{
    size_t size = plan->total_blocks * EROFS_BLOCK;
    uint8_t *image = g_malloc0(size);
    emit_super(plan, image);
    for (uint32_t i = 0; i < plan->inodes->len; i++)
        emit_inode(plan, i, image);
    uint8_t *p = image + plan->shared_start;
    for (guint i = 0; i < plan->shared->len; i++)
        p = emit_xattr(p, g_ptr_array_index(plan->shared, i));
    return g_bytes_new_take(image, size);
}
