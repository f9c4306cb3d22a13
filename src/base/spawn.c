/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/spawn.h"

#include "base/file.h"

#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void redirect(posix_spawn_file_actions_t *actions, int from, int to)
{
    if (from >= 0)
        posix_spawn_file_actions_adddup2(actions, from, to);
}

bool spawn_start(const char *const *argv, const SpawnOptions *options, pid_t *out_pid,
                 GError **error)
{
    static const SpawnOptions inherit = {.stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
    if (!options)
        options = &inherit;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    redirect(&actions, options->stdin_fd, STDIN_FILENO);
    redirect(&actions, options->stdout_fd, STDOUT_FILENO);
    redirect(&actions, options->stderr_fd, STDERR_FILENO);
    char **env = options->env ? (char **)options->env : environ;
    pid_t pid;
    int failed = posix_spawnp(&pid, argv[0], &actions, NULL, (char **)argv, env);
    posix_spawn_file_actions_destroy(&actions);
    if (failed) {
        errno = failed;
        return error_throw_errno(error, "cannot run '%s'", argv[0]);
    }
    *out_pid = pid;
    return true;
}

int spawn_wait(pid_t pid, GError **error)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return error_throw_errno_fd(error, "cannot wait for process %d", (int)pid);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

bool spawn_run(const char *const *argv, const SpawnOptions *options, GError **error)
{
    pid_t pid;
    if (!spawn_start(argv, options, &pid, error))
        return false;
    int status = spawn_wait(pid, error);
    if (status < 0)
        return false;
    if (status > 0)
        return error_throw(error, ERROR_FAILED, "'%s' failed with exit status %d", argv[0], status);
    return true;
}

char *spawn_helper_path(const char *program, GError **error)
{
    const char *configured = g_getenv("ATOMIC_LIBEXEC");
    if (configured)
        return g_build_filename(configured, program, NULL);
    g_autofree char *self = file_readlink_at(AT_FDCWD, "/proc/self/exe", error);
    if (!self)
        return NULL;
    g_autofree char *dir = g_path_get_dirname(self);
    g_autofree char *beside = g_build_filename(dir, program, NULL);
    if (access(beside, X_OK) == 0 || errno != ENOENT) /* there, and running it says what is wrong */
        return g_steal_pointer(&beside);
    g_autofree char *moved = g_build_filename(dir, "..", "libexec", "atomic", program, NULL);
    if (access(moved, X_OK) == 0 || errno != ENOENT)
        return g_steal_pointer(&moved);
    return g_build_filename(ATOMIC_LIBEXECDIR, program, NULL);
}
