/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/tar.h"

#include <string.h>

TarEntry *tar_entry_new(void)
{
    TarEntry *entry = g_new0(TarEntry, 1);
    entry->xattrs = g_array_new(false, false, sizeof(TreeXattr));
    entry->memory = g_ptr_array_new_with_free_func(g_free);
    return entry;
}

void tar_entry_free(TarEntry *entry)
{
    if (!entry)
        return;
    g_free(entry->path);
    g_free(entry->link);
    g_array_unref(entry->xattrs);
    g_ptr_array_unref(entry->memory);
    g_free(entry);
}

bool tar_header_is_zero(const TarHeader *header)
{
    static const TarHeader zero;
    return memcmp(header, &zero, sizeof zero) == 0;
}

static bool bad_header(GError **error)
{
    return error_throw(error, ERROR_CORRUPT, "the tar has a damaged header");
}

/* Octal digits, or GNU's big-endian binary number when the first bit is set. */
static bool parse_number(const char *field, size_t size, int64_t *out_number, GError **error)
{
    const uint8_t *p = (const uint8_t *)field;
    if (p[0] & 0x80) {
        bool negative = p[0] & 0x40;
        uint64_t number = negative ? UINT64_MAX : 0;
        for (size_t i = 0; i < size; i++) {
            uint8_t byte = i ? p[i] : negative ? p[i] : p[i] & 0x7f;
            if (i + 8 < size && byte != (negative ? 0xff : 0))
                return bad_header(error);
            number = number << 8 | byte;
        }
        if ((int64_t)number < 0 && !negative)
            return bad_header(error);
        *out_number = (int64_t)number;
        return true;
    }
    size_t i = 0;
    int64_t number = 0;
    while (i < size && field[i] == ' ')
        i++;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
        number = number * 8 + (field[i] - '0');
    if (i < size && field[i] != '\0' && field[i] != ' ')
        return bad_header(error);
    *out_number = number;
    return true;
}

static bool parse_u32(const char *field, size_t size, uint32_t *out_number, GError **error)
{
    int64_t number;
    if (!parse_number(field, size, &number, error))
        return false;
    if (number < 0 || number > UINT32_MAX)
        return bad_header(error);
    *out_number = (uint32_t)number;
    return true;
}

static bool checksum_is_good(const TarHeader *header)
{
    int64_t expected;
    if (!parse_number(header->checksum, sizeof header->checksum, &expected, NULL))
        return false;
    const uint8_t *p = (const uint8_t *)header;
    size_t from = offsetof(TarHeader, checksum), to = from + sizeof header->checksum;
    int64_t sum = 0, as_signed = 0; /* some old writers summed signed bytes */
    for (size_t i = 0; i < sizeof *header; i++) {
        uint8_t byte = i >= from && i < to ? ' ' : p[i];
        sum += byte;
        as_signed += (int8_t)byte;
    }
    return sum == expected || as_signed == expected;
}

bool tar_header_parse(const TarHeader *header, TarEntry *entry, GError **error)
{
    int64_t size, mtime;
    if (!checksum_is_good(header))
        return bad_header(error);
    if (!parse_u32(header->mode, sizeof header->mode, &entry->mode, error) ||
        !parse_u32(header->uid, sizeof header->uid, &entry->uid, error) ||
        !parse_u32(header->gid, sizeof header->gid, &entry->gid, error) ||
        !parse_number(header->size, sizeof header->size, &size, error) ||
        !parse_number(header->mtime, sizeof header->mtime, &mtime, error))
        return false;
    if (size < 0)
        return bad_header(error);
    entry->type = header->type ? header->type : '0';
    entry->size = (uint64_t)size;
    entry->mtime = MAX(mtime, 0);
    bool device = entry->type == '3' || entry->type == '4';
    if (device && (!parse_u32(header->major, sizeof header->major, &entry->major, error) ||
                   !parse_u32(header->minor, sizeof header->minor, &entry->minor, error)))
        return false;
    entry->link = g_strndup(header->link, sizeof header->link);
    g_autofree char *name = g_strndup(header->name, sizeof header->name);
    bool posix = memcmp(header->magic, "ustar", 6) ==
                 0; /* GNU's has a blank, and other things in `prefix` */
    entry->path = posix && header->prefix[0]
                      ? g_strdup_printf("%.*s/%s", (int)sizeof header->prefix, header->prefix, name)
                      : g_steal_pointer(&name);
    entry->sparse = entry->type == 'S';
    if (entry->type == '7')
        entry->type = '0';
    /* before POSIX a directory was a file whose name ends in a slash */
    if (entry->type == '0' && g_str_has_suffix(entry->path, "/"))
        entry->type = '5';
    return true;
}

/* --- pax ------------------------------------------------------------------------------------------------ */

static GHashTable *records_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
}

void tar_extra_init(TarExtra *extra)
{
    *extra = (TarExtra){.pax = records_new(), .global = records_new()};
}

void tar_extra_next(TarExtra *extra)
{
    g_hash_table_remove_all(extra->pax);
    g_clear_pointer(&extra->long_name, g_free);
    g_clear_pointer(&extra->long_link, g_free);
}

void tar_extra_clear(TarExtra *extra)
{
    tar_extra_next(extra);
    g_hash_table_unref(extra->pax);
    g_hash_table_unref(extra->global);
}

