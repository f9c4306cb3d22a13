/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: a chunk's length stands before it, so inline bytes are collected until something else comes, then
 * compressed; and the lists of references stand before the body. Both may be large (a tar of 10^6 empty files is one
 * chunk), so beyond a few MiB they are in a file without a name. */
#include "store/stream.h"
#include "store/txn.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

enum { ZSTD_LEVEL = 3, PIECE = 1 << 17, SPOOL_MEMORY = 8 << 20 };

/* Bytes to be read again from their beginning. */
typedef struct {
    GByteArray *memory; /* what is not in the file: the end */
    int fd;             /* -1: all is in memory */
    uint64_t size;
} Spool;

/* Unique digests in order of first use. */
typedef struct {
    GArray *digests;
    GHashTable *indices; /* Digest -> index + 1 */
} Refs;

struct StoreStreamWriter {
    StoreTxn *txn;
    uint64_t content_type, size;
    Refs objects, streams;
    GTree *names;  /* name -> index into streams, boxed; sorted by bytes */
    Spool pending; /* inline bytes of the chunk that grows */
    Spool body;    /* compressed */
    ZSTD_CStream *zstd;
};

/* --- spools --------------------------------------------------------------------------------------------- */

static void spool_init(Spool *spool)
{
    *spool = (Spool){.memory = g_byte_array_new(), .fd = -1};
}

static void spool_clear(Spool *spool)
{
    g_byte_array_unref(spool->memory);
    sys_fd_closep(&spool->fd);
}

