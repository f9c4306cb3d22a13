/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes into the staging directory of a transaction: whole, from an fd, or piece by piece. Each file is closed, then
 * sealed (store/verity.c), then counts as staged. */
#include "base/hash.h"
#include "store/txn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct StoreWriter {
    StoreTxn *txn;
    int fd;
    uint64_t size;
    char name[32];
    HashVerity *hash;
};

static int create_file(StoreTxn *txn, const char *name, GError **error)
{
    _autofd int fd = openat(txn->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_throw_errno_fd(error, "cannot create a file in the store '%s'",
                                    txn->store->path);
    if (!txn->modes_set && fchmod(fd, 0644) < 0)
        return error_throw_errno_fd(error, "cannot set the mode of an object");
    return fd_steal(&fd);
}

StoreWriter *store_writer_new(StoreTxn *txn, GError **error)
{
    g_autofree StoreWriter *writer = g_new0(StoreWriter, 1);
    writer->txn = txn;
    g_mutex_lock(&txn->mutex);
    g_snprintf(writer->name, sizeof writer->name, "tmp-%u", txn->counter++);
    bool open = txn_open_batch(txn, error);
    g_mutex_unlock(&txn->mutex);
    writer->fd = open ? create_file(txn, writer->name, error) : -1;
    if (writer->fd < 0)
        return NULL;
    writer->hash = hash_verity_new();
    return g_steal_pointer(&writer);
}

bool store_writer_append(StoreWriter *writer, const void *data, size_t size, GError **error)
{
    hash_verity_update(writer->hash, data, size);
    writer->size += size;
    return file_write_all(writer->fd, data, size, error) ||
           store_prefix_write(writer->txn->store, error);
}

bool store_writer_append_hole(StoreWriter *writer, uint64_t size, GError **error)
{
    hash_verity_update_zeros(writer->hash, size);
    writer->size += size;
    return (ftruncate(writer->fd, (off_t)writer->size) == 0 &&
            lseek(writer->fd, 0, SEEK_END) >= 0) ||
           error_throw_errno(error, "cannot make a sparse object of %" G_GUINT64_FORMAT " bytes",
                             writer->size);
}

static void writer_free(StoreWriter *writer)
{
    sys_fd_closep(&writer->fd);
    hash_verity_free(writer->hash);
    g_free(writer);
}

void store_writer_abort(StoreWriter *writer)
{
    if (!writer)
        return;
    unlinkat(writer->txn->dirfd, writer->name, 0);
    writer_free(writer);
}

bool store_writer_finish(StoreWriter *writer, Digest *out_object, GError **error)
{
    StoreTxn *txn = writer->txn;
    Digest digest;
    hash_verity_finish(writer->hash, &digest);
    sys_fd_closep(&writer->fd);
    bool good = store_txn_has(txn, &digest) ||
                store_seal(txn->store, txn->dirfd, writer->name, &digest, error);
    g_mutex_lock(&txn->mutex);
    if (!good || txn_present(txn, &digest)) {
        unlinkat(txn->dirfd, writer->name, 0);
    } else if (!txn_open_batch(txn, error)) {
        good = false;
    } else if (renameat(txn->dirfd, writer->name, txn->dirfd, digest_hex(&digest).text) < 0) {
        good = error_throw_errno(error, "cannot stage object '%.12s'", digest_hex(&digest).text);
    } else {
        good = txn_staged(txn, &digest, writer->size, error);
    }
    g_mutex_unlock(&txn->mutex);
    writer_free(writer);
    if (good)
        *out_object = digest;
    return good;
}

/* The file under its own name at once: a killed writer's files are measured before they are believed. When another
 * thread is at the same bytes, under a name that `name` gets. */
static int create_object(StoreTxn *txn, const Digest *digest, char name[DIGEST_HEX_SIZE],
                         GError **error)
{
    g_mutex_lock(&txn->mutex);
    bool open = txn_open_batch(txn, error);
    unsigned number = txn->counter++;
    g_mutex_unlock(&txn->mutex);
    if (!open)
        return -1;
    g_autoptr(GError) failed = NULL;
    memcpy(name, digest_hex(digest).text, DIGEST_HEX_SIZE);
    int fd = create_file(txn, name, &failed);
    if (fd >= 0 || !error_is(failed, ERROR_EXISTS)) {
        if (fd < 0)
            g_propagate_error(error, g_steal_pointer(&failed));
        return fd;
    }
    g_snprintf(name, DIGEST_HEX_SIZE, "tmp-%u", number);
    return create_file(txn, name, error);
}

/* The disk begins with large files now, so that less is left for the batch's sync to wait for. No more than a hint. */
static void start_writing(int fd, size_t size)
{
    enum { WORTHWHILE = 64 << 10 };
    if (size >= WORTHWHILE)
        sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

bool store_txn_put(StoreTxn *txn, const void *data, size_t size, Digest *out_object, GError **error)
{
    Digest digest;
    hash_verity(data, size, &digest);
    if (store_txn_has(txn, &digest)) {
        *out_object = digest;
        return true;
    }
    char name[DIGEST_HEX_SIZE];
    _autofd int fd = create_object(txn, &digest, name, error);
    if (fd < 0)
        return false;
    bool temporary = g_str_has_prefix(name, "tmp-"), good = true;
    if (!file_write_all(fd, data, size, error)) {
        unlinkat(txn->dirfd, name, 0);
        return store_prefix_write(txn->store, error);
    }
    start_writing(fd, size);
    sys_fd_closep(&fd);
    if (!store_seal(txn->store, txn->dirfd, name, &digest, error)) {
        unlinkat(txn->dirfd, name, 0);
        return false;
    }
    g_mutex_lock(&txn->mutex);
    if (txn_present(txn, &digest)) { /* another thread was first */
        if (temporary)
            unlinkat(txn->dirfd, name, 0);
    } else if (temporary && renameat(txn->dirfd, name, txn->dirfd, digest_hex(&digest).text) < 0) {
        good = error_throw_errno(error, "cannot stage object '%.12s'", digest_hex(&digest).text);
    } else {
        good = txn_open_batch(txn, error) && txn_staged(txn, &digest, size, error);
    }
    g_mutex_unlock(&txn->mutex);
    if (good)
        *out_object = digest;
    return good;
}

static bool is_zero(const char *data, size_t size)
{
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* A hole at the file's position is hashed without being read: an object may be a sparse file of any size. */
static uint64_t skip_hole(int fd, HashVerity *hash)
{
    off_t at = lseek(fd, 0, SEEK_CUR), data = at < 0 ? -1 : lseek(fd, at, SEEK_DATA);
    if (at >= 0 && data < 0 && errno == ENXIO) /* the rest is one, or nothing */
        data = lseek(fd, 0, SEEK_END);
    if (at < 0 || data <= at)
        return 0;
    hash_verity_update_zeros(hash, (uint64_t)(data - at));
    return (uint64_t)(data - at);
}

bool store_measure(int fd, Digest *out_digest, uint64_t *out_size, GError **error)
{
    enum { MEASURE_PIECE = 1 << 17 };
    g_autoptr(HashVerity) hash = hash_verity_new();
    g_autofree char *buffer = g_malloc(MEASURE_PIECE);
    uint64_t total = 0;
    for (;;) {
        ssize_t n = sys_read_all(fd, buffer, MEASURE_PIECE);
        if (n < 0) {
            errno = (int)-n;
            return error_throw_errno(error, "cannot read a file");
        }
        if (n == 0)
            break;
        hash_verity_update(hash, buffer, (size_t)n);
        total += (uint64_t)n;
        if (n == MEASURE_PIECE && is_zero(buffer, (size_t)n))
            total += skip_hole(fd, hash);
    }
    hash_verity_finish(hash, out_digest);
    *out_size = total;
    return true;
}

/* Files up to this are read whole, so that those that are there already cost no write. */
enum { WHOLE_MAX = 8 << 20, PIECE = 1 << 20 };

static bool put_pieces(StoreTxn *txn, int fd, const char *first, size_t first_size,
                       Digest *out_object, uint64_t *out_size, GError **error)
{
    StoreWriter *writer = store_writer_new(txn, error);
    if (!writer)
        return false;
    g_autofree char *buffer = g_malloc(PIECE);
    uint64_t total = first_size;
    bool good = store_writer_append(writer, first, first_size, error);
    while (good) {
        ssize_t n = sys_read_all(fd, buffer, PIECE);
        if (n < 0) {
            errno = (int)-n;
            good = error_throw_errno(error, "cannot read file");
        } else if (n == 0) {
            break;
        } else {
            total += (uint64_t)n;
            good = store_writer_append(writer, buffer, (size_t)n, error);
        }
    }
    if (!good) {
        store_writer_abort(writer);
        return false;
    }
    *out_size = total;
    return store_writer_finish(writer, out_object, error);
}

bool store_txn_put_fd(StoreTxn *txn, int fd, Digest *out_object, uint64_t *out_size, GError **error)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_throw_errno(error, "cannot look at a file");
    size_t room = st.st_size > 0 && st.st_size < WHOLE_MAX ? (size_t)st.st_size + 1 : WHOLE_MAX;
    g_autofree char *buffer = g_malloc(room);
    /* of a regular file a short read is the end; the common case is one system call */
    ssize_t n = read(fd, buffer, room);
    bool whole = n >= 0 && S_ISREG(st.st_mode) && n == st.st_size;
    if (!whole && n >= 0) {
        ssize_t rest = sys_read_all(fd, buffer + n, room - (size_t)n);
        n = rest < 0 ? (errno = (int)-rest, -1) : n + rest;
    }
    if (n < 0)
        return error_throw_errno(error, "cannot read file");
    uint64_t size = (uint64_t)n;
    bool good = (size_t)n < room ? store_txn_put(txn, buffer, (size_t)n, out_object, error)
                                 : put_pieces(txn, fd, buffer, (size_t)n, out_object, &size, error);
    if (good && out_size)
        *out_size = size;
    return good;
}
