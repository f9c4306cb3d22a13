/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SIGINT and SIGTERM as a question that long work asks between two steps.
 *
 * A main that can be interrupted calls cancel_install() once. Loops call cancel_check(): the first signal
 * lets them finish what is in flight and return ERROR_INTERRUPTED; a second one kills the process (which
 * is safe too: every change has one commit point).
 */
#pragma once

#include "base/error.h"

void cancel_install(void);
bool cancel_requested(void);
/* False with ERROR_INTERRUPTED ("interrupted") after a signal. */
bool cancel_check(GError **error);
