/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What killed processes leave, but for staging/ (scan_staging): temporary names, of ours and of composefs-rs; directories
 * of refs that are empty; damaged objects that a repair moved aside. Private to src/store.
 */
#pragma once

#include "store/layout.h"

#define STORE_DAMAGED "damaged"

/* `path` is below the store. */
typedef bool (*LeftoverFunc)(const char *path, uint64_t bytes, void *data, GError **error);
/* Everywhere but in objects/: for what is no object there, the other function decides. */
bool leftovers_scan(Store *store, LeftoverFunc visit, void *data, GError **error);
bool leftovers_visit(Store *store, const char *path, LeftoverFunc visit, void *data,
                     GError **error);
bool leftovers_is_temporary(const char *path);
