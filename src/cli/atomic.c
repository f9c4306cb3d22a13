/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The front program: the verbs that must be quick, and the way to all others. */
#include "cli/cli.h"
#include "cli/host_verbs.h"

static const CliVerb verbs[] = {
    {"", "status", cli_host_status},
    {NULL},
};

int main(int argc, char **argv)
{
    return cli_main(CLI_ATOMIC, verbs, argc, argv);
}
