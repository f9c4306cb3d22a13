/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the verbs of `atomic store` say of a store's storage, and its reserve as an option. */
#pragma once

#include "store/store.h"

/* SIZE (2G, 300M), PERCENT% of the filesystem, `default` or `none`. ERROR_USAGE for other words. */
bool cli_set_reserve(Store *store, const char *text, GError **error);
/* What `init` does: with `text` as above. Without it a host's store gets the default unless it has one, or there is no
 * room, or no way to allocate ahead; other stores get none, since a reserve is there for upgrades. */
bool cli_init_reserve(Store *store, const char *text, bool host, GError **error);
/* "536.9 MB", with what is held when that is less; "none". The caller's. */
char *cli_describe_reserve(const StoreReserveState *reserve);
const char *cli_describe_verity(Store *store);
