/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: the directories are walked from the root, each inode is read once (names of one nid are hard links).
 *
 * The image is hostile input. Every access goes through at(), which checks that the bytes are inside. An image could
 * also be small and mean much: many directories over the same block, overlapping inodes, many with the same content. In
 * a real one every inode has its own bytes, so what is read is counted against the image's size (`budget`), and with
 * that both memory and time are linear in it. Names must ascend, which also keeps a directory from naming one twice.
 * Layouts of all versions of composefs are understood; only the writer cares which.
 */
#include "tree/erofs.h"
#include "tree/node.h"

typedef struct {
    const uint8_t *image;
    uint64_t size, xattr_start;
    int64_t build_time;
    uint32_t build_nsec;
    uint32_t version;
    Tree *tree;
    TreeNode **nodes;   /* by nid: what was read from there, under its first name */
    GHashTable *shared; /* offset (boxed) -> interned TreeXattr */
    GPtrArray *pairs;   /* of the inode at hand */
    uint64_t budget;
} Reader;

typedef struct {
    uint64_t nid, offset, size, mtime;
    uint32_t mode, uid, gid, nlink, u, nsec, head, xattr_size;
    int layout;
    bool extended;
} RawInode;

/* One as it lies there. */
typedef struct {
    char name[32 + 256]; /* in full */
    const uint8_t *value;
    uint32_t size;
    uint64_t end;
} RawXattr;

/* Marks on the inode that are not kept as xattrs. */
typedef struct {
    TreeInode *inode;
    bool whiteout, has_whiteouts;
    const uint8_t *redirect;
    uint32_t redirect_size;
} Marks;

static bool corrupt(GError **error, const char *reason)
{
    return error_throw(error, ERROR_CORRUPT, "the image is damaged: %s", reason);
}

static const uint8_t *at(const Reader *reader, uint64_t offset, uint64_t size, GError **error)
{
    if (offset > reader->size || size > reader->size - offset) {
        corrupt(error, "something lies outside");
        return NULL;
    }
    return reader->image + offset;
}

static bool spend(Reader *reader, uint64_t bytes, GError **error)
{
    if (bytes > reader->budget)
        return corrupt(error, "it refers to the same bytes too often");
    reader->budget -= bytes;
    return true;
}

/* --- inodes --------------------------------------------------------------------------------------------- */

static bool read_inode(const Reader *reader, uint64_t nid, RawInode *out, GError **error)
{
    if (nid > reader->size / EROFS_SLOT)
        return corrupt(error, "an inode lies outside");
    const uint8_t *p = at(reader, nid * EROFS_SLOT, EROFS_COMPACT_SIZE, error);
    if (!p)
        return false;
    uint16_t format = get16(p), icount = get16(p + 2);
    *out = (RawInode){
        .nid = nid,
        .offset = nid * EROFS_SLOT,
        .mode = get16(p + 4),
        .extended = format & 1,
        .layout = format >> 1 & 7,
        .u = get32(p + 16),
    };
    if (format >> 4)
        return corrupt(error, "an inode has an unknown format");
    if (out->extended) {
        if (!at(reader, out->offset, EROFS_EXTENDED_SIZE, error))
            return false;
        out->size = get64(p + 8);
        out->uid = get32(p + 24);
        out->gid = get32(p + 28);
        out->mtime = get64(p + 32);
        out->nsec = get32(p + 40);
        out->nlink = get32(p + 44);
    } else {
        out->nlink = get16(p + 6);
        out->size = get32(p + 8);
        out->uid = get16(p + 24);
        out->gid = get16(p + 26);
        out->mtime = (uint64_t)reader->build_time;
        out->nsec = reader->build_nsec;
    }
    if (out->nsec > 999999999)
        return corrupt(error, "an inode has an impossible time");
    out->xattr_size = icount ? EROFS_XATTR_HEADER_SIZE + 4 * (uint32_t)(icount - 1) : 0;
    out->head = (out->extended ? EROFS_EXTENDED_SIZE : EROFS_COMPACT_SIZE) + out->xattr_size;
    return at(reader, out->offset, out->head, error) != NULL;
}

