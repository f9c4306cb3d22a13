/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The split stream's file: what its reader and its writer agree on. Private to src/store.
 *
 *     magic 11 | version 1 | flags 2 | algorithm 1 | lg block 1 | info range 16 |
 *     info: ranges of stream_refs, object_refs, stream, named_refs 4 x 16 | content type 8 | total size 8 |
 *     stream_refs | object_refs | named_refs (zstd) | stream (zstd)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define STREAM_MAGIC "SplitStream"

enum {
    STREAM_MAGIC_SIZE = 11,
    STREAM_HEADER_SIZE = 32,
    STREAM_INFO_SIZE = 80,
    STREAM_VERSION_AT = 11,
    STREAM_ALGORITHM_AT = 14,
    STREAM_LG_AT = 15,
    STREAM_INFO_AT = 16,
    STREAM_REFS_LIMIT = 16 << 20, /* named refs, uncompressed */
};

/* The first bytes are those of a split stream (early writers had the header's fields in another order). */
static inline bool stream_has_magic(const uint8_t head[STREAM_HEADER_SIZE])
{
    return memcmp(head, STREAM_MAGIC, STREAM_MAGIC_SIZE) == 0 ||
           memcmp(head + 18, STREAM_MAGIC, STREAM_MAGIC_SIZE) == 0;
}
