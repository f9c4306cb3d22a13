/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options of `run` and `create`. */
#pragma once

#include "cli/cli.h"
#include "engine/engine.h"

typedef struct {
    CliCommon common;
    char *cidfile;
    EngineCreateOptions create; /* borrows from the members below and from argv */

    gboolean detach, publish_all, tty, interactive, remove, read_only, init;
    char *name, *hostname, *user, *working_dir, *network, *entrypoint, *memory, *stop_signal;
    char **publish, **expose, **env, **env_files, **volumes, **labels, **cap_add, **cap_drop;
    gint64 pids_limit;
} ContainerOptions;
void container_options_clear(ContainerOptions *options);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ContainerOptions, container_options_clear)

/* `options` is zeroed before. */
bool container_options_parse(const CliCommand *command, int argc, char **argv,
                             ContainerOptions *options, GError **error);