/* `length` bytes of the inode's data from `from`, which lie together: within one block or in full blocks. */
static const uint8_t *data_at(const Reader *reader, const RawInode *inode, uint64_t from,
                              uint64_t length, GError **error)
{
    uint64_t tail_start = inode->size / EROFS_BLOCK * EROFS_BLOCK;
    if (inode->layout == EROFS_LAYOUT_INLINE && from >= tail_start)
        return at(reader, inode->offset + inode->head + (from - tail_start), length, error);
    return at(reader, (uint64_t)inode->u * EROFS_BLOCK + from, length, error);
}

/* Content or target, with a NUL behind it, in the tree's memory. */
static const char *read_bytes(Reader *reader, const RawInode *inode, GError **error)
{
    if (inode->layout != EROFS_LAYOUT_PLAIN && inode->layout != EROFS_LAYOUT_INLINE) {
        corrupt(error, "an inode has an unknown layout");
        return NULL;
    }
    if (!spend(reader, inode->size, error))
        return NULL;
    char *bytes = arena_alloc(&reader->tree->arena, inode->size + 1);
    for (uint64_t from = 0; from < inode->size; from += EROFS_BLOCK) {
        uint64_t length = MIN(EROFS_BLOCK, inode->size - from);
        const uint8_t *p = data_at(reader, inode, from, length, error);
        if (!p)
            return NULL;
        memcpy(bytes + from, p, length);
    }
    bytes[inode->size] = '\0';
    return bytes;
}

/* --- xattrs --------------------------------------------------------------------------------------------- */

static bool read_entry(const Reader *reader, uint64_t offset, uint64_t limit, RawXattr *out,
                       GError **error)
{
    static const struct {
        const char *text;
        uint32_t size;
    } prefixes[] = {
#define PREFIX(text) {text, sizeof text - 1}
        PREFIX(""),
        PREFIX("user."),
        PREFIX("system.posix_acl_access"),
        PREFIX("system.posix_acl_default"),
        PREFIX("trusted."),
        PREFIX("lustre."),
        PREFIX("security."),
    };
    const uint8_t *p = at(reader, offset, 4, error);
    if (!p)
        return false;
    uint32_t length = p[0], index = p[1], size = get16(p + 2);
    uint64_t total = round_up(4 + length + size, 4);
    if (total > limit || index >= ARRAY_SIZE(prefixes))
        return corrupt(error, "an extended attribute is not well formed");
    if (!at(reader, offset, 4 + length + size, error))
        return false;
    if (memchr(p + 4, '\0', length) || (length == 0 && index == 0))
        return corrupt(error, "an extended attribute has no proper name");
    memcpy(out->name, prefixes[index].text, prefixes[index].size);
    memcpy(out->name + prefixes[index].size, p + 4, length);
    out->name[prefixes[index].size + length] = '\0';
    out->value = p + 4 + length;
    out->size = size;
    out->end = offset + total;
    return true;
}

static bool take_metacopy(const RawXattr *xattr, TreeInode *inode, GError **error)
{
    static const uint8_t header[4] = {0, 4 + DIGEST_SIZE, 0, 1};
    if (xattr->size == 0 || !S_ISREG(inode->mode))
        return true;
    if (xattr->size != 4 + DIGEST_SIZE || memcmp(xattr->value, header, 4) != 0)
        return corrupt(error, "a file has a digest of an unknown kind");
    memcpy(inode->object.bytes, xattr->value + 4, DIGEST_SIZE);
    inode->has_object = true;
    return true;
}

static bool is_name(const RawXattr *xattr, const char *name)
{
    return strcmp(xattr->name, name) == 0;
}

