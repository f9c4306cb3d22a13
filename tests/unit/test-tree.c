/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/file.h"
#include "base/hash.h"
#include "tree/erofs.h"

#include <stdlib.h>

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

static void cut(char *text, const char *word)
{
    for (char *at = text; (at = strstr(at, word));)
        memmove(at, at + strlen(word), strlen(at + strlen(word)) + 1);
}

/* What `composefs-info dump` prints of the same image. It keeps the marks of directories that hold whiteouts, which the
 * writer sets again anyway. */
static void test_dump_of_image(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
        g_autoptr(Tree) tree = parse_vector(vectors[i]);
        g_autoptr(GBytes) image = tree_write_image(tree, NULL);
        g_autoptr(Tree) read = tree_read_image(image, NULL);
        g_autofree char *ours = tree_format_dump(read),
                        *file = g_strconcat(vectors[i], ".info", NULL);
        size_t size;
        g_autofree char *theirs = read_data(file, &size);
        cut(theirs, " trusted.overlay.opaque=x");
        cut(theirs, " user.overlay.opaque=x");
        g_assert_cmpstr(ours, ==, theirs);
    }
}

/* Images of every version of the format are read: mkcomposefs' oldest and default, and the newest of composefs-rs with a
 * character device 0:0, which only there is not a stub. */
static void test_foreign_images(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
        g_autoptr(Tree) tree = parse_vector(vectors[i]);
        g_autoptr(GBytes) image = tree_write_image(tree, NULL);
        g_autoptr(Tree) read = tree_read_image(image, NULL);
        g_autofree char *dump = tree_format_dump(read);
        for (int max = 0; max < 2; max++) {
            g_autoptr(GBytes) old = erofs_write_image(tree, 0, max, NULL);
            g_autoptr(Tree) foreign = tree_read_image(old, NULL);
            g_autofree char *again = tree_format_dump(foreign);
            g_assert_cmpstr(again, ==, dump);
        }
    }
    g_autoptr(Tree) empty = tree_new();
    g_autoptr(GBytes) image = tree_write_image(empty, NULL);
    size_t size = g_bytes_get_size(image);
    g_autofree uint8_t *bytes = g_memdup2(g_bytes_get_data(image, NULL), size);
    put32(bytes + 12, 2);
    g_autoptr(GBytes) newest = g_bytes_new_static(bytes, size);
    g_autoptr(Tree) read = tree_read_image(newest, NULL);
    g_assert_cmpuint(tree_n_children(tree_root(read)), ==, 256);
    g_assert_true(S_ISCHR(tree_lookup(read, "/ff")->inode->mode));
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

/* --- images made to mislead ------------------------------------------------------------------------------ */

static uint8_t *writable_image(const char *dump, size_t *out_size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Tree) tree = tree_parse_dump(dump, strlen(dump), &error);
    g_assert_no_error(error);
    g_autoptr(GBytes) image = tree_write_image(tree, &error);
    g_assert_no_error(error);
    *out_size = g_bytes_get_size(image);
    return g_memdup2(g_bytes_get_data(image, NULL), *out_size);
}

static uint8_t *inode_at(uint8_t *image, uint64_t nid)
{
    return image + nid * EROFS_SLOT;
}

/* The entry of a name in a directory, by its nid. */
static uint8_t *entry_of(uint8_t *image, uint64_t dir_nid, const char *name)
{
    uint8_t *dir = inode_at(image, dir_nid), *p = NULL;
    bool extended = dir[0] & 1;
    uint64_t size = extended ? get64(dir + 8) : get32(dir + 8);
    uint32_t head = (extended ? 64u : 32u) + (get16(dir + 2) ? 8 + 4 * get16(dir + 2) : 0);
    for (uint64_t from = 0; from < size; from += EROFS_BLOCK) {
        uint32_t length = (uint32_t)MIN(EROFS_BLOCK, size - from);
        bool tail = dir[0] >> 1 == EROFS_LAYOUT_INLINE && length < EROFS_BLOCK;
        uint8_t *block = tail ? dir + head : image + get32(dir + 16) * EROFS_BLOCK + from;
        for (p = block; p < block + get16(block + 8); p += EROFS_DIRENT_SIZE)
            if (strncmp((char *)block + get16(p + 8), name, strlen(name)) == 0)
                return p;
    }
    g_assert_not_reached();
}

