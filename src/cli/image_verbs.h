/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of images, for atomic-build's list. */
#pragma once

#include "cli/cli.h"

int cli_image_build(const CliCommand *command, int argc, char **argv, GError **error);
int cli_image_ls(const CliCommand *command, int argc, char **argv, GError **error);
int cli_image_rm(const CliCommand *command, int argc, char **argv, GError **error);
int cli_image_tag(const CliCommand *command, int argc, char **argv, GError **error);
int cli_image_history(const CliCommand *command, int argc, char **argv, GError **error);
int cli_image_inspect(const CliCommand *command, int argc, char **argv, GError **error);
int cli_image_from_tree(const CliCommand *command, int argc, char **argv, GError **error);
