/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The objects of an image without its tree: whatever the tree's reader finds, garbage collection must find too. */
#include "base/digest_table.h"
#include "tree/tree.h"

#include <stdio.h>

static bool add_object(const Digest *object, void *data, GError **error _unused)
{
    digest_table_add(data, object, 1);
    return true;
}

static bool is_found(TreeNode *node, void *data, GError **error _unused)
{
    const TreeInode *inode = node->inode;
    Digest object;
    char hex[DIGEST_HEX_SIZE];
    if (inode->has_object)
        g_assert_cmpuint(digest_table_marks(data, &inode->object), ==, 1);
    if (inode->payload && strlen(inode->payload) == 65 && inode->payload[2] == '/') {
        g_snprintf(hex, sizeof hex, "%.2s%s", inode->payload, inode->payload + 3);
        if (digest_parse(hex, &object))
            g_assert_cmpuint(digest_table_marks(data, &object), ==, 1);
    }
    return true;
}

/* Whether both take it; then they must find the same objects. (What is refused here stops a collection, which is safe.) */
static bool check_image(GBytes *image)
{
    g_autoptr(Tree) tree = tree_read_image(image, NULL);
    g_auto(DigestTable) found = {0};
    digest_table_init(&found);
    g_autoptr(GError) error = NULL;
    bool good = tree_image_each_object(image, add_object, &found, &error);
    if (!good)
        g_assert_true(error_is(error, ERROR_CORRUPT));
    return tree && good && tree_walk(tree, is_found, &found, NULL);
}

static GBytes *image_of(const char *name)
{
    g_autofree char *path = g_build_filename(g_getenv("ATOMIC_TEST_DATA"), "composefs", name, NULL);
    g_autofree char *text = NULL;
    size_t size;
    g_assert_true(g_file_get_contents(path, &text, &size, NULL));
    g_autoptr(GError) error = NULL;
    g_autoptr(Tree) tree = tree_parse_dump(text, size, &error);
    g_assert_no_error(error);
    return tree_write_image(tree, NULL);
}

static const char *const vectors[] = {
    "v1-empty.dump",     "v2-basic.dump", "v3-xattrs.dump", "v4-devices.dump",
    "v5-hardlinks.dump", "v6-dirs.dump",  "v7-sizes.dump",  "v8-symlinks.dump",
};

static void test_vectors(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
        g_autoptr(GBytes) image = image_of(vectors[i]);
        g_assert_true(check_image(image));
    }
}

/* A digest that many files have is kept once, as a shared attribute; one without a digest has its path only. */
static void test_kinds(void)
{
    static const char dump[] =
        "/ 0 40755 4 0 0 0 0.0 - - -\n"
        "/a 100 100644 1 0 0 0 0.0 "
        "5a/5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a - -\n"
        "/b 100 100644 1 0 0 0 0.0 "
        "6b/6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b - "
        "6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b\n"
        "/c 100 100644 1 0 0 0 0.0 "
        "6b/6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b - "
        "6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b\n"
        "/d 0 40755 2 0 0 0 0.0 - - -\n"
        "/d/e 5 100644 1 0 0 0 0.0 - hello -\n";
    g_autoptr(GError) error = NULL;
    g_autoptr(Tree) tree = tree_parse_dump(dump, sizeof dump - 1, &error);
    g_assert_no_error(error);
    g_autoptr(GBytes) image = tree_write_image(tree, &error);
    g_assert_no_error(error);
    g_auto(DigestTable) found = {0};
    digest_table_init(&found);
    g_assert_true(tree_image_each_object(image, add_object, &found, &error));
    g_assert_no_error(error);
    Digest a, b;
    memset(a.bytes, 0x5a, sizeof a.bytes);
    memset(b.bytes, 0x6b, sizeof b.bytes);
    g_assert_cmpuint(digest_table_marks(&found, &a), ==, 1);
    g_assert_cmpuint(digest_table_marks(&found, &b), ==, 1);
    g_assert_cmpuint(found.n, ==, 2);
}

/* Images with a few bytes changed: most are refused, none is read beyond its end, and none that has a tree hides an
 * object. */
static void test_damaged(void)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    unsigned taken = 0;
    for (unsigned round = 0; round < 4000; round++) {
        g_autoptr(GBytes) good = image_of(vectors[1 + round % 2]);
        size_t size;
        const uint8_t *bytes = g_bytes_get_data(good, &size);
        g_autofree uint8_t *bad = g_memdup2(bytes, size);
        size_t used = 4096 + 1152; /* where the inodes are; what follows is mostly zeros */
        for (int i = g_rand_int_range(random, 1, 4); i > 0; i--)
            bad[g_rand_int_range(random, round % 5 ? 1024 : 0, (int)MIN(size, used))] =
                (uint8_t)g_rand_int(random);
        if (round % 50 == 0)
            size = (size_t)g_rand_int_range(random, 0, (int)size);
        g_autoptr(GBytes) image = g_bytes_new_take(g_memdup2(bad, size), size);
        taken += check_image(image);
    }
    g_assert_cmpuint(taken, >, 400);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/image-objects/vectors", test_vectors);
    g_test_add_func("/image-objects/kinds", test_kinds);
    g_test_add_func("/image-objects/damaged", test_damaged);
    return g_test_run();
}
