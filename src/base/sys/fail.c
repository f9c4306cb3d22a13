/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/sys/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int sys_fail(SysError *error, int code, const char *format, ...)
{
    if (!error)
        return -1;
    va_list args;
    va_start(args, format);
    error->code = code;
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    return -1;
}

int sys_fail_errno(SysError *error, const char *format, ...)
{
    int saved = errno;
    if (!error)
        return -1;
    va_list args;
    va_start(args, format);
    error->code = saved;
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    size_t used = strlen(error->message);
    snprintf(error->message + used, sizeof error->message - used, ": %s", strerror(saved));
    return -1;
}