/* "LENGTH KEY=VALUE\n", the length counting everything. */
bool tar_extra_parse_pax(GHashTable *records, const char *text, size_t size, GError **error)
{
    while (size > 0) {
        size_t length = 0, digits = 0;
        while (digits < size && digits < 9 && g_ascii_isdigit(text[digits]))
            length = length * 10 + (size_t)(text[digits++] - '0');
        if (digits == 0 || digits >= size || text[digits] != ' ' || length <= digits + 2 ||
            length > size || text[length - 1] != '\n')
            return error_throw(error, ERROR_CORRUPT, "the tar has a damaged pax header");
        const char *key = text + digits + 1, *end = text + length - 1;
        const char *equals = memchr(key, '=', (size_t)(end - key));
        if (!equals || equals == key)
            return error_throw(error, ERROR_CORRUPT, "the tar has a damaged pax header");
        g_hash_table_replace(records, g_strndup(key, (gsize)(equals - key)),
                             g_bytes_new(equals + 1, (gsize)(end - equals - 1)));
        text += length;
        size -= length;
    }
    return true;
}

/* A decimal with a fraction of up to nine digits that count. */
static bool parse_time(const char *text, int64_t *out_seconds, uint32_t *out_nsec)
{
    char *end;
    int64_t seconds = g_ascii_strtoll(text, &end, 10);
    uint32_t nsec = 0;
    if (end == text)
        return false;
    if (*end == '.') {
        uint32_t scale = 100000000;
        for (end++; g_ascii_isdigit(*end); end++, scale /= 10)
            nsec += (uint32_t)(*end - '0') * scale;
    }
    if (*end)
        return false;
    bool negative = *text == '-';
    *out_seconds = negative ? 0 : seconds;
    *out_nsec = negative ? 0 : nsec;
    return true;
}

static bool apply_number(const char *text, uint64_t limit, uint64_t *out_number)
{
    char *end;
    uint64_t number = g_ascii_strtoull(text, &end, 10);
    *out_number = number;
    return end != text && !*end && *text != '-' && number <= limit;
}

static bool apply_xattr(TarEntry *entry, const char *name, const char *value, size_t size,
                        GError **error)
{
    if (g_str_has_prefix(name, "trusted."))
        return error_throw(error, ERROR_INVALID,
                           "'%s' has the attribute '%s', which can't be imported", entry->path,
                           name);
    if (!*name || strlen(name) > 255 || size > UINT16_MAX)
        return error_throw(error, ERROR_INVALID, "'%s' has an attribute that is too long",
                           entry->path);
    char *copy = g_malloc(strlen(name) + 1 + size);
    strcpy(copy, name);
    memcpy(copy + strlen(name) + 1, value, size);
    g_ptr_array_add(entry->memory, copy);
    TreeXattr xattr = {.name = copy, .value = (uint8_t *)copy + strlen(name) + 1, .size = size};
    g_array_append_val(entry->xattrs, xattr);
    return true;
}

static bool apply_record(TarEntry *entry, const char *key, GBytes *bytes, GError **error)
{
    size_t size;
    const char *data = g_bytes_get_data(bytes, &size);
    if (g_str_has_prefix(key, "SCHILY.xattr."))
        return apply_xattr(entry, key + strlen("SCHILY.xattr."), data, size, error);
    if (g_str_has_prefix(key, "GNU.sparse."))
        entry->sparse = true;
    g_autofree char *text = g_strndup(data, size);
    bool good = true;
    uint64_t number = 0;
    if (strcmp(key, "path") == 0) {
        g_free(entry->path);
        entry->path = g_steal_pointer(&text);
    } else if (strcmp(key, "linkpath") == 0) {
        g_free(entry->link);
        entry->link = g_steal_pointer(&text);
    } else if (strcmp(key, "size") == 0) {
        good = apply_number(text, INT64_MAX, &number);
        entry->size = number;
    } else if (strcmp(key, "uid") == 0) {
        good = apply_number(text, UINT32_MAX, &number);
        entry->uid = (uint32_t)number;
    } else if (strcmp(key, "gid") == 0) {
        good = apply_number(text, UINT32_MAX, &number);
        entry->gid = (uint32_t)number;
    } else if (strcmp(key, "mtime") == 0) {
        good = parse_time(text, &entry->mtime, &entry->mtime_nsec);
    }
    return good || error_throw(error, ERROR_CORRUPT, "the tar has a damaged pax header: '%s'", key);
}

static bool apply_records(GHashTable *records, TarEntry *entry, GError **error)
{
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, records);
    while (g_hash_table_iter_next(&iter, &key, &value))
        if (!apply_record(entry, key, value, error))
            return false;
    return true;
}

bool tar_extra_apply(const TarExtra *extra, TarEntry *entry, GError **error)
{
    if (extra->long_name) {
        g_free(entry->path);
        entry->path = g_strdup(extra->long_name);
    }
    if (extra->long_link) {
        g_free(entry->link);
        entry->link = g_strdup(extra->long_link);
    }
    /* xattrs of an entry replace global ones of the same name: the tree takes the last */
    return apply_records(extra->global, entry, error) && apply_records(extra->pax, entry, error);
}
