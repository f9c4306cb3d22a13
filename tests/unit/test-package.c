/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packages, against a small repository that make-repo builds and signs; fetched by copying its
 * files. */
#include "package/package.h"

#include "base/file.h"
#include "base/spawn.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define URI "http://repository.test/"

typedef struct {
    char *dir, *apt, *cache;
    const char *spoil; /* files whose URL ends so arrive with one byte changed… */
    bool truncate;     /* …or without their last */
} Fixture;

static const char *const suite[] = {"test", NULL};

/* --- the repository, made once ---------------------------------------------------------------- */

static char *repository;

static char *join(const char *dir, const char *name)
{
    return g_build_filename(dir, name, NULL);
}

static void make_repository(void)
{
    repository = g_dir_make_tmp("atomic-test-XXXXXX", NULL);
    g_autofree char *script =
        g_build_filename(g_getenv("ATOMIC_TEST_DATA"), "package", "make-repo", NULL);
    const char *const argv[] = {"bash", script, repository, URI, NULL};
    g_autoptr(GError) error = NULL;
    spawn_run(argv, NULL, &error);
    g_assert_no_error(error);
}

static void set_up(Fixture *fixture, const void *data)
{
    fixture->dir = g_dir_make_tmp("atomic-test-XXXXXX", NULL);
    fixture->cache = join(fixture->dir, "cache");
    fixture->apt = join(repository, "apt");
}

static void tear_down(Fixture *fixture, const void *data)
{
    file_remove_all_at(AT_FDCWD, fixture->dir, NULL);
    g_free(fixture->dir);
    g_free(fixture->cache);
    g_free(fixture->apt);
}

static bool copy_file(const Fixture *fixture, const PackageDownload *download, GError **error)
{
    g_assert_true(g_str_has_prefix(download->url, URI));
    g_autofree char *from = g_build_filename(repository, "repo", download->url + strlen(URI), NULL);
    size_t size;
    g_autofree char *data = file_read_at(AT_FDCWD, from, 1 << 26, &size, error);
    if (!data)
        return false;
    if (fixture->spoil && g_str_has_suffix(download->url, fixture->spoil)) {
        data[size / 2] ^= 1;
        size -= fixture->truncate;
    }
    return file_replace_at(AT_FDCWD, download->path, data, size, 0644, 0, error);
}

static bool fetch(GPtrArray *downloads, const char *title, void *data, GError **error)
{
    for (unsigned i = 0; i < downloads->len; i++)
        if (!copy_file(data, downloads->pdata[i], error))
            return false;
    return true;
}

static PackageUniverse *load(Fixture *fixture, GError **error)
{
    const PackageUniverseOptions options = {.apt_dir = fixture->apt,
                                            .keyrings = "/nonexistent",
                                            .cache_dir = fixture->cache,
                                            .fetch = fetch,
                                            .fetch_data = fixture};
    return package_universe_load(suite, &options, error);
}

static void assert_error(const GError *error, ErrorCode code, const char *words)
{
    g_assert_error(error, ERROR_DOMAIN, (int)code);
    if (!strstr(error->message, words))
        g_error("'%s' is not in '%s'", words, error->message);
}

/* --- control files ---------------------------------------------------------------------------- */

static void test_control(void)
{
    const char *text = "\nA: one\nLong: first\n second\n\tthird\nB:two \n\nA: 2\n\n\n";
    const char *cursor = text, *start;
    size_t size;
    g_assert_true(control_next(&cursor, &start, &size));
    g_autofree char *a = control_field(start, size, "a");
    g_assert_cmpstr(a, ==, "one");
    g_autofree char *b = control_field(start, size, "B");
    g_assert_cmpstr(b, ==, "two");
    g_autofree char *many = control_field(start, size, "Long");
    g_assert_cmpstr(many, ==, "first\n second\n\tthird");
    g_assert_null(control_field(start, size, "Lon"));
    g_assert_true(control_next(&cursor, &start, &size));
    g_autofree char *second = control_field(start, size, "A");
    g_assert_cmpstr(second, ==, "2");
    g_assert_false(control_next(&cursor, &start, &size));
}

/* --- sources ---------------------------------------------------------------------------------- */

