/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/file.h"
#include "base/hash.h"
#include "store/store.h"

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <stdio.h>
#include <unistd.h>

/* A store and a directory beside it, gone with the test. */
typedef struct {
    char *top, *path;
    int top_fd;
    Store *store;
} Fixture;

static void set_up(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    f->top = g_dir_make_tmp("atomic-store-XXXXXX", &error);
    g_assert_no_error(error);
    f->top_fd = file_open_dir_at(AT_FDCWD, f->top, NULL);
    f->path = g_build_filename(f->top, "store", NULL);
    g_assert_true(store_init(f->path, &error));
    g_assert_true(store_init(f->path, &error)); /* again: fine */
    f->store = store_open(f->path, &error);
    g_assert_no_error(error);
}

static void tear_down(Fixture *f, const void *data _unused)
{
    store_unref(f->store);
    close(f->top_fd);
    g_assert_true(file_remove_all_at(AT_FDCWD, f->top, NULL));
    g_free(f->top);
    g_free(f->path);
}

/* `size` bytes that depend on `seed` */
static GBytes *make_bytes(unsigned seed, size_t size)
{
    uint8_t *data = g_malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(seed * 31 + i * 7 + i / 251);
    return g_bytes_new_take(data, size);
}

static Digest put(StoreTxn *txn, unsigned seed, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) bytes = make_bytes(seed, size);
    Digest digest, expected;
    g_assert_true(store_txn_put(txn, g_bytes_get_data(bytes, NULL), size, &digest, &error));
    g_assert_no_error(error);
    hash_verity(g_bytes_get_data(bytes, NULL), size, &expected);
    g_assert_true(digest_equal(&digest, &expected));
    return digest;
}

static void test_open(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *nowhere = g_build_filename(f->top, "nowhere", NULL);
    g_assert_null(store_open(nowhere, &error));
    g_assert_true(error_is(error, ERROR_NOT_FOUND));
    g_assert_nonnull(strstr(error->message, "hint: make one with"));
    g_clear_error(&error);
    g_assert_true(file_replace_at(f->top_fd, "store/meta.json",
                                  "{\"version\": 2, \"algorithm\": \"x\"}", 32, 0644, 0, NULL));
    g_assert_null(store_open(f->path, &error));
    g_assert_true(error_is(error, ERROR_UNSUPPORTED));
}

/* What a killed writer can go on with becomes durable in smaller pieces. */
static void test_keyed_batch(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, "key", &error);
    g_assert_no_error(error);
    Digest first = put(txn, 0, 100);
    for (unsigned i = 1; i < 511; i++)
        put(txn, i, 100 + i);
    g_assert_false(store_has(f->store, &first));
    put(txn, 511, 611);
    g_assert_true(store_has(f->store, &first));
}

static void test_objects(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    g_assert_no_error(error);
    Digest digests[4500];
    for (unsigned i = 0; i < ARRAY_SIZE(digests); i++)
        digests[i] = put(txn, i, 100 + i);
    Digest last = digests[ARRAY_SIZE(digests) - 1];
    g_assert_true(store_txn_has(txn, &last));
    g_assert_false(store_has(f->store, &last));
    g_assert_true(store_has(f->store, &digests[0])); /* a full batch went by itself */
    g_assert_true(store_txn_flush(txn, &error));
    g_assert_true(store_has(f->store, &last));
    g_autoptr(GBytes) read = store_read_object(f->store, &digests[7], 1000, &error);
    g_autoptr(GBytes) expected = make_bytes(7, 107);
    g_assert_true(g_bytes_equal(read, expected));
    uint64_t size;
    g_assert_true(store_object_size(f->store, &digests[8], &size, NULL));
    g_assert_cmpuint(size, ==, 108);
    g_assert_null(store_read_object(f->store, &digests[7], 50, &error));

    /* unflushed: dropped */
    g_clear_error(&error);
    Digest dropped = put(txn, 5000, 5000);
    store_txn_free(g_steal_pointer(&txn));
    g_assert_false(store_has(f->store, &dropped));
    g_autofree char *staging = g_build_filename(f->path, "staging", NULL);
    g_autoptr(GDir) dir = g_dir_open(staging, 0, NULL);
    g_assert_null(g_dir_read_name(dir));
}

static void test_writer(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    StoreWriter *writer = store_writer_new(txn, &error);
    g_autoptr(GBytes) bytes = make_bytes(1, 300000);
    const uint8_t *p = g_bytes_get_data(bytes, NULL);
    for (size_t at = 0; at < 300000; at += 1000)
        g_assert_true(store_writer_append(writer, p + at, 1000, &error));
    Digest digest;
    g_assert_true(store_writer_finish(writer, &digest, &error));
    Digest same = put(txn, 1, 300000);
    g_assert_true(digest_equal(&digest, &same));
    store_writer_abort(store_writer_new(txn, NULL));
    g_assert_true(store_txn_done(txn, &error));
    g_assert_true(store_has(f->store, &digest));

    g_assert_true(
        file_replace_at(f->top_fd, "big", g_bytes_get_data(bytes, NULL), 300000, 0600, 0, NULL));
    _autofd int fd = file_open_at(f->top_fd, "big", O_RDONLY, NULL);
    uint64_t size;
    g_assert_true(store_txn_put_fd(txn, fd, &same, &size, &error));
    g_assert_cmpuint(size, ==, 300000);
    g_assert_true(digest_equal(&digest, &same));
}

