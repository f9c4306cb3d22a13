/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor/daemon.h"

#include "base/sys/fd.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Closes every fd that nobody told us to keep: a pipe of the starter held open here would make
 * whoever reads it wait for the container's end. */
static void close_strangers(const SpecArguments *arguments)
{
    for (int from = 0;;) {
        int next = -1, fd;
        unsigned state = 0;
        while ((fd = spec_next_fd(arguments, &state)) >= 0)
            if (fd >= from && (next < 0 || fd < next))
                next = fd;
        if (next < 0) {
            close_range((unsigned)from, ~0u, 0);
            return;
        }
        if (next > from)
            close_range((unsigned)from, (unsigned)next - 1, 0);
        fcntl(next, F_SETFD, FD_CLOEXEC);
        from = next + 1;
    }
}

int daemon_detach(const SpecArguments *arguments, SysError *error)
{
    close_strangers(arguments);
    for (int fd = 0; fd < 3; fd++)
        if (open("/dev/null", O_RDWR) != fd)
            return sys_fail_errno(error, "cannot open '/dev/null'");
    setsid();
    static const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGPIPE};
    for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
        signal(ignored[i], SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    sigset_t set;
    sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    _autofd int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    /* better that the kernel kills anything else; needs a capability that may be missing */
    (void)!sys_write_file_at(AT_FDCWD, "/proc/self/oom_score_adj", "-999");
    if (chdir("/") < 0 || signals < 0)
        return sys_fail_errno(error, "cannot set up the monitor");
    return fd_steal(&signals);
}
