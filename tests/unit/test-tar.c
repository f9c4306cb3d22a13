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

static void set_checksum(uint8_t *header)
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += header[i];
    g_snprintf((char *)header + 148, 7, "%06o", sum);
}

static uint8_t *add_header(GByteArray *tar, const char *name, char type, const char *link,
                           unsigned size)
{
    char header[512] = "";
    memcpy(header, name, MIN(strlen(name), 100));
    strcpy(header + 100, "0000644");
    strcpy(header + 108, "0000000");
    strcpy(header + 116, "0000000");
    g_snprintf(header + 124, 12, "%011o", size);
    strcpy(header + 136, "00000000000");
    header[156] = type;
    memcpy(header + 157, link, MIN(strlen(link), 100));
    memcpy(header + 257, "ustar\00000", 8);
    set_checksum((uint8_t *)header);
    g_byte_array_append(tar, (uint8_t *)header, 512);
    return tar->data + tar->len - 512;
}

static void add_bytes(GByteArray *tar, const void *bytes, size_t size)
{
    static const uint8_t zeros[512];
    g_byte_array_append(tar, bytes, (guint)size);
    g_byte_array_append(tar, zeros, (guint)((512 - size % 512) % 512));
}

static void add_file(GByteArray *tar, const char *name, const char *content)
{
    add_header(tar, name, '0', "", (unsigned)strlen(content));
    add_bytes(tar, content, strlen(content));
}

/* A header of type x, g, L or K. */
static void add_extra(GByteArray *tar, char type, const void *text, size_t size)
{
    add_header(tar, "extra", type, "", (unsigned)size);
    add_bytes(tar, text, size);
}

/* A pax header of one well-formed record. */
static void add_record(GByteArray *tar, char type, const char *key, const void *value, size_t size)
{
    g_autoptr(GByteArray) record = g_byte_array_new();
    size_t rest = strlen(key) + size + 3, length = rest + 1;
    for (size_t power = 10; length >= power; power *= 10)
        length++;
    g_autofree char *head = g_strdup_printf("%zu %s=", length, key);
    g_byte_array_append(record, (uint8_t *)head, (guint)strlen(head));
    g_byte_array_append(record, value, (guint)size);
    g_byte_array_append(record, (const uint8_t *)"\n", 1);
    add_extra(tar, type, record->data, record->len);
}

static void add_text(GByteArray *tar, char type, const char *key, const char *value)
{
    add_record(tar, type, key, value, strlen(value));
}

/* Empties the tar. */
static void assert_tar_fails(Fixture *f, GByteArray *tar, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, NULL);
    g_autoptr(Tree) tree = read_tar(txn, tar, true, NULL, &error);
    g_assert_null(tree);
    g_assert_cmpstr(error->message, ==, message);
    g_byte_array_set_size(tar, 0);
}

/* Empties the tar; the tree as a dump without the columns that don't matter here. The stream gives the tar. */
static char *list_tar(Fixture *f, GByteArray *tar)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, NULL);
    StoreStreamWriter *writer = store_stream_writer_new(txn, 0, &error);
    g_autoptr(Tree) tree = read_tar(txn, tar, false, writer, &error);
    g_assert_no_error(error);
    Digest object;
    g_assert_true(store_stream_finish(writer, &object, &error));
    g_assert_true(store_txn_flush(txn, &error));
    g_autoptr(StoreStream) stream = store_stream_open(f->store, &object, &error);
    g_autoptr(GBytes) back = store_stream_read_all(stream, tar->len, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(g_bytes_get_data(back, NULL), g_bytes_get_size(back), tar->data, tar->len);
    g_byte_array_set_size(tar, 0);
    g_autofree char *dump = tree_format_dump(tree);
    g_auto(GStrv) lines = g_strsplit(dump, "\n", -1);
    g_autoptr(GString) list = g_string_new(NULL);
    for (char **line = lines + 1; **line;
         line++) { /* PATH SIZE MODE NLINK UID GID RDEV MTIME PAYLOAD CONTENT */
        g_auto(GStrv) field = g_strsplit(*line, " ", -1);
        g_string_append_printf(list, "%s%s%s%s%s%s", list->len ? " " : "", field[0],
                               strcmp(field[8], "-") && field[2][0] == '1' ? ">" : "",
                               strcmp(field[8], "-") && field[2][0] == '1' ? field[8] : "",
                               strcmp(field[9], "-") ? "=" : "",
                               strcmp(field[9], "-") ? field[9] : "");
    }
    return g_string_free(g_steal_pointer(&list), false);
}