static void test_names(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    Digest one = put(txn, 1, 100), two = put(txn, 2, 100), found;
    g_assert_false(store_link_stream(f->store, "s", &one, &error));
    g_assert_true(error_is(error, ERROR_NOT_FOUND));
    g_clear_error(&error);
    g_assert_true(store_txn_flush(txn, &error));
    g_assert_true(store_link_stream(f->store, "oci-layer-sha256:1", &one, &error));
    g_assert_true(store_link_stream(f->store, "oci-layer-sha256:1", &two, &error)); /* replaces */
    g_assert_true(store_find_stream(f->store, "oci-layer-sha256:1", &found, &error));
    g_assert_true(digest_equal(&found, &two));
    g_assert_false(store_find_stream(f->store, "none", &found, &error));
    g_assert_true(error_is(error, ERROR_NOT_FOUND));
    g_clear_error(&error);

    g_assert_true(
        store_set_ref(f->store, STORE_STREAMS, "oci/a/b:1", "oci-layer-sha256:1", &error));
    g_assert_true(store_set_ref(f->store, STORE_STREAMS, "oci/.x%y", "oci-layer-sha256:1", &error));
    g_assert_no_error(error);
    g_autofree char *target = file_readlink_at(f->top_fd, "store/streams/refs/oci/a/b:1", NULL);
    g_assert_cmpstr(target, ==, "../../../oci-layer-sha256:1");
    g_autofree char *got = store_get_ref(f->store, STORE_STREAMS, "oci/a/b:1", &error);
    g_assert_cmpstr(got, ==, "oci-layer-sha256:1");
    g_autoptr(GHashTable) all = store_list_refs(f->store, STORE_STREAMS, "", &error);
    g_assert_cmpuint(g_hash_table_size(all), ==, 2);
    g_assert_true(g_hash_table_contains(all, "oci/.x%y"));
    g_autoptr(GHashTable) below = store_list_refs(f->store, STORE_STREAMS, "oci", &error);
    g_assert_true(g_hash_table_contains(below, "a/b:1"));
    g_assert_false(store_set_ref(f->store, STORE_STREAMS, "x", "missing", &error));
    g_assert_true(error_is(error, ERROR_NOT_FOUND));
    g_clear_error(&error);
    g_assert_false(store_set_ref(f->store, STORE_STREAMS, "a//b", "oci-layer-sha256:1", &error));
    g_assert_true(error_is(error, ERROR_INVALID));
    g_clear_error(&error);
    g_assert_true(store_remove_ref(f->store, STORE_STREAMS, "oci/a/b:1", &error));
    g_assert_false(store_remove_ref(f->store, STORE_STREAMS, "oci/a/b:1", NULL));
    g_assert_null(store_get_ref(f->store, STORE_STREAMS, "oci/a/b:1", NULL));
    bool exists;
    g_assert_true(file_exists_at(f->top_fd, "store/streams/refs/oci/a", &exists, NULL));
    g_assert_false(exists);
}

