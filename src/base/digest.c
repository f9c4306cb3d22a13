/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/digest.h"

DigestHex digest_hex(const Digest *digest)
{
    static const char digits[] = "0123456789abcdef";
    DigestHex hex;
    for (int i = 0; i < DIGEST_SIZE; i++) {
        hex.text[2 * i] = digits[digest->bytes[i] >> 4];
        hex.text[2 * i + 1] = digits[digest->bytes[i] & 15];
    }
    hex.text[DIGEST_HEX_SIZE - 1] = '\0';
    return hex;
}

/* A hex digit's value and 16; 0 for all else. A table, because a store is listed by parsing 10^6 names. */
static const uint8_t nibbles[256] = {
    ['0'] = 16, ['1'] = 17, ['2'] = 18, ['3'] = 19, ['4'] = 20, ['5'] = 21, ['6'] = 22, ['7'] = 23,
    ['8'] = 24, ['9'] = 25, ['a'] = 26, ['b'] = 27, ['c'] = 28, ['d'] = 29, ['e'] = 30, ['f'] = 31,
};

bool digest_parse(const char *text, Digest *out_digest)
{
    Digest parsed;
    for (int i = 0; i < DIGEST_SIZE; i++) {
        unsigned high = nibbles[(uint8_t)text[2 * i]];
        unsigned low = high ? nibbles[(uint8_t)text[2 * i + 1]] : 0;
        if (!low)
            return false;
        parsed.bytes[i] = (uint8_t)(high << 4 | (low & 15));
    }
    if (text[DIGEST_HEX_SIZE - 1] != '\0')
        return false;
    *out_digest = parsed;
    return true;
}

unsigned digest_hash(const void *digest)
{
    unsigned hash; /* a digest is uniform: any four bytes will do */
    memcpy(&hash, digest, sizeof hash);
    return hash;
}

int digest_equal_void(const void *a, const void *b)
{
    return digest_equal(a, b);
}
