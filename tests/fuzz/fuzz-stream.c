/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A split stream, whatever it says, gives bytes or an error; and the bytes it gives have the size it claims. */
#include "fuzz-store.h"

#include "base/file.h"
#include "fuzz.h"

#include <string.h>
#include <unistd.h>
#include <zstd.h>

/* What the streams may refer to. Their digests come first in every input of the corpus that uses them. */
static void put_objects(FuzzStore *fuzz)
{
    char bytes[1000];
    Digest object;
    for (unsigned i = 0; i < 3; i++) {
        memset(bytes, 'a' + (int)i, sizeof bytes);
        MUST(store_txn_put(fuzz->txn, bytes, sizeof bytes - 300 * i, &object, NULL));
    }
    MUST(store_txn_flush(fuzz->txn, NULL));
}

/* The object whose bytes are the input, under a name that is as good as any: reading a stream does not measure it. */
static void put_stream(FuzzStore *fuzz, const Digest *object, const uint8_t *data, size_t size)
{
    const char *dir = "objects/ab";
    g_autofree char *path = g_strdup_printf("%s/%s", dir, digest_hex(object).text + 2);
    int fd = openat(store_dirfd(fuzz->store), path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        MUST(mkdirat(store_dirfd(fuzz->store), dir, 0755) == 0);
        fd = openat(store_dirfd(fuzz->store), path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    }
    MUST(fd >= 0 && file_write_all(fd, data, size, NULL));
    close(fd);
}

/* --- mutation of what is compressed ---------------------------------------------------------------------- */

enum { INFO_AT = 32, BODY = 2, NAMED = 3, HEAD = 112, ROOM = 1 << 16 };

static uint64_t number_at(const uint8_t *p)
{
    uint64_t number;
    memcpy(&number, p, sizeof number);
    return GUINT64_FROM_LE(number);
}

/* Mutates what is in the zstd frame of one section, which ends up at the end of the file. */
static size_t mutate_section(uint8_t *data, size_t size, size_t max_size, int section)
{
    uint8_t text[ROOM], packed[ROOM + 1024];
    uint8_t *range = data + INFO_AT + 16 * section;
    uint64_t start = number_at(range), end = number_at(range + 8);
    if (start > end || end > size || start < HEAD)
        return 0;
    size_t n = ZSTD_decompress(text, sizeof text, data + start, end - start);
    if (ZSTD_isError(n))
        return 0;
    n = LLVMFuzzerMutate(text, n, sizeof text);
    n = ZSTD_compress(packed, sizeof packed, text, n, 1);
    if (end == size)
        size = start;
    if (ZSTD_isError(n) || n > max_size - size)
        return 0;
    memcpy(data + size, packed, n);
    uint64_t to[2] = {GUINT64_TO_LE(size), GUINT64_TO_LE(size + n)};
    memcpy(range, to, sizeof to);
    return size + n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    size_t mutated = 0;
    if (seed % 4 && size >= HEAD)
        mutated = mutate_section(data, size, max_size, seed % 4 == 1 ? NAMED : BODY);
    return mutated ? mutated : LLVMFuzzerMutate(data, size, max_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { LIMIT = 1 << 20 };
    Digest object;
    bool new;
    memset(object.bytes, 0xab, sizeof object.bytes);
    FuzzStore *fuzz = fuzz_store(0, &new);
    if (new)
        put_objects(fuzz);
    put_stream(fuzz, &object, data, size);

    g_autoptr(GError) error = NULL;
    g_autoptr(StoreStream) stream = store_stream_open(fuzz->store, &object, &error);
    MUST(stream || error);
    if (!stream)
        return 0;
    for (size_t i = 0; i < store_stream_n_objects(stream); i++)
        store_stream_object(stream, i);
    g_auto(GStrv) names = store_stream_ref_names(stream, NULL);
    for (char **name = names; name && *name; name++)
        MUST(store_stream_ref(stream, *name, NULL));
    g_autoptr(GBytes) all = store_stream_read_all(stream, LIMIT, &error);
    MUST(all || error);
    MUST(!all || g_bytes_get_size(all) == store_stream_size(stream));
    return 0;
}
