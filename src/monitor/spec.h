/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A MonitorSpec as arguments of the program, and back. Private to src/monitor. */
#pragma once

#include "monitor/monitor.h"

typedef struct {
    MonitorSpec spec;                 /* texts and lists point into argv */
    const char *const *port_fd_texts; /* in place of spec.port_fds; NULL or ends in NULL */
} SpecArguments;

/* Changes argv: lists in it become NULL-terminated. */
int spec_parse(char **argv, SpecArguments *out, SysError *error);

/* Goes through all fds of the spec: *state begins as 0; -1 at the end. */
int spec_next_fd(const SpecArguments *arguments, unsigned *state);
