/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: one line, one name. Text that has no escapes (nearly all) is never copied but into the tree. Dumps are
 * written directory by directory, so a path is compared with that of the line before and only what differs is looked
 * up. Hard links may point forward and at each other: their names are taken at once, by a stand-in for the inode, and
 * get the right one when all files are there.
 *
 * What mkcomposefs takes is taken, and means the same, but for what it takes by accident: numbers that aren't decimal
 * or don't fit their field, missing fields, names with an escaped NUL, digests that aren't (tests/data/composefs/README).
 */
#include "tree/erofs.h"
#include "tree/node.h"

#include <stdlib.h>

typedef struct {
    const char *text;
    size_t size;
} Field;

enum { PATH, SIZE, MODE, NLINK, UID, GID, RDEV, MTIME, PAYLOAD, CONTENT, DIGEST, FIELDS };

enum {
    XATTR_TEXT_MAX =
        UINT16_MAX, /* of a line, as mkcomposefs has it; and what they take in an inode, at worst: */
    XATTR_HEADER = 12,
    XATTR_ENTRY = 7,
    XATTR_BYTES_MAX = INT16_MAX,
};

typedef struct {
    TreeNode *node;
    const char *target;
    unsigned line;
    enum { WAITING, RESOLVING, DONE } state;
} Link;

/* The components of the path of the line before, each with its node. */
typedef struct {
    size_t end; /* in `path`, behind the component */
    TreeNode *node;
} Step;

/* The same words give the same set: labels come again and again. */
typedef struct {
    Field text;
    const TreeXattr *xattrs;
    uint32_t n;
} KnownXattrs;

typedef struct {
    Tree *tree;
    unsigned line;
    GByteArray *scratch[3]; /* unescaped text, until it is in the tree */
    GString *path;
    GArray *steps;
    KnownXattrs known[256];
    Inode *stand_in; /* of all hard links that are still to be made */
    GArray *links;   /* Link, as they came */
    GHashTable *at;  /* TreeNode of a link -> its index + 1 */
} Parser;

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

/* *out is `field` itself or scratch space number `which`. */
static bool unescape(Parser *parser, const Field *field, int which, Field *out, GError **error)
{
    *out = *field;
    if (field->size == 0 || !memchr(field->text, '\\', field->size))
        return true;
    GByteArray *bytes = parser->scratch[which];
    g_byte_array_set_size(bytes, (guint)field->size);
    uint8_t *to = bytes->data;
    for (const char *p = field->text, *end = p + field->size; p < end; p++) {
        if (*p != '\\') {
            *to++ = (uint8_t)*p;
            continue;
        }
        char kind = ++p < end ? *p : '\0';
        if (kind == 'x' && end - p > 2 && g_ascii_isxdigit(p[1]) && g_ascii_isxdigit(p[2])) {
            *to++ = (uint8_t)(g_ascii_xdigit_value(p[1]) << 4 | g_ascii_xdigit_value(p[2]));
            p += 2;
        } else if (kind == 'n' || kind == 'r' || kind == 't' || kind == '\\') {
            *to++ = kind == 'n' ? '\n' : kind == 'r' ? '\r' : kind == 't' ? '\t' : '\\';
        } else {
            return fail(parser, error, "unknown escape");
        }
    }
    *out = (Field){(const char *)bytes->data, (size_t)(to - bytes->data)};
    return true;
}

/* Unescaped text that can't have a NUL. */
static bool unescape_text(Parser *parser, const Field *field, int which, Field *out, GError **error)
{
    const char *escaped = field->text; /* `out` may be `field` */
    if (!unescape(parser, field, which, out, error))
        return false;
    if (out->text != escaped && memchr(out->text, '\0', out->size))
        return fail(parser, error, "a name or path has a NUL byte");
    return true;
}

static const char *keep_text(Parser *parser, const Field *text)
{
    return arena_string(&parser->tree->arena, text->text, text->size);
}

static bool parse_number(const Parser *parser, const Field *field, unsigned base, uint64_t limit,
                         uint64_t *out_number, GError **error)
{
    uint64_t number = 0;
    if (field->size == 0)
        return fail(parser, error, "a number is missing");
    for (size_t i = 0; i < field->size; i++) {
        unsigned digit = (unsigned)(uint8_t)field->text[i] - '0';
        if (digit >= base)
            return fail(parser, error, "a number has other characters than digits");
        if (__builtin_mul_overflow(number, base, &number) ||
            __builtin_add_overflow(number, digit, &number))
            return fail(parser, error, "a number is too large");
    }
    if (number > limit)
        return fail(parser, error, "a number is too large");
    *out_number = number;
    return true;
}

