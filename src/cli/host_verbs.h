/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of the host, for the programs' lists. */
#pragma once

#include "cli/cli.h"

/* the front program */
int cli_host_status(const CliCommand *command, int argc, char **argv, GError **error);
/* atomic-store */
int cli_host_init(const CliCommand *command, int argc, char **argv, GError **error);
int cli_host_deploy(const CliCommand *command, int argc, char **argv, GError **error);
int cli_host_upgrade(const CliCommand *command, int argc, char **argv, GError **error);
int cli_host_rollback(const CliCommand *command, int argc, char **argv, GError **error);
