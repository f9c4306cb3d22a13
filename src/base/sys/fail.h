/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The error of code that does not use GLib: an errno and a bounded message.
 *
 * Functions return 0 or -1 with the SysError filled; error_from_sys() (base/error.h) turns it into
 * a GError at one place. Filling it allocates nothing, so a container child may do it and send the
 * whole struct through a pipe.
 */
#pragma once

#include "base/sys/attr.h"

typedef struct {
    int code; /* an errno value; 0 when nothing failed */
    char message[508];
} SysError;

/* Sets code and message ("cannot <verb> '<noun>': <reason>"), returns -1. */
int sys_fail(SysError *error, int code, const char *format, ...) _printf(3, 4);
/* The same with code = errno and ": <strerror>" appended. */
int sys_fail_errno(SysError *error, const char *format, ...) _printf(2, 3);
