/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The foreground: our standard streams and the container's. */
#include "engine/state.h"

#include "monitor/monitor.h"

#include <unistd.h>

int engine_stream(Engine *engine, EngineContainer *container, int attach, bool tty, bool with_stdin,
                  GError **error)
{
    MonitorPump pump = {
        .socket = attach,
        .in_fd = with_stdin ? STDIN_FILENO : -1,
        .out_fd = STDOUT_FILENO,
        .err_fd = STDERR_FILENO,
        .terminal = tty,
        .forward_signals = true,
    };
    MonitorExit end;
    SysError failed;
    switch (monitor_pump(&pump, &end, &failed)) {
    case MONITOR_PUMP_EXITED:
        if (end.code >= 0)
            return end.code;
        break;
    case MONITOR_PUMP_DETACHED:
        return 0;
    case MONITOR_PUMP_GONE:
        break;
    default:
        return error_from_sys(error, &failed), -1;
    }
    int code;
    return engine_wait(engine, container, &code, error) ? code : -1;
}
