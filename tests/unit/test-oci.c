/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/file.h"
#include "base/hash.h"
#include "oci/oci.h"
#include "oci/var.h"
#include "ostree/ostree.h"

#include <string.h>

static void test_names(void)
{
    static const struct {
        const char *text, *normalized;
    } good[] = {
        {"web", "web:latest"},
        {"library/web", "web:latest"},
        {"docker.io/library/web:1", "web:1"},
        {"index.docker.io/team/web", "team/web:latest"},
        {"docker.io/web", "web:latest"},
        {"cgwalters/apache", "cgwalters/apache:latest"},
        {"library/a/b", "library/a/b:latest"},
        {"quay.io/a/b:v1.2", "quay.io/a/b:v1.2"},
        {"localhost/x", "localhost/x:latest"},
        {"localhost:5000/x:y", "localhost:5000/x:y"},
        {"Registry/x", "Registry/x:latest"},
        {"a__b--c.d_e", "a__b--c.d_e:latest"},
        {"localhost:5000", "localhost:5000"},
    };
    static const char *const bad[] = {
        "",
        "Web",
        "web:",
        "web:-1",
        "web:a b",
        "a//b",
        "/a",
        "a/",
        "a..b",
        "a___b",
        "-a",
        "a-",
        "web:1:2",
        ".",
        "../a",
        "quay.io:x/a",
        "b@sha256:0000",
        "quay.io/",
        "0123456789012345678901234567890123456789012345678901234567890123",
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *name = oci_name_normalize(good[i].text, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(name, ==, good[i].normalized);
        g_autofree char *again = oci_name_normalize(name, &error);
        g_assert_cmpstr(again, ==, name);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *name = oci_name_normalize(bad[i], &error);
        g_assert_cmpstr(name, ==, NULL);
        g_assert_true(error_is(error, ERROR_INVALID) || error_is(error, ERROR_UNSUPPORTED));
    }
    g_autofree char *repository = NULL, *tag = NULL;
    oci_name_split("localhost:5000/x:y", &repository, &tag);
    g_assert_cmpstr(repository, ==, "localhost:5000/x");
    g_assert_cmpstr(tag, ==, "y");
}

static void test_config_round_trip(void)
{
    static const char json[] =
        "{\"created\":\"2026-01-02T03:04:05Z\",\"author\":\"a\",\"architecture\":\"amd64\",\"os\":"
        "\"linux\","
        "\"config\":{\"User\":\"www-data\",\"ExposedPorts\":{\"443/tcp\":{},\"80/tcp\":{}},"
        "\"Env\":[\"PATH=/bin\",\"B=2\",\"A=1\"],\"Entrypoint\":[\"/e\"],\"Cmd\":[\"x\",\"\"],"
        "\"Volumes\":{\"/v\":{}},\"WorkingDir\":\"/w\",\"Labels\":{\"a\":\"\",\"b\":\"2\"},"
        "\"StopSignal\":\"SIGINT\",\"Healthcheck\":{\"Test\":[\"CMD\",\"/"
        "h\"],\"Interval\":5,\"Retries\":3},"
        "\"Shell\":[\"/bin/bash\",\"-c\"],\"OnBuild\":[\"RUN x\"]},"
        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":"
        "[\"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"]},"
        "\"history\":[{\"created\":\"2026-01-02T03:04:05Z\",\"created_by\":\"x\"},"
        "{\"created_by\":\"y\",\"empty_layer\":true}]}";
    g_autoptr(GError) error = NULL;
    g_autoptr(OciConfig) config = oci_config_parse(json, strlen(json), &error);
    g_assert_no_error(error);
    g_assert_cmpstr(oci_config_env(config, "B"), ==, "2");
    g_assert_cmpstr(oci_config_env(config, "C"), ==, NULL);
    g_assert_cmpstr(config->exposed_ports[1], ==, "80/tcp");
    g_autofree char *text = oci_config_format(config);
    g_assert_cmpstr(text, ==, json);

    g_autoptr(OciConfig) copy = oci_config_copy(config);
    oci_config_set_env(copy, "B", "3");
    oci_config_set_env(copy, "C", "");
    g_assert_cmpuint(g_strv_length(copy->env), ==, 4);
    g_assert_cmpstr(oci_config_env(copy, "B"), ==, "3");
    g_assert_cmpstr(oci_config_env(copy, "C"), ==, "");
    g_assert_cmpstr(oci_config_env(config, "B"), ==, "2");
}

