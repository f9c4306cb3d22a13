/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* fs-verity as the store sees it, over a stand-in for the kernel's two calls: the linker gives this program its own
 * ioctl(). tests/vm does the same with a real kernel. */
#include "store-fixture.h"

#include "store/layout.h"

#include <errno.h>
#include <linux/fsverity.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int __wrap_ioctl(int fd, unsigned long request, ...);

/* What the filesystem is like. */
static struct {
    GMutex mutex;
    int error;         /* of every enable; 0: it works */
    unsigned busy;     /* so many enables fail with ETXTBSY first */
    ino_t always_busy; /* somebody has this one open for writing */
    GHashTable *on;    /* inode numbers of files with fs-verity */
    unsigned enables;
} kernel;

/* As ext4 answers. */
static int kernel_enable(int fd, ino_t inode, const struct fsverity_enable_arg *arg)
{
    kernel.enables++;
    g_assert_cmpint(fcntl(fd, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
    g_assert_cmpuint(arg->version, ==, 1);
    g_assert_cmpuint(arg->hash_algorithm, ==, FS_VERITY_HASH_ALG_SHA256);
    g_assert_cmpuint(arg->block_size, ==, 4096);
    if (kernel.error)
        return kernel.error;
    if (g_hash_table_contains(kernel.on, GSIZE_TO_POINTER(inode)))
        return EEXIST;
    if (inode == kernel.always_busy || (kernel.busy && kernel.busy--))
        return ETXTBSY;
    g_hash_table_add(kernel.on, GSIZE_TO_POINTER(inode));
    return 0;
}

static int kernel_measure(int fd, ino_t inode, struct fsverity_digest *out)
{
    if (kernel.error)
        return kernel.error;
    if (!g_hash_table_contains(kernel.on, GSIZE_TO_POINTER(inode)))
        return ENODATA;
    g_assert_cmpuint(out->digest_size, >=, DIGEST_SIZE);
    char buffer[65536];
    g_autoptr(HashVerity) hash = hash_verity_new();
    ssize_t n;
    for (off_t at = 0; (n = pread(fd, buffer, sizeof buffer, at)) > 0; at += n)
        hash_verity_update(hash, buffer, (size_t)n);
    Digest digest;
    hash_verity_finish(hash, &digest);
    out->digest_algorithm = FS_VERITY_HASH_ALG_SHA256;
    out->digest_size = DIGEST_SIZE;
    memcpy(out->digest, digest.bytes, DIGEST_SIZE);
    return 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *arg = va_arg(args, void *);
    va_end(args);
    if (request != FS_IOC_ENABLE_VERITY && request != FS_IOC_MEASURE_VERITY)
        return (int)syscall(SYS_ioctl, fd, request, arg);
    struct stat st;
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_mutex_lock(&kernel.mutex);
    errno = request == FS_IOC_ENABLE_VERITY ? kernel_enable(fd, st.st_ino, arg)
                                            : kernel_measure(fd, st.st_ino, arg);
    g_mutex_unlock(&kernel.mutex);
    return errno ? -1 : 0;
}

/* --- the tests ------------------------------------------------------------------------------------------ */

static void set_up_kernel(Fixture *f, const void *data)
{
    kernel.error = GPOINTER_TO_INT(data);
    kernel.busy = kernel.enables = 0;
    kernel.always_busy = 0;
    kernel.on = g_hash_table_new(NULL, NULL);
    set_up(f, data);
}

static void tear_down_kernel(Fixture *f, const void *data)
{
    tear_down(f, data);
    g_hash_table_unref(kernel.on);
}

static bool has_verity(Fixture *f, const Digest *object)
{
    struct stat st;
    g_assert_cmpint(fstatat(f->store->objects_fd, store_object_path(object).text, &st, 0), ==, 0);
    return g_hash_table_contains(kernel.on, GSIZE_TO_POINTER(st.st_ino));
}

/* The store of the fixture becomes a secure one. The kernel says that of a file by statx, which the stand-in does not
 * do, so the open store is told. */
static void make_secure(Fixture *f)
{
    f->store->verity = STORE_VERITY_REQUIRED;
}

static Digest put_one(Fixture *f, unsigned seed, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    Digest digest = put(txn, seed, size);
    g_assert_true(store_txn_flush(txn, &error));
    g_assert_no_error(error);
    return digest;
}

/* By pieces, as large files go. */
static Digest put_pieces(Fixture *f, unsigned seed, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    g_autoptr(GBytes) bytes = make_bytes(seed, size);
    StoreWriter *writer = store_writer_new(txn, &error);
    Digest digest;
    g_assert_true(store_writer_append(writer, g_bytes_get_data(bytes, NULL), size, &error));
    g_assert_true(store_writer_finish(writer, &digest, &error));
    g_assert_true(store_txn_flush(txn, &error));
    g_assert_no_error(error);
    return digest;
}

static void test_on(Fixture *f, const void *data _unused)
{
    g_assert_true(store_has_verity(f->store));
    g_assert_false(store_is_secure(f->store));
    Digest one = put_one(f, 1, 5000), two = put_pieces(f, 2, 300000);
    g_assert_true(has_verity(f, &one));
    g_assert_true(has_verity(f, &two));
}

/* Nothing is asked again after the first answer. */
static void test_off(Fixture *f, const void *data _unused)
{
    g_assert_false(store_has_verity(f->store));
    for (unsigned i = 0; i < 5; i++)
        put_one(f, i, 100 + i);
    put_pieces(f, 9, 70000);
    g_assert_cmpuint(kernel.enables, ==, 1);
    g_autoptr(GString) problems = g_string_new("");
    StoreFsckResult result;
    g_assert_true(check(f, problems, &result, NULL));
    g_assert_cmpuint(result.objects, ==, 6);
    g_assert_cmpuint(result.problems, ==, 0);
}

static void test_off_secure(Fixture *f, const void *data)
{
    g_autoptr(GError) error = NULL;
    make_secure(f);
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    Digest digest;
    g_assert_false(store_txn_put(txn, "0123456789", 10, &digest, &error));
    g_assert_nonnull(strstr(error->message, "cannot switch fs-verity on for object '"));
    g_assert_nonnull(strstr(error->message, g_strerror(GPOINTER_TO_INT(data))));
    g_clear_error(&error);
    StoreWriter *writer = store_writer_new(txn, &error);
    g_assert_true(store_writer_append(writer, "abc", 3, &error));
    g_assert_false(store_writer_finish(writer, &digest, &error));
    g_assert_true(store_txn_flush(txn, NULL));
    g_autoptr(GString) problems = g_string_new("");
    StoreFsckResult result;
    g_assert_true(check(f, problems, &result, NULL));
    g_assert_cmpuint(result.objects, ==, 0);
}

/* Any error that doesn't say "not here" fails in every store: an object is not taken for good after it. */
static void test_fails(Fixture *f, const void *data)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    Digest digest;
    g_assert_false(store_txn_put(txn, "0123456789", 10, &digest, &error));
    g_assert_nonnull(strstr(error->message, g_strerror(GPOINTER_TO_INT(data))));
}

static void test_busy_for_a_moment(Fixture *f, const void *data _unused)
{
    kernel.busy = 2;
    Digest one = put_one(f, 1, 5000);
    g_assert_cmpuint(kernel.enables, ==, 3);
    g_assert_true(has_verity(f, &one));
}

/* Somebody has the file open for writing and stays: the object becomes a copy that nobody has. */
static void test_busy_copies(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) bytes = make_bytes(3, 20000);
    Digest digest, read;
    struct stat before, after;
    uint64_t size;
    hash_verity(g_bytes_get_data(bytes, NULL), 20000, &digest);
    const char *name = digest_hex(&digest).text;
    g_assert_true(
        file_replace_at(f->top_fd, name, g_bytes_get_data(bytes, NULL), 20000, 0644, 0, &error));
    g_assert_cmpint(fstatat(f->top_fd, name, &before, 0), ==, 0);
    kernel.always_busy = before.st_ino;
    g_assert_true(store_seal(f->store, f->top_fd, name, &digest, &error));
    g_assert_no_error(error);
    g_assert_cmpint(fstatat(f->top_fd, name, &after, 0), ==, 0);
    g_assert_cmpuint(after.st_ino, !=, before.st_ino);
    g_assert_cmpuint(after.st_mode, ==, before.st_mode);
    g_assert_true(g_hash_table_contains(kernel.on, GSIZE_TO_POINTER(after.st_ino)));
    _autofd int fd = file_open_at(f->top_fd, name, O_RDONLY, NULL);
    size = (uint64_t)after.st_size;
    g_autofree char *copied = file_read_fd(fd, 1 << 20, &size, &error);
    hash_verity(copied, size, &read);
    g_assert_true(digest_equal(&read, &digest));
}