static void write_source(const Fixture *fixture, const char *name, const char *text)
{
    g_autofree char *parts = g_build_filename(fixture->dir, "apt", "sources.list.d", NULL);
    g_assert_true(file_ensure_dir_at(AT_FDCWD, parts, 0755, NULL));
    g_autofree char *path = join(parts, name);
    g_assert_true(file_replace_at(AT_FDCWD, path, text, strlen(text), 0644, 0, NULL));
}

static void test_sources(Fixture *fixture, const void *data)
{
    write_source(
        fixture, "a.list",
        "# comment\ndeb [arch=amd64 signed-by=/k/a.gpg] http://x/y stable main extra # end\n"
        "deb-src http://x/y stable main\n");
    write_source(fixture, "b.sources",
                 "# a comment\nTypes: deb deb-src\nURIs: https://one/ https://two\n# inside\n"
                 "Suites: stable testing\nComponents: main\n\n"
                 "Enabled: no\nTypes: deb\nURIs: http://three\nSuites: stable\nComponents: main\n");
    write_source(fixture, "c.list", "deb cdrom:[Disc] unwanted main\n");
    write_source(fixture, "d.list.disabled", "deb http://four stable main\n");
    g_autofree char *apt = join(fixture->dir, "apt");
    const char *const suites[] = {"stable", NULL};
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) sources = package_sources_load(apt, suites, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(sources->len, ==, 3);
    const PackageSource *first = sources->pdata[0], *second = sources->pdata[1],
                        *third = sources->pdata[2];
    g_assert_cmpstr(first->uri, ==, "http://x/y/");
    g_assert_cmpstr(first->signed_by, ==, "/k/a.gpg");
    g_assert_cmpstr(first->components[1], ==, "extra");
    g_assert_true(g_str_has_suffix(first->where, "a.list:2"));
    g_assert_cmpstr(second->uri, ==, "https://one/");
    g_assert_cmpstr(third->uri, ==, "https://two/");
    g_assert_null(third->signed_by);
}

static void test_sources_bad(Fixture *fixture, const void *data)
{
    g_autofree char *apt = join(fixture->dir, "apt");
    g_autoptr(GError) error = NULL;
    write_source(fixture, "a.list", "\ndeb ftp://x stable main\n");
    g_assert_null(package_sources_load(apt, NULL, &error));
    assert_error(error, ERROR_UNSUPPORTED, "a.list:2: not supported yet");
    g_clear_error(&error);
    write_source(fixture, "a.list", "debb http://x stable main\n");
    g_assert_null(package_sources_load(apt, NULL, &error));
    assert_error(error, ERROR_INVALID, "a.list:1: malformed");
    g_clear_error(&error);
    write_source(fixture, "a.list", "deb http://x stable main\n");
    const char *const suites[] = {"stable", "missing", NULL};
    g_assert_null(package_sources_load(apt, suites, &error));
    assert_error(error, ERROR_NOT_FOUND, "'missing'");
}

/* --- signatures and sums ---------------------------------------------------------------------- */

static void test_universe(Fixture *fixture, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PackageUniverse) universe = load(fixture, &error);
    g_assert_no_error(error);
    /* the index is kept: verified again, not fetched again */
    fixture->spoil = "Packages.gz";
    g_autoptr(PackageUniverse) again = load(fixture, &error);
    g_assert_no_error(error);
}

