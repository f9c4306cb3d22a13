/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Removing what a container leaves. Private to src/monitor. */
#pragma once

#include "monitor/spec.h"

#include <stdbool.h>

/* Removes the folder and everything beneath: constant memory and two fds, however deep it is;
 * follows no link, and stops at the first thing that can't be removed. True when it is gone. */
bool remove_tree(const char *path);
/* Removes a cgroup and those beneath it; waits up to 100 ms for tasks that are about to vanish. */
bool remove_cgroup(const char *path);
/* Takes the published ports back, closes their reservations, gives the address back. Microseconds. */
void remove_network(const SpecArguments *arguments);
