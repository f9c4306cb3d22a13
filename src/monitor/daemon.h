/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The surroundings of a process that outlives its starter. Private to src/monitor. */
#pragma once

#include "monitor/spec.h"

/* Keeps only the fds that the arguments name (close-on-exec from now on), makes 0-2 /dev/null (so
 * no later open can become one of them), a session, and signals: those of a terminal are ignored,
 * SIGTERM is blocked and comes through the fd that is returned. -1 on failure. */
int daemon_detach(const SpecArguments *arguments, SysError *error);
