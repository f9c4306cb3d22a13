/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: the directories are walked from the root, each inode is read once (names of one nid are hard links).
 *
 * The image is hostile input. Every access goes through at(), which checks that the bytes are inside. An image could
 * also be small and mean much: many directories over the same block, many inodes with the same content. A real one
 * has its own bytes for each entry, so what is taken out is counted against the image's size (`budget`).
 * Layouts of all versions of composefs are understood; only the writer cares which.
 */
#include "tree/erofs.h"
#include "tree/node.h"

typedef struct {
    const uint8_t *image;
    uint64_t size, xattr_start;
    int64_t build_time;
    uint32_t build_nsec;
    Tree *tree;
    GHashTable *nodes;  /* nid (boxed) -> TreeNode, files; directories: the tree's root as a mark */
    GHashTable *shared; /* offset (boxed) -> interned TreeXattr */
    uint64_t budget;
} Reader;

typedef struct {
    uint64_t nid, offset, size, mtime;
    uint32_t mode, uid, gid, nlink, u, nsec, head, xattr_size;
    int layout;
    bool extended;
} RawInode;

/* Marks on the inode that are not kept as xattrs. */
typedef struct {
    const TreeXattr *pairs[512];
    size_t n;
    bool whiteout, has_whiteouts, has_metacopy;
    const uint8_t *redirect;
    size_t redirect_size;
    TreeInode *inode;
} XattrSink;

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

static char *read_bytes(Reader *reader, const RawInode *inode, uint64_t limit, GError **error)
{
    if (inode->size > limit) {
        corrupt(error, "inline data is too long");
        return NULL;
    }
    if (inode->layout != EROFS_LAYOUT_PLAIN && inode->layout != EROFS_LAYOUT_INLINE) {
        corrupt(error, "an inode has an unknown layout");
        return NULL;
    }
    if (!spend(reader, inode->size, error))
        return NULL;
    g_autofree char *bytes = g_malloc0(inode->size + 1);
    for (uint64_t from = 0; from < inode->size; from += EROFS_BLOCK) {
        uint64_t length = MIN(EROFS_BLOCK, inode->size - from);
        const uint8_t *p = data_at(reader, inode, from, length, error);
        if (!p)
            return NULL;
        memcpy(bytes + from, p, length);
    }
    return g_steal_pointer(&bytes);
}

/* --- xattrs --------------------------------------------------------------------------------------------- */

static const char *const prefixes[] = {
    "",        "user.",     "system.posix_acl_access", "system.posix_acl_default", "trusted.",
    "lustre.", "security.",
};

/* The entry's end; *out_pair is interned. */
static const uint8_t *read_entry(Reader *reader, uint64_t offset, uint64_t limit,
                                 const TreeXattr **out_pair, GError **error)
{
    const uint8_t *p = at(reader, offset, 4, error);
    if (!p)
        return NULL;
    uint32_t length = p[0], index = p[1], size = get16(p + 2);
    uint64_t total = round_up(4 + length + size, 4);
    if (total > limit || index >= ARRAY_SIZE(prefixes)) {
        corrupt(error, "an extended attribute is not well formed");
        return NULL;
    }
    if (!at(reader, offset, 4 + length + size, error))
        return NULL;
    if (memchr(p + 4, '\0', length) || (length == 0 && index == 0)) {
        corrupt(error, "an extended attribute has no proper name");
        return NULL;
    }
    g_autofree char *name =
        g_strdup_printf("%s%.*s", prefixes[index], (int)length, (const char *)p + 4);
    *out_pair = xattr_intern(reader->tree, name, p + 4 + length, size);
    return p + total;
}

static bool is_name(const TreeXattr *pair, const char *name)
{
    return strcmp(pair->name, name) == 0;
}

