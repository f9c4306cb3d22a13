/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store-fixture.h"

#include <unistd.h>
#include <zstd.h>

static void test_stream(Fixture *f, const void *data _unused)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    Digest one = put(txn, 1, 1000), two = put(txn, 2, 70), stream_object;
    StoreStreamWriter *writer = store_stream_writer_new(txn, 0x1234, &error);
    g_assert_true(store_stream_write_inline(writer, "abc", 3, &error));
    g_assert_true(store_stream_write_inline(writer, "def", 3, &error));
    g_assert_true(store_stream_write_object(writer, &one, 1000, &error));
    g_assert_true(store_stream_write_object(writer, &two, 70, &error));
    g_assert_true(store_stream_write_object(writer, &one, 1000, &error));
    g_assert_true(store_stream_write_inline(writer, "end", 3, &error));
    store_stream_add_ref(writer, "zwei", &two);
    store_stream_add_ref(writer, "eins", &one);
    g_assert_true(store_stream_finish(writer, &stream_object, &error));
    g_assert_true(store_txn_done(txn, &error));
    g_assert_true(store_link_stream(f->store, "test", &stream_object, &error));

    g_autoptr(StoreStream) stream = store_stream_open_id(f->store, "test", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(store_stream_content_type(stream), ==, 0x1234);
    g_assert_cmpuint(store_stream_size(stream), ==, 2079);
    g_assert_cmpuint(store_stream_n_objects(stream), ==, 2);
    g_assert_true(digest_equal(store_stream_ref(stream, "zwei", &error), &two));
    g_assert_null(store_stream_ref(stream, "drei", &error));
    g_assert_no_error(error);
    const uint8_t *bytes;
    size_t size;
    const Digest *object;
    g_assert_true(store_stream_next(stream, &bytes, &size, &object, &error));
    g_assert_cmpmem(bytes, size, "abcdef", 6);
    g_assert_true(store_stream_next(stream, &bytes, &size, &object, &error));
    g_assert_true(digest_equal(object, &one));
    g_clear_pointer(&stream, store_stream_free);
    stream = store_stream_open_id(f->store, "test", &error);
    g_autoptr(GBytes) all = store_stream_read_all(stream, 10000, &error);
    g_assert_cmpuint(g_bytes_get_size(all), ==, 2079);
    g_assert_cmpmem((const char *)g_bytes_get_data(all, NULL) + 2076, 3, "end", 3);
}

/* a stream with any byte wrong: refused or read, never a crash */
static void test_hostile_streams(Fixture *f, const void *data _unused)
{
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, NULL);
    Digest one = put(txn, 1, 100), object;
    StoreStreamWriter *writer = store_stream_writer_new(txn, 1, NULL);
    store_stream_write_inline(writer, "some text that is inline", 24, NULL);
    store_stream_write_object(writer, &one, 100, NULL);
    store_stream_add_ref(writer, "name", &one);
    g_assert_true(store_stream_finish(writer, &object, NULL));
    g_assert_true(store_txn_flush(txn, NULL));
    g_autofree char *path = g_strdup_printf("store/objects/%.2s/%s", digest_hex(&object).text,
                                            digest_hex(&object).text + 2);
    size_t size;
    g_autofree char *good = file_read_at(f->top_fd, path, 1 << 20, &size, NULL);
    for (size_t at = 0; at < size * 4; at++) {
        g_autofree char *bad = g_memdup2(good, size);
        bad[at / 4] ^= (char)(1 << (at % 4 * 2 + 1));
        g_assert_true(file_replace_at(f->top_fd, path, bad, size, 0644, 0, NULL));
        g_autoptr(GError) error = NULL;
        g_autoptr(StoreStream) stream = store_stream_open(f->store, &object, &error);
        if (!stream)
            continue;
        store_stream_ref(stream, "name", NULL);
        g_autoptr(GBytes) all = store_stream_read_all(stream, 1 << 20, &error);
        g_assert_true(all || error);
    }
}

/* --- streams that lie ------------------------------------------------------------------------------------ */

typedef struct {
    const char *named; /* records, each ended by a NUL */
    size_t named_size;
    const void *body; /* before compression */
    size_t body_size;
    uint64_t total;
    Digest *objects;
    size_t n_objects;
} Made;

static void add_number(GByteArray *bytes, uint64_t number)
{
    number = GUINT64_TO_LE(number);
    g_byte_array_append(bytes, (uint8_t *)&number, sizeof number);
}

