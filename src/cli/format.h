/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers and times as people read them. */
#pragma once

#include <glib.h>
#include <stdint.h>

/* "79.8 MB", "512 bytes": decimal units, one digit. */
char *format_bytes(uint64_t bytes);
/* "2014-10-07 19:29:55", UTC. */
char *format_time_utc(int64_t seconds);
/* Docker's words for a span of time: "5 seconds", "About a minute", "3 weeks". */
char *format_duration(int64_t seconds);
