/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Running nft and iptables during the one-time set-up. Private to src/network. */
#pragma once

#include "base/sys/fail.h"

#include <stddef.h>

/* Runs argv[0] (looked up in PATH, then in the sbin folders) with `input` on stdin; what it says on
 * stdout and stderr goes into `output`, cut at size. The exit status; -1 when it can't be run
 * (error->code ENOENT: not installed). */
int command_run(const char *const *argv, const char *input, char *output, size_t size,
                SysError *error);
