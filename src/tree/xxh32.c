/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* xxHash, 32 bits: the hash of EROFS' xattr name filter (one-shot; names are short). */
#include "tree/erofs.h"

static const uint32_t prime1 = 2654435761u, prime2 = 2246822519u, prime3 = 3266489917u,
                      prime4 = 668265263u, prime5 = 374761393u;

static uint32_t rotate(uint32_t value, int bits)
{
    return value << bits | value >> (32 - bits);
}

static uint32_t add_lane(uint32_t lane, const uint8_t *p)
{
    return rotate(lane + get32(p) * prime2, 13) * prime1;
}

uint32_t erofs_xxh32(const void *data, size_t size, uint32_t seed)
{
    const uint8_t *p = data, *end = p + size;
    uint32_t hash = seed + prime5;
    if (size >= 16) {
        uint32_t a = seed + prime1 + prime2, b = seed + prime2, c = seed, d = seed - prime1;
        for (; end - p >= 16; p += 16) {
            a = add_lane(a, p);
            b = add_lane(b, p + 4);
            c = add_lane(c, p + 8);
            d = add_lane(d, p + 12);
        }
        hash = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
    }
    hash += (uint32_t)size;
    for (; end - p >= 4; p += 4)
        hash = rotate(hash + get32(p) * prime3, 17) * prime4;
    for (; p < end; p++)
        hash = rotate(hash + *p * prime5, 11) * prime1;
    hash = (hash ^ hash >> 15) * prime2;
    hash = (hash ^ hash >> 13) * prime3;
    return hash ^ hash >> 16;
}
