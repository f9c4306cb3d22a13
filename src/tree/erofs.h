/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* EROFS as composefs uses it: what the writer and the reader agree on. Private to src/tree.
 *
 *     [0) composefs header | zeros to 1024 | superblock | inodes from 1152 … E | shared xattrs | data blocks
 *
 * Numbers are little-endian; a nid is a byte offset divided by 32.
 */
#pragma once

#include "tree/tree.h"

#include <string.h>

enum {
    EROFS_BLOCK = 4096,
    EROFS_SLOT = 32,
    EROFS_SUPER_OFFSET = 1024,
    EROFS_FIRST_INODE = 1152,
    EROFS_COMPACT_SIZE = 32,
    EROFS_EXTENDED_SIZE = 64,
    EROFS_DIRENT_SIZE = 12,
    EROFS_XATTR_HEADER_SIZE = 12,
    EROFS_SHARED_MAX = 128, /* shared xattrs that one inode refers to */

    EROFS_LAYOUT_PLAIN = 0,
    EROFS_LAYOUT_INLINE = 2,
    EROFS_LAYOUT_CHUNK = 4,

    COMPOSEFS_CONTENT_MAX = 5000, /* more inline bytes than any writer puts in an image */
    COMPOSEFS_TARGET_MAX = 4095,
};

#define COMPOSEFS_MAGIC    0xd078629au
#define COMPOSEFS_FLAG_ACL 1u
#define EROFS_MAGIC        0xe0f5e1e2u
#define EROFS_FILTER_SEED  0x25bbe08fu

#define OVERLAY_PREFIX   "trusted.overlay."
#define OVERLAY_ESCAPED  "trusted.overlay.overlay."
#define OVERLAY_METACOPY "trusted.overlay.metacopy"
#define OVERLAY_REDIRECT "trusted.overlay.redirect"

static inline uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get32(const uint8_t *p)
{
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static inline uint64_t get64(const uint8_t *p)
{
    return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static inline void put16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static inline void put32(uint8_t *p, uint32_t value)
{
    put16(p, (uint16_t)value);
    put16(p + 2, (uint16_t)(value >> 16));
}

static inline void put64(uint8_t *p, uint64_t value)
{
    put32(p, (uint32_t)value);
    put32(p + 4, (uint32_t)(value >> 32));
}

static inline uint64_t round_up(uint64_t value, uint64_t step)
{
    return (value + step - 1) / step * step;
}

/* "XX/REST": where an object lies in the data layer. */
typedef struct {
    char text[66];
} ObjectPath;

static inline ObjectPath object_path(const Digest *object)
{
    ObjectPath path;
    DigestHex hex = digest_hex(object);
    memcpy(path.text, hex.text, 2);
    path.text[2] = '/';
    memcpy(path.text + 3, hex.text + 2, 63);
    return path;
}

/* As tree_write_image, for a range of versions of composefs: 0,0 = the oldest; 0,1 = what mkcomposefs does without
 * options; 1,1 = ours. */
GBytes *erofs_write_image(Tree *tree, int min_version, int max_version, GError **error);
/* i_size of the directory in its image (the root with its stubs). */
uint64_t erofs_dir_size(const TreeNode *dir);

uint32_t erofs_xxh32(const void *data, size_t size, uint32_t seed);