static void assert_list(Fixture *f, GByteArray *tar, const char *expected)
{
    g_autofree char *list = list_tar(f, tar);
    g_assert_cmpstr(list, ==, expected);
}

/* paths that lead out are refused, or lead to where they would with the tree as root */
static void test_tar_escape(Fixture *f, const void *data _unused)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    add_file(tar, "a/../../x", "");
    assert_tar_fails(f, tar, "'a/../../x': a name in the tar would escape: it has '..'");
    add_file(tar, "..", "");
    assert_tar_fails(f, tar, "'..': a name in the tar would escape: it has '..'");
    add_text(tar, 'x', "path", "a/..");
    add_file(tar, "x", "");
    assert_tar_fails(f, tar, "'a/..': a name in the tar would escape: it has '..'");
    add_extra(tar, 'L', "../l", 5);
    add_file(tar, "x", "");
    assert_tar_fails(f, tar, "'../l': a name in the tar would escape: it has '..'");
    add_file(tar, "/etc//./passwd", "x");
    assert_list(f, tar, "/etc /etc/passwd=x");
    add_file(tar, "./", "");
    assert_list(f, tar, "");
    add_file(tar, "", "x");
    assert_tar_fails(f, tar, "'': the root of the tar is not a directory");
    add_file(tar, "dir/", "");
    add_file(tar, "dir//x", "y");
    assert_list(f, tar, "/dir /dir/x=y");

    add_header(tar, "out", '2', "/tmp", 0);
    add_file(tar, "out/x", "");
    assert_tar_fails(f, tar, "'out/x': it lies behind the link '/out'");
    add_header(tar, "loop", '2', "pool", 0);
    add_header(tar, "pool", '2', "loop", 0);
    add_file(tar, "loop/x", "");
    assert_tar_fails(f, tar, "'loop/x': it lies behind the link '/loop'");
    add_header(tar, "usr", '5', "", 0);
    add_header(tar, "abs", '2', "/usr", 0);
    add_header(tar, "usr/up", '2', "../../../..", 0);
    add_file(tar, "abs/x", "1");
    add_file(tar, "usr/up/y", "2");
    assert_list(f, tar, "/abs>/usr /usr /usr/up>../../../.. /usr/x=1 /y=2");
    /* the link itself is replaced, not what it points at */
    add_file(tar, "target", "old");
    add_header(tar, "link", '2', "target", 0);
    add_file(tar, "link", "new");
    assert_list(f, tar, "/link=new /target=old");
    add_file(tar, "file", "x");
    add_file(tar, "file/x", "");
    assert_tar_fails(f, tar, "'file/x': it lies below 'file', which is no directory");
    add_header(tar, "x", '2', "", 0);
    assert_tar_fails(f, tar, "'x': it is a symbolic link without a target");
}

