/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: one line, one name. Hard links may point forward and at each other, so they are kept aside and made
 * when all files are there. */
#include "tree/erofs.h"
#include "tree/node.h"

#include <stdlib.h>

typedef struct {
    const char *text;
    size_t size;
} Field;

enum { PATH, SIZE, MODE, NLINK, UID, GID, RDEV, MTIME, PAYLOAD, CONTENT, DIGEST, FIELDS };

typedef struct {
    char *path, *target;
    unsigned line;
    enum { WAITING, RESOLVING, DONE } state;
} Link;

typedef struct {
    Tree *tree;
    unsigned line;
    GPtrArray *links;    /* Link, as they came */
    GHashTable *by_path; /* of links */
} Parser;

static void link_free(void *data)
{
    Link *link = data;
    g_free(link->path);
    g_free(link->target);
    g_free(link);
}

static bool fail(const Parser *parser, GError **error, const char *reason)
{
    return error_throw(error, ERROR_INVALID, "line %u of the dump: %s", parser->line, reason);
}

/* --- fields --------------------------------------------------------------------------------------------- */

static bool next_field(const char **at, const char *end, Field *out_field)
{
    if (!*at)
        return false;
    const char *space = memchr(*at, ' ', (size_t)(end - *at));
    const char *stop = space ? space : end;
    *out_field = (Field){*at, (size_t)(stop - *at)};
    *at = space ? space + 1 : NULL;
    return true;
}

static bool is_unset(const Field *field)
{
    return field->size == 1 && field->text[0] == '-';
}

static bool unescape(const Parser *parser, const Field *field, GByteArray *out, GError **error)
{
    for (size_t i = 0; i < field->size; i++) {
        uint8_t byte = (uint8_t)field->text[i];
        if (byte == '\0')
            return fail(parser, error, "there is a NUL byte");
        if (byte == '\\') {
            char kind = ++i < field->size ? field->text[i] : '\0';
            if (kind == 'x' && i + 2 < field->size && g_ascii_isxdigit(field->text[i + 1]) &&
                g_ascii_isxdigit(field->text[i + 2])) {
                byte = (uint8_t)(g_ascii_xdigit_value(field->text[i + 1]) << 4 |
                                 g_ascii_xdigit_value(field->text[i + 2]));
                i += 2;
            } else if (kind == 'n' || kind == 'r' || kind == 't' || kind == '\\') {
                byte = kind == 'n' ? '\n' : kind == 'r' ? '\r' : kind == 't' ? '\t' : '\\';
            } else {
                return fail(parser, error, "unknown escape");
            }
        }
        g_byte_array_append(out, &byte, 1);
    }
    return true;
}

/* Unescaped text that can't have a NUL. */
static char *unescape_text(const Parser *parser, const Field *field, GError **error)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    if (!unescape(parser, field, bytes, error))
        return NULL;
    if (bytes->len && memchr(bytes->data, '\0', bytes->len)) {
        fail(parser, error, "a name or path has a NUL byte");
        return NULL;
    }
    g_byte_array_append(bytes, (const uint8_t *)"", 1);
    return (char *)g_byte_array_free(g_steal_pointer(&bytes), false);
}

static bool parse_number(const Parser *parser, const char *text, size_t size, int base,
                         uint64_t limit, uint64_t *out_number, GError **error)
{
    uint64_t number = 0;
    if (size == 0)
        return fail(parser, error, "a number is missing");
    for (size_t i = 0; i < size; i++) {
        unsigned digit = (unsigned)(text[i] - '0');
        if (text[i] < '0' || digit >= (unsigned)base)
            return fail(parser, error, "a number has other characters than digits");
        if (number > (limit - digit) / (unsigned)base)
            return fail(parser, error, "a number is too large");
        number = number * (unsigned)base + digit;
    }
    *out_number = number;
    return true;
}

