/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of `atomic compose`, for atomic-compose's list. */
#pragma once

#include "cli/cli.h"

int cli_compose_tree(const CliCommand *command, int argc, char **argv, GError **error);
