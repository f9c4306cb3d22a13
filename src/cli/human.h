/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers and times as people read them. All results are newly allocated. */
#pragma once

#include <glib.h>
#include <stdint.h>

/* "79.8 MB", "512 bytes": decimal units, one digit. */
char *human_bytes(uint64_t bytes);
/* "79.8MB", "512B": three digits, as Docker prints sizes. */
char *human_bytes_docker(uint64_t bytes);
/* "2014-10-07 19:29:55", UTC; "-" for what is no time. */
char *human_time(int64_t seconds);
/* Docker's words for a span of time: "5 seconds", "About a minute", "3 weeks". */
char *human_duration(int64_t seconds);
