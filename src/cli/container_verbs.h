/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of containers, for the front program's list. */
#pragma once

#include "cli/cli.h"

int cli_container_run(const CliCommand *command, int argc, char **argv, GError **error);
int cli_container_create(const CliCommand *command, int argc, char **argv, GError **error);
int cli_container_start(const CliCommand *command, int argc, char **argv, GError **error);
int cli_container_stop(const CliCommand *command, int argc, char **argv, GError **error);
int cli_container_kill(const CliCommand *command, int argc, char **argv, GError **error);
int cli_container_rm(const CliCommand *command, int argc, char **argv, GError **error);
int cli_container_wait(const CliCommand *command, int argc, char **argv, GError **error);
int cli_container_ps(const CliCommand *command, int argc, char **argv, GError **error);
int cli_container_logs(const CliCommand *command, int argc, char **argv, GError **error);
int cli_container_exec(const CliCommand *command, int argc, char **argv, GError **error);
int cli_container_port(const CliCommand *command, int argc, char **argv, GError **error);
int cli_container_inspect(const CliCommand *command, int argc, char **argv, GError **error);
int cli_info(const CliCommand *command, int argc, char **argv, GError **error);
int cli_version(const CliCommand *command, int argc, char **argv, GError **error);
