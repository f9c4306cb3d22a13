/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of this folder share: the open store and the names on its disk. Private to src/store. */
#pragma once

#include "base/file.h"
#include "store/store.h"

struct Store {
    int references;
    char *path;
    int dirfd, objects_fd;
    int verity; /* of StoreVerity, atomic */
};

#define STORE_META    "meta.json"
#define STORE_RESERVE "reserve"

/* "XX/REST" below objects/. */
typedef struct {
    char text[66];
} StoreObjectPath;
StoreObjectPath store_object_path(const Digest *object);
/* The digest at the end of a link's target ("../objects/XX/REST"); false when there is none. */
bool store_parse_object_path(const char *target, Digest *out_digest);

/* "images" or "streams". */
const char *store_kind_dir(StoreKind kind);
/* The path below the store of a ref, percent-encoded; ERROR_INVALID for names that can't be. */
char *store_ref_path(StoreKind kind, const char *name, GError **error);

/* ERROR_PERMISSION says whose store it is. */
bool store_check_writable(Store *store, GError **error);
/* Names the store in *error, of a write, and says what to do when it is full. Returns false. */
bool store_prefix_write(Store *store, GError **error);
/* The store's lock: shared while a batch is written, exclusive while a slice is swept. An fd whose closing
 * unlocks. `purpose` goes into the file. ERROR_BUSY names the holder after a while. */
int store_lock(Store *store, bool exclusive, const char *purpose, GError **error);
/* The lock that composefs-rs takes: an exclusive flock of the store's directory, for who removes objects. */
int store_lock_foreign(Store *store, GError **error);
/* Who had the lock shared last, a number that never comes twice: nothing that protects an object can have
 * been written while it is the same. Holding the lock exclusively. */
enum { STORE_GENERATION_SIZE = 33 };
typedef struct {
    char text[STORE_GENERATION_SIZE + 1]; /* "" before the first writer */
} StoreGeneration;
bool store_lock_generation(int lock_fd, StoreGeneration *out_generation, GError **error);

/* In each staging directory: digests (32 bytes each) that its writer counts on and nothing may refer to yet. */
#define STORE_STAGING         "staging"
#define STORE_STAGING_ROOTS   "roots"
#define STORE_STAGING_JOURNAL "journal"
typedef enum {
    STAGING_GONE,      /* or no directory */
    STAGING_ALIVE,     /* its writer has it locked */
    STAGING_RESUMABLE, /* the writer is dead, but the next one of its key will go on */
    STAGING_DEAD,
} StagingState;
/* Unless it is alive *out_lock is the directory's lock (an fd; closing unlocks). */
bool store_lock_staging(int staging_fd, const char *name, StagingState *out_state, int *out_lock,
                        GError **error);

/* fs-verity (store/verity.c). */
typedef enum {
    STORE_VERITY_TRY,      /* not tried yet, or it works */
    STORE_VERITY_NONE,     /* the filesystem has none */
    STORE_VERITY_REQUIRED, /* the store is secure */
} StoreVerity;
/* Switches it on for a file that nobody writes to any more, and compares what the kernel measures. Without fs-verity
 * in the filesystem it does nothing, or fails when the store is secure. `name` may be another file afterwards. */
bool store_seal(Store *store, int dirfd, const char *name, const Digest *object, GError **error);
/* In a secure store: that the open object has fs-verity and its name's digest; ERROR_CORRUPT. Else nothing. */
bool store_check_seal(Store *store, int fd, const Digest *object, GError **error);
/* Finds out whether the store is secure. ERROR_UNSUPPORTED when it is and can't be here. */
bool verity_open(Store *store, GError **error);
/* meta.json with fs-verity, durable: what makes a store secure. ERROR_UNSUPPORTED. */
bool verity_write_meta(int dirfd, const char *path, const char *text, GError **error);
