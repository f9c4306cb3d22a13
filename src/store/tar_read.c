/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: our own walk over the header blocks, because a layer's tar must come back bit for bit and no
 * library gives the raw headers. Every byte read goes to the split stream: file contents of more than 64 bytes as
 * objects, all else inline, including whatever follows the end marker.
 *
 * A tar is hostile input: paths are taken apart here and looked up only in the tree that is being built, so nothing
 * can be written through a link or above the root; sizes are believed only as far as bytes come.
 */
#include "store/store.h"
#include "store/tar.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

enum { EXTENSION_MAX = 1 << 20, COPY_SIZE = 1 << 17 };

/* What pax and GNU extension headers say of the next entry. */
typedef struct {
    char *path, *link;
    bool has_size, has_uid, has_gid, has_mtime;
    uint64_t size, uid, gid;
    int64_t mtime;
    uint32_t mtime_nsec;
    GArray *xattrs; /* of TreeXattr; names and values owned by `memory` */
    GPtrArray *memory;
} Extension;

typedef struct {
    StoreReadFunc read;
    void *data;
    StoreTxn *txn;
    StoreStreamWriter *stream; /* may be NULL */
    Tree *tree;
    bool layer;
    uint8_t *buffer; /* COPY_SIZE */
    Extension next;
} TarReader;

/* One entry, all headers understood. */
typedef struct {
    char *path;       /* as it came, for messages */
    const char *link; /* borrowed */
    char type;
    uint64_t size;
    TreeInode metadata;
} Entry;

static void extension_reset(Extension *next)
{
    g_free(next->path);
    g_free(next->link);
    g_clear_pointer(&next->xattrs, g_array_unref);
    g_clear_pointer(&next->memory, g_ptr_array_unref);
    *next = (Extension){0};
}

/* --- bytes in, bytes to the stream ------------------------------------------------------------------------ */

/* Fewer bytes than asked for only at the end of the tar; -1 on failure. */
static ssize_t read_some(TarReader *reader, void *buffer, size_t size, GError **error)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = reader->read(reader->data, (char *)buffer + done, size - done, error);
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static bool read_exactly(TarReader *reader, void *buffer, size_t size, const char *what,
                         GError **error)
{
    ssize_t n = read_some(reader, buffer, size, error);
    if (n < 0)
        return false;
    if ((size_t)n < size)
        return error_throw(error, ERROR_CORRUPT, "tar ends in the middle of '%s'", what);
    return true;
}

static bool keep_inline(TarReader *reader, const void *bytes, size_t size, GError **error)
{
    return !reader->stream || size == 0 ||
           store_stream_write_inline(reader->stream, bytes, size, error);
}

/* Reads `size` bytes and their padding, all inline; the bytes are in the result, NUL-terminated. */
static char *read_inline(TarReader *reader, uint64_t size, const char *what, GError **error)
{
    if (size > EXTENSION_MAX)
        return error_throw_null(error, ERROR_INVALID,
                                "extension header of '%s' is larger than 1 MiB", what);
    size_t whole = (size_t)(size + tar_padding(size));
    g_autofree char *bytes = g_malloc(whole + 1);
    if (!read_exactly(reader, bytes, whole, what, error) ||
        !keep_inline(reader, bytes, whole, error))
        return NULL;
    bytes[size] = '\0';
    return g_steal_pointer(&bytes);
}

/* --- numbers ----------------------------------------------------------------------------------------------- */

