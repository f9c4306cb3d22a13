/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/places.h"

#include <glib.h>

static char *directory_from(const char *variable, const char *fallback)
{
    const char *path = g_getenv(variable);
    return g_canonicalize_filename(path && *path ? path : fallback, NULL);
}

char *places_root(void)
{
    return directory_from("ATOMIC_ROOT", "/var/lib/atomic");
}

char *places_run(void)
{
    return directory_from("ATOMIC_RUN", "/run/atomic");
}
