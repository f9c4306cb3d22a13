/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program atomic-compose. */
#include "cli/cli.h"

static const CliVerb verbs[] = {
    {NULL},
};

int main(int argc, char **argv)
{
    return cli_main(CLI_COMPOSE, verbs, argc, argv);
}