/* Undoes what the writer did for overlayfs; *out_keep: the attribute is the file's own, by its name of before. */
static bool take_mark(Marks *marks, RawXattr *xattr, bool *out_keep, GError **error)
{
    *out_keep = false;
    if (is_name(xattr, OVERLAY_METACOPY))
        return take_metacopy(xattr, marks->inode, error);
    if (is_name(xattr, OVERLAY_REDIRECT)) {
        marks->redirect = xattr->value;
        marks->redirect_size = xattr->size;
        return true;
    }
    if (is_name(xattr, OVERLAY_ESCAPED "whiteout") && S_ISREG(marks->inode->mode)) {
        marks->whiteout = true;
    } else if (is_name(xattr, OVERLAY_ESCAPED "whiteouts") ||
               is_name(xattr, "user.overlay.whiteouts") ||
               is_name(xattr, "user.overlay.whiteout")) {
        marks->has_whiteouts = true;
    } else if (g_str_has_prefix(xattr->name, OVERLAY_ESCAPED)) {
        char *rest = xattr->name + strlen(OVERLAY_PREFIX);
        memmove(rest, xattr->name + strlen(OVERLAY_ESCAPED),
                strlen(xattr->name + strlen(OVERLAY_ESCAPED)) + 1);
        *out_keep = true;
    } else {
        *out_keep = !g_str_has_prefix(xattr->name, OVERLAY_PREFIX);
    }
    return true;
}

static const TreeXattr *intern(Reader *reader, const RawXattr *xattr)
{
    return xattr_intern(reader->tree, xattr->name, xattr->value, xattr->size);
}

static bool take_entry(Reader *reader, Marks *marks, RawXattr *xattr, GError **error)
{
    bool keep;
    if (!take_mark(marks, xattr, &keep, error))
        return false;
    if (keep)
        g_ptr_array_add(reader->pairs, (void *)intern(reader, xattr));
    return true;
}

/* Marks are looked at each time, what is kept is found again by its place. */
static bool take_shared(Reader *reader, Marks *marks, uint32_t id, GError **error)
{
    uint64_t offset = reader->xattr_start + (uint64_t)id * 4;
    void *pair = g_hash_table_lookup(reader->shared, GSIZE_TO_POINTER(offset));
    if (pair) {
        g_ptr_array_add(reader->pairs, pair);
        return true;
    }
    RawXattr xattr;
    bool keep;
    if (!read_entry(reader, offset, UINT64_MAX, &xattr, error) ||
        !take_mark(marks, &xattr, &keep, error))
        return false;
    if (!keep)
        return true;
    /* overlapping entries could be made to mean much more than their bytes */
    if (!spend(reader, xattr.size + 1, error))
        return false;
    pair = (void *)intern(reader, &xattr);
    g_hash_table_insert(reader->shared, GSIZE_TO_POINTER(offset), pair);
    g_ptr_array_add(reader->pairs, pair);
    return true;
}

/* With the marks of version 1 gone from directories that hold whiteouts: the writer sets them again. */
static void drop_opaque_x(GPtrArray *pairs)
{
    guint n = 0;
    for (guint i = 0; i < pairs->len; i++) {
        const TreeXattr *pair = g_ptr_array_index(pairs, i);
        bool mark = (strcmp(pair->name, OVERLAY_PREFIX "opaque") == 0 ||
                     strcmp(pair->name, "user.overlay.opaque") == 0) &&
                    pair->size == 1 && pair->value[0] == 'x';
        if (!mark)
            pairs->pdata[n++] = (void *)pair;
    }
    g_ptr_array_set_size(pairs, (int)n);
}

