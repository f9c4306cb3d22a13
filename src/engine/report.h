/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a forked helper tells its parent through a pipe: a zero byte for success, as the monitor does, or the
 * failure with its code and the exit status that Docker's users know. */
#pragma once

#include "base/error.h"

void engine_report_success(int fd);
/* status: 125, 126, 127 */
void engine_report_failure(int fd, int status, const GError *failed);
/* Until the pipe ends. Anything else than success is an error; *out_status is set when the helper said one. */
bool engine_report_read(int fd, int *out_status, GError **error);
