/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store-fixture.h"

#include <stdio.h>
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
    g_assert_true(check(f, problems, &checked, &error));
    g_assert_cmpuint(checked.problems, ==, 1);
    g_assert_nonnull(strstr(problems->str, "is damaged: its bytes measure"));
    g_assert_cmpint(unlinkat(f->top_fd, path, 0), ==, 0);
    g_string_truncate(problems, 0);
    g_assert_true(check(f, problems, &checked, &error));
    g_assert_nonnull(strstr(problems->str, "of '/usr/bin/prog' is missing"));
    StoreUsage usage;
    g_assert_true(store_usage(f->store, &usage, &error));
    g_assert_cmpuint(usage.objects, ==, 1);
    g_assert_cmpuint(usage.metadata_bytes, ==, usage.object_bytes);
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
    g_assert_cmpuint(result.objects, ==, 2);
    g_assert_cmpuint(count_staging(f), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("gc", test_gc);
    TEST("fsck", test_fsck);
    TEST("gc-while-writing", test_gc_while_writing);
    TEST("gc-between", test_gc_between);
    return g_test_run();
}