static void test_tar_hard_links(Fixture *f, const void *data _unused)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    add_header(tar, "x", '1', "../etc/shadow", 0);
    assert_tar_fails(f, tar, "'x': a name in the tar would escape: it has '..'");
    add_header(tar, "x", '1', "/etc/shadow", 0);
    assert_tar_fails(f, tar, "'x': it is a hard link to '/etc/shadow', which is not there");
    add_header(tar, "x", '1', "x", 0);
    assert_tar_fails(f, tar, "'x': it is a hard link to 'x', which is not there");
    add_header(tar, "x", '1', "later", 0);
    add_file(tar, "later", "");
    assert_tar_fails(f, tar, "'x': it is a hard link to 'later', which is not there");
    add_header(tar, "dir", '5', "", 0);
    add_header(tar, "x", '1', "dir", 0);
    assert_tar_fails(f, tar, "'x': it is a hard link to a directory");
    add_header(tar, "x", '1', ".", 0);
    assert_tar_fails(f, tar, "'x': it is a hard link to a directory");
    add_header(tar, "out", '2', "/etc", 0);
    add_header(tar, "x", '1', "out/shadow", 0);
    assert_tar_fails(f, tar, "'x': it is a hard link to 'out/shadow', which is not there");
    add_file(tar, "x", "1");
    add_header(tar, "x", '1', "x", 0);
    add_header(tar, "y", '1', "./x", 0);
    add_header(tar, "y", '1', "x", 0);
    add_file(tar, "x", "2"); /* the other name keeps what it was */
    assert_list(f, tar, "/x=2 /y=1");
    /* a size without bytes, as v7 and GNU write it; with bytes, as POSIX has it in pax archives */
    add_file(tar, "a", "1");
    add_header(tar, "b", '1', "a", 1);
    add_text(tar, 'x', "comment", "pax");
    add_header(tar, "c", '1', "a", 1);
    add_bytes(tar, "1", 1);
    add_file(tar, "d", "2");
    g_autofree char *list = list_tar(f, tar);
    g_assert_true(g_str_has_suffix(list, "/d=2"));
}

static void test_tar_names(Fixture *f, const void *data _unused)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    add_record(tar, 'x', "path", "a\0b", 3);
    add_file(tar, "x", "");
    assert_tar_fails(f, tar, "the tar has a damaged pax header: 'path'");
    add_record(tar, 'x', "linkpath", "a\0", 2);
    add_header(tar, "x", '2', "l", 0);
    assert_tar_fails(f, tar, "the tar has a damaged pax header: 'linkpath'");
    add_extra(tar, 'L', "a\0b\0", 4);
    add_file(tar, "x", "");
    assert_tar_fails(f, tar, "the tar has a name with a zero byte: 'a'");
    add_extra(tar, 'L', "a\0\0\0", 4);
    add_file(tar, "x", "");
    assert_list(f, tar, "/a");
    /* names without a NUL in the header, and each place that a name may come from */
    g_autofree char *full = g_strnfill(100, 'n');
    add_file(tar, full, "");
    g_autofree char *expected = g_strconcat("/", full, NULL);
    assert_list(f, tar, expected);
    g_autofree char *long_name = g_strnfill(256, 'n');
    add_text(tar, 'x', "path", long_name);
    add_file(tar, "x", "");
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, NULL);
    g_assert_null(read_tar(txn, tar, true, NULL, &error));
    g_assert_true(error_is(error, ERROR_INVALID));
    g_byte_array_set_size(tar, 0);
    add_extra(tar, 'L', "gnu", 4);
    add_text(tar, 'x', "path", "pax");
    add_file(tar, "header", "");
    add_file(tar, "header", "");
    assert_list(f, tar, "/header /pax");

    /* deep: as far as the tree goes, no further */
    for (unsigned depth = 2000; depth <= 2100; depth += 100) {
        g_autoptr(GString) path = g_string_new(NULL);
        for (unsigned i = 0; i < depth; i++)
            g_string_append(path, "d/");
        add_record(tar, 'x', "path", path->str, path->len);
        add_header(tar, "x", '5', "", 0);
        g_autoptr(GError) failed = NULL;
        g_autoptr(Tree) tree = read_tar(txn, tar, false, NULL, &failed);
        g_assert_true((tree != NULL) == (depth < TREE_DEPTH_MAX));
        g_assert_true(tree || error_is(failed, ERROR_INVALID));
        g_byte_array_set_size(tar, 0);
    }
}

