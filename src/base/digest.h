/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A SHA-256-sized name: of an object (fs-verity digest), of an OSTree object, of an OCI blob.
 *
 * The type and its text forms only; measuring is in base/hash.h, which needs libcrypto.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define DIGEST_SIZE     32
#define DIGEST_HEX_SIZE 65 /* 64 lower-case hex digits and a NUL */

typedef struct {
    uint8_t bytes[DIGEST_SIZE];
} Digest;

typedef struct {
    char text[DIGEST_HEX_SIZE];
} DigestHex;

/* By value, so that `digest_hex(&d).text` may stand in an argument list. */
DigestHex digest_hex(const Digest *digest);
/* Exactly 64 lower-case hex digits, nothing after them; false otherwise. */
bool digest_parse(const char *text, Digest *out_digest);

static inline bool digest_equal(const Digest *a, const Digest *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static inline int digest_compare(const Digest *a, const Digest *b)
{
    return memcmp(a, b, sizeof *a);
}

static inline bool digest_is_zero(const Digest *digest)
{
    static const Digest zero;
    return digest_equal(digest, &zero);
}

/* For GHashTable keyed by const Digest *. */
unsigned digest_hash(const void *digest);
int digest_equal_void(const void *a, const void *b);
