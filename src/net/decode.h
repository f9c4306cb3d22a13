/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Decoding a body while it arrives (atomic-fetch only).
 *
 * Small `.filez` bodies are gathered and inflated whole (libdeflate); large ones, and gzip, pass through zlib.
 * What comes is hostile: output never exceeds the limit nor the size that an object declares. */
#pragma once

#include "net/net.h"

/* Takes decoded bytes; false: stop (the taker knows why). */
typedef bool (*DecoderSink)(const void *bytes, size_t size, void *data);

typedef struct Decoder Decoder;
/* limit 0: none */
Decoder *decoder_new(NetDecode kind, uint64_t limit, DecoderSink sink, void *data);
void decoder_free(Decoder *decoder);
/* NET_OK, NET_MALFORMED or NET_TOO_LARGE; decoder_message() says more. */
NetOutcome decoder_write(Decoder *decoder, const void *bytes, size_t size);
/* The body is complete. */
NetOutcome decoder_end(Decoder *decoder);
const char *decoder_message(const Decoder *decoder);