/* Octal digits, or base-256 when the first byte's top bit is set. */
static bool parse_number(const char *field, size_t size, const char *what, int64_t *out,
                         GError **error)
{
    const uint8_t *p = (const uint8_t *)field;
    if (p[0] & 0x80) {
        bool negative = p[0] & 0x40;
        uint64_t value = negative ? UINT64_MAX << 6 | (p[0] & 0x3f) : p[0] & 0x3fu;
        for (size_t i = 1; i < size; i++) {
            if (value >> 55 != (negative ? 0x1ff : 0))
                return error_throw(error, ERROR_INVALID, "'%s' has a number out of range", what);
            value = value << 8 | p[i];
        }
        *out = (int64_t)value;
        return true;
    }
    size_t i = 0;
    int64_t value = 0;
    while (i < size && p[i] == ' ')
        i++;
    for (; i < size && p[i] >= '0' && p[i] <= '7'; i++)
        value = value << 3 | (p[i] - '0'); /* at most 12 digits */
    if (i < size && p[i] != ' ' && p[i] != '\0')
        return error_throw(error, ERROR_INVALID, "'%s' has a malformed number", what);
    *out = value;
    return true;
}

static bool parse_decimal(const char *text, uint64_t *out, GError **error)
{
    if (!g_ascii_string_to_unsigned(text, 10, 0, INT64_MAX, out, NULL))
        return error_throw(error, ERROR_INVALID, "malformed number '%s' in a pax header", text);
    return true;
}

/* "seconds[.fraction]", negative times are before all that we keep: 0. */
static bool parse_time(const char *text, Extension *next, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, ".", 2);
    next->has_mtime = true;
    if (text[0] == '-')
        return true;
    uint64_t seconds;
    if (!parse_decimal(parts[0] ? parts[0] : "", &seconds, error))
        return false;
    next->mtime = (int64_t)seconds;
    uint32_t nsec = 0, scale = 100000000;
    for (const char *p = parts[1] ? parts[1] : ""; *p; p++, scale /= 10) {
        if (!g_ascii_isdigit(*p))
            return error_throw(error, ERROR_INVALID, "malformed time '%s' in a pax header", text);
        nsec += (uint32_t)(*p - '0') * scale;
    }
    next->mtime_nsec = nsec;
    return true;
}

/* --- extension headers ------------------------------------------------------------------------------------- */

static bool add_xattr(Extension *next, const char *name, const char *value, size_t size,
                      GError **error)
{
    /* only our own writer makes these: a hand-made redirect could name any object */
    if (g_str_has_prefix(name, "trusted."))
        return error_throw(error, ERROR_INVALID, "a tar must not set the xattr '%s'", name);
    if (!*name || strlen(name) > 255 || size > 65535)
        return error_throw(error, ERROR_INVALID, "xattr '%s' is empty or too long", name);
    if (!next->xattrs) {
        next->xattrs = g_array_new(false, false, sizeof(TreeXattr));
        next->memory = g_ptr_array_new_with_free_func(g_free);
    }
    TreeXattr xattr = {g_strdup(name), g_memdup2(value, size), size};
    g_ptr_array_add(next->memory, (void *)xattr.name);
    g_ptr_array_add(next->memory, (void *)xattr.value);
    g_array_append_val(next->xattrs, xattr);
    return true;
}

static bool apply_record(Extension *next, const char *key, const char *value, size_t size,
                         GError **error)
{
    if (g_str_has_prefix(key, "SCHILY.xattr."))
        return add_xattr(next, key + strlen("SCHILY.xattr."), value, size, error);
    if (g_str_has_prefix(key, "GNU.sparse."))
        return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: sparse files in a tar");
    bool is_path = strcmp(key, "path") == 0, is_link = strcmp(key, "linkpath") == 0;
    if ((is_path || is_link) && strlen(value) != size)
        return error_throw(error, ERROR_INVALID, "a path in a pax header has a NUL in it");
    if (is_path) {
        g_free(next->path);
        next->path = g_strdup(value);
    } else if (is_link) {
        g_free(next->link);
        next->link = g_strdup(value);
    } else if (strcmp(key, "size") == 0) {
        next->has_size = true;
        return parse_decimal(value, &next->size, error);
    } else if (strcmp(key, "uid") == 0) {
        next->has_uid = true;
        return parse_decimal(value, &next->uid, error);
    } else if (strcmp(key, "gid") == 0) {
        next->has_gid = true;
        return parse_decimal(value, &next->gid, error);
    } else if (strcmp(key, "mtime") == 0) {
        return parse_time(value, next, error);
    }
    return true; /* atime, uname, comment…: kept in the stream, no part of the tree */
}