static void test_stream(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    Digest one = put(txn, 1, 1000), two = put(txn, 2, 70), stream_object;
    StoreStreamWriter *writer = store_stream_writer_new(txn, 0x1234, &error);
    g_assert_true(store_stream_write_inline(writer, "abc", 3, &error));
    g_assert_true(store_stream_write_inline(writer, "def", 3, &error));
    g_assert_true(store_stream_write_object(writer, &one, 1000, &error));
    g_assert_true(store_stream_write_object(writer, &two, 70, &error));
    g_assert_true(store_stream_write_object(writer, &one, 1000, &error));
    g_assert_true(store_stream_write_inline(writer, "end", 3, &error));
    store_stream_add_ref(writer, "zwei", &two);
    store_stream_add_ref(writer, "eins", &one);
    g_assert_true(store_stream_finish(writer, &stream_object, &error));
    g_assert_true(store_txn_done(txn, &error));
    g_assert_true(store_link_stream(f->store, "test", &stream_object, &error));

    g_autoptr(StoreStream) stream = store_stream_open_id(f->store, "test", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(store_stream_content_type(stream), ==, 0x1234);
    g_assert_cmpuint(store_stream_size(stream), ==, 2079);
    g_assert_cmpuint(store_stream_n_objects(stream), ==, 2);
    g_assert_true(digest_equal(store_stream_ref(stream, "zwei", &error), &two));
    g_assert_null(store_stream_ref(stream, "drei", &error));
    g_assert_no_error(error);
    const uint8_t *bytes;
    size_t size;
    const Digest *object;
    g_assert_true(store_stream_next(stream, &bytes, &size, &object, &error));
    g_assert_cmpmem(bytes, size, "abcdef", 6);
    g_assert_true(store_stream_next(stream, &bytes, &size, &object, &error));
    g_assert_true(digest_equal(object, &one));
    g_clear_pointer(&stream, store_stream_free);
    stream = store_stream_open_id(f->store, "test", &error);
    g_autoptr(GBytes) all = store_stream_read_all(stream, 10000, &error);
    g_assert_cmpuint(g_bytes_get_size(all), ==, 2079);
    g_assert_cmpmem((const char *)g_bytes_get_data(all, NULL) + 2076, 3, "end", 3);
}

static Digest commit_files(Fixture *f);

static void make_files(Fixture *f)
{
    g_assert_true(file_ensure_dir_at(f->top_fd, "tree/usr/bin", 0755, NULL));
    g_autoptr(GBytes) big = make_bytes(9, 20000);
    g_assert_true(file_replace_at(f->top_fd, "tree/usr/bin/prog", g_bytes_get_data(big, NULL),
                                  20000, 04755, 0, NULL));
    g_assert_true(file_replace_at(f->top_fd, "tree/usr/small", "hello\n", 6, 0600, 0, NULL));
    g_assert_true(file_replace_at(f->top_fd, "tree/usr/empty", "", 0, 0644, 0, NULL));
    g_assert_cmpint(linkat(f->top_fd, "tree/usr/bin/prog", f->top_fd, "tree/usr/hard", 0), ==, 0);
    g_assert_cmpint(symlinkat("usr/bin", f->top_fd, "tree/bin"), ==, 0);
    g_autofree char *path = g_build_filename(f->top, "tree/usr/small", NULL);
    g_assert_cmpint(setxattr(path, "user.note", "n", 1, 0), ==, 0);
}

static Tree *import_files(Fixture *f, StoreTxn *txn, StoreImportFlags flags, GError **error)
{
    _autofd int fd = file_open_dir_at(f->top_fd, "tree", NULL);
    return store_import_dir(txn, fd, flags, error);
}

static void test_import_dir(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    make_files(f);
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    g_autoptr(Tree) tree = import_files(f, txn, 0, &error);
    g_assert_no_error(error);
    Digest image, again;
    g_assert_true(store_commit_image(txn, tree, &image, &error));
    g_assert_true(store_set_ref(f->store, STORE_IMAGES, "t", digest_hex(&image).text, &error));
    g_assert_no_error(error);
    g_assert_true(store_resolve_image(f->store, "t", &again, &error));
    g_assert_true(digest_equal(&image, &again));
    g_autoptr(Tree) loaded = store_load_image(f->store, &image, &error);
    g_assert_no_error(error);
    TreeNode *prog = tree_lookup(loaded, "/usr/bin/prog");
    g_assert_cmpuint(prog->inode->mode, ==, S_IFREG | 04755);
    g_assert_cmpuint(prog->inode->nlink, ==, 2);
    g_assert_true(tree_lookup(loaded, "/usr/hard")->inode == prog->inode);
    g_assert_cmpstr(tree_lookup(loaded, "/bin")->inode->target, ==, "usr/bin");
    TreeInode *small = tree_lookup(loaded, "/usr/small")->inode;
    g_assert_cmpmem(small->content, small->size, "hello\n", 6);
    g_assert_cmpstr(small->xattrs[0].name, ==, "user.note");
    g_assert_true(store_has(f->store, &prog->inode->object));
    g_assert_false(store_resolve_image(f->store, "nothing", &again, &error));
    g_assert_cmpstr(error->message, ==,
                    "there is no image 'nothing' in the store\n"
                    "hint: 'atomic store ls' lists the images");
}

/* More files than are read at a time, each twice: every inode gets its own bytes' digest. */
static void test_import_many(Fixture *f, const void *data _unused)
{
    enum { FILES = 700, SIZE = 300 };
    g_autoptr(GError) error = NULL;
    Digest digests[FILES / 2];
    g_assert_true(file_ensure_dir_at(f->top_fd, "tree", 0755, NULL));
    for (int i = 0; i < FILES; i++) {
        char path[32], bytes[SIZE] = {0};
        g_snprintf(path, sizeof path, "tree/%d", i);
        g_snprintf(bytes, sizeof bytes, "%d", i / 2);
        hash_verity(bytes, SIZE, &digests[i / 2]);
        g_assert_true(file_replace_at(f->top_fd, path, bytes, SIZE, 0644, 0, NULL));
    }
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    g_autoptr(Tree) tree = import_files(f, txn, 0, &error);
    g_assert_no_error(error);
    g_assert_true(store_txn_done(txn, &error));
    for (int i = 0; i < FILES; i++) {
        char path[32];
        g_snprintf(path, sizeof path, "%d", i);
        const TreeInode *inode = tree_lookup(tree, path)->inode;
        g_assert_cmpuint(inode->size, ==, SIZE);
        g_assert_true(digest_equal(&inode->object, &digests[i / 2]));
        g_assert_true(store_has(f->store, &inode->object));
    }
}

/* A file that says it is larger than what can be read of it, as sysfs has them. */
static void test_import_fails(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    _autofd int fd = file_open_dir_at(AT_FDCWD, "/sys/class/net/lo/statistics", NULL);
    if (fd < 0)
        return g_test_skip("no sysfs");
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    g_assert_null(store_import_dir(txn, fd, 0, &error));
    g_assert_true(g_regex_match_simple("^'/[a-z_]+': it was changed while it was read$",
                                       error->message, 0, 0));
}

static void test_import_upper(Fixture *f, const void *data _unused)
{
    if (geteuid() != 0)
        return g_test_skip("needs root");
    g_autoptr(GError) error = NULL;
    make_files(f);
    g_autofree char *path = g_build_filename(f->top, "tree/usr/bin", NULL);
    g_assert_cmpint(mknodat(f->top_fd, "tree/usr/gone", S_IFCHR, 0), ==, 0);
    g_assert_cmpint(setxattr(path, "trusted.overlay.opaque", "y", 1, 0), ==, 0);
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    g_assert_null(import_files(f, txn, 0, &error));
    g_assert_cmpstr(error->message, ==,
                    "'/usr/bin': cannot import it: it has the attribute 'trusted.overlay.opaque'");
    g_clear_error(&error);
    g_autoptr(Tree) layer =
        import_files(f, txn, STORE_IMPORT_UPPER | STORE_IMPORT_ZERO_TIMES, &error);
    g_assert_no_error(error);
    g_assert_true(tree_lookup(layer, "/usr/gone")->inode->whiteout);
    g_assert_true(tree_lookup(layer, "/usr/bin")->inode->opaque);
    g_assert_cmpint(tree_lookup(layer, "/usr/small")->inode->mtime, ==, 0);
}

/* --- tar ------------------------------------------------------------------------------------------------ */

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
    add_header(tar, "x", 'S', "", 0);
    assert_tar_fails(f, tar, "'x': not supported yet: sparse files in a tar");
    add_header(tar, "x", '0', "", 0);
    tar->data[0] = 'y';
    assert_tar_fails(f, tar, "the tar has a damaged header");
    const char *pax = "39 SCHILY.xattr.trusted.overlay.x=yyyy\n";
    add_header(tar, "PaxHeaders", 'x', "", (unsigned)strlen(pax));
    g_byte_array_append(tar, (const uint8_t *)pax, (guint)strlen(pax));
    g_byte_array_set_size(tar, 1024);
    memset(tar->data + 512 + strlen(pax), 0, 512 - strlen(pax));
    add_header(tar, "x", '0', "", 0);
    assert_tar_fails(f, tar, "'x' has the attribute 'trusted.overlay.x', which can't be imported");
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

/* --- export --------------------------------------------------------------------------------------------- */

static void test_export(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    make_files(f);
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    g_autoptr(Tree) tree = import_files(f, txn, 0, &error);
    g_assert_true(store_txn_flush(txn, &error));
    g_assert_true(file_ensure_dir_at(f->top_fd, "out", 0755, NULL));
    _autofd int out = file_open_dir_at(f->top_fd, "out", NULL);
    g_assert_true(store_export_dir(f->store, tree, out, &error));
    g_assert_no_error(error);
    g_autoptr(Tree) again = store_import_dir(txn, out, 0, &error);
    g_assert_no_error(error);
    g_autofree char *before = tree_format_dump(tree);
    g_autofree char *after = tree_format_dump(again);
    g_assert_cmpstr(before, ==, after);
    g_assert_false(store_export_dir(f->store, tree, out, &error));
    g_assert_cmpstr(error->message, ==, "the directory is not empty");
}

/* --- garbage collection and fsck -------------------------------------------------------------------------- */

static void count_problem(const char *problem, void *data)
{
    g_test_message("%s", problem);
    g_string_append_printf(data, "%s\n", problem);
}

static void test_gc(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    Digest dropped = put(txn, 1, 1000), in_layer = put(txn, 2, 1000), in_image = put(txn, 3, 1000);
    Digest layer, config, image, old;
    StoreStreamWriter *writer = store_stream_writer_new(txn, 1, NULL);
    store_stream_write_object(writer, &in_layer, 1000, NULL);
    g_assert_true(store_stream_finish(writer, &layer, &error));
    writer = store_stream_writer_new(txn, 2, NULL);
    store_stream_add_ref(writer, "layer", &layer);
    g_assert_true(store_stream_finish(writer, &config, &error));
    g_assert_true(store_txn_flush(txn, &error));
    g_assert_true(store_link_stream(f->store, "layer", &layer, &error));
    g_assert_true(store_link_stream(f->store, "config", &config, &error));
    g_assert_true(store_set_ref(f->store, STORE_STREAMS, "r", "config", &error));
    g_autoptr(Tree) tree = tree_new();
    TreeNode *node = tree_add(tree, tree_root(tree), "f", S_IFREG | 0644, NULL);
    g_assert_true(store_commit_image(txn, tree, &old, &error));
    tree_set_object(tree, node->inode, &in_image, 1000);
    g_assert_true(store_commit_image(txn, tree, &image, &error));
    g_assert_true(store_set_ref(f->store, STORE_IMAGES, "i", digest_hex(&image).text, &error));

    StoreGcResult result;
    g_assert_true(store_gc(f->store, false, &result, &error)); /* the writer lives: all is needed */
    g_assert_no_error(error);
    g_assert_cmpuint(result.objects, ==, 0);
    store_txn_free(g_steal_pointer(&txn));
    g_assert_true(store_gc(f->store, true, &result, &error));
    g_assert_cmpuint(result.objects, ==, 2);
    g_assert_true(store_has(f->store, &dropped)); /* dry */
    g_assert_true(store_gc(f->store, false, &result, &error));
    g_assert_cmpuint(result.objects, ==, 2);
    g_assert_cmpuint(result.kept_objects, ==, 5);
    g_assert_false(store_has(f->store, &dropped));
    g_assert_false(store_has(f->store, &old));
    g_assert_false(store_resolve_image(f->store, digest_hex(&old).text, &old, NULL));
    g_assert_true(store_has(f->store, &in_layer) && store_has(f->store, &in_image));

    StoreFsckResult checked;
    g_autoptr(GString) problems = g_string_new(NULL);
    g_assert_true(store_fsck(f->store, count_problem, problems, &checked, &error));
    g_assert_cmpstr(problems->str, ==, "");
    g_assert_cmpuint(checked.objects, ==, 5);
    g_assert_true(store_remove_ref(f->store, STORE_STREAMS, "r", &error));
    g_assert_true(store_gc(f->store, false, &result, &error));
    g_assert_cmpuint(result.objects, ==, 3);
    g_assert_false(store_find_stream(f->store, "layer", &layer, NULL));
}

static void test_fsck(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    Digest image = commit_files(f);
    g_autoptr(Tree) tree = store_load_image(f->store, &image, &error);
    Digest object = tree_lookup(tree, "/usr/hard")->inode->object;
    g_autofree char *path = g_strdup_printf("store/objects/%.2s/%s", digest_hex(&object).text,
                                            digest_hex(&object).text + 2);
    g_assert_true(file_replace_at(f->top_fd, path, "damage", 6, 0644, 0, &error));
    StoreFsckResult checked;
    g_autoptr(GString) problems = g_string_new(NULL);
    g_assert_true(store_fsck(f->store, count_problem, problems, &checked, &error));
    g_assert_cmpuint(checked.problems, ==, 1);
    g_assert_nonnull(strstr(problems->str, "is damaged: its bytes measure"));
    g_assert_cmpint(unlinkat(f->top_fd, path, 0), ==, 0);
    g_string_truncate(problems, 0);
    g_assert_true(store_fsck(f->store, count_problem, problems, &checked, &error));
    g_assert_nonnull(strstr(problems->str, "of '/usr/bin/prog' is missing"));
    StoreUsage usage;
    g_assert_true(store_usage(f->store, &usage, &error));
    g_assert_cmpuint(usage.objects, ==, 1);
    g_assert_cmpuint(usage.metadata_bytes, ==, usage.object_bytes);
}

/* --- several writers, and dead ones ----------------------------------------------------------------------- */

static void *write_many(void *data)
{
    Fixture *f = data;
    g_autoptr(Store) store = store_open(f->path, NULL);
    g_autoptr(StoreTxn) txn = store_txn_begin(store, NULL, NULL);
    for (unsigned i = 0; i < 700; i++)
        put(txn, i, 200 + i % 50);
    g_assert_true(store_txn_flush(txn, NULL));
    return NULL;
}

static void *write_one(void *data)
{
    for (unsigned i = 0; i < 700; i++)
        put(data, i, 200 + i % 50);
    return NULL;
}

static void test_concurrent(Fixture *f, const void *data _unused)
{
    GThread *threads[4];
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, NULL);
    for (int i = 0; i < 4; i++) /* two with transactions of their own, two share one */
        threads[i] =
            g_thread_new("writer", i < 2 ? write_many : write_one, i < 2 ? (void *)f : txn);
    for (int i = 0; i < 4; i++)
        g_thread_join(threads[i]);
    g_autoptr(GError) error = NULL;
    g_assert_true(store_txn_done(txn, &error));
    StoreFsckResult checked;
    g_autoptr(GString) problems = g_string_new(NULL);
    g_assert_true(store_fsck(f->store, count_problem, problems, &checked, &error));
    g_assert_cmpuint(checked.objects, ==, 700);
    g_assert_cmpuint(checked.problems, ==, 0);
}

