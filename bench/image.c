/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tree library does with a dump, without a process to start, a store to open or a disk to wait for:
 *
 *     image DUMP
 *
 * prints, for parsing the dump, writing its image and reading that again, CPU microseconds an inode, and of what memory
 * the peaks consist in bytes an inode. Each step runs three times; the fastest counts. */
#include "tree/tree.h"

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

enum { ROUNDS = 3 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double peak(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss * 1024;
}

static bool count(TreeNode *node _unused, void *data, GError **error _unused)
{
    ++*(double *)data;
    return true;
}

typedef struct {
    double parse, write, read; /* us */
    double parse_memory, write_memory;
    double inodes, image_size;
} Cost;

static bool run(const char *dump, size_t size, Cost *cost, GError **error)
{
    double start = now(), before = peak();
    g_autoptr(Tree) tree = tree_parse_dump(dump, size, error);
    double parsed = now(), with_tree = peak();
    g_autoptr(GBytes) image = tree ? tree_write_image(tree, error) : NULL;
    double written = now(), with_image = peak();
    if (!image)
        return false;
    cost->inodes = 0;
    tree_walk(tree, count, &cost->inodes, NULL);
    g_clear_pointer(&tree, tree_free);
    double begin = now();
    g_autoptr(Tree) read = tree_read_image(image, error);
    double done = now();
    *cost = (Cost){parsed - start,
                   written - parsed,
                   done - begin,
                   with_tree - before,
                   with_image - before,
                   cost->inodes,
                   (double)g_bytes_get_size(image)};
    return read != NULL;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *dump = NULL;
    size_t size = 0;
    if (argc != 2 || !g_file_get_contents(argv[1], &dump, &size, &error)) {
        fprintf(stderr, "image: %s\n", error ? error->message : "usage: image DUMP");
        return 2;
    }
    Cost best = {0};
    for (int i = 0; i < ROUNDS; i++) {
        Cost cost;
        if (!run(dump, size, &cost, &error)) {
            fprintf(stderr, "image: %s\n", error->message);
            return 1;
        }
        if (i == 0)
            best = cost; /* only the first round's peaks are its own */
        best.parse = MIN(best.parse, cost.parse);
        best.write = MIN(best.write, cost.write);
        best.read = MIN(best.read, cost.read);
    }
    printf(
        "  library alone    parse %.3f + write %.3f us an inode (%.2f ms in all), read back %.3f;"
        " memory %.0f bytes an inode = tree %.0f + image %.0f + plan\n",
        best.parse / best.inodes, best.write / best.inodes, (best.parse + best.write) / 1e3,
        best.read / best.inodes, best.write_memory / best.inodes, best.parse_memory / best.inodes,
        best.image_size / best.inodes);
    return 0;
}
