/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pax headers ("x": about the next entry, "g": about all that follow) and GNU's long names ("L", "K"). A pax record is
 * "LENGTH KEY=VALUE\n"; the last of a key counts, one without a value takes back what was said. Keys that we don't know
 * are not for us. Everything that is kept counts against TAR_EXTRA_MAX, however many headers it comes in. */
#include "store/tar.h"

#include <errno.h>
#include <string.h>

/* As the inode of an image holds them, 12 bytes and 7 for each around them, at most: what dumps may have, too. */
enum { XATTRS_MAX = INT16_MAX, XATTRS_HEAD = 12, XATTR_HEAD = 7 };

typedef struct {
    bool has_uid, has_gid, has_mtime;
    uint32_t uid, gid, mtime_nsec;
    int64_t mtime;
} Metadata;

struct TarExtra {
    Metadata global, own;
    bool any_pax, has_size, has_real_size;
    uint64_t size, real_size;
    char *path, *link;           /* pax */
    char *long_name, *long_link; /* GNU */
    GArray *xattrs;
    GPtrArray *memory;
    size_t kept; /* bytes of it all */
    bool sparse;
    uint64_t sparse_version, sparse_minor, sparse_count;
    bool has_sparse_count, has_offset;
    char *sparse_name;
    uint64_t sparse_offset; /* waits for its size */
    GArray *regions;        /* TarRegion */
};

TarExtra *tar_extra_new(void)
{
    TarExtra *extra = g_new0(TarExtra, 1);
    extra->xattrs = g_array_new(false, false, sizeof(TreeXattr));
    extra->memory = g_ptr_array_new_with_free_func(g_free);
    extra->regions = g_array_new(false, false, sizeof(TarRegion));
    return extra;
}

static void clear(TarExtra *extra)
{
    g_free(extra->path);
    g_free(extra->link);
    g_free(extra->long_name);
    g_free(extra->long_link);
    g_free(extra->sparse_name);
}

void tar_extra_free(TarExtra *extra)
{
    if (!extra)
        return;
    clear(extra);
    g_array_unref(extra->xattrs);
    g_ptr_array_unref(extra->memory);
    g_array_unref(extra->regions);
    g_free(extra);
}

/* Forgets what was for one entry only. */
static void forget(TarExtra *extra)
{
    clear(extra);
    g_array_set_size(extra->xattrs, 0);
    g_ptr_array_set_size(extra->memory, 0);
    g_array_set_size(extra->regions, 0);
    *extra = (TarExtra){.global = extra->global,
                        .xattrs = extra->xattrs,
                        .memory = extra->memory,
                        .regions = extra->regions};
}

/* --- values --------------------------------------------------------------------------------------------- */

/* A value that is text ends in a NUL in front of us; one of numbers is checked to be nothing else. */
typedef struct {
    const char *text; /* NUL-terminated */
    size_t size;
} Value;

/* Decimal digits up to `stop`; *at behind it. */
static bool parse_digits(const char **at, char stop, uint64_t limit, uint64_t *out_number)
{
    char *end;
    if (!g_ascii_isdigit(**at))
        return false;
    errno = 0;
    uint64_t number = g_ascii_strtoull(*at, &end, 10);
    if (errno || number > limit || *end != stop)
        return false;
    *at = end + (stop != '\0');
    *out_number = number;
    return true;
}

static bool parse_whole(const Value *value, uint64_t limit, uint64_t *out_number)
{
    const char *at = value->text;
    return parse_digits(&at, '\0', limit, out_number) && at == value->text + value->size;
}

/* Seconds with a fraction, of which nine digits count. Times before 1970 are clamped: a tree has none. */
static bool parse_time(const Value *value, Metadata *metadata)
{
    const char *at = value->text;
    bool negative = *at == '-';
    at += negative;
    uint64_t seconds = 0;
    uint32_t nsec = 0;
    for (const char *dot = strchr(at, '.'); dot; dot = NULL) {
        uint32_t scale = 100000000;
        for (const char *digit = dot + 1; *digit; digit++, scale /= 10) {
            if (!g_ascii_isdigit(*digit))
                return false;
            nsec += (uint32_t)(*digit - '0') * scale;
        }
    }
    if (strlen(value->text) != value->size ||
        !parse_digits(&at, strchr(at, '.') ? '.' : '\0', INT64_MAX, &seconds))
        return false;
    metadata->mtime = negative ? 0 : (int64_t)seconds;
    metadata->mtime_nsec = negative ? 0 : nsec;
    return true;
}

