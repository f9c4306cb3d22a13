/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/file.h"
#include "base/hash.h"
#include "tree/erofs.h"

static char *read_data(const char *name, size_t *out_size)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(g_getenv("ATOMIC_TEST_DATA"), "composefs", name, NULL);
    char *text = file_read_at(AT_FDCWD, path, 1 << 24, out_size, &error);
    g_assert_no_error(error);
    return text;
}

static Tree *parse_vector(const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *file = g_strconcat(name, ".dump", NULL);
    size_t size;
    g_autofree char *text = read_data(file, &size);
    Tree *tree = tree_parse_dump(text, size, &error);
    g_assert_no_error(error);
    return tree;
}

static void check_vector(char *const *fields)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Tree) tree = parse_vector(fields[0]);
    g_autoptr(GBytes) image =
        erofs_write_image(tree, fields[1][0] - '0', fields[1][2] - '0', &error);
    g_assert_no_error(error);
    size_t size;
    const void *data = g_bytes_get_data(image, &size);
    g_test_message("%s %s", fields[0], fields[1]);
    g_assert_cmpuint(size, ==, g_ascii_strtoull(fields[2], NULL, 10));
    Digest digest;
    hash_sha256(data, size, &digest);
    g_assert_cmpstr(digest_hex(&digest).text, ==, fields[3]);
    hash_verity(data, size, &digest);
    g_assert_cmpstr(digest_hex(&digest).text, ==, fields[4]);
}

/* every image of mkcomposefs' that we have, in all three version ranges */
static void test_golden(void)
{
    size_t size;
    g_autofree char *table = read_data("expected.tsv", &size);
    g_auto(GStrv) lines = g_strsplit(table, "\n", -1);
    int rows = 0;
    for (char **line = lines + 1; *line && **line; line++, rows++) {
        g_auto(GStrv) fields = g_strsplit(*line, "\t", -1);
        check_vector(fields);
    }
    g_assert_cmpint(rows, ==, 24);
}

static const char *const vectors[] = {"v1-empty",     "v2-basic", "v3-xattrs", "v4-devices",
                                      "v5-hardlinks", "v6-dirs",  "v7-sizes",  "v8-symlinks"};

/* image -> tree -> image, and tree -> dump -> tree -> image */
static void test_round_trip(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(Tree) tree = parse_vector(vectors[i]);
        g_autoptr(GBytes) image = tree_write_image(tree, &error);
        g_assert_no_error(error);
        g_autofree char *dump = tree_format_dump(tree);
        g_autoptr(Tree) again = tree_parse_dump(dump, strlen(dump), &error);
        g_assert_no_error(error);
        g_autoptr(GBytes) from_dump = tree_write_image(again, &error);
        g_assert_no_error(error);
        g_assert_true(g_bytes_equal(image, from_dump));
        g_autoptr(Tree) copy = tree_copy(tree);
        g_autoptr(GBytes) from_copy = tree_write_image(copy, &error);
        g_assert_true(g_bytes_equal(image, from_copy));
        g_autoptr(Tree) read = tree_read_image(image, &error);
        g_assert_no_error(error);
        g_autoptr(GBytes) from_image = tree_write_image(read, &error);
        g_assert_no_error(error);
        /* the dump's choice of the original is not to be had back from an image */
        g_assert_true(g_bytes_equal(image, from_image) ==
                      (strcmp(vectors[i], "v5-hardlinks") != 0));
        g_autofree char *read_dump = tree_format_dump(read);
        if (strcmp(vectors[i], "v5-hardlinks") != 0)
            g_assert_cmpstr(read_dump, ==, dump);
    }
}

/* a bit wrong anywhere: refused or read as something else, but never a crash (run under ASan too) */
static void test_hostile_images(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
        g_autoptr(Tree) tree = parse_vector(vectors[i]);
        g_autoptr(GBytes) image = tree_write_image(tree, NULL);
        size_t size;
        const uint8_t *data = g_bytes_get_data(image, &size);
        g_autofree uint8_t *copy = g_memdup2(data, size);
        g_autoptr(GRand) random = g_rand_new_with_seed(1);
        for (size_t round = 0; round < 3000; round++) {
            size_t at = (size_t)g_rand_int_range(random, 0, (gint32)MIN(size, 20000));
            uint8_t old = copy[at];
            copy[at] =
                round % 2 ? (uint8_t)(old ^ 1 << round / 2 % 8) : (uint8_t)g_rand_int(random);
            g_autoptr(GBytes) bytes = g_bytes_new_static(copy, size);
            g_autoptr(GError) error = NULL;
            g_autoptr(Tree) read = tree_read_image(bytes, &error);
            g_assert_true(read != NULL || error_is(error, ERROR_CORRUPT));
            copy[at] = old;
        }
        for (size_t cut = 0; cut < size; cut += 509) {
            g_autoptr(GBytes) bytes = g_bytes_new(data, cut);
            g_autoptr(GError) error = NULL;
            g_autoptr(Tree) read = tree_read_image(bytes, &error);
            g_assert_true(read != NULL || error_is(error, ERROR_CORRUPT));
        }
    }
}

