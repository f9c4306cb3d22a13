/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of `atomic tree`, for the programs' lists. */
#pragma once

#include "cli/cli.h"

int cli_tree_serve(const CliCommand *command, int argc, char **argv, GError **error);
