/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: one pass over the bytes. Headers, padding and small files go inline into the split stream as they
 * are, larger files into objects; so the stream gives the same bytes back, whatever the archive looked like. What is
 * understood goes into the tree. The archive is hostile input: paths are taken apart and only names inside the tree
 * come out; a link on the way is followed within the tree.
 */
#include "base/cancel.h"
#include "store/tar.h"

#include <string.h>
#include <sys/sysmacros.h>

typedef struct {
    StoreTxn *txn;
    Tree *tree;
    TarInput input;
    bool layer;
    uint64_t holes_left;
} TarReader;

/* --- places in the tree --------------------------------------------------------------------------------- */

/* The path's names, "." and "" left out; NULL with ERROR_INVALID when it has "..". */
static GPtrArray *split_path(const char *path, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    while (*(path += strspn(path, "/"))) {
        size_t length = strcspn(path, "/");
        if (length == 2 && memcmp(path, "..", 2) == 0)
            return error_throw_null(error, ERROR_INVALID,
                                    "a name in the tar would escape: it has '..'");
        if (length > 1 || *path != '.')
            g_ptr_array_add(names, g_strndup(path, length));
        path += length;
    }
    return g_steal_pointer(&names);
}

/* The directory that holds the path's last name; missing ones are made, marked as implicit. */
static TreeNode *parent_dir(TarReader *reader, GPtrArray *names, GError **error)
{
    TreeNode *dir = tree_root(reader->tree);
    for (guint i = 0; i + 1 < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        TreeNode *child = tree_child(reader->tree, dir, name);
        if (child && S_ISLNK(child->inode->mode)) {
            g_autofree char *path = tree_path(child);
            child = tree_resolve(reader->tree, path);
            if (!child)
                return error_throw_null(error, ERROR_INVALID, "it lies behind the link '%s'", path);
        }
        bool whiteout = child && child->inode->whiteout;
        if (whiteout) {
            tree_remove(reader->tree, child);
            child = NULL;
        }
        if (!child) {
            child = tree_add(reader->tree, dir, name, S_IFDIR | 0755, error);
            if (!child)
                return NULL;
            child->inode->implicit = true;
            child->inode->opaque = whiteout;
        }
        if (!S_ISDIR(child->inode->mode))
            return error_throw_null(error, ERROR_INVALID,
                                    "it lies below '%s', which is no directory", name);
        dir = child;
    }
    return dir;
}

/* The entry's node, whatever was there before: a directory over a directory stays, all else is replaced. */
static TreeNode *place(TarReader *reader, TreeNode *dir, const char *name, uint32_t mode,
                       GError **error)
{
    TreeNode *old = tree_child(reader->tree, dir, name);
    if (old && S_ISDIR(old->inode->mode) && S_ISDIR(mode)) {
        old->inode->implicit = false;
        return old;
    }
    bool whiteout = old && old->inode->whiteout;
    if (old)
        tree_remove(reader->tree, old);
    TreeNode *node = tree_add(reader->tree, dir, name, mode, error);
    if (node && S_ISDIR(mode))
        node->inode->opaque = whiteout; /* removed below, and made anew */
    return node;
}

/* --- entries -------------------------------------------------------------------------------------------- */

static bool read_small(TarReader *reader, const TarEntry *entry, TreeInode *inode, GError **error)
{
    const uint8_t *content = tar_input_inline(&reader->input, (size_t)entry->size, error);
    if (!content)
        return false;
    tree_set_inline(reader->tree, inode, content, (size_t)entry->size);
    return true;
}

static bool read_pieces(TarReader *reader, uint64_t size, Digest *out_object, GError **error)
{
    StoreWriter *writer = store_writer_new(reader->txn, error);
    if (!writer)
        return false;
    for (uint64_t left = size; left > 0;) {
        size_t n = (size_t)MIN(left, TAR_PIECE);
        const uint8_t *piece =
            cancel_check(error) ? tar_input_take(&reader->input, n, error) : NULL;
        if (!piece || !store_writer_append(writer, piece, n, error)) {
            store_writer_abort(writer);
            return false;
        }
        left -= n;
    }
    return store_writer_finish(writer, out_object, error);
}

static bool read_whole(TarReader *reader, uint64_t size, Digest *out_object, GError **error)
{
    const uint8_t *bytes = tar_input_take(&reader->input, (size_t)size, error);
    return bytes && store_txn_put(reader->txn, bytes, (size_t)size, out_object, error);
}

static bool read_large(TarReader *reader, const TarEntry *entry, TreeInode *inode, GError **error)
{
    Digest object;
    StoreStreamWriter *stream = reader->input.stream;
    if (!(entry->size <= TAR_PIECE ? read_whole : read_pieces)(reader, entry->size, &object, error))
        return false;
    tree_set_object(reader->tree, inode, &object, entry->size);
    return !stream || store_stream_write_object(stream, &object, entry->size, error);
}