static uint64_t root_of(const uint8_t *image)
{
    return get16(image + EROFS_SUPER_OFFSET + 14);
}

static void assert_image_fails(const uint8_t *image, size_t size, const char *reason)
{
    g_autoptr(GBytes) bytes = g_bytes_new(image, size);
    g_autoptr(GError) error = NULL;
    g_autoptr(Tree) tree = tree_read_image(bytes, &error);
    g_assert_null(tree);
    g_assert_true(error_is(error, ERROR_CORRUPT));
    g_autofree char *message = g_strconcat("the image is damaged: ", reason, NULL);
    g_assert_cmpstr(error->message, ==, message);
}

#define ROOT  "/ 0 40755 2 0 0 0 0.0 - - -\n"
#define DIR   " 0 40755 2 0 0 0 0.0 - - -\n"
#define EMPTY " 0 100644 1 0 0 0 0.0 - - -\n"

static void test_misleading_directories(void)
{
    size_t size;
    g_autofree uint8_t *image = writable_image(ROOT "/x" DIR "/x/y" DIR "/z" DIR, &size);
    uint64_t root = root_of(image), x = get64(entry_of(image, root, "x"));
    uint8_t *y = entry_of(image, x, "y"), *z = entry_of(image, root, "z");
    uint64_t y_nid = get64(y), z_nid = get64(z);
    put64(y, x);
    assert_image_fails(image, size, "a directory has two names"); /* a circle */
    put64(y, root);
    assert_image_fails(image, size, "a directory has two names");
    put64(y, y_nid);
    put64(z, x);
    assert_image_fails(image, size, "a directory has two names"); /* shared */
    put64(z, size / EROFS_SLOT + 1);
    assert_image_fails(image, size, "an inode lies outside");
    put64(z, z_nid);

    uint8_t *block = z - (size_t)(z - image) % EROFS_BLOCK;
    uint8_t *name = block + get16(z + 8);
    *name = 'a';
    assert_image_fails(image, size, "a directory is not in order");
    *name = 'x';
    assert_image_fails(image, size, "a directory is not in order"); /* twice the same */
    *name = '/';
    assert_image_fails(image, size, "a directory is not in order");
    *name = 'z';
    put16(z + 8, 1);
    assert_image_fails(image, size, "a directory is not well formed");
    put16(z + 8, (uint16_t)(name - block));
    put32(inode_at(image, z_nid) + 8, 0x7fffffff);
    assert_image_fails(image, size, "it refers to the same bytes too often");
}

static void test_misleading_xattrs(void)
{
    size_t size;
    g_autofree uint8_t *image =
        writable_image(ROOT "/x 0 100644 1 0 0 0 0.0 - - - user.a=1 user.b=2\n"
                            "/y 0 100644 1 0 0 0 0.0 - - - user.a=1\n",
                       &size);
    uint8_t *inode = inode_at(image, get64(entry_of(image, root_of(image), "x")));
    uint8_t *xattrs = inode + EROFS_COMPACT_SIZE;
    g_assert_cmpuint(xattrs[4], ==, 1);
    uint32_t id = get32(xattrs + 12);
    put32(xattrs + 12, 0x3fffffff);
    assert_image_fails(image, size, "something lies outside");
    put32(xattrs + 12, id);
    xattrs[4] = 200; /* so many shared ones */
    assert_image_fails(image, size, "a list of extended attributes is too long");
    xattrs[4] = 1;
    put16(xattrs + 18, 0xffff); /* the size of user.b's value */
    assert_image_fails(image, size, "an extended attribute is not well formed");
    put16(xattrs + 18, 1);
    put16(inode + 2, 0xffff);
    assert_image_fails(image, size, "something lies outside");
}

