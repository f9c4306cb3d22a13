/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program atomic-compose. */
#include "cli/cli.h"

#include "cli/compose_verbs.h"

static const CliVerb verbs[] = {
    {"compose", "tree", cli_compose_tree},
    {NULL},
};

int main(int argc, char **argv)
{
    return cli_main(CLI_COMPOSE, verbs, argc, argv);
}