static bool parse_number32(const Parser *parser, const Field *field, uint32_t *out_number,
                           GError **error)
{
    uint64_t number;
    if (!parse_number(parser, field, 10, UINT32_MAX, &number, error))
        return false;
    *out_number = (uint32_t)number;
    return true;
}

/* "-1.5" is one second before 1970 and five nanoseconds after that. */
static bool parse_mtime(const Parser *parser, const Field *field, TreeInode *inode, GError **error)
{
    const char *dot = field->size ? memchr(field->text, '.', field->size) : NULL;
    if (!dot)
        return fail(parser, error, "the time has no nanoseconds");
    bool negative = field->text[0] == '-';
    Field seconds = {field->text + negative, (size_t)(dot - field->text) - negative};
    Field rest = {dot + 1, field->size - (size_t)(dot - field->text) - 1};
    uint64_t number, nanoseconds;
    if (!parse_number(parser, &seconds, 10, INT64_MAX, &number, error) ||
        !parse_number(parser, &rest, 10, 999999999, &nanoseconds, error))
        return false;
    inode->mtime = negative ? -(int64_t)number : (int64_t)number;
    inode->mtime_nsec = (uint32_t)nanoseconds;
    return true;
}

static bool parse_metadata(const Parser *parser, const Field *fields, TreeInode *inode,
                           GError **error)
{
    uint32_t nlink;
    uint64_t rdev;
    if (!parse_number32(parser, &fields[NLINK], &nlink, error) ||
        !parse_number32(parser, &fields[UID], &inode->uid, error) ||
        !parse_number32(parser, &fields[GID], &inode->gid, error) ||
        !parse_number(parser, &fields[RDEV], 10, UINT64_MAX, &rdev, error) ||
        !parse_mtime(parser, &fields[MTIME], inode, error))
        return false;
    if (!S_ISDIR(inode->mode))
        inode->nlink = nlink;
    inode->rdev = S_ISCHR(inode->mode) || S_ISBLK(inode->mode) ? rdev : 0;
    return true;
}

/* --- content -------------------------------------------------------------------------------------------- */

/* `content` is unescaped. */
static void set_content(Parser *parser, const Field *content, TreeInode *inode)
{
    tree_set_inline(parser->tree, inode, content->text, content->size);
}

static bool parse_digest(const Parser *parser, const Field *field, Digest *out_digest,
                         GError **error)
{
    char hex[DIGEST_HEX_SIZE] = "";
    if (field->size == sizeof hex - 1) {
        memcpy(hex, field->text, sizeof hex - 1);
        if (digest_parse(hex, out_digest))
            return true;
        for (size_t i = 0; i < sizeof hex - 1; i++)
            hex[i] = g_ascii_tolower(hex[i]);
        if (digest_parse(hex, out_digest))
            return true;
    }
    return fail(parser, error, "the digest does not have 64 hex digits");
}

/* The payload or the digest may be NULL. */
static bool parse_object(Parser *parser, const Field *digest, const Field *payload,
                         TreeInode *inode, GError **error)
{
    if (digest && !parse_digest(parser, digest, &inode->object, error))
        return false;
    inode->has_object = digest != NULL;
    if (digest && payload && payload->size == digest->size + 1 && payload->text[2] == '/' &&
        memcmp(payload->text, digest->text, 2) == 0 &&
        memcmp(payload->text + 3, digest->text + 2, digest->size - 2) == 0)
        return true; /* XX/REST */
    inode->payload = payload ? keep_text(parser, payload) : digest ? "" : NULL;
    return true;
}