static int create_unnamed(StoreTxn *txn, GError **error)
{
    int fd = openat(txn->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
        return fd >= 0 ? fd : error_throw_errno_fd(error, "cannot create a temporary file");
    /* the transaction's own directory: nobody else takes the name */
    fd = openat(txn->dirfd, "spool", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || unlinkat(txn->dirfd, "spool", 0) < 0)
        return error_throw_errno_fd(error, "cannot create a temporary file");
    return fd;
}

static bool spool_append(Spool *spool, StoreTxn *txn, const void *data, size_t size, GError **error)
{
    if (size > SPOOL_MEMORY - spool->memory->len) {
        if (spool->fd < 0)
            spool->fd = create_unnamed(txn, error);
        if (spool->fd < 0 ||
            !file_write_all(spool->fd, spool->memory->data, spool->memory->len, error) ||
            (size > SPOOL_MEMORY && !file_write_all(spool->fd, data, size, error)))
            return false;
        g_byte_array_set_size(spool->memory, 0);
    }
    if (size <= SPOOL_MEMORY)
        g_byte_array_append(spool->memory, data, (guint)size);
    spool->size += size;
    return true;
}

typedef bool (*TakeFunc)(void *data, const void *bytes, size_t size, GError **error);

/* Hands out all of it, and empties it. */
static bool spool_drain(Spool *spool, TakeFunc take, void *data, GError **error)
{
    uint64_t in_file = spool->size - spool->memory->len;
    g_autofree char *buffer = in_file ? g_malloc(PIECE) : NULL;
    for (uint64_t at = 0; at < in_file;) {
        ssize_t n = pread(spool->fd, buffer, (size_t)MIN(in_file - at, PIECE), (off_t)at);
        if (n <= 0)
            return error_throw_errno(error, "cannot read a temporary file");
        if (!take(data, buffer, (size_t)n, error))
            return false;
        at += (uint64_t)n;
    }
    bool good = take(data, spool->memory->data, spool->memory->len, error);
    g_byte_array_set_size(spool->memory, 0);
    spool->size = 0;
    if (in_file && (ftruncate(spool->fd, 0) < 0 || lseek(spool->fd, 0, SEEK_SET) < 0))
        return error_throw_errno(error, "cannot empty a temporary file");
    return good;
}

/* --- the writer ----------------------------------------------------------------------------------------- */

static void refs_init(Refs *refs)
{
    refs->digests = g_array_new(false, false, sizeof(Digest));
    refs->indices = g_hash_table_new_full(digest_hash, digest_equal_void, g_free, NULL);
}

static void refs_clear(Refs *refs)
{
    g_array_unref(refs->digests);
    g_hash_table_unref(refs->indices);
}

static uint32_t refs_add(Refs *refs, const Digest *digest)
{
    gpointer known = g_hash_table_lookup(refs->indices, digest);
    if (known)
        return GPOINTER_TO_UINT(known) - 1;
    g_array_append_val(refs->digests, *digest);
    g_hash_table_insert(refs->indices, g_memdup2(digest, sizeof *digest),
                        GUINT_TO_POINTER(refs->digests->len));
    return refs->digests->len - 1;
}

static int compare_names(const void *a, const void *b, void *data _unused)
{
    return strcmp(a, b);
}

StoreStreamWriter *store_stream_writer_new(StoreTxn *txn, uint64_t content_type,
                                           GError **error _unused)
{
    StoreStreamWriter *writer = g_new0(StoreStreamWriter, 1);
    writer->txn = txn;
    writer->content_type = content_type;
    refs_init(&writer->objects);
    refs_init(&writer->streams);
    writer->names = g_tree_new_full(compare_names, NULL, g_free, NULL);
    spool_init(&writer->pending);
    spool_init(&writer->body);
    writer->zstd = ZSTD_createCStream();
    ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    return writer;
}

void store_stream_abort(StoreStreamWriter *writer)
{
    if (!writer)
        return;
    refs_clear(&writer->objects);
    refs_clear(&writer->streams);
    g_tree_unref(writer->names);
    spool_clear(&writer->pending);
    spool_clear(&writer->body);
    ZSTD_freeCStream(writer->zstd);
    g_free(writer);
}

static bool compress(ZSTD_CStream *zstd, const void *data, size_t size, ZSTD_EndDirective how,
                     TakeFunc take, void *out, GError **error)
{
    ZSTD_inBuffer in = {data, size, 0};
    uint8_t buffer[16384];
    size_t left;
    do {
        ZSTD_outBuffer piece = {buffer, sizeof buffer, 0};
        left = ZSTD_compressStream2(zstd, &piece, &in, how);
        if (ZSTD_isError(left))
            return error_throw(error, ERROR_FAILED, "cannot compress a stream: %s",
                               ZSTD_getErrorName(left));
        if (piece.pos && !take(out, buffer, piece.pos, error))
            return false;
    } while (in.pos < in.size || (how == ZSTD_e_end && left > 0));
    return true;
}

static bool take_body(void *data, const void *bytes, size_t size, GError **error)
{
    StoreStreamWriter *writer = data;
    return spool_append(&writer->body, writer->txn, bytes, size, error);
}

static bool append_body(void *data, const void *bytes, size_t size, GError **error)
{
    StoreStreamWriter *writer = data;
    return compress(writer->zstd, bytes, size, ZSTD_e_continue, take_body, writer, error);
}

static bool append_number(StoreStreamWriter *writer, int64_t number, GError **error)
{
    int64_t little = GINT64_TO_LE(number);
    return append_body(writer, &little, sizeof little, error);
}

static bool flush_pending(StoreStreamWriter *writer, GError **error)
{
    return writer->pending.size == 0 ||
           (append_number(writer, -(int64_t)writer->pending.size, error) &&
            spool_drain(&writer->pending, append_body, writer, error));
}

bool store_stream_write_inline(StoreStreamWriter *writer, const void *data, size_t size,
                               GError **error)
{
    writer->size += size;
    return spool_append(&writer->pending, writer->txn, data, size, error);
}

bool store_stream_write_object(StoreStreamWriter *writer, const Digest *object, uint64_t size,
                               GError **error)
{
    writer->size += size;
    return flush_pending(writer, error) &&
           append_number(writer, store_stream_add_object(writer, object), error);
}

uint32_t store_stream_add_object(StoreStreamWriter *writer, const Digest *object)
{
    store_txn_keep(writer->txn, object);
    return refs_add(&writer->objects, object);
}

void store_stream_add_ref(StoreStreamWriter *writer, const char *name, const Digest *object)
{
    store_txn_keep(writer->txn, object);
    g_tree_replace(writer->names, g_strdup(name),
                   GUINT_TO_POINTER(refs_add(&writer->streams, object)));
}

static int append_name(void *name, void *index, void *data)
{
    GByteArray *text = data;
    g_autofree char *prefix = g_strdup_printf("%u:", GPOINTER_TO_UINT(index));
    g_byte_array_append(text, (const uint8_t *)prefix, (guint)strlen(prefix));
    g_byte_array_append(text, name, (guint)strlen(name) + 1);
    return false;
}

static bool take_bytes(void *data, const void *bytes, size_t size, GError **error _unused)
{
    g_byte_array_append(data, bytes, (guint)size);
    return true;
}

static GByteArray *compress_names(StoreStreamWriter *writer, GError **error)
{
    g_autoptr(GByteArray) text = g_byte_array_new(), out = g_byte_array_new();
    g_tree_foreach(writer->names, append_name, text);
    ZSTD_CStream *zstd = ZSTD_createCStream();
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, 0);
    bool good = compress(zstd, text->data, text->len, ZSTD_e_end, take_bytes, out, error);
    ZSTD_freeCStream(zstd);
    return good ? g_steal_pointer(&out) : NULL;
}