/* Records "LENGTH KEY=VALUE\n" one after the other. */
static bool apply_records(Extension *next, char *records, size_t size, GError **error)
{
    while (size > 0) {
        char *end;
        errno = 0;
        unsigned long length = g_ascii_isdigit(*records) ? strtoul(records, &end, 10) : 0;
        if (length == 0 || errno || length > size || *end != ' ' || records[length - 1] != '\n')
            return error_throw(error, ERROR_INVALID, "malformed pax header");
        records[length - 1] = '\0';
        char *key = end + 1;
        char *equals = key < records + length ? strchr(key, '=') : NULL;
        if (!equals || equals == key)
            return error_throw(error, ERROR_INVALID, "malformed pax header");
        *equals = '\0';
        char *value = equals + 1;
        if (!apply_record(next, key, value, (size_t)(records + length - 1 - value), error))
            return false;
        records += length;
        size -= length;
    }
    return true;
}

/* L, K, x: about the next entry. g: global; its records (git's comment, say) are kept in the stream only. */
static bool read_extension(TarReader *reader, char type, uint64_t size, GError **error)
{
    g_autofree char *bytes = read_inline(reader, size, "an extension header", error);
    if (!bytes)
        return false;
    if (type == 'L') {
        g_free(reader->next.path);
        reader->next.path = g_steal_pointer(&bytes);
    } else if (type == 'K') {
        g_free(reader->next.link);
        reader->next.link = g_steal_pointer(&bytes);
    } else if (type == 'x') {
        return apply_records(&reader->next, bytes, (size_t)size, error);
    }
    return true;
}

/* --- entries ----------------------------------------------------------------------------------------------- */

/* The header's and the extensions' words on one entry. */
static bool understand(TarReader *reader, const TarHeader *header, Entry *entry, GError **error)
{
    Extension *next = &reader->next;
    bool posix = memcmp(header->magic, "ustar", 6) == 0;
    g_autofree char *name = g_strndup(header->name, sizeof header->name);
    g_autofree char *prefix = g_strndup(header->prefix, sizeof header->prefix);
    if (next->path)
        entry->path = g_strdup(next->path);
    else if (posix && *prefix)
        entry->path = g_strconcat(prefix, "/", name, NULL);
    else
        entry->path = g_steal_pointer(&name);
    if (!next->link)
        next->link = g_strndup(header->linkname, sizeof header->linkname);
    entry->link = next->link;

    int64_t mode, uid, gid, mtime, device_major = 0, device_minor = 0;
    const char *what = entry->path;
    if (!parse_number(header->mode, sizeof header->mode, what, &mode, error) ||
        !parse_number(header->uid, sizeof header->uid, what, &uid, error) ||
        !parse_number(header->gid, sizeof header->gid, what, &gid, error) ||
        !parse_number(header->mtime, sizeof header->mtime, what, &mtime, error))
        return false;
    if ((entry->type == '3' || entry->type == '4') &&
        (!parse_number(header->devmajor, sizeof header->devmajor, what, &device_major, error) ||
         !parse_number(header->devminor, sizeof header->devminor, what, &device_minor, error)))
        return false;
    TreeInode *metadata = &entry->metadata;
    metadata->mode = (uint32_t)mode & 07777;
    uid = next->has_uid ? (int64_t)next->uid : uid;
    gid = next->has_gid ? (int64_t)next->gid : gid;
    if (uid < 0 || uid > UINT32_MAX || gid < 0 || gid > UINT32_MAX)
        return error_throw(error, ERROR_INVALID, "'%s' has an owner out of range", what);
    metadata->uid = (uint32_t)uid;
    metadata->gid = (uint32_t)gid;
    metadata->mtime = next->has_mtime ? next->mtime : MAX(mtime, 0);
    metadata->mtime_nsec = next->mtime_nsec;
    metadata->rdev = makedev((unsigned)device_major, (unsigned)device_minor);
    metadata->n_xattrs = next->xattrs ? next->xattrs->len : 0;
    metadata->xattrs = next->xattrs ? (const TreeXattr *)next->xattrs->data : NULL;
    return true;
}

