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
        return error_throw_errno_fd(error, "cannot set the mode of an object in '%s'",
                                    txn->store->path);
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
    if (!good || txn_knows(txn, &digest)) {
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

/* Bytes whose digest is known and that are not there. */
static bool put_new(StoreTxn *txn, const void *data, size_t size, const Digest *digest,
                    GError **error)
{
    char name[DIGEST_HEX_SIZE];
    _autofd int fd = create_object(txn, digest, name, error);
    if (fd < 0)
        return false;
    bool temporary = g_str_has_prefix(name, "tmp-"), good = true;
    if (!file_write_all(fd, data, size, error)) {
        unlinkat(txn->dirfd, name, 0);
        return store_prefix_write(txn->store, error);
    }
    start_writing(fd, size);
    sys_fd_closep(&fd);
    if (!store_seal(txn->store, txn->dirfd, name, digest, error)) {
        unlinkat(txn->dirfd, name, 0);
        return false;
    }
    g_mutex_lock(&txn->mutex);
    if (txn_knows(txn, digest)) { /* another thread was first */
        if (temporary)
            unlinkat(txn->dirfd, name, 0);
    } else if (temporary && renameat(txn->dirfd, name, txn->dirfd, digest_hex(digest).text) < 0) {
        good = error_throw_errno(error, "cannot stage object '%.12s'", digest_hex(digest).text);
    } else {
        good = txn_open_batch(txn, error) && txn_staged(txn, digest, size, error);
    }
    g_mutex_unlock(&txn->mutex);
    return good;
}

bool store_txn_put(StoreTxn *txn, const void *data, size_t size, Digest *out_object, GError **error)
{
    Digest digest;
    hash_verity(data, size, &digest);
    if (!store_txn_has(txn, &digest) && !put_new(txn, data, size, &digest, error))
        return false;
    *out_object = digest;
    return true;
}

/* --- from an fd ----------------------------------------------------------------------------------------- */

static bool read_piece(int fd, void *buffer, size_t room, size_t *out_size, GError **error)
{
    ssize_t n = sys_read_all(fd, buffer, room);
    if (n < 0) {
        errno = (int)-n;
        return error_throw_errno(error, "cannot read file");
    }
    *out_size = (size_t)n;
    return true;
}

static bool is_zero(const char *data, size_t size)
{
    return size > 0 && data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* The size of a hole at the file's position, which is after it then: an object may be a sparse file of any size. */
static uint64_t skip_hole(int fd)
{
    off_t at = lseek(fd, 0, SEEK_CUR), data = at < 0 ? -1 : lseek(fd, at, SEEK_DATA);
    if (at >= 0 && data < 0 && errno == ENXIO) /* the rest is one, or nothing */
        data = lseek(fd, 0, SEEK_END);
    return at < 0 || data <= at ? 0 : (uint64_t)(data - at);
}

/* Where the bytes of a file go as they are read. */
typedef struct {
    StoreWriter *writer; /* or only measured, by: */
    HashVerity *hash;
    HashSha256 *checksum; /* NULL: none */
} Sinks;

static bool take_piece(const Sinks *sinks, const char *data, size_t size, GError **error)
{
    if (sinks->checksum)
        hash_sha256_update(sinks->checksum, data, size);
    if (sinks->writer)
        return is_zero(data, size) ? store_writer_append_hole(sinks->writer, size, error)
                                   : store_writer_append(sinks->writer, data, size, error);
    hash_verity_update(sinks->hash, data, size);
    return true;
}

static bool take_hole(const Sinks *sinks, uint64_t size, GError **error)
{
    if (sinks->writer)
        return size == 0 || store_writer_append_hole(sinks->writer, size, error);
    hash_verity_update_zeros(sinks->hash, size);
    return true;
}

/* `first` bytes that are in the buffer already, and all that is left. */
static bool take_all(const Sinks *sinks, int fd, char *buffer, size_t room, size_t first,
                     uint64_t *out_size, GError **error)
{
    uint64_t total = 0, hole;
    for (size_t n = first;;) {
        if (!take_piece(sinks, buffer, n, error))
            return false;
        hole = !sinks->checksum && n == room && is_zero(buffer, n) ? skip_hole(fd) : 0;
        total += n + hole;
        if (!take_hole(sinks, hole, error) || !read_piece(fd, buffer, room, &n, error))
            return false;
        if (n == 0)
            break;
    }
    *out_size = total;
    return true;
}

bool store_measure(int fd, Digest *out_digest, uint64_t *out_size, GError **error)
{
    enum { MEASURE_PIECE = 1 << 17 };
    g_autoptr(HashVerity) hash = hash_verity_new();
    g_autofree char *buffer = g_malloc(MEASURE_PIECE);
    if (!take_all(&(Sinks){.hash = hash}, fd, buffer, MEASURE_PIECE, 0, out_size, error))
        return false;
    hash_verity_finish(hash, out_digest);
    return true;
}

static HashSha256 *begin_checksum(const PutFile *file)
{
    if (!file->prefix)
        return NULL;
    HashSha256 *hash = hash_sha256_new();
    hash_sha256_update(hash, g_bytes_get_data(file->prefix, NULL), g_bytes_get_size(file->prefix));
    return hash;
}

/* *out_found: the bytes are in the store, and `file` is complete. */
static bool find_large(StoreTxn *txn, PutFile *file, char *buffer, size_t first, bool *out_found,
                       GError **error)
{
    g_autoptr(HashVerity) hash = hash_verity_new();
    g_autoptr(HashSha256) checksum = begin_checksum(file);
    Sinks sinks = {.hash = hash, .checksum = checksum};
    if (!take_all(&sinks, file->fd, buffer, PUT_BUFFER, first, &file->size, error))
        return false;
    hash_verity_finish(hash, &file->object);
    if (checksum)
        hash_sha256_finish(checksum, &file->checksum);
    *out_found = store_txn_has(txn, &file->object);
    return true;
}

static bool write_large(StoreTxn *txn, PutFile *file, char *buffer, size_t first, GError **error)
{
    g_autoptr(HashSha256) checksum = begin_checksum(file);
    Sinks sinks = {.writer = store_writer_new(txn, error), .checksum = checksum};
    if (!sinks.writer)
        return false;
    if (!take_all(&sinks, file->fd, buffer, PUT_BUFFER, first, &file->size, error)) {
        store_writer_abort(sinks.writer);
        return false;
    }
    if (checksum)
        hash_sha256_finish(checksum, &file->checksum);
    start_writing(sinks.writer->fd, file->size);
    return store_writer_finish(sinks.writer, &file->object, error);
}

/* A large file is measured before anything of it is written when most so far were there already: a wrong guess costs a
 * second read, or a file written for nothing. */
static bool put_large(StoreTxn *txn, PutFile *file, char *buffer, size_t first, GError **error)
{
    g_mutex_lock(&txn->mutex);
    bool is_likely_there = txn->n_found > txn->n_put;
    g_mutex_unlock(&txn->mutex);
    off_t start = is_likely_there ? lseek(file->fd, 0, SEEK_CUR) - (off_t)first : -1;
    if (start >= 0) {
        bool found = false;
        if (!find_large(txn, file, buffer, first, &found, error) || found)
            return found;
        if (lseek(file->fd, start, SEEK_SET) < 0 ||
            !read_piece(file->fd, buffer, PUT_BUFFER, &first, error))
            return error_throw_errno(error, "cannot read file");
    }
    return write_large(txn, file, buffer, first, error);
}

bool txn_put_file(StoreTxn *txn, PutFile *file, char *buffer, GError **error)
{
    /* a regular file that ends where it was said to end: one system call */
    size_t room = file->expected < PUT_BUFFER ? (size_t)file->expected + 1 : PUT_BUFFER, rest = 0;
    ssize_t got = read(file->fd, buffer, room);
    if (got < 0)
        return error_throw_errno(error, "cannot read file");
    if ((uint64_t)got != file->expected &&
        !read_piece(file->fd, buffer + got, PUT_BUFFER - (size_t)got, &rest, error))
        return false;
    size_t n = (size_t)got + rest;
    if (n == PUT_BUFFER)
        return put_large(txn, file, buffer, n, error);
    g_autoptr(HashSha256) checksum = begin_checksum(file);
    if (checksum) {
        hash_sha256_update(checksum, buffer, n);
        hash_sha256_finish(checksum, &file->checksum);
    }
    file->size = n;
    return store_txn_put(txn, buffer, n, &file->object, error);
}

bool store_txn_put_fd(StoreTxn *txn, int fd, Digest *out_object, uint64_t *out_size, GError **error)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_throw_errno(error, "cannot look at a file");
    g_autofree char *buffer = g_malloc(PUT_BUFFER);
    PutFile file = {.fd = fd, .expected = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : UINT64_MAX};
    if (!txn_put_file(txn, &file, buffer, error))
        return false;
    *out_object = file.object;
    if (out_size)
        *out_size = file.size;
    return true;
}
