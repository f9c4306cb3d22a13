/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a staging directory into objects/: sync, rename, sync. Private to src/store.
 *
 * `staging_fd` was opened before the first write to the directory: syncfs reports the write errors since then
 * (Linux 5.8, errseq_t), each fd its own. Any failure means that nobody knows what is on the disk. */
#pragma once

#include "store/layout.h"

/* The directories below objects/ whose entries may not be on the disk yet. */
typedef struct {
    bool touched[256];
    unsigned n;
    bool parent; /* and objects/ itself: one of them is new */
} BatchDirs;

void batch_touch(BatchDirs *dirs, const Digest *object);

/* Makes the staged files (Digest: their names) durable and renames them into objects/. */
bool batch_store(Store *store, int staging_fd, const GArray *objects, BatchDirs *dirs,
                 GError **error);
/* Makes those names durable. */
bool batch_sync_dirs(Store *store, int staging_fd, BatchDirs *dirs, GError **error);