static void test_bad_signature(Fixture *fixture, const void *data)
{
    g_autoptr(GError) error = NULL;
    fixture->spoil = "InRelease";
    g_assert_null(load(fixture, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_CORRUPT);
    g_assert_nonnull(
        strstr(error->message, "cannot use the package source 'http://repository.test/ test'"));
}

static void test_untrusted_key(Fixture *fixture, const void *data)
{
    g_autofree char *text =
        g_strdup_printf("deb [signed-by=%s/other.gpg] " URI " test main\n", repository);
    write_source(fixture, "a.list", text);
    g_free(fixture->apt);
    fixture->apt = join(fixture->dir, "apt");
    g_autoptr(GError) error = NULL;
    g_assert_null(load(fixture, &error));
    assert_error(error, ERROR_CORRUPT, "a key that isn't trusted here");
}

static void test_armored_key(Fixture *fixture, const void *data)
{
    g_autofree char *text =
        g_strdup_printf("deb [signed-by=%s/key.asc] " URI " test main\n", repository);
    write_source(fixture, "a.list", text);
    g_free(fixture->apt);
    fixture->apt = join(fixture->dir, "apt");
    g_autoptr(GError) error = NULL;
    g_autoptr(PackageUniverse) universe = load(fixture, &error);
    g_assert_no_error(error);
}

static void test_no_key(Fixture *fixture, const void *data)
{
    write_source(fixture, "a.list", "deb " URI " test main\n");
    g_free(fixture->apt);
    fixture->apt = join(fixture->dir, "apt");
    g_autoptr(GError) error = NULL;
    g_assert_null(load(fixture, &error));
    assert_error(error, ERROR_NOT_FOUND, "no key to verify it with");
}

static void test_bad_index(Fixture *fixture, const void *data)
{
    g_autoptr(GError) error = NULL;
    fixture->spoil = "Packages.gz";
    g_assert_null(load(fixture, &error));
    assert_error(error, ERROR_CORRUPT, "is not what the index says");
    g_clear_error(&error);
    fixture->truncate = true;
    g_assert_null(load(fixture, &error));
    assert_error(error, ERROR_CORRUPT, "bytes instead of");
}

/* --- solving ---------------------------------------------------------------------------------- */

static GPtrArray *solve(PackageUniverse *universe, const char *names, const char *exclude,
                        bool recommends, GError **error)
{
    g_auto(GStrv) wanted = g_strsplit(names, " ", -1);
    g_auto(GStrv) unwanted = g_strsplit(exclude, " ", -1);
    const PackageRequest request = {.names = (const char *const *)wanted,
                                    .exclude = (const char *const *)unwanted,
                                    .recommends = recommends};
    return package_solve(universe, &request, error);
}

static char *listed(GPtrArray *packages)
{
    GString *text = g_string_new(NULL);
    for (unsigned i = 0; i < packages->len; i++) {
        const Package *package = packages->pdata[i];
        g_string_append_printf(text, "%s%s=%s", i ? " " : "", package->name, package->version);
    }
    return g_string_free(text, FALSE);
}

static void test_solve(Fixture *fixture, const void *data)
{
    static const struct {
        const char *names, *exclude;
        bool recommends;
        const char *result;
    } cases[] = {
        {"app", "", false, "app=1.1 lib=1.6 tiny-base=1.0 tool=1:0.9"},
        {"app", "tool", false, "app=1.1 lib=1.6 other-tool=2.0 tiny-base=1.0"},
        {"app", "", true, "app=1.1 extra=1.0 lib=1.6 tiny-base=1.0 tool=1:0.9"},
        {"tiny-base", "", false, "tiny-base=1.0"},
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(PackageUniverse) universe = load(fixture, &error);
    g_assert_no_error(error);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autoptr(GPtrArray) packages =
            solve(universe, cases[i].names, cases[i].exclude, cases[i].recommends, &error);
        g_assert_no_error(error);
        g_autofree char *text = listed(packages);
        g_assert_cmpstr(text, ==, cases[i].result);
    }
}

static void test_unsolvable(Fixture *fixture, const void *data)
{
    static const struct {
        const char *names;
        ErrorCode code;
        const char *words;
    } cases[] = {
        {"app no-such", ERROR_NOT_FOUND, "unknown package 'no-such'"},
        {"no-such nor-this", ERROR_NOT_FOUND, "unknown packages 'no-such', 'nor-this'"},
        {"needs-newer", ERROR_INVALID, "nothing provides lib >= 9 needed by needs-newer-1.0"},
        {"app rival", ERROR_INVALID, "package rival-1.0"},
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(PackageUniverse) universe = load(fixture, &error);
    g_assert_no_error(error);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_assert_null(solve(universe, cases[i].names, "", false, &error));
        assert_error(error, cases[i].code, cases[i].words);
        g_clear_error(&error);
    }
}

static void test_versions(void)
{
    g_assert_cmpint(package_compare_versions("1.0", "1.0"), ==, 0);
    g_assert_cmpint(package_compare_versions("1.0~rc1", "1.0"), <, 0);
    g_assert_cmpint(package_compare_versions("1:0.1", "9.9"), >, 0);
    g_assert_cmpint(package_compare_versions("1.0-10", "1.0-9"), >, 0);
}

/* --- contents --------------------------------------------------------------------------------- */

static const Package *find(GPtrArray *packages, const char *name)
{
    for (unsigned i = 0; i < packages->len; i++) {
        const Package *package = packages->pdata[i];
        if (strcmp(package->name, name) == 0)
            return package;
    }
    g_error("no package '%s'", name);
}

static StoreTxn *begin(Fixture *fixture, Store **out_store)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = join(fixture->dir, "store");
    store_init(path, &error);
    g_assert_no_error(error);
    *out_store = store_open(path, &error);
    g_assert_no_error(error);
    StoreTxn *txn = store_txn_begin(*out_store, NULL, &error);
    g_assert_no_error(error);
    return txn;
}

