/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How it works: the object is mapped; the body is decompressed chunk by chunk into one buffer. The file may be
 * hostile (it can come with somebody's store): ranges are checked once at open, a chunk is handed out as it is
 * decompressed, whatever its length claims, and no more comes out than the size that the header claims. */
#include "store/layout.h"
#include "store/output.h"
#include "store/stream.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

typedef struct {
    const uint8_t *data;
    size_t size;
} Range;

struct StoreStream {
    Store *store;
    Digest object;
    uint8_t *map;
    size_t map_size;
    Range stream_refs, object_refs, body, named;
    uint64_t content_type, size;
    GHashTable *refs; /* name -> const Digest *, once asked for */
    ZSTD_DStream *zstd;
    ZSTD_inBuffer in;
    bool frame_done;
    uint8_t *out; /* decompressed, not taken yet */
    size_t out_at, out_size;
    uint64_t chunk_left; /* of the inline chunk that is being handed out */
    uint64_t handed_out; /* inline */
};

static uint64_t number_at(const uint8_t *p)
{
    uint64_t number;
    memcpy(&number, p, sizeof number);
    return GUINT64_FROM_LE(number);
}

static bool damaged(const StoreStream *stream, GError **error, const char *reason)
{
    return error_throw(error, ERROR_CORRUPT, "the stream object '%.12s' is damaged: %s",
                       digest_hex(&stream->object).text, reason);
}

static bool read_range(const StoreStream *stream, const uint8_t *p, Range *out_range,
                       GError **error)
{
    uint64_t start = number_at(p), end = number_at(p + 8);
    if (start > end || end > stream->map_size)
        return damaged(stream, error, "a section lies outside");
    *out_range = (Range){stream->map + start, end - start};
    return true;
}

static bool read_header(StoreStream *stream, GError **error)
{
    if (stream->map_size < STREAM_HEADER_SIZE + STREAM_INFO_SIZE)
        return damaged(stream, error, "it is too short");
    const uint8_t *p = stream->map, *info_range = p + STREAM_INFO_AT;
    const uint8_t *version = p + STREAM_VERSION_AT, *algorithm = p + STREAM_ALGORITHM_AT;
    if (memcmp(p, STREAM_MAGIC, STREAM_MAGIC_SIZE) != 0) {
        /* early writers had the header's fields in another order */
        info_range = p;
        version = p + 29;
        algorithm = p + 30;
        if (memcmp(p + 18, STREAM_MAGIC, STREAM_MAGIC_SIZE) != 0)
            return damaged(stream, error, "it is not a split stream");
    }
    if (*version != 0 || algorithm[0] != 1 || algorithm[1] != 12)
        return error_throw(error, ERROR_UNSUPPORTED,
                           "the stream object '%.12s' has an unknown version",
                           digest_hex(&stream->object).text);
    Range info = {NULL, 0};
    if (!read_range(stream, info_range, &info, error))
        return false;
    if (info.size < STREAM_INFO_SIZE)
        return damaged(stream, error, "its information is too short");
    if (!read_range(stream, info.data, &stream->stream_refs, error) ||
        !read_range(stream, info.data + 16, &stream->object_refs, error) ||
        !read_range(stream, info.data + 32, &stream->body, error) ||
        !read_range(stream, info.data + 48, &stream->named, error))
        return false;
    stream->content_type = number_at(info.data + 64);
    stream->size = number_at(info.data + 72);
    if (stream->stream_refs.size % DIGEST_SIZE || stream->object_refs.size % DIGEST_SIZE)
        return damaged(stream, error, "a list of references is not well formed");
    return true;
}

StoreStream *store_stream_open(Store *store, const Digest *object, GError **error)
{
    _autofd int fd = store_open_object(store, object, error);
    if (fd < 0)
        return NULL;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_throw_errno_null(error, "cannot look at object '%.12s'",
                                      digest_hex(object).text);
    g_autoptr(StoreStream) stream = g_new0(StoreStream, 1);
    stream->store = store_ref(store);
    stream->object = *object;
    if (st.st_size > 0) {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
            return error_throw_errno_null(error, "cannot read object '%.12s'",
                                          digest_hex(object).text);
        stream->map = map;
        stream->map_size = (size_t)st.st_size;
    }
    return read_header(stream, error) ? g_steal_pointer(&stream) : NULL;
}

StoreStream *store_stream_open_id(Store *store, const char *id, GError **error)
{
    Digest object;
    if (!store_find_stream(store, id, &object, error))
        return NULL;
    return store_stream_open(store, &object, error);
}

void store_stream_free(StoreStream *stream)
{
    if (!stream)
        return;
    if (stream->map)
        munmap(stream->map, stream->map_size);
    ZSTD_freeDStream(stream->zstd);
    g_clear_pointer(&stream->refs, g_hash_table_unref);
    g_free(stream->out);
    store_unref(stream->store);
    g_free(stream);
}

uint64_t store_stream_content_type(const StoreStream *stream)
{
    return stream->content_type;
}

uint64_t store_stream_size(const StoreStream *stream)
{
    return stream->size;
}

size_t store_stream_n_objects(const StoreStream *stream)
{
    return stream->object_refs.size / DIGEST_SIZE;
}

const Digest *store_stream_object(const StoreStream *stream, size_t index)
{
    return (const Digest *)(stream->object_refs.data + index * DIGEST_SIZE);
}

/* --- named references ----------------------------------------------------------------------------------- */

static bool parse_refs(StoreStream *stream, const char *text, size_t size, GError **error)
{
    if (size == 0) /* text may be NULL then */
        return true;
    for (const char *at = text, *end = text + size; at < end;) {
        const char *nul = memchr(at, '\0', (size_t)(end - at));
        char *colon = NULL;
        uint64_t index = nul ? g_ascii_strtoull(at, &colon, 10) : 0;
        if (!nul || !g_ascii_isdigit(*at) || *colon != ':' ||
            index >= stream->stream_refs.size / DIGEST_SIZE)
            return damaged(stream, error, "a named reference is not well formed");
        g_hash_table_insert(stream->refs, g_strdup(colon + 1),
                            (void *)(stream->stream_refs.data + index * DIGEST_SIZE));
        at = nul + 1;
    }
    return true;
}

static bool load_refs(StoreStream *stream, GError **error)
{
    if (stream->refs)
        return true;
    stream->refs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    ZSTD_DStream *zstd = ZSTD_createDStream();
    g_autoptr(GByteArray) text = g_byte_array_new();
    ZSTD_inBuffer in = {stream->named.data, stream->named.size, 0};
    size_t left = 1;
    uint8_t buffer[4096];
    ZSTD_outBuffer out;
    do {
        out = (ZSTD_outBuffer){buffer, sizeof buffer, 0};
        left = ZSTD_decompressStream(zstd, &out, &in);
        g_byte_array_append(text, buffer, (guint)out.pos);
    } while (!ZSTD_isError(left) && left > 0 && text->len <= STREAM_REFS_LIMIT &&
             (in.pos < in.size || out.pos == sizeof buffer));
    ZSTD_freeDStream(zstd);
    bool good = left == 0 ? parse_refs(stream, (const char *)text->data, text->len, error)
                          : damaged(stream, error, "its named references can't be decompressed");
    if (!good)
        g_clear_pointer(&stream->refs, g_hash_table_unref);
    return good;
}

const Digest *store_stream_ref(StoreStream *stream, const char *name, GError **error)
{
    if (!load_refs(stream, error))
        return NULL;
    return g_hash_table_lookup(stream->refs, name);
}

size_t store_stream_n_refs(const StoreStream *stream)
{
    return stream->stream_refs.size / DIGEST_SIZE;
}

const Digest *store_stream_nth_ref(const StoreStream *stream, size_t index)
{
    return (const Digest *)(stream->stream_refs.data + index * DIGEST_SIZE);
}

char **store_stream_ref_names(StoreStream *stream, GError **error)
{
    if (!load_refs(stream, error))
        return NULL;
    g_autofree gpointer *keys = g_hash_table_get_keys_as_array(stream->refs, NULL);
    return g_strdupv((char **)keys);
}

/* --- the body ------------------------------------------------------------------------------------------- */

/* Decompresses more into the empty buffer; *out_end when there is no more. */
static bool fill(StoreStream *stream, bool *out_end, GError **error)
{
    size_t capacity = ZSTD_DStreamOutSize();
    if (!stream->zstd) {
        stream->zstd = ZSTD_createDStream();
        stream->in = (ZSTD_inBuffer){stream->body.data, stream->body.size, 0};
        stream->out = g_malloc(capacity);
    }
    stream->out_at = stream->out_size = 0;
    *out_end = false;
    while (stream->out_size == 0) {
        if (stream->frame_done && stream->in.pos == stream->in.size) {
            *out_end = true;
            return true;
        }
        size_t before = stream->in.pos;
        ZSTD_outBuffer out = {stream->out, capacity, 0};
        size_t left = ZSTD_decompressStream(stream->zstd, &out, &stream->in);
        if (ZSTD_isError(left))
            return damaged(stream, error, ZSTD_getErrorName(left));
        stream->frame_done = left == 0;
        stream->out_size = out.pos;
        if (out.pos == 0 && left > 0 && stream->in.pos == before)
            return damaged(stream, error, "it ends too early");
    }
    return true;
}

/* Up to `size` bytes, none only at the end of the body. */
static bool take(StoreStream *stream, uint64_t size, const uint8_t **out_data, size_t *out_size,
                 GError **error)
{
    bool end = false;
    if (stream->out_at == stream->out_size && !fill(stream, &end, error))
        return false;
    *out_data = stream->out + stream->out_at;
    *out_size = end ? 0 : (size_t)MIN(size, stream->out_size - stream->out_at);
    stream->out_at += *out_size;
    return true;
}

/* The number that begins a chunk; *out_end when there is none. */
static bool take_number(StoreStream *stream, int64_t *out_number, bool *out_end, GError **error)
{
    uint8_t bytes[8];
    for (size_t at = 0; at < sizeof bytes;) {
        const uint8_t *piece;
        size_t n;
        if (!take(stream, sizeof bytes - at, &piece, &n, error))
            return false;
        *out_end = n == 0 && at == 0;
        if (*out_end)
            return true;
        if (n == 0)
            return damaged(stream, error, "it ends too early");
        memcpy(bytes + at, piece, n);
        at += n;
    }
    *out_number = (int64_t)number_at(bytes);
    return true;
}

/* The next piece of the inline chunk. */
static bool take_inline(StoreStream *stream, const uint8_t **out_data, size_t *out_size,
                        GError **error)
{
    if (!take(stream, stream->chunk_left, out_data, out_size, error))
        return false;
    if (*out_size == 0)
        return damaged(stream, error, "it ends too early");
    stream->chunk_left -= *out_size;
    stream->handed_out += *out_size;
    return stream->handed_out <= stream->size ||
           damaged(stream, error, "it has not the size it claims");
}

bool store_stream_next(StoreStream *stream, const uint8_t **out_data, size_t *out_size,
                       const Digest **out_object, GError **error)
{
    *out_data = NULL;
    *out_size = 0;
    *out_object = NULL;
    if (stream->chunk_left > 0)
        return take_inline(stream, out_data, out_size, error);
    int64_t n = 0;
    bool end = false;
    if (!take_number(stream, &n, &end, error) || end)
        return end;
    if (n < 0) {
        stream->chunk_left = -(uint64_t)n;
        return take_inline(stream, out_data, out_size, error);
    }
    if ((uint64_t)n >= store_stream_n_objects(stream))
        return damaged(stream, error, "it names an object that it does not list");
    *out_object = store_stream_object(stream, (size_t)n);
    return true;
}

static bool check_size(const StoreStream *stream, uint64_t size, GError **error)
{
    return size == stream->size || damaged(stream, error, "it has not the size it claims");
}

GBytes *store_stream_read_all(StoreStream *stream, size_t limit, GError **error)
{
    g_autoptr(GByteArray) all = g_byte_array_new();
    for (;;) {
        const uint8_t *data;
        const Digest *object;
        size_t size;
        if (!store_stream_next(stream, &data, &size, &object, error))
            return NULL;
        if (!data && !object)
            return check_size(stream, all->len, error)
                       ? g_byte_array_free_to_bytes(g_steal_pointer(&all))
                       : NULL;
        g_autoptr(GBytes) bytes = NULL;
        if (object) {
            bytes = store_read_object(stream->store, object, limit, error);
            if (!bytes)
                return NULL;
            data = g_bytes_get_data(bytes, &size);
        }
        if (size > limit - all->len)
            return error_throw_null(error, ERROR_INVALID, "the stream is larger than %zu bytes",
                                    limit);
        g_byte_array_append(all, data, (guint)size);
    }
}

static bool write_chunks(StoreStream *stream, StoreOutput *output, GError **error)
{
    for (;;) {
        const uint8_t *data;
        const Digest *object;
        size_t n;
        uint64_t size;
        if (!store_stream_next(stream, &data, &n, &object, error))
            return false;
        if (!data && !object)
            return check_size(stream, output->size, error) && store_output_flush(output, error);
        if (object && !store_object_size(stream->store, object, &size, error))
            return false;
        if (object && size > stream->size - MIN(output->size, stream->size))
            return check_size(stream, UINT64_MAX, error);
        if (!(object ? store_output_object(output, object, size, error)
                     : store_output_bytes(output, data, n, error)))
            return false;
    }
}

bool store_stream_write_fd(StoreStream *stream, int fd, GError **error)
{
    StoreOutput output;
    store_output_init(&output, stream->store, fd);
    bool good = write_chunks(stream, &output, error);
    store_output_clear(&output);
    return good;
}