static void test_config_order(void)
{
    /* whatever order maps come in, the bytes are the same */
    const char *a =
        "{\"config\":{\"Labels\":{\"x\":\"1\",\"a\":\"2\"},\"Volumes\":{\"/b\":{},\"/a\":{}}},"
        "\"rootfs\":{\"diff_ids\":[]},\"os\":\"linux\",\"architecture\":\"amd64\"}";
    const char *b =
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"unknown\":[1],\"rootfs\":{\"diff_ids\":[]},"
        "\"config\":{\"Volumes\":{\"/a\":{},\"/b\":{}},\"Labels\":{\"a\":\"2\",\"x\":\"1\"}}}";
    g_autoptr(OciConfig) x = oci_config_parse(a, strlen(a), NULL);
    g_autoptr(OciConfig) y = oci_config_parse(b, strlen(b), NULL);
    g_autofree char *text_x = oci_config_format(x), *text_y = oci_config_format(y);
    g_assert_cmpstr(text_x, ==, text_y);
}

static void test_config_hostile(void)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"rootfs\":[]}",
        "{\"rootfs\":{\"diff_ids\":[\"sha256:../../x\"]}}",
        "{\"rootfs\":{\"diff_ids\":[7]}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":7}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Env\":\"x\"}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Env\":[\"a=b\",1]}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Cmd\":{}}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"User\":1}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Labels\":{\"a\":1}}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Volumes\":[\"/a\"]}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Healthcheck\":[]}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"history\":{}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"history\":[1]}",
        "{\"rootfs\":{\"diff_ids\":[]}",
        "{\"rootfs\":{\"diff_ids\":[]},\"rootfs\":{\"diff_ids\":[]}}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(OciConfig) config = oci_config_parse(bad[i], strlen(bad[i]), &error);
        g_assert_null(config);
        g_assert_true(error_is(error, ERROR_CORRUPT));
    }
}

/* --- images in a store --------------------------------------------------------------------- */

typedef struct {
    char *path;
    Store *store;
    StoreTxn *txn;
} Fixture;

static void set_up(Fixture *f, const void *data)
{
    g_autoptr(GError) error = NULL;
    f->path = g_dir_make_tmp("atomic-oci-XXXXXX", &error);
    g_assert_no_error(error);
    g_assert_true(store_init(f->path, &error));
    f->store = store_open(f->path, &error);
    f->txn = f->store ? store_txn_begin(f->store, NULL, &error) : NULL;
    g_assert_no_error(error);
}

static void tear_down(Fixture *f, const void *data)
{
    if (f->txn)
        store_txn_free(f->txn);
    store_unref(f->store);
    g_assert_true(file_remove_all_at(AT_FDCWD, f->path, NULL));
    g_free(f->path);
}

/* A file of `size` bytes that depend on its name. */
static void add_file(Fixture *f, Tree *tree, const char *name, size_t size)
{
    g_autoptr(GError) error = NULL;
    TreeNode *node = tree_add(tree, tree_root(tree), name, S_IFREG | 0644, &error);
    g_assert_no_error(error);
    g_autofree char *bytes = g_malloc(size);
    memset(bytes, *name, size);
    Digest object;
    g_assert_true(store_txn_put(f->txn, bytes, size, &object, &error));
    tree_set_object(tree, node->inode, &object, size);
}

/* An image of one layer with one file; `author` makes it another image over the same layer. */
static OciImage *make_image(Fixture *f, const char *file, const char *author)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Tree) tree = tree_new();
    add_file(f, tree, file, 1000);
    g_autoptr(OciLayer) layer = oci_layer_write(f->txn, tree, &error);
    g_assert_no_error(error);
    Digest image;
    g_assert_true(store_commit_image(f->txn, tree, &image, &error));
    g_autoptr(OciConfig) config = oci_config_new();
    g_free(config->author);
    config->author = g_strdup(author);
    g_strfreev(config->diff_ids);
    config->diff_ids = g_new0(char *, 2);
    config->diff_ids[0] = g_strdup(layer->diff_id);
    OciHistory *history = g_new0(OciHistory, 1);
    history->created_by = g_strdup(author);
    g_ptr_array_add(config->history, history);
    const OciImageWrite what = {.config = config, .image = &image, .new_layer = layer};
    g_autofree char *id = NULL, *key = g_strdup_printf("%08x", g_str_hash(author));
    g_assert_true(oci_image_write(f->txn, &what, &id, &error));
    g_assert_true(oci_cache_set(f->store, key, id, &error));
    OciImage *opened = oci_image_open(f->store, id, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(opened->id, ==, id);
    g_assert_true(digest_equal(&opened->image, &image));
    return opened;
}

