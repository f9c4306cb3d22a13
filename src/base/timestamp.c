/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/timestamp.h"

#include <glib.h>

char *timestamp_format(uint64_t seconds)
{
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc((gint64)seconds);
    return time ? g_date_time_format(time, "%Y-%m-%dT%H:%M:%SZ") : g_strdup("1970-01-01T00:00:00Z");
}
