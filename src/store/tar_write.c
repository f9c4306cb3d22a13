/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: one walk, depth first in byte order, gives every name its entry. The same tree always gives the
 * same bytes: ustar headers, a pax header only for what they can't hold, its records in a fixed order, no user
 * names. Files of objects pass as references, so the caller decides whether bytes are copied.
 */
#include "store/store.h"
#include "store/tar.h"

#include <stdio.h>
#include <sys/sysmacros.h>

typedef struct {
    const StoreTarSink *sink;
    void *data;
    GHashTable *links; /* inode with several names -> path of the first one */
} TarWriter;

static bool put(TarWriter *writer, const void *bytes, size_t size, GError **error)
{
    return size == 0 || writer->sink->bytes(writer->data, bytes, size, error);
}

static bool put_padding(TarWriter *writer, uint64_t size, GError **error)
{
    static const char zeros[TAR_BLOCK];
    return put(writer, zeros, tar_padding(size), error);
}

/* A pax record: "LENGTH KEY=VALUE\n", where the length counts itself. */
static void add_record(GString *records, const char *key, const void *value, size_t size)
{
    size_t rest = strlen(key) + size + 3;
    size_t length = rest + 1;
    for (size_t limit = 10; length >= limit; limit *= 10)
        length = rest + (size_t)snprintf(NULL, 0, "%zu", length);
    length = rest + (size_t)snprintf(NULL, 0, "%zu", length);
    g_string_append_printf(records, "%zu %s=", length, key);
    g_string_append_len(records, value, (gssize)size);
    g_string_append_c(records, '\n');
}

/* Octal with a NUL at the end when it fits; else a pax record says it and the field stays 0. */
static void put_number(char *field, size_t size, uint64_t value, const char *key, GString *records)
{
    unsigned bits = (unsigned)(size - 1) * 3;
    bool fits = bits >= 64 || value >> bits == 0;
    snprintf(field, size, "%0*" G_GINT64_MODIFIER "o", (int)size - 1, fits ? value : 0);
    if (!fits && key) {
        char text[24];
        snprintf(text, sizeof text, "%" G_GUINT64_FORMAT, value);
        add_record(records, key, text, strlen(text));
    }
}

/* The path into name and prefix, or a pax record with the name cut off. */
static void put_path(TarHeader *header, const char *path, GString *records)
{
    size_t size = strlen(path);
    if (size <= sizeof header->name) {
        memcpy(header->name, path, size);
        return;
    }
    for (size_t at = size - 1; at > 0; at--)
        if (path[at] == '/' && at <= sizeof header->prefix && size - at - 1 > 0 &&
            size - at - 1 <= sizeof header->name) {
            memcpy(header->prefix, path, at);
            memcpy(header->name, path + at + 1, size - at - 1);
            return;
        }
    memcpy(header->name, path, sizeof header->name);
    add_record(records, "path", path, size);
}

static void put_link(TarHeader *header, const char *target, GString *records)
{
    size_t size = strlen(target);
    memcpy(header->linkname, target, MIN(size, sizeof header->linkname));
    if (size > sizeof header->linkname)
        add_record(records, "linkpath", target, size);
}

static void put_metadata(TarHeader *header, const TreeInode *inode, GString *records)
{
    put_number(header->mode, sizeof header->mode, inode->mode & 07777, NULL, records);
    put_number(header->uid, sizeof header->uid, inode->uid, "uid", records);
    put_number(header->gid, sizeof header->gid, inode->gid, "gid", records);
    put_number(header->mtime, sizeof header->mtime, (uint64_t)inode->mtime,
               inode->mtime_nsec ? NULL : "mtime", records);
    if (inode->mtime_nsec) {
        g_autofree char *text =
            g_strdup_printf("%" G_GINT64_FORMAT ".%09u", inode->mtime, inode->mtime_nsec);
        add_record(records, "mtime", text, strlen(text));
    }
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) {
        put_number(header->devmajor, sizeof header->devmajor, major(inode->rdev), NULL, records);
        put_number(header->devminor, sizeof header->devminor, minor(inode->rdev), NULL, records);
    }
}

static void put_xattrs(const TreeInode *inode, GString *records)
{
    for (size_t i = 0; i < inode->n_xattrs; i++) {
        const TreeXattr *xattr = &inode->xattrs[i];
        g_autofree char *key = g_strconcat("SCHILY.xattr.", xattr->name, NULL);
        add_record(records, key, xattr->value, xattr->size);
    }
}

static bool put_header(TarWriter *writer, TarHeader *header, GError **error)
{
    memcpy(header->magic, "ustar", 6);
    memcpy(header->version, "00", 2);
    int64_t sum, with_sign;
    tar_checksums(header, &sum, &with_sign);
    snprintf(header->checksum, sizeof header->checksum, "%06o", (unsigned)sum);
    header->checksum[7] = ' ';
    return put(writer, header, sizeof *header, error);
}