static GByteArray *make_stream(const Made *made)
{
    size_t refs = made->n_objects * sizeof(Digest);
    g_autofree char *named = g_malloc(ZSTD_compressBound(made->named_size));
    g_autofree char *body = g_malloc(ZSTD_compressBound(made->body_size));
    size_t named_size = ZSTD_compress(named, ZSTD_compressBound(made->named_size), made->named,
                                      made->named_size, 1);
    size_t body_size =
        ZSTD_compress(body, ZSTD_compressBound(made->body_size), made->body, made->body_size, 1);
    GByteArray *file = g_byte_array_new();
    g_byte_array_append(file, (const uint8_t *)"SplitStream\0\0\0\1\14", 16);
    const size_t ends[] = {112, 112 + refs, 112 + refs + named_size,
                           112 + refs + named_size + body_size};
    add_number(file, 32);
    add_number(file, 112);
    add_number(file, ends[0]); /* no stream_refs */
    add_number(file, ends[0]);
    add_number(file, ends[0]);
    add_number(file, ends[1]);
    add_number(file, ends[2]);
    add_number(file, ends[3]);
    add_number(file, ends[1]);
    add_number(file, ends[2]);
    add_number(file, 1);
    add_number(file, made->total);
    if (refs)
        g_byte_array_append(file, (uint8_t *)made->objects, (guint)refs);
    g_byte_array_append(file, (uint8_t *)named, (guint)named_size);
    g_byte_array_append(file, (uint8_t *)body, (guint)body_size);
    return file;
}

/* NULL when it can be opened and read as a whole; else why not. */
static char *why_not(Fixture *f, const GByteArray *file)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    Digest object;
    g_assert_true(store_txn_put(txn, file->data, file->len, &object, &error));
    g_assert_true(store_txn_flush(txn, &error));
    g_autoptr(StoreStream) stream = store_stream_open(f->store, &object, &error);
    g_auto(GStrv) names = stream ? store_stream_ref_names(stream, &error) : NULL;
    g_autoptr(GBytes) all = names ? store_stream_read_all(stream, 1 << 20, &error) : NULL;
    if (all)
        return NULL;
    g_assert_nonnull(error);
    const char *reason = strstr(error->message, "is damaged: ");
    return g_strdup(reason ? reason + strlen("is damaged: ") : error->message);
}

static void assert_refused(Fixture *f, const Made *made, const char *reason)
{
    g_autoptr(GByteArray) file = make_stream(made);
    g_autofree char *message = why_not(f, file);
    g_assert_cmpstr(message, ==, reason);
}

static void test_stream_lies(Fixture *f, const void *data _unused)
{
    static const char inline_chunk[] = "\375\377\377\377\377\377\377\377abc"; /* -3 */
    static const char object_chunk[] = "\0\0\0\0\0\0\0\0";
    static const char empty_chunk[] = "\0\0\0\0\0\0\0\200abc"; /* INT64_MIN */
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, NULL);
    Digest objects[] = {put(txn, 1, 100)};
    g_assert_true(store_txn_flush(txn, NULL));
    Made made = {.named = "", .body = inline_chunk, .body_size = 11, .total = 3};
    assert_refused(f, &made, NULL);
    made.total = 2;
    assert_refused(f, &made, "it has not the size it claims");
    made.total = 4;
    assert_refused(f, &made, "it has not the size it claims");
    made = (Made){.named = "", .body = inline_chunk, .body_size = 10, .total = 3};
    assert_refused(f, &made, "it ends too early");
    made.body_size = 8;
    assert_refused(f, &made, "it ends too early");
    made.body_size = 5;
    assert_refused(f, &made, "it ends too early");
    made = (Made){.named = "", .body = empty_chunk, .body_size = 11, .total = INT64_MAX};
    assert_refused(f, &made, "it ends too early");
    made = (Made){.named = "", .body = object_chunk, .body_size = 8, .total = 100};
    assert_refused(f, &made, "it names an object that it does not list");
    made.objects = objects;
    made.n_objects = 1;
    assert_refused(f, &made, NULL);
    made.total = 99;
    assert_refused(f, &made, "it has not the size it claims");
    /* names of references */
    made.total = 100;
    static const struct {
        const char *text;
        size_t size;
    } names[] = {{"x:name", 7}, {":name", 6},  {"0:name", 6},
                 {"0name", 6},  {"1:name", 7}, {"99999999999999999999:n", 23}};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        made.named = names[i].text;
        made.named_size = names[i].size;
        assert_refused(f, &made, "a named reference is not well formed");
    }
}