/* Undoes what the writer did for overlayfs; everything else is the file's own. */
static bool take_xattr(Reader *reader, XattrSink *sink, const TreeXattr *pair, GError **error)
{
    bool regular = S_ISREG(sink->inode->mode);
    if (is_name(pair, OVERLAY_REDIRECT)) {
        sink->redirect = pair->value;
        sink->redirect_size = pair->size;
        return true;
    }
    if (is_name(pair, OVERLAY_METACOPY)) {
        static const uint8_t header[4] = {0, 4 + DIGEST_SIZE, 0, 1};
        sink->has_metacopy = true;
        if (pair->size == 0 || !regular)
            return true;
        if (pair->size != 4 + DIGEST_SIZE || memcmp(pair->value, header, 4) != 0)
            return corrupt(error, "a file has a digest of an unknown kind");
        memcpy(sink->inode->object.bytes, pair->value + 4, DIGEST_SIZE);
        sink->inode->has_object = true;
        return true;
    }
    if (is_name(pair, OVERLAY_ESCAPED "whiteout") && regular) {
        sink->whiteout = true;
        return true;
    }
    if (is_name(pair, OVERLAY_ESCAPED "whiteouts") || is_name(pair, "user.overlay.whiteouts") ||
        is_name(pair, "user.overlay.whiteout")) {
        sink->has_whiteouts = true;
        return true;
    }
    if (g_str_has_prefix(pair->name, OVERLAY_ESCAPED)) {
        g_autofree char *name =
            g_strconcat(OVERLAY_PREFIX, pair->name + strlen(OVERLAY_ESCAPED), NULL);
        pair = xattr_intern(reader->tree, name, pair->value, pair->size);
    } else if (g_str_has_prefix(pair->name, OVERLAY_PREFIX)) {
        return true;
    }
    if (sink->n == ARRAY_SIZE(sink->pairs))
        return corrupt(error, "a file has too many extended attributes");
    sink->pairs[sink->n++] = pair;
    return true;
}

/* With the marks of version 1 gone from directories that hold whiteouts: the writer sets them again. */
static void drop_opaque_x(XattrSink *sink)
{
    size_t n = 0;
    for (size_t i = 0; i < sink->n; i++) {
        const TreeXattr *pair = sink->pairs[i];
        bool mark =
            (is_name(pair, OVERLAY_PREFIX "opaque") || is_name(pair, "user.overlay.opaque")) &&
            pair->size == 1 && pair->value[0] == 'x';
        if (!mark)
            sink->pairs[n++] = pair;
    }
    sink->n = n;
}

static const TreeXattr *read_shared(Reader *reader, uint32_t id, GError **error)
{
    uint64_t offset = reader->xattr_start + (uint64_t)id * 4;
    const TreeXattr *pair = g_hash_table_lookup(reader->shared, GSIZE_TO_POINTER(offset));
    if (pair)
        return pair;
    if (!read_entry(reader, offset, UINT64_MAX, &pair, error))
        return NULL;
    /* overlapping entries could be made to mean much more than their bytes */
    if (!spend(reader, pair->size + 1, error))
        return NULL;
    g_hash_table_insert(reader->shared, GSIZE_TO_POINTER(offset), (void *)pair);
    return pair;
}

static bool read_xattrs(Reader *reader, const RawInode *raw, XattrSink *sink, GError **error)
{
    if (raw->xattr_size == 0)
        return true;
    uint64_t start = raw->offset + raw->head - raw->xattr_size, end = raw->offset + raw->head;
    uint32_t n_shared = reader->image[start + 4];
    uint64_t entry = start + EROFS_XATTR_HEADER_SIZE + 4 * n_shared;
    if (entry > end)
        return corrupt(error, "a list of extended attributes is too long");
    while (entry < end) {
        const TreeXattr *pair;
        const uint8_t *next = read_entry(reader, entry, end - entry, &pair, error);
        if (!next || !take_xattr(reader, sink, pair, error))
            return false;
        entry = (uint64_t)(next - reader->image);
    }
    for (uint32_t i = 0; i < n_shared; i++) {
        uint32_t id = get32(reader->image + start + EROFS_XATTR_HEADER_SIZE + 4 * i);
        const TreeXattr *pair = read_shared(reader, id, error);
        if (!pair || !take_xattr(reader, sink, pair, error))
            return false;
    }
    if (sink->has_whiteouts)
        drop_opaque_x(sink);
    xattr_set_interned(reader->tree, sink->inode, sink->pairs, sink->n);
    return true;
}

