/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/stream.h"
#include "store/txn.h"

#include <string.h>
#include <zstd.h>

enum { ZSTD_LEVEL = 3 };

/* Unique digests in order of first use. */
typedef struct {
    GArray *digests;
    GHashTable *indices; /* Digest -> index + 1 */
} Refs;

struct StoreStreamWriter {
    StoreTxn *txn;
    uint64_t content_type, size;
    Refs objects, streams;
    GTree *names;        /* name -> index into streams, boxed; sorted by bytes */
    GByteArray *pending; /* inline bytes of the chunk that grows */
    GByteArray *body;    /* compressed */
    ZSTD_CStream *zstd;
};

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
    writer->pending = g_byte_array_new();
    writer->body = g_byte_array_new();
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
    g_byte_array_unref(writer->pending);
    g_byte_array_unref(writer->body);
    ZSTD_freeCStream(writer->zstd);
    g_free(writer);
}

static bool compress(ZSTD_CStream *zstd, const void *data, size_t size, ZSTD_EndDirective how,
                     GByteArray *out, GError **error)
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
        g_byte_array_append(out, buffer, (guint)piece.pos);
    } while (in.pos < in.size || (how == ZSTD_e_end && left > 0));
    return true;
}

static bool append_body(StoreStreamWriter *writer, const void *data, size_t size, GError **error)
{
    return compress(writer->zstd, data, size, ZSTD_e_continue, writer->body, error);
}

static bool append_number(StoreStreamWriter *writer, int64_t number, GError **error)
{
    int64_t little = GINT64_TO_LE(number);
    return append_body(writer, &little, sizeof little, error);
}

static bool flush_pending(StoreStreamWriter *writer, GError **error)
{
    if (writer->pending->len == 0)
        return true;
    bool good = append_number(writer, -(int64_t)writer->pending->len, error) &&
                append_body(writer, writer->pending->data, writer->pending->len, error);
    g_byte_array_set_size(writer->pending, 0);
    return good;
}

bool store_stream_write_inline(StoreStreamWriter *writer, const void *data, size_t size,
                               GError **error)
{
    if (size > (1u << 30) - writer->pending->len)
        return error_throw(error, ERROR_INVALID, "more than 1 GiB in one piece of a stream");
    g_byte_array_append(writer->pending, data, (guint)size);
    writer->size += size;
    return true;
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

static GByteArray *compress_names(StoreStreamWriter *writer, GError **error)
{
    g_autoptr(GByteArray) text = g_byte_array_new(), out = g_byte_array_new();
    g_tree_foreach(writer->names, append_name, text);
    ZSTD_CStream *zstd = ZSTD_createCStream();
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, 0);
    bool good = compress(zstd, text->data, text->len, ZSTD_e_end, out, error);
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

static GByteArray *assemble(StoreStreamWriter *writer, GError **error)
{
    g_autoptr(GByteArray) names = compress_names(writer, error);
    if (!names || !flush_pending(writer, error) ||
        !compress(writer->zstd, NULL, 0, ZSTD_e_end, writer->body, error))
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
    add_section(file, STREAM_HEADER_SIZE + 32, writer->body->data, writer->body->len);
    return file;
}

bool store_stream_finish(StoreStreamWriter *writer, Digest *out_object, GError **error)
{
    g_autoptr(GByteArray) file = assemble(writer, error);
    bool good = file && store_txn_put(writer->txn, file->data, file->len, out_object, error);
    store_stream_abort(writer);
    return good;
}
