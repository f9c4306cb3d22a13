/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/error.h"

#include <errno.h>

GQuark error_domain(void)
{
    return g_quark_from_static_string("atomic-error");
}

/* code -> exit status of the command line, HTTP status of the API */
static const struct {
    int exit_status, http_status;
} statuses[] = {
    [ERROR_FAILED] = {1, 500},  [ERROR_USAGE] = {2, 400},      [ERROR_NOT_FOUND] = {1, 404},
    [ERROR_EXISTS] = {1, 409},  [ERROR_BUSY] = {1, 409},       [ERROR_INVALID] = {1, 400},
    [ERROR_CORRUPT] = {1, 500}, [ERROR_PERMISSION] = {1, 403}, [ERROR_UNSUPPORTED] = {1, 501},
    [ERROR_NETWORK] = {1, 502}, [ERROR_NO_SPACE] = {1, 507},   [ERROR_INTERRUPTED] = {130, 500},
};

static ErrorCode code_of(const GError *error)
{
    if (error->domain == G_OPTION_ERROR)
        return ERROR_USAGE;
    if (error->domain != ERROR_DOMAIN || (size_t)error->code >= ARRAY_SIZE(statuses))
        return ERROR_FAILED;
    return (ErrorCode)error->code;
}

int error_exit_status(const GError *error)
{
    return statuses[code_of(error)].exit_status;
}

int error_http_status(const GError *error)
{
    return statuses[code_of(error)].http_status;
}

static ErrorCode code_from_errno(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return ERROR_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return ERROR_EXISTS;
    case EBUSY:
    case ETXTBSY:
        return ERROR_BUSY;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERROR_PERMISSION;
    case ENOSPC:
    case EDQUOT:
        return ERROR_NO_SPACE;
    case EOPNOTSUPP:
    case ENOSYS:
        return ERROR_UNSUPPORTED;
    default:
        return ERROR_FAILED;
    }
}

static void set(GError **error, ErrorCode code, const char *format, va_list args)
{
    if (error)
        *error = g_error_new_valist(ERROR_DOMAIN, (int)code, format, args);
}

static void set_errno(GError **error, int number, const char *format, va_list args)
{
    if (!error)
        return;
    g_autofree char *what = g_strdup_vprintf(format, args);
    g_set_error(error, ERROR_DOMAIN, (int)code_from_errno(number), "%s: %s", what,
                g_strerror(number));
}

#define DEFINE_THROW(name, type, failed)                                                           \
    type name(GError **error, ErrorCode code, const char *format, ...)                             \
    {                                                                                              \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        set(error, code, format, args);                                                            \
        va_end(args);                                                                              \
        return failed;                                                                             \
    }

#define DEFINE_THROW_ERRNO(name, type, failed)                                                     \
    type name(GError **error, const char *format, ...)                                             \
    {                                                                                              \
        int number = errno;                                                                        \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        set_errno(error, number, format, args);                                                    \
        va_end(args);                                                                              \
        return failed;                                                                             \
    }

DEFINE_THROW(error_throw, bool, false)
DEFINE_THROW(error_throw_null, void *, NULL)
DEFINE_THROW(error_throw_fd, int, -1)
DEFINE_THROW_ERRNO(error_throw_errno, bool, false)
DEFINE_THROW_ERRNO(error_throw_errno_null, void *, NULL)
DEFINE_THROW_ERRNO(error_throw_errno_fd, int, -1)

bool error_from_sys(GError **error, const SysError *failed)
{
    g_set_error_literal(error, ERROR_DOMAIN, (int)code_from_errno(failed->code), failed->message);
    return false;
}

bool error_prefix(GError **error, const char *format, ...)
{
    if (error && *error) {
        va_list args;
        va_start(args, format);
        g_autofree char *prefix = g_strdup_vprintf(format, args);
        va_end(args);
        g_prefix_error(error, "%s: ", prefix);
    }
    return false;
}

bool error_is(const GError *error, ErrorCode code)
{
    return g_error_matches(error, ERROR_DOMAIN, (int)code);
}
