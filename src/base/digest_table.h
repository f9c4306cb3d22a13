/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Digests with marks: one open-addressed table instead of a set per mark. For walks over whole stores (10^6
 * digests): no allocation per digest, 36 bytes each. Not thread-safe.
 */
#pragma once

#include "base/digest.h"

#include <glib.h>
#include <stddef.h>

typedef struct {
    Digest digest;
    uint32_t marks; /* 0: an empty slot */
} DigestMark;

typedef struct {
    DigestMark *slots;
    size_t n, capacity;
    uint64_t seed[2]; /* digests may come from a stranger's image, made to fall together */
} DigestTable;

/* A zeroed table is good for looking up; marking needs init. */
void digest_table_init(DigestTable *table);
void digest_table_clear(DigestTable *table);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DigestTable, digest_table_clear)
/* Adds marks (not 0) to the digest's; the ones it had before: 0 when it is new. */
uint32_t digest_table_add(DigestTable *table, const Digest *digest, uint32_t marks);
/* 0 when it is not there. */
uint32_t digest_table_marks(const DigestTable *table, const Digest *digest);