static void put_number(uint8_t *p, uint64_t number)
{
    number = GUINT64_TO_LE(number);
    memcpy(p, &number, sizeof number);
}

/* Appends a section and notes its range in the header. */
static void add_section(GByteArray *file, size_t range_at, const void *data, size_t size)
{
    put_number(file->data + range_at, file->len);
    put_number(file->data + range_at + 8, file->len + size);
    g_byte_array_append(file, data, (guint)size);
}

/* All but the body, which comes last. */
static GByteArray *assemble(StoreStreamWriter *writer, GError **error)
{
    g_autoptr(GByteArray) names = compress_names(writer, error);
    if (!names || !flush_pending(writer, error) ||
        !compress(writer->zstd, NULL, 0, ZSTD_e_end, take_body, writer, error))
        return NULL;
    uint8_t head[STREAM_HEADER_SIZE + STREAM_INFO_SIZE] = STREAM_MAGIC;
    head[STREAM_ALGORITHM_AT] = 1;
    head[STREAM_LG_AT] = 12;
    put_number(head + STREAM_INFO_AT, STREAM_HEADER_SIZE);
    put_number(head + STREAM_INFO_AT + 8, sizeof head);
    put_number(head + STREAM_HEADER_SIZE + 64, writer->content_type);
    put_number(head + STREAM_HEADER_SIZE + 72, writer->size);
    GByteArray *file = g_byte_array_new();
    g_byte_array_append(file, head, sizeof head);
    GArray *streams = writer->streams.digests, *objects = writer->objects.digests;
    add_section(file, STREAM_HEADER_SIZE, streams->data, streams->len * sizeof(Digest));
    add_section(file, STREAM_HEADER_SIZE + 16, objects->data, objects->len * sizeof(Digest));
    add_section(file, STREAM_HEADER_SIZE + 48, names->data, names->len);
    uint8_t *range = file->data + STREAM_HEADER_SIZE + 32;
    put_number(range, file->len);
    put_number(range + 8, file->len + writer->body.size);
    return file;
}

static bool take_object(void *data, const void *bytes, size_t size, GError **error)
{
    return store_writer_append(data, bytes, size, error);
}

static bool put_large(StoreStreamWriter *writer, const GByteArray *head, Digest *out_object,
                      GError **error)
{
    StoreWriter *object = store_writer_new(writer->txn, error);
    if (!object)
        return false;
    if (!store_writer_append(object, head->data, head->len, error) ||
        !spool_drain(&writer->body, take_object, object, error)) {
        store_writer_abort(object);
        return false;
    }
    return store_writer_finish(object, out_object, error);
}

bool store_stream_finish(StoreStreamWriter *writer, Digest *out_object, GError **error)
{
    g_autoptr(GByteArray) file = assemble(writer, error);
    bool good = file != NULL;
    if (good && writer->body.fd >= 0) {
        good = put_large(writer, file, out_object, error);
    } else if (good) {
        good = spool_drain(&writer->body, take_bytes, file, error) &&
               store_txn_put(writer->txn, file->data, file->len, out_object, error);
    }
    store_stream_abort(writer);
    return good;
}