/* The path taken apart: no empty words, no "."; NULL for one that would leave the tree. */
static GPtrArray *split_path(const char *path, GError **error)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) all = g_strsplit(path, "/", -1);
    for (char **word = all; *word; word++) {
        if (**word == '\0' || strcmp(*word, ".") == 0)
            continue;
        if (strcmp(*word, "..") == 0)
            return error_throw_null(error, ERROR_INVALID, "'%s' would leave the tree", path);
        g_ptr_array_add(words, g_strdup(*word));
    }
    return g_steal_pointer(&words);
}

/* The directory that holds the path's last word; what is missing on the way is made. */
static TreeNode *find_parent(TarReader *reader, const GPtrArray *words, const char *path,
                             GError **error)
{
    TreeNode *dir = tree_root(reader->tree);
    for (guint i = 0; i + 1 < words->len; i++) {
        const char *word = words->pdata[i];
        TreeNode *child = tree_child(reader->tree, dir, word);
        if (child && child->inode->whiteout) {
            tree_remove(reader->tree, child);
            child = NULL;
        }
        if (!child) {
            child = tree_add(reader->tree, dir, word, S_IFDIR | 0755, error);
            if (!child)
                return NULL;
            child->inode->implicit = reader->layer;
        }
        if (!S_ISDIR(child->inode->mode))
            return error_throw_null(error, ERROR_INVALID,
                                    "'%s' leads through '%s', which is not a directory", path,
                                    word);
        dir = child;
    }
    return dir;
}

static void set_metadata(TarReader *reader, TreeInode *inode, const Entry *entry)
{
    inode->mode = (inode->mode & S_IFMT) | entry->metadata.mode;
    inode->uid = entry->metadata.uid;
    inode->gid = entry->metadata.gid;
    inode->mtime = entry->metadata.mtime;
    inode->mtime_nsec = entry->metadata.mtime_nsec;
    inode->implicit = false;
    tree_set_xattrs(reader->tree, inode, entry->metadata.xattrs, entry->metadata.n_xattrs);
}

/* OCI image spec, layer.md: a whiteout speaks of lower layers only, so it takes nothing from this one. */
static bool add_whiteout(TarReader *reader, TreeNode *dir, const char *name, GError **error)
{
    if (strcmp(name, ".wh..opq") == 0) {
        dir->inode->opaque = true;
        return true;
    }
    if (g_str_has_prefix(name, ".wh."))
        return true; /* aufs' own files */
    TreeNode *there = tree_child(reader->tree, dir, name);
    if (there) {
        if (S_ISDIR(there->inode->mode))
            there->inode->opaque = true;
        return true;
    }
    TreeNode *node = tree_add(reader->tree, dir, name, S_IFCHR, error);
    if (!node)
        return false;
    node->inode->whiteout = true;
    return true;
}

/* A fresh node for the entry; what had the name before goes, but a directory stays one. */
static TreeNode *replace(TarReader *reader, TreeNode *dir, const char *name, uint32_t type,
                         GError **error)
{
    TreeNode *there = tree_child(reader->tree, dir, name);
    bool hides = there && there->inode->whiteout;
    if (there && !hides && type == S_IFDIR && S_ISDIR(there->inode->mode))
        return there;
    if (there)
        tree_remove(reader->tree, there);
    TreeNode *node = tree_add(reader->tree, dir, name, type, error);
    if (node && hides && type == S_IFDIR)
        node->inode->opaque = true;
    return node;
}

