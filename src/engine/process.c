/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/process.h"

#include "engine/parse.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

char **engine_process_env(const EngineConfig *config, const char *const *more, bool tty,
                          const char *home)
{
    g_autoptr(GPtrArray) env = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *hostname = g_strconcat("HOSTNAME=", config->hostname, NULL);
    g_autofree char *home_entry = g_strconcat("HOME=", home, NULL);
    engine_env_set(env, home_entry, NULL);
    engine_env_set(env, hostname, NULL);
    if (tty)
        engine_env_set(env, "TERM=xterm", NULL);
    for (char **entry = config->env; *entry; entry++)
        engine_env_set(env, *entry, NULL);
    for (; more && *more; more++)
        engine_env_set(env, *more, NULL);
    g_ptr_array_add(env, NULL);
    return (char **)g_ptr_array_steal(env, NULL);
}

static uint64_t mask_of(char *const *names)
{
    uint64_t mask = 0;
    for (; *names; names++)
        mask |= runtime_cap_parse(*names);
    return mask;
}

/* Docker's: with --cap-drop ALL only what is added, else what is dropped wins. */
uint64_t engine_process_caps(const EngineConfig *config)
{
    if (g_strv_contains((const char *const *)config->cap_drop, "ALL"))
        return mask_of(config->cap_add);
    return (RUNTIME_DEFAULT_CAPS | mask_of(config->cap_add)) & ~mask_of(config->cap_drop);
}

/* An output end is opened for reading, too, so that the process is not killed by SIGPIPE when a kill of the
 * monitor closes our end; the pipe can then be had back through the container's own fd. */
static bool open_pipe(int ends[2], bool output, GError **error)
{
    int raw[2];
    if (pipe2(raw, O_CLOEXEC) < 0)
        return error_throw_errno(error, "cannot create a pipe");
    ends[0] = output ? raw[1] : raw[0];
    ends[1] = output ? raw[0] : raw[1];
    if (output) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
        int both = open(path, O_RDWR | O_CLOEXEC);
        if (both < 0)
            return error_throw_errno(error, "cannot open a pipe a second time");
        close(ends[0]);
        ends[0] = both;
    }
    return true;
}

bool engine_pipes_open(EnginePipes *pipes, bool with_stdin, GError **error)
{
    return open_pipe(pipes->out, true, error) && open_pipe(pipes->err, true, error) &&
           (!with_stdin || open_pipe(pipes->in, false, error));
}

void engine_pipes_close(EnginePipes *pipes)
{
    int *all[] = {pipes->in, pipes->out, pipes->err};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        sys_fd_closep(&all[i][0]);
        sys_fd_closep(&all[i][1]);
    }
}
