/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store-fixture.h"

#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

typedef struct {
    Store *store;
    GByteArray *bytes;
    size_t at, step; /* reading: `step` bytes at a time */
} Buffer;

static bool sink_bytes(void *data, const void *bytes, size_t size, GError **error _unused)
{
    g_byte_array_append(((Buffer *)data)->bytes, bytes, (guint)size);
    return true;
}

static bool sink_object(void *data, const Digest *object, uint64_t size, GError **error)
{
    Buffer *buffer = data;
    g_autoptr(GBytes) bytes = store_read_object(buffer->store, object, 1 << 24, error);
    return bytes && sink_bytes(data, g_bytes_get_data(bytes, NULL), size, error);
}

static ssize_t read_buffer(void *data, void *to, size_t size, GError **error _unused)
{
    Buffer *buffer = data;
    size = MIN(size, MIN(buffer->step, buffer->bytes->len - buffer->at));
    memcpy(to, buffer->bytes->data + buffer->at, size);
    buffer->at += size;
    return (ssize_t)size;
}

static const StoreTarSink tar_sink = {sink_bytes, sink_object};

static GByteArray *write_tar(Fixture *f, Tree *tree)
{
    g_autoptr(GError) error = NULL;
    Buffer buffer = {.store = f->store, .bytes = g_byte_array_new()};
    g_assert_true(store_write_tar(tree, &tar_sink, &buffer, &error));
    g_assert_no_error(error);
    return buffer.bytes;
}

static Tree *read_tar(StoreTxn *txn, GByteArray *bytes, bool layer, StoreStreamWriter *stream,
                      GError **error)
{
    Buffer buffer = {.bytes = bytes, .step = 777};
    return store_import_tar(txn, read_buffer, &buffer, layer, stream, error);
}

/* the reference sample of the split stream's specification */
static void test_tar_stream(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    g_autoptr(Tree) tree = tree_new();
    tree_root(tree)->inode->implicit = true;
    TreeNode *usr = tree_ensure_dir(tree, "usr", NULL);
    usr->inode->implicit = true;
    TreeNode *x = tree_add(tree, usr, "x", S_IFREG | 0644, NULL);
    Digest object, stream_object;
    char content[70];
    memset(content, 'A', sizeof content);
    g_assert_true(store_txn_put(txn, content, sizeof content, &object, &error));
    g_assert_cmpstr(digest_hex(&object).text, ==,
                    "6c42c955cc37190c58306c62c3919ed30c23de97fcf6b04c9f783d9b6fdf888e");
    tree_set_object(tree, x->inode, &object, sizeof content);
    g_assert_true(store_txn_flush(txn, &error));
    g_autoptr(GByteArray) tar = write_tar(f, tree);
    g_assert_cmpuint(tar->len, ==, 2048);

    StoreStreamWriter *writer = store_stream_writer_new(txn, 0, &error);
    g_autoptr(Tree) again = read_tar(txn, tar, true, writer, &error);
    g_assert_no_error(error);
    g_assert_true(tree_lookup(again, "usr")->inode->implicit);
    g_assert_true(store_stream_finish(writer, &stream_object, &error));
    g_assert_true(store_txn_flush(txn, &error));
    g_autoptr(StoreStream) stream = store_stream_open(f->store, &stream_object, &error);
    g_assert_cmpuint(store_stream_size(stream), ==, 2048);
    const uint8_t *bytes;
    size_t size;
    const Digest *piece;
    g_assert_true(store_stream_next(stream, &bytes, &size, &piece, &error));
    g_assert_cmpuint(size, ==, 512);
    g_assert_true(store_stream_next(stream, &bytes, &size, &piece, &error));
    g_assert_true(digest_equal(piece, &object));
    g_assert_true(store_stream_next(stream, &bytes, &size, &piece, &error));
    g_assert_cmpuint(size, ==, 1466);
    g_clear_pointer(&stream, store_stream_free);
    stream = store_stream_open(f->store, &stream_object, &error);
    g_autoptr(GBytes) all = store_stream_read_all(stream, 4096, &error);
    g_assert_cmpmem(g_bytes_get_data(all, NULL), g_bytes_get_size(all), tar->data, tar->len);
}

