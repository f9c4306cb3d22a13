/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One error domain for the whole project.
 *
 * Functions that can fail end in `GError **error` and return bool, a pointer (NULL = failed) or an fd
 * (-1 = failed). Only the function that knows the noun names it; each layer adds at most one prefix.
 * Messages: "cannot <verb> '<noun>': <reason>", lower case, no full stop; what to do about it comes on a
 * line of its own that begins with "hint: ". Outputs named out_* are set only on success.
 *
 *     if (renameat(a, from, b, to) < 0)
 *         return error_throw_errno(error, "cannot rename '%s'", from);
 */
#pragma once

#include "base/sys/attr.h"
#include "base/sys/fail.h"
#include "base/sys/fd.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* What a caller may act on; everything else is ERROR_FAILED. */
typedef enum {
    ERROR_FAILED, /* exit 1 */
    ERROR_USAGE,  /* wrong words on the command line: exit 2 */
    ERROR_NOT_FOUND,
    ERROR_EXISTS,
    ERROR_BUSY,    /* a lock or a resource is held; the message names the holder */
    ERROR_INVALID, /* input that can't be right */
    ERROR_CORRUPT, /* bytes that are not what their name says */
    ERROR_PERMISSION,
    ERROR_UNSUPPORTED, /* "not supported yet: …", or the kernel can't */
    ERROR_NETWORK,
    ERROR_NO_SPACE,
    ERROR_INTERRUPTED, /* SIGINT or SIGTERM: exit 130 */
} ErrorCode;

#define ERROR_DOMAIN (error_domain())
GQuark error_domain(void);

/* The exit status and the HTTP status that go with a code (one table, error.c). */
int error_exit_status(const GError *error);
int error_http_status(const GError *error);

/* These set *error and return false / NULL / -1, so that a failing line is `return error_throw…;`. */
bool error_throw(GError **error, ErrorCode code, const char *format, ...) _printf(3, 4);
void *error_throw_null(GError **error, ErrorCode code, const char *format, ...) _printf(3, 4);
int error_throw_fd(GError **error, ErrorCode code, const char *format, ...) _printf(3, 4);

/* The same from errno (read first), with ": <strerror>" appended; the code is derived from errno. */
bool error_throw_errno(GError **error, const char *format, ...) _printf(2, 3);
void *error_throw_errno_null(GError **error, const char *format, ...) _printf(2, 3);
int error_throw_errno_fd(GError **error, const char *format, ...) _printf(2, 3);

/* Turns a SysError into *error; returns false. */
bool error_from_sys(GError **error, const SysError *failed);

/* Puts "<text>: " before the message of *error when it is set; returns false. */
bool error_prefix(GError **error, const char *format, ...) _printf(2, 3);

bool error_is(const GError *error, ErrorCode code);