static bool add_hard_link(TarReader *reader, TreeNode *dir, const char *name, const Entry *entry,
                          GError **error)
{
    g_autoptr(GPtrArray) words = split_path(entry->link, error);
    if (!words)
        return error_prefix(error, "'%s'", entry->path);
    TreeNode *target = tree_root(reader->tree);
    for (guint i = 0; target && i < words->len; i++)
        target =
            S_ISDIR(target->inode->mode) ? tree_child(reader->tree, target, words->pdata[i]) : NULL;
    if (!target || S_ISDIR(target->inode->mode) || target->inode->whiteout)
        return error_throw(error, ERROR_INVALID,
                           "'%s' is a hard link to '%s', which is no file of this tar", entry->path,
                           entry->link);
    TreeNode *there = tree_child(reader->tree, dir, name);
    if (there && there->inode == target->inode)
        return true;
    if (there)
        tree_remove(reader->tree, there);
    return tree_link(reader->tree, dir, name, target, error) != NULL;
}

static bool read_object(TarReader *reader, TreeInode *inode, const Entry *entry, GError **error)
{
    StoreWriter *writer = store_writer_new(reader->txn, error);
    if (!writer)
        return false;
    for (uint64_t left = entry->size; left > 0;) {
        size_t n = (size_t)MIN(left, (uint64_t)COPY_SIZE);
        if (!read_exactly(reader, reader->buffer, n, entry->path, error) ||
            !store_writer_append(writer, reader->buffer, n, error)) {
            store_writer_abort(writer);
            return false;
        }
        left -= n;
    }
    Digest object;
    if (!store_writer_finish(writer, &object, error))
        return false;
    if (reader->stream && !store_stream_write_object(reader->stream, &object, entry->size, error))
        return false;
    tree_set_object(reader->tree, inode, &object, entry->size);
    return read_exactly(reader, reader->buffer, tar_padding(entry->size), entry->path, error) &&
           keep_inline(reader, reader->buffer, tar_padding(entry->size), error);
}

static bool read_content(TarReader *reader, TreeInode *inode, const Entry *entry, GError **error)
{
    if (entry->size > TREE_INLINE_MAX)
        return read_object(reader, inode, entry, error);
    g_autofree char *bytes = read_inline(reader, entry->size, entry->path, error);
    if (!bytes)
        return false;
    if (entry->size > 0)
        tree_set_inline(reader->tree, inode, bytes, (size_t)entry->size);
    return true;
}

static uint32_t mode_of(char type)
{
    switch (type) {
    case '0':
        return S_IFREG;
    case '2':
        return S_IFLNK;
    case '3':
        return S_IFCHR;
    case '4':
        return S_IFBLK;
    case '5':
        return S_IFDIR;
    case '6':
        return S_IFIFO;
    default:
        return 0;
    }
}

static bool add_named(TarReader *reader, TreeNode *dir, const char *name, const Entry *entry,
                      GError **error)
{
    if (reader->layer && g_str_has_prefix(name, ".wh.")) {
        g_autofree char *ignored = read_inline(reader, entry->size, entry->path, error);
        return ignored && add_whiteout(reader, dir, name + 4, error);
    }
    if (entry->type == '1')
        return add_hard_link(reader, dir, name, entry, error);
    TreeNode *node = replace(reader, dir, name, mode_of(entry->type), error);
    if (!node)
        return error_prefix(error, "'%s'", entry->path);
    set_metadata(reader, node->inode, entry);
    if (entry->type == '2') {
        if (!*entry->link)
            return error_throw(error, ERROR_INVALID, "'%s' is a link to nowhere", entry->path);
        tree_set_target(reader->tree, node->inode, entry->link);
    } else if (entry->type == '3' || entry->type == '4') {
        node->inode->rdev = entry->metadata.rdev;
    }
    return entry->type != '0' || read_content(reader, node->inode, entry, error);
}

static bool add_entry(TarReader *reader, const Entry *entry, GError **error)
{
    g_autoptr(GPtrArray) words = split_path(entry->path, error);
    if (!words)
        return false;
    if (words->len == 0) { /* the root itself */
        if (entry->type != '5')
            return error_throw(error, ERROR_INVALID, "'%s' replaces the root", entry->path);
        set_metadata(reader, tree_root(reader->tree)->inode, entry);
        return true;
    }
    TreeNode *dir = find_parent(reader, words, entry->path, error);
    return dir && add_named(reader, dir, words->pdata[words->len - 1], entry, error);
}

