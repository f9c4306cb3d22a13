/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "network/command.h"

#include "base/sys/fd.h"

#include <errno.h>
#include <signal.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* The input is a memory file: a pipe would deadlock with a program that talks before it has read
 * all. */
static int input_file(const char *input)
{
    _autofd int fd = memfd_create("input", MFD_CLOEXEC);
    if (fd < 0 || sys_write_all(fd, input, strlen(input)) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return -1;
    return fd_steal(&fd);
}

static int start(const char *const *argv, int in, int out, pid_t *pid)
{
    static const char *const folders[] = {"/usr/sbin", "/sbin", "/usr/local/sbin"};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t signals;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed)
        return failed;
    posix_spawnattr_init(&attributes);
    /* the caller may have blocked or ignored signals; a helper starts clean */
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    sigaddset(&signals, SIGPIPE);
    sigaddset(&signals, SIGINT);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_adddup2(&actions, in, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, out, 2);
    char *const *arguments = (char *const *)argv;
    failed = posix_spawnp(pid, argv[0], &actions, &attributes, arguments, environ);
    for (size_t i = 0; failed == ENOENT && i < ARRAY_SIZE(folders); i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folders[i], argv[0]);
        failed = posix_spawn(pid, path, &actions, &attributes, arguments, environ);
    }
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return failed;
}

int command_run(const char *const *argv, const char *input, char *output, size_t size,
                SysError *error)
{
    _autofd int in = input_file(input);
    _autofd int out = -1, out_child = -1;
    int ends[2];
    if (in < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return sys_fail_errno(error, "cannot run '%s'", argv[0]);
    out = ends[0];
    out_child = ends[1];

    pid_t pid;
    errno = start(argv, in, out_child, &pid);
    if (errno)
        return sys_fail_errno(error, "cannot run '%s'", argv[0]);
    sys_fd_closep(&out_child);

    char rest[512];
    size_t used = 0;
    for (;;) {
        bool full = used + 1 >= size;
        ssize_t n = full ? read(out, rest, sizeof rest) : read(out, output + used, size - 1 - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        used += full ? 0 : (size_t)n;
    }
    output[used] = '\0';
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return sys_fail_errno(error, "cannot wait for '%s'", argv[0]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
