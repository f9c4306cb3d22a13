/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A tar that depends on nothing but the tree: names in byte order, ustar headers, a pax header only where ustar can't
 * say it, the end mark without record padding. Directories that are only on the way in a layer aren't written. */
#include "store/output.h"
#include "store/tar.h"

#include <string.h>
#include <sys/sysmacros.h>

typedef struct {
    const StoreTarSink *sink;
    void *data;
    GHashTable *written; /* inode with several names -> path of the first */
} TarWriter;

static bool write_bytes(TarWriter *writer, const void *bytes, size_t size, GError **error)
{
    return size == 0 || writer->sink->bytes(writer->data, bytes, size, error);
}

static bool write_padding(TarWriter *writer, uint64_t size, GError **error)
{
    static const char zeros[TAR_BLOCK];
    return write_bytes(writer, zeros, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK, error);
}

/* --- headers -------------------------------------------------------------------------------------------- */

/* Octal with a NUL behind it; false (and the largest number) when it doesn't fit. */
static bool put_octal(char *field, size_t size, uint64_t number)
{
    uint64_t most = ((uint64_t)1 << 3 * (size - 1)) - 1;
    uint64_t shown = MIN(number, most);
    for (size_t i = size - 1; i > 0; i--, shown >>= 3)
        field[i - 1] = (char)('0' + (shown & 7));
    return number <= most;
}

/* In `name`, or split at a slash over `prefix` and `name`. */
static bool put_path(TarHeader *header, const char *path)
{
    size_t length = strlen(path);
    if (length <= sizeof header->name) {
        memcpy(header->name, path, length);
        return true;
    }
    for (size_t i = MIN(length - 1, sizeof header->prefix); i > 0; i--) {
        size_t rest = length - i - 1;
        if (path[i] == '/' && rest > 0 && rest <= sizeof header->name) {
            memcpy(header->prefix, path, i);
            memcpy(header->name, path + i + 1, rest);
            return true;
        }
    }
    memcpy(header->name, path, sizeof header->name);
    return false;
}

static void put_checksum(TarHeader *header)
{
    memset(header->checksum, ' ', sizeof header->checksum);
    unsigned sum = 0;
    for (size_t i = 0; i < sizeof *header; i++)
        sum += ((const uint8_t *)header)[i];
    put_octal(header->checksum, 7, sum);
    header->checksum[6] = '\0';
}

static TarHeader make_header(char type)
{
    TarHeader header = {.type = type, .magic = "ustar", .version = {'0', '0'}};
    put_octal(header.major, sizeof header.major, 0);
    put_octal(header.minor, sizeof header.minor, 0);
    return header;
}

/* The length counts its own digits. */
static void append_record(GByteArray *pax, const char *key, const void *value, size_t size)
{
    size_t rest = 1 + strlen(key) + 1 + size + 1, length = rest + 1;
    for (size_t digits = 1;; digits++) {
        length = rest + digits;
        g_autofree char *text = g_strdup_printf("%zu", length);
        if (strlen(text) == digits)
            break;
    }
    g_autofree char *head = g_strdup_printf("%zu %s=", length, key);
    g_byte_array_append(pax, (const uint8_t *)head, (guint)strlen(head));
    g_byte_array_append(pax, value, (guint)size);
    g_byte_array_append(pax, (const uint8_t *)"\n", 1);
}

static void append_number(GByteArray *pax, const char *key, uint64_t number)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, number);
    append_record(pax, key, text, strlen(text));
}

static void append_mtime(GByteArray *pax, const TreeInode *inode)
{
    /* before 1970 the fraction counts backwards too: a second before, and half a second more of time, is "-0.5" */
    bool back = inode->mtime < 0 && inode->mtime_nsec > 0;
    int64_t seconds = inode->mtime + back;
    g_autofree char *text =
        g_strdup_printf("%s%" G_GINT64_FORMAT ".%09u", back && seconds == 0 ? "-" : "", seconds,
                        back ? 1000000000 - inode->mtime_nsec : inode->mtime_nsec);
    append_record(pax, "mtime", text, strlen(text));
}

/* Fills the header and collects what it can't hold. */
static void describe(TarHeader *header, GByteArray *pax, const char *path, const char *link,
                     const TreeInode *inode, uint64_t size)
{
    if (!put_path(header, path))
        append_record(pax, "path", path, strlen(path));
    if (link && strlen(link) > sizeof header->link)
        append_record(pax, "linkpath", link, strlen(link));
    if (link)
        memcpy(header->link, link, MIN(strlen(link), sizeof header->link));
    put_octal(header->mode, sizeof header->mode, inode->mode & 07777);
    if (!put_octal(header->uid, sizeof header->uid, inode->uid))
        append_number(pax, "uid", inode->uid);
    if (!put_octal(header->gid, sizeof header->gid, inode->gid))
        append_number(pax, "gid", inode->gid);
    if (!put_octal(header->size, sizeof header->size, size))
        append_number(pax, "size", size);
    if (!put_octal(header->mtime, sizeof header->mtime, (uint64_t)inode->mtime) ||
        inode->mtime_nsec)
        append_mtime(pax, inode);
    if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) {
        put_octal(header->major, sizeof header->major, major(inode->rdev));
        put_octal(header->minor, sizeof header->minor, minor(inode->rdev));
    }
    for (size_t i = 0; i < inode->n_xattrs && header->type != '1'; i++) {
        g_autofree char *key = g_strconcat("SCHILY.xattr.", inode->xattrs[i].name, NULL);
        append_record(pax, key, inode->xattrs[i].value, inode->xattrs[i].size);
    }
}

