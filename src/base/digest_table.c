/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/digest_table.h"

enum { FIRST_CAPACITY = 1024 }; /* a power of two, as all that follow */

void digest_table_init(DigestTable *table)
{
    *table = (DigestTable){.capacity = FIRST_CAPACITY};
    table->slots = g_new0(DigestMark, table->capacity);
    for (size_t i = 0; i < 2; i++)
        table->seed[i] = (uint64_t)g_random_int() << 32 | g_random_int();
}

void digest_table_clear(DigestTable *table)
{
    g_clear_pointer(&table->slots, g_free);
    table->n = table->capacity = 0;
}

/* The digest's slot, or the empty one where it would be. */
static DigestMark *find(const DigestTable *table, const Digest *digest)
{
    uint64_t words[2];
    memcpy(words, digest->bytes, sizeof words);
    __extension__ unsigned __int128 product =
        (unsigned __int128)(words[0] ^ table->seed[0]) * (words[1] ^ table->seed[1]);
    size_t at = (size_t)(product >> 64) ^ (size_t)product;
    for (;; at++) {
        DigestMark *slot = &table->slots[at & (table->capacity - 1)];
        if (slot->marks == 0 || digest_equal(&slot->digest, digest))
            return slot;
    }
}

static void grow(DigestTable *table)
{
    DigestTable larger = *table;
    larger.capacity *= 2;
    larger.slots = g_new0(DigestMark, larger.capacity);
    for (size_t i = 0; i < table->capacity; i++)
        if (table->slots[i].marks)
            *find(&larger, &table->slots[i].digest) = table->slots[i];
    g_free(table->slots);
    *table = larger;
}

uint32_t digest_table_add(DigestTable *table, const Digest *digest, uint32_t marks)
{
    DigestMark *slot = find(table, digest);
    uint32_t before = slot->marks;
    if (before == 0) {
        if (table->n >= table->capacity / 3 * 2) {
            grow(table);
            slot = find(table, digest);
        }
        slot->digest = *digest;
        table->n++;
    }
    slot->marks = before | marks;
    return before;
}

uint32_t digest_table_marks(const DigestTable *table, const Digest *digest)
{
    return table->capacity ? find(table, digest)->marks : 0;
}