/* later wins; a directory stays what it is, with what is in it */
static void test_tar_repeated(Fixture *f, const void *data _unused)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    add_file(tar, "x", "1");
    add_file(tar, "./x", "2");
    assert_list(f, tar, "/x=2");
    add_file(tar, "d/x", "1");
    add_header(tar, "d", '5', "", 0);
    add_file(tar, "d/y", "2");
    assert_list(f, tar, "/d /d/x=1 /d/y=2");
    add_file(tar, "d/x", "1");
    add_file(tar, "d", "2");
    assert_list(f, tar, "/d=2");
    add_file(tar, "d", "1");
    add_header(tar, "d", '5', "", 0);
    add_file(tar, "d/x", "2");
    assert_list(f, tar, "/d /d/x=2");
    add_header(tar, "d/e", '5', "", 0);
    add_header(tar, "d", '2', "/", 0);
    assert_list(f, tar, "/d>/");
    add_header(tar, "d", '2', "e", 0);
    add_header(tar, "d", '5', "", 0);
    assert_list(f, tar, "/d");
    add_header(tar, "dev", '3', "", 0);
    add_header(tar, "dev", '6', "", 0);
    assert_list(f, tar, "/dev");
}

static void test_tar_sizes(Fixture *f, const void *data _unused)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    add_header(tar, "x", '0', "", 1000);
    assert_tar_fails(f, tar, "'x': the tar ends too early");
    add_header(tar, "x", '0', "", 1000);
    add_bytes(tar, "less", 4);
    assert_tar_fails(f, tar, "'x': the tar ends too early");
    add_text(tar, 'x', "size", "9223372036854775807");
    add_file(tar, "x", "small");
    assert_tar_fails(f, tar, "'x': the tar ends too early");
    add_text(tar, 'x', "size", "9223372036854775808");
    add_file(tar, "x", "small");
    assert_tar_fails(f, tar, "the tar has a damaged pax header: 'size'");
    add_text(tar, 'x', "size", "-1");
    add_file(tar, "x", "small");
    assert_tar_fails(f, tar, "the tar has a damaged pax header: 'size'");
    add_text(tar, 'x', "size", "1x");
    add_file(tar, "x", "small");
    assert_tar_fails(f, tar, "the tar has a damaged pax header: 'size'");
    /* the pax size counts: what follows is found by it */
    add_text(tar, 'x', "size", "5");
    add_header(tar, "x", '0', "", 0);
    add_bytes(tar, "12345", 5);
    add_file(tar, "y", "z");
    assert_list(f, tar, "/x=12345 /y=z");
    /* GNU's binary numbers: negative, more than 63 bits */
    for (int negative = 0; negative < 2; negative++) {
        uint8_t *header = add_header(tar, "x", '0', "", 0);
        memset(header + 124, negative ? 0xff : 0x7f, 12);
        header[124] = negative ? 0xff : 0x80;
        set_checksum(header);
        assert_tar_fails(f, tar, "the tar has a damaged header");
    }
    uint8_t *header = add_header(tar, "x", '0', "", 0);
    memcpy(header + 124, "0000000000x", 12);
    set_checksum(header);
    assert_tar_fails(f, tar, "the tar has a damaged header");
    header = add_header(tar, "x", '0', "", 0);
    memcpy(header + 124, "\200\0\0\0\0\0\0\0\0\0\0\5", 12);
    set_checksum(header);
    add_bytes(tar, "12345", 5);
    assert_list(f, tar, "/x=12345");
    add_file(tar, "x", "");
    tar->data[0] = 'y';
    assert_tar_fails(f, tar, "the tar has a damaged header");
    add_file(tar, "x", "");
    g_byte_array_set_size(tar, 300);
    assert_tar_fails(f, tar, "the tar ends too early");
    add_header(tar, "x", 'Z', "", 0);
    assert_tar_fails(f, tar, "'x': not supported yet: entries of type 'Z' in a tar");
    header = add_header(tar, "x", '3', "", 0);
    memcpy(header + 329, "7777777", 7);
    set_checksum(header);
    assert_tar_fails(f, tar, "the tar has a device 2097151:0");
    add_header(tar, "volume", 'V', "", 0); /* GNU's: no file; and a directory with a list in it */
    add_header(tar, "dir", 'D', "", 5);
    add_bytes(tar, "Yfile", 5);
    add_file(tar, "dir/file", "x");
    assert_list(f, tar, "/dir /dir/file=x");
}

