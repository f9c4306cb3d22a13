/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store-fixture.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <signal.h>
#include <unistd.h>

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

/* A full batch goes into objects/ by itself, at the latest when the next one is full. */
static void test_batch(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    g_assert_no_error(error);
    Digest first = put(txn, 0, 100);
    for (unsigned i = 1; i < 511; i++)
        put(txn, i, 100 + i);
    g_assert_false(store_has(f->store, &first));
    Digest last = {0};
    for (unsigned i = 511; i < 1023; i++)
        last = put(txn, i, 100 + i);
    g_assert_false(store_has(f->store, &last));
    put(txn, 1023, 1123);
    g_assert_true(store_has(f->store, &first));
    store_txn_free(g_steal_pointer(&txn)); /* what was underway arrives, and nothing is left */
    g_assert_true(store_has(f->store, &last));
    g_assert_cmpuint(count_staging(f), ==, 0);
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
    g_assert_true(check(f, problems, &checked, &error));
    g_assert_cmpuint(checked.objects, ==, 700);
    g_assert_cmpuint(checked.problems, ==, 0);
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
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    g_assert_cmpuint(count_staging(f), ==, 1);
    age_journal(f, 23);
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    g_assert_cmpuint(count_staging(f), ==, 1);
    age_journal(f, 25);
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(count_staging(f), ==, 0);
}

/* The names of the power before: taken over by who has the same key, after a look at every byte. */
static void test_takeover_of_boot(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    die_while_writing(f);
    g_autofree char *inside = staging_path(f, "journal");
    g_autofree char *ours = g_path_get_dirname(inside), *parent = g_path_get_dirname(ours);
    g_autofree char *theirs =
        g_strdup_printf("%s/00000000-0000-4000-8000-000000000000-pull%%2Fone", parent);
    g_assert_cmpint(rename(ours, theirs), ==, 0);
    StoreGcResult result;
    g_assert_true(store_gc(f->store, NULL, &result, &error)); /* stays for a day */
    g_assert_no_error(error);
    g_assert_cmpuint(count_staging(f), ==, 1);

    g_autoptr(StoreTxn) other = store_txn_begin(f->store, "pull/two", &error); /* another key */
    g_assert_no_error(error);
    g_assert_cmpuint(count_staging(f), ==, 2);
    store_txn_free(g_steal_pointer(&other));

    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, "pull/one", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(count_staging(f), ==, 1);
    g_autoptr(GBytes) one = make_bytes(1, 500), two = make_bytes(2, 500);
    Digest first, second;
    hash_verity(g_bytes_get_data(one, NULL), 500, &first);
    hash_verity(g_bytes_get_data(two, NULL), 500, &second);
    g_assert_true(store_txn_has(txn, &first));
    g_assert_false(store_txn_has(txn, &second)); /* it was not whole */
    _autofd int journal = store_txn_journal(txn, &error);
    g_autofree char *text = file_read_fd(journal, 100, NULL, NULL);
    g_assert_cmpstr(text, ==, "a line\n");
    store_txn_free(g_steal_pointer(&txn));

    g_assert_cmpint(rename(ours, theirs), ==, 0);
    age_journal(f, 25);
    txn = store_txn_begin(f->store, "pull/one", &error); /* too old: begun afresh */
    g_assert_no_error(error);
    g_assert_cmpuint(count_staging(f), ==, 2);
    store_txn_free(g_steal_pointer(&txn));
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    g_assert_cmpuint(count_staging(f), ==, 0);
}

/* Bytes that are found, put by another writer or by this one: present at once, and once. */
static void test_found(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) one = store_txn_begin(f->store, NULL, &error);
    g_autoptr(StoreTxn) two = store_txn_begin(f->store, NULL, &error);
    Digest same = put(one, 1, 500);
    g_assert_false(store_txn_has(two, &same));
    put(two, 1, 500); /* staged by both */
    g_assert_true(store_txn_flush(one, &error));
    g_assert_true(store_txn_flush(two, &error));
    g_assert_no_error(error);
    g_assert_true(store_txn_has(two, &same));
    g_assert_true(store_has(f->store, &same));
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

/* a hole costs neither time nor space, and is measured as the zeros it reads as */
static void test_holes(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    StoreWriter *writer = store_writer_new(txn, &error);
    Digest object, same;
    g_assert_true(store_writer_append_hole(writer, 3 << 20, &error));
    g_assert_true(store_writer_append(writer, "data", 4, &error));
    g_assert_true(store_writer_append_hole(writer, (uint64_t)64 << 30, &error));
    g_assert_true(store_writer_finish(writer, &object, &error));
    g_assert_true(store_txn_done(txn, &error));
    StoreFsckResult result;
    g_assert_true(store_fsck(f->store, NULL, &result, &error));
    g_assert_cmpuint(result.problems, ==, 0);
    g_assert_cmpuint(result.bytes, ==, (3 << 20) + 4 + ((uint64_t)64 << 30));
    _autofd int fd = store_open_object(f->store, &object, &error);
    struct stat st;
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_assert_cmpuint((uint64_t)st.st_blocks * 512, <, 1 << 20);

    size_t small = (3 << 20) + 4 + 70000;
    g_autofree char *whole = g_malloc0(small);
    memcpy(whole + (3 << 20), "data", 4);
    g_autoptr(StoreTxn) other = store_txn_begin(f->store, NULL, &error);
    writer = store_writer_new(other, &error);
    g_assert_true(store_writer_append_hole(writer, 3 << 20, &error));
    g_assert_true(store_writer_append(writer, "data", 4, &error));
    g_assert_true(store_writer_append_hole(writer, 70000, &error));
    g_assert_true(store_writer_finish(writer, &object, &error));
    g_assert_true(store_txn_put(other, whole, small, &same, &error));
    g_assert_true(digest_equal(&object, &same));
    g_assert_true(store_txn_flush(other, &error));
    g_autoptr(GBytes) read = store_read_object(f->store, &object, small, &error);
    g_assert_cmpmem(g_bytes_get_data(read, NULL), g_bytes_get_size(read), whole, small);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("open", test_open);
    TEST("batch", test_batch);
    TEST("objects", test_objects);
    TEST("writer", test_writer);
    TEST("names", test_names);
    TEST("import-dir", test_import_dir);
    TEST("import-many", test_import_many);
    TEST("import-fails", test_import_fails);
    TEST("import-upper", test_import_upper);
    TEST("concurrent", test_concurrent);
    TEST("failed-flush", test_failed_flush);
    TEST("holder", test_holder);
    TEST("takeover", test_takeover);
    TEST("takeover-of-boot", test_takeover_of_boot);
    TEST("found", test_found);
    TEST("holes", test_holes);
    return g_test_run();
}
