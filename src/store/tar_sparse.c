/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sparse files: a map says which regions of the file are in the archive, one after the other. All of it, the map too, goes
 * inline into the split stream; the tree gets the whole file, holes as zeros. The object is sparse itself, and hashing a
 * hole costs nothing, so a file of many gigabytes of nothing takes no time.
 *
 * There is a limit nevertheless, to what all holes of one archive claim together: whoever reads, copies or exports the file
 * reads zeros, and where the filesystem has fs-verity the kernel hashes them one by one and keeps 1/128 of them as
 * its Merkle tree. At 64 GiB that is a minute and 512 MiB; disk images of virtual machines fit. */
#include "store/tar.h"

#include <string.h>

/* --- the map -------------------------------------------------------------------------------------------- */

static bool damaged(GError **error)
{
    return error_throw(error, ERROR_CORRUPT, "the map of a sparse file is damaged");
}

/* Blocks behind the header, each with a mark whether another follows. */
static bool read_blocks(TarInput *input, TarEntry *entry, GError **error)
{
    enum { REGIONS = 21, MORE = 504 };
    while (entry->more_regions) {
        const uint8_t *block = tar_input_inline(input, TAR_BLOCK, error);
        if (!block || !tar_header_regions(entry, (const char *)block, REGIONS, error))
            return false;
        entry->more_regions = block[MORE] != 0;
    }
    return true;
}

/* Decimal numbers, a line each, in whole blocks: how many regions, then offset and size of each. */
typedef struct {
    TarInput *input;
    TarEntry *entry; /* its size is what is left behind the map */
    const uint8_t *block;
    size_t at;
} MapText;

static bool next_byte(MapText *map, uint8_t *out_byte, GError **error)
{
    if (!map->block || map->at == TAR_BLOCK) {
        if (map->entry->size < TAR_BLOCK)
            return damaged(error);
        map->block = tar_input_inline(map->input, TAR_BLOCK, error);
        map->at = 0;
        map->entry->size -= TAR_BLOCK;
    }
    if (!map->block)
        return false;
    *out_byte = map->block[map->at++];
    return true;
}

static bool next_number(MapText *map, uint64_t *out_number, GError **error)
{
    uint64_t number = 0;
    uint8_t byte = 0;
    for (unsigned digits = 0;; digits++) {
        if (!next_byte(map, &byte, error))
            return false;
        if (byte == '\n' && digits > 0)
            break;
        if (!g_ascii_isdigit(byte) || number > (INT64_MAX - 9) / 10)
            return damaged(error);
        number = number * 10 + (byte - '0');
    }
    *out_number = number;
    return true;
}

static bool read_text(TarInput *input, TarEntry *entry, GError **error)
{
    MapText map = {.input = input, .entry = entry};
    uint64_t n, offset, size;
    if (!next_number(&map, &n, error))
        return false;
    for (uint64_t i = 0; i < n; i++)
        if (!next_number(&map, &offset, error) || !next_number(&map, &size, error) ||
            !tar_entry_add_region(entry, offset, size, error))
            return false;
    return true;
}

/* In order, none over another, within the file, and as much as is in the archive. */
static bool check_map(const TarEntry *entry, GError **error)
{
    uint64_t at = 0, total = 0;
    for (guint i = 0; entry->regions && i < entry->regions->len; i++) {
        const TarRegion *region = &g_array_index(entry->regions, TarRegion, i);
        if (region->offset < at || region->offset > entry->real_size ||
            region->size > entry->real_size - region->offset)
            return damaged(error);
        at = region->offset + region->size;
        total += region->size;
    }
    return total == entry->size || damaged(error);
}

/* --- the content ---------------------------------------------------------------------------------------- */

/* Where the bytes go: a hole or data at a time. */
typedef struct {
    StoreWriter *writer; /* NULL: into `small` */
    uint8_t *small;
    size_t small_at;
} Content;

static bool add_hole(Content *content, uint64_t size, GError **error)
{
    if (content->writer)
        return size == 0 || store_writer_append_hole(content->writer, size, error);
    memset(content->small + content->small_at, 0, (size_t)size);
    content->small_at += (size_t)size;
    return true;
}

static bool add_data(Content *content, TarInput *input, uint64_t size, GError **error)
{
    while (size > 0) {
        size_t n = (size_t)MIN(size, TAR_PIECE);
        const uint8_t *bytes = tar_input_inline(input, n, error);
        if (!bytes)
            return false;
        if (content->writer && !store_writer_append(content->writer, bytes, n, error))
            return false;
        if (!content->writer) {
            memcpy(content->small + content->small_at, bytes, n);
            content->small_at += n;
        }
        size -= n;
    }
    return true;
}

static bool add_regions(Content *content, TarInput *input, const TarEntry *entry, GError **error)
{
    uint64_t at = 0;
    for (guint i = 0; entry->regions && i < entry->regions->len; i++) {
        const TarRegion *region = &g_array_index(entry->regions, TarRegion, i);
        if (!add_hole(content, region->offset - at, error) ||
            !add_data(content, input, region->size, error))
            return false;
        at = region->offset + region->size;
    }
    return add_hole(content, entry->real_size - at, error);
}

bool tar_sparse_read(TarInput *input, TarEntry *entry, StoreTxn *txn, uint64_t *holes_left,
                     uint8_t *small, Digest *out_object, GError **error)
{
    if (!read_blocks(input, entry, error) ||
        (entry->sparse == TAR_SPARSE_CONTENT && !read_text(input, entry, error)) ||
        !check_map(entry, error))
        return false;
    uint64_t holes = entry->real_size - entry->size;
    if (holes > *holes_left)
        return error_throw(error, ERROR_INVALID,
                           "its holes are larger than what one archive may claim (%d GiB in all)",
                           TAR_HOLES_GIB);
    *holes_left -= holes;
    Content content = {.small = small};
    bool large = entry->real_size > TREE_INLINE_MAX;
    content.writer = large ? store_writer_new(txn, error) : NULL;
    if (large && !content.writer)
        return false;
    if (!add_regions(&content, input, entry, error)) {
        store_writer_abort(content.writer);
        return false;
    }
    return !large || store_writer_finish(content.writer, out_object, error);
}