/* Images that share some bytes come and lose their name, while others sweep. */
static void *commit_again_and_again(void *data)
{
    Fixture *f = data;
    g_autoptr(Store) store = store_open(f->path, NULL);
    for (unsigned round = 0; round < 25; round++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(StoreTxn) txn = store_txn_begin(store, NULL, &error);
        g_autoptr(Tree) tree = tree_new();
        for (unsigned i = 0; i < 20; i++) {
            char name[16];
            g_snprintf(name, sizeof name, "f%u", i);
            Digest object = put(txn, i + round % 3, 300);
            TreeNode *node = tree_add(tree, tree_root(tree), name, S_IFREG | 0644, NULL);
            tree_set_object(tree, node->inode, &object, 300);
            if (i % 7 == 0)
                g_assert_true(store_txn_flush(txn, &error));
        }
        Digest image;
        g_assert_true(store_commit_image(txn, tree, &image, &error));
        g_assert_true(
            store_set_ref(store, STORE_IMAGES, "latest", digest_hex(&image).text, &error));
        g_assert_true(store_txn_done(txn, &error));
        g_assert_no_error(error);
    }
    return NULL;
}

static void test_gc_while_writing(Fixture *f, const void *data _unused)
{
    g_autoptr(GThread) writer = g_thread_new("writer", commit_again_and_again, f);
    g_autoptr(GError) error = NULL;
    StoreGcResult result;
    for (int i = 0; i < 15; i++) {
        g_assert_true(store_gc(f->store, false, &result, &error));
        g_assert_no_error(error);
    }
    g_thread_join(g_steal_pointer(&writer));
    StoreFsckResult checked;
    g_autoptr(GString) problems = g_string_new(NULL);
    g_assert_true(store_gc(f->store, false, &result, &error));
    g_assert_true(store_fsck(f->store, count_problem, problems, &checked, &error));
    g_assert_cmpstr(problems->str, ==, "");
    g_assert_cmpuint(checked.objects, ==, 21);
    g_assert_cmpuint(checked.images, ==, 1);
}

