/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/image_open.h"

#include "cli/human.h"

#include <string.h>
#include <time.h>

Store *image_open_store(const CliCommon *common, GError **error)
{
    g_autofree char *path = store_default_path(common->store);
    return store_open(path, error);
}

char *image_shown_id(const char *id, bool whole)
{
    return whole ? g_strdup(id) : g_strndup(id + strlen("sha256:"), 12);
}

char *image_age(const char *created)
{
    g_autoptr(GTimeZone) utc = g_time_zone_new_utc();
    g_autoptr(GDateTime) then = created ? g_date_time_new_from_iso8601(created, utc) : NULL;
    if (!then)
        return g_strdup("N/A");
    g_autofree char *span = human_duration(time(NULL) - g_date_time_to_unix(then));
    return g_strconcat(span, " ago", NULL);
}