/* Type and size as all readers of old tars take them. */
static bool classify(const TarHeader *header, const Extension *next, Entry *entry, GError **error)
{
    int64_t size;
    if (!parse_number(header->size, sizeof header->size, "tar", &size, error))
        return false;
    if (size < 0)
        return error_throw(error, ERROR_INVALID, "a tar entry has a negative size");
    entry->type = header->type == '\0' || header->type == '7' ? '0' : header->type;
    entry->size = next->has_size ? next->size : (uint64_t)size;
    return true;
}

static bool read_entry(TarReader *reader, const TarHeader *header, GError **error)
{
    Entry entry = {0};
    if (!classify(header, &reader->next, &entry, error))
        return false;
    if (strchr("LKxg", entry.type))
        return read_extension(reader, entry.type, entry.size, error);
    if (entry.type == 'S')
        return error_throw(error, ERROR_UNSUPPORTED, "not supported yet: sparse files in a tar");
    bool ok = understand(reader, header, &entry, error);
    g_autofree char *path = entry.path;
    if (ok && entry.type == '0' && header->type == '\0' && g_str_has_suffix(path, "/"))
        entry.type = '5'; /* before ustar a directory was a file with a slash at the end */
    if (ok && entry.type != '1' && !mode_of(entry.type))
        ok = error_throw(error, ERROR_INVALID, "'%s' is of the unknown type '%c'", path,
                         g_ascii_isprint(entry.type) ? entry.type : '?');
    if (entry.type != '0')
        entry.size = 0; /* links, devices and directories have no data, whatever the header says */
    ok = ok && add_entry(reader, &entry, error);
    extension_reset(&reader->next);
    return ok;
}

static bool check_header(const TarHeader *header, GError **error)
{
    int64_t sum, with_sign, said;
    tar_checksums(header, &sum, &with_sign);
    if (!parse_number(header->checksum, sizeof header->checksum, "tar", &said, NULL) ||
        (said != sum && said != with_sign))
        return error_throw(error, ERROR_CORRUPT,
                           "this is no tar, or a damaged one: wrong checksum");
    return true;
}

/* After the end marker: record padding and whatever else there is. */
static bool read_rest(TarReader *reader, GError **error)
{
    for (;;) {
        ssize_t n = read_some(reader, reader->buffer, COPY_SIZE, error);
        if (n <= 0)
            return n == 0;
        if (!keep_inline(reader, reader->buffer, (size_t)n, error))
            return false;
    }
}

static bool read_all(TarReader *reader, GError **error)
{
    static const char zeros[TAR_BLOCK];
    for (;;) {
        TarHeader header;
        ssize_t n = read_some(reader, &header, sizeof header, error);
        if (n <= 0)
            return n == 0;
        if (n < TAR_BLOCK)
            return error_throw(error, ERROR_CORRUPT, "tar ends in the middle of a header");
        if (!keep_inline(reader, &header, sizeof header, error))
            return false;
        if (memcmp(&header, zeros, sizeof zeros) == 0)
            return read_rest(reader, error);
        if (!check_header(&header, error) || !read_entry(reader, &header, error))
            return false;
    }
}

Tree *store_import_tar(StoreTxn *txn, StoreReadFunc read, void *data, bool layer,
                       StoreStreamWriter *stream, GError **error)
{
    g_autoptr(Tree) tree = tree_new();
    g_autofree uint8_t *buffer = g_malloc(COPY_SIZE);
    TarReader reader = {.read = read,
                        .data = data,
                        .txn = txn,
                        .stream = stream,
                        .tree = tree,
                        .layer = layer,
                        .buffer = buffer};
    bool ok = read_all(&reader, error);
    extension_reset(&reader.next);
    return ok ? g_steal_pointer(&tree) : NULL;
}
