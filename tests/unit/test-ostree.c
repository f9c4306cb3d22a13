/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* OSTree objects against the vectors of formats/ostree.md 1.4; commit streams; packages; names. */
#include "base/file.h"
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

/* --- with a store ---------------------------------------------------------------------------------------- */

static char *scratch;

static Store *new_store(const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(scratch, name, NULL);
    g_assert_true(store_init(path, &error));
    Store *store = store_open(path, &error);
    g_assert_no_error(error);
    return store;
}

static TreeNode *add_file(Tree *tree, StoreTxn *txn, const char *name, const char *text,
                          size_t repeat)
{
    g_autoptr(GError) error = NULL;
    TreeNode *node = tree_add(tree, tree_root(tree), name, S_IFREG | 0644, &error);
    g_assert_no_error(error);
    g_autoptr(GString) content = g_string_new(NULL);
    for (size_t i = 0; i < repeat; i++)
        g_string_append(content, text);
    if (content->len <= TREE_INLINE_MAX) {
        if (content->len)
            tree_set_inline(tree, node->inode, content->str, content->len);
    } else {
        Digest object;
        g_assert_true(store_txn_put(txn, content->str, content->len, &object, &error));
        tree_set_object(tree, node->inode, &object, content->len);
    }
    return node;
}

static Tree *sample_tree(StoreTxn *txn)
{
    Tree *tree = tree_new();
    add_file(tree, txn, "empty", "", 0);
    add_file(tree, txn, "f", "hello\n", 1)->inode->mtime = 12345; /* is dropped */
    add_file(tree, txn, "large", "hello\n", 100);
    add_file(tree, txn, "large-too", "hello\n", 100); /* equal: becomes a hard link */
    tree_set_target(tree, tree_add(tree, tree_root(tree), "l", S_IFLNK | 0777, NULL)->inode,
                    "target");
    tree_add(tree, tree_root(tree), "e", S_IFDIR | 0755, NULL);
    return tree;
}

static bool count_change(TreeChange change _unused, TreeNode *old _unused, TreeNode *new _unused,
                         void *data, GError **error _unused)
{
    ++*(unsigned *)data;
    return true;
}

static char *commit_sample(StoreTxn *txn, const OstreeCommitOptions *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Tree) tree = sample_tree(txn);
    char *checksum = NULL;
    ostree_commit(txn, tree, options, &checksum, &error);
    g_assert_no_error(error);
    return checksum;
}

static void test_commit(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Store) store = new_store("commit");
    g_autoptr(StoreTxn) txn = store_txn_begin(store, NULL, &error);
    g_assert_no_error(error);
    OstreeCommitOptions options = {
        .ref = "a/main", .subject = "subj", .version = "1", .timestamp = 1577836800};
    g_autofree char *first = commit_sample(txn, &options);
    options.parent = first;
    g_autofree char *second = commit_sample(txn, &options); /* from the parent's table */
    g_autofree char *resolved = NULL, *abbreviated = NULL, *parent = NULL;
    g_assert_true(ostree_resolve(store, "a/main", &resolved, &error));
    g_assert_cmpstr(resolved, ==, second);
    g_assert_true(ostree_resolve(store, "a/main^", &parent, &error));
    g_assert_cmpstr(parent, ==, first);
    g_autofree char *digits = g_strndup(first, 12);
    g_assert_true(ostree_resolve(store, digits, &abbreviated, &error));
    g_assert_cmpstr(abbreviated, ==, first);

    g_autoptr(GVariant) commit = ostree_load_commit(store, second, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(ostree_commit_timestamp(commit), ==, 1577836800);
    g_autofree char *version = ostree_commit_version(commit);
    g_assert_cmpstr(version, ==, "1");
    g_autoptr(Tree) loaded = ostree_load_tree(store, second, &error);
    g_assert_no_error(error);
    g_assert_true(tree_lookup(loaded, "large")->inode == tree_lookup(loaded, "large-too")->inode);
    g_assert_cmpint(tree_lookup(loaded, "f")->inode->mtime, ==, 0);
    Digest image, image_of_first;
    g_assert_true(ostree_commit_image(store, second, &image, &error));
    g_assert_true(ostree_commit_image(store, first, &image_of_first, &error));
    g_assert_true(digest_equal(&image, &image_of_first));
    g_autoptr(Tree) mounted = store_load_image(store, &image, &error);
    unsigned changes = 0;
    g_assert_true(tree_diff(loaded, mounted, true, count_change, &changes, &error));
    g_assert_cmpuint(changes, ==, 0);

    options.ref = "a"; /* a directory of branches can't be one */
    g_autoptr(Tree) tree = sample_tree(txn);
    char *none = NULL;
    g_assert_false(ostree_commit(txn, tree, &options, &none, &error));
    g_assert_nonnull(error);
}

