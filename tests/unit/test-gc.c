/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store-fixture.h"

#include <stdio.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

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
    g_assert_true(store_gc(f->store, NULL, &result, &error)); /* the writer lives: all is needed */
    g_assert_no_error(error);
    g_assert_cmpuint(result.objects, ==, 0);
    store_txn_free(g_steal_pointer(&txn));
    g_assert_true(store_gc(f->store, &(StoreGcOptions){.dry_run = true}, &result, &error));
    g_assert_cmpuint(result.objects, ==, 2);
    g_assert_true(store_has(f->store, &dropped)); /* dry */
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    g_assert_cmpuint(result.objects, ==, 2);
    g_assert_cmpuint(result.kept_objects, ==, 5);
    g_assert_false(store_has(f->store, &dropped));
    g_assert_false(store_has(f->store, &old));
    g_assert_false(store_resolve_image(f->store, digest_hex(&old).text, &old, NULL));
    g_assert_true(store_has(f->store, &in_layer) && store_has(f->store, &in_image));

    StoreFsckResult checked;
    g_autoptr(GString) problems = g_string_new(NULL);
    g_assert_true(check(f, problems, &checked, &error));
    g_assert_cmpstr(problems->str, ==, "");
    g_assert_cmpuint(checked.objects, ==, 5);
    g_assert_true(store_remove_ref(f->store, STORE_STREAMS, "r", &error));
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    g_assert_cmpuint(result.objects, ==, 3);
    g_assert_false(store_find_stream(f->store, "layer", &layer, NULL));
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
        g_assert_true(store_gc(f->store, NULL, &result, &error));
        g_assert_no_error(error);
    }
    g_thread_join(g_steal_pointer(&writer));
    StoreFsckResult checked;
    g_autoptr(GString) problems = g_string_new(NULL);
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    g_assert_true(check(f, problems, &checked, &error));
    g_assert_cmpstr(problems->str, ==, "");
    g_assert_cmpuint(checked.objects, ==, 21);
    g_assert_cmpuint(checked.images, ==, 1);
}

/* What an interrupted writer made durable is there when it goes on, whatever was collected in between; what it leaves
 * counts for a day, also after a boot. */
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
    g_assert_true(store_gc(f->store, NULL, &result, &error));
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
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    g_assert_true(store_has(f->store, &first) && store_has(f->store, &second));
    store_txn_free(g_steal_pointer(&txn));

    g_autofree char *dir = g_path_get_dirname(roots), *parent = g_path_get_dirname(dir);
    g_autofree char *other =
        g_strdup_printf("%s/00000000-0000-4000-8000-000000000000-pull%%2Fone", parent);
    g_assert_cmpint(rename(dir, other), ==, 0);
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(result.objects, ==, 0);
    g_autofree char *old = g_build_filename(other, "journal", NULL);
    const struct timespec then = {.tv_sec = time(NULL) - 25 * 3600};
    g_assert_cmpint(utimensat(AT_FDCWD, old, (struct timespec[]){then, then}, 0), ==, 0);
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(result.objects, ==, 2);
    g_assert_cmpuint(count_staging(f), ==, 0);
}

/* --- slices ----------------------------------------------------------------------------------------------- */

enum { MANY = 900 };

/* An image of MANY objects that no ref names. */
static Digest commit_many(Store *store, const char *ref)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(store, NULL, &error);
    g_autoptr(Tree) tree = tree_new();
    for (unsigned i = 0; i < MANY; i++) {
        char name[16];
        g_snprintf(name, sizeof name, "f%u", i);
        size_t size = 200 + i / 256; /* the bytes repeat after 256 */
        Digest object = put(txn, i, size);
        TreeNode *node = tree_add(tree, tree_root(tree), name, S_IFREG | 0644, NULL);
        tree_set_object(tree, node->inode, &object, size);
    }
    Digest image;
    g_assert_true(store_commit_image(txn, tree, &image, &error));
    if (ref)
        g_assert_true(store_set_ref(store, STORE_IMAGES, ref, digest_hex(&image).text, &error));
    g_assert_no_error(error);
    return image;
}