static bool parse_mtime(const Parser *parser, const Field *field, TreeInode *inode, GError **error)
{
    const char *dot = memchr(field->text, '.', field->size);
    if (!dot)
        return fail(parser, error, "the time has no nanoseconds");
    bool negative = field->text[0] == '-';
    const char *start = field->text + negative;
    uint64_t seconds, nanoseconds;
    if (!parse_number(parser, start, (size_t)(dot - start), 10, INT64_MAX, &seconds, error) ||
        !parse_number(parser, dot + 1, field->size - (size_t)(dot - field->text) - 1, 10, 999999999,
                      &nanoseconds, error))
        return false;
    inode->mtime = negative ? 0 : (int64_t)seconds;
    inode->mtime_nsec = negative ? 0 : (uint32_t)nanoseconds;
    return true;
}

static bool parse_metadata(const Parser *parser, const Field *fields, TreeInode *inode,
                           GError **error)
{
    uint64_t nlink, uid, gid, rdev;
    if (!parse_number(parser, fields[NLINK].text, fields[NLINK].size, 10, UINT32_MAX, &nlink,
                      error) ||
        !parse_number(parser, fields[UID].text, fields[UID].size, 10, UINT32_MAX, &uid, error) ||
        !parse_number(parser, fields[GID].text, fields[GID].size, 10, UINT32_MAX, &gid, error) ||
        !parse_number(parser, fields[RDEV].text, fields[RDEV].size, 10, UINT64_MAX, &rdev, error) ||
        !parse_mtime(parser, &fields[MTIME], inode, error))
        return false;
    if (!S_ISDIR(inode->mode))
        inode->nlink = (uint32_t)nlink;
    inode->uid = (uint32_t)uid;
    inode->gid = (uint32_t)gid;
    inode->rdev = S_ISCHR(inode->mode) || S_ISBLK(inode->mode) ? rdev : 0;
    return true;
}

/* --- content -------------------------------------------------------------------------------------------- */

static bool parse_inline(Parser *parser, const Field *field, TreeInode *inode, GError **error)
{
    g_autoptr(GByteArray) content = g_byte_array_new();
    if (!unescape(parser, field, content, error))
        return false;
    if (content->len != inode->size)
        return fail(parser, error, "the content is not as long as the size says");
    if (content->len > COMPOSEFS_CONTENT_MAX)
        return fail(parser, error, "the content is too long");
    tree_set_inline(parser->tree, inode, content->data, content->len);
    return true;
}

static bool parse_object(Parser *parser, const Field *fields, TreeInode *inode, GError **error)
{
    if (!is_unset(&fields[DIGEST])) {
        char hex[DIGEST_HEX_SIZE] = "";
        if (fields[DIGEST].size != DIGEST_HEX_SIZE - 1)
            return fail(parser, error, "the digest does not have 64 hex digits");
        memcpy(hex, fields[DIGEST].text, DIGEST_HEX_SIZE - 1);
        if (!digest_parse(hex, &inode->object))
            return fail(parser, error, "the digest does not have 64 hex digits");
        inode->has_object = true;
    }
    if (is_unset(&fields[PAYLOAD]))
        return true;
    g_autofree char *payload = unescape_text(parser, &fields[PAYLOAD], error);
    if (!payload)
        return false;
    size_t slashes = strspn(payload, "/");
    if (inode->has_object && strcmp(payload + slashes, object_path(&inode->object).text) == 0)
        return true;
    if (strlen(payload) > 4095)
        return fail(parser, error, "the payload is too long");
    inode->payload =
        arena_string(&parser->tree->arena, payload + slashes, strlen(payload + slashes));
    return true;
}