static char *commit_imported(StoreTxn *txn, Tree *tree, const OstreeChecksums *checksums)
{
    g_autoptr(GError) error = NULL;
    const OstreeCommitOptions options = {.checksums = checksums};
    char *checksum = NULL;
    ostree_commit(txn, tree, &options, &checksum, &error);
    g_assert_no_error(error);
    return checksum;
}

/* What the import has hashed the commit does not read: the objects hold other bytes by then. */
static void test_one_read(void)
{
    enum { LARGE = 3 << 20, SMALL = 100 };
    g_autoptr(GError) error = NULL;
    g_autoptr(Store) store = new_store("one-read");
    g_autofree char *files = g_build_filename(scratch, "one-read-files", NULL);
    g_autofree char *bytes = g_strnfill(LARGE, 'x');
    g_assert_true(file_ensure_dir_at(AT_FDCWD, files, 0755, &error));
    _autofd int fd = file_open_dir_at(AT_FDCWD, files, &error);
    g_assert_true(file_replace_at(fd, "large", bytes, LARGE, 0644, 0, &error));
    g_assert_true(file_replace_at(fd, "small", bytes, SMALL, 0600, 0, &error));
    g_assert_true(file_replace_at(fd, "other", bytes, SMALL, 0644, 0, &error));

    g_autoptr(StoreTxn) txn = store_txn_begin(store, NULL, &error);
    g_autoptr(OstreeChecksums) checksums = ostree_checksums_new(false);
    g_autoptr(Tree) tree =
        store_import_dir_with(txn, fd, 0, ostree_checksums_hook(checksums), &error);
    g_assert_no_error(error);
    g_autofree char *expected = commit_imported(txn, tree, NULL); /* reads */
    static const char *const names[] = {"large", "small"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const TreeInode *inode = tree_lookup(tree, names[i])->inode;
        DigestHex hex = digest_hex(&inode->object);
        g_autofree char *path = g_strdup_printf("objects/%.2s/%s", hex.text, hex.text + 2);
        memset(bytes, 'y', LARGE);
        g_assert_true(file_replace_at(store_dirfd(store), path, bytes, inode->size, 0644, 0, NULL));
    }
    g_autofree char *known = commit_imported(txn, tree, checksums);
    g_assert_cmpstr(known, ==, expected);
    g_autofree char *read = commit_imported(txn, tree, NULL);
    g_assert_cmpstr(read, !=, expected);

    tree_lookup(tree, "other")->inode->mode = S_IFREG | 0755; /* another file since: read again */
    g_autofree char *changed = commit_imported(txn, tree, checksums);
    g_assert_cmpstr(changed, !=, expected);
}

/* What is mounted as a host's root has its mount points, whatever the commit has; other trees are as they are. */
static void test_mount_points(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Store) store = new_store("mount-points");
    g_autoptr(StoreTxn) txn = store_txn_begin(store, NULL, &error);
    const OstreeCommitOptions options = {.ref = "host"};
    for (unsigned host = 0; host < 2; host++) {
        g_autoptr(Tree) tree = sample_tree(txn);
        g_assert_nonnull(tree_add(tree, tree_root(tree), "var", S_IFDIR | 0711, &error));
        g_assert_nonnull(tree_ensure_dir(tree, host ? "usr/etc" : "usr/lib", &error));
        g_autofree char *checksum = NULL;
        ostree_commit(txn, tree, &options, &checksum, &error);
        g_assert_no_error(error);
        Digest image;
        g_assert_true(ostree_commit_image(store, checksum, &image, &error));
        g_autoptr(Tree) mounted = store_load_image(store, &image, &error);
        g_autoptr(Tree) loaded = ostree_load_tree(store, checksum, &error);
        g_assert_no_error(error);
        static const char *const names[] = {"etc", "boot", "sysroot"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
            TreeNode *node = tree_lookup(mounted, names[i]);
            g_assert_cmpint(node != NULL, ==, host);
            g_assert_true(!node || node->inode->mode == (S_IFDIR | 0755));
            g_assert_null(tree_lookup(loaded, names[i]));
        }
        g_assert_cmpuint(tree_lookup(mounted, "var")->inode->mode, ==, S_IFDIR | 0711);
    }
}

