/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor/record.h"

#include "base/sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int64_t record_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

void record_time(int64_t nanoseconds, char text[RECORD_TIME])
{
    int64_t seconds = nanoseconds / 1000000000;
    unsigned fraction = (unsigned)(nanoseconds % 1000000000);
    unsigned of_day = (unsigned)(seconds % 86400);
    /* days since 0000-03-01, so that the leap day is the last of its year; eras of 400 years */
    unsigned days = (unsigned)(seconds / 86400) + 719468;
    unsigned era = days / 146097, of_era = days % 146097;
    unsigned of_era_year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * of_era_year + of_era_year / 4 - of_era_year / 100);
    unsigned shifted = (5 * of_year + 2) / 153;
    unsigned day = of_year - (153 * shifted + 2) / 5 + 1;
    unsigned month = shifted < 10 ? shifted + 3 : shifted - 9;
    unsigned year = of_era_year + era * 400 + (month <= 2);
    char whole[80];
    snprintf(whole, sizeof whole, "%04u-%02u-%02uT%02u:%02u:%02u.%09uZ", year, month, day,
             of_day / 3600, of_day / 60 % 60, of_day % 60, fraction);
    memcpy(text, whole, RECORD_TIME);
    text[RECORD_TIME - 1] = '\0';
}

int record_save(int dir, const MonitorExit *record, SysError *error)
{
    char text[256];
    int size = snprintf(text, sizeof text,
                        "{\"pid\":%d,\"code\":%d,\"signal\":%d,\"oom\":%s,\"started\":\"%s\","
                        "\"finished\":\"%s\"}\n",
                        record->pid, record->code, record->signal, record->oom ? "true" : "false",
                        record->started, record->finished);
    _autofd int fd =
        openat(dir, ".exit", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return sys_fail_errno(error, "cannot create the exit record");
    errno = -sys_write_all(fd, text, (size_t)size);
    if (errno || renameat(dir, ".exit", dir, "exit") < 0)
        return sys_fail_errno(error, "cannot write the exit record");
    return 0;
}

bool record_was_oom(const char *path)
{
    char text[1024];
    if (!path || sys_read_file_at(AT_FDCWD, path, text, sizeof text) < 0)
        return false;
    const char *line = strncmp(text, "oom_kill ", 9) == 0 ? text : strstr(text, "\noom_kill ");
    return line && atoi(strchr(line, ' ')) > 0;
}

int monitor_load_exit(const char *dir, MonitorExit *out, SysError *error)
{
    char text[256], oom[8];
    MonitorExit record = {};
    _autofd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -errno : sys_read_file_at(fd, "exit", text, sizeof text);
    if (n == -ENOENT)
        return 0;
    if (n < 0) {
        errno = (int)-n;
        return sys_fail_errno(error, "cannot read '%s/exit'", dir);
    }
    if (sscanf(text,
               "{\"pid\":%d,\"code\":%d,\"signal\":%d,\"oom\":%7[a-z],\"started\":\"%39[^\"]\","
               "\"finished\":\"%39[^\"]\"}",
               &record.pid, &record.code, &record.signal, oom, record.started,
               record.finished) != 6)
        return sys_fail(error, EINVAL, "cannot read '%s/exit': it is damaged", dir);
    record.oom = strcmp(oom, "true") == 0;
    *out = record;
    return 1;
}
