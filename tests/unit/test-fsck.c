/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store-fixture.h"

#include <stdio.h>
#include <unistd.h>

typedef struct {
    GString *lines;   /* "kind object-or-path needed-by…" */
    const char *file; /* the bytes that the repair function puts */
    size_t size;
    unsigned asked;
} Report;

static void take(const StoreProblem *problem, void *data)
{
    Report *report = data;
    g_test_message("%s", problem->message);
    g_string_append_printf(report->lines, "%s %s", store_problem_kind_name(problem->kind),
                           problem->path ? problem->path : digest_hex(problem->object).text);
    for (const char *const *by = problem->needed_by; by && *by; by++)
        g_string_append_printf(report->lines, " <%s>", *by);
    g_string_append_c(report->lines, '\n');
}

static StoreFsckResult run(Fixture *f, Report *report, StoreRepairFunc repair)
{
    g_autoptr(GError) error = NULL;
    StoreFsckResult result;
    const StoreFsckOptions options = {
        .threads = 3, .report = take, .repair = repair, .data = report};
    if (!report->lines)
        report->lines = g_string_new(NULL);
    g_string_truncate(report->lines, 0);
    g_assert_true(store_fsck(f->store, &options, &result, &error));
    g_assert_no_error(error);
    return result;
}

static void report_clear(Report *report)
{
    g_string_free(report->lines, true);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Report, report_clear)

static char *object_path(const Digest *object)
{
    return g_strdup_printf("store/objects/%.2s/%s", digest_hex(object).text,
                           digest_hex(object).text + 2);
}

/* Replaces the object's bytes. */
static void damage(Fixture *f, const Digest *object, const char *bytes)
{
    g_autofree char *path = object_path(object);
    g_assert_cmpint(unlinkat(f->top_fd, path, 0), ==, 0);
    if (bytes)
        g_assert_true(file_replace_at(f->top_fd, path, bytes, strlen(bytes), 0644, 0, NULL));
}

/* An image of one file of 500 bytes, named "named"; returns the file's object. */
static Digest commit_one(Fixture *f, unsigned seed, Digest *out_image)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    g_autoptr(Tree) tree = tree_new();
    Digest object = put(txn, seed, 500);
    TreeNode *node = tree_add(tree, tree_root(tree), "file", S_IFREG | 0644, NULL);
    tree_set_object(tree, node->inode, &object, 500);
    g_assert_true(store_commit_image(txn, tree, out_image, &error));
    g_assert_true(
        store_set_ref(f->store, STORE_IMAGES, "named", digest_hex(out_image).text, &error));
    return object;
}

static void test_damage(Fixture *f, const void *data _unused)
{
    g_auto(Report) report = {0};
    Digest image, object = commit_one(f, 1, &image);
    damage(f, &object, "something else");
    StoreFsckResult result = run(f, &report, NULL);
    g_autofree char *damaged =
        g_strdup_printf("damaged objects/%.2s/%s <images/refs/named: /file>\n",
                        digest_hex(&object).text, digest_hex(&object).text + 2);
    g_assert_cmpstr(report.lines->str, ==, damaged);
    g_assert_cmpuint(result.problems, ==, 1);
    g_assert_cmpuint(result.objects, ==, 2);
    damage(f, &object, NULL);
    result = run(f, &report, NULL);
    g_autofree char *missing =
        g_strdup_printf("missing %s <images/refs/named: /file>\n", digest_hex(&object).text);
    g_assert_cmpstr(report.lines->str, ==, missing);
    g_assert_true(store_remove_ref(f->store, STORE_IMAGES, "named", NULL));
    run(f, &report, NULL);
    g_autofree char *unnamed = g_strdup_printf("missing %s <images/%s: /file>\n",
                                               digest_hex(&object).text, digest_hex(&image).text);
    g_assert_cmpstr(report.lines->str, ==, unnamed);
    StoreUsage usage;
    g_assert_true(store_usage(f->store, &usage, NULL));
    g_assert_cmpuint(usage.objects, ==, 1);
    g_assert_cmpuint(usage.metadata_bytes, ==, usage.object_bytes);
}