static void test_tar_pax(Fixture *f, const void *data _unused)
{
    static const char *const bad[] = {"5 a=",
                                      "7 a=b\n",
                                      "6 a=b\nx",
                                      "x a=b\n",
                                      " 6 a=b\n",
                                      "6a=b\n",
                                      "5 ab\n",
                                      "5 =b\n",
                                      "0 a=b\n",
                                      "6\0a=b\n",
                                      "99999999999999999999 a=b\n",
                                      "3 \n"};
    g_autoptr(GByteArray) tar = g_byte_array_new();
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        add_extra(tar, i % 2 ? 'x' : 'g', bad[i], i == 9 ? 6 : strlen(bad[i]));
        add_file(tar, "x", "");
        assert_tar_fails(f, tar, "the tar has a damaged pax header");
    }
    add_text(tar, 'x', "mtime", "1.2.3");
    assert_tar_fails(f, tar, "the tar has a damaged pax header: 'mtime'");
    add_text(tar, 'x', "mtime", "soon");
    assert_tar_fails(f, tar, "the tar has a damaged pax header: 'mtime'");
    add_text(tar, 'x', "uid", "4294967296");
    assert_tar_fails(f, tar, "the tar has a damaged pax header: 'uid'");
    /* the last of a key counts; an empty one takes it back, a global one too */
    const char *twice = "10 path=a\n10 path=b\n";
    add_extra(tar, 'x', twice, strlen(twice));
    add_file(tar, "x", "");
    assert_list(f, tar, "/b");
    const char *back = "10 path=a\n8 path=\n";
    add_extra(tar, 'x', back, strlen(back));
    add_file(tar, "x", "");
    assert_list(f, tar, "/x");
    static const char *const own[] = {"path", "linkpath", "size", "SCHILY.xattr.user.x",
                                      "GNU.sparse.size"};
    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        g_autofree char *message =
            g_strdup_printf("the tar has a global header that sets '%s' of every entry", own[i]);
        add_text(tar, 'g', own[i], "1");
        assert_tar_fails(f, tar, message);
    }
    /* a header is for one entry; a header that no entry follows is for none */
    add_text(tar, 'x', "path", "first");
    add_file(tar, "x", "1");
    add_file(tar, "y", "2");
    add_text(tar, 'x', "path", "nothing");
    assert_list(f, tar, "/first=1 /y=2");
    add_header(tar, "x", 'x', "", 17 << 20);
    assert_tar_fails(f, tar, "the tar has a header of 17825792 bytes");
    /* however many headers it comes in */
    g_autofree char *piece = g_strnfill(6 << 20, 'x');
    for (int i = 0; i < 3; i++)
        add_text(tar, 'x', "path", piece);
    assert_tar_fails(f, tar, "the tar says more than 16777216 bytes about one entry");
}

