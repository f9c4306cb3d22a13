/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/tar.h"

#include <string.h>

/* Reads are long although headers are short; a file of up to TAR_PIECE bytes lies in one piece. */
enum { BUFFER = TAR_PIECE + (256 << 10) };

void tar_input_init(TarInput *input, StoreReadFunc read, void *data, StoreStreamWriter *stream)
{
    *input = (TarInput){.read = read, .data = data, .stream = stream, .buffer = g_malloc(BUFFER)};
}

void tar_input_clear(TarInput *input)
{
    g_clear_pointer(&input->buffer, g_free);
}

/* Reads until so many bytes are there, or the end. */
static bool fill(TarInput *input, size_t size, GError **error)
{
    if (input->end - input->at >= size)
        return true;
    memmove(input->buffer, input->buffer + input->at, input->end - input->at);
    input->end -= input->at;
    input->at = 0;
    while (!input->ended && input->end < size) {
        ssize_t n =
            input->read(input->data, input->buffer + input->end, BUFFER - input->end, error);
        if (n < 0)
            return false;
        input->ended = n == 0;
        input->end += (size_t)n;
    }
    return true;
}

const uint8_t *tar_input_some(TarInput *input, size_t *size, GError **error)
{
    if (!fill(input, *size, error))
        return NULL;
    *size = MIN(*size, input->end - input->at);
    const uint8_t *bytes = input->buffer + input->at;
    input->at += *size;
    return bytes;
}

const uint8_t *tar_input_take(TarInput *input, size_t size, GError **error)
{
    size_t there = size;
    const uint8_t *bytes = tar_input_some(input, &there, error);
    if (bytes && there < size)
        return error_throw_null(error, ERROR_CORRUPT, "the tar ends too early");
    return bytes;
}

const uint8_t *tar_input_inline(TarInput *input, size_t size, GError **error)
{
    const uint8_t *bytes = tar_input_take(input, size, error);
    if (bytes && input->stream && size > 0 &&
        !store_stream_write_inline(input->stream, bytes, size, error))
        return NULL;
    return bytes;
}

bool tar_input_skip(TarInput *input, uint64_t size, GError **error)
{
    while (size > 0) {
        size_t n = (size_t)MIN(size, TAR_PIECE);
        if (!tar_input_inline(input, n, error))
            return false;
        size -= n;
    }
    return true;
}

bool tar_input_padding(TarInput *input, uint64_t size, GError **error)
{
    return tar_input_skip(input, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK, error);
}
