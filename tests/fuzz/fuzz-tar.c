/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A tar that is accepted comes back from its split stream byte for byte, and its tree can be written as a tar that
 * gives the same tree. The first byte says whether it is a layer. */
#include "fuzz-store.h"

#include "base/file.h"
#include "fuzz.h"

#include <string.h>

typedef struct {
    Store *store;
    const uint8_t *data;
    size_t size, at;
    GByteArray *out;
} Bytes;

static ssize_t read_bytes(void *data, void *buffer, size_t size, GError **error _unused)
{
    Bytes *bytes = data;
    size = MIN(size, bytes->size - bytes->at);
    memcpy(buffer, bytes->data + bytes->at, size);
    bytes->at += size;
    return (ssize_t)size;
}

static Tree *import(FuzzStore *fuzz, const uint8_t *data, size_t size, bool layer,
                    StoreStreamWriter *stream, GError **error)
{
    Bytes bytes = {.data = data, .size = size};
    return store_import_tar(fuzz->txn, read_bytes, &bytes, layer, stream, error);
}

static void check_stream(FuzzStore *fuzz, StoreStreamWriter *writer, const uint8_t *data,
                         size_t size)
{
    Digest object;
    MUST(store_stream_finish(writer, &object, NULL));
    MUST(store_txn_flush(fuzz->txn, NULL));
    g_autoptr(StoreStream) stream = store_stream_open(fuzz->store, &object, NULL);
    MUST(stream && store_stream_size(stream) == size);
    g_autoptr(GBytes) all = store_stream_read_all(stream, size, NULL);
    MUST(all && g_bytes_get_size(all) == size);
    MUST(size == 0 || memcmp(g_bytes_get_data(all, NULL), data, size) == 0);
}

static bool sink_bytes(void *data, const void *bytes, size_t size, GError **error _unused)
{
    g_byte_array_append(((Bytes *)data)->out, bytes, (guint)size);
    return true;
}

static bool sink_object(void *data, const Digest *object, uint64_t size, GError **error)
{
    enum { LARGEST = 1 << 22 }; /* sparse files claim more */
    Bytes *bytes = data;
    g_autoptr(GBytes) content = size > LARGEST
                                    ? error_throw_null(error, ERROR_INVALID, "too large")
                                    : store_read_object(bytes->store, object, LARGEST, error);
    if (!content)
        return false;
    MUST(g_bytes_get_size(content) == size);
    return sink_bytes(data, g_bytes_get_data(content, NULL), size, error);
}

static void check_tree(FuzzStore *fuzz, Tree *tree, bool layer)
{
    static const StoreTarSink sink = {sink_bytes, sink_object};
    g_autoptr(GByteArray) out = g_byte_array_new();
    Bytes bytes = {.store = fuzz->store, .out = out};
    if (!store_write_tar(tree, &sink, &bytes, NULL))
        return;
    g_autoptr(GError) error = NULL;
    g_autoptr(Tree) again = import(fuzz, out->data, out->len, layer, NULL, &error);
    if (!again) {
        fprintf(stderr, "%s\n", error->message);
        MUST(again);
    }
    g_autofree char *before = tree_format_dump(tree), *after = tree_format_dump(again);
    if (strcmp(before, after) != 0) {
        fprintf(stderr, "%s\n---\n%s\n", before, after);
        MUST(strcmp(before, after) == 0);
    }
}

/* Mutation alone doesn't get past the checksums of headers. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed _unused)
{
    enum { BLOCK = 512, CHECKSUM = 148, MAGIC = 257 };
    size = LLVMFuzzerMutate(data, size, max_size);
    for (size_t at = 1; at + BLOCK <= size; at += BLOCK) {
        uint8_t *header = data + at;
        if (memcmp(header + MAGIC, "ustar", 5) != 0)
            continue;
        char text[8];
        unsigned sum = 0;
        memset(header + CHECKSUM, ' ', sizeof text);
        for (int i = 0; i < BLOCK; i++)
            sum += header[i];
        g_snprintf(text, sizeof text, "%06o", sum);
        memcpy(header + CHECKSUM, text, 7);
    }
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    bool new, layer = data[0] & 1;
    FuzzStore *fuzz = fuzz_store(500, &new);
    StoreStreamWriter *writer = store_stream_writer_new(fuzz->txn, 0, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(Tree) tree = import(fuzz, data + 1, size - 1, layer, writer, &error);
    MUST(tree || error);
    if (!tree) {
        store_stream_abort(writer);
        return 0;
    }
    check_stream(fuzz, writer, data + 1, size - 1);
    check_tree(fuzz, tree, layer);
    return 0;
}
