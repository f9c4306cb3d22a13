/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* logs, exec */
#include "cli/container_verbs.h"

#include "base/cancel.h"
#include "engine/engine.h"

#include <string.h>
#include <unistd.h>

static bool parse_tail(const char *text, int64_t *out, GError **error)
{
    guint64 n;
    if (!text || strcmp(text, "all") == 0) {
        *out = -1;
        return true;
    }
    if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT64, &n, NULL))
        return error_throw(error, ERROR_USAGE, "invalid number of lines '%s'", text);
    *out = (int64_t)n;
    return true;
}

int cli_container_logs(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    g_autofree char *tail = NULL;
    gboolean follow = FALSE, timestamps = FALSE;
    const GOptionEntry entries[] = {
        {"follow", 'f', 0, G_OPTION_ARG_NONE, &follow, "Go on until the container ends", NULL},
        {"timestamps", 't', 0, G_OPTION_ARG_NONE, &timestamps, "Show when each line was written",
         NULL},
        {"tail", 'n', 0, G_OPTION_ARG_FILENAME, &tail, "Only the last N lines (all)", "N"},
        G_OPTION_ENTRY_NULL,
    };
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, 1, false, error))
        return 1;
    EngineLogsOptions options = {.follow = follow, .timestamps = timestamps};
    if (!parse_tail(tail, &options.tail, error))
        return 1;
    g_autoptr(Engine) engine = engine_new(common.store);
    g_autoptr(EngineContainer) container = engine_find(engine, argv[1], error);
    if (!container)
        return 1;
    cancel_install();
    return engine_logs(engine, container, &options, error) ? 0 : 1;
}

static int exec_in(const char *store, const char *name, const EngineExecOptions *options,
                   GError **error)
{
    g_autoptr(Engine) engine = engine_new(store);
    g_autoptr(EngineContainer) container = engine_find(engine, name, error);
    if (!container)
        return 1;
    g_autoptr(GError) failed = NULL;
    int status = engine_exec(engine, container, options, &failed);
    /* 126 and 127 come with the reason */
    if (failed)
        cli_print_error(failed);
    return status < 0 ? 1 : status;
}

int cli_container_exec(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    gboolean tty = FALSE, interactive = FALSE, detach = FALSE;
    g_auto(GStrv) env = NULL;
    g_autofree char *user = NULL, *working_dir = NULL;
    const GOptionEntry entries[] = {
        {"interactive", 'i', 0, G_OPTION_ARG_NONE, &interactive, "Keep standard input open", NULL},
        {"tty", 't', 0, G_OPTION_ARG_NONE, &tty, "Give it a terminal", NULL},
        {"detach", 'd', 0, G_OPTION_ARG_NONE, &detach, "Do not wait for it", NULL},
        {"env", 'e', 0, G_OPTION_ARG_FILENAME_ARRAY, &env, "Set an environment variable",
         "NAME[=VALUE]"},
        {"user", 'u', 0, G_OPTION_ARG_FILENAME, &user, "User inside", "USER[:GROUP]"},
        {"workdir", 'w', 0, G_OPTION_ARG_FILENAME, &working_dir, "Working directory", "DIR"},
        G_OPTION_ENTRY_NULL,
    };
    if (!cli_parse(command, entries, &common, &argc, &argv, 2, -1, true, error))
        return 1;
    if (tty && interactive && !detach && !isatty(STDIN_FILENO))
        return error_throw(error, ERROR_INVALID, "the input device is not a TTY"), 1;
    EngineExecOptions options = {
        .command = (const char *const *)argv + 2,
        .env = (const char *const *)env,
        .user = user,
        .working_dir = working_dir,
        .tty = tty,
        .open_stdin = interactive,
        .detach = detach,
    };
    return exec_in(common.store, argv[1], &options, error);
}
