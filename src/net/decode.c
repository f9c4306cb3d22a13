/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "net/decode.h"

#include <libdeflate.h>
#include <string.h>
#include <zlib.h>

#define FILEZ_PREFIX       8           /* big-endian header length, four zero bytes */
#define FILEZ_HEADER_MAX   (16u << 20) /* xattrs are what can make it long */
#define FILEZ_WHOLE_PACKED (4u << 20)  /* up to these sizes it is inflated in one go */
#define FILEZ_WHOLE_SIZE   (32u << 20)

struct Decoder {
    NetDecode kind;
    uint64_t limit, delivered;
    DecoderSink sink;
    void *data;
    const char *message;
    GByteArray *gathered; /* .filez: header, then packed bytes */
    bool have_header, is_content;
    uint64_t content_size, content_done; /* .filez */
    bool inflating, ended;               /* z is set up; end of the deflate stream was seen */
    z_stream z;
};

Decoder *decoder_new(NetDecode kind, uint64_t limit, DecoderSink sink, void *data)
{
    Decoder *decoder = g_new0(Decoder, 1);
    decoder->kind = kind;
    decoder->limit = limit;
    decoder->sink = sink;
    decoder->data = data;
    decoder->message = "";
    decoder->gathered = g_byte_array_new();
    return decoder;
}

void decoder_free(Decoder *decoder)
{
    if (!decoder)
        return;
    if (decoder->inflating)
        inflateEnd(&decoder->z);
    g_byte_array_unref(decoder->gathered);
    g_free(decoder);
}

const char *decoder_message(const Decoder *decoder)
{
    return decoder->message;
}

static NetOutcome fail(Decoder *decoder, NetOutcome outcome, const char *message)
{
    decoder->message = message;
    return outcome;
}

static NetOutcome deliver(Decoder *decoder, const void *bytes, size_t size)
{
    if (decoder->limit && size > decoder->limit - decoder->delivered)
        return fail(decoder, NET_TOO_LARGE, "it is larger than allowed");
    decoder->delivered += size;
    if (size && !decoder->sink(bytes, size, decoder->data))
        return fail(decoder, NET_TRANSPORT, "nobody takes it");
    return NET_OK;
}

static NetOutcome deliver_content(Decoder *decoder, const void *bytes, size_t size)
{
    if (size > decoder->content_size - decoder->content_done)
        return fail(decoder, NET_MALFORMED, "the object is longer than its header says");
    decoder->content_done += size;
    return deliver(decoder, bytes, size);
}

static void start_inflate(Decoder *decoder)
{
    int window = decoder->kind == NET_DECODE_GZIP ? 16 + MAX_WBITS : -MAX_WBITS;
    if (inflateInit2(&decoder->z, window) != Z_OK)
        g_error("out of memory");
    decoder->inflating = true;
}

static NetOutcome inflate_some(Decoder *decoder, const void *bytes, size_t size)
{
    static uint8_t buffer[256 << 10];
    z_stream *z = &decoder->z;
    z->next_in = (uint8_t *)bytes;
    z->avail_in = (unsigned)size;
    while (z->avail_in) {
        if (decoder->ended) {
            /* gzip files may be several members after each other; deflate has one end */
            if (decoder->kind != NET_DECODE_GZIP || inflateReset(z) != Z_OK)
                return fail(decoder, NET_MALFORMED, "bytes follow the end of the compressed data");
            decoder->ended = false;
        }
        do {
            z->next_out = buffer;
            z->avail_out = sizeof buffer;
            int status = inflate(z, Z_NO_FLUSH);
            if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR)
                return fail(decoder, NET_MALFORMED, "the compressed data is damaged");
            size_t n = sizeof buffer - z->avail_out;
            NetOutcome outcome = decoder->kind == NET_DECODE_GZIP
                                     ? deliver(decoder, buffer, n)
                                     : deliver_content(decoder, buffer, n);
            if (outcome != NET_OK)
                return outcome;
            decoder->ended = status == Z_STREAM_END;
        } while (z->avail_out == 0 && !decoder->ended);
    }
    return NET_OK;
}