static bool read_xattrs(Reader *reader, const RawInode *raw, Marks *marks, GError **error)
{
    if (raw->xattr_size == 0)
        return true;
    uint64_t start = raw->offset + raw->head - raw->xattr_size, end = raw->offset + raw->head;
    uint32_t n_shared = reader->image[start + 4];
    uint64_t entry = start + EROFS_XATTR_HEADER_SIZE + 4 * n_shared;
    if (entry > end)
        return corrupt(error, "a list of extended attributes is too long");
    g_ptr_array_set_size(reader->pairs, 0);
    for (RawXattr xattr; entry < end; entry = xattr.end)
        if (!read_entry(reader, entry, end - entry, &xattr, error) ||
            !take_entry(reader, marks, &xattr, error))
            return false;
    for (uint32_t i = 0; i < n_shared; i++) {
        uint32_t id = get32(reader->image + start + EROFS_XATTR_HEADER_SIZE + 4 * i);
        if (!take_shared(reader, marks, id, error))
            return false;
    }
    if (marks->has_whiteouts)
        drop_opaque_x(reader->pairs);
    xattr_set_interned(reader->tree, marks->inode, (const TreeXattr **)reader->pairs->pdata,
                       reader->pairs->len);
    return true;
}

/* --- files ---------------------------------------------------------------------------------------------- */

/* Where the bytes are, when that is not where the digest says. */
static bool read_redirect(Reader *reader, const Marks *marks, TreeInode *inode, GError **error)
{
    const uint8_t *path = marks->redirect;
    uint32_t size = marks->redirect_size;
    if (!path) {
        inode->payload = inode->has_object ? "" : NULL;
        return true;
    }
    if (size < 2 || size > COMPOSEFS_TARGET_MAX + 1 || path[0] != '/' || memchr(path, '\0', size))
        return corrupt(error, "a file has an impossible redirect");
    ObjectPath own = object_path(&inode->object);
    if (inode->has_object && size == 1 + strlen(own.text) &&
        memcmp(path + 1, own.text, size - 1) == 0)
        return true;
    /* interned like an xattr's value: many files may share a long one */
    inode->payload = (const char *)xattr_intern(reader->tree, "", path + 1, size - 1)->value;
    return true;
}

static bool read_target(Reader *reader, const RawInode *raw, TreeInode *inode, GError **error)
{
    if (raw->size > COMPOSEFS_TARGET_MAX)
        return corrupt(error, "a symbolic link has an impossible target");
    inode->target = read_bytes(reader, raw, error);
    if (!inode->target)
        return false;
    inode->size = strlen(inode->target);
    if (inode->size == 0 || inode->size != raw->size)
        return corrupt(error, "a symbolic link has an impossible target");
    return true;
}

static bool read_file(Reader *reader, const RawInode *raw, const Marks *marks, TreeInode *inode,
                      GError **error)
{
    if (marks->whiteout) {
        inode->mode = S_IFCHR | (inode->mode & 07777);
        inode->has_object = false;
        return true;
    }
    inode->size = raw->size;
    if (raw->size > INT64_MAX)
        return corrupt(error, "a file has an impossible size");
    if (raw->size > 0 && raw->layout == EROFS_LAYOUT_CHUNK)
        return read_redirect(reader, marks, inode, error);
    if (inode->has_object || marks->redirect)
        return corrupt(error, "a file has both content and an object");
    if (raw->size > COMPOSEFS_CONTENT_MAX)
        return corrupt(error, "inline data is too long");
    if (raw->size > 0)
        inode->content = (const uint8_t *)read_bytes(reader, raw, error);
    return raw->size == 0 || inode->content;
}

static bool known_type(uint32_t mode)
{
    return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISCHR(mode) || S_ISBLK(mode) ||
           S_ISFIFO(mode) || S_ISSOCK(mode);
}