static bool read_sparse(TarReader *reader, TarEntry *entry, TreeInode *inode, GError **error)
{
    uint8_t small[TREE_INLINE_MAX];
    Digest object;
    if (!tar_sparse_read(&reader->input, entry, reader->txn, &reader->holes_left, small, &object,
                         error))
        return false;
    if (entry->real_size > TREE_INLINE_MAX)
        tree_set_object(reader->tree, inode, &object, entry->real_size);
    else
        tree_set_inline(reader->tree, inode, small, (size_t)entry->real_size);
    return true;
}

static bool read_content(TarReader *reader, TarEntry *entry, TreeInode *inode, GError **error)
{
    bool small = entry->size <= TREE_INLINE_MAX;
    bool read = entry->sparse ? read_sparse(reader, entry, inode, error)
                : small       ? read_small(reader, entry, inode, error)
                              : read_large(reader, entry, inode, error);
    return read && tar_input_padding(&reader->input, entry->size, error);
}

static void take_metadata(TarReader *reader, const TarEntry *entry, TreeInode *inode)
{
    inode->mode = (inode->mode & S_IFMT) | (entry->mode & 07777);
    inode->uid = entry->uid;
    inode->gid = entry->gid;
    inode->mtime = entry->mtime;
    inode->mtime_nsec = entry->mtime_nsec;
    tree_set_xattrs(reader->tree, inode, (const TreeXattr *)(void *)entry->xattrs->data,
                    entry->xattrs->len);
}

static bool add_hard_link(TarReader *reader, const TarEntry *entry, TreeNode *dir, const char *name,
                          GError **error)
{
    g_autoptr(GPtrArray) names = split_path(entry->link, error);
    if (!names)
        return false;
    g_ptr_array_add(names, NULL);
    g_autofree char *path = g_strjoinv("/", (char **)names->pdata);
    TreeNode *target = tree_lookup(reader->tree, path);
    if (!target && names->len > 1) { /* through a link on the way, as the kernel would */
        const char *last = g_ptr_array_index(names, names->len - 2);
        g_autofree char *parent = g_path_get_dirname(path);
        TreeNode *real = tree_resolve(reader->tree, parent);
        target = real && S_ISDIR(real->inode->mode) ? tree_child(reader->tree, real, last) : NULL;
    }
    if (!target || target->inode->whiteout)
        return error_throw(error, ERROR_INVALID, "it is a hard link to '%s', which is not there",
                           entry->link);
    TreeNode *old = tree_child(reader->tree, dir, name);
    if (old == target || (old && old->inode == target->inode))
        return true;
    if (S_ISDIR(target->inode->mode))
        return error_throw(error, ERROR_INVALID, "it is a hard link to a directory");
    if (old)
        tree_remove(reader->tree, old);
    return tree_link(reader->tree, dir, name, target, error) != NULL;
}

/* OCI's marks (image-spec, layer.md): ".wh..wh..opq" and ".wh.NAME". True when the entry was one. */
static bool take_whiteout(TarReader *reader, TreeNode *dir, const char *name, bool *out_taken,
                          GError **error)
{
    *out_taken = reader->layer && g_str_has_prefix(name, ".wh.");
    if (!*out_taken)
        return true;
    if (strcmp(name, ".wh..wh..opq") == 0) {
        dir->inode->opaque = true;
        return true;
    }
    const char *gone = name + strlen(".wh.");
    if (g_str_has_prefix(gone, ".wh."))
        return true; /* aufs' own, e.g. ".wh..wh.plnk" */
    TreeNode *here = tree_child(reader->tree, dir, gone);
    if (here) { /* only what lies below goes */
        here->inode->opaque |= S_ISDIR(here->inode->mode);
        return true;
    }
    TreeNode *node = tree_add(reader->tree, dir, gone, S_IFCHR, error);
    if (node)
        node->inode->whiteout = true;
    return node != NULL;
}

static bool file_type(char type, uint32_t *out_mode)
{
    switch (type) {
    case '0':
        *out_mode = S_IFREG;
        return true;
    case '2':
        *out_mode = S_IFLNK;
        return true;
    case '3':
        *out_mode = S_IFCHR;
        return true;
    case '4':
        *out_mode = S_IFBLK;
        return true;
    case '5':
    case 'D': /* GNU: of an incremental archive; the content is a list of names */
        *out_mode = S_IFDIR;
        return true;
    case '6':
        *out_mode = S_IFIFO;
        return true;
    default:
        return false;
    }
}

static bool skip_content(TarReader *reader, const TarEntry *entry, GError **error)
{
    return tar_input_skip(&reader->input, entry->size, error) &&
           tar_input_padding(&reader->input, entry->size, error);
}

static bool add_node(TarReader *reader, TarEntry *entry, TreeNode *dir, const char *name,
                     uint32_t type, GError **error)
{
    TreeNode *node = name ? place(reader, dir, name, type, error) : dir;
    if (!node)
        return false;
    if (!name)
        node->inode->implicit = false;
    take_metadata(reader, entry, node->inode);
    if (type == S_IFLNK) {
        if (!*entry->link)
            return error_throw(error, ERROR_INVALID, "it is a symbolic link without a target");
        tree_set_target(reader->tree, node->inode, entry->link);
    }
    if (type == S_IFCHR || type == S_IFBLK)
        node->inode->rdev = makedev(entry->major, entry->minor);
    return type == S_IFREG ? read_content(reader, entry, node->inode, error)
                           : skip_content(reader, entry, error);
}