/* What a file's bytes are; of others only whether it is well formed, as mkcomposefs has it. */
static bool parse_content(Parser *parser, const Field *fields, TreeInode *inode, GError **error)
{
    uint64_t size;
    Field payload, content, digest;
    bool has_payload = !is_unset(&fields[PAYLOAD]), has_content = !is_unset(&fields[CONTENT]);
    bool has_digest = !is_unset(&fields[DIGEST]);
    if (!parse_number(parser, &fields[SIZE], 10, INT64_MAX, &size, error) ||
        (has_payload && !unescape_text(parser, &fields[PAYLOAD], 0, &payload, error)) ||
        (has_content && !unescape(parser, &fields[CONTENT], 1, &content, error)) ||
        (has_digest && !unescape_text(parser, &fields[DIGEST], 2, &digest, error)))
        return false;
    if (has_content && content.size != size)
        return fail(parser, error, "the content is not as long as the size says");
    bool symlink = S_ISLNK(inode->mode);
    if (symlink && (!has_payload || payload.size == 0))
        return fail(parser, error, "the symbolic link has no target");
    if (has_payload && payload.size > COMPOSEFS_TARGET_MAX)
        return fail(parser, error,
                    symlink ? "the symbolic link's target is too long" : "the payload is too long");
    if (!symlink && has_content && content.size > COMPOSEFS_CONTENT_MAX)
        return fail(parser, error, "the content is too long");
    if (symlink) {
        inode->target = keep_text(parser, &payload);
        inode->size = payload.size;
    } else if (!S_ISDIR(inode->mode)) {
        inode->size = size;
    }
    if (!S_ISREG(inode->mode) || size == 0)
        return true;
    if (!has_content)
        return parse_object(parser, has_digest ? &digest : NULL, has_payload ? &payload : NULL,
                            inode, error);
    set_content(parser, &content, inode);
    return true;
}

/* --- xattrs --------------------------------------------------------------------------------------------- */

static bool parse_xattr(Parser *parser, const Field *field, const TreeXattr **out_pair,
                        GError **error)
{
    const char *equals = field->size ? memchr(field->text, '=', field->size) : NULL;
    if (!equals || equals == field->text)
        return fail(parser, error, "an extended attribute is not KEY=VALUE");
    Field key = {field->text, (size_t)(equals - field->text)};
    Field value = {equals + 1, field->size - key.size - 1};
    if (!unescape(parser, &key, 0, &key, error) || !unescape(parser, &value, 1, &value, error))
        return false;
    key.size = strnlen(key.text, key.size); /* mkcomposefs, too, takes an escaped NUL for its end */
    if (key.size == 0)
        return fail(parser, error, "an extended attribute is not KEY=VALUE");
    if (key.size > 255)
        return fail(parser, error, "the name of an extended attribute is too long");
    char name[256];
    memcpy(name, key.text, key.size);
    name[key.size] = '\0';
    *out_pair = xattr_intern(parser->tree, name, value.text, value.size);
    return true;
}

static bool parse_new_xattrs(Parser *parser, const char *at, const char *end, TreeInode *inode,
                             GError **error)
{
    g_autoptr(GPtrArray) pairs = g_ptr_array_new();
    Field field;
    while (at && at < end) {
        const TreeXattr *pair = NULL;
        next_field(&at, end, &field);
        if (!parse_xattr(parser, &field, &pair, error))
            return false;
        g_ptr_array_add(pairs, (void *)pair);
    }
    xattr_set_interned(parser->tree, inode, (const TreeXattr **)pairs->pdata, pairs->len);
    size_t size = XATTR_HEADER;
    for (uint32_t i = 0; i < inode->n_xattrs; i++)
        size += XATTR_ENTRY + strlen(inode->xattrs[i].name) + inode->xattrs[i].size;
    if (inode->n_xattrs > 0 && size > XATTR_BYTES_MAX)
        return fail(parser, error, "the extended attributes are too long");
    return true;
}

static bool parse_xattrs(Parser *parser, const char *at, const char *end, TreeInode *inode,
                         GError **error)
{
    if (!at || at == end)
        return true;
    Field text = {at, (size_t)(end - at)};
    if (text.size > XATTR_TEXT_MAX)
        return fail(parser, error, "the extended attributes are too long");
    unsigned hash = (unsigned)text.size;
    for (size_t i = 0; i < text.size; i++)
        hash = hash * 31 + (uint8_t)text.text[i];
    KnownXattrs *known = &parser->known[(hash ^ hash >> 8) % ARRAY_SIZE(parser->known)];
    if (known->text.size == text.size && memcmp(known->text.text, at, text.size) == 0) {
        inode->xattrs = known->xattrs;
        inode->n_xattrs = known->n;
        return true;
    }
    if (!parse_new_xattrs(parser, at, end, inode, error))
        return false;
    *known = (KnownXattrs){text, inode->xattrs, inode->n_xattrs};
    return true;
}