/* A writer that is killed with two objects staged, one of them not whole. */
static void die_while_writing(Fixture *f)
{
    pid_t pid = fork();
    if (pid == 0) {
        g_autoptr(Store) store = store_open(f->path, NULL);
        StoreTxn *txn = store_txn_begin(store, "pull/one", NULL);
        Digest digest = put(txn, 1, 500);
        digest = put(txn, 2, 500);
        _autofd int journal = store_txn_journal(txn, NULL);
        g_assert_true(file_write_all(journal, "a line\n", 7, NULL));
        g_autofree char *half = g_strdup_printf("%s/staging", f->path);
        g_autoptr(GDir) dir = g_dir_open(half, 0, NULL);
        g_autofree char *path =
            g_strdup_printf("%s/%s/%s", half, g_dir_read_name(dir), digest_hex(&digest).text);
        g_assert_cmpint(truncate(path, 100), ==, 0);
        kill(getpid(), SIGKILL);
    }
    waitpid(pid, NULL, 0);
}

static char *staging_path(Fixture *f, const char *name)
{
    g_autofree char *staging = g_build_filename(f->path, "staging", NULL);
    g_autoptr(GDir) dir = g_dir_open(staging, 0, NULL);
    return g_build_filename(staging, g_dir_read_name(dir), name, NULL);
}

