/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ostree/object.h"

#include <string.h>

static const char *const extensions[] = {
    [OBJECT_FILE] = "filez",
    [OBJECT_DIRTREE] = "dirtree",
    [OBJECT_DIRMETA] = "dirmeta",
    [OBJECT_COMMIT] = "commit",
};

char *object_path(const Digest *id, ObjectType type)
{
    DigestHex hex = digest_hex(id);
    return g_strdup_printf("objects/%.2s/%s.%s", hex.text, hex.text + 2, extensions[type]);
}

char *object_name(const Digest *id, ObjectType type)
{
    return g_strdup_printf("%s.%s", digest_hex(id).text, extensions[type]);
}

/* --- writing --------------------------------------------------------------------------------------------- */

static GVariant *bytes_variant(const void *data, size_t size)
{
    return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, data, size, 1);
}

GVariant *object_digest_variant(const Digest *digest)
{
    return bytes_variant(digest->bytes, sizeof digest->bytes);
}

/* A label is stored with its NUL, as the kernel reports it. */
static GVariant *xattr_value(const TreeXattr *xattr)
{
    bool label = strcmp(xattr->name, "security.selinux") == 0;
    if (!label || (xattr->size && xattr->value[xattr->size - 1] == '\0'))
        return bytes_variant(xattr->value, xattr->size);
    g_autofree char *terminated = g_strndup((const char *)xattr->value, xattr->size);
    return bytes_variant(terminated, xattr->size + 1);
}

static GVariant *xattrs_variant(const TreeInode *inode, bool none)
{
    GVariantBuilder builder;
    g_variant_builder_init(&builder, G_VARIANT_TYPE("a(ayay)"));
    for (size_t i = 0; i < inode->n_xattrs && !none; i++) {
        const TreeXattr *x = &inode->xattrs[i];
        g_variant_builder_add(&builder, "(@ay@ay)", bytes_variant(x->name, strlen(x->name) + 1),
                              xattr_value(x));
    }
    return g_variant_builder_end(&builder);
}

/* The variant's bytes behind the prefix; takes a floating variant. */
static GBytes *with_prefix(GVariant *floating)
{
    g_autoptr(GVariant) variant = g_variant_ref_sink(floating);
    size_t size = g_variant_get_size(variant);
    uint8_t *bytes = g_malloc0(OBJECT_PREFIX_SIZE + size);
    uint32_t length = GUINT32_TO_BE((uint32_t)size);
    memcpy(bytes, &length, sizeof length);
    g_variant_store(variant, bytes + OBJECT_PREFIX_SIZE);
    return g_bytes_new_take(bytes, OBJECT_PREFIX_SIZE + size);
}

GBytes *object_archive_header(const TreeInode *inode, bool no_xattrs)
{
    bool regular = S_ISREG(inode->mode);
    return with_prefix(g_variant_new("(tuuuus@a(ayay))", GUINT64_TO_BE(regular ? inode->size : 0),
                                     GUINT32_TO_BE(inode->uid), GUINT32_TO_BE(inode->gid),
                                     GUINT32_TO_BE(inode->mode), 0, regular ? "" : inode->target,
                                     xattrs_variant(inode, no_xattrs)));
}

GBytes *object_hash_header(const ObjectFile *file)
{
    return with_prefix(g_variant_new("(uuuus@a(ayay))", GUINT32_TO_BE(file->uid),
                                     GUINT32_TO_BE(file->gid), GUINT32_TO_BE(file->mode), 0,
                                     file->target, file->xattrs));
}

GBytes *object_inode_hash_header(const TreeInode *inode, bool no_xattrs)
{
    return with_prefix(g_variant_new("(uuuus@a(ayay))", GUINT32_TO_BE(inode->uid),
                                     GUINT32_TO_BE(inode->gid), GUINT32_TO_BE(inode->mode), 0,
                                     S_ISLNK(inode->mode) ? inode->target : "",
                                     xattrs_variant(inode, no_xattrs)));
}