/* A writer that was killed before it came to seal what it had staged: the next one does. */
static void test_adopted(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    StoreTxn *txn = store_txn_begin(f->store, "job", &error);
    g_autofree char *dir = staging_path(f, NULL);
    g_autoptr(GBytes) bytes = make_bytes(7, 9000);
    Digest digest;
    hash_verity(g_bytes_get_data(bytes, NULL), 9000, &digest);
    g_autofree char *path = g_build_filename(dir, digest_hex(&digest).text, NULL);
    _autofd int journal = store_txn_journal(txn, &error);
    store_txn_free(txn);
    g_assert_true(
        file_replace_at(AT_FDCWD, path, g_bytes_get_data(bytes, NULL), 9000, 0644, 0, &error));
    txn = store_txn_begin(f->store, "job", &error);
    g_assert_true(store_txn_has(txn, &digest));
    g_assert_true(store_txn_done(txn, &error));
    store_txn_free(txn);
    g_assert_true(has_verity(f, &digest));
}

static void test_secure(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    make_secure(f);
    Digest good = put_one(f, 1, 5000), bare = put_one(f, 2, 6000);
    g_hash_table_remove_all(kernel.on);
    g_autoptr(GString) problems = g_string_new("");
    StoreFsckResult result;
    g_assert_null(store_read_object(f->store, &good, 1 << 20, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_CORRUPT);
    g_assert_nonnull(strstr(error->message, "has no fs-verity, in a store that requires it"));
    g_assert_true(check(f, problems, &result, NULL));
    g_assert_cmpuint(result.problems, ==, 2);
    g_clear_error(&error);

    struct stat st;
    g_assert_cmpint(fstatat(f->store->objects_fd, store_object_path(&good).text, &st, 0), ==, 0);
    g_hash_table_add(kernel.on, GSIZE_TO_POINTER(st.st_ino));
    g_autoptr(GBytes) bytes = store_read_object(f->store, &good, 1 << 20, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(g_bytes_get_size(bytes), ==, 5000);

    /* the bytes of one under the name of the other */
    g_assert_cmpint(renameat(f->store->objects_fd, store_object_path(&good).text,
                             f->store->objects_fd, store_object_path(&bare).text),
                    ==, 0);
    g_assert_null(store_read_object(f->store, &bare, 1 << 20, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_CORRUPT);
    g_assert_nonnull(strstr(error->message, "is damaged: fs-verity measures"));
}

/* A store that exists stays what it is; nothing is left where none could be made. */
static void test_init(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    const StoreInitOptions secure = {.require_verity = true};
    g_autofree char *path = g_build_filename(f->top, "other", NULL);
    g_assert_false(store_init_with(f->path, &secure, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, "was made without fs-verity"));
    g_clear_error(&error);
    g_assert_true(store_init_with(path, &secure, &error));
    g_autofree char *meta = g_build_filename(path, "meta.json", NULL);
    struct stat st;
    g_assert_cmpint(stat(meta, &st), ==, 0);
    g_assert_true(g_hash_table_contains(kernel.on, GSIZE_TO_POINTER(st.st_ino)));
}

static void test_init_refused(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    const StoreInitOptions secure = {.require_verity = true};
    g_autofree char *path = g_build_filename(f->top, "other", NULL);
    g_assert_false(store_init_with(path, &secure, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_UNSUPPORTED);
    g_assert_nonnull(strstr(error->message, "cannot make a store with fs-verity in '"));
    g_assert_nonnull(strstr(error->message, "\nhint: "));
    g_clear_error(&error);
    g_assert_null(store_open(path, &error));
    g_assert_error(error, ERROR_DOMAIN, ERROR_NOT_FOUND);
    g_assert_true(store_init(path, NULL)); /* but an ordinary one may be made there */
}

#define ADD(name, number, f)                                                                       \
    g_test_add("/verity/" name, Fixture, GINT_TO_POINTER(number), set_up_kernel, f,                \
               tear_down_kernel)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("on", 0, test_on);
    ADD("off/not-in-kernel", ENOTTY, test_off);
    ADD("off/not-in-filesystem", EOPNOTSUPP, test_off);
    ADD("off/small-blocks", EINVAL, test_off);
    ADD("off/secure/not-in-kernel", ENOTTY, test_off_secure);
    ADD("off/secure/not-in-filesystem", EOPNOTSUPP, test_off_secure);
    ADD("off/secure/busy", ETXTBSY, test_off_secure);
    ADD("fails/no-space", ENOSPC, test_fails);
    ADD("fails/io", EIO, test_fails);
    ADD("busy/for-a-moment", 0, test_busy_for_a_moment);
    ADD("busy/copies", 0, test_busy_copies);
    ADD("adopted", 0, test_adopted);
    ADD("secure", 0, test_secure);
    ADD("init", 0, test_init);
    ADD("init/refused/not-in-kernel", ENOTTY, test_init_refused);
    ADD("init/refused/not-in-filesystem", EOPNOTSUPP, test_init_refused);
    return g_test_run();
}