static unsigned count_staging(Fixture *f)
{
    g_autofree char *staging = g_build_filename(f->path, "staging", NULL);
    g_autoptr(GDir) dir = g_dir_open(staging, 0, NULL);
    unsigned n = 0;
    while (g_dir_read_name(dir))
        n++;
    return n;
}

static void age_journal(Fixture *f, unsigned hours)
{
    g_autofree char *path = staging_path(f, "journal");
    const struct timespec then = {.tv_sec = time(NULL) - hours * 3600};
    g_assert_cmpint(utimensat(AT_FDCWD, path, (struct timespec[]){then, then}, 0), ==, 0);
}

static void test_takeover(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    die_while_writing(f);
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, "pull/one", &error);
    g_assert_no_error(error);
    g_assert_null(store_txn_begin(f->store, "pull/one", &error)); /* taken */
    g_assert_true(error_is(error, ERROR_BUSY));
    g_clear_error(&error);
    g_autoptr(GBytes) one = make_bytes(1, 500), two = make_bytes(2, 500);
    Digest first, second;
    hash_verity(g_bytes_get_data(one, NULL), 500, &first);
    hash_verity(g_bytes_get_data(two, NULL), 500, &second);
    g_assert_true(store_txn_has(txn, &first));
    g_assert_false(store_txn_has(txn, &second)); /* it was not whole */
    _autofd int journal = store_txn_journal(txn, &error);
    g_autofree char *text = file_read_fd(journal, 100, NULL, NULL);
    g_assert_cmpstr(text, ==, "a line\n");
    g_assert_true(store_txn_flush(txn, &error));
    g_assert_true(store_has(f->store, &first));
    store_txn_free(g_steal_pointer(&txn)); /* not done: the journal stays */
    txn = store_txn_begin(f->store, "pull/one", &error);
    _autofd int again = store_txn_journal(txn, &error);
    struct stat st;
    g_assert_cmpint(fstat(again, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 7);
    g_assert_true(store_txn_done(txn, &error));
    store_txn_free(g_steal_pointer(&txn));

    die_while_writing(f); /* another one: stays for a day */
    StoreGcResult result;
    g_assert_true(store_gc(f->store, false, &result, &error));
    g_assert_cmpuint(count_staging(f), ==, 1);
    age_journal(f, 23);
    g_assert_true(store_gc(f->store, false, &result, &error));
    g_assert_cmpuint(count_staging(f), ==, 1);
    age_journal(f, 25);
    g_assert_true(store_gc(f->store, false, &result, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(count_staging(f), ==, 0);
}

/* What an interrupted writer made durable is there when it goes on, whatever was collected in between; what it leaves
 * is gone after a boot. */
static void test_gc_between(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, "pull/one", &error);
    _autofd int journal = store_txn_journal(txn, &error);
    g_assert_cmpint(journal, >=, 0);
    Digest first = put(txn, 1, 500);
    g_assert_true(store_txn_flush(txn, &error));
    g_autofree char *roots = staging_path(f, "roots");
    store_txn_free(g_steal_pointer(&txn));
    StoreGcResult result;
    g_assert_true(store_gc(f->store, false, &result, &error));
    g_assert_no_error(error);
    g_assert_true(store_has(f->store, &first));

    /* it had no space left in the middle of a digest: the next ones must not be read askew */
    _autofd int fd = open(roots, O_WRONLY | O_APPEND | O_CLOEXEC);
    g_assert_cmpint(write(fd, "torn", 4), ==, 4);
    txn = store_txn_begin(f->store, "pull/one", &error);
    g_assert_no_error(error);
    g_assert_true(store_txn_has(txn, &first));
    Digest second = put(txn, 2, 500);
    g_assert_true(store_txn_flush(txn, &error));
    g_assert_true(store_gc(f->store, false, &result, &error));
    g_assert_true(store_has(f->store, &first) && store_has(f->store, &second));
    store_txn_free(g_steal_pointer(&txn));

    g_autofree char *dir = g_path_get_dirname(roots), *parent = g_path_get_dirname(dir);
    g_autofree char *other =
        g_strdup_printf("%s/00000000-0000-4000-8000-000000000000-pull%%2Fone", parent);
    g_assert_cmpint(rename(dir, other), ==, 0);
    g_assert_true(store_gc(f->store, false, &result, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(result.objects, ==, 2);
    g_assert_cmpuint(count_staging(f), ==, 0);
}

/* After a failed sync the pages are in memory, clean and right: a later sync of them would pass and mean nothing. */
static void test_failed_flush(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, "pull/one", &error);
    _autofd int journal = store_txn_journal(txn, &error);
    g_assert_cmpint(journal, >=, 0);
    Digest first = put(txn, 1, 500);
    g_autofree char *staged = staging_path(f, digest_hex(&first).text);
    g_autofree char *aside = g_strconcat(staged, ".aside", NULL);
    g_assert_cmpint(rename(staged, aside), ==, 0);
    g_assert_false(store_txn_flush(txn, &error));
    g_clear_error(&error);
    g_assert_cmpint(rename(aside, staged), ==, 0);
    g_assert_false(store_txn_has(txn, &first));
    g_assert_false(store_txn_flush(txn, &error));
    g_assert_true(error_is(error, ERROR_FAILED));
    g_clear_error(&error);
    g_assert_false(store_txn_done(txn, NULL));
    store_txn_free(g_steal_pointer(&txn));
    g_assert_cmpint(access(staged, F_OK), <, 0);
    g_assert_false(store_has(f->store, &first));
    txn = store_txn_begin(f->store, "pull/one", &error);
    g_assert_no_error(error);
    g_assert_false(store_txn_has(txn, &first));
}

/* Who is waited for is named. */
static void test_holder(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, "pull/one", &error);
    g_assert_nonnull(txn);
    g_assert_null(store_txn_begin(f->store, "pull/one", &error));
    g_assert_true(error_is(error, ERROR_BUSY));
    g_autofree char *number = g_strdup_printf("(process %d)", (int)getpid());
    g_assert_nonnull(strstr(error->message, "'test-store"));
    g_assert_nonnull(strstr(error->message, number));
}

/* a stream with any byte wrong: refused or read, never a crash */
static void test_hostile_streams(Fixture *f, const void *data _unused)
{
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, NULL);
    Digest one = put(txn, 1, 100), object;
    StoreStreamWriter *writer = store_stream_writer_new(txn, 1, NULL);
    store_stream_write_inline(writer, "some text that is inline", 24, NULL);
    store_stream_write_object(writer, &one, 100, NULL);
    store_stream_add_ref(writer, "name", &one);
    g_assert_true(store_stream_finish(writer, &object, NULL));
    g_assert_true(store_txn_flush(txn, NULL));
    g_autofree char *path = g_strdup_printf("store/objects/%.2s/%s", digest_hex(&object).text,
                                            digest_hex(&object).text + 2);
    size_t size;
    g_autofree char *good = file_read_at(f->top_fd, path, 1 << 20, &size, NULL);
    for (size_t at = 0; at < size * 4; at++) {
        g_autofree char *bad = g_memdup2(good, size);
        bad[at / 4] ^= (char)(1 << (at % 4 * 2 + 1));
        g_assert_true(file_replace_at(f->top_fd, path, bad, size, 0644, 0, NULL));
        g_autoptr(GError) error = NULL;
        g_autoptr(StoreStream) stream = store_stream_open(f->store, &object, &error);
        if (!stream)
            continue;
        store_stream_ref(stream, "name", NULL);
        g_autoptr(GBytes) all = store_stream_read_all(stream, 1 << 20, &error);
        g_assert_true(all || error);
    }
}