/* --- paths ---------------------------------------------------------------------------------------------- */

/* The end of the component at *from (slashes before it are skipped); 0 when there is none. */
static size_t next_component(const Field *path, size_t *from)
{
    while (*from < path->size && path->text[*from] == '/')
        ++*from;
    size_t end = *from;
    while (end < path->size && path->text[end] != '/')
        end++;
    return end > *from ? end : 0;
}

/* No link is followed, and "." and ".." are names like others, which nobody has. NULL: not there. */
static TreeNode *find(Parser *parser, const Field *path)
{
    TreeNode *node = tree_root(parser->tree);
    for (size_t from = 0, end; node && (end = next_component(path, &from)); from = end)
        node = node_child(node, path->text + from, end - from);
    return node;
}

/* How many steps of the path before are also those of this one. */
static guint common_steps(const Parser *parser, const Field *path)
{
    size_t limit = MIN(path->size, parser->path->len), same = 0;
    while (same < limit && path->text[same] == parser->path->str[same])
        same++;
    guint n = 0;
    while (n < parser->steps->len) {
        size_t end = g_array_index(parser->steps, Step, n).end;
        if (end > same || end >= path->size || path->text[end] != '/')
            break;
        n++;
    }
    return n;
}

static TreeNode *make_node(Parser *parser, TreeNode *dir, const char *name, size_t size,
                           Inode *inode, GError **error)
{
    if (!S_ISDIR(dir->inode->mode)) {
        fail(parser, error, "the parent is not a directory");
        return NULL;
    }
    TreeNode *node = node_add(parser->tree, dir, name, size, inode, error);
    if (!node)
        error_prefix(error, "line %u of the dump", parser->line);
    return node;
}

/* Makes the node of the path: the parent must be there, the name not. */
static TreeNode *add_node(Parser *parser, const Field *path, Inode *inode, GError **error)
{
    guint n = common_steps(parser, path);
    Step step = {0, tree_root(parser->tree)};
    if (n > 0)
        step = g_array_index(parser->steps, Step, n - 1);
    g_array_set_size(parser->steps, n);
    size_t from = step.end, end;
    while ((end = next_component(path, &from)) && end < path->size) {
        step = (Step){end, node_child(step.node, path->text + from, end - from)};
        if (!step.node) {
            fail(parser, error, "the parent directory is missing");
            return NULL;
        }
        g_array_append_val(parser->steps, step);
        from = end;
    }
    TreeNode *node =
        make_node(parser, step.node, path->text + from, path->size - from, inode, error);
    if (!node)
        return NULL;
    step = (Step){path->size, node};
    g_array_append_val(parser->steps, step);
    g_string_truncate(parser->path, 0);
    g_string_append_len(parser->path, path->text, (gssize)path->size);
    return node;
}

/* --- lines ---------------------------------------------------------------------------------------------- */

static bool add_root(Parser *parser, const Field *path, uint32_t mode, GError **error)
{
    if (path->size != 1 || path->text[0] != '/')
        return fail(parser, error, "the first path is not '/'");
    if (!S_ISDIR(mode))
        return fail(parser, error, "the root is not a directory");
    tree_root(parser->tree)->inode->mode = mode;
    return true;
}

static bool parse_mode(Parser *parser, const Field *field, uint32_t *out_mode, bool *out_link,
                       GError **error)
{
    *out_link = field->size > 0 && field->text[0] == '@';
    Field digits = {field->text + *out_link, field->size - *out_link};
    uint64_t mode;
    if (!parse_number(parser, &digits, 8, 0177777, &mode, error))
        return false;
    *out_mode = (uint32_t)mode;
    switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFLNK:
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
        return true;
    case S_IFDIR:
        return !*out_link || fail(parser, error, "a directory can't be a hard link");
    default:
        return fail(parser, error, "the mode has no known file type");
    }
}

