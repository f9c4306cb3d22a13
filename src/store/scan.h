/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Going through everything in the store. Private to src/store. */
#pragma once

#include "store/layout.h"

/* Each object in objects/; returning false stops. Names that are none are given as a NULL digest. */
typedef bool (*ScanObject)(const Digest *object, const char *path, const struct stat *st,
                           void *data, GError **error);
bool scan_objects(Store *store, ScanObject visit, void *data, GError **error);

/* The same without a look at each file: for 10^5 objects that is most of the time. `path` is below the store; `object`
 * is NULL for what is no object's name. */
typedef bool (*ScanObjectName)(const Digest *object, const char *path, ino_t inode, void *data,
                               GError **error);
bool scan_object_names(Store *store, ScanObjectName visit, void *data, GError **error);

/* Each writer's directory in staging/; it is locked during the call unless its writer lives. */
typedef bool (*ScanStaging)(int staging_fd, const char *name, StagingState state, void *data,
                            GError **error);
bool scan_staging(Store *store, ScanStaging visit, void *data, GError **error);

/* Names in a directory of the store but "refs" and dot files (those too when `hidden`); missing: none. */
GPtrArray *scan_names(Store *store, const char *dir, bool hidden, GError **error);
/* name -> Digest of each link directly in images/ or streams/; links that lead nowhere sensible are left out. */
GHashTable *scan_links(Store *store, StoreKind kind, GError **error);