/* --- files ---------------------------------------------------------------------------------------------- */

static bool fill_external(Reader *reader, const XattrSink *sink, TreeInode *inode, GError **error)
{
    const uint8_t *path = sink->redirect;
    size_t size = sink->redirect_size;
    if (!path) {
        inode->payload = inode->has_object ? "" : NULL;
        return true;
    }
    if (size > 0 && path[0] == '/') {
        path++;
        size--;
    }
    ObjectPath own = object_path(&inode->object);
    if (inode->has_object && size == strlen(own.text) && memcmp(path, own.text, size) == 0)
        return true;
    if (size == 0 || size > 4095 || memchr(path, '\0', size))
        return corrupt(error, "a file has an impossible redirect");
    inode->payload = arena_string(&reader->tree->arena, (const char *)path, size);
    return true;
}

static bool fill_content(Reader *reader, const RawInode *raw, XattrSink *sink, GError **error)
{
    TreeInode *inode = sink->inode;
    if (S_ISLNK(inode->mode)) {
        g_autofree char *target = read_bytes(reader, raw, COMPOSEFS_TARGET_MAX, error);
        if (!target)
            return false;
        if (!*target || strlen(target) != raw->size)
            return corrupt(error, "a symbolic link has an impossible target");
        tree_set_target(reader->tree, inode, target);
        return true;
    }
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
        inode->rdev = raw->u;
    if (!S_ISREG(inode->mode))
        return true;
    if (sink->whiteout) {
        inode->mode = S_IFCHR | (inode->mode & 07777);
        inode->has_object = false;
        return true;
    }
    inode->size = raw->size;
    if (raw->size > INT64_MAX)
        return corrupt(error, "a file has an impossible size");
    if (raw->size > 0 && raw->layout == EROFS_LAYOUT_CHUNK)
        return fill_external(reader, sink, inode, error);
    if (inode->has_object || sink->redirect)
        return corrupt(error, "a file has both content and an object");
    if (raw->size > 0) {
        g_autofree char *content = read_bytes(reader, raw, COMPOSEFS_CONTENT_MAX, error);
        if (!content)
            return false;
        tree_set_inline(reader->tree, inode, content, raw->size);
    }
    return true;
}

static bool known_type(uint32_t mode)
{
    return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISCHR(mode) || S_ISBLK(mode) ||
           S_ISFIFO(mode) || S_ISSOCK(mode);
}

static bool fill_inode(Reader *reader, const RawInode *raw, TreeInode *inode, GError **error)
{
    inode->mode = raw->mode;
    inode->uid = raw->uid;
    inode->gid = raw->gid;
    inode->mtime = (int64_t)raw->mtime;
    inode->mtime_nsec = raw->nsec;
    if (!known_type(raw->mode))
        return corrupt(error, "an inode has an unknown file type");
    g_autofree XattrSink *sink = g_new(XattrSink, 1);
    *sink = (XattrSink){.inode = inode};
    return read_xattrs(reader, raw, sink, error) && fill_content(reader, raw, sink, error);
}

static bool read_dir(Reader *reader, const RawInode *raw, TreeNode *dir, GError **error);

static bool read_child(Reader *reader, TreeNode *dir, const char *name, uint64_t nid,
                       GError **error)
{
    TreeNode *known = g_hash_table_lookup(reader->nodes, GSIZE_TO_POINTER(nid));
    if (known == tree_root(reader->tree))
        return corrupt(error, "a directory has two names");
    if (known) {
        uint32_t nlink = known->inode->nlink;
        TreeNode *node = tree_link(reader->tree, dir, name, known, error);
        if (node)
            node->inode->nlink = nlink;
        return node != NULL;
    }
    RawInode raw;
    if (!read_inode(reader, nid, &raw, error))
        return false;
    if (S_ISCHR(raw.mode) && raw.u == 0)
        return true; /* a stub of the root: an escaped whiteout is a regular file in the image */
    TreeNode *node = tree_add(reader->tree, dir, name, raw.mode, error);
    if (!node)
        return false;
    bool is_dir = S_ISDIR(raw.mode);
    g_hash_table_insert(reader->nodes, GSIZE_TO_POINTER(nid),
                        is_dir ? tree_root(reader->tree) : node);
    if (!fill_inode(reader, &raw, node->inode, error))
        return false;
    if (!is_dir)
        node->inode->nlink = raw.nlink;
    return !is_dir || read_dir(reader, &raw, node, error);
}

