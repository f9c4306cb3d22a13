/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A store for the targets that need one: below $TMPDIR, which tests/fuzz/run puts on a tmpfs, where a sync costs
 * nothing. Made anew now and then, so that it doesn't grow. */
#pragma once

#include "store/store.h"

/* The store of this process, and a transaction in it; both live until the next call that makes them anew. */
typedef struct {
    Store *store;
    StoreTxn *txn;
} FuzzStore;
/* `runs`: made anew after so many calls; 0: never. *out_new: this call made it. */
FuzzStore *fuzz_store(unsigned runs, bool *out_new);
