/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/digest_set.h"
#include "base/digest_table.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/sort.h"
#include "base/sys/process.h"

#include <unistd.h>

static void assert_verity(const void *data, size_t size, const char *expected)
{
    Digest digest;
    hash_verity(data, size, &digest);
    g_assert_cmpstr(digest_hex(&digest).text, ==, expected);
    /* the same in uneven pieces */
    g_autoptr(HashVerity) hash = hash_verity_new();
    for (size_t at = 0, n = 1; at < size; at += n, n = n * 3 + 1) {
        n = MIN(n, size - at);
        hash_verity_update(hash, (const char *)data + at, n);
    }
    hash_verity_finish(hash, &digest);
    g_assert_cmpstr(digest_hex(&digest).text, ==, expected);
}

/* vectors: fsverity-utils, and composefs' own tests for "hello world" */
static void test_verity(void)
{
    g_autofree uint8_t *zeros = g_malloc0(524289);
    assert_verity("hello world", 11,
                  "1e2eaa4202d750a41174ee454970b92c1bc2f925b1e35076d8c7d5f56362ba64");
    assert_verity(zeros, 1, "b803429503d95915829b29fdbc8bbad142f3abfd11b1cadf5526582e685c0551");
    assert_verity(zeros, 4096, "babc284ee4ffe7f449377fbf6692715b43aec7bc39c094a95878904d34bac97e");
    assert_verity(zeros, 4097, "093756e4ea9683329106d4a16982682ed182c14bf076463a9e7f97305cbac743");
    assert_verity(zeros, 524288,
                  "2d15bd7832895de85aa3d5bdfb57251e27bbec75ff467408340ab3eba858a2e1");
    assert_verity(zeros, 524289,
                  "e4143a5705610b7ad2eb85482cfc033c7062a89b9faf9118603f592d53fd10e0");
    g_autofree uint8_t *ramp = g_malloc(1 << 20);
    for (int i = 0; i < 1 << 20; i++)
        ramp[i] = (uint8_t)(i % 251);
    assert_verity(ramp, 1 << 20,
                  "93c995656d665b81c3a87eed032fcf06a8f9cecef51e3f5e5af7fa59fef1d439");
}

/* Blocks hashed two at a time, where they lie, and one by one as pieces fill them: the same. */
static void test_verity_pairs(void)
{
    enum { LARGEST = 40 * 4096 + 1, PIECE = 1000 };
    g_autoptr(GRand) random = g_rand_new_with_seed(11);
    g_autofree uint8_t *data = g_malloc(LARGEST);
    for (size_t i = 0; i < LARGEST; i++)
        data[i] = (uint8_t)g_rand_int(random);
    for (size_t size = 1; size <= LARGEST; size += size % 4096 == 1 ? 4095 : 1) {
        Digest whole, pieces;
        hash_verity(data, size, &whole);
        g_autoptr(HashVerity) hash = hash_verity_new();
        for (size_t at = 0; at < size; at += PIECE)
            hash_verity_update(hash, data + at, MIN(PIECE, size - at));
        hash_verity_finish(hash, &pieces);
        g_assert_true(digest_equal(&whole, &pieces));
    }
}

/* zeros that are counted give the digest of zeros that are read, whatever lies around them */
static void test_verity_zeros(void)
{
    static const size_t sizes[] = {0,      1,       4095,    4096,    4097,   8192,
                                   524287, 524288,  524289,  1048576, 528384, 3 * 524288 + 5,
                                   12288,  9000000, 17000000};
    enum { LARGEST = 17000000 };
    g_autofree uint8_t *zeros = g_malloc0(LARGEST);
    g_autoptr(GRand) random = g_rand_new_with_seed(7);
    g_autoptr(HashVerity) read = hash_verity_new(), counted = hash_verity_new();
    for (size_t i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
        for (unsigned part = 0; part < i % 3 + 1; part++) {
            size_t n = sizes[(i + part) % ARRAY_SIZE(sizes)];
            size_t data = i < ARRAY_SIZE(sizes) ? 0 : (size_t)g_rand_int_range(random, 0, 9000);
            hash_verity_update(read, zeros, n);
            hash_verity_update_zeros(counted, n);
            memset(zeros, 'x', data);
            hash_verity_update(read, zeros, data);
            hash_verity_update(counted, zeros, data);
            memset(zeros, 0, data);
        }
        Digest expected, digest;
        hash_verity_finish(read, &expected);
        hash_verity_finish(counted, &digest);
        g_assert_cmpstr(digest_hex(&digest).text, ==, digest_hex(&expected).text);
    }
}

