/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The output of a command through pipes of its own, carried on to the caller's files while it runs.
 *
 * A terminal given to a container as it is could be read by it (what the user types next), and its
 * settings changed; a file could be cut off or read back. Where both streams are one file there is
 * one pipe, so that they stay in order.
 */
#include "sandbox/internal.h"

#include "base/cancel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

void carry_init(Carry *carry)
{
    *carry = (Carry){{-1, -1}, {-1, -1}, {-1, -1}};
}

static bool same_file(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool carry_open(Carry *carry, RuntimeCommand *command, GError **error)
{
    int *given[2] = {&command->stdout_fd, &command->stderr_fd};
    for (int i = 0; i < 2; i++) {
        if (*given[i] < 0)
            continue;
        if (i == 1 && carry->to[0] >= 0 && same_file(carry->to[0], *given[1])) {
            *given[1] = carry->ends[0];
            continue;
        }
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) < 0)
            return error_throw_errno(error, "cannot create a pipe");
        fcntl(ends[0], F_SETFL, O_NONBLOCK);
        carry->from[i] = ends[0];
        carry->ends[i] = ends[1];
        carry->to[i] = *given[i];
        *given[i] = ends[1];
    }
    return true;
}

void carry_started(Carry *carry)
{
    sys_fd_closep(&carry->ends[0]);
    sys_fd_closep(&carry->ends[1]);
}

static bool write_piece(int fd, const char *data, size_t size)
{
    while (size > 0 && !cancel_requested()) {
        ssize_t n = write(fd, data, size);
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        if (n < 0 && errno == EAGAIN)
            poll(&wait, 1, 500);
        else if (n < 0 && errno != EINTR)
            return false;
        data += MAX(n, 0);
        size -= (size_t)MAX(n, 0);
    }
    return true;
}

/* False when there is nothing more for now. Without a reader the command shall see it: its pipe is closed. */
static bool carry_piece(Carry *carry, int i)
{
    char piece[16384];
    if (carry->from[i] < 0)
        return false;
    ssize_t n = read(carry->from[i], piece, sizeof piece);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0 || !write_piece(carry->to[i], piece, (size_t)n))
        sys_fd_closep(&carry->from[i]);
    return n > 0;
}

bool carry_until(Carry *carry, int fd)
{
    struct pollfd wait[3] = {{.fd = fd, .events = POLLIN},
                             {.fd = carry->from[0], .events = POLLIN},
                             {.fd = carry->from[1], .events = POLLIN}};
    /* the time-out closes the gap between looking at the flag of cancel.h and going to sleep */
    if (poll(wait, 3, 500) <= 0)
        return false;
    for (int i = 0; i < 2; i++)
        if (wait[i + 1].revents)
            carry_piece(carry, i);
    return wait[0].revents;
}

void carry_rest(Carry *carry)
{
    for (int i = 0; i < 2; i++)
        while (carry_piece(carry, i) && !cancel_requested())
            ;
}

void carry_clear(Carry *carry)
{
    carry_started(carry);
    sys_fd_closep(&carry->from[0]);
    sys_fd_closep(&carry->from[1]);
}
