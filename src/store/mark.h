/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What must stay: everything that the roots reach. Private to src/store. */
#pragma once

#include "base/digest_table.h"
#include "store/layout.h"

enum {
    MARK_LIVE = 1 << 0,
    MARK_EXPANDED = 1 << 1, /* what it contains is marked too */
    MARK_STREAM = 1 << 2,   /* a link in streams/ leads to it */
    MARK_IMAGE = 1 << 3,
};

typedef struct {
    Store *store;
    DigestTable table;
    int64_t young;        /* seconds since 1970: what came since is a root; INT64_MAX: nothing */
    GHashTable *links[2]; /* StoreKind: name -> Digest of each link, as of the last mark_roots() */
    GHashTable *writers;  /* name in staging/ -> how far its roots were read */
} Mark;

/* For `young`: so many seconds ago; 0: nothing is young. */
int64_t mark_young_since(uint64_t age);
void mark_init(Mark *mark, Store *store, int64_t young);
void mark_clear(Mark *mark);
/* Whatever the roots are now. What is known already costs a listing of names, no more, so that it can be called again
 * while a sweep goes on. What was marked stays marked. */
bool mark_roots(Mark *mark, GError **error);
bool mark_is_live(const Mark *mark, const Digest *object);
/* ctime: of the rename into objects/ and of nothing that a copied file brings along. */
bool mark_is_young(const Mark *mark, const struct stat *st);