/* --- mounts --------------------------------------------------------------------------------------------- */

static Digest commit_files(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    make_files(f);
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    g_autoptr(Tree) tree = import_files(f, txn, 0, &error);
    Digest image;
    g_assert_true(store_commit_image(txn, tree, &image, &error));
    g_assert_no_error(error);
    return image;
}

/* Whether this process may mount at all. */
static int try_mount(Fixture *f, const Digest *image, const StoreMountOptions *options)
{
    g_autoptr(GError) error = NULL;
    int fd = store_mount_image(f->store, image, options, &error);
    if (fd < 0 && (error_is(error, ERROR_PERMISSION) || error_is(error, ERROR_UNSUPPORTED)))
        g_test_skip(error->message);
    else
        g_assert_no_error(error);
    return fd;
}

static void test_mount(Fixture *f, const void *data _unused)
{
    Digest image = commit_files(f);
    _autofd int fd = try_mount(f, &image, NULL);
    if (fd < 0)
        return;
    size_t size;
    g_autofree char *prog = file_read_at(fd, "usr/bin/prog", 1 << 20, &size, NULL);
    g_autoptr(GBytes) expected = make_bytes(9, 20000);
    g_assert_cmpmem(prog, size, g_bytes_get_data(expected, NULL), 20000);
    g_autofree char *small = file_read_at(fd, "usr/small", 100, &size, NULL);
    g_assert_cmpstr(small, ==, "hello\n");
    g_assert_cmpint(openat(fd, "usr/new", O_WRONLY | O_CREAT, 0644), ==, -1);
    struct stat st;
    g_assert_cmpint(fstatat(fd, "aa", &st, 0), ==, -1); /* the object directories don't show */

    g_autoptr(GError) error = NULL;
    Digest object;
    hash_verity(prog, 20000, &object);
    g_assert_cmpint(store_mount_image(f->store, &object, NULL, &error), ==, -1);
    g_assert_true(error_is(error, ERROR_NOT_FOUND)); /* an object is no image */
}

