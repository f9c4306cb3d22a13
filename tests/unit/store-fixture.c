/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store-fixture.h"

#include <sys/xattr.h>
#include <unistd.h>

void set_up(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    f->top = g_dir_make_tmp("atomic-store-XXXXXX", &error);
    g_assert_no_error(error);
    f->top_fd = file_open_dir_at(AT_FDCWD, f->top, NULL);
    f->path = g_build_filename(f->top, "store", NULL);
    g_assert_true(store_init(f->path, &error));
    g_assert_true(store_init(f->path, &error)); /* again: fine */
    f->store = store_open(f->path, &error);
    g_assert_no_error(error);
}

void tear_down(Fixture *f, const void *data _unused)
{
    store_unref(f->store);
    close(f->top_fd);
    g_assert_true(file_remove_all_at(AT_FDCWD, f->top, NULL));
    g_free(f->top);
    g_free(f->path);
}

GBytes *make_bytes(unsigned seed, size_t size)
{
    uint8_t *data = g_malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(seed * 31 + i * 7 + i / 251);
    return g_bytes_new_take(data, size);
}

Digest put(StoreTxn *txn, unsigned seed, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) bytes = make_bytes(seed, size);
    Digest digest, expected;
    g_assert_true(store_txn_put(txn, g_bytes_get_data(bytes, NULL), size, &digest, &error));
    g_assert_no_error(error);
    hash_verity(g_bytes_get_data(bytes, NULL), size, &expected);
    g_assert_true(digest_equal(&digest, &expected));
    return digest;
}

void make_files(Fixture *f)
{
    g_assert_true(file_ensure_dir_at(f->top_fd, "tree/usr/bin", 0755, NULL));
    g_autoptr(GBytes) big = make_bytes(9, 20000);
    g_assert_true(file_replace_at(f->top_fd, "tree/usr/bin/prog", g_bytes_get_data(big, NULL),
                                  20000, 04755, 0, NULL));
    g_assert_true(file_replace_at(f->top_fd, "tree/usr/small", "hello\n", 6, 0600, 0, NULL));
    g_assert_true(file_replace_at(f->top_fd, "tree/usr/empty", "", 0, 0644, 0, NULL));
    g_assert_cmpint(linkat(f->top_fd, "tree/usr/bin/prog", f->top_fd, "tree/usr/hard", 0), ==, 0);
    g_assert_cmpint(symlinkat("usr/bin", f->top_fd, "tree/bin"), ==, 0);
    g_autofree char *path = g_build_filename(f->top, "tree/usr/small", NULL);
    g_assert_cmpint(setxattr(path, "user.note", "n", 1, 0), ==, 0);
}

Tree *import_files(Fixture *f, StoreTxn *txn, StoreImportFlags flags, GError **error)
{
    _autofd int fd = file_open_dir_at(f->top_fd, "tree", NULL);
    return store_import_dir(txn, fd, flags, error);
}

Digest commit_files(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    make_files(f);
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    g_autoptr(Tree) tree = import_files(f, txn, 0, &error);
    Digest image;
    g_assert_true(store_commit_image(txn, tree, &image, &error));
    g_assert_no_error(error);
    return image;
}

static void take_problem(const StoreProblem *problem, void *data)
{
    g_test_message("%s", problem->message);
    g_string_append_printf(data, "%s\n", problem->message);
}

bool check(Fixture *f, GString *problems, StoreFsckResult *out_result, GError **error)
{
    const StoreFsckOptions options = {.report = take_problem, .data = problems};
    return store_fsck(f->store, &options, out_result, error);
}

char *staging_path(Fixture *f, const char *name)
{
    g_autofree char *staging = g_build_filename(f->path, "staging", NULL);
    g_autoptr(GDir) dir = g_dir_open(staging, 0, NULL);
    return g_build_filename(staging, g_dir_read_name(dir), name, NULL);
}

unsigned count_staging(Fixture *f)
{
    g_autofree char *staging = g_build_filename(f->path, "staging", NULL);
    g_autoptr(GDir) dir = g_dir_open(staging, 0, NULL);
    unsigned n = 0;
    while (g_dir_read_name(dir))
        n++;
    return n;
}