/* everything a tree can have comes back from its tar */
static void test_tar_round_trip(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    make_files(f);
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    g_autoptr(Tree) tree = import_files(f, txn, 0, &error);
    TreeNode *root = tree_root(tree);
    g_autofree char *long_name = g_strnfill(200, 'n');
    TreeNode *deep = tree_ensure_dir(
        tree, "a-directory-with-a-long-name/another-directory-with-a-long-name", NULL);
    TreeNode *odd = tree_add(tree, deep, long_name, S_IFREG | 06711, NULL);
    *odd->inode = (TreeInode){.mode = S_IFREG | 06711,
                              .uid = 3000000,
                              .gid = 3000001,
                              .nlink = 1,
                              .mtime = 1,
                              .mtime_nsec = 5};
    tree_set_xattr(tree, odd->inode, "security.capability", "\0\1=\n", 4);
    tree_link(tree, root, "zlink", odd, NULL);
    TreeNode *link = tree_add(tree, root, "symlink", S_IFLNK | 0777, NULL);
    tree_set_target(tree, link->inode, long_name);
    tree_add(tree, root, "null", S_IFCHR | 0666, NULL)->inode->rdev = makedev(1, 3);
    tree_add(tree, root, "fifo", S_IFIFO | 0600, NULL);
    g_assert_true(store_txn_flush(txn, &error));
    g_autoptr(GByteArray) tar = write_tar(f, tree);
    g_autoptr(Tree) again = read_tar(txn, tar, false, NULL, &error);
    g_assert_no_error(error);
    g_autofree char *before = tree_format_dump(tree);
    g_autofree char *after = tree_format_dump(again);
    g_assert_cmpstr(before, ==, after);
}

static void add_header(GByteArray *tar, const char *name, char type, const char *link,
                       unsigned size)
{
    char header[512] = "";
    g_snprintf(header, 100, "%s", name);
    strcpy(header + 100, "0000644");
    strcpy(header + 108, "0000000");
    strcpy(header + 116, "0000000");
    g_snprintf(header + 124, 12, "%011o", size);
    strcpy(header + 136, "00000000000");
    memset(header + 148, ' ', 8);
    header[156] = type;
    g_snprintf(header + 157, 100, "%s", link);
    memcpy(header + 257, "ustar\00000", 8);
    unsigned sum = 0;
    for (int i = 0; i < 512; i++)
        sum += (uint8_t)header[i];
    g_snprintf(header + 148, 7, "%06o", sum);
    g_byte_array_append(tar, (uint8_t *)header, 512);
}

static void assert_tar_fails(Fixture *f, GByteArray *tar, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, NULL);
    g_autoptr(Tree) tree = read_tar(txn, tar, true, NULL, &error);
    g_assert_null(tree);
    g_assert_cmpstr(error->message, ==, message);
    g_byte_array_set_size(tar, 0);
}

static void test_tar_hostile(Fixture *f, const void *data _unused)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    add_header(tar, "a/../../x", '0', "", 0);
    assert_tar_fails(f, tar, "'a/../../x': a name in the tar would escape: it has '..'");
    add_header(tar, "x", '1', "../etc/shadow", 0);
    assert_tar_fails(f, tar, "'x': a name in the tar would escape: it has '..'");
    add_header(tar, "x", '1', "etc/shadow", 0);
    assert_tar_fails(f, tar, "'x': it is a hard link to 'etc/shadow', which is not there");
    add_header(tar, "out", '2', "/tmp", 0);
    add_header(tar, "out/x", '0', "", 0);
    assert_tar_fails(f, tar, "'out/x': it lies behind the link '/out'");
    add_header(tar, "x", '0', "", 1000);
    assert_tar_fails(f, tar, "'x': the tar ends too early");
    add_header(tar, "x", '0', "", 0);
    tar->data[0] = 'y';
    assert_tar_fails(f, tar, "the tar has a damaged header");
    const char *pax = "39 SCHILY.xattr.trusted.overlay.x=yyyy\n";
    add_header(tar, "PaxHeaders", 'x', "", (unsigned)strlen(pax));
    g_byte_array_append(tar, (const uint8_t *)pax, (guint)strlen(pax));
    g_byte_array_set_size(tar, 1024);
    memset(tar->data + 512 + strlen(pax), 0, 512 - strlen(pax));
    add_header(tar, "x", '0', "", 0);
    assert_tar_fails(f, tar,
                     "'x': it has the attribute 'trusted.overlay.x', which can't be imported");
}

