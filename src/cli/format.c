/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/format.h"

#include <time.h>

char *format_bytes(uint64_t bytes)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    if (bytes < 1000)
        return g_strdup_printf("%u byte%s", (unsigned)bytes, bytes == 1 ? "" : "s");
    double value = (double)bytes / 1000;
    size_t unit = 0;
    /* what would print as 1000.0 belongs to the next unit */
    for (; value >= 999.95 && unit + 1 < G_N_ELEMENTS(units); unit++)
        value /= 1000;
    return g_strdup_printf("%.1f %s", value, units[unit]);
}

char *format_time_utc(int64_t seconds)
{
    time_t time = (time_t)seconds;
    struct tm parts;
    char text[64];
    if (!gmtime_r(&time, &parts) || strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts) == 0)
        return g_strdup("-");
    return g_strdup(text);
}