static void assert_clean(Fixture *f, unsigned objects)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) problems = g_string_new(NULL);
    StoreFsckResult checked;
    g_assert_true(check(f, problems, &checked, &error));
    g_assert_cmpstr(problems->str, ==, "");
    g_assert_cmpuint(checked.objects, ==, objects);
}

/* In line for the store's lock, shared: whoever holds it exclusively can't have it again before this one. */
static int queue_for_lock(Fixture *f)
{
    g_autofree char *path = g_build_filename(f->path, "lock", NULL);
    _autofd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    g_assert_cmpint(flock(fd, LOCK_SH), ==, 0);
    return fd_steal(&fd);
}

typedef struct {
    Fixture *f;
    const char *ref;
    GThread *thread;
    unsigned removed;
} Intruder;

static void *commit_in_the_gap(void *data)
{
    Intruder *intruder = data;
    _autofd int lock = queue_for_lock(intruder->f);
    g_autoptr(Store) store = store_open(intruder->f->path, NULL);
    commit_many(store, intruder->ref);
    return NULL;
}

/* The slice under way ends here, for its time is up; the thread is in line by then. */
static void let_intruder_in(const char *path, uint64_t bytes _unused, void *data)
{
    Intruder *intruder = data;
    if (!g_str_has_prefix(path, "objects/"))
        return;
    intruder->removed++;
    if (intruder->thread)
        return;
    intruder->thread = g_thread_new("intruder", commit_in_the_gap, intruder);
    g_usleep(200 * 1000);
}

/* What a batch found present in the middle of a collection stays. */
static void test_batch_between_slices(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    commit_many(f->store, NULL);
    Intruder intruder = {.f = f, .ref = "again"};
    const StoreGcOptions options = {.removed = let_intruder_in, .data = &intruder};
    StoreGcResult result;
    g_assert_true(store_gc(f->store, &options, &result, &error));
    g_assert_no_error(error);
    g_assert_nonnull(intruder.thread);
    g_thread_join(intruder.thread);
    g_assert_cmpuint(result.objects, ==, intruder.removed);
    g_assert_cmpuint(result.objects, <, MANY);
    assert_clean(f, MANY + 1);
}

/* Without a name it is garbage again, but its link must not stay without its object. */
static void test_nameless_between_slices(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    Digest image = commit_many(f->store, NULL);
    Intruder intruder = {.f = f};
    const StoreGcOptions options = {.removed = let_intruder_in, .data = &intruder};
    StoreGcResult result;
    g_assert_true(store_gc(f->store, &options, &result, &error));
    g_assert_no_error(error);
    g_thread_join(intruder.thread);
    StoreFsckResult checked;
    g_autoptr(GString) problems = g_string_new(NULL);
    g_assert_true(check(f, problems, &checked, &error));
    g_assert_cmpstr(problems->str, ==, "");

    /* nor is a name taken for something that is not there */
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    assert_clean(f, 0);
    image = commit_many(f->store, NULL);
    g_autofree char *path = g_strdup_printf("store/objects/%.2s/%s", digest_hex(&image).text,
                                            digest_hex(&image).text + 2);
    g_assert_cmpint(unlinkat(f->top_fd, path, 0), ==, 0);
    g_assert_false(store_set_ref(f->store, STORE_IMAGES, "r", digest_hex(&image).text, &error));
    g_assert_true(error_is(error, ERROR_NOT_FOUND));
}

static void *collect_garbage(void *data)
{
    Fixture *f = data;
    g_autoptr(Store) store = store_open(f->path, NULL);
    g_autoptr(GError) error = NULL;
    StoreGcResult result;
    g_assert_true(store_gc(store, NULL, &result, &error));
    g_assert_no_error(error);
    return NULL;
}