static void test_digest_parse(void)
{
    Digest digest;
    const char *hex = "1e2eaa4202d750a41174ee454970b92c1bc2f925b1e35076d8c7d5f56362ba64";
    g_assert_true(digest_parse(hex, &digest));
    g_assert_cmpstr(digest_hex(&digest).text, ==, hex);
    g_assert_false(digest_parse("1e2e", &digest));
    g_assert_false(
        digest_parse("1E2eaa4202d750a41174ee454970b92c1bc2f925b1e35076d8c7d5f56362ba64", &digest));
    g_assert_false(
        digest_parse("1e2eaa4202d750a41174ee454970b92c1bc2f925b1e35076d8c7d5f56362ba64a", &digest));
}

static void test_file(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_dir_make_tmp("atomic-test-XXXXXX", &error);
    g_assert_no_error(error);
    _autofd int dir = file_open_dir_at(AT_FDCWD, path, &error);
    g_assert_no_error(error);
    g_assert_true(file_ensure_dir_at(dir, "a/b/c", 0755, &error));
    g_assert_true(file_replace_at(dir, "a/b/f", "one", 3, 0600, FILE_REPLACE_DURABLE, &error));
    g_assert_true(file_replace_at(dir, "a/b/f", "two!", 4, 0644, 0, &error));
    g_assert_false(file_replace_at(dir, "a/b/f", "x", 1, 0644, FILE_REPLACE_EXCLUSIVE, &error));
    g_assert_true(error_is(error, ERROR_EXISTS));
    g_clear_error(&error);
    size_t size;
    g_autofree char *text = file_read_at(dir, "a/b/f", 100, &size, &error);
    g_assert_cmpmem(text, size, "two!", 4);
    g_assert_null(file_read_at(dir, "a/b/f", 3, NULL, &error));
    g_assert_cmpstr(error->message, ==, "'a/b/f': file is larger than 3 bytes");
    g_clear_error(&error);
    g_assert_true(file_symlink_replace_at(dir, "a/l", "one", &error));
    g_assert_true(file_symlink_replace_at(dir, "a/l", "two", &error));
    g_autofree char *target = file_readlink_at(dir, "a/l", &error);
    g_assert_cmpstr(target, ==, "two");
    g_assert_true(file_remove_all_at(AT_FDCWD, path, &error));
    g_assert_no_error(error);
    g_assert_cmpint(access(path, F_OK), ==, -1);
}