static bool read_dir_block(Reader *reader, const uint8_t *block, uint32_t size, TreeNode *dir,
                           GError **error)
{
    uint32_t names = size >= EROFS_DIRENT_SIZE ? get16(block + 8) : 0;
    if (names < EROFS_DIRENT_SIZE || names % EROFS_DIRENT_SIZE != 0 || names > size)
        return corrupt(error, "a directory is not well formed");
    uint32_t n = names / EROFS_DIRENT_SIZE;
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *p = block + i * EROFS_DIRENT_SIZE;
        uint32_t start = get16(p + 8);
        uint32_t end = i + 1 < n ? get16(p + EROFS_DIRENT_SIZE + 8) : size;
        if (start < names || end < start || end > size)
            return corrupt(error, "a directory is not well formed");
        char name[256];
        size_t length =
            strnlen((const char *)block + start, end - start); /* the last may be padded */
        if (length == 0 || length > 255)
            return corrupt(error, "a directory has an impossible name");
        if (i + 1 < n && length != end - start)
            return corrupt(error, "a directory has an impossible name");
        memcpy(name, block + start, length);
        name[length] = '\0';
        if (!spend(reader, EROFS_DIRENT_SIZE + length, error))
            return false;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (!read_child(reader, dir, name, get64(p), error))
            return false;
    }
    return true;
}

static bool read_dir(Reader *reader, const RawInode *raw, TreeNode *dir, GError **error)
{
    if (raw->layout != EROFS_LAYOUT_PLAIN && raw->layout != EROFS_LAYOUT_INLINE)
        return corrupt(error, "a directory has an unknown layout");
    if (raw->size > reader->size)
        return corrupt(error, "a directory is larger than the image");
    for (uint64_t from = 0; from < raw->size; from += EROFS_BLOCK) {
        uint32_t length = (uint32_t)MIN(EROFS_BLOCK, raw->size - from);
        const uint8_t *block = data_at(reader, raw, from, length, error);
        if (!block || !read_dir_block(reader, block, length, dir, error))
            return false;
    }
    return true;
}

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
    *out_root = get16(super + 14);
    uint64_t time = get64(super + 24);
    reader->build_nsec = get32(super + 32);
    if (reader->build_nsec > 999999999)
        return corrupt(error, "the superblock has an impossible time");
    reader->build_time = (int64_t)time;
    reader->xattr_start = (uint64_t)get32(super + 44) * EROFS_BLOCK;
    return true;
}

Tree *tree_read_image(GBytes *image, GError **error)
{
    g_autoptr(Tree) tree = tree_new();
    g_autoptr(GHashTable) nodes = g_hash_table_new(NULL, NULL);
    g_autoptr(GHashTable) shared = g_hash_table_new(NULL, NULL);
    size_t size;
    const uint8_t *data = g_bytes_get_data(image, &size);
    Reader reader = {
        .image = data,
        .size = size,
        .tree = tree,
        .nodes = nodes,
        .shared = shared,
        .budget = size,
    };
    tree->overlay_xattrs = true;
    uint64_t nid = 0;
    RawInode raw;
    TreeNode *root = tree_root(tree);
    if (!read_super(&reader, &nid, error) || !read_inode(&reader, nid, &raw, error))
        return NULL;
    if (!S_ISDIR(raw.mode)) {
        corrupt(error, "the root is not a directory");
        return NULL;
    }
    g_hash_table_insert(nodes, GSIZE_TO_POINTER(nid), root);
    if (!fill_inode(&reader, &raw, root->inode, error) || !read_dir(&reader, &raw, root, error)) {
        if (error && *error && (*error)->code != ERROR_CORRUPT)
            (*error)->code = ERROR_CORRUPT; /* "exists" and the like come from the tree */
        return NULL;
    }
    return g_steal_pointer(&tree);
}
