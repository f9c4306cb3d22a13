/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Points in time as texts that programs read. (As people read them: cli/human.h.) */
#pragma once

#include <stdint.h>

/* Seconds since 1970 as RFC 3339, "2014-10-07T19:29:55Z"; 1970 for what is no year of four digits. Newly allocated. */
char *timestamp_format(uint64_t seconds);