/* A file whose bytes are 127 inodes, each with these same bytes as its content, and a name for each of them. */
static void test_misleading_content(void)
{
    g_autoptr(GString) dump = g_string_new(ROOT "/big 4096 100644 1 0 0 0 0.0 - ");
    for (int i = 0; i < EROFS_BLOCK; i++)
        g_string_append_c(dump, 'x');
    g_string_append(dump, " -\n");
    for (int i = 0; i < 127; i++)
        g_string_append_printf(dump, "/f%03d" EMPTY, i);
    size_t size;
    g_autofree uint8_t *image = writable_image(dump->str, &size);
    uint8_t *big = inode_at(image, get64(entry_of(image, root_of(image), "big")));
    uint32_t block = get32(big + 16);
    g_assert_cmpuint(image[block * EROFS_BLOCK], ==, 'x');
    for (unsigned i = 0; i < 127; i++) {
        char name[8];
        g_snprintf(name, sizeof name, "f%03u", i);
        uint64_t nid = block * (EROFS_BLOCK / EROFS_SLOT) + i;
        memcpy(inode_at(image, nid), big, EROFS_COMPACT_SIZE);
        put64(entry_of(image, root_of(image), name), nid);
    }
    assert_image_fails(image, size, "it refers to the same bytes too often");
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
    assert_dump_fails(ROOT "/a/../b" EMPTY, "line 2 of the dump: the parent directory is missing");
    assert_dump_fails(ROOT "/a" EMPTY "/a/b" EMPTY,
                      "line 3 of the dump: the parent is not a directory");
    assert_dump_fails(ROOT "/a" EMPTY "/b" EMPTY "/a" EMPTY, "line 4 of the dump: '/a' exists");
    assert_dump_fails(ROOT "/d/l 0 @100644 1 0 0 0 0.0 /b - -\n/d" DIR "/b" EMPTY,
                      "line 2 of the dump: the parent directory is missing");
    assert_dump_fails(ROOT "/l 0 @100644 1 0 0 0 0.0 /l - -\n",
                      "line 2 of the dump: the hard links form a circle");
    assert_dump_fails(ROOT "/l 0 @100644 1 0 0 0 0.0 / - -\n",
                      "line 2 of the dump: the hard link's target is a directory");
    assert_dump_fails(ROOT "/l 0 @40755 1 0 0 0 0.0 / - -\n",
                      "line 2 of the dump: a directory can't be a hard link");
    assert_dump_fails(ROOT "/a 0 100644 1 4294967296 0 0 0.0 - - -\n",
                      "line 2 of the dump: a number is too large");
    assert_dump_fails(ROOT "/a 0 100644 1 0 0 0 0.0 - - - a=b  c=d\n",
                      "line 2 of the dump: an extended attribute is not KEY=VALUE");
    assert_dump_fails(ROOT "/a 0 100644 1 0 0 0 0.0 - - - \\x00user.a=b\n",
                      "line 2 of the dump: an extended attribute is not KEY=VALUE");
    assert_dump_fails(ROOT "/a 9 100644 1 0 0 0 0.0 - - abc\n",
                      "line 2 of the dump: the digest does not have 64 hex digits");
}

