/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The program atomic-serve. */
#include "cli/cli.h"

static const CliVerb verbs[] = {
    {NULL},
};

int main(int argc, char **argv)
{
    return cli_main(CLI_SERVE, verbs, argc, argv);
}