static void assert_absent(Fixture *f, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(oci_image_open(f->store, name, &error));
    g_assert_true(error_is(error, ERROR_NOT_FOUND));
    g_autofree char *expected = g_strdup_printf("no such image '%s'\nhint: ", name);
    g_assert_true(g_str_has_prefix(error->message, expected));
}

static void test_image_write(Fixture *f, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(OciImage) image = make_image(f, "a", "me");
    g_assert_null(image->manifest);
    g_autoptr(GPtrArray) none = oci_image_list(f->store, false, &error);
    g_assert_cmpuint(none->len, ==, 0);
    g_autoptr(GPtrArray) one = oci_image_list(f->store, true, &error);
    g_assert_cmpuint(one->len, ==, 1);
    g_assert_false(oci_image_tag(f->store, image, "x", &error)); /* intermediate */
    g_clear_error(&error);

    /* the layer's bytes hash to its diff_id, and their number is the image's size */
    g_autofree char *stream_id = g_strconcat("oci-layer-", image->config->diff_ids[0], NULL);
    g_autoptr(StoreStream) stream = store_stream_open_id(f->store, stream_id, &error);
    g_autoptr(GBytes) tar = store_stream_read_all(stream, 1 << 20, &error);
    Digest diff_id;
    hash_sha256(g_bytes_get_data(tar, NULL), g_bytes_get_size(tar), &diff_id);
    g_assert_cmpstr(digest_hex(&diff_id).text, ==, image->config->diff_ids[0] + strlen("sha256:"));
    uint64_t size;
    g_assert_true(oci_image_size(f->store, image, &size, &error));
    g_assert_cmpuint(size, ==, g_bytes_get_size(tar));

    /* written again, it is the same image */
    g_autoptr(OciImage) again = make_image(f, "a", "me");
    g_assert_cmpstr(again->id, ==, image->id);
}

static void test_image_names(Fixture *f, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(OciImage) first = make_image(f, "a", "first"), second = make_image(f, "a", "second");
    g_assert_true(oci_image_keep(f->txn, first, &error));
    g_assert_true(oci_image_keep(f->txn, second, &error));
    g_assert_true(oci_image_tag(f->store, first, "docker.io/library/web", &error));
    g_assert_true(oci_image_tag(f->store, first, "quay.io/team/web:1", &error));
    static const char *const names[] = {"web", "web:latest", "library/web", "quay.io/team/web:1"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        g_autoptr(OciImage) found = oci_image_open(f->store, names[i], &error);
        g_assert_no_error(error);
        g_assert_cmpstr(found->id, ==, first->id);
        g_assert_cmpstr(found->manifest, ==, first->manifest);
    }
    /* ids: whole, with and without the algorithm, and prefixes */
    g_autofree char *prefix = g_strndup(second->id + strlen("sha256:"), 12);
    const char *const ids[] = {second->id, second->id + strlen("sha256:"), prefix};
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        g_autoptr(OciImage) found = oci_image_open(f->store, ids[i], &error);
        g_assert_no_error(error);
        g_assert_cmpstr(found->id, ==, second->id);
    }
    assert_absent(f, "quay.io/team/web");
    assert_absent(f, "0123456789abcdef");
    assert_absent(f, "sha256:");
    assert_absent(f, "../../x");

    /* the name moves on; the image that had it stays */
    g_assert_true(oci_image_tag(f->store, second, "web", &error));
    g_autoptr(OciImage) web = oci_image_open(f->store, "web", &error);
    g_assert_cmpstr(web->id, ==, second->id);
    g_assert_true(oci_image_untag(f->store, "quay.io/team/web:1", &error));
    g_assert_false(oci_image_untag(f->store, "quay.io/team/web:1", &error));
    g_assert_true(error_is(error, ERROR_NOT_FOUND));
    g_clear_error(&error);
    g_autoptr(GPtrArray) images = oci_image_list(f->store, false, &error);
    g_assert_cmpuint(images->len, ==, 2);
}

