/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/human.h"

#include <time.h>

char *human_bytes(uint64_t bytes)
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

char *human_bytes_docker(uint64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1000 && unit + 1 < G_N_ELEMENTS(units); unit++)
        value /= 1000;
    return g_strdup_printf(value >= 100 ? "%.0f%s" : "%.3g%s", value, units[unit]);
}

char *human_time(int64_t seconds)
{
    time_t time = (time_t)seconds;
    struct tm parts;
    char text[64];
    if (!gmtime_r(&time, &parts) || strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts) == 0)
        return g_strdup("-");
    return g_strdup(text);
}

char *human_duration(int64_t seconds)
{
    enum { MINUTE = 60, HOUR = 3600 };
    int64_t hours = (seconds + HOUR / 2) / HOUR; /* rounded, as Docker does from here on */
    if (seconds < 1)
        return g_strdup("Less than a second");
    if (seconds < MINUTE)
        return g_strdup_printf("%d second%s", (int)seconds, seconds == 1 ? "" : "s");
    if (seconds < 2 * MINUTE)
        return g_strdup("About a minute");
    if (seconds < HOUR)
        return g_strdup_printf("%d minutes", (int)(seconds / MINUTE));
    if (hours == 1)
        return g_strdup("About an hour");
    if (hours < 48)
        return g_strdup_printf("%d hours", (int)hours);
    if (hours < 24 * 7 * 2)
        return g_strdup_printf("%d days", (int)(hours / 24));
    if (hours < 24 * 30 * 2)
        return g_strdup_printf("%d weeks", (int)(hours / 24 / 7));
    if (hours < 24 * 365 * 2)
        return g_strdup_printf("%d months", (int)(hours / 24 / 30));
    return g_strdup_printf("%" G_GINT64_FORMAT " years", hours / 24 / 365);
}
