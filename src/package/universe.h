/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All packages of the wanted suites, as libsolv sees them and as we do. Private to package/. */
#pragma once

#include "package/package.h"

#include <solv/pool.h>

struct PackageUniverse {
    Pool *pool;
    char *arch;
    GHashTable *by_solvable; /* Id -> Package *, owned */
};