static void test_import(Fixture *fixture, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PackageUniverse) universe = load(fixture, &error);
    g_assert_no_error(error);
    g_autoptr(GPtrArray) packages = solve(universe, "tiny-base", "", false, &error);
    g_assert_no_error(error);
    const Package *package = find(packages, "tiny-base");
    g_autofree char *deb = g_build_filename(repository, "repo", package->url + strlen(URI), NULL);
    g_autoptr(Store) store = NULL;
    g_autoptr(StoreTxn) txn = begin(fixture, &store);
    g_autoptr(Tree) tree = package_import(txn, package, deb, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(tree_lookup(tree, "bin/tiny")->inode->mode, ==, S_IFREG | 0755);
    g_assert_cmpuint(tree_lookup(tree, "tmp")->inode->mode, ==, S_IFDIR | 01777);
    g_assert_cmpint(tree_lookup(tree, "etc/tiny.conf")->inode->mtime, ==, 1700000000);
    g_assert_nonnull(tree_lookup(tree, "DEBIAN/control"));
    g_assert_cmpuint(tree_lookup(tree, "DEBIAN/postinst")->inode->mode & 0111, ==, 0111);

    Digest image;
    store_commit_image(txn, tree, &image, &error);
    g_assert_no_error(error);
    g_autofree char *ref = package_ref(package);
    g_assert_null(package_load(store, package));
    store_set_ref(store, STORE_IMAGES, ref, digest_hex(&image).text, &error);
    g_assert_no_error(error);
    g_autoptr(Tree) loaded = package_load(store, package);
    g_assert_nonnull(loaded);
    /* a rebuild under the same version is another package */
    Package other = *package;
    other.sha256.bytes[0] ^= 1;
    g_assert_null(package_load(store, &other));
}

/* At every length a .deb is either whole or refused. */
static void test_truncated(Fixture *fixture, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PackageUniverse) universe = load(fixture, &error);
    g_autoptr(GPtrArray) packages = solve(universe, "lib", "", false, &error);
    const Package *package = find(packages, "lib");
    g_autofree char *deb = g_build_filename(repository, "repo", package->url + strlen(URI), NULL);
    g_autofree char *part = join(fixture->dir, "part.deb");
    size_t size;
    g_autofree char *bytes = file_read_at(AT_FDCWD, deb, 1 << 20, &size, &error);
    g_assert_no_error(error);
    g_autoptr(Store) store = NULL;
    g_autoptr(StoreTxn) txn = begin(fixture, &store);
    for (size_t length = 0; length < size - 1; length += 7) {
        file_replace_at(AT_FDCWD, part, bytes, length, 0644, 0, &error);
        g_assert_no_error(error);
        g_assert_null(package_import(txn, package, part, &error));
        assert_error(error, ERROR_CORRUPT, "cannot unpack the package 'lib' 1.6");
        g_clear_error(&error);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    make_repository();
    g_test_add_func("/package/control", test_control);
    g_test_add_func("/package/versions", test_versions);
#define CASE(name, function)                                                                       \
    g_test_add("/package/" name, Fixture, NULL, set_up, function, tear_down)
    CASE("sources", test_sources);
    CASE("sources-bad", test_sources_bad);
    CASE("universe", test_universe);
    CASE("bad-signature", test_bad_signature);
    CASE("untrusted-key", test_untrusted_key);
    CASE("armored-key", test_armored_key);
    CASE("no-key", test_no_key);
    CASE("bad-index", test_bad_index);
    CASE("solve", test_solve);
    CASE("unsolvable", test_unsolvable);
    CASE("import", test_import);
    CASE("truncated", test_truncated);
    int status = g_test_run();
    file_remove_all_at(AT_FDCWD, repository, NULL);
    g_free(repository);
    return status;
}