/* deeper than there are fds, names or stack for */
static void test_remove_deep(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_dir_make_tmp("atomic-test-XXXXXX", &error);
    _autofd int dir = file_open_dir_at(AT_FDCWD, path, &error);
    g_assert_cmpint(mkdirat(dir, "empty", 0755), ==, 0);
    for (int i = 0; i < 3000; i++) {
        g_assert_cmpint(mkdirat(dir, "d", 0755), ==, 0);
        g_assert_cmpint(symlinkat("..", dir, "up"), ==, 0);
        int below = openat(dir, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        g_assert_cmpint(below, >=, 0);
        close(dir);
        dir = below;
    }
    g_assert_true(file_remove_all_at(AT_FDCWD, path, &error));
    g_assert_no_error(error);
    g_assert_cmpint(access(path, F_OK), ==, -1);
}

static void test_list(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_dir_make_tmp("atomic-test-XXXXXX", &error);
    _autofd int dir = file_open_dir_at(AT_FDCWD, path, &error);
    g_assert_no_error(error);
    const char *const names[] = {"b", ".a", "c", "B"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        g_assert_true(file_replace_at(dir, names[i], "", 0, 0644, 0, &error));
    /* twice: the fd has no position that the first reading moves */
    for (int i = 0; i < 2; i++) {
        g_autoptr(GPtrArray) list = file_list_fd(dir, &error);
        g_assert_no_error(error);
        g_ptr_array_add(list, NULL);
        g_autofree char *all = g_strjoinv(" ", (char **)list->pdata);
        g_assert_cmpstr(all, ==, ".a B b c");
    }
    g_autoptr(GPtrArray) none = file_list_at(dir, "nothing", &error);
    g_assert_null(none);
    g_assert_true(error_is(error, ERROR_NOT_FOUND));
    g_assert_true(file_remove_all_at(AT_FDCWD, path, NULL));
}

static void test_sort_keys(void)
{
    g_autoptr(GHashTable) table = g_hash_table_new(g_str_hash, g_str_equal);
    unsigned n;
    g_autofree char **none = sort_keys(table, &n);
    g_assert_nonnull(none);
    g_assert_cmpuint(n, ==, 0);
    g_hash_table_add(table, (char *)"two");
    g_hash_table_add(table, (char *)"One");
    g_autofree char **keys = sort_keys(table, &n);
    g_assert_cmpuint(n, ==, 2);
    g_assert_cmpstr(keys[0], ==, "One");
    g_assert_cmpstr(keys[1], ==, "two");
}

static void test_digest_set(void)
{
    g_autoptr(GHashTable) set = digest_set_new();
    Digest digest = {{1}};
    g_assert_true(digest_set_add(set, &digest));
    g_assert_false(digest_set_add(set, &digest));
    digest.bytes[0] = 2; /* the set has a copy */
    g_assert_true(digest_set_add(set, &digest));
    g_assert_cmpuint(g_hash_table_size(set), ==, 2);
}

/* Many with the same first bytes, too: they come from strangers. */
static void test_digest_table(void)
{
    g_auto(DigestTable) table = {0};
    Digest digest = {{0}};
    g_assert_cmpuint(digest_table_marks(&table, &digest), ==, 0);
    digest_table_init(&table);
    for (unsigned i = 0; i < 100000; i++) {
        memcpy(digest.bytes + (i % 2 ? 0 : 28), &i, sizeof i);
        g_assert_cmpuint(digest_table_add(&table, &digest, 1 + i % 4), ==, 0);
    }
    g_assert_cmpuint(table.n, ==, 100000);
    digest = (Digest){{0}};
    for (unsigned i = 0; i < 100000; i++) {
        memcpy(digest.bytes + (i % 2 ? 0 : 28), &i, sizeof i);
        g_assert_cmpuint(digest_table_marks(&table, &digest), ==, 1 + i % 4);
    }
    g_assert_cmpuint(digest_table_add(&table, &digest, 8), ==, 1 + 99999 % 4);
    g_assert_cmpuint(digest_table_marks(&table, &digest), ==, 8 + 1 + 99999 % 4);
    digest.bytes[15] ^= 1;
    g_assert_cmpuint(digest_table_marks(&table, &digest), ==, 0);
}

static void test_process(void)
{
    char state = 0;
    uint64_t start = sys_process_start(getpid(), &state);
    g_assert_cmpuint(start, >, 0);
    g_assert_cmpint(state, ==, 'R');
    g_assert_cmpuint(sys_process_start(getpid(), NULL), ==, start);
    g_assert_cmpuint(sys_process_start(0, NULL), ==, 0);
    g_assert_cmpuint(strlen(sys_boot_id()), ==, 36);
}

static void test_threads(void)
{
    g_unsetenv("ATOMIC_THREADS");
    g_assert_cmpuint(sys_threads(1), ==, 1);
    g_assert_cmpuint(sys_threads(1000), ==, g_get_num_processors());
    g_setenv("ATOMIC_THREADS", "4", true);
    g_assert_cmpuint(sys_threads(16), ==, 4);
    g_assert_cmpuint(sys_threads(3), ==, 3);
    g_setenv("ATOMIC_THREADS", "none", true);
    g_assert_cmpuint(sys_threads(16), ==, 1);
    g_unsetenv("ATOMIC_THREADS");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hash/verity", test_verity);
    g_test_add_func("/hash/verity-pairs", test_verity_pairs);
    g_test_add_func("/hash/verity-zeros", test_verity_zeros);
    g_test_add_func("/digest/parse", test_digest_parse);
    g_test_add_func("/digest/set", test_digest_set);
    g_test_add_func("/digest/table", test_digest_table);
    g_test_add_func("/file", test_file);
    g_test_add_func("/file/remove-deep", test_remove_deep);
    g_test_add_func("/file/list", test_list);
    g_test_add_func("/sort/keys", test_sort_keys);
    g_test_add_func("/process", test_process);
    g_test_add_func("/process/threads", test_threads);
    return g_test_run();
}