static void test_mount_writable(Fixture *f, const void *data _unused)
{
    Digest image = commit_files(f);
    g_assert_true(file_ensure_dir_at(f->top_fd, "rw", 0700, NULL));
    for (int round = 0; round < 2;
         round++) { /* volatile twice: the mark of the first must not hinder */
        _autofd int rw = file_open_dir_at(f->top_fd, "rw", NULL);
        StoreMountOptions options = {.userns_fd = -1, .writable_fd = rw, .volatile_upper = true};
        _autofd int fd = try_mount(f, &image, &options);
        if (fd < 0)
            return;
        g_assert_true(file_replace_at(fd, "usr/small", "changed", 7, 0600, 0, NULL));
    }
    g_autofree char *upper = file_read_at(f->top_fd, "rw/upper/usr/small", 100, NULL, NULL);
    g_assert_cmpstr(upper, ==, "changed");
}

/* A user namespace whose root is the host's id 100000. */
static int make_userns(void)
{
    int ready[2];
    g_assert_cmpint(pipe2(ready, O_CLOEXEC), ==, 0);
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) {
        char c;
        close(ready[1]);
        _exit(read(ready[0], &c, 1) != 0);
    }
    char path[64];
    int fd = -1;
    for (int i = 0; pid > 0 && i < 2; i++) {
        g_snprintf(path, sizeof path, "/proc/%d/%s", pid, i ? "gid_map" : "uid_map");
        if (sys_write_file_at(AT_FDCWD, path, "0 100000 65536") < 0)
            pid = -pid;
    }
    if (pid > 0) {
        g_snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    close(ready[0]);
    close(ready[1]);
    if (pid != -1)
        waitpid(abs(pid), NULL, 0);
    return fd;
}

static void test_mount_idmapped(Fixture *f, const void *data _unused)
{
    Digest image = commit_files(f);
    _autofd int userns = make_userns();
    if (userns < 0)
        return g_test_skip("cannot make a user namespace");
    g_assert_true(file_ensure_dir_at(f->top_fd, "rw", 0700, NULL));
    _autofd int rw = file_open_dir_at(f->top_fd, "rw", NULL);
    StoreMountOptions options = {
        .userns_fd = userns, .writable_fd = rw, .map_uid = 100000, .map_gid = 100000};
    _autofd int fd = try_mount(f, &image, &options);
    if (fd < 0)
        return;
    g_assert_cmpuint(geteuid(), ==, 0);
    struct stat st;
    g_assert_cmpint(fstatat(fd, "usr/small", &st, 0), ==, 0);
    g_assert_cmpuint(st.st_uid, ==, 100000);
    /* copied up, it belongs to the inside's root on disk */
    g_assert_cmpint(fchmodat(fd, "usr/small", 0640, 0), ==, 0);
    g_assert_cmpint(fstatat(rw, "upper/usr/small", &st, 0), ==, 0);
    g_assert_cmpuint(st.st_uid, ==, 0);
    g_assert_cmpuint(st.st_mode & 07777, ==, 0640);
    /* and this process has its rights back: it may still read what belongs to others */
    g_assert_cmpint(mknodat(f->top_fd, "device", S_IFCHR, makedev(1, 3)), ==, 0);
    g_assert_cmpint(fstatat(f->top_fd, "device", &st, 0), ==, 0);
    g_assert_cmpuint(st.st_uid, ==, 0);
}

#define TEST(name, f) g_test_add("/store/" name, Fixture, NULL, set_up, f, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("open", test_open);
    TEST("keyed-batch", test_keyed_batch);
    TEST("objects", test_objects);
    TEST("writer", test_writer);
    TEST("names", test_names);
    TEST("stream", test_stream);
    TEST("import-dir", test_import_dir);
    TEST("import-many", test_import_many);
    TEST("import-fails", test_import_fails);
    TEST("import-upper", test_import_upper);
    TEST("tar-stream", test_tar_stream);
    TEST("tar-round-trip", test_tar_round_trip);
    TEST("tar-hostile", test_tar_hostile);
    TEST("tar-mutations", test_tar_mutations);
    TEST("tar-whiteouts", test_tar_whiteouts);
    TEST("export", test_export);
    TEST("gc", test_gc);
    TEST("fsck", test_fsck);
    TEST("concurrent", test_concurrent);
    TEST("gc-while-writing", test_gc_while_writing);
    TEST("gc-between", test_gc_between);
    TEST("failed-flush", test_failed_flush);
    TEST("holder", test_holder);
    TEST("takeover", test_takeover);
    TEST("hostile-streams", test_hostile_streams);
    TEST("mount", test_mount);
    TEST("mount-writable", test_mount_writable);
    TEST("mount-idmapped", test_mount_idmapped);
    return g_test_run();
}
