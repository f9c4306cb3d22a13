/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Treefiles; packages' trees merged, registered and made a host tree. The whole way is in
 * tests/cli/compose.bats. */
#include "compose/compose.h"
#include "compose/rootfs.h"

#include "base/file.h"

#include <string.h>
#include <unistd.h>

typedef struct {
    char *dir;
    Store *store;
    StoreTxn *txn;
    Rootfs rootfs;
    GPtrArray *parts;
    GPtrArray *packages;
} Fixture;

static void set_up(Fixture *fixture, const void *data)
{
    g_autoptr(GError) error = NULL;
    fixture->dir = g_dir_make_tmp("atomic-test-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(fixture->dir, "store", NULL);
    store_init(path, &error);
    g_assert_no_error(error);
    fixture->store = store_open(path, &error);
    g_assert_no_error(error);
    fixture->txn = store_txn_begin(fixture->store, NULL, &error);
    g_assert_no_error(error);
    fixture->rootfs = (Rootfs){.txn = fixture->txn, .tree = tree_new()};
    fixture->parts = g_ptr_array_new_with_free_func((GDestroyNotify)part_free);
    fixture->packages = g_ptr_array_new_with_free_func(g_free);
}

static void tear_down(Fixture *fixture, const void *data)
{
    tree_free(fixture->rootfs.tree);
    g_ptr_array_unref(fixture->parts);
    g_ptr_array_unref(fixture->packages);
    store_txn_free(fixture->txn);
    store_unref(fixture->store);
    file_remove_all_at(AT_FDCWD, fixture->dir, NULL);
    g_free(fixture->dir);
}

static void assert_error(const GError *error, ErrorCode code, const char *words)
{
    g_assert_error(error, ERROR_DOMAIN, (int)code);
    if (!strstr(error->message, words))
        g_error("'%s' is not in '%s'", words, error->message);
}

/* --- treefiles -------------------------------------------------------------------------------- */

static char *write_treefile(Fixture *fixture, const char *name, const char *text)
{
    char *path = g_build_filename(fixture->dir, name, NULL);
    g_assert_true(file_replace_at(AT_FDCWD, path, text, strlen(text), 0644, 0, NULL));
    return path;
}

static void test_treefile(Fixture *fixture, const void *data)
{
    g_autofree char *base = write_treefile(fixture, "base.yaml",
                                           "repos: [host]\npackages: [one two]\nref: base\n"
                                           "documentation: false\n");
    g_autofree char *path =
        write_treefile(fixture, "host.yaml",
                       "# comment\ninclude: base.yaml\nref: a/b\nsuites:\n  - stable\n"
                       "packages:\n  - three\n  - four five\nrecommends: true\n"
                       "automatic-version-prefix: \"12\"\npostprocess:\n  - |\n"
                       "    #!/bin/sh\n    true\n");
    g_autoptr(GError) error = NULL;
    g_autoptr(Treefile) treefile = treefile_load(path, &error);
    g_assert_no_error(error);
    g_autofree char *packages = g_strjoinv(" ", treefile->packages);
    g_assert_cmpstr(packages, ==, "one two three four five");
    g_assert_cmpstr(treefile->ref, ==, "a/b");
    g_assert_cmpstr(treefile->suites[0], ==, "stable");
    g_assert_cmpstr(treefile->version_prefix, ==, "12");
    g_assert_cmpstr(treefile->postprocess[0], ==, "#!/bin/sh\ntrue\n");
    g_assert_true(treefile->recommends);
    g_assert_false(treefile->documentation);
    g_assert_nonnull(strstr(treefile->content->str, "one two"));
}

static void test_treefile_json(Fixture *fixture, const void *data)
{
    g_autofree char *path = write_treefile(
        fixture, "host.json", "{\"ref\": \"a\", \"repos\": [\"host\"],\n \"packages\": [\"x\"]}\n");
    g_autoptr(GError) error = NULL;
    g_autoptr(Treefile) treefile = treefile_load(path, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(treefile->packages[0], ==, "x");
}

static void test_treefile_bad(Fixture *fixture, const void *data)
{
    static const struct {
        const char *text;
        ErrorCode code;
        const char *words;
    } cases[] = {
        {"ref: a\npakages: [x]\n", ERROR_INVALID, "bad.yaml:2: unknown key 'pakages'"},
        {"ref: a\nrecommends: maybe\n", ERROR_INVALID,
         "bad.yaml:2: 'recommends' must be true or false"},
        {"ref: [a]\n", ERROR_INVALID, "bad.yaml:1: 'ref' must be a string"},
        {"packages:\n  - {a: b}\n", ERROR_INVALID,
         "bad.yaml:2: 'packages' must be a list of strings"},
        {"ref: a\n  b: c\n", ERROR_INVALID, "bad.yaml:2: "},
        {"- a\n", ERROR_INVALID, "must be a mapping"},
        {"", ERROR_INVALID, "must be a mapping"},
        {"ref: a\nrepos: [host]\n", ERROR_INVALID, "names no packages"},
        {"ref: a\npackages: [x]\n", ERROR_INVALID, "names no repos"},
        {"repos: [host]\npackages: [x]\n", ERROR_INVALID, "has no ref"},
        {"ref: a\nrepos: [fedora]\npackages: [x]\n", ERROR_UNSUPPORTED, "repository 'fedora'"},
        {"include: none.yaml\n", ERROR_NOT_FOUND, "none.yaml"},
        {"include: bad.yaml\n", ERROR_INVALID, "included twice"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = write_treefile(fixture, "bad.yaml", cases[i].text);
        g_autoptr(GError) error = NULL;
        g_assert_null(treefile_load(path, &error));
        assert_error(error, cases[i].code, cases[i].words);
    }
}

/* --- merging ---------------------------------------------------------------------------------- */

static void add_file(Rootfs *rootfs, const char *path, const char *content)
{
    g_autoptr(GError) error = NULL;
    rootfs_write_text(rootfs, path, 0644, content, &error);
    g_assert_no_error(error);
}

/* files: "PATH CONTENT" …, NULL. A path that ends in a slash is a directory. */
static Part *add_part(Fixture *fixture, const char *name, const char *fields,
                      const char *const *files)
{
    Package *package = g_new0(Package, 1);
    package->name = (char *)name;
    package->version = (char *)"1";
    package->arch = (char *)"amd64";
    g_ptr_array_add(fixture->packages, package);
    Rootfs own = {.txn = fixture->txn, .tree = tree_new()};
    g_autofree char *control =
        g_strdup_printf("Package: %s\nVersion: 1\nArchitecture: amd64\n%s\n", name, fields);
    add_file(&own, "DEBIAN/control", control);
    for (; *files; files++) {
        g_auto(GStrv) words = g_strsplit(*files, " ", 2);
        if (g_str_has_suffix(words[0], "/"))
            tree_ensure_dir(own.tree, words[0], NULL);
        else
            add_file(&own, words[0], words[1] ? words[1] : "");
    }
    g_autoptr(GError) error = NULL;
    store_txn_flush(fixture->txn, &error);
    g_assert_no_error(error);
    Part *part = part_new(&own, package, own.tree, &error);
    g_assert_no_error(error);
    g_ptr_array_add(fixture->parts, part);
    return part;
}

static void assert_content(Fixture *fixture, const char *path, const char *content)
{
    TreeNode *node = tree_resolve(fixture->rootfs.tree, path);
    if (!node)
        g_error("there is no '%s'", path);
    g_autoptr(GError) error = NULL;
    store_txn_flush(fixture->txn, &error);
    g_assert_no_error(error);
    size_t size;
    g_autofree char *text = rootfs_read(&fixture->rootfs, node, &size, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, content);
}

static void test_merge(Fixture *fixture, const void *data)
{
    add_part(fixture, "a", "", (const char *const[]){"bin/sh one", "usr/share/doc/a/x doc", NULL});
    add_part(fixture, "b", "",
             (const char *const[]){"usr/bin/tool two", "lib/b/c three", "etc/", "usr/lib64/l four",
                                   NULL});
    g_autoptr(GError) error = NULL;
    merge_parts(&fixture->rootfs, fixture->parts, false, &error);
    g_assert_no_error(error);
    assert_content(fixture, "usr/bin/sh", "one");
    assert_content(fixture, "bin/tool", "two");
    assert_content(fixture, "usr/lib/b/c", "three");
    assert_content(fixture, "lib64/l", "four");
    g_assert_true(S_ISLNK(tree_lookup(fixture->rootfs.tree, "bin")->inode->mode));
    g_assert_true(S_ISDIR(tree_lookup(fixture->rootfs.tree, "etc")->inode->mode));
    g_assert_null(tree_lookup(fixture->rootfs.tree, "usr/share/doc/a/x"));
    g_assert_null(tree_lookup(fixture->rootfs.tree, "DEBIAN"));
    g_assert_null(tree_lookup(fixture->rootfs.tree, "lib32"));
}

static void test_conflict(Fixture *fixture, const void *data)
{
    add_part(fixture, "a", "", (const char *const[]){"bin/sh one", NULL});
    add_part(fixture, "b", "Replaces: c, a (<< 1)", (const char *const[]){"usr/bin/sh two", NULL});
    g_autoptr(GError) error = NULL;
    g_assert_false(merge_parts(&fixture->rootfs, fixture->parts, true, &error));
    assert_error(error, ERROR_INVALID, "the packages 'a' and 'b' both have '/usr/bin/sh'");
}

static void test_replaces(Fixture *fixture, const void *data)
{
    Part *a = add_part(fixture, "a", "", (const char *const[]){"bin/sh one", "bin/x x", NULL});
    add_part(fixture, "b", "Replaces: c, a (<= 1)", (const char *const[]){"bin/sh two", NULL});
    Part *c = add_part(fixture, "c", "", (const char *const[]){"bin/sh three", NULL});
    g_autoptr(GError) error = NULL;
    merge_parts(&fixture->rootfs, fixture->parts, true, &error);
    g_assert_no_error(error);
    assert_content(fixture, "bin/sh", "two");
    assert_content(fixture, "bin/x", "x");
    g_assert_true(g_hash_table_contains(a->lost, "/bin/sh"));
    g_assert_true(g_hash_table_contains(c->lost, "/bin/sh"));
}

static void test_dpkg_db(Fixture *fixture, const void *data)
{
    add_part(fixture, "a", "Multi-Arch: same",
             (const char *const[]){
                 "DEBIAN/conffiles /etc/a.conf\n", "DEBIAN/postinst #!/bin/sh\n",
                 "DEBIAN/triggers # x\ninterest /usr/x\ninterest-noawait t\nactivate u\n",
                 "etc/a.conf setting", NULL});
    g_autoptr(GError) error = NULL;
    merge_parts(&fixture->rootfs, fixture->parts, true, &error);
    g_assert_no_error(error);
    dpkg_db_write(&fixture->rootfs, fixture->parts, &error);
    g_assert_no_error(error);
    assert_content(
        fixture, "var/lib/dpkg/status",
        "Package: a\nStatus: install ok unpacked\nVersion: 1\nArchitecture: amd64\n"
        "Multi-Arch: same\nConffiles:\n /etc/a.conf 7dc22b2c6a992f0232345df41303f5ea\n\n");
    assert_content(fixture, "var/lib/dpkg/info/a:amd64.list", "/.\n/etc\n/etc/a.conf\n");
    assert_content(fixture, "var/lib/dpkg/info/a:amd64.postinst", "#!/bin/sh\n");
    assert_content(fixture, "var/lib/dpkg/triggers/File", "/usr/x a:amd64\n");
    assert_content(fixture, "var/lib/dpkg/triggers/t", "a:amd64/noawait\n");
    g_assert_null(tree_lookup(fixture->rootfs.tree, "var/lib/dpkg/info/a:amd64.control"));
}

/* --- the host tree ---------------------------------------------------------------------------- */

static void test_finish(Fixture *fixture, const void *data)
{
    static const char *const files[][2] = {
        {"usr/bin/sh", "sh"},           {"etc/conf", "1"},
        {"etc/machine-id", "abc"},      {"etc/passwd-", "old"},
        {"root/.profile", "p"},         {"usr/local/share/x", "x"},
        {"var/lib/dpkg/status", "s"},   {"var/lib/dpkg/status-old", "s"},
        {"var/cache/apt/x", "cache"},   {"var/lib/a b/100%", "odd"},
        {"boot/vmlinuz-6.1", "kernel"}, {"boot/initrd.img-6.1", "initramfs"},
        {"boot/grub/x", "x"},           {"usr/sbin/policy-rc.d", "p"},
        {"usr/share/doc/x/y", "doc"},   {"strange/file", "x"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        add_file(&fixture->rootfs, files[i][0], files[i][1]);
    rootfs_symlink(&fixture->rootfs, "bin", "usr/bin", NULL);
    rootfs_symlink(&fixture->rootfs, "var/run", "/run", NULL);
    g_autoptr(GError) error = NULL;
    g_autofree char *kernel = NULL;
    char *const removed[] = {(char *)"/usr/share/doc/*", NULL};
    finish(&fixture->rootfs, removed, &kernel, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(kernel, ==, "6.1");
    assert_content(fixture, "usr/lib/modules/6.1/vmlinuz", "kernel");
    assert_content(fixture, "usr/lib/modules/6.1/initramfs.img", "initramfs");
    assert_content(fixture, "usr/etc/conf", "1");
    assert_content(fixture, "usr/etc/machine-id", "");
    assert_content(fixture, "usr/lib/sysimage/dpkg/status", "s");
    assert_content(fixture, "usr/share/factory/var/lib/a b/100%", "odd");
    assert_content(fixture, "usr/lib/tmpfiles.d/atomic-var.conf",
                   "# What /var is made of, by the packages of this tree.\n"
                   "d /var/cache 0755 0 0 -\nd /var/cache/apt 0755 0 0 -\nd /var/home 0755 0 0 -\n"
                   "d /var/lib 0755 0 0 -\nd /var/lib/a\\x20b 0755 0 0 -\n"
                   "C /var/lib/a\\x20b/100%% 0644 0 0 - /usr/share/factory/var/lib/a\\x20b/100%%\n"
                   "L /var/lib/dpkg - - - - ../../usr/lib/sysimage/dpkg\n"
                   "d /var/mnt 0755 0 0 -\nd /var/opt 0755 0 0 -\nd /var/roothome 0755 0 0 -\n"
                   "C /var/roothome/.profile 0644 0 0 - /usr/share/factory/var/roothome/.profile\n"
                   "L /var/run - - - - /run\nd /var/srv 0755 0 0 -\nd /var/usrlocal 0755 0 0 -\n"
                   "d /var/usrlocal/share 0755 0 0 -\n"
                   "C /var/usrlocal/share/x 0644 0 0 - /usr/share/factory/var/usrlocal/share/x\n");
    static const char *const gone[] = {"etc",
                                       "strange",
                                       "boot/grub",
                                       "usr/etc/passwd-",
                                       "usr/share/doc/x",
                                       "usr/sbin/policy-rc.d",
                                       "usr/lib/sysimage/dpkg/status-old",
                                       "var/lib"};
    for (size_t i = 0; i < ARRAY_SIZE(gone); i++)
        g_assert_null(tree_lookup(fixture->rootfs.tree, gone[i]));
    g_assert_cmpstr(tree_lookup(fixture->rootfs.tree, "home")->inode->target, ==, "var/home");
    g_assert_cmpstr(tree_lookup(fixture->rootfs.tree, "usr/local")->inode->target, ==,
                    "../var/usrlocal");
    g_assert_cmpuint(tree_lookup(fixture->rootfs.tree, "tmp")->inode->mode, ==, S_IFDIR | 01777);
}

static void test_two_kernels(Fixture *fixture, const void *data)
{
    add_file(&fixture->rootfs, "etc/x", "");
    add_file(&fixture->rootfs, "boot/vmlinuz-1", "");
    add_file(&fixture->rootfs, "boot/vmlinuz-2", "");
    g_autoptr(GError) error = NULL;
    g_autofree char *kernel = NULL;
    g_assert_false(finish(&fixture->rootfs, NULL, &kernel, &error));
    assert_error(error, ERROR_INVALID, "more than one kernel (1 and 2)");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define CASE(name, function)                                                                       \
    g_test_add("/compose/" name, Fixture, NULL, set_up, function, tear_down)
    CASE("treefile", test_treefile);
    CASE("treefile-json", test_treefile_json);
    CASE("treefile-bad", test_treefile_bad);
    CASE("merge", test_merge);
    CASE("conflict", test_conflict);
    CASE("replaces", test_replaces);
    CASE("dpkg-db", test_dpkg_db);
    CASE("finish", test_finish);
    CASE("two-kernels", test_two_kernels);
    return g_test_run();
}