static void test_tar_xattrs(Fixture *f, const void *data _unused)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    add_text(tar, 'x', "SCHILY.xattr.trusted.overlay.redirect", "/etc/shadow");
    add_file(tar, "x", "");
    assert_tar_fails(
        f, tar, "'x': it has the attribute 'trusted.overlay.redirect', which can't be imported");
    g_autofree char *value = g_strnfill(70000, 'v'), *name = g_strnfill(256, 'n');
    g_autofree char *key = g_strconcat("SCHILY.xattr.", name, NULL);
    add_text(tar, 'x', "SCHILY.xattr.user.x", value);
    add_file(tar, "x", "");
    assert_tar_fails(f, tar, "'x': its attributes are too large for an image");
    for (int i = 0; i < 9; i++) {
        g_autofree char *each = g_strdup_printf("SCHILY.xattr.user.%d", i);
        add_record(tar, 'x', each, value, 4000);
    }
    add_file(tar, "x", "");
    assert_tar_fails(f, tar, "'x': its attributes are too large for an image");
    add_text(tar, 'x', key, "v");
    add_file(tar, "x", "");
    assert_tar_fails(f, tar, "'x': its attributes are too large for an image");
    add_text(tar, 'x', "SCHILY.xattr.", "v");
    add_file(tar, "x", "");
    assert_tar_fails(f, tar, "'x': its attributes are too large for an image");
    add_record(tar, 'x', "SCHILY.xattr.user.x", "a\0b", 3);
    add_text(tar, 'x', "SCHILY.xattr.user.y", "1");
    add_text(tar, 'x', "SCHILY.xattr.user.y", "2");
    add_file(tar, "x", "");
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, NULL);
    g_autoptr(Tree) tree = read_tar(txn, tar, false, NULL, NULL);
    const TreeInode *inode = tree_lookup(tree, "x")->inode;
    g_assert_cmpmem(tree_xattr(inode, "user.x")->value, tree_xattr(inode, "user.x")->size, "a\0b",
                    3);
    g_assert_cmpmem(tree_xattr(inode, "user.y")->value, tree_xattr(inode, "user.y")->size, "2", 1);
}

/* --- sparse files --------------------------------------------------------------------------------------- */

/* A map as GNU has it in a header ('S' at 386) or a block of extension (at 0). */
static void put_map(uint8_t *at, const char *numbers)
{
    g_auto(GStrv) words = g_strsplit(numbers, " ", -1);
    for (int i = 0; words[i]; i++)
        g_snprintf((char *)at + i * 12, 12, "%011o",
                   (unsigned)g_ascii_strtoull(words[i], NULL, 10));
}

static void add_sparse(GByteArray *tar, const char *map, unsigned real_size, unsigned size)
{
    uint8_t *header = add_header(tar, "s", 'S', "", size);
    memcpy(header + 257, "ustar  ", 8);
    memset(header + 345, 0, 167);
    put_map(header + 386, map);
    g_snprintf((char *)header + 483, 12, "%011o", real_size);
    set_checksum(header);
}

static void test_tar_sparse(Fixture *f, const void *data _unused)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    add_sparse(tar, "4 3", 10, 3);
    add_bytes(tar, "abc", 3);
    assert_list(f, tar, "/s=\\x00\\x00\\x00\\x00abc\\x00\\x00\\x00");
    add_sparse(tar, "0 2 5 1", 6, 3);
    tar->data[482] = 1; /* a block of extension, and another */
    set_checksum(tar->data);
    uint8_t block[512] = "";
    put_map(block, "6 1");
    block[504] = 1;
    add_bytes(tar, block, sizeof block);
    memset(block, 0, sizeof block);
    put_map(block, "8 1");
    add_bytes(tar, block, sizeof block);
    g_snprintf((char *)tar->data + 483, 12, "%011o", 9);
    g_snprintf((char *)tar->data + 124, 12, "%011o", 5);
    set_checksum(tar->data);
    add_bytes(tar, "abcde", 5);
    add_file(tar, "after", "x");
    assert_list(f, tar, "/after=x /s=ab\\x00\\x00\\x00cd\\x00e");
    /* star: the map is elsewhere, its magic at the end says so */
    uint8_t *header = add_header(tar, "s", 'S', "", 1);
    memset(header + 345, 0, 167);
    put_map(header + 356, "2 1");
    g_snprintf((char *)header + 452, 12, "%011o", 4);
    memcpy(header + 508, "tar", 4);
    set_checksum(header);
    add_bytes(tar, "x", 1);
    assert_list(f, tar, "/s=\\x00\\x00x\\x00");
    /* pax, all versions */
    static const char *const records[][2] = {{"size", "4"},   {"numblocks", "2"},
                                             {"offset", "1"}, {"numbytes", "1"},
                                             {"offset", "3"}, {"numbytes", "1"}};
    for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
        g_autofree char *key = g_strconcat("GNU.sparse.", records[i][0], NULL);
        add_text(tar, 'x', key, records[i][1]);
    }
    add_file(tar, "s", "ab");
    assert_list(f, tar, "/s=\\x00a\\x00b");
    add_text(tar, 'x', "GNU.sparse.size", "4");
    add_text(tar, 'x', "GNU.sparse.numblocks", "2");
    add_text(tar, 'x', "GNU.sparse.name", "real");
    add_text(tar, 'x', "GNU.sparse.map", "1,1,3,1");
    add_file(tar, "GNUSparseFile.0/s", "ab");
    assert_list(f, tar, "/real=\\x00a\\x00b");
    char content[514] = "2\n1\n1\n3\n1\n";
    memcpy(content + 512, "ab", 2);
    add_text(tar, 'x', "GNU.sparse.major", "1");
    add_text(tar, 'x', "GNU.sparse.minor", "0");
    add_text(tar, 'x', "GNU.sparse.realsize", "4");
    add_header(tar, "s", '0', "", sizeof content);
    add_bytes(tar, content, sizeof content);
    add_file(tar, "after", "x");
    assert_list(f, tar, "/after=x /s=\\x00a\\x00b");
}

