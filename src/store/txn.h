/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the writing side adds to store.h for itself. Private to src/store. */
#pragma once

#include "base/digest_table.h"
#include "store/batch.h"

/* Of a digest that the transaction counts on. Each was once appended to `unrooted`. */
enum {
    TXN_STAGED = 1 << 0, /* put by this transaction */
    TXN_FOUND = 1 << 1,  /* was in objects/ already */
    TXN_KEPT = 1 << 2,   /* there or not */
};

struct StoreTxn {
    Store *store;
    char *name; /* below staging/ */
    bool keyed, done, failed;
    bool inherited; /* a killed writer of the same key got as far as its `roots` */
    int dirfd;      /* the staging directory: locked, and what syncfs is called on */
    int roots_fd;
    bool modes_set; /* the umask leaves 0644 as it is */
    GMutex mutex;   /* all below */
    int lock_fd;    /* the store's, while `unrooted` may have what a sweep must not see removed */
    DigestTable known;
    GArray *unrooted; /* Digest: not written to `roots` yet */
    GArray *staged;   /* Digest: the batch that fills */
    uint64_t staged_bytes;
    GArray *flying;  /* Digest: the batch before it, the flight's alone while there is one */
    GThread *flight; /* its result is a GError or NULL */
    BatchDirs dirs;  /* the same */
    BatchDirs found; /* whose entries it relies on, since the last flush */
    uint64_t n_put, n_found;
    unsigned counter;
};

/* Under the mutex: nothing is swept from now on until `roots` is written. */
bool txn_open_batch(StoreTxn *txn, GError **error);
/* Under the mutex: whether this transaction put it or found it already; the store is not asked. */
bool txn_knows(const StoreTxn *txn, const Digest *object);
/* Under the mutex: a file of the staging directory has its digest's name now. Ends the batch when it is full. */
bool txn_staged(StoreTxn *txn, const Digest *digest, uint64_t size, GError **error);

/* The object counts as needed by this transaction, whether it is there or not: it is not swept while the transaction
 * lives (from the next flush on). */
void store_txn_keep(StoreTxn *txn, const Digest *object);
/* A file that is read into the store from its start. */
enum { PUT_BUFFER = 1 << 20 };
typedef struct {
    int fd;
    uint64_t
        expected; /* its size, as far as known; UINT64_MAX: not at all, or it is not a regular file */
    GBytes *
        prefix; /* not NULL: `checksum` is the SHA-256 of these bytes and the file's, of the same read */
    Digest object, checksum; /* results, with: */
    uint64_t size;
} PutFile;
/* `buffer` has PUT_BUFFER bytes. */
bool txn_put_file(StoreTxn *txn, PutFile *file, char *buffer, GError **error);
/* The digest and size of what is left to read. */
bool store_measure(int fd, Digest *out_digest, uint64_t *out_size, GError **error);
