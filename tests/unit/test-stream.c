/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store-fixture.h"

#include <unistd.h>

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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("stream", test_stream);
    TEST("hostile-streams", test_hostile_streams);
    return g_test_run();
}