static void test_image_remove(Fixture *f, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(OciImage) kept = make_image(f, "a", "kept"), gone = make_image(f, "b", "gone");
    g_assert_true(oci_image_keep(f->txn, kept, &error) && oci_image_keep(f->txn, gone, &error));
    g_assert_true(oci_image_tag(f->store, kept, "kept", &error));
    g_assert_true(oci_image_tag(f->store, gone, "gone", &error));
    g_assert_true(oci_image_remove(f->store, gone, &error));
    g_assert_no_error(error);
    assert_absent(f, "gone");
    assert_absent(f, gone->id);

    /* what a living transaction wrote is kept */
    store_txn_free(g_steal_pointer(&f->txn));
    StoreGcResult result;
    g_assert_true(store_gc(f->store, NULL, &result, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(result.objects, >, 0);
    g_autofree char *a = g_malloc(1000), *b = g_malloc(1000);
    memset(a, 'a', 1000);
    memset(b, 'b', 1000);
    Digest object;
    hash_verity(a, 1000, &object);
    g_assert_true(store_has(f->store, &object));
    hash_verity(b, 1000, &object);
    g_assert_false(store_has(f->store, &object));
    g_autoptr(OciImage) found = oci_image_open(f->store, "kept", &error);
    g_assert_no_error(error);
    g_autoptr(Tree) tree = store_load_image(f->store, &found->image, &error);
    g_assert_nonnull(tree);
    g_assert_nonnull(tree_lookup(tree, "a"));
}

static void test_sharing(Fixture *f, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(OciImage) a = make_image(f, "a", "a"), b = make_image(f, "b", "b");
    g_assert_true(oci_image_keep(f->txn, a, &error) && oci_image_keep(f->txn, b, &error));
    OciSharing sharing;
    g_assert_true(oci_sharing(f->store, &sharing, &error));
    g_assert_cmpuint(sharing.images, ==, 2);
    g_assert_cmpuint(sharing.bytes, ==, 2000);
    g_assert_cmpuint(sharing.shared_bytes, ==, 0);
    g_assert_true(
        store_set_ref(f->store, STORE_IMAGES, "deploy/x.0", digest_hex(&a->image).text, &error));
    g_assert_true(oci_sharing(f->store, &sharing, &error));
    g_assert_cmpuint(sharing.shared_bytes, ==, 1000);
    g_assert_true(oci_image_sharing(f->store, b, &sharing, &error));
    g_assert_cmpuint(sharing.shared_bytes, ==, 0);
}

/* --- composed trees --------------------------------------------------------------------------- */

static void test_var(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Tree) tree = tree_new();
    TreeNode *factory = tree_ensure_dir(tree, "usr/share/factory/var/lib", &error);
    tree_set_inline(tree, tree_add(tree, factory, "f", S_IFREG | 0600, &error)->inode, "text", 4);
    static const char text[] = "# comment\n\n"
                               "d /var/lib 0755 0 0 -\n"
                               "d /var/a\\x20b 1777 33 44 -\n"
                               "L /var/run - - - - /run\n"
                               "C /var/lib/f 0640 1 2 - /usr/share/factory/var/lib/f\n"
                               "d /var/lib 0700 9 9 -\n";
    g_assert_true(var_populate(tree, text, strlen(text), &error));
    g_assert_no_error(error);
    g_assert_cmpuint(tree_lookup(tree, "var/lib")->inode->mode, ==, S_IFDIR | 0755);
    const TreeInode *spaced = tree_lookup(tree, "var/a b")->inode;
    g_assert_cmpuint(spaced->mode, ==, S_IFDIR | 01777);
    g_assert_cmpuint(spaced->gid, ==, 44);
    g_assert_cmpstr(tree_lookup(tree, "var/run")->inode->target, ==, "/run");
    const TreeInode *copied = tree_lookup(tree, "var/lib/f")->inode;
    g_assert_cmpuint(copied->mode, ==, S_IFREG | 0640);
    g_assert_cmpuint(copied->uid, ==, 1);
    g_assert_cmpmem(copied->content, copied->size, "text", 4);

    static const char *const bad[] = {
        "d /etc/x 0755 0 0 -",
        "d /var/../x 0755 0 0 -",
        "d /var/x 9 0 0 -",
        "z /var/x 0755 0 0 -",
        "d /var/x",
        "L /var/x - - - -",
        "C /var/x 0644 0 0 - /etc/passwd",
        "C /var/y 0644 0 0 - /usr/share/factory/none",
        "d /var/%m 0755 0 0 -",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autoptr(GError) why = NULL;
        g_assert_false(var_populate(tree, bad[i], strlen(bad[i]), &why));
        g_assert_true(g_str_has_prefix(why->message, "atomic-var.conf:1: "));
    }
}

static void test_from_tree(Fixture *f, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Tree) tree = tree_new();
    static const char *const dirs[] = {"usr/etc", "usr/bin", "usr/lib/tmpfiles.d",
                                       "var",     "sysroot", "usr/lib/modules/6.1"};
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        tree_ensure_dir(tree, dirs[i], &error);
    tree_add(tree, tree_lookup(tree, "usr/etc"), "one", S_IFREG | 0644, &error);
    tree_add(tree, tree_lookup(tree, "usr/etc"), "two", S_IFREG | 0644, &error);
    tree_add(tree, tree_lookup(tree, "usr/lib/modules/6.1"), "vmlinuz", S_IFREG | 0644, &error);
    TreeNode *conf =
        tree_add(tree, tree_lookup(tree, "usr/lib/tmpfiles.d"), "atomic-var.conf", S_IFREG, &error);
    const char *lines = "d /var/roothome 0700 0 0 -\n";
    tree_set_inline(tree, conf->inode, lines, strlen(lines));
    TreeNode *root = tree_add(tree, tree_root(tree), "root", S_IFLNK | 0777, &error);
    tree_set_target(tree, root->inode, "var/roothome");
    add_file(f, tree, "big", 5000);
    const OstreeCommitOptions options = {
        .ref = "test/tree", .version = "7", .timestamp = 1700000000};
    g_autofree char *checksum = NULL;
    g_assert_true(ostree_commit(f->txn, tree, &options, &checksum, &error));
    g_assert_no_error(error);

    g_autoptr(OciImage) image = oci_image_from_tree(f->store, "test/tree", &error);
    g_assert_no_error(error);
    g_assert_nonnull(image->manifest);
    g_assert_cmpstr(image->config->created, ==, "2023-11-14T22:13:20Z");
    g_assert_cmpstr(g_hash_table_lookup(image->config->labels, "ostree.commit"), ==, checksum);
    g_autoptr(Tree) made = store_load_image(f->store, &image->image, &error);
    g_assert_nonnull(tree_lookup(made, "etc/one"));
    g_assert_null(tree_lookup(made, "usr/etc"));
    g_assert_null(tree_lookup(made, "sysroot"));
    g_assert_null(tree_lookup(made, "usr/lib/modules/6.1/vmlinuz"));
    g_assert_cmpuint(tree_lookup(made, "root")->inode->mode, ==, S_IFDIR | 0700);
    g_assert_cmpuint(tree_lookup(made, "tmp")->inode->mode, ==, S_IFDIR | 01777);
    g_assert_null(tree_lookup(made, "var/roothome"));
    g_assert_cmpuint(tree_lookup(made, "run/lock")->inode->mode, ==, S_IFDIR | 01777);
    /* the two empty files are one inode in the commit, two in the container */
    g_assert_cmpuint(tree_lookup(made, "etc/one")->inode->nlink, ==, 1);
    g_assert_true(tree_lookup(made, "etc/one")->inode != tree_lookup(made, "etc/two")->inode);

    g_autoptr(OciImage) again = oci_image_from_tree(f->store, checksum, &error);
    g_assert_cmpstr(again->id, ==, image->id);
    /* the deployed tree and the image have the object in common */
    Digest deployed;
    g_assert_true(ostree_commit_image(f->store, checksum, &deployed, &error));
    g_assert_true(
        store_set_ref(f->store, STORE_IMAGES, "deploy/x.0", digest_hex(&deployed).text, &error));
    OciSharing sharing;
    g_assert_true(oci_image_sharing(f->store, image, &sharing, &error));
    g_assert_cmpuint(sharing.shared_bytes, ==, 5000);
}

#define ADD_IMAGE_TEST(name, function)                                                             \
    g_test_add("/oci/" name, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD_IMAGE_TEST("image/write", test_image_write);
    ADD_IMAGE_TEST("image/names", test_image_names);
    ADD_IMAGE_TEST("image/remove", test_image_remove);
    ADD_IMAGE_TEST("image/sharing", test_sharing);
    ADD_IMAGE_TEST("from-tree", test_from_tree);
    g_test_add_func("/oci/var", test_var);
    g_test_add_func("/oci/names", test_names);
    g_test_add_func("/oci/config/round-trip", test_config_round_trip);
    g_test_add_func("/oci/config/order", test_config_order);
    g_test_add_func("/oci/config/hostile", test_config_hostile);
    return g_test_run();
}