/* All but the entries of a directory. */
static bool fill_inode(Reader *reader, const RawInode *raw, TreeInode *inode, GError **error)
{
    inode->mode = raw->mode;
    inode->uid = raw->uid;
    inode->gid = raw->gid;
    inode->mtime = (int64_t)raw->mtime;
    inode->mtime_nsec = raw->nsec;
    if (!known_type(raw->mode))
        return corrupt(error, "an inode has an unknown file type");
    Marks marks = {.inode = inode};
    if (!spend(reader, raw->head, error) || !read_xattrs(reader, raw, &marks, error))
        return false;
    if (S_ISDIR(inode->mode))
        return true;
    inode->nlink = raw->nlink;
    if (S_ISREG(inode->mode))
        return read_file(reader, raw, &marks, inode, error);
    if (S_ISLNK(inode->mode))
        return read_target(reader, raw, inode, error);
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
        inode->rdev = raw->u;
    return true;
}

/* --- directories ---------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *name;
    uint32_t length;
    uint64_t nid;
} RawDirent;

/* The writer's whiteouts over the names of object directories; one that is a file's own is a regular file there. */
static bool is_stub(const Reader *reader, const TreeNode *dir, const RawDirent *entry,
                    const RawInode *raw)
{
    return reader->version < 2 && !dir->parent && S_ISCHR(raw->mode) && raw->u == 0 &&
           entry->length == 2 && g_ascii_isxdigit(entry->name[0]) &&
           g_ascii_isxdigit(entry->name[1]);
}

static bool read_dir(Reader *reader, const RawInode *raw, TreeNode *dir, GError **error);

static bool read_child(Reader *reader, TreeNode *dir, const RawDirent *entry, GError **error)
{
    RawInode raw;
    const char *name = (const char *)entry->name;
    if (!read_inode(reader, entry->nid, &raw, error))
        return false;
    TreeNode *known = reader->nodes[entry->nid];
    if (known && S_ISDIR(raw.mode))
        return corrupt(error, "a directory has two names");
    if (known)
        return node_add(reader->tree, dir, name, entry->length, inode_of(known), error) != NULL;
    if (is_stub(reader, dir, entry, &raw))
        return true;
    TreeNode *node =
        node_add(reader->tree, dir, name, entry->length, inode_new(reader->tree, raw.mode), error);
    if (!node)
        return false;
    reader->nodes[entry->nid] = node;
    return fill_inode(reader, &raw, node->inode, error) &&
           (!S_ISDIR(raw.mode) || read_dir(reader, &raw, node, error));
}

/* How many entries the block has; 0: it is not well formed. */
static uint32_t count_entries(const uint8_t *block, uint32_t size)
{
    uint32_t names = size >= EROFS_DIRENT_SIZE ? get16(block + 8) : 0;
    return names % EROFS_DIRENT_SIZE != 0 || names > size ? 0 : names / EROFS_DIRENT_SIZE;
}

static bool get_entry(const uint8_t *block, uint32_t size, uint32_t index, RawDirent *out,
                      GError **error)
{
    uint32_t n = count_entries(block, size);
    const uint8_t *p = block + index * EROFS_DIRENT_SIZE;
    uint32_t start = get16(p + 8);
    uint32_t end = index + 1 < n ? get16(p + EROFS_DIRENT_SIZE + 8) : size;
    if (start < n * EROFS_DIRENT_SIZE || end < start || end > size)
        return corrupt(error, "a directory is not well formed");
    *out = (RawDirent){
        .name = block + start,
        .length = (uint32_t)strnlen((const char *)block + start, end - start),
        .nid = get64(p),
    };
    /* only behind the last is there padding */
    if (out->length == 0 || out->length > 255 || (index + 1 < n && out->length != end - start))
        return corrupt(error, "a directory has an impossible name");
    return true;
}

static bool ascends(const RawDirent *last, const RawDirent *entry)
{
    int order =
        last->length == 0 ? -1 : memcmp(last->name, entry->name, MIN(last->length, entry->length));
    return order < 0 || (order == 0 && last->length < entry->length);
}

static bool is_dots(const RawDirent *entry)
{
    return entry->name[0] == '.' &&
           (entry->length == 1 || (entry->length == 2 && entry->name[1] == '.'));
}