/* --- keys ----------------------------------------------------------------------------------------------- */

static bool take_text(char **text, const Value *value)
{
    g_free(*text);
    *text = value->size ? g_strdup(value->text) : NULL;
    return strlen(value->text) == value->size;
}

static bool take_path(TarExtra *extra, const Value *value)
{
    return take_text(&extra->path, value);
}

static bool take_link(TarExtra *extra, const Value *value)
{
    return take_text(&extra->link, value);
}

static bool take_size(TarExtra *extra, const Value *value)
{
    extra->has_size = value->size > 0;
    return !extra->has_size || parse_whole(value, INT64_MAX, &extra->size);
}

static bool take_sparse_name(TarExtra *extra, const Value *value)
{
    return take_text(&extra->sparse_name, value);
}

static bool take_sparse_version(TarExtra *extra, const Value *value)
{
    return parse_whole(value, UINT32_MAX, &extra->sparse_version);
}

static bool take_sparse_minor(TarExtra *extra, const Value *value)
{
    return parse_whole(value, UINT32_MAX, &extra->sparse_minor);
}

static bool take_real_size(TarExtra *extra, const Value *value)
{
    extra->has_real_size = true;
    return parse_whole(value, INT64_MAX, &extra->real_size);
}

static bool take_sparse_count(TarExtra *extra, const Value *value)
{
    extra->has_sparse_count = true;
    return parse_whole(value, TAR_REGIONS_MAX, &extra->sparse_count);
}

static bool add_region(TarExtra *extra, uint64_t offset, uint64_t size)
{
    TarRegion region = {offset, size};
    g_array_append_val(extra->regions, region);
    return extra->regions->len <= TAR_REGIONS_MAX;
}

/* version 0.0: a record for each number, in pairs */
static bool take_sparse_offset(TarExtra *extra, const Value *value)
{
    bool first = !extra->has_offset;
    extra->has_offset = true;
    return first && parse_whole(value, INT64_MAX, &extra->sparse_offset);
}

static bool take_sparse_bytes(TarExtra *extra, const Value *value)
{
    uint64_t size;
    bool second = extra->has_offset;
    extra->has_offset = false;
    return second && parse_whole(value, INT64_MAX, &size) &&
           add_region(extra, extra->sparse_offset, size);
}

/* version 0.1: all of them in one, with commas */
static bool take_sparse_map(TarExtra *extra, const Value *value)
{
    g_array_set_size(extra->regions, 0);
    const char *at = value->text, *end = value->text + value->size;
    uint64_t offset, size;
    while (at < end) {
        if (!parse_digits(&at, ',', INT64_MAX, &offset))
            return false;
        bool last = !strchr(at, ',');
        if (!parse_digits(&at, last ? '\0' : ',', INT64_MAX, &size) ||
            !add_region(extra, offset, size))
            return false;
    }
    return at == end;
}

static bool take_uid(Metadata *metadata, const Value *value)
{
    uint64_t number = 0;
    metadata->has_uid = value->size > 0;
    bool good = !metadata->has_uid || parse_whole(value, UINT32_MAX, &number);
    metadata->uid = (uint32_t)number;
    return good;
}

static bool take_gid(Metadata *metadata, const Value *value)
{
    uint64_t number = 0;
    metadata->has_gid = value->size > 0;
    bool good = !metadata->has_gid || parse_whole(value, UINT32_MAX, &number);
    metadata->gid = (uint32_t)number;
    return good;
}

static bool take_mtime(Metadata *metadata, const Value *value)
{
    metadata->has_mtime = value->size > 0;
    return !metadata->has_mtime || parse_time(value, metadata);
}

#define XATTR_PREFIX  "SCHILY.xattr."
#define SPARSE_PREFIX "GNU.sparse."

