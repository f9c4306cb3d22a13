/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tree/arena.h"

#include <stdint.h>
#include <string.h>

enum { FIRST_BLOCK = 4096, LARGEST_BLOCK = 1 << 20 };

void arena_init(Arena *arena)
{
    *arena = (Arena){.blocks = g_ptr_array_new_with_free_func(g_free)};
}

void arena_clear(Arena *arena)
{
    g_clear_pointer(&arena->blocks, g_ptr_array_unref);
    *arena = (Arena){0};
}

/* Blocks double, so that small trees stay small and large ones take few steps. */
static void *take(Arena *arena, size_t size)
{
    if (size > arena->room) {
        size_t block = (size_t)FIRST_BLOCK << MIN(arena->blocks->len, 8u);
        block = MIN(block, LARGEST_BLOCK);
        if (size > block / 4) { /* by itself; the current block is not given up for it */
            void *large = g_malloc(size);
            g_ptr_array_add(arena->blocks, large);
            return large;
        }
        arena->at = g_malloc(block);
        arena->room = block;
        g_ptr_array_add(arena->blocks, arena->at);
    }
    void *result = arena->at;
    arena->at += size;
    arena->room -= size;
    return result;
}

void *arena_alloc(Arena *arena, size_t size)
{
    size_t skew = (uintptr_t)arena->at & 7;
    if (skew) {
        size_t skip = MIN(8 - skew, arena->room);
        arena->at += skip;
        arena->room -= skip;
    }
    return take(arena, size);
}

void *arena_alloc0(Arena *arena, size_t size)
{
    return memset(arena_alloc(arena, size), 0, size);
}

void *arena_copy(Arena *arena, const void *data, size_t size)
{
    void *copy = arena_alloc(arena, size);
    if (size)
        memcpy(copy, data, size);
    return copy;
}

char *arena_string(Arena *arena, const char *text, size_t size)
{
    char *copy = take(arena, size + 1);
    if (size)
        memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}