/* The collection has found its candidates and waits for the lock. */
static void test_ref_before_sweep(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    Digest image = commit_many(f->store, NULL);
    int lock = queue_for_lock(f);
    g_autoptr(GThread) gc = g_thread_new("gc", collect_garbage, f);
    g_usleep(300 * 1000);
    g_assert_true(store_set_ref(f->store, STORE_IMAGES, "late", digest_hex(&image).text, &error));
    g_assert_no_error(error);
    close(lock);
    g_thread_join(g_steal_pointer(&gc));
    assert_clean(f, MANY + 1);
    g_assert_true(store_remove_ref(f->store, STORE_IMAGES, "late", &error));
    g_free(collect_garbage(f));
    assert_clean(f, 0);
    g_assert_false(
        store_set_ref(f->store, STORE_IMAGES, "too-late", digest_hex(&image).text, &error));
    g_assert_true(error_is(error, ERROR_NOT_FOUND));
}

/* A stream's own link is gone, as in the middle of a collection, when the stream that needs it gets a name again. */
static void test_unlinked_reference(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    Digest in_layer = put(txn, 1, 1000), layer, config;
    StoreStreamWriter *writer = store_stream_writer_new(txn, 1, NULL);
    store_stream_write_object(writer, &in_layer, 1000, NULL);
    g_assert_true(store_stream_finish(writer, &layer, &error));
    writer = store_stream_writer_new(txn, 2, NULL);
    store_stream_add_ref(writer, "layer", &layer);
    g_assert_true(store_stream_finish(writer, &config, &error));
    g_assert_true(store_txn_flush(txn, &error));
    g_assert_true(store_link_stream(f->store, "config", &config, &error));
    g_assert_true(store_set_ref(f->store, STORE_STREAMS, "r", "config", &error));
    store_txn_free(g_steal_pointer(&txn));
    StoreGcResult result;
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(result.objects, ==, 0);
    assert_clean(f, 3);
}

/* --- what stays, what is left over ------------------------------------------------------------------------ */