static void assert_sparse_fails(Fixture *f, const char *map, unsigned real_size, unsigned size)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    add_sparse(tar, map, real_size, size);
    add_bytes(tar, "0123456789", 10);
    assert_tar_fails(f, tar, "'s': the map of a sparse file is damaged");
}

static void test_tar_sparse_lies(Fixture *f, const void *data _unused)
{
    assert_sparse_fails(f, "4 3", 6, 3);      /* beyond the file */
    assert_sparse_fails(f, "4 3", 3, 3);      /* begins beyond it */
    assert_sparse_fails(f, "4 3 5 1", 10, 4); /* over one another */
    assert_sparse_fails(f, "6 1 2 1", 10, 2); /* not in order */
    assert_sparse_fails(f, "0 3", 10, 4);     /* more in the archive */
    assert_sparse_fails(f, "0 4", 10, 3);     /* less */
    assert_sparse_fails(f, "", 10, 3);        /* none at all */
    g_autoptr(GByteArray) tar = g_byte_array_new();
    add_sparse(tar, "0 1", 1, 1);
    tar->data[482] = 1;
    set_checksum(tar->data);
    assert_tar_fails(f, tar, "'s': the tar ends too early");
    static const struct {
        const char *key, *value, *message;
    } records[] = {
        {"GNU.sparse.numblocks", "2", "'s': the map of a sparse file is damaged"},
        {"GNU.sparse.map", "1,1,3", "the tar has a damaged pax header: 'GNU.sparse.map'"},
        {"GNU.sparse.map", "1,,3,1", "the tar has a damaged pax header: 'GNU.sparse.map'"},
        {"GNU.sparse.map", "-1,1", "the tar has a damaged pax header: 'GNU.sparse.map'"},
        {"GNU.sparse.numbytes", "1", "the tar has a damaged pax header: 'GNU.sparse.numbytes'"},
        {"GNU.sparse.offset", "1", "'s': the map of a sparse file is damaged"},
        {"GNU.sparse.major", "2", "'s': it is a sparse file of an unknown kind"},
        {"GNU.sparse.major", "1", "'s': the map of a sparse file is damaged"},
        {"GNU.sparse.size", "68719476739",
         "'s': its holes are larger than what one archive may "
         "claim (64 GiB in all)"},
        {"GNU.sparse.realsize", "9223372036854775808",
         "the tar has a damaged pax header: 'GNU.sparse.realsize'"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
        add_text(tar, 'x', "GNU.sparse.size", "4");
        add_text(tar, 'x', "GNU.sparse.map", "0,2");
        add_text(tar, 'x', records[i].key, records[i].value);
        add_file(tar, "s", "ab");
        assert_tar_fails(f, tar, records[i].message);
    }
    add_text(tar, 'x', "GNU.sparse.map", "0,2");
    add_file(tar, "s", "ab");
    assert_tar_fails(f, tar, "'s': the map of a sparse file is damaged");
    add_text(tar, 'x', "GNU.sparse.size", "4");
    add_header(tar, "s", '5', "", 0);
    assert_tar_fails(f, tar, "'s': it is a sparse file of an unknown kind");
    static const char *const maps[] = {"",
                                       "x\n",
                                       "1\n0\n",
                                       "9999999\n0\n1\n",
                                       "1\n0\n\n",
                                       "1\n-0\n2\n",
                                       "1\n0\n99999999999999999999\n"};
    for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
        add_text(tar, 'x', "GNU.sparse.major", "1");
        add_text(tar, 'x', "GNU.sparse.realsize", "4");
        add_header(tar, "s", '0', "", 512);
        add_bytes(tar, maps[i], strlen(maps[i]) + 1);
        g_byte_array_set_size(tar, 5 * 512 + 512);
        assert_tar_fails(f, tar, "'s': the map of a sparse file is damaged");
    }
}