static void assert_dump_fails(const char *text, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Tree) tree = tree_parse_dump(text, strlen(text), &error);
    g_assert_null(tree);
    g_assert_cmpstr(error->message, ==, message);
}

static void test_bad_dumps(void)
{
#define ROOT "/ 0 40755 2 0 0 0 0.0 - - -\n"
    assert_dump_fails("", "the dump is empty");
    assert_dump_fails("/ 0 100644 1 0 0 0 0.0 - - -\n",
                      "line 1 of the dump: the root is not a directory");
    assert_dump_fails(ROOT "/a/b 0 100644 1 0 0 0 0.0 - - -\n",
                      "line 2 of the dump: the parent directory is missing");
    assert_dump_fails(ROOT "/a 0 100644 1 0 0 0 0.0 - -\n",
                      "line 2 of the dump: there are fewer than 11 fields");
    assert_dump_fails(ROOT "/a 0 100644 1 0 0 0 0 - - -\n",
                      "line 2 of the dump: the time has no nanoseconds");
    assert_dump_fails(ROOT "/a 2 100644 1 0 0 0 0.0 - x -\n",
                      "line 2 of the dump: the content is not as long as the size says");
    assert_dump_fails(ROOT "/.. 0 100644 1 0 0 0 0.0 - - -\n",
                      "line 2 of the dump: '..' can't be the name of a file");
    assert_dump_fails(ROOT "/a 0 @100644 1 0 0 0 0.0 /b - -\n/b 0 @100644 1 0 0 0 0.0 /a - -\n",
                      "line 2 of the dump: the hard links form a circle");
    assert_dump_fails(ROOT "/a 0 @100644 1 0 0 0 0.0 /b - -\n",
                      "line 2 of the dump: the hard link's target is missing");
    assert_dump_fails(ROOT "/a\\q 0 100644 1 0 0 0 0.0 - - -\n",
                      "line 2 of the dump: unknown escape");
    assert_dump_fails(ROOT "/a 0 100644 1 0 0 0 0.0 - - - =x\n",
                      "line 2 of the dump: an extended attribute is not KEY=VALUE");
}

/* children stay sorted, in whatever order they come and go */
static void test_children(void)
{
    g_autoptr(Tree) tree = tree_new();
    TreeNode *root = tree_root(tree);
    char name[16];
    for (int i = 0; i < 3000; i++) {
        g_snprintf(name, sizeof name, "n%d", i * 7919 % 3001);
        g_assert_nonnull(tree_add(tree, root, name, S_IFREG | 0644, NULL));
    }
    g_autoptr(GError) error = NULL;
    g_assert_null(tree_add(tree, root, "n5", S_IFREG, &error));
    g_assert_cmpstr(error->message, ==, "'/n5' exists");
    for (int i = 0; i < 3001; i += 3) {
        g_snprintf(name, sizeof name, "n%d", i);
        TreeNode *node = tree_child(tree, root, name);
        if (node)
            tree_remove(tree, node);
        g_assert_null(tree_child(tree, root, name));
    }
    TreeNode *child;
    const char *last = "";
    TREE_EACH_CHILD (root, child) {
        g_assert_cmpstr(last, <, child->name);
        last = child->name;
    }
}

static void test_links(void)
{
    g_autoptr(Tree) tree = tree_new();
    TreeNode *dir = tree_ensure_dir(tree, "/usr/lib", NULL);
    TreeNode *file = tree_add(tree, dir, "a", S_IFREG | 0644, NULL);
    TreeNode *other = tree_link(tree, tree_root(tree), "b", file, NULL);
    g_assert_cmpuint(file->inode->nlink, ==, 2);
    g_assert_true(other->inode == file->inode);
    tree_remove(tree, tree_lookup(tree, "/usr"));
    g_assert_cmpuint(other->inode->nlink, ==, 1);
    g_assert_null(tree_link(tree, tree_root(tree), "c", tree_root(tree), NULL));

    TreeNode *link = tree_add(tree, tree_root(tree), "lib", S_IFLNK | 0777, NULL);
    tree_set_target(tree, link->inode, "usr/lib/../lib64");
    TreeNode *real = tree_ensure_dir(tree, "usr/lib64", NULL);
    tree_ensure_dir(tree, "usr/lib", NULL);
    g_assert_true(tree_resolve(tree, "/lib") == real);
    g_assert_true(tree_lookup(tree, "/lib") == link);
    g_assert_true(tree_move(tree, real, tree_root(tree), "moved", NULL));
    g_assert_null(tree_resolve(tree, "/lib"));
    tree_set_target(tree, link->inode, "lib");
    g_assert_null(tree_resolve(tree, "/lib"));
    g_assert_false(
        tree_move(tree, tree_lookup(tree, "/usr"), tree_lookup(tree, "/usr/lib"), "x", NULL));
}

static bool count_change(TreeChange change, TreeNode *old, TreeNode *new, void *data,
                         GError **error _unused)
{
    g_autofree char *path = tree_path(new ? new : old);
    g_string_append_printf(data, "%c%s ", "+-*"[change], path);
    return true;
}

