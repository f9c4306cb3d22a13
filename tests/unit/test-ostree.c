/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* OSTree objects against the vectors of formats/ostree.md 1.4; commit streams; packages; names. */
#include "base/hash.h"
#include "ostree/commit_data.h"
#include "ostree/object.h"
#include "ostree/ostree.h"
#include "ostree/summary.h"

#include <string.h>

/* hash header and content, as OSTree names a file */
static void assert_file(TreeInode *inode, const char *content, const char *expected)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) archive = object_archive_header(inode, false);
    size_t size;
    const uint8_t *data = g_bytes_get_data(archive, &size);
    g_auto(ObjectFile) file = {0};
    g_assert_true(object_parse_file(data, size, &file, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(file.header_size, ==, size);
    g_autoptr(GBytes) header = object_hash_header(&file);
    g_autoptr(HashSha256) hash = hash_sha256_new();
    hash_sha256_update(hash, g_bytes_get_data(header, NULL), g_bytes_get_size(header));
    hash_sha256_update(hash, content, strlen(content));
    Digest digest;
    hash_sha256_finish(hash, &digest);
    g_assert_cmpstr(digest_hex(&digest).text, ==, expected);
    /* every truncation is refused */
    for (size_t n = 0; n < size; n++) {
        g_auto(ObjectFile) cut = {0};
        g_autoptr(GError) failed = NULL;
        g_assert_false(object_parse_file(data, n, &cut, &failed));
    }
}

static void test_vectors(void)
{
    TreeInode hello = {.mode = 0100644, .size = 6, .content = (const uint8_t *)"hello\n"};
    TreeInode empty = {.mode = 0100644};
    TreeInode link = {.mode = 0120777, .size = 6, .target = "target"};
    TreeInode dir = {.mode = 040755};
    assert_file(&hello, "hello\n",
                "44f778e59f0a4748d6b0c90a47347212a231c4ad1e8f7ea5c5dffc7749153a6b");
    assert_file(&empty, "", "cc700d46f407c6c5ab2d5dde474366a928b7398277e61162e7f8ec06f469f07e");
    assert_file(&link, "", "a6b40a5400ed082fbe067d2c8397aab54046a089768651c392a36db46d24c1cd");
    g_autoptr(GBytes) meta = object_dirmeta(&dir, false);
    Digest digest;
    hash_sha256(g_bytes_get_data(meta, NULL), g_bytes_get_size(meta), &digest);
    g_assert_cmpstr(digest_hex(&digest).text, ==,
                    "446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488");

    g_autoptr(GBytes) header = object_archive_header(&hello, false);
    const uint8_t *bytes = g_bytes_get_data(header, NULL);
    g_assert_cmpuint(g_bytes_get_size(header), ==, 8 + 26);
    g_assert_cmpuint(bytes[8 + 25], ==, 0x19);
}

static bool ignore_entry(const char *name _unused, const Digest *id _unused,
                         const Digest *meta _unused, void *data _unused, GError **error _unused)
{
    return true;
}

static void assert_bad_dirtree(GVariant *floating, const char *part)
{
    g_autoptr(GVariant) dirtree = g_variant_ref_sink(floating);
    g_autoptr(GError) error = NULL;
    g_assert_false(object_each_entry(dirtree, ignore_entry, NULL, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_CORRUPT);
    g_assert_nonnull(strstr(error->message, part));
}

static void test_bad_dirtrees(void)
{
    static const Digest id;
    const char *const bad[] = {"", ".", "..", "a/b"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        GVariantBuilder files;
        g_variant_builder_init(&files, G_VARIANT_TYPE("a(say)"));
        g_variant_builder_add(&files, "(s@ay)", bad[i], object_digest_variant(&id));
        assert_bad_dirtree(g_variant_new("(a(say)@a(sayay))", &files,
                                         g_variant_new_array(G_VARIANT_TYPE("(sayay)"), NULL, 0)),
                           "malformed");
    }
    GVariantBuilder files;
    g_variant_builder_init(&files, G_VARIANT_TYPE("a(say)"));
    g_variant_builder_add(&files, "(s@ay)", "b", object_digest_variant(&id));
    g_variant_builder_add(&files, "(s@ay)", "a", object_digest_variant(&id));
    assert_bad_dirtree(g_variant_new("(a(say)@a(sayay))", &files,
                                     g_variant_new_array(G_VARIANT_TYPE("(sayay)"), NULL, 0)),
                       "order");
}

static uint32_t count_object(void *data, const Digest *object _unused)
{
    return (*(uint32_t *)data)++;
}

/* gathering and reading back; every truncation of the body is refused or harmless */
static void test_commit_data(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ObjectSet) set = object_set_new();
    Digest ids[300], external = {{7}};
    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
        hash_sha256(&i, sizeof i, &ids[i]);
        g_autoptr(GBytes) bytes = g_bytes_new(&ids[i], i % 33);
        object_set_add(set, &ids[i], bytes, i == 5 ? &external : NULL);
    }
    uint32_t objects = 0;
    g_autoptr(GBytes) body = object_set_format(set, &ids[9], count_object, &objects, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(objects, ==, 1);
    g_autoptr(CommitData) commit = commit_data_parse(body, &external, 1, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(commit_data_count(commit), ==, ARRAY_SIZE(ids));
    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
        CommitObject object;
        g_assert_true(commit_data_find(commit, &ids[i], &object));
        g_assert_cmpmem(object.data, object.size, &ids[i], i % 33);
        g_assert_true((object.object != NULL) == (i == 5));
    }
    CommitObject object;
    g_assert_false(commit_data_find(commit, &(Digest){{1}}, &object));
    g_assert_null(
        commit_data_parse(body, &external, 0, NULL)); /* names an object that isn't there */
    for (size_t n = 0; n < g_bytes_get_size(body) - 64; n += 17) {
        g_autoptr(GBytes) cut = g_bytes_new_from_bytes(body, 0, n);
        g_assert_null(commit_data_parse(cut, &external, 1, NULL));
    }
}

static OstreePackage *package(const char *name, const char *version)
{
    return ostree_package_new(name, version, "amd64");
}

static void test_packages(void)
{
    g_autoptr(GPtrArray) old = g_ptr_array_new_with_free_func((GDestroyNotify)ostree_package_free);
    g_autoptr(GPtrArray) new = g_ptr_array_new_with_free_func((GDestroyNotify)ostree_package_free);
    g_ptr_array_add(old, package("bash", "5.2-1"));
    g_ptr_array_add(old, package("make", "4.3"));
    g_ptr_array_add(old, package("tar", "1"));
    g_ptr_array_add(new, package("bash", "5.2-2"));
    g_ptr_array_add(new, package("irqbalance", "1.9"));
    g_ptr_array_add(new, package("tar", "1"));
    g_autoptr(OstreePackageDiff) diff = ostree_packages_diff(old, new);
    g_assert_cmpuint(diff->changed->len, ==, 1);
    g_assert_cmpstr(((OstreePackage *)diff->changed->pdata[0])->version, ==, "5.2-2");
    g_assert_cmpstr(((OstreePackage *)diff->changed_from->pdata[0])->version, ==, "5.2-1");
    g_assert_cmpuint(diff->removed->len, ==, 1);
    g_assert_cmpstr(((OstreePackage *)diff->removed->pdata[0])->name, ==, "make");
    g_assert_cmpuint(diff->added->len, ==, 1);
    g_assert_cmpstr(((OstreePackage *)diff->added->pdata[0])->name, ==, "irqbalance");
}

static void test_refs(void)
{
    const char *const good[] = {"main", "debian/12/x86_64/host", "a_b", "v1.0-rc_2"};
    const char *const bad[] = {"",     "/",  "a/",  "/a",  "a//b", ".a",
                               "a/.b", "-a", "a b", "a:b", "a^",   "\xc3\xa4"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        g_assert_true(ostree_check_ref(good[i], NULL));
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(ostree_check_ref(bad[i], &error));
        g_assert_error(error, ERROR_DOMAIN, ERROR_INVALID);
    }
    g_autofree char *remote = NULL, *ref = NULL;
    g_assert_true(ostree_parse_refspec("origin:debian/12", &remote, &ref, NULL));
    g_assert_cmpstr(remote, ==, "origin");
    g_assert_cmpstr(ref, ==, "debian/12");
    char *none;
    g_assert_false(ostree_parse_refspec("origin", &none, &none, NULL));
    g_assert_false(ostree_parse_refspec(":x", &none, &none, NULL));
    g_assert_false(ostree_parse_refspec("a/b:x", &none, &none, NULL));
}

static void test_summary(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) commit = g_variant_ref_sink(g_variant_new_parsed(
        "({'version': <'12.1'>}, @ay [], @a(say) [], '', '', uint64 0, @ay [], @ay [])"));
    g_autoptr(GPtrArray) refs = g_ptr_array_new_with_free_func((GDestroyNotify)summary_ref_free);
    g_ptr_array_add(refs, summary_ref_new("z", &(Digest){{1}}, commit));
    g_ptr_array_add(refs, summary_ref_new("a/b", &(Digest){{2}}, commit));
    g_autoptr(GBytes) bytes = summary_format(refs, 1700000000);
    g_autoptr(GHashTable) read = summary_parse(bytes, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(g_hash_table_size(read), ==, 2);
    g_assert_cmpuint(((Digest *)g_hash_table_lookup(read, "a/b"))->bytes[0], ==, 2);
    g_autoptr(GBytes) cut = g_bytes_new_from_bytes(bytes, 0, g_bytes_get_size(bytes) / 2);
    g_assert_null(summary_parse(cut, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_CORRUPT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ostree/vectors", test_vectors);
    g_test_add_func("/ostree/bad-dirtrees", test_bad_dirtrees);
    g_test_add_func("/ostree/commit-data", test_commit_data);
    g_test_add_func("/ostree/packages", test_packages);
    g_test_add_func("/ostree/refs", test_refs);
    g_test_add_func("/ostree/summary", test_summary);
    return g_test_run();
}
