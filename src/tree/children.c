/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: nearly all producers add names in byte order, which appends to one sorted run. What comes out of order
 * starts a second run; runs are merged as the digits of a binary counter carry, so that there are few of them, each
 * longer than the next, and adding n names in any order costs O(n log n) moves. Whoever wants the order settles them
 * into one. A lookup searches every run.
 */
#include "tree/node.h"

#include <string.h>

enum {
    SHORT_RUN = 64, /* so long a run is inserted into; the memmove is cheaper than a merge */
    MOST_RUNS = 32, /* each is at least as long as the next: 2^32 children don't have more */
};

int tree_compare_names(const char *a, const char *b)
{
    return strcmp(a, b); /* compares as unsigned bytes (C17 7.24.4) */
}

static int compare_name(const TreeNode *node, const char *name, size_t length)
{
    int order = strncmp(node->name, name, length);
    return order ? order : node->name[length] != '\0';
}

static uint32_t run_start(const Dir *dir, uint32_t run)
{
    return run == 0 ? 0 : dir->ends[run - 1];
}

/* The position of `name` from `low` up to `high`, or where it would be. */
static bool search(const Dir *dir, uint32_t low, uint32_t high, const char *name, size_t length,
                   uint32_t *out_at)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare_name(dir->nodes[middle], name, length);
        if (order == 0) {
            *out_at = middle;
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *out_at = low;
    return false;
}

bool dir_find(const Dir *dir, const char *name, size_t length, uint32_t *out_at)
{
    if (dir->n == 0 || (dir->n_runs == 1 && compare_name(dir->nodes[dir->n - 1], name, length) < 0))
        return false;
    uint32_t end = dir->n;
    for (uint32_t run = dir->n_runs; run > 0; run--) {
        uint32_t start = run_start(dir, run - 1);
        if (search(dir, start, end, name, length, out_at))
            return true;
        end = start;
    }
    return false;
}

/* --- runs ----------------------------------------------------------------------------------------------- */

/* The last two become one: merged from the back, the last copied aside. */
static void merge_last(Dir *dir)
{
    uint32_t middle = dir->ends[dir->n_runs - 2], start = run_start(dir, dir->n_runs - 2);
    uint32_t n = dir->n - middle, left = middle, to = dir->n;
    if (n > 0 && middle > start &&
        tree_compare_names(dir->nodes[middle - 1]->name, dir->nodes[middle]->name) > 0) {
        g_autofree TreeNode **aside = g_memdup2(dir->nodes + middle, n * sizeof *aside);
        while (n > 0) {
            if (left > start &&
                tree_compare_names(dir->nodes[left - 1]->name, aside[n - 1]->name) > 0)
                dir->nodes[--to] = dir->nodes[--left];
            else
                dir->nodes[--to] = aside[--n];
        }
    }
    dir->n_runs--;
}

static void start_run(Tree *tree, Dir *dir)
{
    if (!dir->ends)
        dir->ends = arena_alloc(&tree->arena, MOST_RUNS * sizeof *dir->ends);
    while (dir->n_runs > 1 && run_start(dir, dir->n_runs - 1) - run_start(dir, dir->n_runs - 2) <=
                                  2 * (dir->n - run_start(dir, dir->n_runs - 1)))
        merge_last(dir);
    dir->ends[dir->n_runs - 1] = dir->n;
    dir->n_runs++;
}

/* Takes the dead out of all runs. */
static void bury(Dir *dir)
{
    uint32_t to = 0, from = 0;
    for (uint32_t run = 0; run < dir->n_runs; run++) {
        uint32_t end = run + 1 < dir->n_runs ? dir->ends[run] : dir->n;
        for (; from < end; from++)
            if (dir->nodes[from]->parent)
                dir->nodes[to++] = dir->nodes[from];
        if (run + 1 < dir->n_runs)
            dir->ends[run] = to;
    }
    dir->n = to;
    dir->n_dead = 0;
}

void dir_settle(Dir *dir)
{
    if (dir->n_dead > 0)
        bury(dir);
    while (dir->n_runs > 1)
        merge_last(dir);
}

/* --- changes -------------------------------------------------------------------------------------------- */

void dir_reserve(Tree *tree, Dir *dir, uint32_t n)
{
    if (n <= dir->capacity)
        return;
    TreeNode **nodes = arena_alloc(&tree->arena, n * sizeof *nodes);
    if (dir->n)
        memcpy(nodes, dir->nodes, dir->n * sizeof *nodes);
    dir->nodes = nodes;
    dir->capacity = n;
}

void dir_insert(Tree *tree, Dir *dir, TreeNode *node)
{
    if (dir->n == dir->capacity)
        dir_reserve(tree, dir, dir->capacity ? dir->capacity * 2 : 4);
    uint32_t start = run_start(dir, dir->n_runs - 1), at = dir->n;
    if (dir->n > start && tree_compare_names(dir->nodes[dir->n - 1]->name, node->name) > 0) {
        if (dir->n - start >= SHORT_RUN || dir->n_runs == 1)
            start_run(tree, dir);
        else
            search(dir, start, dir->n, node->name, strlen(node->name), &at);
    }
    memmove(dir->nodes + at + 1, dir->nodes + at, (dir->n - at) * sizeof *dir->nodes);
    dir->nodes[at] = node;
    dir->n++;
}

void dir_take(Dir *dir, uint32_t at)
{
    memmove(dir->nodes + at, dir->nodes + at + 1, (dir->n - at - 1) * sizeof *dir->nodes);
    dir->n--;
    for (uint32_t run = 0; run + 1 < dir->n_runs; run++)
        dir->ends[run] -= dir->ends[run] > at;
}

void dir_kill(Dir *dir, uint32_t at)
{
    if (at == dir->n - 1)
        dir_take(dir, at);
    else
        dir->n_dead++;
}