static bool read_block(Reader *reader, const uint8_t *block, uint32_t size, TreeNode *dir,
                       RawDirent *last, GError **error)
{
    uint32_t n = count_entries(block, size);
    if (n == 0)
        return corrupt(error, "a directory is not well formed");
    for (uint32_t i = 0; i < n; i++) {
        RawDirent entry;
        if (!get_entry(block, size, i, &entry, error))
            return false;
        if (!ascends(last, &entry))
            return corrupt(error, "a directory is not in order");
        if (!is_dots(&entry) && !read_child(reader, dir, &entry, error))
            return false;
        *last = entry;
    }
    return true;
}

static bool read_dir(Reader *reader, const RawInode *raw, TreeNode *dir, GError **error)
{
    if (raw->layout != EROFS_LAYOUT_PLAIN && raw->layout != EROFS_LAYOUT_INLINE)
        return corrupt(error, "a directory has an unknown layout");
    if (!spend(reader, raw->size, error))
        return false;
    RawDirent last = {0};
    for (uint64_t from = 0; from < raw->size; from += EROFS_BLOCK) {
        uint32_t length = (uint32_t)MIN(EROFS_BLOCK, raw->size - from);
        const uint8_t *block = data_at(reader, raw, from, length, error);
        if (!block || !read_block(reader, block, length, dir, &last, error))
            return false;
    }
    return true;
}

/* --- the image ------------------------------------------------------------------------------------------ */

static bool read_super(Reader *reader, uint64_t *out_root, GError **error)
{
    const uint8_t *image = at(reader, 0, EROFS_BLOCK, error);
    if (!image)
        return false;
    const uint8_t *super = image + EROFS_SUPER_OFFSET;
    if (get32(image) != COMPOSEFS_MAGIC || get32(image + 4) != 1)
        return error_throw(error, ERROR_CORRUPT, "this is not a composefs image");
    if (get32(super) != EROFS_MAGIC || super[12] != 12 || get32(super + 40) != 0)
        return corrupt(error, "the superblock is not that of a composefs image");
    reader->version = get32(image + 12);
    *out_root = get16(super + 14);
    uint64_t time = get64(super + 24);
    reader->build_nsec = get32(super + 32);
    if (reader->build_nsec > 999999999)
        return corrupt(error, "the superblock has an impossible time");
    reader->build_time = (int64_t)time;
    reader->xattr_start = (uint64_t)get32(super + 44) * EROFS_BLOCK;
    return true;
}

static bool read_all(Reader *reader, GError **error)
{
    uint64_t nid = 0;
    RawInode raw;
    TreeNode *root = tree_root(reader->tree);
    if (!read_super(reader, &nid, error) || !read_inode(reader, nid, &raw, error))
        return false;
    if (!S_ISDIR(raw.mode))
        return corrupt(error, "the root is not a directory");
    reader->nodes[nid] = root;
    return fill_inode(reader, &raw, root->inode, error) && read_dir(reader, &raw, root, error);
}

Tree *tree_read_image(GBytes *image, GError **error)
{
    g_autoptr(Tree) tree = tree_new();
    g_autoptr(GHashTable) shared = g_hash_table_new(NULL, NULL);
    g_autoptr(GPtrArray) pairs = g_ptr_array_new();
    size_t size;
    const uint8_t *data = g_bytes_get_data(image, &size);
    g_autofree TreeNode **nodes = g_new0(TreeNode *, size / EROFS_SLOT + 1);
    Reader reader = {
        .image = data,
        .size = size,
        .tree = tree,
        .nodes = nodes,
        .shared = shared,
        .pairs = pairs,
        .budget = size,
    };
    tree->overlay_xattrs = true;
    GError *failed = NULL;
    if (read_all(&reader, &failed))
        return g_steal_pointer(&tree);
    failed->code = ERROR_CORRUPT; /* "is nested too deeply" and the like come from the tree */
    g_propagate_error(error, failed);
    return NULL;
}
