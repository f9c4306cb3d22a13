/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Another process in a running container: our child, with pipes (or a terminal of the container) between it and our
 * streams. None of our own fds goes inside. It lives and dies without the container's monitor.
 *
 * A container can't end while one of its processes is a zombie whose parent, outside, doesn't reap it. So a
 * detached process isn't left to the host's init, which may be none that cares: a fork of ours stays and reaps it. */
#include "engine/process.h"
#include "engine/relay.h"
#include "engine/report.h"

#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    EngineContainer *container;
    const EngineExecOptions *options;
    EnginePipes pipes;
    RuntimeProcess process;
} Exec;

static bool set_streams(Exec *exec, RuntimeCommand *command, GError **error)
{
    const EngineExecOptions *options = exec->options;
    struct winsize size;
    /* nobody reads a detached terminal: its process would stop after the first page */
    command->terminal = options->tty && !options->detach;
    if (options->tty && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
        command->rows = size.ws_row;
        command->columns = size.ws_col;
    }
    if (options->tty || options->detach)
        return true;
    if (!engine_pipes_open(&exec->pipes, options->open_stdin, error))
        return false;
    command->stdin_fd = exec->pipes.in[0];
    command->stdout_fd = exec->pipes.out[0];
    command->stderr_fd = exec->pipes.err[0];
    return true;
}

static bool start_command(Exec *exec, GError **error)
{
    const EngineConfig *config = &exec->container->config;
    const EngineExecOptions *options = exec->options;
    pid_t init = exec->container->state.pid;
    g_autofree char *root_path = g_strdup_printf("/proc/%d/root", (int)init);
    _autofd int root = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    SandboxUser user = {0};
    if (root < 0)
        return error_throw_errno(error, "cannot open the files of container '%s'", config->name);
    if (!sandbox_user_resolve(root, options->user ? options->user : config->user, &user, error))
        return false;
    g_auto(GStrv) env = engine_process_env(config, options->env, options->tty, user.home);
    RuntimeCommand command;
    runtime_command_init(&command);
    command.argv = options->command;
    command.env = (const char *const *)env;
    command.cwd = options->working_dir ? options->working_dir : config->working_dir;
    command.uid = user.uid;
    command.gid = user.gid;
    command.groups = user.groups;
    command.n_groups = user.n_groups;
    command.caps = engine_process_caps(config);
    bool good = set_streams(exec, &command, error) &&
                sandbox_exec(init, config->id, &command, &exec->process, error);
    sandbox_user_clear(&user);
    return good;
}

static bool relay(Exec *exec, GError **error)
{
    EnginePipes *pipes = &exec->pipes;
    int *inside[] = {&pipes->in[0], &pipes->out[0], &pipes->err[0]};
    for (size_t i = 0; i < ARRAY_SIZE(inside); i++)
        sys_fd_closep(inside[i]);
    const RuntimeProcess *process = &exec->process;
    bool tty = exec->options->tty;
    EngineRelay fds = {
        .pidfd = process->pidfd,
        .in_fd = !exec->options->open_stdin ? -1
                 : tty                      ? process->terminal_fd
                                            : pipes->in[1],
        .out_fd = tty ? process->terminal_fd : pipes->out[1],
        .err_fd = tty ? -1 : pipes->err[1],
        .terminal = tty,
    };
    bool good = engine_relay_run(&fds, error);
    if (!tty && exec->options->open_stdin)
        pipes->in[1] = fds.in_fd;
    return good;
}

static int reap(pid_t pid, GError **error)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return error_throw_errno_fd(error, "cannot wait for the command");
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int status_of(const RuntimeProcess *failed)
{
    return failed->failed_status > 125 ? failed->failed_status : -1;
}

/* In the fork. */
_noreturn static void stay_and_reap(Exec *exec, int report_fd)
{
    GError *failed = NULL;
    setsid();
    int null = open("/dev/null", O_RDWR);
    for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    if (!start_command(exec, &failed)) {
        engine_report_failure(report_fd, exec->process.failed_status, failed);
        _exit(1);
    }
    engine_report_success(report_fd);
    close(report_fd);
    reap(exec->process.pid, NULL);
    _exit(0);
}

static int run_detached(Exec *exec, GError **error)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        return error_throw_errno_fd(error, "cannot create a pipe");
    fflush(NULL); /* or the child would write it a second time */
    pid_t pid = fork();
    if (pid == 0) {
        close(report[0]);
        stay_and_reap(exec, report[1]);
    }
    close(report[1]);
    _autofd int from = report[0];
    if (pid < 0)
        return error_throw_errno_fd(error, "cannot fork");
    return engine_report_read(from, &exec->process.failed_status, error)
               ? 0
               : status_of(&exec->process);
}

static int run_attached(Exec *exec, GError **error)
{
    if (!start_command(exec, error))
        return status_of(&exec->process);
    return relay(exec, error) ? reap(exec->process.pid, error) : -1;
}

int engine_exec(Engine *engine, EngineContainer *container, const EngineExecOptions *options,
                GError **error)
{
    Exec exec = {
        .container = container,
        .options = options,
        .pipes = ENGINE_PIPES_NONE,
        .process = RUNTIME_PROCESS_NONE,
    };
    if (container->state.status != ENGINE_RUNNING)
        return error_throw_fd(error, ERROR_BUSY, "container %s is not running",
                              container->config.name);
    int status = options->detach ? run_detached(&exec, error) : run_attached(&exec, error);
    engine_pipes_close(&exec.pipes);
    runtime_process_clear(&exec.process);
    return status;
}