GBytes *object_dirmeta(const TreeInode *inode, bool no_xattrs)
{
    g_autoptr(GVariant) meta = g_variant_ref_sink(
        g_variant_new("(uuu@a(ayay))", GUINT32_TO_BE(inode->uid), GUINT32_TO_BE(inode->gid),
                      GUINT32_TO_BE(inode->mode), xattrs_variant(inode, no_xattrs)));
    return g_variant_get_data_as_bytes(meta);
}

/* --- reading: input is hostile ---------------------------------------------------------------------------- */

bool object_get_digest(GVariant *bytes, Digest *out_digest)
{
    size_t n;
    const uint8_t *data = g_variant_get_fixed_array(bytes, &n, 1);
    if (n != sizeof out_digest->bytes)
        return false;
    memcpy(out_digest->bytes, data, n);
    return true;
}

GVariant *object_parse(const char *type, const uint8_t *data, size_t size, GError **error)
{
    g_autoptr(GBytes) bytes = g_bytes_new(data, size);
    g_autoptr(GVariant) variant =
        g_variant_ref_sink(g_variant_new_from_bytes(G_VARIANT_TYPE(type), bytes, FALSE));
    if (!g_variant_is_normal_form(variant))
        return error_throw_null(error, ERROR_CORRUPT, "the object is malformed");
    return g_steal_pointer(&variant);
}

static bool check_xattrs(GVariant *xattrs, GError **error)
{
    const char *last = "";
    GVariantIter iter;
    g_variant_iter_init(&iter, xattrs);
    for (GVariant *name_bytes, *value;
         g_variant_iter_next(&iter, "(@ay@ay)", &name_bytes, &value);) {
        size_t n;
        const char *name = g_variant_get_fixed_array(name_bytes, &n, 1);
        bool valid = n > 1 && n <= 256 && name[n - 1] == '\0' && strlen(name) == n - 1 &&
                     strcmp(last, name) < 0;
        last = name; /* lives in the array's data */
        g_variant_unref(name_bytes);
        g_variant_unref(value);
        if (!valid)
            return error_throw(error, ERROR_CORRUPT, "the extended attributes are malformed");
    }
    return true;
}

static bool check_file(const ObjectFile *file, uint32_t rdev, GError **error)
{
    bool link = S_ISLNK(file->mode);
    if ((!link && !S_ISREG(file->mode)) || file->mode & ~(uint32_t)(S_IFMT | 07777))
        return error_throw(error, ERROR_CORRUPT, "the file's mode %o is malformed", file->mode);
    if (rdev || link != (*file->target != '\0') || (link && file->size) || file->size > INT64_MAX)
        return error_throw(error, ERROR_CORRUPT, "the file's header is malformed");
    return check_xattrs(file->xattrs, error);
}

void object_file_clear(ObjectFile *file)
{
    g_clear_pointer(&file->xattrs, g_variant_unref);
    g_clear_pointer(&file->variant, g_variant_unref);
}

bool object_parse_file(const uint8_t *data, size_t size, ObjectFile *out_file, GError **error)
{
    uint32_t length, zeros;
    if (size < OBJECT_PREFIX_SIZE)
        return error_throw(error, ERROR_CORRUPT, "the file's header is cut short");
    memcpy(&length, data, sizeof length);
    memcpy(&zeros, data + sizeof length, sizeof zeros);
    length = GUINT32_FROM_BE(length);
    if (zeros || length > size - OBJECT_PREFIX_SIZE)
        return error_throw(error, ERROR_CORRUPT, "the file's header is malformed");
    g_auto(ObjectFile) file = {.header_size = OBJECT_PREFIX_SIZE + length};
    file.variant = object_parse(OBJECT_ARCHIVE_TYPE, data + OBJECT_PREFIX_SIZE, length, error);
    if (!file.variant)
        return false;
    uint32_t rdev;
    g_variant_get(file.variant, "(tuuuu&s@a(ayay))", &file.size, &file.uid, &file.gid, &file.mode,
                  &rdev, &file.target, &file.xattrs);
    file.size = GUINT64_FROM_BE(file.size);
    file.uid = GUINT32_FROM_BE(file.uid);
    file.gid = GUINT32_FROM_BE(file.gid);
    file.mode = GUINT32_FROM_BE(file.mode);
    if (!check_file(&file, rdev, error))
        return false;
    *out_file = file;
    file = (ObjectFile){0};
    return true;
}

