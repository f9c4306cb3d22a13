/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One check of a store: fsck.c has the order of things, fsck_objects.c the measuring, fsck_names.c what the names need,
 * fsck_repair.c what is done about it. Private to src/store.
 */
#pragma once

#include "base/digest_table.h"
#include "store/layout.h"

enum {
    FSCK_GOOD = 1 << 0, /* measured */
    FSCK_BAD = 1 << 1,
};

typedef struct {
    Digest object;
    char *reason;
} FsckBad;

typedef struct {
    StoreProblemKind kind;
    bool has_object;
    Digest object;
    char *path, *message;
    char **needed_by; /* NULL: none */
} FsckProblem;

typedef struct {
    Store *store;
    const StoreFsckOptions *options;
    unsigned threads;
    StoreFsckResult result;
    DigestTable objects; /* FSCK_GOOD, FSCK_BAD; not changed any more when the names are checked */
    GMutex mutex;        /* all below */
    GArray *bad;         /* FsckBad */
    GHashTable *strays;  /* Digest -> path of a file that has these bytes but another name */
    GHashTable *needs;   /* Digest that is not good -> GPtrArray of char *: who needs it */
    GPtrArray *problems; /* FsckProblem */
} Fsck;

/* `message` is taken. Thread-safe, as all below. */
void fsck_problem(Fsck *fsck, StoreProblemKind kind, const Digest *object, const char *path,
                  char *message);
/* Measures every object. */
bool fsck_objects(Fsck *fsck, GError **error);
/* Reads every name, image and stream, and notes what they need that isn't good. */
bool fsck_names(Fsck *fsck, GError **error);
/* Runs the function in so many threads, this one among them, and waits for all. */
void fsck_in_threads(unsigned threads, void *(*run)(void *data), void *data);

/* Moves what is bad aside, and puts back what is needed; the number put back. `failures` (Digest -> char *) gets the
 * reason of each that could not be. */
bool fsck_repair(Fsck *fsck, GHashTable *failures, uint64_t *out_repaired, GError **error);