static void make_link(Fixture *f, const char *target, const char *path)
{
    g_autofree char *full = g_build_filename("store", path, NULL);
    g_assert_cmpint(symlinkat(target, f->top_fd, full), ==, 0);
}

/* Everything else that can be wrong, each by its kind, in the order of the kinds. */
static void test_kinds(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_auto(Report) report = {0};
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    Digest text = put(txn, 1, 500), typed;
    StoreStreamWriter *writer = store_stream_writer_new(txn, 1, NULL);
    g_assert_true(store_stream_finish(writer, &typed, &error));
    g_assert_true(store_txn_flush(txn, &error));
    g_assert_true(store_link_image(f->store, &text, &error));
    g_assert_true(store_link_stream(f->store, "text", &text, &error));
    g_assert_true(store_link_stream(f->store, "oci-layer-sha256:00", &typed, &error));
    store_txn_free(g_steal_pointer(&txn));
    make_link(f, "/etc/passwd", "streams/outside");
    make_link(f, "../oci-layer-sha256:01", "streams/refs/nowhere");
    g_assert_true(file_replace_at(f->top_fd, "store/objects/ab", "x", 1, 0644, 0, NULL));
    g_assert_true(file_replace_at(f->top_fd, "store/images/.tmp-1", "x", 1, 0644, 0, NULL));
    StoreFsckResult result = run(f, &report, NULL);
    g_autofree char *expected = g_strdup_printf("bad-image images/%s\n"
                                                "bad-stream streams/text\n"
                                                "wrong-type streams/oci-layer-sha256:00\n"
                                                "dangling-link streams/outside\n"
                                                "dangling-ref streams/refs/nowhere\n"
                                                "unknown objects/ab\n"
                                                "leftover images/.tmp-1\n",
                                                digest_hex(&text).text);
    g_assert_cmpstr(report.lines->str, ==, expected);
    g_assert_cmpuint(result.problems, ==, 6);
    g_assert_cmpuint(result.leftovers, ==, 1);
    g_assert_cmpuint(result.streams, ==, 3);
}

/* --- repair ----------------------------------------------------------------------------------------------- */

static bool put_bytes(StoreTxn *txn, const Digest *object _unused, void *data, GError **error)
{
    Report *report = data;
    Digest put;
    report->asked++;
    if (!report->file)
        return error_throw(error, ERROR_NOT_FOUND, "nobody has it");
    return store_txn_put(txn, report->file, report->size, &put, error);
}

static void test_repair(Fixture *f, const void *data _unused)
{
    g_auto(Report) report = {0};
    Digest image, object = commit_one(f, 1, &image);
    g_autoptr(GBytes) bytes = make_bytes(1, 500);
    damage(f, &object, "something else");

    StoreFsckResult result =
        run(f, &report, put_bytes); /* nobody has it: not used again all the same */
    g_assert_cmpuint(result.repaired, ==, 0);
    g_assert_cmpuint(result.problems, ==, 1);
    g_assert_cmpuint(result.leftovers, ==, 1);
    g_assert_true(g_str_has_prefix(report.lines->str, "missing "));
    g_assert_false(store_has(f->store, &object));

    report.file = "wrong bytes that are no object's";
    report.size = strlen(report.file);
    result = run(f, &report, put_bytes);
    g_assert_cmpuint(result.repaired, ==, 0);
    g_assert_cmpuint(result.problems, ==, 1);

    report.file = g_bytes_get_data(bytes, &report.size);
    result = run(f, &report, put_bytes);
    g_assert_cmpuint(result.repaired, ==, 1);
    g_assert_cmpuint(result.problems, ==, 0);
    StoreGcResult collected;
    g_assert_true(store_gc(f->store, NULL, &collected, NULL));
    g_assert_cmpuint(collected.leftovers, ==, 1); /* what was moved aside */
    result = run(f, &report, NULL);
    g_assert_cmpstr(report.lines->str, ==, "");
}

