/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sets of digests: GHashTables whose keys are copies of their own. */
#pragma once

#include "base/digest.h"

#include <glib.h>

GHashTable *digest_set_new(void);
/* True when it was not there yet; what was there stays. */
bool digest_set_add(GHashTable *set, const Digest *digest);