/* What mkcomposefs takes too, without it being in the description of the format. */
static void test_loose_dump(void)
{
    g_autoptr(GError) error = NULL;
    const char text[] =
        ROOT "//d" DIR "d//l 0 @100644 - - - - - f - -\n"
             "/d///g 0 100644 1 0 0 0 -1.5 - - - \nf 0 100644 1 0 0 0 0.0 - - - a=b ";
    g_autoptr(Tree) tree = tree_parse_dump(text, sizeof text - 1, &error);
    g_assert_no_error(error);
    g_assert_true(tree_lookup(tree, "/d/l")->inode == tree_lookup(tree, "/f")->inode);
    g_assert_cmpint(tree_lookup(tree, "/d/g")->inode->mtime, ==, -1);
    g_assert_cmpuint(tree_lookup(tree, "/d/g")->inode->mtime_nsec, ==, 5);
    g_assert_nonnull(tree_xattr(tree_lookup(tree, "/f")->inode, "a"));
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

static bool count_change(TreeChange change, TreeNode *old, TreeNode *new, void *data,
                         GError **error _unused)
{
    g_autofree char *path = tree_path(new ? new : old);
    g_string_append_printf(data, "%c%s ", "+-*"[change], path);
    return true;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* what the directory says it has is what the model says */
static void assert_children(Tree *tree, TreeNode *dir, GHashTable *model)
{
    guint n;
    g_autofree char **names = (char **)g_hash_table_get_keys_as_array(model, &n);
    if (n > 0)
        qsort(names, n, sizeof *names, compare_strings);
    g_assert_cmpuint(tree_n_children(dir), ==, n);
    for (guint i = 0; i < n; i++) {
        g_assert_cmpstr(tree_nth_child(dir, i)->name, ==, names[i]);
        g_assert_true(tree_child(tree, dir, names[i]) == g_hash_table_lookup(model, names[i]));
    }
}

/* names come, go, come back and move, in any order, looked at now and then */
static void test_children_at_random(void)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(3);
    for (int round = 0; round < 60; round++) {
        g_autoptr(Tree) tree = tree_new();
        g_autoptr(GHashTable) model = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        TreeNode *dir = tree_ensure_dir(tree, "/a/b", NULL);
        int range = 1 << g_rand_int_range(random, 2, 13), removals = g_rand_int_range(random, 1, 8);
        for (int step = 0; step < 6000; step++) {
            char name[16], other[16];
            g_snprintf(name, sizeof name, "%x", g_rand_int_range(random, 0, range));
            g_snprintf(other, sizeof other, "%x", g_rand_int_range(random, 0, range));
            TreeNode *node = g_hash_table_lookup(model, name);
            g_assert_true(tree_child(tree, dir, name) == node);
            if (!node) {
                node = tree_add(tree, dir, name, S_IFREG | 0644, NULL);
                g_hash_table_insert(model, g_strdup(name), node);
            } else if (g_rand_int_range(random, 0, 8) < removals) {
                tree_remove(tree, node);
                g_hash_table_remove(model, name);
            } else if (!g_hash_table_contains(model, other)) {
                g_assert_true(tree_move(tree, node, dir, other, NULL));
                g_hash_table_remove(model, name);
                g_hash_table_insert(model, g_strdup(other), node);
            }
            if (g_rand_int_range(random, 0, 1000) == 0)
                assert_children(tree, dir, model);
        }
        assert_children(tree, dir, model);
    }
}

static bool count_node(TreeNode *node _unused, void *data, GError **error _unused)
{
    ++*(size_t *)data;
    return true;
}

/* What would take hours if anything were quadratic: 10^6 names in the worst orders, each removed by a layer. */
static void test_million(void)
{
    enum { N = 1000000 };
    g_autoptr(Tree) base = tree_new();
    g_autoptr(Tree) layer = tree_new();
    char name[32];
    for (unsigned i = 0; i < N; i++) { /* 7919 has no common factor with 10^6 */
        g_snprintf(name, sizeof name, "f%06u", (unsigned)(UINT64_C(7919) * i % N));
        g_assert_nonnull(tree_add(base, tree_root(base), name, S_IFREG | 0644, NULL));
        g_snprintf(name, sizeof name, "f%06u", N - 1 - i);
        TreeNode *mark = tree_add(layer, tree_root(layer), name, S_IFCHR, NULL);
        mark->inode->whiteout = true;
    }
    g_autoptr(Tree) copy = tree_copy(base);
    size_t n = 0;
    g_assert_true(tree_walk(copy, count_node, &n, NULL));
    g_assert_cmpuint(n, ==, N + 1);
    g_autoptr(GString) changes = g_string_new(NULL);
    g_assert_true(tree_diff(base, copy, true, count_change, changes, NULL));
    g_assert_cmpstr(changes->str, ==, "");
    g_assert_true(tree_apply(base, layer, NULL));
    g_assert_cmpuint(tree_n_children(tree_root(base)), ==, 0);
    g_assert_null(tree_lookup(base, "f000000"));
    g_autoptr(GBytes) image = tree_write_image(copy, NULL);
    g_autoptr(Tree) read = tree_read_image(image, NULL);
    g_assert_true(tree_diff(read, copy, true, count_change, changes, NULL));
    g_assert_cmpstr(changes->str, ==, "");
}

/* As deep as it goes, and no deeper, whichever way. */
static void test_depth(void)
{
    g_autoptr(Tree) tree = tree_new();
    g_autoptr(GString) path = g_string_new(NULL);
    for (int i = 0; i < TREE_DEPTH_MAX; i++)
        g_string_append(path, "/d");
    TreeNode *deepest = tree_ensure_dir(tree, path->str, NULL);
    g_assert_nonnull(deepest);
    g_autoptr(GError) error = NULL;
    g_assert_null(tree_add(tree, deepest, "x", S_IFREG, &error));
    g_assert_cmpstr(error->message, ==, "'x' is nested too deeply");
    g_clear_error(&error);
    g_autoptr(GBytes) image = tree_write_image(tree, NULL);
    g_autoptr(Tree) read = tree_read_image(image, &error);
    g_assert_no_error(error);
    g_assert_nonnull(tree_lookup(read, path->str));

    TreeNode *top = tree_lookup(tree, "/d"), *beside = tree_ensure_dir(tree, "/e/f", NULL);
    g_assert_false(tree_move(tree, top, beside, "d", &error));
    g_assert_cmpstr(error->message, ==, "'d' would be nested too deeply");
    tree_remove(tree, tree_lookup(tree, "/d/d/d"));
    g_assert_true(tree_move(tree, tree_lookup(tree, "/d"), beside, "d", NULL));
    g_autofree char *rest = g_strndup(path->str, 2 * (TREE_DEPTH_MAX - 4));
    TreeNode *last = tree_lookup(tree, "/e/f/d/d");
    for (const char *p = rest; *p; p += 2)
        last = tree_add(tree, last, "d", S_IFDIR | 0755, NULL);
    g_assert_nonnull(last);
    g_assert_null(tree_add(tree, last, "d", S_IFDIR | 0755, NULL));
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
    g_test_add_func("/tree/dump-of-image", test_dump_of_image);
    g_test_add_func("/tree/foreign-images", test_foreign_images);
    g_test_add_func("/tree/hostile-images", test_hostile_images);
    g_test_add_func("/tree/misleading-directories", test_misleading_directories);
    g_test_add_func("/tree/misleading-xattrs", test_misleading_xattrs);
    g_test_add_func("/tree/misleading-content", test_misleading_content);
    g_test_add_func("/tree/bad-dumps", test_bad_dumps);
    g_test_add_func("/tree/loose-dump", test_loose_dump);
    g_test_add_func("/tree/children", test_children);
    g_test_add_func("/tree/children-at-random", test_children_at_random);
    g_test_add_func("/tree/million", test_million);
    g_test_add_func("/tree/depth", test_depth);
    g_test_add_func("/tree/links", test_links);
    g_test_add_func("/tree/apply-and-diff", test_apply_and_diff);
    g_test_add_func("/tree/overlay-xattrs", test_overlay_xattrs);
    g_test_add_func("/tree/large", test_large);
    return g_test_run();
}
