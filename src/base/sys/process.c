/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/sys/process.h"

#include "base/sys/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *sys_boot_id(void)
{
    static char id[64];
    if (!*id && sys_read_file_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", id, sizeof id) != 36)
        *id = '\0';
    return id;
}

uint64_t sys_process_start(pid_t pid, char *out_state)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (pid <= 0 || sys_read_file_at(AT_FDCWD, path, text, sizeof text) < 0)
        return 0;
    /* "pid (name) S …": the name may hold anything, its closing parenthesis is the last one */
    const char *field = strrchr(text, ')');
    if (!field || field[1] != ' ')
        return 0;
    field += 2;
    if (out_state)
        *out_state = *field;
    for (int i = 3; field && i < 22; i++) {
        field = strchr(field, ' ');
        field = field ? field + 1 : NULL;
    }
    return field ? strtoull(field, NULL, 10) : 0;
}

unsigned sys_threads(unsigned limit)
{
    const char *wanted = getenv("ATOMIC_THREADS");
    long n = wanted && *wanted ? strtol(wanted, NULL, 10) : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n < (long)limit ? (unsigned)n : limit;
}
