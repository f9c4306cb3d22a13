/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the writing side adds to store.h for itself. Private to src/store. */
#pragma once

#include "store/layout.h"

/* The object counts as needed by this transaction, whether it is there or not: it is not swept while the transaction
 * lives (from the next flush on). */
void store_txn_keep(StoreTxn *txn, const Digest *object);
/* The digest and size of what is left to read. */
bool store_measure(int fd, Digest *out_digest, uint64_t *out_size, GError **error);