static Tree *parse_text(const char *text)
{
    g_autoptr(GError) error = NULL;
    Tree *tree = tree_parse_dump(text, strlen(text), &error);
    g_assert_no_error(error);
    return tree;
}

static void test_apply_and_diff(void)
{
    g_autoptr(Tree) base =
        parse_text(ROOT "/d 0 40755 2 0 0 0 0.0 - - -\n/d/x 1 100644 1 0 0 0 0.0 - x -\n"
                        "/d/y 1 100644 1 0 0 0 0.0 - y -\n/e 0 40700 2 5 0 0 0.0 - - -\n"
                        "/e/z 1 100644 1 0 0 0 0.0 - z -\n");
    g_autoptr(Tree) old = tree_copy(base);
    g_autoptr(Tree) layer = parse_text(
        ROOT "/d 0 40755 2 0 0 0 0.0 - - -\n/d/x 0 20000 1 0 0 0 0.0 - - -\n"
             "/d/new 1 100644 2 0 0 0 0.0 - n -\n/d/new2 0 @100644 2 0 0 0 0.0 /d/new - -\n"
             "/e 0 40755 2 0 0 0 0.0 - - -\n");
    tree_lookup(layer, "/d/x")->inode->whiteout = true;
    tree_lookup(layer, "/e")->inode->opaque = true;
    g_assert_null(tree_write_image(layer, NULL));
    g_assert_true(tree_apply(base, layer, NULL));
    g_autoptr(GString) changes = g_string_new(NULL);
    g_assert_true(tree_diff(old, base, false, count_change, changes, NULL));
    g_assert_cmpstr(changes->str, ==, "+/d/new +/d/new2 -/d/x */e -/e/z ");
    g_assert_true(tree_lookup(base, "/d/new")->inode == tree_lookup(base, "/d/new2")->inode);

    g_autoptr(Tree) implicit = parse_text(ROOT "/e 0 40755 2 0 0 0 0.0 - - -\n");
    g_autoptr(Tree) owned = tree_copy(old);
    tree_lookup(implicit, "/e")->inode->implicit = true;
    g_assert_true(tree_apply(owned, implicit, NULL));
    g_assert_cmpuint(tree_lookup(owned, "/e")->inode->uid, ==, 5);
}

/* only dumps and images may have what overlayfs would follow */
static void test_overlay_xattrs(void)
{
    g_autoptr(Tree) tree = tree_new();
    TreeNode *file = tree_add(tree, tree_root(tree), "f", S_IFREG | 0644, NULL);
    tree_set_xattr(tree, file->inode, "trusted.overlay.redirect", "/etc/shadow", 11);
    g_autoptr(GError) error = NULL;
    g_assert_null(tree_write_image(tree, &error));
    g_assert_cmpstr(error->message, ==,
                    "cannot put '/f' in an image: it has a 'trusted.overlay.' attribute");
    tree_remove_xattr(tree, file->inode, "trusted.overlay.redirect");
    g_autoptr(GBytes) image = tree_write_image(tree, NULL);
    g_assert_nonnull(image);
}

/* as many files as a large distribution has, with shared labels; prints the time, asserts nothing about it */
static void test_large(void)
{
    g_autoptr(Tree) tree = tree_new();
    for (int d = 0; d < 200; d++) {
        char name[32];
        g_snprintf(name, sizeof name, "usr/d%03d", d);
        TreeNode *dir = tree_ensure_dir(tree, name, NULL);
        for (int f = 0; f < 100; f++) {
            g_snprintf(name, sizeof name, "f%03d", f);
            TreeNode *node = tree_add(tree, dir, name, S_IFREG | 0644, NULL);
            Digest digest = {.bytes = {(uint8_t)d, (uint8_t)f, (uint8_t)(d * f)}};
            tree_set_object(tree, node->inode, &digest, 1000);
            tree_set_xattr(tree, node->inode, "security.selinux", f % 2 ? "lib_t" : "usr_t", 6);
        }
    }
    gint64 start = g_get_monotonic_time();
    g_autoptr(GBytes) image = tree_write_image(tree, NULL);
    g_test_message("20000 files: written in %d us", (int)(g_get_monotonic_time() - start));
    start = g_get_monotonic_time();
    g_autoptr(Tree) read = tree_read_image(image, NULL);
    g_test_message("20000 files: read in %d us", (int)(g_get_monotonic_time() - start));
    g_autoptr(GString) changes = g_string_new(NULL);
    g_assert_true(tree_diff(tree, read, true, count_change, changes, NULL));
    g_assert_cmpstr(changes->str, ==, "");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tree/golden", test_golden);
    g_test_add_func("/tree/round-trip", test_round_trip);
    g_test_add_func("/tree/hostile-images", test_hostile_images);
    g_test_add_func("/tree/bad-dumps", test_bad_dumps);
    g_test_add_func("/tree/children", test_children);
    g_test_add_func("/tree/links", test_links);
    g_test_add_func("/tree/apply-and-diff", test_apply_and_diff);
    g_test_add_func("/tree/overlay-xattrs", test_overlay_xattrs);
    g_test_add_func("/tree/large", test_large);
    return g_test_run();
}
