/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the writing side adds to store.h for itself. Private to src/store. */
#pragma once

#include "store/layout.h"

struct StoreTxn {
    Store *store;
    char *name; /* below staging/ */
    bool keyed, done, failed;
    bool inherited; /* a killed writer of the same key got as far as its `roots` */
    int dirfd;      /* the staging directory: locked, and what syncfs is called on */
    int roots_fd;
    int lock_fd;         /* the store's, while a batch is open */
    bool modes_set;      /* the umask leaves 0644 as it is */
    GMutex mutex;        /* all below */
    GHashTable *staged;  /* Digest -> nothing: files in the staging directory */
    GHashTable *settled; /* Digest: in objects/ and written to `roots` */
    GHashTable *found;   /* Digest: in objects/, not written to `roots` yet */
    GHashTable *kept;    /* Digest: counted on, there or not -> not NULL when in `roots` */
    bool new_kept;
    uint64_t staged_bytes;
    unsigned counter;
};

/* Under the mutex: a batch is open from now on, and nothing is swept until it ends. */
bool txn_open_batch(StoreTxn *txn, GError **error);
/* Under the mutex: whether the object is staged or stored. */
bool txn_present(StoreTxn *txn, const Digest *object);
/* Under the mutex: a file of the staging directory has its digest's name now. Ends the batch when it is full. */
bool txn_staged(StoreTxn *txn, const Digest *digest, uint64_t size, GError **error);

/* The object counts as needed by this transaction, whether it is there or not: it is not swept while the transaction
 * lives (from the next flush on). */
void store_txn_keep(StoreTxn *txn, const Digest *object);
/* The digest and size of what is left to read. */
bool store_measure(int fd, Digest *out_digest, uint64_t *out_size, GError **error);