/* The first bytes of a .filez: passes the header on when it is complete and learns the content's size. */
static NetOutcome take_header(Decoder *decoder)
{
    GByteArray *all = decoder->gathered;
    if (all->len < FILEZ_PREFIX)
        return NET_OK;
    uint32_t length;
    memcpy(&length, all->data, sizeof length);
    length = GUINT32_FROM_BE(length);
    /* (tuuuusa(ayay)): the fixed members are 24 bytes, then at least a NUL and an offset */
    if (length < 26 || length > FILEZ_HEADER_MAX)
        return fail(decoder, NET_MALFORMED, "the object has no valid header");
    if (all->len < FILEZ_PREFIX + length)
        return NET_OK;
    uint64_t size;
    uint32_t mode;
    memcpy(&size, all->data + FILEZ_PREFIX, sizeof size);
    memcpy(&mode, all->data + FILEZ_PREFIX + 16, sizeof mode);
    decoder->content_size = GUINT64_FROM_BE(size);
    decoder->is_content = (GUINT32_FROM_BE(mode) & 0170000) == 0100000;
    if (!decoder->is_content && size)
        return fail(decoder, NET_MALFORMED, "the object has no valid header");
    NetOutcome outcome = deliver(decoder, all->data, FILEZ_PREFIX + length);
    g_byte_array_remove_range(all, 0, FILEZ_PREFIX + length);
    decoder->have_header = true;
    return outcome;
}

static NetOutcome write_filez(Decoder *decoder, const void *bytes, size_t size)
{
    if (decoder->inflating)
        return inflate_some(decoder, bytes, size);
    g_byte_array_append(decoder->gathered, bytes, (unsigned)size);
    if (!decoder->have_header) {
        NetOutcome outcome = take_header(decoder);
        if (outcome != NET_OK || !decoder->have_header)
            return outcome;
    }
    if (!decoder->is_content && decoder->gathered->len)
        return fail(decoder, NET_MALFORMED, "bytes follow the header of a symbolic link");
    if (decoder->content_size <= FILEZ_WHOLE_SIZE && decoder->gathered->len <= FILEZ_WHOLE_PACKED)
        return NET_OK;
    start_inflate(decoder);
    NetOutcome outcome = inflate_some(decoder, decoder->gathered->data, decoder->gathered->len);
    g_byte_array_set_size(decoder->gathered, 0);
    return outcome;
}

NetOutcome decoder_write(Decoder *decoder, const void *bytes, size_t size)
{
    switch (decoder->kind) {
    case NET_DECODE_FILEZ:
        return write_filez(decoder, bytes, size);
    case NET_DECODE_GZIP:
        if (!decoder->inflating)
            start_inflate(decoder);
        return inflate_some(decoder, bytes, size);
    default:
        return deliver(decoder, bytes, size);
    }
}

static NetOutcome inflate_whole(Decoder *decoder)
{
    static struct libdeflate_decompressor *inflater;
    if (!inflater)
        inflater = libdeflate_alloc_decompressor();
    g_autofree uint8_t *content = g_malloc(decoder->content_size + 1);
    size_t size = 0, used = 0;
    enum libdeflate_result result =
        libdeflate_deflate_decompress_ex(inflater, decoder->gathered->data, decoder->gathered->len,
                                         content, decoder->content_size, &used, &size);
    if (result == LIBDEFLATE_INSUFFICIENT_SPACE)
        return fail(decoder, NET_MALFORMED, "the object is longer than its header says");
    if (result != LIBDEFLATE_SUCCESS || used != decoder->gathered->len)
        return fail(decoder, NET_MALFORMED, "the compressed data is damaged or cut short");
    return deliver_content(decoder, content, size);
}

NetOutcome decoder_end(Decoder *decoder)
{
    if (decoder->kind == NET_DECODE_NONE)
        return NET_OK;
    if (decoder->kind == NET_DECODE_FILEZ) {
        if (!decoder->have_header)
            return fail(decoder, NET_MALFORMED, "the object is cut short");
        if (!decoder->is_content)
            return NET_OK;
        if (!decoder->inflating) {
            NetOutcome outcome = inflate_whole(decoder);
            if (outcome != NET_OK)
                return outcome;
            decoder->ended = true;
        }
        if (decoder->content_done != decoder->content_size)
            return fail(decoder, NET_MALFORMED, "the object is shorter than its header says");
    }
    if (!decoder->ended)
        return fail(decoder, NET_MALFORMED, "the compressed data is cut short");
    return NET_OK;
}
