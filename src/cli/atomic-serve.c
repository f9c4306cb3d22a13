/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program atomic-serve. */
#include "cli/cli.h"
#include "cli/tree_verbs.h"

static const CliVerb verbs[] = {
    {"tree", "serve", cli_tree_serve},
    {NULL},
};

int main(int argc, char **argv)
{
    return cli_main(CLI_SERVE, verbs, argc, argv);
}