/* About one entry only, or (`metadata`) about all, too. */
static const struct {
    const char *name;
    bool (*take)(TarExtra *extra, const Value *value);
    bool (*metadata)(Metadata *metadata, const Value *value);
} keys[] = {
    {"path", take_path, NULL},
    {"linkpath", take_link, NULL},
    {"size", take_size, NULL},
    {"uid", NULL, take_uid},
    {"gid", NULL, take_gid},
    {"mtime", NULL, take_mtime},
    {SPARSE_PREFIX "name", take_sparse_name, NULL},
    {SPARSE_PREFIX "major", take_sparse_version, NULL},
    {SPARSE_PREFIX "minor", take_sparse_minor, NULL},
    {SPARSE_PREFIX "size", take_real_size, NULL},
    {SPARSE_PREFIX "realsize", take_real_size, NULL},
    {SPARSE_PREFIX "numblocks", take_sparse_count, NULL},
    {SPARSE_PREFIX "offset", take_sparse_offset, NULL},
    {SPARSE_PREFIX "numbytes", take_sparse_bytes, NULL},
    {SPARSE_PREFIX "map", take_sparse_map, NULL},
};

static bool damaged(GError **error, const char *key)
{
    return error_throw(error, ERROR_CORRUPT, "the tar has a damaged pax header%s%.40s%s",
                       key ? ": '" : "", key ? key : "", key ? "'" : "");
}

static void take_xattr(TarExtra *extra, const char *name, const Value *value)
{
    size_t length = strlen(name) + 1;
    char *copy = g_malloc(length + value->size);
    memcpy(copy, name, length);
    memcpy(copy + length, value->text, value->size);
    g_ptr_array_add(extra->memory, copy);
    TreeXattr xattr = {.name = copy, .value = (uint8_t *)copy + length, .size = value->size};
    g_array_append_val(extra->xattrs, xattr);
}

static bool take_record(TarExtra *extra, bool global, const char *key, const Value *value,
                        GError **error)
{
    bool xattr = g_str_has_prefix(key, XATTR_PREFIX);
    size_t i = 0;
    while (i < ARRAY_SIZE(keys) && strcmp(key, keys[i].name) != 0)
        i++;
    if (!xattr && i == ARRAY_SIZE(keys))
        return true;
    if (global && (xattr || keys[i].take))
        return error_throw(error, ERROR_INVALID,
                           "the tar has a global header that sets '%.40s' of every entry", key);
    extra->kept += strlen(key) + value->size;
    if (extra->kept > TAR_EXTRA_MAX)
        return error_throw(error, ERROR_INVALID, "the tar says more than %d bytes about one entry",
                           TAR_EXTRA_MAX);
    extra->sparse |= g_str_has_prefix(key, SPARSE_PREFIX);
    if (xattr) {
        take_xattr(extra, key + strlen(XATTR_PREFIX), value);
        return true;
    }
    bool good = keys[i].take ? keys[i].take(extra, value)
                             : keys[i].metadata(global ? &extra->global : &extra->own, value);
    return good || damaged(error, key);
}

/* `text` has a NUL behind its end; records are ended by one, in place of their newline. */
static bool parse_pax(TarExtra *extra, bool global, char *text, size_t size, GError **error)
{
    extra->any_pax |= !global;
    while (size > 0) {
        size_t length = 0, digits = 0;
        while (digits < size && digits < 9 && g_ascii_isdigit(text[digits]))
            length = length * 10 + (size_t)(text[digits++] - '0');
        if (digits == 0 || digits >= size || text[digits] != ' ' || length <= digits + 2 ||
            length > size || text[length - 1] != '\n')
            return damaged(error, NULL);
        char *key = text + digits + 1, *end = text + length - 1;
        char *equals = memchr(key, '=', (size_t)(end - key));
        if (!equals || equals == key)
            return damaged(error, NULL);
        *end = *equals = '\0';
        Value value = {equals + 1, (size_t)(end - equals - 1)};
        if (strlen(key) != (size_t)(equals - key))
            return damaged(error, NULL);
        if (!take_record(extra, global, key, &value, error))
            return false;
        text += length;
        size -= length;
    }
    return true;
}

bool tar_extra_is(char type)
{
    return strchr("LKxgX", type) != NULL && type;
}

