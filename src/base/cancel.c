/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/cancel.h"

#include <signal.h>

static volatile sig_atomic_t requested;

static void on_signal(int number _unused)
{
    requested = 1;
}

void cancel_install(void)
{
    /* SA_RESETHAND: the second signal has its default action; no SA_RESTART: sleeps and polls end */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cancel_requested(void)
{
    return requested;
}

bool cancel_check(GError **error)
{
    return !requested || error_throw(error, ERROR_INTERRUPTED, "interrupted");
}