static bool parse_content(Parser *parser, const Field *fields, TreeInode *inode, GError **error)
{
    uint64_t size;
    if (!parse_number(parser, fields[SIZE].text, fields[SIZE].size, 10, INT64_MAX, &size, error))
        return false;
    if (S_ISLNK(inode->mode)) {
        if (is_unset(&fields[PAYLOAD]) || fields[PAYLOAD].size == 0)
            return fail(parser, error, "the symbolic link has no target");
        g_autofree char *target = unescape_text(parser, &fields[PAYLOAD], error);
        if (!target)
            return false;
        if (strlen(target) > COMPOSEFS_TARGET_MAX)
            return fail(parser, error, "the symbolic link's target is too long");
        tree_set_target(parser->tree, inode, target);
        return true;
    }
    if (S_ISDIR(inode->mode))
        return true;
    inode->size = size;
    if (!S_ISREG(inode->mode))
        return true;
    if (!is_unset(&fields[CONTENT]))
        return parse_inline(parser, &fields[CONTENT], inode, error);
    return size == 0 || parse_object(parser, fields, inode, error);
}

/* Where the unescaped "=" between key and value is: escapes of it are \x3d. */
static bool parse_xattr(Parser *parser, const Field *field, GArray *xattrs, size_t *total,
                        GError **error)
{
    const char *equals = memchr(field->text, '=', field->size);
    if (!equals || equals == field->text)
        return fail(parser, error, "an extended attribute is not KEY=VALUE");
    Field key_field = {field->text, (size_t)(equals - field->text)};
    Field value_field = {equals + 1, field->size - key_field.size - 1};
    g_autofree char *key = unescape_text(parser, &key_field, error);
    g_autoptr(GByteArray) value = g_byte_array_new();
    if (!key || !unescape(parser, &value_field, value, error))
        return false;
    *total += 7 + strlen(key) + value->len;
    if (strlen(key) > 255 || value->len > UINT16_MAX || *total + 12 > 32767)
        return fail(parser, error, "the extended attributes are too long");
    g_array_append_val(xattrs, *xattr_intern(parser->tree, key, value->data, value->len));
    return true;
}

static bool parse_xattrs(Parser *parser, const char *at, const char *end, TreeInode *inode,
                         GError **error)
{
    g_autoptr(GArray) xattrs = g_array_new(false, false, sizeof(TreeXattr));
    size_t total = 0;
    Field field;
    while (next_field(&at, end, &field))
        if (!parse_xattr(parser, &field, xattrs, &total, error))
            return false;
    tree_set_xattrs(parser->tree, inode, (const TreeXattr *)(void *)xattrs->data, xattrs->len);
    return true;
}

/* --- lines ---------------------------------------------------------------------------------------------- */

/* The node of the path: the parent must be there, the name not. */
static TreeNode *add_node(Parser *parser, const char *path, uint32_t mode, GError **error)
{
    bool root = strcmp(path, "/") == 0;
    if (root && parser->line == 1) {
        if (!S_ISDIR(mode)) {
            fail(parser, error, "the root is not a directory");
            return NULL;
        }
        tree_root(parser->tree)->inode->mode = mode;
        return tree_root(parser->tree);
    }
    const char *slash = strrchr(path, '/');
    if (root || path[0] != '/' || parser->line == 1 || strstr(path, "//")) {
        fail(parser, error,
             "the path is not as expected ('/' first and once, then absolute paths)");
        return NULL;
    }
    g_autofree char *parent = g_strndup(path, (size_t)(slash - path));
    TreeNode *dir = tree_lookup(parser->tree, parent);
    if (!dir) {
        fail(parser, error, "the parent directory is missing");
        return NULL;
    }
    TreeNode *node = tree_add(parser->tree, dir, slash + 1, mode, error);
    if (!node)
        error_prefix(error, "line %u of the dump", parser->line);
    return node;
}

static bool keep_link(Parser *parser, char *path_stolen, const Field *fields, GError **error)
{
    Link *link = g_new0(Link, 1);
    link->path = path_stolen;
    link->line = parser->line;
    g_ptr_array_add(parser->links, link);
    if (is_unset(&fields[PAYLOAD]))
        return fail(parser, error, "the hard link has no target");
    link->target = unescape_text(parser, &fields[PAYLOAD], error);
    if (!link->target)
        return false;
    if (!g_hash_table_insert(parser->by_path, link->path, link))
        return fail(parser, error, "the path is there twice");
    return true;
}

