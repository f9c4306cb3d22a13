/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* run, create, start */
#include "cli/container_options.h"
#include "cli/container_verbs.h"

#include "base/file.h"

#include <string.h>
#include <unistd.h>

static bool write_cidfile(const char *path, const char *id, GError **error)
{
    if (!path)
        return true;
    return file_replace_at(AT_FDCWD, path, id, strlen(id), 0644, FILE_REPLACE_EXCLUSIVE, error);
}

static bool check_cidfile(const char *path, GError **error)
{
    bool exists = false;
    if (path && !file_exists_at(AT_FDCWD, path, &exists, error))
        return false;
    return !exists || error_throw(error, ERROR_EXISTS,
                                  "container ID file found, make sure the other container isn't "
                                  "running or delete '%s'",
                                  path);
}

static EngineContainer *create(Engine *engine, const ContainerOptions *options, GError **error)
{
    if (!check_cidfile(options->cidfile, error))
        return NULL;
    g_autoptr(EngineContainer) container = engine_create(engine, &options->create, error);
    if (!container)
        return NULL;
    if (!write_cidfile(options->cidfile, container->config.id, error)) {
        engine_remove(engine, container, true, NULL);
        return NULL;
    }
    return g_steal_pointer(&container);
}

/* The image may have no command at all, or one that can't be executed: said, with Docker's status. */
static int start_failed(Engine *engine, EngineContainer *container, int status, GError *failed)
{
    cli_print_error(failed);
    g_error_free(failed);
    if (container->config.auto_remove)
        engine_remove(engine, container, true, NULL);
    return status;
}

/* What isn't wrong, but not as one may expect. */
static void warn(const EngineContainer *container)
{
    const EngineConfig *config = &container->config;
    if (container->state.warning)
        fprintf(stderr, "WARNING: %s\n", container->state.warning);
    if (config->network == ENGINE_NETWORK_HOST && (config->ports->len || config->publish_all))
        fprintf(stderr, "WARNING: Published ports are discarded when using host network mode\n");
}

int cli_container_run(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(ContainerOptions) options = {0};
    if (!container_options_parse(command, argc, argv, &options, error))
        return 1;
    bool foreground = !options.detach;
    if (foreground && options.tty && options.interactive && !isatty(STDIN_FILENO))
        return error_throw(error, ERROR_INVALID, "the input device is not a TTY"), 1;
    g_autoptr(Engine) engine = engine_new(options.common.store);
    g_autoptr(EngineContainer) container = create(engine, &options, error);
    if (!container)
        return 1;
    _autofd int attach = -1;
    int status;
    GError *failed = NULL;
    if (!engine_start(engine, container, foreground ? &attach : NULL, &status, &failed))
        return start_failed(engine, container, status, failed);
    warn(container);
    if (!foreground) {
        printf("%s\n", container->config.id);
        return 0;
    }
    return engine_stream(engine, container, attach, options.tty, options.interactive, error);
}

int cli_container_create(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(ContainerOptions) options = {0};
    if (!container_options_parse(command, argc, argv, &options, error))
        return 1;
    g_autoptr(Engine) engine = engine_new(options.common.store);
    g_autoptr(EngineContainer) container = create(engine, &options, error);
    if (!container)
        return 1;
    printf("%s\n", container->config.id);
    return 0;
}

static int start_one(Engine *engine, const char *name, bool attached, bool interactive,
                     GError **error)
{
    _autofd int attach = -1;
    int status = 1;
    g_autoptr(EngineContainer) container = engine_find(engine, name, error);
    if (!container || !engine_start(engine, container, attached ? &attach : NULL, &status, error))
        return 1;
    if (attach >= 0)
        return engine_stream(engine, container, attach, container->config.tty,
                             interactive && container->config.open_stdin, error);
    printf("%s\n", name);
    return 0;
}

int cli_container_start(const CliCommand *command, int argc, char **argv, GError **error)
{
    g_auto(CliCommon) common = {0};
    gboolean attached = FALSE, interactive = FALSE;
    const GOptionEntry entries[] = {
        {"attach", 'a', 0, G_OPTION_ARG_NONE, &attached, "Show what it writes, until it ends",
         NULL},
        {"interactive", 'i', 0, G_OPTION_ARG_NONE, &interactive, "Give it our standard input",
         NULL},
        G_OPTION_ENTRY_NULL,
    };
    if (!cli_parse(command, entries, &common, &argc, &argv, 1, -1, false, error))
        return 1;
    attached |= interactive;
    if (attached && argc > 2)
        return error_throw(error, ERROR_USAGE, "cannot attach to several containers at once"), 1;
    g_autoptr(Engine) engine = engine_new(common.store);
    int result = 0;
    for (int i = 1; i < argc; i++) {
        g_autoptr(GError) failed = NULL;
        int status = start_one(engine, argv[i], attached, interactive, &failed);
        if (failed)
            cli_print_error(failed);
        if (status != 0)
            result = status;
    }
    return result;
}