static bool write_pax(TarWriter *writer, const GByteArray *pax, GError **error)
{
    TarHeader header = make_header('x');
    memcpy(header.name, "PaxHeaders", strlen("PaxHeaders"));
    put_octal(header.mode, sizeof header.mode, 0644);
    put_octal(header.uid, sizeof header.uid, 0);
    put_octal(header.gid, sizeof header.gid, 0);
    put_octal(header.size, sizeof header.size, pax->len);
    put_octal(header.mtime, sizeof header.mtime, 0);
    put_checksum(&header);
    return write_bytes(writer, &header, sizeof header, error) &&
           write_bytes(writer, pax->data, pax->len, error) &&
           write_padding(writer, pax->len, error);
}

static bool write_header(TarWriter *writer, char type, const char *path, const char *link,
                         const TreeInode *inode, uint64_t size, GError **error)
{
    TarHeader header = make_header(type);
    g_autoptr(GByteArray) pax = g_byte_array_new();
    describe(&header, pax, path, link, inode, size);
    put_checksum(&header);
    return (pax->len == 0 || write_pax(writer, pax, error)) &&
           write_bytes(writer, &header, sizeof header, error);
}

/* --- entries -------------------------------------------------------------------------------------------- */

static bool write_mark(TarWriter *writer, const char *dir, const char *name, GError **error)
{
    static const TreeInode empty = {.mode = S_IFREG};
    g_autofree char *path = g_strconcat(dir, name, NULL);
    return write_header(writer, '0', path, NULL, &empty, 0, error);
}

static bool write_file(TarWriter *writer, const char *path, const TreeInode *inode, GError **error)
{
    if (inode->size > 0 && !inode->content && !inode->has_object)
        return error_throw(error, ERROR_INVALID,
                           "cannot write '/%s' to a tar: its bytes are not known", path);
    if (!write_header(writer, '0', path, NULL, inode, inode->size, error))
        return false;
    if (inode->has_object && inode->size > 0) {
        if (!writer->sink->object(writer->data, &inode->object, inode->size, error))
            return false;
    } else if (!write_bytes(writer, inode->content, inode->size, error)) {
        return false;
    }
    return write_padding(writer, inode->size, error);
}

static bool write_leaf(TarWriter *writer, const char *path, const TreeInode *inode, GError **error)
{
    /* Linux has 12 and 20 bits; a dump may say more */
    if ((S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) &&
        (major(inode->rdev) >= 1 << 12 || minor(inode->rdev) >= 1 << 20))
        return error_throw(error, ERROR_INVALID,
                           "cannot write '/%s' to a tar: there is no such device number", path);
    switch (inode->mode & S_IFMT) {
    case S_IFREG:
        return write_file(writer, path, inode, error);
    case S_IFLNK:
        return write_header(writer, '2', path, inode->target, inode, 0, error);
    case S_IFCHR:
        return write_header(writer, '3', path, NULL, inode, 0, error);
    case S_IFBLK:
        return write_header(writer, '4', path, NULL, inode, 0, error);
    case S_IFIFO:
        return write_header(writer, '6', path, NULL, inode, 0, error);
    default:
        return true; /* sockets: tar has none */
    }
}

static bool write_node(TarWriter *writer, TreeNode *node, const char *dir, GError **error)
{
    const TreeInode *inode = node->inode;
    if (inode->whiteout) {
        g_autofree char *name = g_strconcat(".wh.", node->name, NULL);
        return write_mark(writer, dir, name, error);
    }
    g_autofree char *path = g_strconcat(dir, node->name, S_ISDIR(inode->mode) ? "/" : NULL, NULL);
    if (!S_ISDIR(inode->mode)) {
        const char *first = inode->nlink > 1 ? g_hash_table_lookup(writer->written, inode) : NULL;
        if (first)
            return write_header(writer, '1', path, first, inode, 0, error);
        if (!write_leaf(writer, path, inode, error))
            return false;
        if (inode->nlink > 1)
            g_hash_table_insert(writer->written, (void *)inode, g_steal_pointer(&path));
        return true;
    }
    if (!inode->implicit &&
        !write_header(writer, '5', node->parent ? path : "./", NULL, inode, 0, error))
        return false;
    const char *prefix = node->parent ? path : "";
    if (inode->opaque && !write_mark(writer, prefix, ".wh..wh..opq", error))
        return false;
    TreeNode *child;
    TREE_EACH_CHILD (node, child)
        if (!write_node(writer, child, prefix, error))
            return false;
    return true;
}

bool store_write_tar(Tree *tree, const StoreTarSink *sink, void *data, GError **error)
{
    static const char end[2 * TAR_BLOCK];
    g_autoptr(GHashTable) written = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    TarWriter writer = {.sink = sink, .data = data, .written = written};
    return write_node(&writer, tree_root(tree), "", error) &&
           write_bytes(&writer, end, sizeof end, error);
}

static bool output_bytes(void *data, const void *bytes, size_t size, GError **error)
{
    return store_output_bytes(data, bytes, size, error);
}

static bool output_object(void *data, const Digest *object, uint64_t size, GError **error)
{
    return store_output_object(data, object, size, error);
}

bool store_write_tar_fd(Store *store, Tree *tree, int fd, GError **error)
{
    static const StoreTarSink sink = {output_bytes, output_object};
    StoreOutput output;
    store_output_init(&output, store, fd);
    bool good = store_write_tar(tree, &sink, &output, error) && store_output_flush(&output, error);
    store_output_clear(&output);
    return good;
}
