/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the store share: a store and a directory beside it, gone with the test. */
#pragma once

#include "base/file.h"
#include "base/hash.h"
#include "store/store.h"

typedef struct {
    char *top, *path; /* the directory; the store below it */
    int top_fd;
    Store *store;
} Fixture;

void set_up(Fixture *f, const void *data);
void tear_down(Fixture *f, const void *data);

/* `size` bytes that depend on `seed`. */
GBytes *make_bytes(unsigned seed, size_t size);
/* Puts them, and checks the digest. */
Digest put(StoreTxn *txn, unsigned seed, size_t size);
/* Makes the directory "tree": two names of a program, a small file, an empty one, a link, an xattr. */
void make_files(Fixture *f);
/* Imports the directory "tree". */
Tree *import_files(Fixture *f, StoreTxn *txn, StoreImportFlags flags, GError **error);
/* Both, committed as an image. */
Digest commit_files(Fixture *f);
/* store_fsck; a line per problem is appended. */
bool check(Fixture *f, GString *problems, StoreFsckResult *out_result, GError **error);

/* The only directory below staging/, and how many there are. */
char *staging_path(Fixture *f, const char *name);
unsigned count_staging(Fixture *f);

#define TEST(name, f) g_test_add("/store/" name, Fixture, NULL, set_up, f, tear_down)
