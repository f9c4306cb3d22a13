/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory that is given back all at once: everything in a tree lives as long as the tree. */
#pragma once

#include <glib.h>

typedef struct {
    GPtrArray *blocks;
    char *at;
    size_t room;
} Arena;

void arena_init(Arena *arena);
void arena_clear(Arena *arena);
/* Aligned to 8 bytes, not zeroed. */
void *arena_alloc(Arena *arena, size_t size);
void *arena_alloc0(Arena *arena, size_t size);
void *arena_copy(Arena *arena, const void *data, size_t size);
/* With a NUL behind it, unaligned. */
char *arena_string(Arena *arena, const char *text, size_t size);