static bool parse_line(Parser *parser, const char *line, size_t size, GError **error)
{
    const char *at = line, *end = line + size;
    Field fields[FIELDS];
    for (int i = 0; i < FIELDS; i++)
        if (!next_field(&at, end, &fields[i]))
            return fail(parser, error, "there are fewer than 11 fields");
    g_autofree char *path = unescape_text(parser, &fields[PATH], error);
    if (!path)
        return false;
    bool link = fields[MODE].size > 0 && fields[MODE].text[0] == '@';
    uint64_t mode;
    if (!parse_number(parser, fields[MODE].text + link, fields[MODE].size - link, 8, 0177777, &mode,
                      error))
        return false;
    switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        break;
    default:
        return fail(parser, error, "the mode has no known file type");
    }
    if (link && S_ISDIR(mode))
        return fail(parser, error, "a directory can't be a hard link");
    if (link)
        return keep_link(parser, g_steal_pointer(&path), fields, error);
    TreeNode *node = add_node(parser, path, (uint32_t)mode, error);
    return node && parse_metadata(parser, fields, node->inode, error) &&
           parse_content(parser, fields, node->inode, error) &&
           parse_xattrs(parser, at, end, node->inode, error);
}

/* Links may form chains; they are followed without recursion, since a hostile dump may make one of a million. */
static bool resolve_link(Parser *parser, Link *first, GError **error)
{
    g_autoptr(GPtrArray) chain = g_ptr_array_new();
    TreeNode *target = NULL;
    for (Link *link = first; link && link->state != DONE;) {
        parser->line = link->line;
        if (link->state == RESOLVING)
            return fail(parser, error, "the hard links form a circle");
        link->state = RESOLVING;
        g_ptr_array_add(chain, link);
        target = tree_lookup(parser->tree, link->target);
        if (target)
            break;
        link = g_hash_table_lookup(parser->by_path, link->target);
        if (!link)
            return fail(parser, error, "the hard link's target is missing");
    }
    for (guint i = chain->len; i > 0; i--) {
        Link *link = g_ptr_array_index(chain, i - 1);
        parser->line = link->line;
        const char *slash = strrchr(link->path, '/');
        g_autofree char *parent = g_strndup(link->path, slash ? (size_t)(slash - link->path) : 0);
        TreeNode *dir = slash ? tree_lookup(parser->tree, parent) : NULL;
        if (!dir)
            return fail(parser, error, "the parent directory is missing");
        uint32_t nlink = target->inode->nlink;
        TreeNode *node = tree_link(parser->tree, dir, slash + 1, target, error);
        if (!node)
            return error_prefix(error, "line %u of the dump", parser->line);
        node->inode->nlink = nlink; /* the dump's own count stands */
        if (!inode_of(node)->original)
            inode_of(node)->original = target;
        link->state = DONE;
        target = node;
    }
    return true;
}

static bool parse_all(Parser *parser, const char *text, size_t size, GError **error)
{
    for (const char *at = text, *end = text + size; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;
        parser->line++;
        if (!parse_line(parser, at, (size_t)(stop - at), error))
            return false;
        at = newline ? newline + 1 : end;
    }
    if (parser->line == 0)
        return error_throw(error, ERROR_INVALID, "the dump is empty");
    for (guint i = 0; i < parser->links->len; i++)
        if (!resolve_link(parser, g_ptr_array_index(parser->links, i), error))
            return false;
    return true;
}

Tree *tree_parse_dump(const char *text, size_t size, GError **error)
{
    g_autoptr(Tree) tree = tree_new();
    tree->overlay_xattrs = true;
    g_autoptr(GPtrArray) links = g_ptr_array_new_with_free_func(link_free);
    g_autoptr(GHashTable) by_path = g_hash_table_new(g_str_hash, g_str_equal);
    Parser parser = {.tree = tree, .links = links, .by_path = by_path};
    return parse_all(&parser, text, size, error) ? g_steal_pointer(&tree) : NULL;
}
