/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor/log.h"

#include "base/sys/fd.h"
#include "monitor/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int log_open(Log *log, SysError *error)
{
    struct stat info;
    log->fd = -1;
    if (!log->path)
        return 0;
    log->fd = open(log->path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (log->fd < 0 || fstat(log->fd, &info) < 0)
        return sys_fail_errno(error, "cannot open the log '%s'", log->path);
    log->size = (uint64_t)info.st_size;
    return 0;
}

void log_flush(Log *log)
{
    if (log->fd >= 0 && log->used) {
        if (sys_write_all(log->fd, log->buffer, log->used) == 0) {
            log->size += log->used;
        } else {
            /* back to the end of a whole line; if that fails too readers meet a torn one */
            log->size = log->line < log->size ? log->line : log->size;
            log->broken = ftruncate(log->fd, (off_t)log->size) <= 0;
        }
    }
    log->used = 0;
}

/* LOG.1 becomes LOG.2 and so on, the last is overwritten; a kill in between leaves a gap in the
 * numbers, which readers pass over. If the new file can't be made the old one is written on. */
static void rotate(Log *log)
{
    char from[PATH_MAX], to[PATH_MAX];
    log_flush(log);
    for (unsigned i = log->files - 1; i >= 1; i--) {
        snprintf(to, sizeof to, "%s.%u", log->path, i);
        snprintf(from, sizeof from, i == 1 ? "%s" : "%s.%u", log->path, i - 1);
        rename(from, to);
    }
    if (log->files == 1)
        unlink(log->path);
    int fd = open(log->path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd >= 0) {
        close(log->fd);
        log->fd = fd;
    }
    log->size = 0;
}

/* Room for `size` more bytes in the buffer. */
static char *reserve(Log *log, size_t size)
{
    if (sizeof log->buffer - log->used < size)
        log_flush(log);
    return log->buffer + log->used;
}

static void put(Log *log, const char *text, size_t size)
{
    if (log->broken)
        return;
    char *at = reserve(log, size);
    if (log->broken)
        return;
    memcpy(at, text, size);
    log->used += size;
}

/* Length of the UTF-8 character at p, 0 when it is none: overlong forms, surrogates, beyond
 * U+10FFFF and cut ones are none. */
static size_t utf8_length(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    size_t size = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
                  : (p[0] & 0xf0) == 0xe0        ? 3
                  : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                                 : 0;
    if (size == 0 || size > left)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return size;
}

static size_t escape_ascii(unsigned char c, char out[8])
{
    static const char letters[] = "btn\0fr"; /* for 8 to 13 */
    out[0] = '\\';
    if (c == '"' || c == '\\') {
        out[1] = (char)c;
        return 2;
    }
    if (c >= 8 && c <= 13 && letters[c - 8]) {
        out[1] = letters[c - 8];
        return 2;
    }
    return (size_t)snprintf(out, 8, "\\u%04x", c);
}

static void put_escaped(Log *log, const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + size;
    while (p < end) {
        /* runs that need nothing go in one piece */
        const unsigned char *plain = p;
        while (p < end && *p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\' && p - plain < 4096)
            p++;
        put(log, (const char *)plain, (size_t)(p - plain));
        if (p == end || p - plain == 4096)
            continue;
        char escaped[8];
        size_t length = utf8_length(p, (size_t)(end - p));
        if (length == 0)
            put(log, "\xef\xbf\xbd", 3);
        else if (length > 1)
            put(log, (const char *)p, length);
        else
            put(log, escaped, escape_ascii(*p, escaped));
        p += length ? length : 1;
    }
}

void log_line(Log *log, const char *stream, const char *text, size_t size)
{
    if (log->fd < 0 || size == 0)
        return;
    if (log->size + log->used >= log->cap)
        rotate(log);
    log->line = log->size + log->used;
    log->broken = false;
    char time[RECORD_TIME], tail[100];
    record_time(record_now(), time);
    put(log, "{\"log\":\"", 8);
    put_escaped(log, text, size);
    int n = snprintf(tail, sizeof tail, "\",\"stream\":\"%s\",\"time\":\"%s\"}\n", stream, time);
    put(log, tail, (size_t)n);
}