bool object_apply_xattrs(GVariant *xattrs, Tree *tree, TreeInode *inode, GError **error)
{
    if (!check_xattrs(xattrs, error))
        return false;
    GVariantIter iter;
    g_variant_iter_init(&iter, xattrs);
    for (GVariant *name_bytes, *value;
         g_variant_iter_next(&iter, "(@ay@ay)", &name_bytes, &value);) {
        size_t n;
        const char *name = g_variant_get_fixed_array(name_bytes, &n, 1);
        /* a foreign overlay redirect could read any object of the store */
        bool refused = g_str_has_prefix(name, "trusted.");
        if (refused) {
            error_throw(error, ERROR_INVALID, "the extended attribute '%s' is not allowed", name);
        } else {
            const void *bytes = g_variant_get_fixed_array(value, &n, 1);
            tree_set_xattr(tree, inode, name, bytes, n);
        }
        g_variant_unref(name_bytes);
        g_variant_unref(value);
        if (refused)
            return false;
    }
    return true;
}

bool object_apply_dirmeta(GVariant *dirmeta, Tree *tree, TreeInode *inode, GError **error)
{
    g_autoptr(GVariant) xattrs = NULL;
    uint32_t uid, gid, mode;
    g_variant_get(dirmeta, "(uuu@a(ayay))", &uid, &gid, &mode, &xattrs);
    mode = GUINT32_FROM_BE(mode);
    if (!S_ISDIR(mode) || mode & ~(uint32_t)(S_IFMT | 07777))
        return error_throw(error, ERROR_CORRUPT, "the directory's mode %o is malformed", mode);
    inode->uid = GUINT32_FROM_BE(uid);
    inode->gid = GUINT32_FROM_BE(gid);
    inode->mode = mode;
    return object_apply_xattrs(xattrs, tree, inode, error);
}

static bool check_name(const char *name, const char *last, GError **error)
{
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/') ||
        strlen(name) > 255)
        return error_throw(error, ERROR_CORRUPT, "the directory has the malformed name '%s'", name);
    if (last && strcmp(last, name) >= 0)
        return error_throw(error, ERROR_CORRUPT, "the directory's names are out of order at '%s'",
                           name);
    return true;
}

bool object_each_entry(GVariant *dirtree, ObjectEntry each, void *data, GError **error)
{
    g_autoptr(GVariant) files = g_variant_get_child_value(dirtree, 0);
    g_autoptr(GVariant) dirs = g_variant_get_child_value(dirtree, 1);
    const char *name, *last = NULL;
    size_t n = g_variant_n_children(files);
    for (size_t i = 0; i < n; i++) {
        g_autoptr(GVariant) id_bytes = NULL;
        Digest id;
        g_variant_get_child(files, i, "(&s@ay)", &name, &id_bytes);
        if (!check_name(name, last, error))
            return false;
        if (!object_get_digest(id_bytes, &id))
            return error_throw(error, ERROR_CORRUPT, "the directory entry '%s' is malformed", name);
        last = name;
        if (!each(name, &id, NULL, data, error))
            return false;
    }
    last = NULL;
    n = g_variant_n_children(dirs);
    for (size_t i = 0; i < n; i++) {
        g_autoptr(GVariant) id_bytes = NULL, meta_bytes = NULL;
        Digest id, meta;
        g_variant_get_child(dirs, i, "(&s@ay@ay)", &name, &id_bytes, &meta_bytes);
        if (!check_name(name, last, error))
            return false;
        if (!object_get_digest(id_bytes, &id) || !object_get_digest(meta_bytes, &meta))
            return error_throw(error, ERROR_CORRUPT, "the directory entry '%s' is malformed", name);
        last = name;
        if (!each(name, &id, &meta, data, error))
            return false;
    }
    return true;
}