static void set_checksum(uint8_t *header)
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += header[i];
    g_snprintf((char *)header + 148, 7, "%06o", sum);
}

/* any byte of any block wrong, checksums right: refused or read, never a crash */
static void test_tar_mutations(Fixture *f, const void *data _unused)
{
    g_autoptr(Tree) tree = tree_new();
    TreeNode *dir = tree_ensure_dir(tree, "a/b", NULL);
    TreeNode *file = tree_add(tree, dir, "file", S_IFREG | 0644, NULL);
    tree_set_inline(tree, file->inode, "text", 4);
    file->inode->mtime_nsec = 7;
    tree_set_xattr(tree, file->inode, "user.x", "1", 1);
    tree_link(tree, dir, "link", file, NULL);
    tree_set_target(tree, tree_add(tree, dir, "s", S_IFLNK | 0777, NULL)->inode, "../b");
    g_autoptr(GByteArray) good = write_tar(f, tree);
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, NULL);
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    for (int round = 0; round < 6000; round++) {
        g_autoptr(GByteArray) bad = g_byte_array_new();
        g_byte_array_append(bad, good->data, good->len);
        for (int n = 0; n <= round % 3; n++) {
            guint at = (guint)g_rand_int_range(random, 0, (gint32)good->len);
            bad->data[at] =
                round % 2 ? (uint8_t)g_rand_int(random) : "0179=/. LKxg"[round / 2 % 12];
            if (bad->data[at / 512 * 512 + 257] == 'u')
                set_checksum(bad->data + at / 512 * 512);
        }
        g_autoptr(GError) error = NULL;
        g_autoptr(Tree) read = read_tar(txn, bad, round % 2, NULL, &error);
        g_assert_true(read || error);
        if (read && round % 2 == 0) {
            /* what can be read can be written, or the writer says why not */
            g_autoptr(GBytes) image = tree_write_image(read, &error);
            g_assert_true(image || error);
        }
    }
}

static void test_tar_whiteouts(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, NULL);
    g_autoptr(GByteArray) tar = g_byte_array_new();
    add_header(tar, "d/.wh..wh..opq", '0', "", 0);
    add_header(tar, "d/new", '0', "", 0);
    add_header(tar, "e/.wh.gone", '0', "", 0);
    add_header(tar, "./lib", '2', "usr/lib", 0);
    add_header(tar, "usr/lib/", '5', "", 0);
    add_header(tar, "/lib/x", '0', "", 0);
    g_autoptr(Tree) layer = read_tar(txn, tar, true, NULL, &error);
    g_assert_no_error(error);
    g_assert_true(tree_lookup(layer, "d")->inode->opaque);
    g_assert_true(tree_lookup(layer, "e/gone")->inode->whiteout);
    g_assert_true(tree_lookup(layer, "e")->inode->implicit);
    g_assert_false(tree_lookup(layer, "usr/lib")->inode->implicit);
    g_assert_nonnull(tree_lookup(layer, "usr/lib/x"));
    g_autoptr(GByteArray) again = write_tar(f, layer);
    g_autoptr(Tree) same = read_tar(txn, again, true, NULL, &error);
    g_assert_true(tree_lookup(same, "e/gone")->inode->whiteout);
    g_autoptr(Tree) plain = read_tar(txn, tar, false, NULL, &error);
    g_assert_nonnull(tree_lookup(plain, "e/.wh.gone"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("tar-stream", test_tar_stream);
    TEST("tar-round-trip", test_tar_round_trip);
    TEST("tar-hostile", test_tar_hostile);
    TEST("tar-mutations", test_tar_mutations);
    TEST("tar-whiteouts", test_tar_whiteouts);
    return g_test_run();
}
