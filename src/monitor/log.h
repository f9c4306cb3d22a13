/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The writer of the container's log: Docker's json-file, rotated by rename. Private to src/monitor.
 *
 * Lines are collected in a buffer and written together by log_flush(). A log that can't be written
 * (disk full) loses lines, never half lines, and never stops the container.
 */
#pragma once

#include "base/sys/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *path; /* NULL: no log, everything below does nothing */
    uint64_t cap;
    unsigned files;
    int fd;
    uint64_t size; /* of the file */
    size_t used;   /* of the buffer */
    uint64_t line; /* where in the file the line begins that is being put together */
    bool broken;   /* that line could not be written: drop the rest of it */
    char buffer[32768];
} Log;

/* path, cap and files are set by the caller. */
int log_open(Log *log, SysError *error);
/* One line, or a piece of one (then without \n at its end). stream: "stdout" or "stderr". */
void log_line(Log *log, const char *stream, const char *text, size_t size);
void log_flush(Log *log);