static bool keep_link(Parser *parser, const Field *path, const Field *fields, GError **error)
{
    Link link = {.line = parser->line};
    link.node = add_node(parser, path, parser->stand_in, error);
    if (!link.node)
        return false;
    if (is_unset(&fields[PAYLOAD]))
        return fail(parser, error, "the hard link has no target");
    Field target;
    if (!unescape_text(parser, &fields[PAYLOAD], 0, &target, error))
        return false;
    link.target = keep_text(parser, &target);
    g_array_append_val(parser->links, link);
    g_hash_table_insert(parser->at, link.node, GUINT_TO_POINTER(parser->links->len));
    return true;
}

static bool parse_line(Parser *parser, const char *line, size_t size, GError **error)
{
    const char *at = line, *end = line + size;
    Field fields[FIELDS], path;
    if (memchr(line, '\0', size))
        return fail(parser, error, "there is a NUL byte");
    for (int i = 0; i < FIELDS; i++)
        if (!next_field(&at, end, &fields[i]))
            return fail(parser, error, "there are fewer than 11 fields");
    uint32_t mode;
    bool link;
    if (!unescape_text(parser, &fields[PATH], 0, &path, error) ||
        !parse_mode(parser, &fields[MODE], &mode, &link, error))
        return false;
    TreeNode *node = tree_root(parser->tree);
    if (parser->line == 1) {
        if (!add_root(parser, &path, mode, error))
            return false;
    } else if (link) {
        return keep_link(parser, &path, fields, error);
    } else {
        node = add_node(parser, &path, inode_new(parser->tree, mode), error);
        if (!node)
            return false;
    }
    return parse_metadata(parser, fields, node->inode, error) &&
           parse_content(parser, fields, node->inode, error) &&
           parse_xattrs(parser, at, end, node->inode, error);
}

/* --- hard links ----------------------------------------------------------------------------------------- */

static Link *link_at(const Parser *parser, const TreeNode *node)
{
    guint at = GPOINTER_TO_UINT(g_hash_table_lookup(parser->at, node));
    return at ? &g_array_index(parser->links, Link, at - 1) : NULL;
}

/* Links may form chains; they are followed without recursion, since a hostile dump may make one of a million. */
static bool resolve_link(Parser *parser, Link *first, GError **error)
{
    g_autoptr(GPtrArray) chain = g_ptr_array_new();
    TreeNode *target = first->node;
    for (Link *link = first; link && link->state != DONE; link = link_at(parser, target)) {
        parser->line = link->line;
        if (link->state == RESOLVING)
            return fail(parser, error, "the hard links form a circle");
        link->state = RESOLVING;
        g_ptr_array_add(chain, link);
        target = find(parser, &(Field){link->target, strlen(link->target)});
        if (!target)
            return fail(parser, error, "the hard link's target is missing");
        if (S_ISDIR(target->inode->mode))
            return fail(parser, error, "the hard link's target is a directory");
    }
    Inode *inode = inode_of(target);
    if (chain->len > 0 && !inode->original)
        inode->original = target;
    for (guint i = 0; i < chain->len; i++) {
        Link *link = g_ptr_array_index(chain, i);
        link->node->inode = &inode->pub; /* whose nlink is as the dump has it */
        inode->names++;
        link->state = DONE;
    }
    parser->tree->has_links = true;
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
        if (!resolve_link(parser, &g_array_index(parser->links, Link, i), error))
            return false;
    return true;
}

Tree *tree_parse_dump(const char *text, size_t size, GError **error)
{
    g_autoptr(Tree) tree = tree_new();
    tree->overlay_xattrs = true;
    g_autofree Parser *parser = g_new0(Parser, 1);
    *parser = (Parser){
        .tree = tree,
        .scratch = {g_byte_array_new(), g_byte_array_new(), g_byte_array_new()},
        .path = g_string_new(NULL),
        .steps = g_array_new(false, false, sizeof(Step)),
        .stand_in = inode_new(tree, S_IFREG),
        .links = g_array_new(false, false, sizeof(Link)),
        .at = g_hash_table_new(NULL, NULL),
    };
    bool parsed = parse_all(parser, text, size, error);
    for (size_t i = 0; i < ARRAY_SIZE(parser->scratch); i++)
        g_byte_array_unref(parser->scratch[i]);
    g_string_free(parser->path, true);
    g_array_unref(parser->steps);
    g_array_unref(parser->links);
    g_hash_table_unref(parser->at);
    return parsed ? g_steal_pointer(&tree) : NULL;
}