static bool add_entry(TarReader *reader, TarEntry *entry, GError **error)
{
    uint32_t type = 0;
    bool link = entry->type == '1', known = file_type(entry->type, &type);
    if (!known && !link)
        return error_throw(error, ERROR_UNSUPPORTED,
                           "not supported yet: entries of type '%c' in a tar",
                           g_ascii_isprint(entry->type) ? entry->type : '?');
    g_autoptr(GPtrArray) names = split_path(entry->path, error);
    if (!names)
        return false;
    if (names->len == 0 && type != S_IFDIR)
        return error_throw(error, ERROR_INVALID, "the root of the tar is not a directory");
    TreeNode *dir = parent_dir(reader, names, error);
    if (!dir)
        return false;
    const char *name = names->len ? g_ptr_array_index(names, names->len - 1) : NULL;
    bool taken = false;
    if (name && !take_whiteout(reader, dir, name, &taken, error))
        return false;
    if (!taken && !link)
        return add_node(reader, entry, dir, name, type, error);
    if (!taken && !add_hard_link(reader, entry, dir, name, error))
        return false;
    return skip_content(reader, entry, error);
}

/* --- the archive ---------------------------------------------------------------------------------------- */

/* The body of a header that describes the next entry. */
static bool read_extra(TarReader *reader, TarExtra *extra, const TarEntry *entry, GError **error)
{
    if (entry->size > TAR_EXTRA_MAX)
        return error_throw(error, ERROR_INVALID,
                           "the tar has a header of %" G_GUINT64_FORMAT " bytes", entry->size);
    g_autofree char *text = g_malloc((size_t)entry->size + 1);
    for (size_t at = 0; at < entry->size;) {
        size_t n = MIN((size_t)entry->size - at, TAR_PIECE);
        const uint8_t *piece = tar_input_inline(&reader->input, n, error);
        if (!piece)
            return false;
        memcpy(text + at, piece, n);
        at += n;
    }
    return tar_extra_parse(extra, entry->type, text, (size_t)entry->size, error) &&
           tar_input_padding(&reader->input, entry->size, error);
}

static bool read_entry(TarReader *reader, const TarHeader *header, TarExtra *extra, GError **error)
{
    g_autoptr(TarEntry) entry = tar_entry_new();
    if (!tar_header_parse(header, entry, error))
        return false;
    if (tar_extra_is(entry->type))
        return read_extra(reader, extra, entry, error);
    if (entry->type == 'V') /* GNU: the name of the volume */
        return skip_content(reader, entry, error);
    bool good = tar_extra_apply(extra, entry, error) && add_entry(reader, entry, error);
    return good || error_prefix(error, "'%.200s'", entry->path);
}

/* Behind the end mark: padding of the last record, or anything. */
static bool read_rest(TarReader *reader, GError **error)
{
    StoreStreamWriter *stream = reader->input.stream;
    for (;;) {
        size_t n = TAR_PIECE;
        const uint8_t *bytes = tar_input_some(&reader->input, &n, error);
        if (!bytes || n == 0)
            return bytes != NULL;
        if (stream && !store_stream_write_inline(stream, bytes, n, error))
            return false;
    }
}

static bool read_archive(TarReader *reader, GError **error)
{
    g_autoptr(TarExtra) extra = tar_extra_new();
    for (;;) {
        TarHeader header;
        size_t n = sizeof header;
        const uint8_t *block = tar_input_some(&reader->input, &n, error);
        if (!block || n == 0) /* without an end mark: fine */
            return block != NULL;
        if (n < sizeof header)
            return error_throw(error, ERROR_CORRUPT, "the tar ends too early");
        memcpy(&header, block, sizeof header);
        StoreStreamWriter *stream = reader->input.stream;
        if (!cancel_check(error) ||
            (stream && !store_stream_write_inline(stream, &header, sizeof header, error)))
            return false;
        if (tar_header_is_zero(&header))
            return read_rest(reader, error);
        if (!read_entry(reader, &header, extra, error))
            return false;
    }
}

Tree *store_import_tar(StoreTxn *txn, StoreReadFunc read, void *data, bool layer,
                       StoreStreamWriter *stream, GError **error)
{
    g_autoptr(Tree) tree = tree_new();
    TarReader reader = {
        .txn = txn, .tree = tree, .layer = layer, .holes_left = (uint64_t)TAR_HOLES_GIB << 30};
    tar_input_init(&reader.input, read, data, stream);
    tree_root(tree)->inode->implicit = true;
    bool good = read_archive(&reader, error);
    tar_input_clear(&reader.input);
    return good ? g_steal_pointer(&tree) : NULL;
}
