/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* stop, kill, rm, wait */
#include "cli/container_verbs.h"

#include "engine/engine.h"

#include <signal.h>

typedef bool (*ContainerAction)(Engine *engine, EngineContainer *container, void *data,
                                GError **error);

/* The action on each container that was named (`names` ends in NULL): Docker prints what worked and goes on after a
 * failure. The exit status. */
static int each_container(Engine *engine, char *const *names, bool print_names,
                          ContainerAction action, void *data)
{
    int status = 0;
    for (; *names; names++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(EngineContainer) container = engine_find(engine, *names, &error);
        if (container && action(engine, container, data, &error)) {
            if (print_names)
                printf("%s\n", *names);
        } else {
            fflush(stdout);
            cli_print_error(error);
            status = 1;
        }
    }
    return status;
}

static bool stop(Engine *engine, EngineContainer *container, void *data, GError **error)
{
    const int *timeout = data;
    return engine_stop(engine, container, *timeout, error);
}

int cli_container_stop(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    int timeout = -1;
    const GOptionEntry entries[] = {
        {"time", 't', 0, G_OPTION_ARG_INT, &timeout, "Seconds to wait before killing it (10)", "N"},
        {"timeout", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_INT, &timeout, NULL, NULL},
        G_OPTION_ENTRY_NULL,
    };
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, -1, false, error))
        return 1;
    g_autoptr(Engine) engine = engine_new(common.store);
    return each_container(engine, argv + 1, true, stop, &timeout);
}

static bool send(Engine *engine, EngineContainer *container, void *data, GError **error)
{
    const int *number = data;
    return engine_kill(engine, container, *number, error);
}

int cli_container_kill(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    g_autofree char *name = NULL;
    const GOptionEntry entries[] = {
        {"signal", 's', 0, G_OPTION_ARG_FILENAME, &name, "Signal to send (KILL)", "SIGNAL"},
        G_OPTION_ENTRY_NULL,
    };
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, -1, false, error))
        return 1;
    int number = name ? engine_parse_signal(name, error) : SIGKILL;
    if (number < 0)
        return 1;
    g_autoptr(Engine) engine = engine_new(common.store);
    return each_container(engine, argv + 1, true, send, &number);
}

static bool discard(Engine *engine, EngineContainer *container, void *data, GError **error)
{
    const gboolean *force = data;
    return engine_remove(engine, container, *force, error);
}

/* With -f a container that is gone already is said, and no failure. */
static void skip_missing(Engine *engine, char **names)
{
    char **kept = names;
    for (; *names; names++) {
        g_autoptr(GError) failed = NULL;
        g_autoptr(EngineContainer) container = engine_find(engine, *names, &failed);
        if (!container && error_is(failed, ERROR_NOT_FOUND))
            cli_print_error(failed);
        else
            *kept++ = *names;
    }
    *kept = NULL;
}

int cli_container_rm(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    gboolean force = FALSE, volumes = FALSE;
    const GOptionEntry entries[] = {
        {"force", 'f', 0, G_OPTION_ARG_NONE, &force, "Kill it first when it runs", NULL},
        {"volumes", 'v', 0, G_OPTION_ARG_NONE, &volumes, "Remove its anonymous volumes, too", NULL},
        G_OPTION_ENTRY_NULL,
    };
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, -1, false, error))
        return 1;
    g_autoptr(Engine) engine = engine_new(common.store);
    if (force)
        skip_missing(engine, argv + 1);
    return each_container(engine, argv + 1, true, discard, &force);
}

static bool await(Engine *engine, EngineContainer *container, void *data, GError **error)
{
    int code;
    if (!engine_wait(engine, container, &code, error))
        return false;
    printf("%d\n", code);
    return true;
}

static bool record(Engine *engine, EngineContainer *container, void *data, GError **error)
{
    return engine_record_end(engine, container, error);
}

int cli_container_wait(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    gboolean record_end = FALSE;
    const GOptionEntry entries[] = {
        /* what a monitor executes when it is done */
        {"record", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &record_end, NULL, NULL},
        G_OPTION_ENTRY_NULL,
    };
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, -1, false, error))
        return 1;
    g_autoptr(Engine) engine = engine_new(common.store);
    return each_container(engine, argv + 1, false, record_end ? record : await, NULL);
}
