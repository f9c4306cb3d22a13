/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The exit record and its times. Private to src/monitor. */
#pragma once

#include "monitor/monitor.h"

#define RECORD_TIME 40

/* "2026-11-23T22:05:07.000000042Z"; own arithmetic, because libc's would read the time zone. */
void record_time(int64_t nanoseconds, char text[RECORD_TIME]);
int64_t record_now(void);

/* Writes DIR/exit, whole or not at all. */
int record_save(int dir, const MonitorExit *record, SysError *error);

/* Has the kernel killed something in the cgroup whose memory.events (v2) or memory.oom_control (v1)
 * this is? "oom_kill N" is a line of both. */
bool record_was_oom(const char *path);