static void test_keep_younger(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    StoreTxn *txn = store_txn_begin(f->store, NULL, &error);
    Digest old = put(txn, 1, 500), in_image = put(txn, 2, 500), image;
    store_txn_free((store_txn_flush(txn, NULL), txn));
    g_usleep(2500 * 1000);
    txn = store_txn_begin(f->store, NULL, &error);
    g_autoptr(Tree) tree = tree_new();
    TreeNode *node = tree_add(tree, tree_root(tree), "f", S_IFREG | 0644, NULL);
    tree_set_object(tree, node->inode, &in_image, 500);
    Digest young = put(txn, 3, 500);
    g_assert_true(store_commit_image(txn, tree, &image, &error));
    store_txn_free(txn);

    g_autofree char *path = g_strdup_printf("store/objects/%.2s/%s", digest_hex(&young).text,
                                            digest_hex(&young).text + 2);
    struct stat st;
    g_assert_cmpint(fstatat(f->top_fd, path, &st, 0), ==, 0);
    StoreGcOptions options = {.keep_younger = (uint64_t)(time(NULL) - st.st_ctime + 1)};
    StoreGcResult result;
    g_assert_true(store_gc(f->store, &options, &result, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(result.objects, ==, 1);
    g_assert_false(store_has(f->store, &old));
    assert_clean(f, 3); /* with what the young image needs */
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    g_assert_cmpuint(result.objects, ==, 3);
}

static void make_file(Fixture *f, const char *path)
{
    g_autofree char *full = g_build_filename("store", path, NULL);
    g_autofree char *dir = g_path_get_dirname(full);
    g_assert_true(file_ensure_dir_at(f->top_fd, dir, 0755, NULL));
    g_assert_true(file_replace_at(f->top_fd, full, "x", 1, 0644, 0, NULL));
}

static void test_leftovers(Fixture *f, const void *data _unused)
{
    static const char *const leftovers[] = {
        "objects/.tmp-object-abcdefghijkl",
        "objects/ab/.tmp-0123456789abcdef",
        "images/.tmp-0123456789abcdef",
        "streams/refs/oci/.tmp-0123456789abcdef",
        ".symlink-abcdefghijkl",
    };
    g_autoptr(GError) error = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(leftovers); i++)
        make_file(f, leftovers[i]);
    make_file(f, "objects/ab/somebody's");
    Digest image = commit_files(f);
    g_assert_true(store_set_ref(f->store, STORE_IMAGES, "a/b", digest_hex(&image).text, &error));
    g_assert_true(file_ensure_dir_at(f->top_fd, "store/images/refs/a/c/d", 0755, NULL));
    StoreGcResult result;
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(result.leftovers, ==,
                     ARRAY_SIZE(leftovers) + 2 + 1); /* c, d; oci, empty now */
    g_assert_cmpuint(result.objects, ==, 0);
    for (size_t i = 0; i < ARRAY_SIZE(leftovers); i++) {
        g_autofree char *full = g_build_filename("store", leftovers[i], NULL);
        g_assert_cmpint(faccessat(f->top_fd, full, F_OK, AT_SYMLINK_NOFOLLOW), <, 0);
    }
    g_assert_cmpint(faccessat(f->top_fd, "store/objects/ab/somebody's", F_OK, 0), ==, 0);
    g_assert_cmpint(faccessat(f->top_fd, "store/images/refs/a/c", F_OK, 0), <, 0);
    g_assert_true(store_resolve_image(f->store, "a/b", &image, &error));
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    g_assert_cmpuint(result.leftovers, ==, 0);
}

/* --- why -------------------------------------------------------------------------------------------------- */

static void take_reason(const StoreReason *reason, void *data)
{
    g_autofree char *chain = g_strjoinv(" ", (char **)reason->links);
    g_autofree char *paths = g_strjoinv(" ", (char **)reason->paths);
    const char *staging = strstr(chain, "staging/");
    if (staging) /* the rest has the boot and the process in it */
        chain[staging - chain + strlen("staging/")] = '\0';
    g_string_append_printf(data, "%d %s <%s>\n", reason->kind, chain, paths);
}

static void assert_why(Fixture *f, const Digest *object, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) reasons = g_string_new(NULL);
    Digest found;
    g_assert_true(
        store_why(f->store, digest_hex(object).text, 0, take_reason, reasons, &found, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(reasons->str, ==, expected);
}

static void test_why(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    Digest object = put(txn, 1, 1000), layer, config, found;
    assert_why(f, &object, "1 staging/ <>\n"); /* staged */
    StoreStreamWriter *writer = store_stream_writer_new(txn, 1, NULL);
    store_stream_write_object(writer, &object, 1000, NULL);
    g_assert_true(store_stream_finish(writer, &layer, &error));
    writer = store_stream_writer_new(txn, 2, NULL);
    store_stream_add_ref(writer, "layer", &layer);
    g_assert_true(store_stream_finish(writer, &config, &error));
    g_assert_true(store_txn_flush(txn, &error));
    assert_why(f, &object, "1 staging/ <>\n"); /* counted on */
    store_txn_free(g_steal_pointer(&txn));
    assert_why(f, &object, "");
    g_assert_true(store_link_stream(f->store, "layer", &layer, &error));
    assert_why(f, &object, "3 streams/layer <>\n");
    g_assert_true(store_link_stream(f->store, "config", &config, &error));
    assert_why(f, &object, "3 streams/config streams/layer <>\n");
    g_assert_true(store_set_ref(f->store, STORE_STREAMS, "b", "config", &error));
    g_assert_true(store_set_ref(f->store, STORE_STREAMS, "a", "config", &error));
    assert_why(f, &object,
               "0 streams/refs/a streams/config streams/layer <>\n"
               "0 streams/refs/b streams/config streams/layer <>\n");
    assert_why(f, &config,
               "0 streams/refs/a streams/config <>\n0 streams/refs/b streams/config <>\n");
    g_assert_false(store_why(f->store, "abc", 0, take_reason, NULL, &found, &error));
    g_assert_true(error_is(error, ERROR_INVALID));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("gc", test_gc);
    TEST("gc-while-writing", test_gc_while_writing);
    TEST("gc-between", test_gc_between);
    TEST("batch-between-slices", test_batch_between_slices);
    TEST("nameless-between-slices", test_nameless_between_slices);
    TEST("ref-before-sweep", test_ref_before_sweep);
    TEST("unlinked-reference", test_unlinked_reference);
    TEST("keep-younger", test_keep_younger);
    TEST("leftovers", test_leftovers);
    TEST("why", test_why);
    return g_test_run();
}