/* a few kilobytes that claim to be gigabytes, in the body and in the names: neither memory nor time */
static void test_stream_bombs(Fixture *f, const void *data _unused)
{
    enum { SIZE = 64 << 20 };
    g_autofree char *zeros = g_malloc0(SIZE);
    int64_t chunk = GINT64_TO_LE(-(int64_t)(SIZE - 8));
    Made made = {.named = zeros, .named_size = SIZE, .body = "", .total = 0};
    assert_refused(f, &made, "its named references can't be decompressed");
    memcpy(zeros, &chunk, sizeof chunk);
    made = (Made){.named = "", .body = zeros, .body_size = SIZE, .total = 10};
    assert_refused(f, &made, "it has not the size it claims");
    made.total = SIZE - 8;
    assert_refused(f, &made, "the stream is larger than 1048576 bytes");
}

/* each number of the header wrong: nothing outside the file is looked at */
static void test_stream_ranges(Fixture *f, const void *data _unused)
{
    static const uint64_t wrong[] = {0, 1, 31, 111, 1 << 20, INT64_MAX, UINT64_MAX};
    Made made = {
        .named = "", .body = "\377\377\377\377\377\377\377\377x", .body_size = 9, .total = 1};
    for (size_t at = 16; at < 112; at += 8) {
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
            g_autoptr(GByteArray) file = make_stream(&made);
            uint64_t number = GUINT64_TO_LE(wrong[i]);
            memcpy(file->data + at, &number, sizeof number);
            g_autofree char *message = why_not(f, file);
            /* the content type; what it is; lists that are empty wherever they are */
            bool free_choice = at == 96 || (at == 104 && wrong[i] == 1);
            bool refs = (at == 32 || at == 40 || at == 48 || at == 56) && wrong[i] <= 111;
            g_assert_true(message || free_choice || refs);
        }
    }
}

/* What doesn't compress. */
static GBytes *make_noise(unsigned seed, size_t size)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    uint32_t *noise = g_malloc(size);
    for (size_t i = 0; i < size / sizeof *noise; i++)
        noise[i] = g_rand_int(random);
    return g_bytes_new_take(noise, size);
}

/* a chunk larger than what is held in memory, as one chunk, through the file beside it */
static void test_stream_large(Fixture *f, const void *data _unused)
{
    enum { PIECE = 1000004, N = 20 };
    g_autoptr(GError) error = NULL;
    g_autoptr(StoreTxn) txn = store_txn_begin(f->store, NULL, &error);
    StoreStreamWriter *writer = store_stream_writer_new(txn, 0, &error);
    Digest object;
    for (unsigned chunk = 0; chunk < 2; chunk++) {
        for (unsigned i = 0; i < N; i++) {
            g_autoptr(GBytes) bytes = make_noise(chunk * N + i, PIECE);
            g_assert_true(
                store_stream_write_inline(writer, g_bytes_get_data(bytes, NULL), PIECE, &error));
        }
        Digest between = put(txn, 7, 100);
        g_assert_true(store_stream_write_object(writer, &between, 100, &error));
    }
    g_assert_true(store_stream_finish(writer, &object, &error));
    g_assert_true(store_txn_done(txn, &error));
    g_autoptr(StoreStream) stream = store_stream_open(f->store, &object, &error);
    _autofd int fd = openat(f->top_fd, "out", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    g_assert_true(store_stream_write_fd(stream, fd, &error));
    g_assert_no_error(error);
    g_autofree char *back = g_malloc(PIECE);
    g_assert_cmpint(lseek(fd, 0, SEEK_SET), ==, 0);
    for (unsigned i = 0; i < 2 * N; i++) {
        g_autoptr(GBytes) bytes = make_noise(i, PIECE);
        g_assert_cmpint(sys_read_all(fd, back, PIECE), ==, PIECE);
        g_assert_cmpmem(back, PIECE, g_bytes_get_data(bytes, NULL), PIECE);
        if (i % N == N - 1)
            g_assert_cmpint(sys_read_all(fd, back, 100), ==, 100);
    }
    g_assert_cmpint(sys_read_all(fd, back, 1), ==, 0);
    /* one chunk: an object's number after each */
    g_autoptr(StoreStream) again = store_stream_open(f->store, &object, &error);
    const uint8_t *bytes;
    const Digest *piece;
    size_t size;
    uint64_t total = 0;
    do {
        g_assert_true(store_stream_next(again, &bytes, &size, &piece, &error));
        total += size;
    } while (!piece);
    g_assert_cmpuint(total, ==, (uint64_t)N * PIECE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("stream", test_stream);
    TEST("hostile-streams", test_hostile_streams);
    TEST("stream-lies", test_stream_lies);
    TEST("stream-bombs", test_stream_bombs);
    TEST("stream-ranges", test_stream_ranges);
    TEST("stream-large", test_stream_large);
    return g_test_run();
}
