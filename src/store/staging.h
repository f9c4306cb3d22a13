/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The directories below staging/, as their writer has them. Private to src/store; what a collection needs of them is in
 * layout.h. */
#pragma once

#include "store/layout.h"

/* Its name (the caller's); with `key` the same in each process of a boot. */
char *staging_name(const char *key);
/* Makes and locks the directory (closing the fd unlocks). What a killed writer of the key left is in it, of this boot or
 * of an earlier one: nothing there may be believed. ERROR_BUSY while another process has it. */
int staging_open(Store *store, const char *name, const char *key, GError **error);
