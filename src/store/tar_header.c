/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One header block: v7's fields; POSIX's `prefix` behind them, or in its place the sparse map of GNU or of star. */
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
    g_clear_pointer(&entry->regions, g_array_unref);
    g_free(entry);
}

bool tar_entry_add_region(TarEntry *entry, uint64_t offset, uint64_t size, GError **error)
{
    if (!entry->regions)
        entry->regions = g_array_new(false, false, sizeof(TarRegion));
    if (entry->regions->len >= TAR_REGIONS_MAX)
        return error_throw(error, ERROR_INVALID, "it is a sparse file of more than %d pieces",
                           TAR_REGIONS_MAX);
    TarRegion region = {offset, size};
    g_array_append_val(entry->regions, region);
    return true;
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
bool tar_number_parse(const char *field, size_t size, int64_t *out_number, GError **error)
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
    if (!tar_number_parse(field, size, &number, error))
        return false;
    if (number < 0 || number > UINT32_MAX)
        return bad_header(error);
    *out_number = (uint32_t)number;
    return true;
}

bool tar_header_is_good(const TarHeader *header)
{
    int64_t expected;
    if (!tar_number_parse(header->checksum, sizeof header->checksum, &expected, NULL))
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

/* --- sparse maps ---------------------------------------------------------------------------------------- */

/* Offset and size of a region: 12 bytes each. */
enum { NUMBER = 12, PAIR = 2 * NUMBER };

bool tar_header_regions(TarEntry *entry, const char *field, int n, GError **error)
{
    for (int i = 0; i < n && field[i * PAIR + NUMBER]; i++) {
        int64_t offset, size;
        if (!tar_number_parse(field + i * PAIR, NUMBER, &offset, error) ||
            !tar_number_parse(field + i * PAIR + NUMBER, NUMBER, &size, error))
            return false;
        if (offset < 0 || size < 0)
            return bad_header(error);
        if (!tar_entry_add_region(entry, (uint64_t)offset, (uint64_t)size, error))
            return false;
    }
    return true;
}

/* Where the first four regions, the mark that more follow, and the file's size are: GNU's own place, or star's, which is
 * told by its magic at the end. */
static bool parse_sparse(const TarHeader *header, TarEntry *entry, GError **error)
{
    enum { MAP = 386, MORE = 482, SIZE = 483, STAR_MORE = 355, STAR_MAP = 356, STAR_SIZE = 452 };
    const char *block = (const char *)header;
    bool star = memcmp(block + TAR_BLOCK - 4, "tar", 4) == 0;
    int64_t size;
    entry->sparse = TAR_SPARSE_HEADER;
    entry->more_regions = block[star ? STAR_MORE : MORE] != 0;
    if (!tar_header_regions(entry, block + (star ? STAR_MAP : MAP), 4, error) ||
        !tar_number_parse(block + (star ? STAR_SIZE : SIZE), NUMBER, &size, error))
        return false;
    entry->real_size = (uint64_t)size;
    return size >= 0 || bad_header(error);
}

static bool has_prefix(const TarHeader *header)
{
    /* GNU's magic has a blank, and other things follow */
    return header->type != 'S' && memcmp(header->magic, "ustar", 6) == 0 && header->prefix[0];
}

/* 12 and 20 bits are all that Linux has. */
static bool parse_device(const TarHeader *header, TarEntry *entry, GError **error)
{
    return parse_u32(header->major, sizeof header->major, &entry->major, error) &&
           parse_u32(header->minor, sizeof header->minor, &entry->minor, error) &&
           ((entry->major < 1 << 12 && entry->minor < 1 << 20) ||
            error_throw(error, ERROR_INVALID, "the tar has a device %u:%u", entry->major,
                        entry->minor));
}

bool tar_header_parse(const TarHeader *header, TarEntry *entry, GError **error)
{
    int64_t size, mtime;
    if (!tar_header_is_good(header))
        return bad_header(error);
    if (!parse_u32(header->mode, sizeof header->mode, &entry->mode, error) ||
        !parse_u32(header->uid, sizeof header->uid, &entry->uid, error) ||
        !parse_u32(header->gid, sizeof header->gid, &entry->gid, error) ||
        !tar_number_parse(header->size, sizeof header->size, &size, error) ||
        !tar_number_parse(header->mtime, sizeof header->mtime, &mtime, error))
        return false;
    if (size < 0)
        return bad_header(error);
    entry->type = header->type ? header->type : '0';
    entry->size = (uint64_t)size;
    entry->mtime = MAX(mtime, 0);
    bool device = entry->type == '3' || entry->type == '4';
    if (device && !parse_device(header, entry, error))
        return false;
    entry->link = g_strndup(header->link, sizeof header->link);
    g_autofree char *name = g_strndup(header->name, sizeof header->name);
    entry->path = has_prefix(header)
                      ? g_strdup_printf("%.*s/%s", (int)sizeof header->prefix, header->prefix, name)
                      : g_steal_pointer(&name);
    if (entry->type == 'S' && !parse_sparse(header, entry, error))
        return false;
    if (entry->type == '7' || entry->type == 'S')
        entry->type = '0';
    return true;
}
