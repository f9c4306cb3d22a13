/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of this folder share: the open store and the names on its disk. Private to src/store. */
#pragma once

#include "base/file.h"
#include "store/store.h"

struct Store {
    int references;
    char *path;
    int dirfd, objects_fd;
};

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

/* The store's lock: shared while a batch is written, exclusive while a slice is swept. An fd whose closing
 * unlocks. `purpose` goes into the file. ERROR_BUSY names the holder after a while. */
int store_lock(Store *store, bool exclusive, const char *purpose, GError **error);

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
