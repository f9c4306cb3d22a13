/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The objects that an image needs, without making a tree of it: what garbage collection asks of every image.
 *
 * How it works: each inode that a directory names is looked at once; a bit per possible place says which were. It is
 * hostile input: every access goes through at(), and what is read counts against the image's size.
 * What is wrong but names no object is not noticed here; tree_read_image() is the judge of that.
 */
#include "tree/erofs.h"

typedef struct {
    const uint8_t *image;
    uint64_t size, xattr_start;
    uint8_t *seen; /* a bit per nid */
    GArray *dirs;  /* uint64_t: nids of directories to be read */
    uint64_t budget;
    TreeObjectFunc visit;
    void *data;
} Scan;

typedef struct {
    uint64_t offset, size;
    uint32_t mode, u, head, xattr_size;
    int layout;
} ScanInode;

static bool corrupt(GError **error, const char *reason)
{
    return error_throw(error, ERROR_CORRUPT, "the image is damaged: %s", reason);
}

static const uint8_t *at(const Scan *scan, uint64_t offset, uint64_t size, GError **error)
{
    if (offset <= scan->size && size <= scan->size - offset)
        return scan->image + offset;
    corrupt(error, "something lies outside");
    return NULL;
}

static bool read_inode(const Scan *scan, uint64_t nid, ScanInode *out, GError **error)
{
    const uint8_t *p = at(scan, nid * EROFS_SLOT, EROFS_COMPACT_SIZE, error);
    if (!p)
        return false;
    uint16_t format = get16(p), icount = get16(p + 2);
    bool extended = format & 1;
    uint32_t xattr_size = icount ? EROFS_XATTR_HEADER_SIZE + 4 * (uint32_t)(icount - 1) : 0;
    uint32_t own = extended ? EROFS_EXTENDED_SIZE : EROFS_COMPACT_SIZE;
    if (!at(scan, nid * EROFS_SLOT, own + xattr_size, error))
        return false;
    *out = (ScanInode){
        .offset = nid * EROFS_SLOT,
        .size = extended ? get64(p + 8) : get32(p + 8),
        .mode = get16(p + 4),
        .u = get32(p + 16),
        .head = own + xattr_size,
        .xattr_size = xattr_size,
        .layout = format >> 1 & 7,
    };
    return true;
}

/* In a real image no two inodes or directories have bytes in common. */
static bool spend(Scan *scan, uint64_t bytes, GError **error)
{
    if (bytes > scan->budget)
        return corrupt(error, "it refers to the same bytes too often");
    scan->budget -= bytes;
    return true;
}

/* --- files ---------------------------------------------------------------------------------------------- */

/* The two attributes by which overlayfs finds a file's bytes: the digest, and the path in the data layer (all there is
 * in images made without digests). */
static bool take_attribute(const Scan *scan, const uint8_t *name, size_t length,
                           const uint8_t *value, size_t size, GError **error)
{
    static const char metacopy[] = OVERLAY_METACOPY, redirect[] = OVERLAY_REDIRECT;
    static const uint8_t header[4] = {0, 4 + DIGEST_SIZE, 0, 1};
    const size_t trusted = strlen("trusted.");
    Digest object;
    if (length == strlen(metacopy) - trusted && memcmp(name, metacopy + trusted, length) == 0) {
        if (size == 0)
            return true;
        if (size != sizeof header + DIGEST_SIZE || memcmp(value, header, sizeof header) != 0)
            return corrupt(error, "a file has a digest of an unknown kind");
        memcpy(object.bytes, value + sizeof header, DIGEST_SIZE);
        return scan->visit(&object, scan->data, error);
    }
    if (length != strlen(redirect) - trusted || memcmp(name, redirect + trusted, length) != 0)
        return true;
    for (; size > 0 && *value == '/'; size--)
        value++;
    char hex[DIGEST_HEX_SIZE] = {0};
    if (size != DIGEST_HEX_SIZE || value[2] != '/')
        return true; /* leads elsewhere: not to an object of ours */
    memcpy(hex, value, 2);
    memcpy(hex + 2, value + 3, DIGEST_HEX_SIZE - 3);
    return !digest_parse(hex, &object) || scan->visit(&object, scan->data, error);
}

/* The end of the entry at `offset`, which has to come before `limit`; 0 on failure. */
static uint64_t read_entry(const Scan *scan, uint64_t offset, uint64_t limit, GError **error)
{
    enum { INDEX_NONE = 0, INDEX_TRUSTED = 4 };
    const uint8_t *p = at(scan, offset, 4, error);
    if (!p)
        return 0;
    uint32_t length = p[0], size = get16(p + 2);
    uint64_t end = offset + round_up(4 + length + size, 4);
    const uint8_t *name = at(scan, offset + 4, length + size, error);
    if (!name)
        return 0;
    const uint8_t *value = name + length;
    if (end > limit) {
        corrupt(error, "an extended attribute is not well formed");
        return 0;
    }
    if (p[1] == INDEX_NONE && length > 8 && memcmp(name, "trusted.", 8) == 0) {
        name += 8;
        length -= 8;
    } else if (p[1] != INDEX_TRUSTED) {
        return end;
    }
    return take_attribute(scan, name, length, value, size, error) ? end : 0;
}