/* --- size ----------------------------------------------------------------------------------------------- */

/* Entries that are made as they are read. */
typedef struct {
    unsigned n, at;
    GByteArray *entry;
    size_t used;
} Endless;

static ssize_t read_endless(void *data, void *buffer, size_t size, GError **error _unused)
{
    Endless *endless = data;
    if (endless->used == endless->entry->len) {
        char name[32];
        if (endless->at == endless->n)
            return 0;
        g_snprintf(name, sizeof name, "%03u/%u", endless->at % 997, endless->at);
        g_byte_array_set_size(endless->entry, 0);
        add_header(endless->entry, name, '0', "", 0);
        endless->at++;
        endless->used = 0;
    }
    size = MIN(size, endless->entry->len - endless->used);
    memcpy(buffer, endless->entry->data + endless->used, size);
    endless->used += size;
    return (ssize_t)size;
}

/* a million entries; their stream is one chunk of half a gigabyte, which is not held in memory */
static void test_tar_million(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, NULL);
    g_autoptr(GByteArray) entry = g_byte_array_new();
    Endless endless = {.n = 1000000, .entry = entry};
    StoreStreamWriter *writer = store_stream_writer_new(txn, 0, &error);
    g_autoptr(Tree) tree = store_import_tar(txn, read_endless, &endless, false, writer, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(tree_n_children(tree_root(tree)), ==, 997);
    g_assert_nonnull(tree_lookup(tree, "996/996"));
    Digest object;
    g_assert_true(store_stream_finish(writer, &object, &error));
    g_assert_true(store_txn_flush(txn, &error));
    g_autoptr(StoreStream) stream = store_stream_open(f->store, &object, &error);
    g_assert_cmpuint(store_stream_size(stream), ==, (uint64_t)512 * endless.n);
    uint64_t total = 0;
    const uint8_t *bytes;
    size_t size;
    const Digest *piece;
    do {
        g_assert_true(store_stream_next(stream, &bytes, &size, &piece, &error));
        total += size;
    } while (bytes);
    g_assert_cmpuint(total, ==, store_stream_size(stream));
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
    TEST("tar-escape", test_tar_escape);
    TEST("tar-hard-links", test_tar_hard_links);
    TEST("tar-names", test_tar_names);
    TEST("tar-repeated", test_tar_repeated);
    TEST("tar-sizes", test_tar_sizes);
    TEST("tar-pax", test_tar_pax);
    TEST("tar-xattrs", test_tar_xattrs);
    TEST("tar-sparse", test_tar_sparse);
    TEST("tar-sparse-lies", test_tar_sparse_lies);
    TEST("tar-million", test_tar_million);
    TEST("tar-mutations", test_tar_mutations);
    TEST("tar-whiteouts", test_tar_whiteouts);
    return g_test_run();
}
