/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The line that says how far a pull is. */
#include "ostree/ostree.h"

#include <stdio.h>
#include <unistd.h>

#define STEP 10 /* per cent between two lines when nobody watches */

void ostree_progress_print(const OstreeProgress *progress, void *data)
{
    OstreeProgressLine *line = data;
    bool terminal = isatty(STDERR_FILENO);
    if (!progress->objects_total)
        return;
    unsigned percent = (unsigned)(progress->objects * 100 / progress->objects_total);
    bool complete = progress->objects == progress->objects_total;
    unsigned step = terminal ? 1 : STEP;
    bool due = !line->started || percent >= line->last_percent + step ||
               (complete && line->last_percent < 100);
    if (due) {
        bool large = progress->bytes >= 1000u * 1000 * 1000;
        fprintf(stderr,
                "%sReceiving objects: %u%% (%" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT ") %.1f %s%s",
                terminal ? "\r" : "", percent, progress->objects, progress->objects_total,
                (double)progress->bytes / (large ? 1e9 : 1e6), large ? "GB" : "MB",
                terminal ? "\033[K" : "\n");
        line->started = true;
        /* lines come at whole steps, whatever the first one was */
        line->last_percent = percent / step * step;
    }
    if (progress->done && line->started && terminal)
        fputc('\n', stderr);
}