bool tar_extra_parse(TarExtra *extra, char type, const char *text, size_t size, GError **error)
{
    g_autofree char *copy = g_malloc(size + 1);
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (type != 'L' && type != 'K')
        return parse_pax(extra, type == 'g', copy, size, error);
    for (size_t i = strlen(copy); i < size; i++)
        if (copy[i])
            return error_throw(error, ERROR_INVALID,
                               "the tar has a name with a zero byte: '%.200s'", copy);
    char **to = type == 'L' ? &extra->long_name : &extra->long_link;
    g_free(*to);
    *to = g_steal_pointer(&copy);
    return true;
}

/* --- onto the entry ------------------------------------------------------------------------------------- */

static void apply_metadata(const Metadata *metadata, TarEntry *entry)
{
    if (metadata->has_uid)
        entry->uid = metadata->uid;
    if (metadata->has_gid)
        entry->gid = metadata->gid;
    if (!metadata->has_mtime)
        return;
    entry->mtime = metadata->mtime;
    entry->mtime_nsec = metadata->mtime_nsec;
}

static void replace(char **text, char **by)
{
    if (!*by)
        return;
    g_free(*text);
    *text = g_steal_pointer(by);
}

static bool check_xattrs(const TarEntry *entry, GError **error)
{
    size_t total = XATTRS_HEAD;
    for (guint i = 0; i < entry->xattrs->len; i++) {
        const TreeXattr *xattr = &g_array_index(entry->xattrs, TreeXattr, i);
        size_t length = strlen(xattr->name);
        total += XATTR_HEAD + length + xattr->size;
        if (g_str_has_prefix(xattr->name, "trusted."))
            return error_throw(error, ERROR_INVALID,
                               "it has the attribute '%.255s', which can't be imported",
                               xattr->name);
        if (length == 0 || length > 255 || xattr->size > UINT16_MAX || total > XATTRS_MAX)
            return error_throw(error, ERROR_INVALID, "its attributes are too large for an image");
    }
    return true;
}

static bool apply_sparse(TarExtra *extra, TarEntry *entry, GError **error)
{
    if (entry->type != '0' || entry->sparse != TAR_DENSE || extra->sparse_version > 1 ||
        (extra->sparse_version == 1 && extra->sparse_minor > 0))
        return error_throw(error, ERROR_UNSUPPORTED, "it is a sparse file of an unknown kind");
    replace(&entry->path, &extra->sparse_name);
    entry->sparse = extra->sparse_version == 1 ? TAR_SPARSE_CONTENT : TAR_SPARSE_RECORDS;
    entry->real_size = extra->real_size;
    bool counted = !extra->has_sparse_count || extra->sparse_count == extra->regions->len;
    if (!extra->has_real_size || extra->has_offset ||
        (entry->sparse == TAR_SPARSE_RECORDS ? !counted : extra->regions->len > 0))
        return error_throw(error, ERROR_CORRUPT, "the map of a sparse file is damaged");
    for (guint i = 0; i < extra->regions->len; i++) {
        const TarRegion *region = &g_array_index(extra->regions, TarRegion, i);
        if (!tar_entry_add_region(entry, region->offset, region->size, error))
            return false;
    }
    return true;
}

bool tar_extra_apply(TarExtra *extra, TarEntry *entry, GError **error)
{
    replace(&entry->path, &extra->long_name);
    replace(&entry->link, &extra->long_link);
    replace(&entry->path, &extra->path);
    replace(&entry->link, &extra->link);
    apply_metadata(&extra->global, entry);
    apply_metadata(&extra->own, entry);
    if (extra->has_size)
        entry->size = extra->size;
    /* before POSIX a directory was a file whose name ends in a slash */
    if (entry->type == '0' && entry->sparse == TAR_DENSE && g_str_has_suffix(entry->path, "/"))
        entry->type = '5';
    bool good = !extra->sparse || apply_sparse(extra, entry, error);
    /* a size on what has no bytes is only information, but for hard links in pax archives (POSIX) */
    if (entry->type != '0' && !(entry->type == '1' && extra->any_pax))
        entry->size = entry->type >= '1' && entry->type <= '6' ? 0 : entry->size;
    GArray *xattrs = extra->xattrs;
    extra->xattrs = entry->xattrs;
    entry->xattrs = xattrs;
    GPtrArray *memory = extra->memory;
    extra->memory = entry->memory;
    entry->memory = memory;
    forget(extra);
    return good && check_xattrs(entry, error);
}