static bool read_attributes(const Scan *scan, const ScanInode *inode, GError **error)
{
    if (inode->xattr_size == 0)
        return true;
    uint64_t end = inode->offset + inode->head, start = end - inode->xattr_size;
    uint32_t n_shared = scan->image[start + 4];
    uint64_t entry = start + EROFS_XATTR_HEADER_SIZE + 4 * n_shared;
    if (entry > end)
        return corrupt(error, "a list of extended attributes is too long");
    while (entry < end)
        if (!(entry = read_entry(scan, entry, end, error)))
            return false;
    const uint8_t *id = scan->image + start + EROFS_XATTR_HEADER_SIZE;
    for (uint32_t i = 0; i < n_shared; i++, id += 4)
        if (!read_entry(scan, scan->xattr_start + (uint64_t)get32(id) * 4, UINT64_MAX, error))
            return false;
    return true;
}

/* --- directories ---------------------------------------------------------------------------------------- */

static bool take_name(Scan *scan, uint64_t nid, GError **error)
{
    ScanInode inode;
    if (nid > scan->size / EROFS_SLOT)
        return corrupt(error, "an inode lies outside");
    uint8_t bit = (uint8_t)(1 << nid % 8);
    if (scan->seen[nid / 8] & bit)
        return true;
    scan->seen[nid / 8] |= bit;
    if (!read_inode(scan, nid, &inode, error) || !spend(scan, inode.head, error))
        return false;
    if (S_ISDIR(inode.mode))
        g_array_append_val(scan->dirs, nid);
    return !S_ISREG(inode.mode) || read_attributes(scan, &inode, error);
}

static bool is_dots(const uint8_t *name, uint32_t length)
{
    return name[0] == '.' &&
           (length < 2 || name[1] == '\0' || (name[1] == '.' && (length < 3 || name[2] == '\0')));
}

static bool read_block(Scan *scan, const uint8_t *block, uint32_t size, GError **error)
{
    uint32_t names = size >= EROFS_DIRENT_SIZE ? get16(block + 8) : 0;
    if (names < EROFS_DIRENT_SIZE || names % EROFS_DIRENT_SIZE != 0 || names > size)
        return corrupt(error, "a directory is not well formed");
    if (!spend(scan, size, error))
        return false;
    for (const uint8_t *p = block; p < block + names; p += EROFS_DIRENT_SIZE) {
        uint32_t start = get16(p + 8);
        uint32_t end =
            p + EROFS_DIRENT_SIZE < block + names ? get16(p + EROFS_DIRENT_SIZE + 8) : size;
        if (start < names || end <= start || end > size)
            return corrupt(error, "a directory is not well formed");
        if (!is_dots(block + start, end - start) && !take_name(scan, get64(p), error))
            return false;
    }
    return true;
}

static bool read_dir(Scan *scan, uint64_t nid, GError **error)
{
    ScanInode dir;
    if (!read_inode(scan, nid, &dir, error))
        return false;
    if (dir.layout != EROFS_LAYOUT_PLAIN && dir.layout != EROFS_LAYOUT_INLINE)
        return corrupt(error, "a directory has an unknown layout");
    if (dir.size > scan->size)
        return corrupt(error, "a directory is larger than the image");
    uint64_t tail =
        dir.layout == EROFS_LAYOUT_INLINE ? dir.size / EROFS_BLOCK * EROFS_BLOCK : UINT64_MAX;
    for (uint64_t from = 0; from < dir.size; from += EROFS_BLOCK) {
        uint32_t length = (uint32_t)MIN(EROFS_BLOCK, dir.size - from);
        uint64_t offset =
            from >= tail ? dir.offset + dir.head : (uint64_t)dir.u * EROFS_BLOCK + from;
        const uint8_t *block = at(scan, offset, length, error);
        if (!block || !read_block(scan, block, length, error))
            return false;
    }
    return true;
}

bool tree_is_image(const void *head, size_t size)
{
    return size >= 4 && get32(head) == COMPOSEFS_MAGIC;
}

bool tree_image_each_object(GBytes *image, TreeObjectFunc visit, void *data, GError **error)
{
    Scan scan = {.visit = visit, .data = data};
    scan.image = g_bytes_get_data(image, &scan.size);
    scan.budget = scan.size;
    const uint8_t *super = at(&scan, EROFS_SUPER_OFFSET, EROFS_BLOCK - EROFS_SUPER_OFFSET, error);
    if (!super)
        return false;
    if (get32(scan.image) != COMPOSEFS_MAGIC || get32(super) != EROFS_MAGIC || super[12] != 12 ||
        get32(super + 40) != 0)
        return error_throw(error, ERROR_CORRUPT, "this is not a composefs image");
    scan.xattr_start = (uint64_t)get32(super + 44) * EROFS_BLOCK;
    g_autoptr(GArray) dirs = g_array_new(false, false, sizeof(uint64_t));
    g_autofree uint8_t *seen = g_malloc0(scan.size / EROFS_SLOT / 8 + 1);
    scan.dirs = dirs;
    scan.seen = seen;
    if (!take_name(&scan, get16(super + 14), error))
        return false;
    if (dirs->len == 0)
        return corrupt(error, "the root is not a directory");
    while (dirs->len > 0) {
        uint64_t nid = g_array_index(dirs, uint64_t, dirs->len - 1);
        g_array_set_size(dirs, dirs->len - 1);
        if (!read_dir(&scan, nid, error))
            return false;
    }
    return true;
}