/* A commit stream with bytes changed never crashes; mostly it is refused. */
static void test_mutations(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Store) store = new_store("mutations");
    g_autoptr(StoreTxn) txn = store_txn_begin(store, NULL, &error);
    const OstreeCommitOptions options = {.ref = "main"};
    g_autofree char *checksum = commit_sample(txn, &options);
    g_autofree char *id = g_strconcat("ostree-commit-", checksum, NULL);
    g_autoptr(StoreStream) stream = store_stream_open_id(store, id, &error);
    g_autoptr(GBytes) body = store_stream_read_all(stream, 1 << 20, &error);
    g_assert_no_error(error);
    size_t size;
    const uint8_t *bytes = g_bytes_get_data(body, &size);
    Digest object = *store_stream_object(stream, 0), commit_id;
    g_assert_true(digest_parse(checksum, &commit_id));
    for (unsigned round = 0; round < 20000; round++) {
        g_autofree uint8_t *copy = g_memdup2(bytes, size);
        /* behind the buckets, where each byte matters */
        for (unsigned i = 0; i <= round % 3; i++)
            copy[g_test_rand_int_range(8 + 255 * 4, (int)size)] ^=
                (uint8_t)g_test_rand_int_range(1, 256);
        g_autoptr(GBytes) mutated = g_bytes_new(copy, size);
        g_autoptr(CommitData) data = commit_data_parse(mutated, &object, 1, NULL);
        CommitObject found;
        if (!data || !commit_data_find(data, &commit_id, &found))
            continue;
        g_autoptr(GVariant) commit = object_parse(OBJECT_COMMIT_TYPE, found.data, found.size, NULL);
        Digest root, meta;
        if (!commit || !commit_root(commit, &root, &meta, NULL))
            continue;
        tree_free(commit_data_tree(commit_data_find, data, &root, &meta, NULL));
    }
}

/* deeper than a stack should follow: refused */
static void test_too_deep(void)
{
    g_autoptr(ObjectSet) set = object_set_new();
    g_autoptr(Tree) tree = tree_new();
    g_autoptr(GBytes) meta_bytes = object_dirmeta(tree_root(tree)->inode, false);
    Digest meta, level = {{0}};
    hash_sha256(g_bytes_get_data(meta_bytes, NULL), g_bytes_get_size(meta_bytes), &meta);
    object_set_add(set, &meta, meta_bytes, NULL);
    for (unsigned depth = 0; depth < 3000; depth++) {
        g_autoptr(GVariant) dirtree = NULL;
        GVariantBuilder dirs;
        g_variant_builder_init(&dirs, G_VARIANT_TYPE("a(sayay)"));
        if (depth)
            g_variant_builder_add(&dirs, "(s@ay@ay)", "a", object_digest_variant(&level),
                                  object_digest_variant(&meta));
        dirtree = g_variant_ref_sink(g_variant_new(
            "(@a(say)a(sayay))", g_variant_new_array(G_VARIANT_TYPE("(say)"), NULL, 0), &dirs));
        g_autoptr(GBytes) bytes = g_variant_get_data_as_bytes(dirtree);
        hash_sha256(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), &level);
        object_set_add(set, &level, bytes, NULL);
    }
    g_autoptr(GError) error = NULL;
    g_assert_null(commit_data_tree(object_set_find, set, &level, &meta, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_INVALID);
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
    scratch = g_dir_make_tmp("test-ostree-XXXXXX", NULL);
    g_test_add_func("/ostree/commit", test_commit);
    g_test_add_func("/ostree/one-read", test_one_read);
    g_test_add_func("/ostree/mount-points", test_mount_points);
    g_test_add_func("/ostree/mutations", test_mutations);
    g_test_add_func("/ostree/nested-too-deep", test_too_deep);
    int status = g_test_run();
    file_remove_all_at(AT_FDCWD, scratch, NULL);
    g_free(scratch);
    return status;
}
