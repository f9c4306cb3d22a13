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

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

bool digest_parse(const char *text, Digest *out_digest)
{
    Digest parsed;
    for (int i = 0; i < DIGEST_SIZE; i++) {
        int high = nibble(text[2 * i]);
        int low = high < 0 ? -1 : nibble(text[2 * i + 1]);
        if (low < 0)
            return false;
        parsed.bytes[i] = (uint8_t)(high << 4 | low);
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
