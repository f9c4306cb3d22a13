/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes and whole objects, one after the other, into an fd: a file, a pipe or a socket. Private to src/store. */
#pragma once

#include "store/store.h"

typedef struct {
    Store *store;
    int fd; /* borrowed */
    uint8_t *buffer;
    size_t used;
    uint64_t size; /* of all that came */
} StoreOutput;

void store_output_init(StoreOutput *output, Store *store, int fd);
bool store_output_bytes(StoreOutput *output, const void *bytes, size_t size, GError **error);
/* ERROR_CORRUPT when the object has another size. */
bool store_output_object(StoreOutput *output, const Digest *object, uint64_t size, GError **error);
bool store_output_flush(StoreOutput *output, GError **error);
void store_output_clear(StoreOutput *output);
