/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Telling processes apart for good: a pid means something within one boot, and together with the process's start time.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* Identifies this boot: 36 characters, or "" when /proc can't be read. Static. */
const char *sys_boot_id(void);

/* In clock ticks since the boot; 0 when there is no such process. *out_state (may be NULL): its letter in /proc, 'Z'
 * for one that has ended and is not reaped yet. */
uint64_t sys_process_start(pid_t pid, char *out_state);

/* How many threads share a piece of work: one per processor, at most `limit`. $ATOMIC_THREADS says otherwise: 1 makes what
 * a run writes, and in which order, the same each time. */
unsigned sys_threads(unsigned limit);