/* An image that comes back needs what nobody had known of: it goes on until nothing more comes back. */
static void test_repair_image(Fixture *f, const void *data _unused)
{
    g_auto(Report) report = {0};
    Digest image, object = commit_one(f, 1, &image);
    g_autoptr(GBytes) whole = store_read_object(f->store, &image, 1 << 20, NULL);
    damage(f, &object, NULL);
    damage(f, &image, "no image");
    report.file = g_bytes_get_data(whole, &report.size);
    StoreFsckResult result = run(f, &report, put_bytes);
    g_assert_cmpuint(result.repaired, ==, 1);
    g_assert_cmpuint(report.asked, ==, 2); /* the file's object too */
    g_autofree char *missing =
        g_strdup_printf("missing %s <images/refs/named: /file>\n", digest_hex(&object).text);
    g_assert_true(g_str_has_prefix(report.lines->str, missing));
    g_assert_cmpuint(result.problems, ==, 1);
}

/* Bytes that lie under another name are found without asking anybody. */
static void test_misplaced(Fixture *f, const void *data _unused)
{
    g_auto(Report) report = {0};
    Digest image, object = commit_one(f, 1, &image);
    g_autofree char *path = object_path(&object);
    g_assert_true(file_ensure_dir_at(f->top_fd, "store/objects/zz", 0755, NULL));
    g_assert_cmpint(renameat(f->top_fd, path, f->top_fd, "store/objects/zz/found"), ==, 0);
    StoreFsckResult result = run(f, &report, NULL);
    g_assert_cmpstr(report.lines->str, ==,
                    "misplaced objects/zz/found <images/refs/named: /file>\n"
                    "unknown objects/zz/found\n");
    result = run(f, &report, put_bytes);
    g_assert_cmpuint(result.repaired, ==, 1);
    g_assert_cmpuint(report.asked, ==, 0);
    g_assert_cmpstr(report.lines->str, ==, "unknown objects/zz/found\n");
}

/* What nothing needs is only moved aside. */
static void test_unneeded(Fixture *f, const void *data _unused)
{
    g_auto(Report) report = {0};
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, NULL);
    Digest object = put(txn, 1, 500);
    g_assert_true(store_txn_done(txn, NULL));
    store_txn_free(g_steal_pointer(&txn));
    damage(f, &object, "something else");
    StoreFsckResult result = run(f, &report, put_bytes);
    g_assert_cmpuint(result.problems, ==, 0);
    g_assert_cmpuint(result.repaired, ==, 0);
    g_assert_cmpuint(report.asked, ==, 0);
    g_assert_false(store_has(f->store, &object));
}

/* Many objects and threads: each is measured once, each bad one is found. */
static void test_many(Fixture *f, const void *data _unused)
{
    g_auto(Report) report = {0};
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, NULL);
    for (unsigned i = 0; i < 1000; i++)
        put(txn, i, 100 + i * 7);
    g_autoptr(GBytes) large = make_bytes(3, 3 << 20);
    Digest big;
    g_assert_true(store_txn_put(txn, g_bytes_get_data(large, NULL), 3 << 20, &big, NULL));
    g_assert_true(store_txn_flush(txn, NULL));
    store_txn_free(g_steal_pointer(&txn));
    StoreFsckResult result = run(f, &report, NULL);
    g_assert_cmpuint(result.objects, ==, 1001);
    g_assert_cmpuint(result.bytes, ==, 1000 * 100 + 7 * 999 * 1000 / 2 + (3 << 20));
    g_assert_cmpstr(report.lines->str, ==, "");
    for (unsigned i = 0; i < 1000; i += 100) {
        g_autoptr(GBytes) bytes = make_bytes(i, 100 + i * 7);
        Digest object;
        hash_verity(g_bytes_get_data(bytes, NULL), 100 + i * 7, &object);
        damage(f, &object, "something else");
    }
    g_autofree char *path = object_path(&big);
    _autofd int fd = openat(f->top_fd, path, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(pwrite(fd, "x", 1, (3 << 20) - 1), ==, 1);
    result = run(f, &report, NULL);
    g_assert_cmpuint(result.problems, ==, 11);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("fsck/damage", test_damage);
    TEST("fsck/kinds", test_kinds);
    TEST("fsck/repair", test_repair);
    TEST("fsck/repair-image", test_repair_image);
    TEST("fsck/misplaced", test_misplaced);
    TEST("fsck/unneeded", test_unneeded);
    TEST("fsck/many", test_many);
    return g_test_run();
}