/* The records as an entry of their own, before the one they speak of. */
static bool put_records(TarWriter *writer, const GString *records, GError **error)
{
    if (records->len == 0)
        return true;
    TarHeader header = {.type = 'x'};
    memcpy(header.name, "PaxHeaders.0", 12);
    put_number(header.mode, sizeof header.mode, 0644, NULL, NULL);
    put_number(header.uid, sizeof header.uid, 0, NULL, NULL);
    put_number(header.gid, sizeof header.gid, 0, NULL, NULL);
    put_number(header.mtime, sizeof header.mtime, 0, NULL, NULL);
    put_number(header.size, sizeof header.size, records->len, NULL, NULL);
    return put_header(writer, &header, error) && put(writer, records->str, records->len, error) &&
           put_padding(writer, records->len, error);
}

static char type_of(const TreeInode *inode)
{
    switch (inode->mode & S_IFMT) {
    case S_IFREG:
        return '0';
    case S_IFLNK:
        return '2';
    case S_IFCHR:
        return '3';
    case S_IFBLK:
        return '4';
    case S_IFDIR:
        return '5';
    case S_IFIFO:
        return '6';
    default:
        return 0;
    }
}

static bool put_content(TarWriter *writer, const TreeInode *inode, GError **error)
{
    bool done = inode->has_object
                    ? writer->sink->object(writer->data, &inode->object, inode->size, error)
                    : put(writer, inode->content, inode->size, error);
    return done && put_padding(writer, inode->size, error);
}

/* `path` without a leading slash; `first` is the path of the inode's first name when this is another. */
static bool put_entry(TarWriter *writer, const char *path, const TreeInode *inode,
                      const char *first, GError **error)
{
    g_autoptr(GString) records = g_string_new(NULL);
    TarHeader header = {.type = first ? '1' : type_of(inode)};
    if (header.type == 0)
        return error_throw(error, ERROR_INVALID, "cannot put socket '%s' into a tar", path);
    uint64_t size = header.type == '0' ? inode->size : 0;
    if (size > 0 && !inode->has_object && !inode->content)
        return error_throw(error, ERROR_INVALID, "'%s' has a size but no content", path);
    put_path(&header, path, records);
    if (first)
        put_link(&header, first, records);
    else if (header.type == '2')
        put_link(&header, inode->target, records);
    put_number(header.size, sizeof header.size, size, "size", records);
    put_metadata(&header, inode, records);
    if (!first)
        put_xattrs(inode, records);
    return put_records(writer, records, error) && put_header(writer, &header, error) &&
           (size == 0 || put_content(writer, inode, error));
}

/* OCI image spec, layer.md "Whiteouts": an empty file with a telling name. */
static bool put_marker(TarWriter *writer, const char *dir, const char *name, GError **error)
{
    g_autofree char *path = g_strdup_printf("%s%s%s", dir, *dir ? "/" : "", name);
    const TreeInode marker = {.mode = S_IFREG};
    return put_entry(writer, path, &marker, NULL, error);
}

static bool put_whiteout(TarWriter *writer, const TreeNode *node, GError **error)
{
    g_autofree char *dir = tree_path(node->parent);
    g_autofree char *name = g_strconcat(".wh.", node->name, NULL);
    return put_marker(writer, dir + 1, name, error);
}

static bool put_directory(TarWriter *writer, const TreeNode *node, const char *path, GError **error)
{
    g_autofree char *name = g_strconcat(*path ? path : ".", "/", NULL);
    return put_entry(writer, name, node->inode, NULL, error) &&
           (!node->inode->opaque || put_marker(writer, path, ".wh..wh..opq", error));
}

static bool put_node(TreeNode *node, void *data, GError **error)
{
    TarWriter *writer = data;
    if (node->inode->whiteout)
        return put_whiteout(writer, node, error);
    if (node->inode->implicit && !node->inode->opaque)
        return true; /* only on the way: it keeps the metadata it has below */
    g_autofree char *path = tree_path(node);
    if (S_ISDIR(node->inode->mode))
        return put_directory(writer, node, path + 1, error);
    const char *first = NULL;
    if (node->inode->nlink > 1) {
        first = g_hash_table_lookup(writer->links, node->inode);
        if (!first)
            g_hash_table_insert(writer->links, node->inode, g_strdup(path + 1));
    }
    return put_entry(writer, path + 1, node->inode, first, error);
}

bool store_write_tar(Tree *tree, const StoreTarSink *sink, void *data, GError **error)
{
    static const char end[2 * TAR_BLOCK];
    g_autoptr(GHashTable) links = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    TarWriter writer = {.sink = sink, .data = data, .links = links};
    return tree_walk(tree, put_node, &writer, error) && put(&writer, end, sizeof end, error);
}
